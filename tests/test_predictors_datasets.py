"""Images from outside: what is taken, what is said, and what is refused with a way out."""

from __future__ import annotations

import io
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from sklearn.datasets import load_digits

from emnas_gym.errors import DatasetError, UnknownName
from emnas_gym.tasks import DIGITS, Task
from predictors import datasets
from predictors.datasets import Dataset, digits, from_arrays, load, shrunk, split

RNG = np.random.default_rng(0)
X = RNG.integers(0, 256, (30, 8, 6, 1), dtype=np.uint8)
Y = np.arange(30) % 3


def _all(data: Dataset) -> tuple[np.ndarray, np.ndarray]:
    x = np.concatenate([data.train_x, data.valid_x, data.test_x])
    return x, np.concatenate([data.train_y, data.valid_y, data.test_y])


# ---------------------------------------------------------------------------------------- digits


def test_digits_are_scikit_learns_enlarged_between_their_pixels() -> None:
    data = digits()
    assert data.task == DIGITS
    x, y = _all(data)
    assert x.shape == (1797, 16, 16, 1)
    assert x.dtype == np.float32
    assert (x.min(), x.max()) == (-1.0, 1.0)
    bunch = load_digits()
    assert np.array_equal(np.sort(y), np.sort(bunch.target))
    # by Pillow's bilinear resize, an implementation of its own
    expected = {
        np.round(np.asarray(Image.fromarray(i.astype(np.float32)).resize((16, 16), 2)) / 8 - 1, 4)
        .tobytes(): int(label)
        for i, label in zip(bunch.images, bunch.target, strict=True)
    }  # fmt: skip
    found = {
        np.round(i[..., 0].astype(np.float32), 4).tobytes(): int(t)
        for i, t in zip(x, y, strict=True)
    }
    agree = sum(expected.get(image) == label for image, label in found.items())
    assert agree > 0.99 * len(found)
    assert data.calibration.shape == (64, 16, 16, 1)
    assert digits() is data


@given(st.lists(st.integers(5, 30), min_size=2, max_size=6))
def test_every_class_is_split_alike_and_nothing_is_lost(counts: list[int]) -> None:
    y = np.concatenate([np.full(n, i) for i, n in enumerate(counts)])
    x = np.arange(len(y), dtype=np.float32).reshape(-1, 1, 1, 1)
    data = split(Task("any", (1, 1, 1), len(counts)), x, y)
    again = split(Task("any", (1, 1, 1), len(counts)), x, y)
    all_x, all_y = _all(data)
    order = np.argsort(all_x.ravel())
    assert np.array_equal(all_x.ravel()[order], x.ravel()), "each image once"
    assert np.array_equal(all_y[order], y), "with its class"
    for label, count in enumerate(counts):
        parts = [int((p == label).sum()) for p in (data.train_y, data.valid_y, data.test_y)]
        assert parts[0] == round(0.6 * count)
        assert min(parts) >= 1
        assert abs(parts[1] - 0.2 * count) <= 1
    assert np.array_equal(again.test_x, data.test_x), "always in the same way"


# ---------------------------------------------------------------------------------------- arrays


@pytest.mark.parametrize(
    ("x", "low", "high"),
    [
        (X, -1.0, 1.0),
        (X[..., 0], -1.0, 1.0),
        (X.astype(np.int64), -1.0, 1.0),
        (X.astype(np.float64), -1.0, 1.0),
        (X / 255.0, -1.0, 1.0),
        ((X / 255.0).astype(np.float16), -1.0, 1.0),
        (X > 100, -1.0, 1.0),
        (np.repeat(X, 3, axis=3), -1.0, 1.0),
    ],
    ids=["uint8", "no channel", "int64", "0-255 float", "0-1", "float16", "bool", "colour"],
)
def test_pixels_become_minus_1_to_1(x: np.ndarray, low: float, high: float) -> None:
    data = from_arrays("mine", x, Y)
    found, _ = _all(data)
    assert found.dtype == np.float32
    assert float(found.min()) == pytest.approx(low, abs=0.02)
    assert float(found.max()) == pytest.approx(high, abs=0.02)
    assert data.task.input_shape == (8, 6, x.shape[3] if x.ndim == 4 else 1)
    assert data.task.classes == 3


def test_labels_of_any_kind_become_classes() -> None:
    for labels in (Y, Y + 100, Y * 0.5, np.array(["cat", "dog", "eel"])[Y], Y.astype("S3")):
        data = from_arrays("mine", X, labels)
        x, y = _all(data)
        assert set(y.tolist()) == {0, 1, 2}
        for image, label in zip(x, y, strict=True):
            back = np.round((image + 1) * 127.5).astype(np.uint8)
            row = next(i for i in range(30) if np.array_equal(X[i], back))
            assert label == Y[row], "sorted, they keep their order"


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (X[:0], Y[:0], "there are no images"),
        (X[:, :0], Y, "there are no images"),
        (X[0], Y, r"x is \(N, H, W\[, C\]\) and y \(N,\), not \(8, 6, 1, 1\)"),
        (X[None], Y, "x is"),
        (X.ravel(), Y, "x is"),
        (X, Y[:-1], "x is"),
        (X, np.eye(3)[Y], "x is"),
        (np.where(X > 250, np.nan, X / 255.0), Y, r"not finite numbers \(NaN or infinity\); clean"),
        (np.where(X > 250, np.inf, X / 255.0), Y, "not finite"),
        (X / 127.5 - 1, Y, r"pixels lie between -1.0 and 1.0; scale them"),
        (X.astype(np.int64) * 200, Y, r"and 51000; scale them to 0 … 255 or 0 … 1"),
        (X * 1j, Y, "pixels are numbers, 0 … 255 or 0 … 1, not complex128"),
        (X.astype(str), Y, "pixels are numbers"),
        (X.astype(object), Y, "pixels are numbers"),
        (X, Y * 0, r"all images are of one class \(0\); two are needed"),
        (X, np.arange(30), "class 0 has 1 images; each needs 5 or more"),
        (X, np.where(Y == 0, np.nan, 1.0), "labels are not finite"),
        (X, np.array([None, "a", 3] * 10, dtype=object), "labels are whole numbers or texts"),
        (X, Y.astype("datetime64[s]"), "labels are whole numbers or texts"),
    ],
)
def test_arrays_that_cannot_be_used_say_why(x: np.ndarray, y: np.ndarray, message: str) -> None:
    with pytest.raises(DatasetError, match=f"^mine: .*{message}"):
        from_arrays("mine", x, y)


def test_sizes_are_bounded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert datasets.MAX_BYTES == 2 << 30
    monkeypatch.setattr(datasets, "MAX_BYTES", 4000)
    with pytest.raises(DatasetError, match="more than 2 GiB as float32; take fewer images"):
        from_arrays("mine", X, Y)
    np.savez_compressed(tmp_path / "bomb.npz", x=np.zeros((30, 20, 20), np.uint8), y=Y)
    assert (tmp_path / "bomb.npz").stat().st_size < 1000, "small until it is unpacked"
    with pytest.raises(DatasetError, match="unpacks to more than 2 GiB; take fewer images"):
        load(str(tmp_path / "bomb.npz"))
    _pictures(tmp_path / "photos")
    with pytest.raises(DatasetError, match="12 pictures of 32×32 are more than 2 GiB"):
        load(str(tmp_path / "photos"))


# ------------------------------------------------------------------------------------------ npz


def _npz(path: Path, **arrays: Any) -> str:
    np.savez(path, **arrays)
    return str(path)


def test_an_npz_is_a_task(tmp_path: Path) -> None:
    path = _npz(tmp_path / "mine.npz", x=X, y=Y, more=np.zeros(3))
    data = load(path)
    assert data.task == Task(path, (8, 6, 1), 3)
    expected = from_arrays(path, X, Y)
    assert np.array_equal(data.train_x, expected.train_x)
    assert np.array_equal(data.test_y, expected.test_y)


def test_an_npz_may_bring_its_test_part(tmp_path: Path) -> None:
    """The last images stay the test part; the others become 75 % training, 25 % validation."""
    tested = slice(0, 9)
    path = _npz(tmp_path / "parts.npz", x_train=X, y_train=Y, x_test=X[tested], y_test=Y[tested])
    data, whole = load(path), from_arrays(path, X, Y)
    assert data.task == whole.task
    free = len(data.train_x) + len(data.valid_x)
    assert free == len(X)
    assert len(data.train_x) == pytest.approx(0.75 * free, abs=2)
    scaled = np.concatenate([whole.train_x, whole.valid_x, whole.test_x])
    assert sorted(map(bytes, np.concatenate([data.train_x, data.valid_x]))) == sorted(
        map(bytes, scaled)
    )
    assert len(data.test_x) == 9
    known = {bytes(image) for image in scaled}
    assert {bytes(image) for image in data.test_x} <= known
    for arrays in (
        {"x_train": X, "y_train": Y, "x_test": X[:9], "y_test": Y[:8]},
        {"x_train": X, "y_train": Y[:-1], "x_test": X[:9], "y_test": Y[:10]},
        {"x_train": X[:4], "y_train": Y[:4], "x_test": X, "y_test": Y},
    ):
        with pytest.raises(DatasetError, match=r"parts\.npz"):
            load(_npz(tmp_path / "parts.npz", **arrays))


def _content(kind: str, tmp_path: Path) -> bytes:
    """A wrong .npz of some kind."""
    buffer = io.BytesIO()
    if kind == "a pickle":
        return pickle.dumps({"x": X, "y": Y})
    if kind == "an npy":
        np.save(buffer, X)
    elif kind == "objects":
        np.savez(buffer, x=np.array([{}] * 30, dtype=object), y=Y)
    elif kind == "object labels":
        np.savez(buffer, x=X, y=np.array([None] * 30, dtype=object))
    elif kind == "only x":
        np.savez(buffer, x=X)
    elif kind == "other names":
        np.savez(buffer, images=X, labels=Y)
    elif kind in ("a header that lies", "a member of text"):
        header = io.BytesIO()
        np.lib.format.write_array_header_1_0(
            header, {"descr": "|u1", "fortran_order": False, "shape": (10**6, 10**6, 10**3)}
        )
        with zipfile.ZipFile(buffer, "w") as archive:
            archive.writestr("x.npy", header.getvalue() + b"abc" if "lies" in kind else "hello")
            archive.writestr("y.npy", b"hello")
    elif kind == "damaged":
        np.savez_compressed(buffer, x=X, y=Y)
        content = bytearray(buffer.getvalue())
        content[150:400] = bytes(250)
        return bytes(content)
    elif kind == "cut":
        np.savez(buffer, x=X, y=Y)
        return buffer.getvalue()[:700]
    return buffer.getvalue() if kind != "empty" else b""


KINDS = ["empty", "a pickle", "an npy", "objects", "object labels", "only x", "other names",
         "a header that lies", "a member of text", "damaged", "cut"]  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_a_wrong_npz_is_a_dataset_error(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.npz"
    path.write_bytes(_content(kind, tmp_path))
    with pytest.raises(
        DatasetError, match=r"mine\.npz: (cannot be read as \.npz|needs the arrays)"
    ):
        load(str(path))


@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(st.tuples(st.integers(0, 2300), st.binary(min_size=1, max_size=8)), min_size=1))
def test_no_damage_whatever_escapes_as_another_error(
    tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[int, bytes]]
) -> None:
    buffer = io.BytesIO()
    np.savez(buffer, x=X, y=Y)
    content = bytearray(buffer.getvalue())
    for place, piece in changes:
        content[place : place + len(piece)] = piece
    path = tmp_path_factory.getbasetemp() / "fuzzed.npz"
    path.write_bytes(bytes(content))
    try:
        data = load(str(path))
    except DatasetError as error:
        assert "fuzzed.npz" in str(error)
    else:
        assert data.task.classes >= 2


# --------------------------------------------------------------------------------------- folders


def _pictures(
    folder: Path, count: int = 6, mode: str = "RGB", size: tuple[int, int] = (20, 20)
) -> Path:
    """Two classes that differ in brightness."""
    for label, level in (("dark", 40), ("light", 200)):
        (folder / label).mkdir(parents=True, exist_ok=True)
        for i in range(count):
            picture = Image.new("L", size, level + i).convert(mode)
            picture.save(folder / label / f"{i:03}.png")
    return folder


def test_a_folder_of_pictures_is_a_task(tmp_path: Path) -> None:
    data = load(str(_pictures(tmp_path / "photos")), size=16)
    assert data.task == Task(str(tmp_path / "photos"), (16, 16, 3), 2)
    x, y = _all(data)
    assert (x[y == 0].mean() < x[y == 1].mean()) and len(y) == 12
    assert float(x[y == 0].min()) == pytest.approx(40 / 127.5 - 1, abs=1e-3)
    assert data.notes == ("12 of 12 pictures resized to 16×16",)


def test_grey_pictures_have_one_channel_and_it_is_said(tmp_path: Path) -> None:
    for mode in ("L", "LA", "1"):
        folder = _pictures(tmp_path / mode, mode=mode)
        data = load(str(folder), size=20)
        assert data.task.input_shape == (20, 20, 1)
        assert data.notes == ("all pictures are grey: one channel",)


def test_some_grey_ones_among_colours_are_given_three_channels(tmp_path: Path) -> None:
    folder = _pictures(tmp_path / "photos")
    Image.new("L", (20, 20), 90).save(folder / "dark" / "grey.png")
    data = load(str(folder), size=20)
    assert data.task.input_shape == (20, 20, 3)
    assert data.notes == ("1 grey pictures given three equal channels",)


def test_odd_sized_and_unreadable_pictures_are_told(tmp_path: Path) -> None:
    folder = _pictures(tmp_path / "photos", size=(20, 20))
    Image.new("RGB", (7, 33), (30, 30, 30)).save(folder / "dark" / "odd.jpg")
    (folder / "dark" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n not a picture")
    good = (folder / "light" / "000.png").read_bytes()
    (folder / "light" / "cut.png").write_bytes(good[: len(good) // 2])
    (folder / "light" / "notes.txt").write_text("no picture, and not taken for one")
    data = load(str(folder), size=20)
    assert len(_all(data)[1]) == 13
    assert "2 unreadable pictures left out, first broken.png" in data.notes[0]
    assert data.notes[1] == "1 of 13 pictures resized to 20×20"


def test_sixteen_bits_a_pixel_are_reduced_not_clipped(tmp_path: Path) -> None:
    folder = tmp_path / "scans"
    for label, level in (("dark", 10_000), ("light", 60_000)):
        (folder / label).mkdir(parents=True)
        for i in range(5):
            picture = Image.fromarray(np.full((9, 9), level, dtype=np.uint16))
            picture.save(folder / label / f"{i}.png")
    data = load(str(folder), size=9)
    x, y = _all(data)
    assert float(x[y == 0].mean()) == pytest.approx(10_000 / 32767.5 - 1, abs=0.01)
    assert float(x[y == 1].mean()) == pytest.approx(60_000 / 32767.5 - 1, abs=0.01)
    assert "10 pictures of 16 bits a pixel reduced to 8" in data.notes


def test_palettes_and_transparency_are_understood(tmp_path: Path) -> None:
    for mode in ("P", "RGBA"):
        data = load(str(_pictures(tmp_path / mode, mode=mode)), size=20)
        assert data.task.input_shape == (20, 20, 3)
        x, y = _all(data)
        assert x[y == 0].mean() < x[y == 1].mean()


def test_folders_that_cannot_be_used_say_what_to_do(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(DatasetError, match=r"no pictures. Expected one folder per class .*empty/c"):
        load(str(empty))
    flat = _pictures(tmp_path / "flat") / "dark"
    with pytest.raises(DatasetError, match="one folder per class"):
        load(str(flat))
    one = tmp_path / "one"
    (_pictures(tmp_path / "both") / "dark").rename(_made(one) / "dark")
    with pytest.raises(DatasetError, match=r"all images are of one class \(dark\); two are needed"):
        load(str(one))
    with pytest.raises(DatasetError, match="class dark has 3 images; each needs 5 or more"):
        load(str(_pictures(tmp_path / "few", count=3)))
    broken = _pictures(tmp_path / "broken")
    for file in broken.rglob("*.png"):
        file.write_bytes(b"hello")
    with pytest.raises(DatasetError, match=r"none of 12 pictures could be read; first: .*000.png"):
        load(str(broken))


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def test_a_picture_that_unpacks_to_gigabytes_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = _pictures(tmp_path / "photos")
    Image.new("L", (400, 400)).save(folder / "dark" / "bomb.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    data = load(str(folder), size=20)
    assert "1 unreadable pictures left out, first bomb.png" in data.notes[0]


# ----------------------------------------------------------------------------------------- names


def test_names_and_paths() -> None:
    assert load("digits") is digits()
    with pytest.raises(DatasetError, match=r"'grasp' has a shape and surrogates but no images"):
        load("grasp")
    for name in ("digit", "/nowhere/at/all", "missing.npz"):
        with pytest.raises(UnknownName, match="A path of a folder or .npz file is understood too"):
            load(name)
    with pytest.raises(UnknownName, match="did you mean digits"):
        load("digit")


# ---------------------------------------------------------------------------------------- shrunk


def test_shrunk_images_are_means_of_squares() -> None:  # G23
    """Against Pillow's box filter, which is an implementation of its own; nothing else changes."""
    data = from_arrays("bars", X, Y)
    half = shrunk(data, 2)
    assert half.task == Task("bars", (4, 3, 1), 3)
    for part in ("train", "valid", "test"):
        x, before = getattr(half, f"{part}_x"), getattr(data, f"{part}_x")
        assert (x.dtype, x.shape) == (np.float32, (len(before), 4, 3, 1))
        for mine, image in zip(x, before, strict=True):
            theirs = Image.fromarray(image[..., 0]).resize((3, 4), Image.Resampling.BOX)
            np.testing.assert_allclose(mine[..., 0], np.asarray(theirs), atol=1e-6)
        assert np.array_equal(getattr(half, f"{part}_y"), getattr(data, f"{part}_y"))
    assert shrunk(data, 1) is data
    assert half.notes == (*data.notes, "images shrunk to 4×3")


@pytest.mark.parametrize("divisor", [3, 4, 0, -2])
def test_images_are_shrunk_evenly_or_not_at_all(divisor: int) -> None:
    with pytest.raises(DatasetError, match="8×6"):
        shrunk(from_arrays("bars", X, Y), divisor)
