from __future__ import annotations

import json
import shutil
import time
from pathlib import Path

import numpy as np
import pytest

from emnas_gym.errors import DomainError, EvaluationError, SurrogateFileError
from emnas_gym.measurement import Measurement
from emnas_gym.models.ensemble import Ensemble
from emnas_gym.models.pooled import PooledNetwork
from emnas_gym.models.recurrent import RecurrentEnsemble
from emnas_gym.problem import Problem
from emnas_gym.registry import make_evaluator
from emnas_gym.space import SearchSpace
from emnas_gym.surrogate import SurrogateEvaluator
from emnas_gym.surrogate_file import (
    Surrogate,
    read_surrogate,
    shipped_folder,
    surrogate_names,
    write_surrogate,
)
from emnas_gym.tasks import Task

K210 = {"task": "grasp", "device": "sipeed-maix-bit"}
MOBILE = {"space": "emnas-mobile-49", **K210}
PROBLEMS = {"digits": {}, "grasp": K210, "mobile": MOBILE}


@pytest.fixture(scope="module", params=PROBLEMS)
def case(request: pytest.FixtureRequest) -> Problem:
    return Problem.make(**PROBLEMS[request.param])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of what is shipped, to be damaged."""
    return Path(shutil.copytree(shipped_folder(), tmp_path / "surrogates"))


def _measured(evaluator: SurrogateEvaluator, batch: list) -> list[Measurement]:
    results = evaluator.evaluate(batch)
    assert all(isinstance(result, Measurement) for result in results)
    return [result for result in results if isinstance(result, Measurement)]


def test_batch_size_does_not_change_a_bit(case: Problem, rng: np.random.Generator) -> None:
    evaluator = SurrogateEvaluator.for_problem(case)
    batch = [case.space.sample(rng) for _ in range(60)]
    together = _measured(evaluator, batch)
    assert together == [_measured(evaluator, [a])[0] for a in batch]
    assert together[::-1] == _measured(evaluator, batch[::-1])
    assert together[:7] == _measured(evaluator, batch[:7])


def test_predictions_are_in_range_and_say_so(case: Problem, rng: np.random.Generator) -> None:
    evaluator = SurrogateEvaluator.for_problem(case)
    batch = [case.space.sample(rng) for _ in range(60)]
    for measurement in _measured(evaluator, batch):
        assert measurement.accuracy is not None
        assert 0 <= measurement.accuracy <= 1
        assert set(measurement.provenance.values()) == {"predicted"}
        assert set(measurement.provenance) == evaluator.provides
        if "latency_ms" in evaluator.provides:
            assert measurement.latency_ms is not None
            assert measurement.latency_ms > 0
        assert (measurement.feasible is not None) == (case.space.name == "emnas-mobile-49")


def test_mean_and_spread_of_the_ensemble(case: Problem, rng: np.random.Generator) -> None:
    evaluator = SurrogateEvaluator.for_problem(case)
    batch = [case.space.sample(rng) for _ in range(20)]
    mean, spread = evaluator.predict(batch)
    assert mean.tolist() == [m.accuracy for m in _measured(evaluator, batch)]
    assert (spread > 0).all()
    assert spread.mean() < 0.2


def test_fast_alone_and_in_batches(rng: np.random.Generator) -> None:
    problem = Problem.make()
    evaluator = SurrogateEvaluator.for_problem(problem)
    batch = [problem.space.sample(rng, problem.task) for _ in range(512)]
    evaluator.evaluate(batch)
    each = min(_cpu_seconds(lambda: evaluator.evaluate(batch)) for _ in range(5)) / 512
    alone = min(_cpu_seconds(lambda: evaluator.evaluate(batch[:1])) for _ in range(20))
    assert each < 100e-6  # 13 µs on a busy core, most of it for objects
    assert alone < 1e-3  # 60 µs there


def _cpu_seconds(work: object) -> float:
    start = time.process_time()
    work()  # type: ignore[operator]
    return time.process_time() - start


def test_latency_of_a_controller_is_left_to_the_line() -> None:
    problem = Problem.make()
    evaluator = SurrogateEvaluator.for_problem(problem)
    assert evaluator.provides == {"accuracy"}
    stack = make_evaluator("surrogate", problem)
    assert {"accuracy", "latency_ms", "macs"} <= stack.provides


def test_equal_behaviour_is_predicted_equal(mobile: SearchSpace) -> None:
    problem = Problem.make(**MOBILE)
    evaluator = SurrogateEvaluator.for_problem(problem)
    plain = mobile.architecture([4, 26, 5, 9, 26, 9, 13, 49])
    padded = mobile.architecture([4, 48, 30, 5, 48, 9, 36, 9, 13, 49])
    first, second = _measured(evaluator, [plain, padded])
    assert first == second


def test_one_that_cannot_be_built_does_not_end_the_others(space: SearchSpace) -> None:
    problem = Problem.make()
    evaluator = SurrogateEvaluator.for_problem(problem)
    fits = space.architecture([4, 4, 4, 382])
    shrinks = space.architecture([36, 36, 36, 25, 382])  # to one pixel, then 3×3 valid
    good, bad, again = evaluator.evaluate([fits, shrinks, fits])
    assert isinstance(bad, EvaluationError)
    assert "cannot be built" in str(bad)
    assert good == again
    only_bad = evaluator.evaluate([shrinks])
    assert isinstance(only_bad[0], EvaluationError)
    assert evaluator.evaluate([]) == []


# ------------------------------------------------------------------------------------- domain


def test_outside_the_domain_it_says_what_differs_and_what_to_do(tiny: SearchSpace) -> None:
    with pytest.raises(DomainError, match=r"space tiny on the task digits.*predictors collect"):
        SurrogateEvaluator.for_problem(Problem.make(tiny))
    with pytest.raises(DomainError, match="evaluator='trained'"):
        SurrogateEvaluator.for_problem(Problem.make(task=Task("/my/cats", (32, 32, 3), 2)))
    with pytest.raises(DomainError, match=r"images \(32, 32, 3\) of 10 classes instead of"):
        SurrogateEvaluator.for_problem(Problem.make(task=Task("digits", (32, 32, 3), 10)))
    with pytest.raises(DomainError, match="emnas-bench-8 on the task digits"):
        SurrogateEvaluator.for_problem(Problem.make("emnas-bench-8"))
    for budgets in ({}, {"macs": 4_000_001}):
        with pytest.raises(DomainError, match=r"MACs instead of up to 4000000 \(budgets="):
            SurrogateEvaluator.for_problem(Problem.make("emnas-mobile-49", budgets=budgets))
    small = Problem.make("emnas-mobile-49", device="host", budgets={"macs": 4_000_000})
    assert SurrogateEvaluator.for_problem(small).provides == {"accuracy", "latency_ms"}


def test_a_space_of_the_same_name_but_other_rules(tmp_path: Path) -> None:
    source = shipped_folder().parent / "spaces" / "emnas-382.toml"
    text = source.read_text(encoding="utf-8").replace("max_layers = 15", "max_layers = 20")
    (tmp_path / "mine.toml").write_text(text, encoding="utf-8")
    with pytest.raises(DomainError, match=r"space '\w{12}' instead of '\w{12}'"):
        SurrogateEvaluator.for_problem(Problem.make(tmp_path / "mine.toml"))


def test_an_architecture_from_elsewhere_raises(mobile: SearchSpace) -> None:
    evaluator = SurrogateEvaluator.for_problem(Problem.make())
    with pytest.raises(DomainError, match="emnas-mobile-49"):
        evaluator.evaluate([mobile.architecture([4, 26, 5, 9, 26, 9, 13, 49])])


# -------------------------------------------------------------------------------------- files


def test_every_shipped_file_reads_and_says_how_it_was_made() -> None:
    names = surrogate_names(shipped_folder())
    assert {"emnas-382_digits_accuracy", "emnas-382_grasp_accuracy"} <= set(names)
    assert "emnas-382_grasp_sipeed-maix-bit_latency_ms" in names
    for name in names:
        shipped = read_surrogate(shipped_folder() / f"{name}.json")
        assert shipped.about["command"].startswith("python -m predictors fit --what")
        assert shipped.about["held_out"]
        assert shipped.about["source"]


def test_what_is_written_reads_back(tmp_path: Path) -> None:
    for name in surrogate_names(shipped_folder()):
        shipped = read_surrogate(shipped_folder() / f"{name}.json")
        again = read_surrogate(write_surrogate(shipped, tmp_path))
        assert _plain(again) == _plain(shipped)


def _plain(surrogate: Surrogate) -> dict[str, object]:
    model = surrogate.model
    parts = [model.arrays(), model.options()]
    return vars(surrogate) | {"model": json.dumps(parts, default=np.ndarray.tolist)}


def _damage(name: str, folder: Path) -> None:
    header, arrays = folder / f"{DIGITS}.json", folder / f"{DIGITS}.npz"
    data = json.loads(header.read_text(encoding="utf-8"))
    if name == "truncated npz":
        arrays.write_bytes(arrays.read_bytes()[:1000])
    elif name == "flipped bit":
        content = bytearray(arrays.read_bytes())
        content[len(content) // 2] ^= 1
        arrays.write_bytes(bytes(content))
    elif name == "missing npz":
        arrays.unlink()
    elif name == "truncated header":
        header.write_text(header.read_text(encoding="utf-8")[:200], encoding="utf-8")
    elif name == "edited header":
        header.write_text(json.dumps(data | {"lengths": [2, 99]}), encoding="utf-8")
    elif name == "other format":
        header.write_text(json.dumps(data | {"format": 99}), encoding="utf-8")
    elif name == "no object":
        header.write_text("[1, 2]", encoding="utf-8")
    elif name == "not text":
        header.write_bytes(b"\xff\xfe\x00\x01")
    else:
        (folder / "emnas-382_grasp_accuracy.json").replace(header)


DIGITS = "emnas-382_digits_accuracy"
DAMAGES = (
    "truncated npz",
    "flipped bit",
    "missing npz",
    "truncated header",
    "edited header",
    "other format",
    "no object",
    "not text",
    "another's header",
)


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_refused(damage: str, folder: Path) -> None:
    _damage(damage, folder)
    with pytest.raises(SurrogateFileError, match=f"{DIGITS}.json: .*predictors fit"):
        SurrogateEvaluator.from_folder(Problem.make(), folder)


def _rewritten(folder: Path, change: object) -> Path:
    """The header changed and its checksum made anew: what only a programmer can do."""
    from emnas_gym import surrogate_file

    path = folder / "emnas-382_grasp_sipeed-maix-bit_latency_ms.json"
    data = json.loads(path.read_text(encoding="utf-8"))
    data.pop("checksum")
    data.update(change)
    data["checksum"] = surrogate_file._checksum(data)
    path.write_text(json.dumps(data), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "forest"},
        {"field": "beauty"},
        {"costs": {"conv 1x1/1: macs": -1.0}},
        {"costs": {"conv 1x1/1: macs": "cheap"}},
        {"costs": [1.0]},
        {"details": ["luck"]},
        {"lengths": 7},
        {"device": "stm32f446re"},
    ],
    ids=str,
)
def test_a_header_that_makes_no_sense_is_refused(change: object, folder: Path) -> None:
    path = _rewritten(folder, change)
    with pytest.raises(SurrogateFileError, match=r"latency_ms\.json: "):
        read_surrogate(path)


def test_arrays_that_do_not_fit_together_are_refused() -> None:
    shipped = read_surrogate(shipped_folder() / f"{DIGITS}.json").model
    assert isinstance(shipped, PooledNetwork | RecurrentEnsemble | Ensemble)
    arrays, options = shipped.arrays(), shipped.options()
    kind = type(shipped)
    assert kind.of(arrays, options).link == "logit"
    name = next(iter(arrays))
    broken = [
        arrays | {name: arrays[name][:-1]},
        arrays | {name: np.full_like(arrays[name], np.nan)},
        arrays | {name: arrays[name].astype(np.int64)},
        arrays | {"scale": np.zeros_like(arrays["scale"])},
        {k: v for k, v in arrays.items() if k != name},
        {},
    ]
    for wrong in broken:
        with pytest.raises(SurrogateFileError):
            kind.of(wrong, options)
    for wrong_link in ("probit", None, ["logit"]):
        with pytest.raises(SurrogateFileError):
            kind.of(arrays, {"link": wrong_link})
    with pytest.raises(SurrogateFileError):
        kind.of(arrays, {})


def test_parts_must_belong_together() -> None:
    shipped = {
        n: read_surrogate(shipped_folder() / f"{n}.json") for n in surrogate_names(shipped_folder())
    }
    digits = Problem.make()
    latency = shipped["emnas-382_grasp_sipeed-maix-bit_latency_ms"]
    with pytest.raises(SurrogateFileError, match="not fitted for the same space and task"):
        SurrogateEvaluator(shipped[DIGITS], digits.task, latency)
    with pytest.raises(SurrogateFileError, match="no surrogate of accuracy"):
        SurrogateEvaluator(latency, digits.task)
