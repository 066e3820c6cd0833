"""The raw rows: one JSON object a line, appended as runs end, read back to resume and to report."""

import fcntl
import json
from collections.abc import Iterable
from pathlib import Path

from proposing.simulation import Row

Key = tuple[str, str, int, int, int]
"""(problem, method, seed, devices, evaluations)."""


def append(path: Path, row: Row) -> None:
    """Add a row at once and whole, also when several processes write the same file."""
    line = json.dumps(row.to_dict(), separators=(",", ":")) + "\n"
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.write(line)


def load(paths: Iterable[Path]) -> list[Row]:
    """All rows of the files that exist, in order.

    Raises:
        ValueError: a line is no row; it names file and line.
    """
    return [row for path in paths if path.exists() for row in _rows(path)]


def _rows(path: Path) -> list[Row]:
    rows = []
    for number, line in enumerate(path.read_text().splitlines(), start=1):
        try:
            rows.append(Row(**json.loads(line)))
        except (ValueError, TypeError) as error:
            raise ValueError(f"{path}:{number} is no row of this benchmark; delete the line and run again.") from error
    return rows
