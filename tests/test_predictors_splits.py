from __future__ import annotations

import numpy as np

from emnas_gym.space import SearchSpace
from predictors.choice import choose, out_of_fold
from predictors.splits import by_architecture, folds, is_test, of_the_original


def test_a_growing_table_keeps_its_test_networks(
    space: SearchSpace, rng: np.random.Generator
) -> None:
    networks = [space.sample(rng).canonical for _ in range(400)]
    train, test = by_architecture(networks)
    assert set(train) | set(test) == set(range(400))
    assert not set(train) & set(test)
    assert 0.08 < len(test) / 400 < 0.22
    shuffled = [networks[i] for i in rng.permutation(400)]
    assert {networks[i] for i in test} == {shuffled[i] for i in by_architecture(shuffled)[1]}


def test_equal_behaviour_stands_on_one_side(space: SearchSpace) -> None:
    for token in range(181, 217):
        sides = {
            is_test(space.canonical_tokens((token + 36 * filters, 4, 4, 382)))
            for filters in range(5)
        }
        assert len(sides) == 1


def test_the_original_split_is_the_known_one() -> None:
    train, test = of_the_original(956)
    assert (len(train), len(test)) == (860, 96)
    assert sorted([*train, *test]) == list(range(956))
    assert (of_the_original(956)[1] == test).all()


def test_every_row_is_held_out_once() -> None:
    held = np.concatenate([part for _, part in folds(23, 5)])
    assert sorted(held) == list(range(23))
    for train, part in folds(23, 5):
        assert sorted([*train, *part]) == list(range(23))


def test_the_better_candidate_is_chosen_without_its_own_row() -> None:
    y = np.arange(20.0)
    seen: list[int] = []

    def mean(train: np.ndarray, held: np.ndarray) -> np.ndarray:
        assert not set(train) & set(held)
        seen.extend(held)
        return np.full(len(held), y[train].mean())

    def exact(_: np.ndarray, held: np.ndarray) -> np.ndarray:
        return y[held]

    best, scores = choose({"mean": mean, "exact": exact}, y, lambda p, m: float(abs(p - m).mean()))
    assert best == "exact"
    assert scores["exact"] == 0 < scores["mean"]
    assert sorted(seen) == list(range(20))
    assert (out_of_fold(exact, 20) == y).all()
