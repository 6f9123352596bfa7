"""Images to train on: scikit-learn's digits, a folder of pictures, or an ``.npz`` file."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass, replace
from functools import lru_cache
from hashlib import sha256
from pathlib import Path

import numpy as np

from emnas_gym.errors import BackendMissing, DatasetError, UnknownName
from emnas_gym.tasks import DIGITS, TASKS, Task

SPLIT_SEED = 20_250
SHARES = (0.6, 0.2, 0.2)  # train, validation, test
SUFFIXES = frozenset(
    {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".ppm", ".pgm", ".tif", ".tiff"}
)
FORMS = (  # arrays of an .npz: images and labels in turns
    ("x.npy", "y.npy"),
    ("x_train.npy", "y_train.npy", "x_test.npy", "y_test.npy"),
)
PARTS = ("train_x", "train_y", "valid_x", "valid_y")  # that a search may depend on
GREY_MODES = frozenset({"1", "L", "LA", "F"})
MIN_PER_CLASS = 5  # three for training, one each for validation and test
MAX_BYTES = 2 << 30  # of decoded images: a size from outside is never trusted


@dataclass(frozen=True)
class Dataset:
    """Three fixed parts of a task's images, float32 in −1 … 1, shape (N, H, W, C).

    Attributes:
        task: Name, shape and number of classes.
        train_x: Images that weights are fitted on.
        train_y: Their classes, int64.
        valid_x: Images that a search sees the accuracy of.
        valid_y: Their classes.
        test_x: Images that no search sees; read once, to verify.
        test_y: Their classes.
        notes: What was done to the images, for people.
    """

    task: Task
    train_x: np.ndarray
    train_y: np.ndarray
    valid_x: np.ndarray
    valid_y: np.ndarray
    test_x: np.ndarray
    test_y: np.ndarray
    notes: tuple[str, ...] = ()

    @property
    def calibration(self) -> np.ndarray:
        """64 training images by which activations are quantised."""
        return self.train_x[:64]

    @property
    def digest(self) -> str:
        """Sixteen hexadecimal digits of the training and validation part; the test part apart."""
        parts = (np.ascontiguousarray(getattr(self, name)).tobytes() for name in PARTS)
        return sha256(b"".join(parts)).hexdigest()[:16]


def load(source: str, size: int = 32) -> Dataset:
    """Loads a task's images by registered name or by path.

    Args:
        source: ``"digits"``, a folder with one folder of pictures per class, or an ``.npz`` with
            ``x`` (N, H, W[, C]) and ``y`` (N,), or with ``x_train``, ``y_train``, ``x_test`` and
            ``y_test``, whose test part stays as it is.
        size: Height and width to which the pictures of a folder are resized.

    Raises:
        UnknownName: If it is neither a name nor a path.
        DatasetError: If the images cannot be used.
    """
    if source == DIGITS.name:
        return digits()
    path = Path(source)
    if path.is_dir():
        return _from_folder(path, size)
    if path.suffix == ".npz" and path.is_file():
        return _from_npz(path)
    if source in TASKS:
        raise DatasetError(
            f"the task {source!r} has a shape and surrogates but no images here: nothing can be "
            "trained or verified on it. Give a folder of images (one folder a class) or an .npz"
        )
    known = [name for name, task in TASKS.items() if task.has_images]
    raise UnknownName("task", source, known, "A path of a folder or .npz file is understood too.")


@lru_cache(maxsize=1)
def digits() -> Dataset:
    """scikit-learn's 1,797 digits, 8×8 enlarged to 16×16×1 by linear interpolation."""
    from sklearn.datasets import load_digits  # its import costs a second; only this task needs it

    bunch = load_digits()
    images = _enlarge(bunch.images.astype(np.float32) / 16.0)
    return split(DIGITS, images[..., None] * 2 - 1, bunch.target.astype(np.int64))


def shrunk(data: Dataset, divisor: int) -> Dataset:
    """The same images with height and width divided, squares of ``divisor`` pixels averaged.

    Args:
        data: Images (N, H, W, C).
        divisor: 1 changes nothing.

    Raises:
        DatasetError: If it does not divide height and width.
    """
    if divisor == 1:
        return data
    height, width, channels = data.task.input_shape
    if divisor < 1 or height % divisor or width % divisor:
        raise DatasetError(f"images of {height}×{width} have no sides of 1/{divisor}")
    shape = (height // divisor, width // divisor, channels)
    images = {
        part: getattr(data, part).reshape(-1, shape[0], divisor, shape[1], divisor, channels)
        for part in ("train_x", "valid_x", "test_x")
    }
    return replace(
        data,
        task=replace(data.task, input_shape=shape),
        notes=(*data.notes, f"images shrunk to {shape[0]}×{shape[1]}"),
        **{part: np.ascontiguousarray(x.mean(axis=(2, 4))) for part, x in images.items()},
    )


def split(
    task: Task, x: np.ndarray, y: np.ndarray, notes: tuple[str, ...] = (), tested: int = 0
) -> Dataset:
    """Splits 60/20/20 within every class, always in the same way; 75/25 if the test part is given.

    Args:
        task: What the images are for.
        x: (N, H, W, C) float32 in −1 … 1.
        y: (N,) classes 0 … classes − 1.
        notes: What was done to the images.
        tested: How many images, the last ones, are the test part; 0 to split one off.
    """
    rng = np.random.default_rng(SPLIT_SEED)
    parts: tuple[list[int], list[int], list[int]] = ([], [], [])
    free = y[: len(y) - tested]
    parts[2].extend(range(len(free), len(y)))
    shares = SHARES if not tested else (1 - SHARES[1] / sum(SHARES[:2]), SHARES[1], 0.0)
    for label in range(task.classes):
        rows = rng.permutation(np.flatnonzero(free == label))
        a = round(len(rows) * shares[0])
        b = len(rows) if tested else a + max(round(len(rows) * shares[1]), 1)
        for part, chosen in zip(parts, np.split(rows, [a, b]), strict=True):
            part.extend(chosen.tolist())
    train, valid, test = (rng.permutation(np.array(part, dtype=np.int64)) for part in parts)
    return Dataset(task, x[train], y[train], x[valid], y[valid], x[test], y[test], notes)


def _enlarge(images: np.ndarray) -> np.ndarray:
    """Doubles height and width, each new pixel between its two nearest (half-pixel centres)."""
    for axis in (1, 2):
        n = images.shape[axis]
        at = np.clip((np.arange(2 * n) + 0.5) / 2 - 0.5, 0, n - 1)
        low = np.minimum(at.astype(int), n - 2)
        shape = [1, 1, 1]
        shape[axis] = -1
        part = (at - low).reshape(shape).astype(np.float32)
        images = np.take(images, low, axis) * (1 - part) + np.take(images, low + 1, axis) * part
    return images


def _from_npz(path: Path) -> Dataset:
    try:
        with zipfile.ZipFile(path) as archive:
            sizes = {info.filename: info.file_size for info in archive.infolist()}
            form = next((form for form in FORMS if set(form) <= set(sizes)), None)
            if form is None:
                raise DatasetError(
                    f"{path}: needs the arrays x (N, H, W[, C]) and y (N,), or x_train, y_train, "
                    "x_test and y_test"
                )
            if sum(sizes[name] for name in form) > MAX_BYTES:
                raise DatasetError(f"{path}: unpacks to more than 2 GiB; take fewer images")
            arrays = [_member(archive, name) for name in form]
            for x, y in zip(arrays[::2], arrays[1::2], strict=True):
                if y.shape != (len(x),):
                    raise DatasetError(f"{path}: images {x.shape} have labels {y.shape}")
            tested = len(arrays[2]) if len(form) > 2 else 0
            x, y = np.concatenate(arrays[::2]), np.concatenate(arrays[1::2])
    except DatasetError:
        raise
    except Exception as error:  # whatever a file from outside provokes in the parsers
        raise DatasetError(f"{path}: cannot be read as .npz: {error!r}") from error
    return from_arrays(str(path), x, y, tested=tested)


def _member(archive: zipfile.ZipFile, name: str) -> np.ndarray:
    """One array; never more bytes than the archive says, and never a pickle."""
    with archive.open(name) as file:
        array: np.ndarray = np.lib.format.read_array(file, allow_pickle=False)
    return array


def from_arrays(
    name: str, x: np.ndarray, y: np.ndarray, notes: tuple[str, ...] = (), tested: int = 0
) -> Dataset:
    """Checks arrays of images and makes a data set of them.

    Args:
        name: Name of the task.
        x: (N, H, W) or (N, H, W, C); whole numbers 0 … 255 or floats 0 … 1.
        y: (N,) labels of any kind; sorted, they become the classes 0, 1, …
        notes: What was done before.
        tested: How many images, the last ones, are the test part; 0 to split one off.

    Raises:
        DatasetError: If they are empty, not finite, of one class, or do not belong together.
    """
    x = x[..., None] if x.ndim == 3 else x
    if x.ndim != 4 or y.shape != (len(x),):
        raise DatasetError(f"{name}: x is (N, H, W[, C]) and y (N,), not {x.shape} and {y.shape}")
    if not x.size:
        raise DatasetError(f"{name}: there are no images")
    _check_pixels(name, x)
    if y.dtype.kind not in "iubfUS":
        raise DatasetError(f"{name}: labels are whole numbers or texts, not {y.dtype}")
    if y.dtype.kind == "f" and not np.isfinite(y).all():
        raise DatasetError(f"{name}: labels are not finite (NaN or infinity); clean them")
    labels, classes = np.unique(y, return_inverse=True)
    counts = np.bincount(classes[: len(y) - tested], minlength=len(labels))
    if len(labels) < 2:
        raise DatasetError(f"{name}: all images are of one class ({labels[0]}); two are needed")
    if counts.min() < MIN_PER_CLASS:
        few = labels[counts.argmin()]
        raise DatasetError(
            f"{name}: class {few} has {counts.min()} images; each needs {MIN_PER_CLASS} or more"
        )
    whole = np.issubdtype(x.dtype, np.integer)
    scaled = x.astype(np.float32) / (255.0 if whole or x.max() > 1.5 else 1.0)
    task = Task(name, (int(x.shape[1]), int(x.shape[2]), int(x.shape[3])), len(labels))
    return split(task, scaled * 2 - 1, classes.astype(np.int64), notes, tested)


def _check_pixels(name: str, x: np.ndarray) -> None:
    if x.dtype.kind not in "iubf":
        raise DatasetError(f"{name}: pixels are numbers, 0 … 255 or 0 … 1, not {x.dtype}")
    if x.size * 4 > MAX_BYTES:
        raise DatasetError(f"{name}: {x.shape} is more than 2 GiB as float32; take fewer images")
    if not np.isfinite(x).all():
        raise DatasetError(f"{name}: pixels are not finite numbers (NaN or infinity); clean them")
    if x.min() < 0 or x.max() > 255:
        raise DatasetError(
            f"{name}: pixels lie between {x.min()} and {x.max()}; scale them to 0 … 255 or 0 … 1"
        )


def _from_folder(folder: Path, size: int) -> Dataset:
    groups = {p.name: sorted(p.iterdir()) for p in sorted(folder.iterdir()) if p.is_dir()}
    files = [
        (name, f) for name, group in groups.items() for f in group if f.suffix.lower() in SUFFIXES
    ]
    if not files:
        raise DatasetError(
            f"{folder}: no pictures. Expected one folder per class with files such as "
            f"{folder.name}/cat/001.png; understood are {', '.join(sorted(SUFFIXES))}"
        )
    if len(files) * size * size * 3 * 4 > MAX_BYTES:
        raise DatasetError(f"{folder}: {len(files)} pictures of {size}×{size} are more than 2 GiB")
    arrays, labels, notes = _read_pictures(files, size)
    if not arrays:
        raise DatasetError(
            f"{folder}: none of {len(files)} pictures could be read; first: {notes[0]}"
        )
    return from_arrays(str(folder), np.stack(arrays), np.array(labels), notes)


def _read_pictures(
    files: list[tuple[str, Path]], size: int
) -> tuple[list[np.ndarray], list[str], tuple[str, ...]]:
    """Reads pictures as RGB (or grey if all are), and says what was done to them."""
    try:
        from PIL import Image
    except ImportError as error:
        raise BackendMissing("reading pictures needs Pillow: pip install pillow") from error
    pictures, labels, unreadable, resized, deep = [], [], [], 0, 0
    for label, path in files:
        try:
            with Image.open(path) as opened:
                opened.draft("RGB", (size, size))
                if opened.mode.startswith("I"):  # Pillow would clip 16 bits to white
                    levels = np.clip(np.asarray(opened, dtype=np.float64) / 257, 0, 255)
                    picture = Image.fromarray(levels.round().astype(np.uint8))
                else:
                    picture = opened.convert("L" if opened.mode in GREY_MODES else "RGB")
                pictures.append(picture.resize((size, size), Image.Resampling.BILINEAR))
                resized += opened.size != (size, size)
                deep += opened.mode.startswith("I")
                labels.append(label)
        except Exception as error:  # whatever a file from outside provokes in its parser
            unreadable.append(f"{path.name} ({error})")
    greys = sum(p.mode == "L" for p in pictures)
    mode = "L" if greys == len(pictures) else "RGB"
    notes = []
    if unreadable:
        notes.append(f"{len(unreadable)} unreadable pictures left out, first {unreadable[0]}")
    if resized:
        notes.append(f"{resized} of {len(pictures)} pictures resized to {size}×{size}")
    if deep:
        notes.append(f"{deep} pictures of 16 bits a pixel reduced to 8")
    if mode == "L" and pictures:
        notes.append("all pictures are grey: one channel")
    elif greys:
        notes.append(f"{greys} grey pictures given three equal channels")
    return [np.asarray(p.convert(mode)) for p in pictures], labels, tuple(notes)
