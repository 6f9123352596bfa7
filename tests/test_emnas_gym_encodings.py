"""Other ways to write tokens down, and back again."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emnas_gym import encodings
from emnas_gym.errors import InvalidArchitecture
from emnas_gym.layers import DETAILS
from emnas_gym.space import SearchSpace, load_space, sample_tokens
from emnas_gym.tasks import DIGITS

SPACES = {name: load_space(name) for name in ("emnas-382", "emnas-mobile-49")}


def test_one_hot_of_fixed_length_networks_without_the_end(space: SearchSpace) -> None:  # A14
    table, rng = space.automaton(DIGITS), np.random.default_rng(0)
    for _ in range(30):
        body = sample_tokens(table, rng)[:-1][:5]
        rows = encodings.onehot(space, body, 5)
        assert rows.shape == (5, 383)
        assert rows.dtype == np.float32
        assert (rows.sum(axis=1) == 1).all()
        assert rows.argmax(axis=1).tolist() == [*body, *[0] * (5 - len(body))]
        assert encodings.from_onehot(rows) == body


def test_one_hot_of_variable_length_networks(space: SearchSpace) -> None:  # A15, A16
    table, rng = space.automaton(DIGITS), np.random.default_rng(1)
    lengths = set()
    for _ in range(150):
        tokens = sample_tokens(table, rng)
        rows = encodings.onehot(space, tokens, 15)
        assert rows.shape == (15, 383)
        assert (rows.sum(axis=1) == 1).all()
        assert (rows[len(tokens) :, 0] == 1).all(), "padding is the class of no layer"
        assert encodings.from_onehot(rows) == tokens
        lengths.add(len(tokens))
    assert lengths == set(range(4, 16))


@given(st.sampled_from(sorted(SPACES)), st.data())
def test_all_encodings_are_invertible(name: str, data: st.DataObject) -> None:  # A17
    """Of any tokens, legal or not; of ids with equal layers the smallest comes back."""
    space = SPACES[name]
    token = st.integers(1, space.num_tokens)
    tokens = tuple(data.draw(st.lists(token, max_size=15)))
    length = data.draw(st.integers(len(tokens), 20))
    row = encodings.padded(tokens, length)
    assert tuple(row[row > 0].tolist()) == tokens
    assert encodings.from_onehot(encodings.onehot(space, tokens, length)) == tokens
    matrix = encodings.layer_matrix(space, tokens, length)
    assert matrix.shape == (length, len(DETAILS))
    back = encodings.from_layer_matrix(space, matrix)
    assert [space.spec(t) for t in back] == [space.spec(t) for t in tokens]
    assert all(b <= t for b, t in zip(back, tokens, strict=True))
    assert np.array_equal(matrix, encodings.layer_matrix(space, tokens, length)), "deterministic"


def test_the_layer_matrix_shows_every_detail(space: SearchSpace) -> None:  # A17
    assert len({row.tobytes() for row in encodings.detail_table(space)}) == 383
    columns = {name: i for i, name in enumerate(DETAILS)}
    token = 180  # conv 40 3×3/3 same relu
    row = dict(zip(columns, encodings.layer_matrix(space, (token,), 1)[0].tolist(), strict=True))
    assert (row["kind"], row["filters"], row["kernel"], row["stride"]) == (1, 40, 3, 3)
    assert (row["padding"], row["activation"]) == (2, 2)  # same and relu, each the second
    assert (row["units"], row["head"]) == (0, 0)
    for token in range(1, 383):
        spec, row_of = space.spec(token), encodings.detail_table(space)[token]
        for name in ("filters", "units", "kernel", "stride"):
            assert row_of[columns[name]] == getattr(spec, name)
        assert row_of[columns["rate"]] == np.float32(spec.rate)
    assert not encodings.detail_table(space)[0].any()


def test_what_is_no_encoding_is_refused(space: SearchSpace) -> None:
    good = encodings.onehot(space, (1, 2, 382), 5)
    for rows in (good * 2, good * 0, good + 0.5, good[0], np.full_like(good, np.nan)):
        with pytest.raises(InvalidArchitecture, match="exactly one 1"):
            encodings.from_onehot(rows)
    gap = good.copy()
    gap[1], gap[4] = good[4], good[1]
    with pytest.raises(InvalidArchitecture, match="a layer follows"):
        encodings.from_onehot(gap)
    matrix = encodings.layer_matrix(space, (1, 2, 382), 5)
    for rows in (matrix + 1, matrix[:, :-1], matrix[0], matrix * np.nan):
        with pytest.raises(InvalidArchitecture):
            encodings.from_layer_matrix(space, rows)
    for tokens in ((383,), (-1,), (1, 2, 1000)):
        for encode in (encodings.onehot, encodings.layer_matrix):
            with pytest.raises(InvalidArchitecture, match="has tokens 1 to 382"):
                encode(space, tokens, 5)
    with pytest.raises(InvalidArchitecture, match="6 tokens do not fit 5 positions"):
        encodings.onehot(space, range(1, 7), 5)


def test_nothing_at_all_is_an_encoding_too(space: SearchSpace) -> None:
    assert encodings.padded((), 0).shape == (0,)
    assert encodings.onehot(space, (), 0).shape == (0, 383)
    assert encodings.from_onehot(encodings.onehot(space, (), 3)) == ()
    assert encodings.from_layer_matrix(space, encodings.layer_matrix(space, (), 3)) == ()
