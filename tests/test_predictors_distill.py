"""A fast student of a slow teacher: what it is asked, what it learns, and how both are compared."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from emnas_gym.features import LAYER, layer_table, lengths_of
from emnas_gym.models.ensemble import unlink
from emnas_gym.models.inputs import encode
from emnas_gym.models.pooled import PooledNetwork
from emnas_gym.models.recurrent import RecurrentEnsemble
from emnas_gym.space import SearchSpace
from emnas_gym.surrogate_file import read_surrogate, shipped_folder
from emnas_gym.tasks import DIGITS
from emnas_gym.variation import edit_distance
from predictors import distill
from predictors.climb import Judge, climb
from predictors.distill import Lessons, compare, distil
from predictors.estimators.pooled import PooledRegressor, _Network
from predictors.estimators.recurrent import RecurrentRegressor
from predictors.metrics import ranks
from predictors.splits import is_test
from predictors.store import Tokens

FEW = Lessons(uniform=1500, canonical=200, walks=200, generations=2, children=200, astray=100)
STUDENT = PooledRegressor(16, 16, 16, epochs=15)
Measured = tuple[list[Tokens], np.ndarray]


@pytest.fixture(scope="module")
def measured(space: SearchSpace) -> Measured:
    """400 training networks, and an accuracy that falls with sigmoids and small last maps."""
    rng = np.random.default_rng(3)
    drawn = [space.sample(rng) for _ in range(480)]
    batch = [a for a in drawn if not is_test(a.canonical)][:400]
    layers = encode("layers", batch, DIGITS)
    sigmoids = layers[:, :, LAYER.index("sigmoid")].sum(axis=1)
    flat = layers[np.arange(len(batch)), lengths_of(layers) - 1, LAYER.index("in")]
    values = 1 / (1 + np.exp(0.5 * sigmoids - 0.3 * flat - 1))
    return [a.tokens for a in batch], values


@pytest.fixture(scope="module")
def teacher(space: SearchSpace, measured: Measured) -> RecurrentEnsemble:
    layers = encode("layers", [space.architecture(t) for t in measured[0]], DIGITS)
    made = RecurrentRegressor(state=8, hidden=8, members=2, epochs=20, batch_size=24)
    return made.fit(layers, measured[1]).model_


@pytest.fixture(scope="module")
def student(space: SearchSpace, measured: Measured, teacher: RecurrentEnsemble) -> PooledNetwork:
    return distil(space, DIGITS, teacher, measured, STUDENT, FEW)


def test_a_student_says_what_its_teacher_says(  # D16
    space: SearchSpace, student: PooledNetwork, teacher: RecurrentEnsemble
) -> None:
    rng = np.random.default_rng(11)
    fresh = [space.sample(rng).tokens for _ in range(400)]
    table = layer_table(space, DIGITS)
    said, true = Judge(student, table).both(fresh), Judge(teacher, table).both(fresh)
    tau = ranks(said[0], true[0])["tau"]
    assert tau is not None
    assert tau > 0.8
    of_doubts = ranks(said[1], true[1])["spearman"]
    assert of_doubts is not None
    assert of_doubts > 0.2
    assert (said[1] > 0).all()


def test_many_lessons_teach_more_than_the_measured_networks_alone(  # D16
    space: SearchSpace, student: PooledNetwork, teacher: RecurrentEnsemble, measured: Measured
) -> None:
    rng = np.random.default_rng(12)
    fresh = [space.sample(rng).tokens for _ in range(400)]
    table = layer_table(space, DIGITS)
    layers = encode("layers", [space.architecture(t) for t in measured[0]], DIGITS)
    alone = STUDENT.fit(layers, measured[1]).model_
    true = Judge(teacher, table).score(fresh)
    off = [
        np.abs(unlink("logit", Judge(model, table).score(fresh)) - unlink("logit", true)).mean()
        for model in (student, alone)
    ]
    assert off[0] < 0.8 * off[1]


def test_no_lesson_is_held_out_and_each_is_new(  # D16
    space: SearchSpace,
    measured: Measured,
    teacher: RecurrentEnsemble,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[list[Tokens]] = []
    monkeypatch.setattr(distill, "_taught", _spy(asked, distill._taught))
    few = Lessons(200, 30, 30, generations=2, children=40, astray=40)
    quick = PooledRegressor(4, 4, 4, epochs=1)
    first = distil(space, DIGITS, teacher, measured, quick, few)
    half, whole = (
        {space.canonical_tokens(tokens) for tokens in networks} for networks in asked[:2]
    )
    assert [len(networks) for networks in asked] == [len(half), len(whole)]
    assert half < whole
    assert not any(is_test(tokens) for tokens in whole)
    again = distil(space, DIGITS, teacher, measured, quick, few)
    for name, array in first.arrays().items():
        assert (array == again.arrays()[name]).all(), "equal seeds give equal bits"


def _spy(asked: list[list[Tokens]], plain: object) -> object:
    def taught(*arguments: object) -> object:
        asked.append(list(arguments[2]))  # type: ignore[call-overload]
        return plain(*arguments)  # type: ignore[operator]

    return taught


def test_a_climb_climbs_by_small_steps(space: SearchSpace, teacher: RecurrentEnsemble) -> None:
    rng, table = np.random.default_rng(0), space.automaton(DIGITS)
    begin = [space.sample(rng).tokens for _ in range(60)]
    judge = Judge(teacher, layer_table(space, DIGITS))
    met = climb(table, judge.score, begin, rng, generations=5, children=60)
    assert judge.score(met[-60:]).mean() > judge.score(begin).mean()
    canonical = [space.canonical_tokens(t) for t in [*begin, *met]]
    assert len(set(canonical[60:])) == len(met)
    first = canonical[60]
    assert min(edit_distance(first, other) for other in canonical[:60]) <= 2
    assert all(table.fits(tokens) for tokens in met)


def test_a_comparison_of_a_model_with_itself_finds_no_difference(
    space: SearchSpace, student: PooledNetwork, teacher: RecurrentEnsemble
) -> None:
    found = compare(space, DIGITS, teacher, student, seeds=(1, 2), size=40, best=5)
    assert found["drawn"]["n"] == 80
    assert 0 < found["drawn"]["mae"] < 0.2
    promised = found["winners_of_student"]
    assert promised["student_says"] > found["winners_of_teacher"]["student_says"] - 0.1
    same = compare(space, DIGITS, student, student, seeds=(1,), size=40, best=5)  # type: ignore[arg-type]
    assert same["drawn"]["mae"] == 0
    assert same["drawn"]["tau"] == pytest.approx(1)
    assert same["winners_of_student"] == same["winners_of_teacher"]


def test_numpy_computes_what_torch_computes(space: SearchSpace) -> None:  # D16
    rng = np.random.default_rng(0)
    layers = encode("layers", [space.sample(rng) for _ in range(60)], DIGITS)
    model = PooledRegressor(8, 12, 10, epochs=1, link="identity").fit(layers, rng.random(60)).model_
    network = _Network(layers.shape[2], 12, 8, 10, 1).double()
    state = {}
    for name in ("read", "gate", "first", "second", "out"):
        arrays = model.arrays()
        state[f"{name}.weight"] = torch.tensor(arrays[name].T)
        state[f"{name}.bias"] = torch.tensor(arrays[f"{name}_bias"])
    network.load_state_dict(state)
    there = np.arange(layers.shape[1]) < lengths_of(layers)[:, None]
    rows = np.zeros(there.shape, dtype=np.int64)
    rows[there] = np.arange(1, there.sum() + 1)
    standard = np.concatenate([np.zeros((1, layers.shape[2])), layers[there]])
    standard = torch.tensor((standard - model.centre) / model.scale)
    torch.set_default_dtype(torch.float64)
    try:
        with torch.no_grad():
            expected = network(standard, torch.from_numpy(rows))[:, 0].numpy()
    finally:
        torch.set_default_dtype(torch.float32)
    assert model.predict(layers)[0] == pytest.approx(expected, abs=1e-4)


def test_what_is_shipped_is_a_student_as_good_as_its_teacher() -> None:  # D16
    path = shipped_folder() / "emnas-382_digits_accuracy.json"
    shipped = read_surrogate(path)
    held_out = shipped.about["held_out"]
    assert isinstance(shipped.model, PooledNetwork)
    assert path.with_suffix(".npz").stat().st_size < 500 << 10
    assert held_out["tau"] > held_out["teacher"]["tau"] - 0.01
    assert held_out["mae"] < held_out["teacher"]["mae"] + 0.002
    found = held_out["student_and_teacher"]
    assert found["drawn"]["tau"] > 0.93
    student, own = found["winners_of_student"], found["winners_of_teacher"]
    assert student["student_says"] - student["teacher_says"] < 0.005, "led astray"
    assert own["teacher_says"] - student["teacher_says"] < 0.005
