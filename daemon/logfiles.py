"""Reading the logs of trials, where the runner left them, and keeping logs short."""

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from cnnbo.daemon.launch import attempt_dir

_CHUNK = 64 * 1024
_COLOUR = re.compile("\x1b\\[[0-9;:]*m")

LOG_DAYS = 30
"""Logs of trials are kept as they are for so long after their last line."""

OLD_LOG_BYTES = 64 * 1024
"""Then so much of each is: the error and what led to it."""

CHILD_LOG_BYTES = 1024 * 1024
"""So much of the logs of proposer and broker is kept."""

_MOST_BYTES = 1024 * 1024  # of a log, at a time: as JSON it may grow sixfold
_LONGEST_LINE = 16 * 1024  # characters


@dataclass(frozen=True, slots=True)
class LogPart:
    """A piece of an attempt's output.

    Attributes:
        lines: as a terminal would show them; what is longer than 16 Ki characters is cut there and ends in " …".
        mark: where the piece ends, for whoever wants what comes after it; None = there is no log yet.
    """

    lines: tuple[str, ...] = ()
    mark: str | None = None


def log_files(state: Path, study: str, trial: int, attempt: int) -> list[Path]:
    """The log of an attempt, oldest part first; empty while there is none."""
    directory = attempt_dir(state, study, trial, attempt)
    return [path for path in (directory / "log.1", directory / "log") if path.exists()]


def tail(state: Path, study: str, trial: int, attempt: int, count: int) -> list[str]:
    """The last `count` lines of an attempt's output; of a progress bar only its newest state."""
    return list(read_end(state, study, trial, attempt, count).lines)


def read_end(state: Path, study: str, trial: int, attempt: int, count: int) -> LogPart:
    """The end of an attempt's output: at most `count` lines of its last MiB, of a progress bar the newest state."""
    lines: list[str] = []
    mark = None
    room = _MOST_BYTES
    for path in reversed(log_files(state, study, trial, attempt)):
        missing = count - len(lines)
        with path.open("rb") as file:
            end = file.seek(0, 2)
            mark = mark or _mark(file, end)
            block = _last_block(file, end, missing, room)
        lines = [*_drawn_lines(block)[-missing:], *lines]
        room -= len(block)
        if len(lines) >= count or room <= 0:
            break
    return LogPart(tuple(lines), mark)


def read_on(state: Path, study: str, trial: int, attempt: int, mark: str, is_over: bool) -> LogPart:
    """What was added to an attempt's output after a mark, as whole lines; at most a MiB, the rest comes after that.

    Args:
        state: the state folder.
        study: whose output.
        trial: whose output.
        attempt: whose output; counts from 1.
        mark: of the piece before; one that leads nowhere means the beginning.
        is_over: whether nothing is added any more, so that a last line without an end is whole.
    """
    files = log_files(state, study, trial, attempt)
    first, offset = _marked(files, mark)
    lines: list[str] = []
    room = _MOST_BYTES
    for path in files[first:]:
        with path.open("rb") as file:
            file.seek(offset)
            block = file.read(room)
            # The older half of a log is added to no more.
            is_end = len(block) < room and (is_over or path.name == "log.1")
            is_line_too_long = len(block) == _MOST_BYTES and b"\n" not in block
            taken = block if is_end or is_line_too_long else block[: block.rfind(b"\n") + 1]
            lines += _drawn_lines(taken)
            mark = _mark(file, offset + len(taken))
        if len(block) == room:
            break
        room -= len(block)
        offset = 0
    return LogPart(tuple(lines), mark)


def _marked(files: list[Path], mark: str) -> tuple[int, int]:
    """Which of the files a mark is in, and where; the beginning of the first if it leads nowhere."""
    inode, _, position = mark.partition(":")
    if re.fullmatch("[0-9]{1,18}", position):
        for index, path in enumerate(files):
            status = path.stat()
            if str(status.st_ino) == inode and int(position) <= status.st_size:
                return index, int(position)
    return 0, 0


def _mark(file: BinaryIO, position: int) -> str:
    """A place in a file that keeps its number when the runner gives it another name."""
    return f"{os.fstat(file.fileno()).st_ino}:{position}"


def _last_block(file: BinaryIO, end: int, count: int, room: int) -> bytes:
    """The end of a file with its last `count` lines, at most `room` bytes; logs may hold tens of megabytes."""
    start, position, newlines = max(0, end - room), end, 0
    blocks: list[bytes] = []
    while count > 0 and newlines <= count and position > start:
        step = min(_CHUNK, position - start)
        position -= step
        file.seek(position)
        blocks.append(file.read(step))
        newlines += blocks[-1].count(b"\n")
    return b"".join(reversed(blocks))


def _drawn_lines(block: bytes) -> list[str]:
    lines = block.replace(b"\r\n", b"\n").rstrip(b"\n").split(b"\n") if block else []
    return [_drawn(line) for line in lines]


def _drawn(line: bytes) -> str:
    """What a terminal would show of a line: the newest state of a progress bar, and of very much only the beginning."""
    text = clean(line.rstrip(b"\r").rsplit(b"\r", 1)[-1])
    return text if len(text) <= _LONGEST_LINE else f"{text[:_LONGEST_LINE]} …"


def keep_end(path: Path, limit: int) -> None:
    """Cut a log that is longer than `limit` bytes down to its last whole lines within them; none there is no error.

    The file stays the same one: whoever has it open for appending goes on at its new end. What is written at this very
    moment may be lost.
    """
    with suppress(FileNotFoundError), path.open("r+b") as file:
        size = file.seek(0, 2)
        if size <= limit:
            return
        file.seek(size - limit)
        file.readline()
        end = file.read(limit)
        file.seek(0)
        file.truncate()
        file.write(end)


def shorten_old_logs(state: Path, now: float) -> None:
    """Cut trials' logs that nobody wrote to for `LOG_DAYS` down to their ends; all other files stay as they are.

    Args:
        state: the state folder.
        now: seconds since the epoch.
    """
    for path in _all_logs(state):
        with suppress(OSError):  # removed with its study meanwhile, or not ours to write
            if now - path.stat().st_mtime < LOG_DAYS * 86400:
                continue
            if path.name == "log.1":
                path.unlink()  # the older half
            else:
                keep_end(path, OLD_LOG_BYTES)


def _all_logs(state: Path) -> Iterator[Path]:
    """The logs of all attempts; what is removed while this looks is passed over."""
    for name, folders, files in os.walk(state / "studies"):
        folder = Path(name)
        if folder.name.isdigit() and folder.parent.parent.name == "trials":
            folders.clear()
            yield from (folder / file for file in ("log", "log.1") if file in files)


def clean(line: bytes) -> str:
    """Text that is safe for a terminal: without colours, and what else isn't printable is shown, not obeyed."""
    text = _COLOUR.sub("", line.decode(errors="replace").rstrip("\r\n"))
    return "".join(c if c.isprintable() or c == "\t" else f"\\x{ord(c):02x}" for c in text)
