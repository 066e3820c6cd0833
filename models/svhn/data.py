"""The tuning data of one data folder, parsed once and then shared by all trials.

The .mat files are unpacked into one file of fixed-length records, which TensorFlow reads straight from the page cache:
a new trial has its first batch at once, holds no copy of its own, and spends no Python on a batch.

The file is in the order of a fixed permutation of train + extra, of which the first 80 % are the training side and the
rest the validation side: the same fold in every trial and every run, and each side is read from front to back. A record
is one byte for the digit, then 32 x 32 x 3 bytes for the pixels, colour fastest.
"""

import contextlib
import fcntl
import hashlib
import os
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from cnnbo.models.svhn.layout import SIDE, TUNING_PARTS, Digits, Images, part_path, read_part
from cnnbo.scheduler.errors import ConfigurationError

PIXEL_BYTES: Final = SIDE * SIDE * 3
RECORD_BYTES: Final = 1 + PIXEL_BYTES
FOLD_SEED: Final = 2016
_LAYOUT_VERSION: Final = 1  # to be raised when records, order or fold change: a cache of old is then not taken for new
_CHUNK: Final = 8192  # records put together at a time: 25 MB
_FEWEST: Final = 5  # images without which one side of the fold would be empty


@dataclass(frozen=True, slots=True)
class Fold:
    """The tuning data of a folder, ready to be read.

    Attributes:
        path: the file of records.
        train: number of records of the training side, which come first; >= 1.
        validation: number of records of the validation side, the rest; >= 1.
    """

    path: Path
    train: int
    validation: int

    @property
    def training_side(self) -> range:
        """Which records are trained on while tuning."""
        return range(self.train)

    @property
    def validation_side(self) -> range:
        """Which records tuning is judged by."""
        return range(self.train, self.train + self.validation)

    @property
    def all_records(self) -> range:
        """Both sides."""
        return range(self.train + self.validation)

    def records(self) -> npt.NDArray[np.uint8]:
        """All records, read from the page cache when they are looked at, shape (train + validation, RECORD_BYTES)."""
        return np.memmap(self.path, np.uint8, "r", shape=(len(self.all_records), RECORD_BYTES))

    def validation_digits(self) -> Digits:
        """The digits of the validation side, shape (validation,)."""
        return np.array(self.records()[self.train :, 0])


def open_fold(folder: Path) -> Fold:
    """The tuning data of a folder; parses its files if nobody has done so since they were last changed.

    Any number of processes may call this at once: one builds, the others wait for it. The test set is never opened.
    Building takes about 2 GB of memory for the real 604,388 images, and leaves 1.9 GB on the disk.

    Args:
        folder: holds train_32x32.mat and extra_32x32.mat.

    Raises:
        ConfigurationError: data missing, damaged or of another layout, a sentence per file; or no room for the cache.
    """
    sources = _sources(folder)
    name = f"fold-{_key(sources)}.bin"
    places = _places(folder)
    for place in places:
        if os.access(place / name, os.R_OK):  # whoever has the data may have closed it
            return _fold(place / name)
    return _fold(_build(_writable(places), name, sources))


def _sources(folder: Path) -> list[Path]:
    sources: list[Path] = []
    problems: list[str] = []
    for part in TUNING_PARTS:
        try:
            sources.append(part_path(folder, part))
        except ConfigurationError as error:
            problems += error.problems
    if problems:
        raise ConfigurationError(list(dict.fromkeys(problems)))  # a missing folder is one problem, not two
    return sources


def _key(sources: Sequence[Path]) -> str:
    """Changes when a source file does, as far as `make` would notice."""
    facts = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in sources]
    return hashlib.sha256(repr((_LAYOUT_VERSION, FOLD_SEED, facts)).encode()).hexdigest()[:16]


def _places(folder: Path) -> tuple[Path, Path]:
    """Where a cache may lie: beside the data, or, when that is read-only, in the user's own cache."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    mark = hashlib.sha256(os.fsencode(folder.resolve())).hexdigest()[:16]
    return folder / ".cnnbo", home / "cnnbo" / f"svhn-{mark}"


def _writable(places: Sequence[Path]) -> Path:
    for place in places:
        try:
            place.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=place):
                return place
        except OSError:
            continue
    raise ConfigurationError(
        f"The parsed images can be kept neither in {places[0]} nor in {places[1]}; make one of them writable, "
        "or point XDG_CACHE_HOME at a folder with room."
    )


def _fold(path: Path) -> Fold:
    return Fold(path, *side_sizes(path.stat().st_size // RECORD_BYTES))


def side_sizes(count: int) -> tuple[int, int]:
    """How many of so many tuning images are on the training side of the fold, and how many on the validation side."""
    validation = count // 5
    return count - validation, validation


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # let go by closing, or by the kernel when the process dies
        yield


def _build(place: Path, name: str, sources: Sequence[Path]) -> Path:
    target = place / name
    with _locked(place / "lock"):
        if not target.is_file():  # whoever had the lock before may have built it
            for stale in [*place.glob("fold-*.bin"), *place.glob("*.tmp")]:
                stale.unlink()  # of files that have changed since, and of builders that were killed
            _write(target, *_read_all(sources))
    return target


def _read_all(sources: Sequence[Path]) -> tuple[list[Images], Digits]:
    images: list[Images] = []
    digits: list[Digits] = []
    problems: list[str] = []
    for path in sources:
        try:
            part = read_part(path)
        except ConfigurationError as error:
            problems += error.problems
        else:
            images.append(part[0])
            digits.append(part[1])
    if not problems and sum(map(len, images)) < _FEWEST:
        problems.append(f"{sources[0].parent} holds fewer than {_FEWEST} images, too few to train on and to validate.")
    if problems:
        raise ConfigurationError(problems)
    return images, np.concatenate(digits)


def _write(target: Path, images: Sequence[Images], digits: Digits) -> None:
    # The legacy generator on purpose: NumPy froze its stream for good, so the fold is the same on every box.
    order = np.random.RandomState(FOLD_SEED).permutation(len(digits))
    try:
        with tempfile.NamedTemporaryFile(dir=target.parent, suffix=".tmp", delete=False) as file:
            for start in range(0, len(order), _CHUNK):
                file.write(_records(images, digits, order[start : start + _CHUNK]).tobytes())
            file.flush()
            os.fsync(file.fileno())
        Path(file.name).chmod(0o644)  # other users of the box read the same data
        Path(file.name).rename(target)
    except OSError as error:
        needed_mb = len(order) * RECORD_BYTES // 1_000_000 + 1
        raise ConfigurationError(
            f"The parsed images need {needed_mb} MB in {target.parent} ({error.strerror}); make room there."
        ) from error


def _records(images: Sequence[Images], digits: Digits, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
    """The records of some rows, which count through all parts one after another; shape (len(rows), RECORD_BYTES)."""
    records = np.empty((len(rows), RECORD_BYTES), np.uint8)
    records[:, 0] = digits[rows]
    start = 0
    for part in images:
        mine = (rows >= start) & (rows < start + len(part))
        records[mine, 1:] = part[rows[mine] - start].reshape(-1, PIXEL_BYTES)
        start += len(part)
    return records
