"""The folder of a report: page, figures and tables; only an earlier report of the same name is written over."""

import errno
import re
from collections.abc import Mapping
from html import unescape
from pathlib import Path
from typing import Final

from cnnbo.cli.reporting.page import MARK, Report, page_of
from cnnbo.cli.reporting.style import standalone
from cnnbo.cli.reporting.tables import csv_of, latex_of
from cnnbo.scheduler.errors import ConfigurationError

PAGE: Final = "index.html"
FIGURES: Final = "figures"
TABLES: Final = "tables"

_MARKED: Final = re.compile(rf'<meta name="{MARK}" content="([^"]*)">')
_LINKED: Final = re.compile(rf'href="((?:{FIGURES}|{TABLES})/[^"/]+)"')


def check_folder(folder: Path, name: str) -> None:
    """Make sure that a report may be written there.

    Args:
        folder: where to; need not be there.
        name: of the study or comparison.

    Raises:
        ConfigurationError: it is a file, can't be read, or holds something else than a report of that name.
    """
    try:
        entries = sorted(path.name for path in folder.iterdir())
    except FileNotFoundError:
        return
    except NotADirectoryError as error:
        raise ConfigurationError(f"-o {folder}: this is a file; name a folder for the report.") from error
    except OSError as error:
        raise _unwritable(folder, error) from error
    if not entries:
        return
    former = _name_in(folder)
    if former is None:
        shown = ", ".join(entries[:3]) + (", …" if len(entries) > 3 else "")
        raise ConfigurationError(
            f"-o {folder}: this folder holds something else ({shown}); name a new or an empty one for the report."
        )
    if former != name:
        raise ConfigurationError(
            f"-o {folder}: this folder holds the report of {former}; name another one for {name}, or remove it first."
        )


def write_report(report: Report, folder: Path, written_at: float) -> tuple[Path, ...]:
    """Write all files of a report, and remove those of an earlier one that it doesn't have.

    Args:
        report: what to write.
        folder: where to; `check_folder` has passed.
        written_at: in seconds since the epoch.

    Returns:
        the files, the page first.

    Raises:
        ConfigurationError: the folder can't be written.
        OSError: no space is left.
    """
    contents = contents_of(report, written_at)
    try:
        stale = _linked(folder) - contents.keys()
        for name, content in contents.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)
        for name in stale:
            (folder / name).unlink(missing_ok=True)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise
        raise _unwritable(folder, error) from error
    return tuple(folder / name for name in contents)


def contents_of(report: Report, written_at: float) -> Mapping[str, bytes]:
    """The files of a report by name, the page first: where it is cut short, the folder is known to be a report's."""
    contents = {PAGE: page_of(report, written_at).encode()}
    for drawing in report.drawings:
        contents[f"{FIGURES}/{drawing.key}.svg"] = standalone(drawing.svg).encode()
        contents[f"{FIGURES}/{drawing.key}.png"] = drawing.png
    for table in report.tables:
        contents[f"{TABLES}/{table.key}.csv"] = csv_of(table).encode()
        if not table.is_long:
            contents[f"{TABLES}/{table.key}.tex"] = latex_of(table).encode()
    return contents


def _unwritable(folder: Path, error: OSError) -> ConfigurationError:
    return ConfigurationError(f"-o {folder}: can't be written ({error.strerror}); name another folder.")


def _page_in(folder: Path) -> str:
    page = folder / PAGE
    return page.read_text(encoding="utf-8", errors="replace") if page.is_file() else ""


def _name_in(folder: Path) -> str | None:
    """Of which study or comparison the report in a folder is; None where there is none."""
    found = _MARKED.search(_page_in(folder))
    return None if found is None else unescape(found[1])


def _linked(folder: Path) -> set[str]:
    """The figures and tables of the report in a folder: those its page leads to."""
    return {unescape(name) for name in _LINKED.findall(_page_in(folder))}
