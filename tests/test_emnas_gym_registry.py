"""Names and import strings: resolved late, and told what to do where they cannot be."""

from __future__ import annotations

import sys
from importlib.metadata import EntryPoint, EntryPoints
from typing import Any

import pytest
from conftest import ByTokens

from emnas_gym import registry
from emnas_gym.analytic import AnalyticEvaluator
from emnas_gym.errors import BackendMissing, DomainError, EmNASError, UnknownName
from emnas_gym.evaluator import EvaluatorStack
from emnas_gym.problem import Problem
from emnas_gym.registry import import_string, make_evaluator, names, resolve


class Made(ByTokens):
    """Made by name for a problem."""

    @classmethod
    def for_problem(cls, problem: Problem) -> Made:
        return cls()


def test_every_name_of_ours_resolves() -> None:
    for kind, table in registry.TABLES.items():
        for name in table:
            assert resolve(kind, name) is import_string(table[name])


def test_names_import_strings_and_what_is_wrong_with_them() -> None:
    assert resolve("evaluator", "analytic") is AnalyticEvaluator
    assert resolve("evaluator", "emnas_gym.analytic:AnalyticEvaluator") is AnalyticEvaluator
    cases: list[tuple[str, type[Exception], str]] = [
        ("trianed", UnknownName, r"unknown evaluator 'trianed': did you mean trained, .*import st"),
        ("predictors.trained:Evalator", UnknownName, "attribute of predictors.trained .*Evaluator"),
        ("predictors.trainde:X", UnknownName, "module of predictors 'trainde': did you mean tra"),
        ("emnas_gym.evaluater:X", UnknownName, "module of emnas_gym .* did you mean evaluator"),
        ("no_such_package.x:Y", BackendMissing, "pip install no_such_package"),
        ("__main__.x:Y", UnknownName, "module of __main__"),
        (":", UnknownName, "expected 'package.module:Name'"),
        ("os:", UnknownName, "expected"),
        ("..relative:Name", UnknownName, "expected"),
        ("a b:c", UnknownName, "expected"),
    ]
    for name, error, message in cases:
        with pytest.raises(error, match=message):
            resolve("evaluator", name)


def test_a_folder_that_the_wheel_does_not_contain(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in [m for m in sys.modules if m.partition(".")[0] == "predictors"]:
        monkeypatch.delitem(sys.modules, module)
    root = [p for p in sys.path if p and not p.endswith("tests")]
    kept = [p for p in root if "site-packages" in p or "lib/python" in p]
    monkeypatch.setattr(sys, "path", kept)
    monkeypatch.setattr(sys, "meta_path", [f for f in sys.meta_path if "editable" not in repr(f)])
    with pytest.raises(BackendMissing, match=r"folder predictors/ of the repository.*clone"):
        resolve("evaluator", "trained")


@pytest.mark.parametrize(
    ("module", "command"),
    [("torch", "emnas-gym[torch]"), ("ethosu", "emnas-gym[vela]"), ("serial", "emnas-gym[serial]")],
)
def test_a_missing_extra_names_the_command(
    monkeypatch: pytest.MonkeyPatch, module: str, command: str
) -> None:
    def missing(name: str) -> None:
        raise ModuleNotFoundError(f"No module named {module!r}", name=module)

    monkeypatch.setattr(registry.importlib, "import_module", missing)
    with pytest.raises(BackendMissing) as info:
        import_string("some.module:Name", "trained")
    assert f"pip install '{command}'" in str(info.value)
    assert isinstance(info.value, ImportError)


def test_entry_points_of_third_parties_are_names_too(
    monkeypatch: pytest.MonkeyPatch, tiny_problem: Problem
) -> None:
    theirs = EntryPoint("theirs", "test_emnas_gym_registry:Made", "emnas_gym.evaluators")

    def found(**wanted: str) -> EntryPoints:
        return EntryPoints([theirs]).select(**wanted)

    monkeypatch.setattr(registry, "entry_points", found)
    assert "theirs" in names("evaluator")
    assert "theirs" not in names("agent")
    assert make_evaluator("theirs", tiny_problem).provides >= Made.provides


# ------------------------------------------------------------------------------- make_evaluator


def test_a_later_evaluator_overrides_an_earlier_ones_fields(tiny_problem: Problem) -> None:
    network = tiny_problem.space.architecture((1, 4, 9))
    stack = make_evaluator([ByTokens()], tiny_problem)
    assert isinstance(stack, EvaluatorStack)
    measured = stack.evaluate([network])[0]
    assert not isinstance(measured, Exception)
    assert measured.latency_ms == 1.0
    assert measured.provenance["latency_ms"] == "predicted"
    assert measured.provenance["flash_bytes"] == "analytic"
    measured = make_evaluator([ByTokens(), "analytic"], tiny_problem).evaluate([network])[0]
    assert not isinstance(measured, Exception)
    assert measured.provenance["latency_ms"] == "analytic"
    assert measured.provenance["accuracy"] == "predicted"


def test_an_object_is_used_as_it_is(tiny_problem: Problem, by_tokens: ByTokens) -> None:
    assert make_evaluator(by_tokens, tiny_problem) is by_tokens


def test_an_import_string_makes_it_for_the_problem(tiny_problem: Problem) -> None:
    made = make_evaluator("test_emnas_gym_registry:Made", tiny_problem)
    assert isinstance(made, EvaluatorStack)
    assert type(made.parts[-1]).__name__ == "Made"


@pytest.mark.parametrize(
    ("spec", "error", "message"),
    [
        (None, EmNASError, "a name, an object or a list of these, not None"),
        (5, EmNASError, "not 5"),
        (ByTokens, EmNASError, "make an object of the class"),
        ("os:getcwd", EmNASError, "is no evaluator"),
        (["emnas_gym.budgets:Budgets"], EmNASError, "is no evaluator"),
        ([ByTokens(), None], EmNASError, "None is no evaluator"),
        ("conftest:ByTokens", DomainError, "ByTokens cannot be made by name; pass an object"),
    ],
)
def test_what_is_no_evaluator_is_a_typed_error(
    tiny_problem: Problem,
    spec: Any,
    error: type[Exception],
    message: str,
) -> None:
    with pytest.raises(error, match=message):
        make_evaluator(spec, tiny_problem)


def test_a_reward_that_nothing_serves_is_refused() -> None:
    problem = Problem.make("emnas-382", device="ethos-u55-128")

    class Accuracy(ByTokens):
        provides = frozenset({"accuracy"})

    with pytest.raises(EmNASError, match="needs latency_ms, which Accuracy on ethos-u55-128"):
        make_evaluator([Accuracy()], problem)
