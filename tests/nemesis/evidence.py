"""What is known of a round when it is over, as plain data: what the checkers judge."""

import json
import re
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cnnbo.daemon.journal import JOURNAL_NAME
from cnnbo.scheduler.codec import decode_event
from cnnbo.scheduler.events import Event

AttemptKey = tuple[str, int, int]
"""Study, trial, attempt."""


@dataclass(frozen=True, slots=True)
class Row:
    """One event of the journal, with the name of its study."""

    seq: int
    study: str
    event: Event


@dataclass(frozen=True, slots=True)
class AttemptFiles:
    """What an attempt left in its folder, as text; None = no such file."""

    result: str | None = None
    exit: str | None = None
    log: str = ""


@dataclass(frozen=True, slots=True)
class Round:
    """Everything the checkers look at.

    Attributes:
        rows: all events in their order.
        tables: rows of the journal's tables `study`, `trial` and `attempt`, each as a dict with the study's name.
        files: what attempts left.
        patterns: studies whose values are found in the output, with the pattern.
        shown: what `cnnbo show NAME --json` printed at the end, by study.
        devices: what `cnnbo devices --json` printed then.
        retained: the broker's retained messages then, by topic below the node's.
        untold: how many events were left in the journal that the broker had not acknowledged.
        farewell: `availability` after the daemon's orderly stop; None where the broker went with the daemon.
        outputs: what the processes printed, by file.
        doubles: what trials wrote that found their device taken.
        problems: what was seen to be wrong while the round was played.
        struck: names of the faults that were carried out.
    """

    rows: tuple[Row, ...]
    tables: Mapping[str, Sequence[Mapping[str, Any]]]
    files: Mapping[AttemptKey, AttemptFiles]
    patterns: Mapping[str, str]
    shown: Mapping[str, Mapping[str, Any]]
    devices: Sequence[Mapping[str, Any]]
    retained: Mapping[str, Any]
    untold: int = 0
    farewell: str | None = "offline"
    outputs: Mapping[str, str] = field(default_factory=dict)
    doubles: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    struck: frozenset[str] = frozenset()

    def events_of(self, study: str) -> list[Event]:
        """The events of one study."""
        return [row.event for row in self.rows if row.study == study]

    @property
    def studies(self) -> list[str]:
        """Names of the studies."""
        return list(dict.fromkeys(row.study for row in self.rows))


def read_rows(state: Path) -> tuple[Row, ...]:
    """All events of a journal nobody writes any more."""
    query = "SELECT seq, name, body FROM event JOIN study ON study.id = event.study ORDER BY seq"
    with closing(sqlite3.connect(state / JOURNAL_NAME)) as journal:
        return tuple(Row(seq, name, decode_event(json.loads(body))) for seq, name, body in journal.execute(query))


def read_tables(state: Path) -> dict[str, list[dict[str, Any]]]:
    """The tables that people query."""
    with closing(sqlite3.connect(state / JOURNAL_NAME)) as journal:
        journal.row_factory = sqlite3.Row
        names = {row["id"]: row["name"] for row in journal.execute("SELECT id, name FROM study")}
        tables = {"study": [dict(row) for row in journal.execute("SELECT * FROM study ORDER BY id")]}
        for table, order in (("trial", "study, id"), ("attempt", "study, trial, n")):
            rows = journal.execute(f"SELECT * FROM {table} ORDER BY {order}")
            tables[table] = [{**dict(row), "study": names[row["study"]]} for row in rows]
    return tables


def read_untold(state: Path) -> int:
    """How many events wait for a broker."""
    with closing(sqlite3.connect(state / JOURNAL_NAME)) as journal:
        return int(journal.execute("SELECT count (*) FROM outbox").fetchone()[0])


def read_files(state: Path) -> dict[AttemptKey, AttemptFiles]:
    """What all attempts left."""
    found = {}
    for folder in state.glob("studies/*/trials/*/*"):
        if folder.name.isdigit():
            study, trial = folder.parts[-4], int(folder.parts[-2])
            found[study, trial, int(folder.name)] = AttemptFiles(
                _text(folder / "result.json"), _text(folder / "exit.json"), _text(folder / "log") or ""
            )
    return found


def _text(path: Path) -> str | None:
    return path.read_text(errors="replace") if path.exists() else None


def read_doubles(witness: Path) -> tuple[str, ...]:
    """What trials that found their device taken wrote."""
    return tuple(f"{path.stem}: {path.read_text()}" for path in sorted(witness.glob("*.double")))


def last_match(pattern: str, log: str) -> float | None:
    """The last number that a pattern finds in an output."""
    found: Iterable[str] = re.findall(pattern, log)
    return float([*found][-1]) if re.search(pattern, log) else None
