"""A recorded stream told once more to a broker, faster, and a terminal that notes when what is told appears in it."""

import asyncio
import fcntl
import os
import pty
import re
import struct
import subprocess
import termios
import threading
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

import aiomqtt

from streaming.recording import Recorded

_TIME = re.compile(r'"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3})Z"')
_COUNT = re.compile(rb"(\d+)/(\d+)")
_FINISHED = re.compile(r'"evaluations":(\d+),"finished":(\d+)')


@dataclass(slots=True)
class Clock:
    """Turns times of a recording into times of its replay.

    Attributes:
        recorded: when the recording began, seconds since the epoch.
        replayed: when the replay begins.
        speed: how much faster it is.
    """

    recorded: float
    replayed: float
    speed: float

    @classmethod
    def beginning_now(cls, messages: Sequence[Recorded], speed: float) -> Self:
        """A clock for messages whose replay begins now."""
        first = next(message for message in messages if '"ts"' in message.payload)
        written = _TIME.search(first.payload)
        assert written is not None
        return cls(_seconds(written[1]) - first.t, time.time(), speed)

    def shifted(self, payload: str) -> str:
        """The payload with all its times moved into the replay; what is older than that only moves."""
        return _TIME.sub(lambda written: f'"{self._moved(_seconds(written[1]))}"', payload)

    def _moved(self, at: float) -> str:
        moved = datetime.fromtimestamp(self.replayed + (at - self.recorded) / self.speed, UTC)
        return moved.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


async def publish(client: aiomqtt.Client, messages: Iterable[Recorded], clock: Clock) -> dict[tuple[int, int], float]:
    """Tell all messages at their time.

    Returns:
        when it was first told that so many trials of so many had finished, in monotonic seconds.
    """
    told: dict[tuple[int, int], float] = {}
    began = time.monotonic()
    for message in messages:
        await asyncio.sleep(max(0.0, began + message.t / clock.speed - time.monotonic()))
        await client.publish(message.topic, clock.shifted(message.payload), qos=0, retain=message.is_retained)
        if "/trial/" not in message.topic and (counted := _FINISHED.search(message.payload)):
            told.setdefault((int(counted[2]), int(counted[1])), time.monotonic())
    return told


@dataclass(slots=True)
class Terminal:
    """A program in a terminal of its own, and when which count of trials first stood in what it drew."""

    process: "subprocess.Popen[bytes]"
    seen: dict[tuple[int, int], float] = field(default_factory=dict)
    drawn_bytes: int = 0
    _fd: int = -1
    _tail: bytes = b""

    @classmethod
    def running(cls, command: Sequence[str | Path], columns: int, rows: int) -> Self:
        """Start a program in a terminal of that size."""
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        environment = os.environ | {"TERM": "xterm-256color", "LANG": "C.UTF-8"}
        process = subprocess.Popen(
            command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment, start_new_session=True
        )
        os.close(theirs)
        terminal = cls(process, _fd=ours)
        threading.Thread(target=terminal._read, daemon=True).start()
        return terminal

    def _read(self) -> None:
        with suppress(OSError):  # the program has ended
            while piece := os.read(self._fd, 65536):
                now = time.monotonic()
                self.drawn_bytes += len(piece)
                text = self._tail + piece
                for counted in _COUNT.finditer(text):
                    self.seen.setdefault((int(counted[1]), int(counted[2])), now)
                self._tail = text[-40:]

    def first_seen(self, finished: int, evaluations: int) -> float | None:
        """When it first stood there that at least so many of so many had finished, in monotonic seconds."""
        times = [at for (count, of), at in self.seen.items() if of == evaluations and count >= finished]
        return min(times, default=None)

    def press(self, keys: bytes) -> None:
        """Type something."""
        os.write(self._fd, keys)
