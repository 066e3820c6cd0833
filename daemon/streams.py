"""What a command says: lines, the log, the value in its output, its progress.

Everything here is written by whatever the user runs, so it is taken as hostile: garbage, gigabytes and lines without an
end cost neither memory nor the trial. Standard library only: the trial runner imports it.
"""

import json
import math
import os
import re
import signal
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any

from cnnbo.daemon.executors.base import PHASES, Progress

OUTPUT_LINE_LIMIT = 16 << 10
"""Bytes of a line of output in which a pattern is looked for; of a longer line, the last ones."""

PROGRESS_LINE_LIMIT = 64 << 10
"""Bytes a progress line must stay below."""

_PATTERN_CPU_S = 2.0
_MAX_METRICS = 64
_MAX_METRIC_NAME = 100


class Lines:
    r"""Cuts a stream into lines at \n and \\r (progress bars), holding back the last, unfinished one.

    A line longer than `limit` bytes keeps its end only, so that a stream without any newline takes no memory.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._rest = b""

    def feed(self, data: bytes) -> list[bytes]:
        """The lines that `data` completes, without their ends; empty ones are left out."""
        *lines, rest = (self._rest + data).replace(b"\r", b"\n").split(b"\n")
        self._rest = rest[-self._limit :]
        return [line[-self._limit :] for line in lines if line]

    def finish(self) -> list[bytes]:
        """The last line, if the stream ended without a newline."""
        return self.feed(b"\n")


class Log:
    """The file `log`; at half of the limit it becomes `log.1`, so that the newest output is what is kept."""

    def __init__(self, path: Path, limit_mib: float) -> None:
        self._path = path
        self._half = max(1, int(limit_mib * 1024 * 1024 / 2))
        self._file = self._open()
        self._size = os.fstat(self._file).st_size

    def _open(self) -> int:
        return os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)

    def write(self, data: bytes) -> None:
        """Append; a disk that is full costs the log some lines, never the trial its life."""
        data = data[-self._half :]
        with suppress(OSError):
            if self._size + len(data) > self._half:
                self._rotate()
            self._size += os.write(self._file, data)

    def _rotate(self) -> None:
        self._path.replace(self._path.with_name("log.1"))
        full, self._file = self._file, self._open()
        os.close(full)
        self._size = 0


class ValueFinder:
    """Finds the value in the output of a script that nobody may edit.

    Attributes:
        matches: how often the pattern matched a number so far.
        problem: a sentence if the pattern had to be given up, else empty.
    """

    def __init__(self, pattern: str, use: str, maximize: bool) -> None:
        """Raises `re.error` for a pattern that isn't one; `use` is `last`, `best` or `mean`."""
        self._pattern = re.compile(pattern)
        self._use = use
        self._better = max if maximize else min
        self._lines = Lines(OUTPUT_LINE_LIMIT)
        self._last = math.nan
        self._best = math.nan
        self._sum = 0.0
        self.matches = 0
        self.problem = ""
        signal.signal(signal.SIGVTALRM, _raise_timeout)

    @property
    def value(self) -> float | None:
        """The value so far, maybe NaN or infinite; None without a match."""
        if self.matches == 0:
            return None
        return {"last": self._last, "best": self._best, "mean": self._sum / self.matches}[self._use]

    def feed(self, data: bytes) -> list[float]:
        """The numbers found in the lines that `data` completes."""
        return self._search_in_time(self._lines.feed(data))

    def finish(self) -> list[float]:
        """The numbers in a last line without an end."""
        return self._search_in_time(self._lines.finish())

    def _search_in_time(self, lines: list[bytes]) -> list[float]:
        """Search under a limit: a pattern like `(a+)+b` can think for years, deaf to the lifeline all the while."""
        if self.problem or not lines:
            return []
        found: list[float] = []
        try:
            # CPU time, not time: on a busy box a slow search proves nothing. `re` looks at signals as it goes.
            signal.setitimer(signal.ITIMER_VIRTUAL, _PATTERN_CPU_S)
            try:
                for line in b"\n".join(lines).decode(errors="replace").split("\n"):
                    found += self._numbers_in(line)
            finally:
                signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        except TimeoutError:
            self.problem = (
                f"report.pattern {self._pattern.pattern!r} needed over {_PATTERN_CPU_S:g} s of CPU time for a piece of "
                "output and was given up; write it without a repetition inside a repetition."
            )
        for value in found:
            self._count(value)
        return found

    def _numbers_in(self, line: str) -> list[float]:
        found = []
        for match in self._pattern.finditer(line):
            text = match[1 if self._pattern.groups else 0] or ""
            try:
                found.append(float(text.rstrip(".")))  # [0-9.]+ takes the full stop of "accuracy 0.93." with it
            except ValueError:
                continue
        return found

    def _count(self, value: float) -> None:
        self.matches += 1
        self._last = value
        self._sum += value
        # An epoch that was NaN doesn't spoil the best of the others.
        if math.isfinite(value):
            self._best = self._better(self._best, value) if math.isfinite(self._best) else value


def _raise_timeout(signum: int, frame: FrameType | None) -> None:
    raise TimeoutError


def _whole(value: object) -> int | None:
    """A count of steps or epochs, if it is one."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 53 else None


def read_metrics(value: object) -> dict[str, float]:
    """Of whatever stands under `metrics`, the finite numbers, 64 at most, with names that fit on a screen."""
    found: dict[str, float] = {}
    for name, number in value.items() if isinstance(value, dict) else ():
        # Half a surrogate pair and what moves a cursor aren't printable, and would break screens and topics.
        sensible = len(name) <= _MAX_METRIC_NAME and name.isprintable() and len(found) < _MAX_METRICS
        if sensible and isinstance(number, int | float) and not isinstance(number, bool):
            with suppress(OverflowError):  # an integer of a thousand digits
                if math.isfinite(number):
                    found[name] = float(number)
    return found


def parse_progress(line: bytes) -> Progress | None:
    """Read a progress line of a trial; None if it is none. What is not as it should be is left out."""
    if len(line) >= PROGRESS_LINE_LIMIT:  # `Lines` cut it
        return None
    try:
        data: Any = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return read_progress(data)


def read_progress(data: object) -> Progress | None:
    """What a report tells as JSON data; None if it is none. What is not as it should be is left out."""
    if not isinstance(data, dict):
        return None
    counts = {name: _whole(data.get(name)) for name in ("step", "steps", "epoch", "epochs")}
    phase = data.get("phase")
    return Progress(**counts, metrics=read_metrics(data.get("metrics")), phase=phase if phase in PHASES else None)


def merge_progress(older: Progress, newer: Progress) -> Progress:
    """What is known after both: the newer figure of each, so that no metric is lost between two reports."""
    metrics = {**older.metrics, **newer.metrics}
    return Progress(
        step=older.step if newer.step is None else newer.step,
        steps=older.steps if newer.steps is None else newer.steps,
        epoch=older.epoch if newer.epoch is None else newer.epoch,
        epochs=older.epochs if newer.epochs is None else newer.epochs,
        metrics=metrics if len(metrics) <= _MAX_METRICS else newer.metrics,
        phase=older.phase if newer.phase is None else newer.phase,
    )
