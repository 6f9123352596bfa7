from __future__ import annotations

from dataclasses import dataclass, fields

import pytest

from agents.base import Agent, Config, OptionError
from agents.options import describe_options, parse_limits, parse_options
from agents.runs import Plan, make_agent
from emnas_gym.errors import EmNASError, InfeasibleBudgets, UnknownName
from emnas_gym.registry import TABLES


@pytest.mark.parametrize("name", TABLES["agent"])
def test_every_hyperparameter_is_explained(name: str) -> None:
    agent = make_agent(name)
    assert agent.name == name
    assert agent.summary.endswith(".")
    options = describe_options(agent.config_type)
    assert [option.name for option in options] == [f.name for f in fields(agent.config_type)]
    for option in options:
        assert option.help.endswith("."), option
        assert option.type in ("int", "float", "bool", "str"), option
    assert agent.config == agent.config_type(**agent.config.to_json())


def test_the_nearest_explanation_counts() -> None:
    @dataclass(frozen=True)
    class One(Config):
        steps: int = 1
        """First."""

        rate: float = 0.5
        """Rate."""

    @dataclass(frozen=True)
    class Two(One):
        steps: int = 2
        """Second."""

    found = {option.name: (option.default, option.help) for option in describe_options(Two)}
    assert found == {"steps": (2, "Second."), "rate": (0.5, "Rate.")}


def test_pairs_are_read_as_json_or_text() -> None:
    texts = ["batch=32", "entropy=1e-3", "sampler=walk", "flag=true", "name=a=b"]
    assert parse_options(texts) == {
        "batch": 32,
        "entropy": 1e-3,
        "sampler": "walk",
        "flag": True,
        "name": "a=b",
    }


@pytest.mark.parametrize("text", ["batch", "batch=", "=3", ""])
def test_a_pair_without_name_or_value_is_refused(text: str) -> None:
    with pytest.raises(OptionError, match="name=value"):
        parse_options([text])


@pytest.mark.parametrize("value", [True, 1.5, "many", None, [3]])
def test_a_value_of_another_type_is_refused(value: object) -> None:
    with pytest.raises(OptionError, match="population is a whole number"):
        make_agent("evolution", population=value)


def test_unknown_agents_are_answered_with_the_nearest() -> None:
    with pytest.raises(UnknownName, match="reinforce"):
        make_agent("reinfroce")
    with pytest.raises(EmNASError, match="no agent"):
        make_agent("agents.lengths:end_logits")
    assert isinstance(make_agent("agents.random_search:RandomSearch", batch=2), Agent)


def test_a_plan_starts_from_what_is_registered() -> None:
    problem = Plan().problem()
    assert problem.space.name == "emnas-382"
    assert problem.budgets.to_json() == {"ram_bytes": 8192, "flash_bytes": 32768}
    assert Plan().evaluator_name() == "surrogate"
    changed = Plan(budgets={"ram_bytes": 6000}, reward="linear").problem()
    assert changed.budgets.to_json() == {"ram_bytes": 6000, "flash_bytes": 32768}
    assert changed.reward.name == "linear"
    board = Plan(device="stm32f746zg").problem()
    assert board.budgets == board.device.budgets


def test_a_plan_that_cannot_be_is_refused() -> None:
    with pytest.raises(UnknownName, match="EmNAS-v0"):
        Plan(env="EmNAS-v1").problem()
    with pytest.raises(UnknownName, match="environment"):
        Plan(env="CartPole-v1").problem()
    with pytest.raises(UnknownName, match="ram_bytes"):
        Plan(budgets={"ram_byte": 1}).problem()
    with pytest.raises(InfeasibleBudgets):
        Plan(budgets={"ram_bytes": 10}).problem()
    with pytest.raises(UnknownName):
        Plan(device="stm32f4").problem()


def test_limits_of_the_command_line() -> None:
    assert parse_limits([]) == {}
    assert parse_limits(["ram_bytes=8192", " latency_ms = 2.5"]) == {
        "ram_bytes": 8192,
        "latency_ms": 2.5,
    }
    for text in ("ram_bytes", "ram_bytes=", "ram_bytes=8k", "=", "ram_bytes=nan"):
        with pytest.raises(EmNASError, match="expected name=number"):
            parse_limits([text])
