"""Whether a result holds: its winners are built again from their tokens, and measured again.

The rule is that of CompilerGym (Cummins et al. 2021): a result counts once a fresh environment,
stepped by its recorded actions, gives the recorded reward.
"""

from __future__ import annotations

import math
import platform
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium as gym

from benchmarks.replay.history import read_history
from benchmarks.replay.record import Claim, Record
from benchmarks.replay.search import repeat_search
from benchmarks.replay.tolerance import EXACT, Tolerance, measured_reward, tolerance_of
from benchmarks.replay.trainings import retrain
from benchmarks.replay.world import Given, make_world
from benchmarks.versions import versions
from emnas_gym.errors import EmNASError
from emnas_gym.measurement import FIELDS
from emnas_gym.rewards import Reward

ROUNDING = 1e-12  # two machines' powers differ in the last bits
MATTERS = ("python", "numpy", "torch", "emnas-gym")  # versions that decide a training's bits


@dataclass(frozen=True)
class Demand:
    """What is checked, and how strictly.

    Attributes:
        verified: Whether the trainings of verified winners are repeated too.
        search: Whether the search itself is: its agent must ask for the same networks.
        exact: Whether trainings must give equal bits, wherever they ran.
        given: What the user says where a file cannot be taken at its word.
    """

    verified: bool = False
    search: bool = False
    exact: bool = False
    given: Given = field(default_factory=Given)


@dataclass(frozen=True)
class Verdict:
    """What became of one check of one winner.

    Attributes:
        winner: Which.
        check: ``reward``, ``record``, ``verified`` or ``search``.
        held: Whether it holds.
        reason: How exactly, or why not.
        recorded: Reward of the file.
        replayed: Reward found here; None where there is none.
    """

    winner: str
    check: str
    held: bool
    reason: str
    recorded: float | None = None
    replayed: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


def validate(
    claims: Sequence[Claim], demand: Demand, advance: Callable[[], None] = lambda: None
) -> list[Verdict]:
    """Replays winners.

    Args:
        claims: The winners (`benchmarks.replay.files.read_claims`).
        demand: What is checked.
        advance: Called after each winner.

    Returns:
        One verdict a check; a winner that cannot be replayed has failed, and says why.
    """
    worlds = _Worlds(demand.given)
    verdicts: list[Verdict] = []
    searched: set[Path] = set()
    try:
        for claim in claims:
            verdicts += _checks(claim, worlds, demand)
            if demand.search and claim.history is not None and claim.history not in searched:
                searched.add(claim.history)
                verdicts.append(_guarded(claim, "search", partial(_check_search, claim, demand)))
            advance()
    finally:
        worlds.close()
    return verdicts


class _Worlds:
    """Environments by record: all winners of a file share one, reset for each."""

    def __init__(self, given: Given) -> None:
        self._given = given
        self._known: dict[int, gym.Env[Any, Any]] = {}

    def of(self, record: Record) -> gym.Env[Any, Any]:
        if id(record) not in self._known:
            self._known[id(record)] = make_world(record, self._given)
        return self._known[id(record)]

    def close(self) -> None:
        for env in self._known.values():
            env.close()


def _checks(claim: Claim, worlds: _Worlds, demand: Demand) -> Iterator[Verdict]:
    exact = demand.exact or same_here(claim.record)
    yield _guarded(claim, "reward", lambda: _check_reward(claim, worlds.of(claim.record), exact))
    if claim.history is not None and claim.history != claim.record.file:
        yield _guarded(claim, "record", lambda: _check_record(claim))
    if demand.verified and claim.verified is not None:
        yield _guarded(claim, "verified", lambda: _check_verified(claim, demand.given, exact))


def _guarded(claim: Claim, check: str, make: Callable[[], Verdict]) -> Verdict:
    try:
        return make()
    except EmNASError as error:
        return Verdict(claim.label, check, False, str(error), claim.reward)


def same_here(record: Record) -> bool:
    """Whether the file says that it was made on this machine, by the versions that are here.

    What it does not say is not taken for granted.
    """
    here, processor = versions(), processor_name()
    known = all(record.versions.get(name) == here.get(name) for name in MATTERS)
    return known and bool(processor) and record.machine.get("cpu") == processor


def processor_name() -> str:
    """The processor as Linux names it; elsewhere as Python does."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            named = [line.partition(":")[2].strip() for line in file if "model name" in line]
    except OSError:
        named = []
    return named[0] if named else platform.processor()


# ------------------------------------------------------------------------------ the reward


def _check_reward(claim: Claim, env: gym.Env[Any, Any], exact: bool) -> Verdict:
    replayed, info, wrong = play(env, claim.tokens, claim.seed)
    if not wrong and claim.measurement:
        wrong = _own_contradiction(claim, env)
    tolerance = tolerance_of(claim.measurement, exact) if claim.measurement else EXACT
    reason = wrong or _difference(claim, env, replayed, info, tolerance)
    held = not reason
    if held:
        equal = replayed == claim.reward
        reason = "equal bits" if equal else f"within {tolerance.words}"
    return Verdict(claim.label, "reward", held, reason, claim.reward, replayed)


def play(
    env: gym.Env[Any, Any], tokens: Sequence[int], seed: int | None
) -> tuple[float, dict[str, Any], str]:
    """Steps an environment by recorded tokens.

    Args:
        env: A fresh or used environment.
        tokens: The actions.
        seed: Of the reset; what an environment draws at the end comes from it.

    Returns:
        The sum of the rewards, the last infos, and what went wrong (empty if nothing did).

    Raises:
        IllegalAction: If a token is none of the space.
    """
    _, info = env.reset(seed=seed)
    total, terminated, truncated = 0.0, False, False
    for i, token in enumerate(tokens):
        mask = info.get("action_mask")
        if mask is not None and 0 <= token < len(mask) and not mask[token]:
            return total, info, f"token {token} at position {i} is illegal there"
        _, reward, terminated, truncated, info = env.step(token)
        total += float(reward)
        if (terminated or truncated) and i + 1 < len(tokens):
            return total, info, f"the network ends at token {i + 1} of {len(tokens)}"
    if not (terminated or truncated):
        return total, info, f"the network is not finished after its {len(tokens)} tokens"
    return total, info, ""


def _reward_of(env: gym.Env[Any, Any]) -> Reward | None:
    """How an environment rewards; None for one without a problem of ours."""
    reward = getattr(getattr(env.unwrapped, "problem", None), "reward", None)
    return reward if isinstance(reward, Reward) else None


def _own_contradiction(claim: Claim, env: gym.Env[Any, Any]) -> str:
    """Says whether the file contradicts itself: a reward that its own measurement does not have."""
    if (reward := _reward_of(env)) is None:
        return ""
    own = measured_reward(claim.measurement, reward)
    if math.isclose(own, claim.reward, rel_tol=ROUNDING):
        return ""
    return f"the file contradicts itself: its measurement is worth {own}, not {claim.reward}"


def _difference(
    claim: Claim,
    env: gym.Env[Any, Any],
    replayed: float,
    info: dict[str, Any],
    tolerance: Tolerance,
) -> str:
    """Why the replayed measurement is not the recorded one; empty where it is."""
    found = info.get("measurement")
    if found is None:
        return "it could not be measured here" if claim.measurement else _unequal(claim, replayed)
    fields = [
        f"{name} is {claim.measurement.get(name)} in the file, {found.get(name)} here"
        for name in (FIELDS if claim.measurement else ())
        if name not in tolerance.margins and claim.measurement.get(name) != found.get(name)
    ]
    if fields:
        return "; ".join(fields)
    reward = _reward_of(env)
    if not tolerance.margins or reward is None:
        return _unequal(claim, replayed)
    low, high = tolerance.interval(claim.measurement, reward)
    if low <= replayed <= high:
        return ""
    return f"{_unequal(claim, replayed)}, beyond {tolerance.words}"


def _unequal(claim: Claim, replayed: float) -> str:
    if replayed == claim.reward:
        return ""
    return f"the reward is {claim.reward} in the file, {replayed} here"


# ------------------------------------------------------------- trainings, record, search


def _check_record(claim: Claim) -> Verdict:
    """Whether the history beside a summary knows its winner, and is of the same seed."""
    assert claim.history is not None
    about, rows = read_history(claim.history)
    if about.get("seed") != claim.seed:
        reason = f"the seed is {claim.seed} in the file, {about.get('seed')} in {claim.history}"
        return Verdict(claim.label, "record", False, reason, claim.reward)
    for number, row in enumerate(rows, 1):
        if row.tokens == claim.tokens and row.reward == claim.reward:
            return Verdict(claim.label, "record", True, f"evaluation {number}", claim.reward)
    reason = f"no evaluation in {claim.history} has these tokens and this reward"
    return Verdict(claim.label, "record", False, reason, claim.reward)


def _check_verified(claim: Claim, given: Given, exact: bool) -> Verdict:
    assert claim.verified is not None
    reward, held, reason = retrain(claim, given, exact)
    return Verdict(claim.label, "verified", held, reason, claim.verified.reward, reward)


def _check_search(claim: Claim, demand: Demand) -> Verdict:
    """Once a history: the search, not the winner, is repeated."""
    assert claim.history is not None
    count = repeat_search(claim.history, claim.record, claim.seed, demand.given)
    reason = f"the agent asked for the same {count} networks"
    return Verdict(claim.label, "search", True, reason, claim.reward)
