"""Numpy files from outside."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from emnas_gym.errors import EmNASError
from hardware.array_files import read_array, read_arrays


def test_plain_arrays_come_back(tmp_path: Path) -> None:
    np.savez(tmp_path / "some.npz", a=np.arange(3), b=np.ones((2, 2)))
    assert {k: v.shape for k, v in read_arrays(tmp_path / "some.npz").items()} == {
        "a": (3,),
        "b": (2, 2),
    }
    np.save(tmp_path / "one.npy", np.arange(4))
    assert read_array(tmp_path / "one.npy").tolist() == [0, 1, 2, 3]


def test_damaged_files_are_typed_errors_that_name_them(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "good.npz", a=np.arange(1000))
    good = (tmp_path / "good.npz").read_bytes()
    rng = np.random.default_rng(0)
    flipped = bytearray(good)
    flipped[60:160] = rng.bytes(100)
    path = tmp_path / "bad.npz"
    for content in (b"", b"garbage", b"PK\x03\x04" + bytes(100), good[:80], bytes(flipped)):
        path.write_bytes(content)
        for read in (read_arrays, read_array):
            with pytest.raises(EmNASError, match=r"bad\.npz"):
                read(path)


def test_a_header_that_lies_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "lie.npy", np.arange(4))
    content = (tmp_path / "lie.npy").read_bytes().replace(b"(4,)", b"(9,)")
    (tmp_path / "lie.npy").write_bytes(content)
    with pytest.raises(EmNASError, match=r"lie\.npy"):
        read_array(tmp_path / "lie.npy")


def test_each_reader_wants_its_own_kind(tmp_path: Path) -> None:
    np.savez(tmp_path / "several.npz", a=np.arange(3))
    np.save(tmp_path / "one.npy", np.arange(4))
    with pytest.raises(EmNASError, match="several arrays"):
        read_array(tmp_path / "several.npz")
    with pytest.raises(EmNASError, match=r"no \.npz"):
        read_arrays(tmp_path / "one.npy")


def test_a_pickle_is_never_loaded(tmp_path: Path) -> None:
    np.savez(tmp_path / "evil.npz", evil=np.array([{}], dtype=object))
    with pytest.raises(EmNASError, match="plain arrays"):
        read_arrays(tmp_path / "evil.npz")
