"""SVHN's "cropped digits" files: what must be in them, and reading them.

The layout of http://ufldl.stanford.edu/housenumbers/ (format 2): MATLAB version 5, `X` uint8 of shape (32, 32, 3, N),
and `y` of shape (N, 1) with labels 1 to 10, of which 10 means the digit 0.
"""

import errno
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from cnnbo.scheduler.errors import ConfigurationError

Images = npt.NDArray[np.uint8]
"""Colour images, shape (N, 32, 32, 3), values 0-255."""

Digits = npt.NDArray[np.uint8]
"""The digit each image shows, shape (N,), values 0-9."""

SIDE: Final = 32
CLASSES: Final = 10
LUMA: Final = (0.2125, 0.7154, 0.0721)
"""What red, green and blue weigh in grey (Rec. 709): scikit-image's `rgb2gray`, which the code of 2016 used."""

FILES: Final = {"train": "train_32x32.mat", "extra": "extra_32x32.mat", "test": "test_32x32.mat"}
"""Part of the data set with the name of its file."""

TUNING_PARTS: Final = ("train", "extra")
"""The parts that tuning may see. The test set is opened for the final scores only."""

_REMEDY: Final = "`cnnbo data fetch DIR` gets the real files, `cnnbo data synth DIR` draws some"


def part_path(folder: Path, part: str) -> Path:
    """Where a part lies in a data folder.

    Raises:
        ConfigurationError: the folder or the file is not there, or closed to this user.
    """
    path = folder / FILES[part]
    try:
        if path.is_file():
            if not os.access(path, os.R_OK):  # asked, not tried: the test set is not opened here
                raise _closed(path, "r", os.strerror(errno.EACCES))
            return path
        is_folder = folder.is_dir()
    except OSError as error:
        raise _closed(folder, "rx", error.strerror or str(error)) from error
    if not is_folder:
        raise ConfigurationError(f"{folder} is not a folder; {_REMEDY}.")
    raise ConfigurationError(f"{folder} holds no {FILES[part]}; {_REMEDY}.")


def _closed(path: Path, needed: str, reason: str) -> ConfigurationError:
    return ConfigurationError(
        f"{path} can't be read by the user {_user()} ({reason}); open it to that user (chmod o+{needed} it, o+x "
        "each folder above it), or keep the data elsewhere."
    )


def _user() -> str:
    import pwd

    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:  # in a container
        return str(os.geteuid())


def count_images(path: Path) -> int:
    """How many images a file announces in its header; no image or label is read.

    Raises:
        ConfigurationError: the file can't be read as a .mat file, or announces something else than images.
    """
    from scipy.io import whosmat

    try:
        shapes = {name: shape for name, shape, _ in whosmat(path)}
    except Exception as error:  # see `_load`
        raise _unreadable(path, error) from error
    shape = shapes.get("X", ())
    if len(shape) != 4:
        raise ConfigurationError(f"{path}: X has shape {shape}, not (32, 32, 3, N); is this SVHN's format 2?")
    return int(shape[3])


def read_part(path: Path) -> tuple[Images, Digits]:
    """Read and check one file; needs about twice the memory of its images for a moment.

    Returns:
        images and digits, N of each, N >= 1, in the file's order.

    Raises:
        ConfigurationError: the file is truncated, is something else, or holds other shapes, types or labels.
    """
    content = _load(path)
    pixels, labels = (_variable(path, content, name) for name in ("X", "y"))
    if pixels.dtype != np.uint8:
        raise ConfigurationError(
            f"{path}: X is of type {pixels.dtype}, not uint8; save the pixels as whole numbers 0-255."
        )
    if pixels.ndim != 4 or pixels.shape[:3] != (SIDE, SIDE, 3) or pixels.shape[3] == 0:
        raise ConfigurationError(f"{path}: X has shape {pixels.shape}, not (32, 32, 3, N); is this SVHN's format 2?")
    images = pixels.transpose(3, 0, 1, 2)
    if labels.shape not in ((len(images), 1), (1, len(images))):
        raise ConfigurationError(
            f"{path}: y has shape {labels.shape}, not ({len(images)}, 1); give each image of X one label."
        )
    return images, _digits(path, labels.ravel())


def _load(path: Path) -> Mapping[str, Any]:
    from scipy.io import loadmat  # 1 s and 90 MB that the daemon need not pay

    try:
        return loadmat(path, variable_names=["X", "y"])
    except Exception as error:  # damaged bytes make SciPy raise nearly anything: zlib.error, ValueError, TypeError, …
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> ConfigurationError:
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    return ConfigurationError(
        f"{path} can't be read as a MATLAB 5 file ({reason}); it may be cut short or be something else: get it again."
    )


def _variable(path: Path, content: Mapping[str, Any], name: str) -> npt.NDArray[Any]:
    if not isinstance(content.get(name), np.ndarray):
        raise ConfigurationError(f"{path} holds no {name}; it needs X with the images and y with their labels.")
    array: npt.NDArray[Any] = content[name]
    return array


def _digits(path: Path, labels: npt.NDArray[Any]) -> Digits:
    if labels.dtype.kind not in "uif":
        raise ConfigurationError(
            f"{path}: y is of type {labels.dtype}, not numbers; use labels 1 to 10 (10 = digit 0)."
        )
    strange = np.flatnonzero(~np.isin(labels, np.arange(1, CLASSES + 1)))
    if strange.size:
        row = int(strange[0])
        zero = " A digit 0 is labelled 10 here." if labels[row] == 0 else ""
        raise ConfigurationError(
            f"{path}: image {row + 1} is labelled {labels[row]:g}, and labels go from 1 to 10 (10 = digit 0).{zero}"
        )
    return labels.astype(np.uint8) % np.uint8(CLASSES)


def write_part(path: Path, images: Images, digits: Digits) -> None:
    """Write a file in the official layout; the same content gives the same bytes at any time.

    Args:
        path: the file to be written; its folder exists.
        images: shape (N, 32, 32, 3).
        digits: shape (N,), 0-9.
    """
    from scipy.io import savemat

    labels = np.where(digits == 0, CLASSES, digits).astype(np.uint8)
    savemat(path, {"X": images.transpose(1, 2, 3, 0), "y": labels[:, None]}, do_compression=True)
    with path.open("r+b") as file:
        # SciPy puts the date into the 116 bytes that MATLAB reserves for a free text.
        file.write(b"MATLAB 5.0 MAT-file, SVHN layout, written by cnnbo".ljust(116))
