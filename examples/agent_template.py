"""A whole agent of your own: copy it, rename it, change `_search`; see docs/agents.md."""

from dataclasses import dataclass

from agents.base import Agent, Config
from emnas_gym import Ledger, Problem
from emnas_gym.space import sample_tokens
from emnas_gym.variation import mutate


@dataclass(frozen=True)
class MyConfig(Config):
    """Hyperparameters, each of which is an --option."""

    explore: float = 0.3
    """Probability of a random network; otherwise the best one so far is changed."""


class MyAgent(Agent):
    """Changes the best network so far, and sometimes draws another one."""

    name, summary, config_type = "my-agent", "Changes the best network so far.", MyConfig

    def _search(self, problem: Problem, ledger: Ledger, seed: int) -> None:
        rng, table = self._generator(seed), problem.automaton
        while not ledger.spent:
            new = not ledger.rows or rng.random() < self.config.explore
            tokens = sample_tokens(table, rng) if new else mutate(table, ledger.best.tokens, rng)
            ledger.evaluate([problem.space.architecture(tokens)])
