"""What a report says beside its journal: on which images it rests, with which software, on which machine."""

import importlib.metadata
import json
import platform
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import file_digest
from pathlib import Path
from typing import Final, cast

from cnnbo import __version__
from cnnbo.commit import source_commit
from cnnbo.models.svhn.data import side_sizes
from cnnbo.models.svhn.fetch import is_official
from cnnbo.models.svhn.layout import FILES, TUNING_PARTS, count_images, part_path
from cnnbo.scheduler.codec import decode_value, encode_value
from cnnbo.scheduler.errors import ConfigurationError

FACTS_NAME: Final = "facts.json"
"""File of a bundle in which these facts stand: there they count, not those of the machine that reads it."""

_DISTRIBUTION: Final = "cnnbo"


@dataclass(frozen=True, slots=True)
class DataFacts:
    """What is known of a data folder.

    Attributes:
        name: of the folder; empty where there is none.
        is_svhn: whether its files are, byte for byte, the official ones of SVHN.
        images: how many there are, by part (`train`, `extra`, `test`); a part that can't be read is missing.
        sha256: checksums by the files' names; empty where nobody asked for them.
    """

    name: str = ""
    is_svhn: bool = False
    images: Mapping[str, int] = field(default_factory=dict)
    sha256: Mapping[str, str] = field(default_factory=dict)

    @property
    def sides(self) -> tuple[int, int] | None:
        """Sizes of the fold's training and validation sides; None = unknown."""
        counts = [self.images.get(part) for part in TUNING_PARTS]
        known = [count for count in counts if count is not None]
        return side_sizes(sum(known)) if len(known) == len(counts) else None


@dataclass(frozen=True, slots=True)
class SoftwareFacts:
    """The software that a report, or its bundle, was made with.

    Attributes:
        cnnbo: version.
        commit: of cnnbo's source, as `source_commit` tells it.
        python: version.
        packages: versions of what cnnbo requires, as far as it is installed, by name.
    """

    cnnbo: str
    commit: str | None
    python: str
    packages: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class MachineFacts:
    """The machine that a report, or its bundle, was made on.

    Attributes:
        system: kernel and C library.
        processor: as it calls itself.
        driver: version of the NVIDIA driver; None where there is none, or no device of the report needed it.
    """

    system: str
    processor: str
    driver: str | None


@dataclass(frozen=True, slots=True)
class Facts:
    """All of that."""

    data: DataFacts
    software: SoftwareFacts
    machine: MachineFacts

    def to_json(self) -> str:
        """As `facts.json` holds it; the same facts give the same text."""
        return json.dumps(encode_value(self), indent=2, sort_keys=True, default=dict) + "\n"


def read_facts(state: Path) -> Facts | None:
    """The facts that came with a bundle; None where the state folder is no bundle.

    Raises:
        ConfigurationError: they are damaged.
    """
    path = state / FACTS_NAME
    if not path.exists():
        return None
    try:
        return cast(Facts, decode_value(Facts, json.loads(path.read_bytes())))
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigurationError(f"{path}: these are no facts of a bundle ({error}); unzip it anew.") from error


def gather_facts(data_dir: str | None, needs_driver: bool) -> Facts:
    """Look at data, software and machine as they are now.

    Args:
        data_dir: the data folder; None where there is none.
        needs_driver: whether to ask for the version of the NVIDIA driver.
    """
    from cnnbo.daemon.devices.cpu import processor_name

    packages = dict(sorted(_installed()))
    software = SoftwareFacts(__version__, source_commit(), platform.python_version(), packages)
    machine = MachineFacts(platform.platform(), processor_name(), _driver() if needs_driver else None)
    return Facts(DataFacts() if data_dir is None else data_facts(Path(data_dir)), software, machine)


def data_facts(folder: Path) -> DataFacts:
    """Look at a data folder; no image or label is read, but the files to their ends."""
    is_svhn = all((folder / name).is_file() and is_official(folder / name) for name in FILES.values())
    return DataFacts(folder.name, is_svhn, dict(_counts(folder)))


def _counts(folder: Path) -> Iterator[tuple[str, int]]:
    for part in FILES:
        try:
            yield part, count_images(part_path(folder, part))
        except ConfigurationError:
            continue


def checksums(folder: Path) -> dict[str, str]:
    """SHA-256 of the files of a data folder that are there, by name."""
    found = {}
    for name in FILES.values():
        if (folder / name).is_file():
            with (folder / name).open("rb") as file:
                found[name] = file_digest(file, "sha256").hexdigest()
    return found


def _installed() -> Iterator[tuple[str, str]]:
    """What cnnbo and its extras require, directly or not, as far as it is installed, with versions."""
    waiting, seen = [_DISTRIBUTION], set[str]()
    while waiting:
        name = _canonical(waiting.pop())
        if name in seen:
            continue
        seen.add(name)
        try:
            distribution = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            continue  # of an extra, or for another system
        yield name, distribution.version
        is_ours = name == _DISTRIBUTION
        wanted = [each for each in distribution.requires or () if is_ours or "extra ==" not in each]
        waiting += [re.split(r"[^A-Za-z0-9._-]", requirement, maxsplit=1)[0] for requirement in wanted]


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _driver() -> str | None:
    import pynvml

    try:
        pynvml.nvmlInit()
        try:
            return str(pynvml.nvmlSystemGetDriverVersion())
        finally:
            pynvml.nvmlShutdown()
    except pynvml.NVMLError:
        return None
