"""The data folder: which data it is, and whether it is whole, as far as that is quickly told."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from cnnbo.cli.doctor.finding import Finding, fail, from_error, ok
from cnnbo.cli.doctor.scope import Scope
from cnnbo.scheduler.errors import ConfigurationError

_READ_BYTES: Final = 32 << 20
"""Files of up to this size are read to their end, in a second or two."""

_HASH_BYTES: Final = 256 << 20
"""Files of up to this size are compared with the official ones: SVHN's train_32x32.mat is 174 MiB."""

_WROTE: Final = b"written by cnnbo"


def check_data(scope: Scope) -> Iterator[Finding]:
    """The folder of `--data` or of the study file."""
    folder = scope.data
    if folder is None:
        return
    if scope.runs_command:
        yield from _any_folder(folder)
        return
    try:
        yield ok("data", describe(folder))
    except ConfigurationError as error:
        yield from from_error("data", error)
    except OSError as error:
        yield fail("data", f"{error.filename}: can't be read ({error.strerror})", _readable(folder))


def _any_folder(folder: Path) -> Iterator[Finding]:
    """A command's data may be of any kind."""
    if not folder.is_dir():
        yield fail("data", f"{folder} is not a folder", "correct data.dir in the study file, or --data DIR")
    elif not os.access(folder, os.R_OK | os.X_OK):
        yield fail("data", f"{folder} can't be read by this user", _readable(folder))
    else:
        yield ok("data", f"{folder} is there; what is in it, only the study's command knows")


def _readable(folder: Path) -> str:
    return f"let the user of the trials read it: chmod -R a+rX {folder}, or a group of theirs"


def describe(folder: Path) -> str:
    """Which data a folder in SVHN's layout holds, and how far that was looked into.

    No image and no label of the test set is read.

    Raises:
        ConfigurationError: a file is missing, damaged or of another layout.
        OSError: one can't be read.
    """
    from cnnbo.models.svhn.fetch import is_official
    from cnnbo.models.svhn.layout import FILES, TUNING_PARTS, count_images, part_path, read_part

    paths: dict[str, Path] = {}
    problems: list[str] = []
    for part in FILES:
        try:
            paths[part] = part_path(folder, part)
        except ConfigurationError as error:
            problems += error.problems
    if problems:
        raise ConfigurationError(list(dict.fromkeys(problems)))
    counts = ", ".join(f"{count_images(path):,} {part}" for part, path in paths.items())
    small = [paths[part] for part in TUNING_PARTS if paths[part].stat().st_size <= _READ_BYTES]
    for path in small:
        read_part(path)
    tuning = [paths[part] for part in TUNING_PARTS]
    compared = [path for path in tuning if path.stat().st_size <= _HASH_BYTES]
    official = [path for path in compared if is_official(path)]
    if official == tuning:
        kind = "the official SVHN, by its checksums"
    elif official:
        kind = f"the official SVHN, by the checksum of {' and '.join(path.name for path in official)}"
    else:
        kind = "drawn by cnnbo, not SVHN" if _is_ours(tuning[0]) else "not the official SVHN"
    if len(small) == len(tuning):
        return f"{folder}: {counts} images; {kind}"
    return f"{folder}: {counts} images; {kind}; not read to the end (`cnnbo data verify {folder}` does)"


def _is_ours(path: Path) -> bool:
    with path.open("rb") as file:
        return _WROTE in file.read(116)  # the free text that a MATLAB file begins with
