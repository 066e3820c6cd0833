"""One file with all that somebody else needs to draw a report again and to repeat its proposals."""

import errno
import io
import json
import tempfile
import zipfile
from collections.abc import Mapping
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Final

from jinja2 import Environment, StrictUndefined

from cnnbo.cli.reporting.facts import FACTS_NAME, Facts, checksums
from cnnbo.cli.reporting.read import Record
from cnnbo.daemon.excerpt import published_spec, write_excerpt
from cnnbo.daemon.journal import JOURNAL_NAME
from cnnbo.daemon.planned import PlannedFile
from cnnbo.models.svhn.fetch import TERMS
from cnnbo.scheduler.codec import encode_value
from cnnbo.scheduler.errors import ConfigurationError
from cnnbo.scheduler.spec import StudySpec

_PACKAGE: Final = "cnnbo.cli.reporting"
_EPOCH: Final = (1980, 1, 1, 0, 0, 0)
"""The oldest time that a ZIP file can tell: the same content gives the same bytes."""

_READABLE: Final = 0o100644 << 16  # a plain file, and whom it may be read by
_MARK: Final = "cnnbo bundle of "


def check_bundle(path: Path, name: str) -> None:
    """Make sure that a bundle may be written there.

    Args:
        path: of the ZIP file; need not be there.
        name: of the study or comparison.

    Raises:
        ConfigurationError: something else than a bundle of that name is there, or its folder isn't.
    """
    if not path.parent.is_dir():
        raise ConfigurationError(f"--bundle {path}: there is no folder {path.parent}; make it, or name another file.")
    if path.exists() and _name_of(path) != name:
        raise ConfigurationError(
            f"--bundle {path}: this is no bundle of {name}, and would be lost; name another file, or remove it first."
        )


def _name_of(path: Path) -> str | None:
    """Of which study or comparison a bundle is; None where it is none."""
    try:
        with zipfile.ZipFile(path) as bundle:
            comment = bundle.comment.decode(errors="replace")
    except (OSError, zipfile.BadZipFile):
        return None
    return comment.removeprefix(_MARK) if comment.startswith(_MARK) else None


def write_bundle(record: Record, path: Path) -> None:
    """Write the bundle; takes seconds where the images are many, since it reads them all for their checksums.

    The same record, software and machine give the same bytes.

    Args:
        record: what to bundle.
        path: of the ZIP file; `check_bundle` has passed.

    Raises:
        ConfigurationError: it can't be written there.
        OSError: no space is left.
    """
    content = _zipped(_contents(record), f"{_MARK}{record.name}")
    try:
        PlannedFile(path.absolute(), content).write(None)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise
        raise ConfigurationError(
            f"--bundle {path}: can't be written ({error.strerror}); name a file in another folder."
        ) from error


def _zipped(contents: Mapping[str, bytes], comment: str) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as bundle:
        bundle.comment = comment.encode()
        for name in sorted(contents):
            entry = zipfile.ZipInfo(name, _EPOCH)
            entry.external_attr = _READABLE
            entry.compress_type = zipfile.ZIP_DEFLATED
            bundle.writestr(entry, contents[name])
    return file.getvalue()


def _contents(record: Record) -> Mapping[str, bytes]:
    facts = record.facts if record.is_bundle else _with_checksums(record)
    specs = {study.name: published_spec(study.spec) for study in record.studies}
    texts = {f"spec/{name}.json": _json(spec) for name, spec in specs.items()}
    texts |= {
        "README.md": _readme(record, facts),
        FACTS_NAME: facts.to_json(),
        "requirements.txt": "".join(f"{name}=={version}\n" for name, version in facts.software.packages.items()),
    }
    return {name: text.encode() for name, text in texts.items()} | {JOURNAL_NAME: _journal(record)}


def _with_checksums(record: Record) -> Facts:
    folder = record.spec.data_dir
    found = {} if folder is None else checksums(Path(folder))
    return replace(record.facts, data=replace(record.facts.data, sha256=found))


def _json(spec: StudySpec) -> str:
    return json.dumps(encode_value(spec), indent=2) + "\n"


def _journal(record: Record) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / JOURNAL_NAME
        write_excerpt(record.state, {each.key for each in record.stored}, target)
        return target.read_bytes()


def _readme(record: Record, facts: Facts) -> str:
    environment = Environment(autoescape=False, undefined=StrictUndefined, keep_trailing_newline=True)
    template = environment.from_string(files(_PACKAGE).joinpath("bundle.md.j2").read_text(encoding="utf-8"))
    return template.render(
        name=record.name,
        specs=record.studies,
        software=facts.software,
        licence=_licence(facts),
        has_checksums=bool(facts.data.sha256),
        has_command=any(study.spec.model is None for study in record.studies),
    )


def _licence(facts: Facts) -> str:
    if facts.data.is_svhn:
        return TERMS
    if not facts.data.name:
        return "The data are what the trained program read; those who wrote it know on which terms they may be used."
    return f"The data are those in {facts.data.name}; whoever made them says on which terms they may be used."
