"""The terminal of the monitor: a second screen of which only changed lines are written, keys as they are pressed."""

import asyncio
import contextlib
import os
import signal
import sys
import termios
import tty
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from types import TracebackType
from typing import NamedTuple, Self

from rich.console import Console
from rich.style import Style
from rich.text import Span, Text

from cnnbo.cli.monitor.keys import Keyboard

_ENDS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class _Drawn(NamedTuple):
    """All that a line on the screen depends on; Rich takes lines for equal that differ in their own style."""

    plain: str
    style: str | Style
    spans: Sequence[Span]


class Painter:
    """Shows lines on the terminal's second screen while a `with` block runs, and leaves the first one as it was."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._drawn: list[_Drawn] = []
        self._size = (0, 0)

    def __enter__(self) -> Self:
        self._console.set_alt_screen(True)
        self._console.show_cursor(False)
        self.forget()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(OSError):  # a closed terminal needs no mending
            self._console.show_cursor(True)
            self._console.set_alt_screen(False)

    def forget(self) -> None:
        """Draw everything anew the next time."""
        self._size = (0, 0)

    def suspend(self) -> None:
        """Leave the terminal to the shell that stopped us (Ctrl-Z), until it has us go on."""
        self.__exit__(None, None, None)
        os.kill(os.getpid(), signal.SIGSTOP)
        self.__enter__()

    def draw(self, lines: Sequence[Text], size: tuple[int, int]) -> None:
        """Show lines, at most as many as there are rows; what is wider than the terminal is cut.

        Args:
            lines: from the top.
            size: columns and rows of the terminal.
        """
        for line in lines:
            line.truncate(size[0])  # a line that wraps would push the others down
        out = []
        if size != self._size:
            self._size, self._drawn = size, []
            out.append("\x1b[2J")
        drawn = [_Drawn(line.plain, line.style, line.spans) for line in lines]
        out += [
            self._line(row, line)
            for row, (line, now) in enumerate(zip(lines, drawn, strict=True))
            if row >= len(self._drawn) or self._drawn[row] != now
        ]
        out += [f"\x1b[{row + 1};1H\x1b[2K" for row in range(len(lines), len(self._drawn))]
        self._drawn = drawn
        if out:
            self._console.file.write("".join(out))
            self._console.file.flush()

    def _line(self, row: int, line: Text) -> str:
        with self._console.capture() as capture:
            self._console.print(line, end="", soft_wrap=True, crop=False)
        # Erasing behind a line that ends at the edge would take its last character, on some terminals.
        rest = "\x1b[K" if line.cell_len < self._size[0] else ""
        return f"\x1b[{row + 1};1H{capture.get()}{rest}"


@contextlib.contextmanager
def pressed_keys(on_key: Callable[[str], None]) -> Iterator[None]:
    """Hand over keys as they are pressed, without echo; nothing where stdin is no terminal."""
    if not sys.stdin.isatty():
        yield
        return
    loop, fd, keyboard = asyncio.get_running_loop(), sys.stdin.fileno(), Keyboard()
    before = termios.tcgetattr(fd)
    tty.setcbreak(fd)

    def read() -> None:
        try:
            data = os.read(fd, 64)
        except OSError:
            data = b""
        if not data:
            loop.remove_reader(fd)  # the terminal is gone; SIGHUP ends us
        for key in keyboard.feed(data):
            on_key(key)

    loop.add_reader(fd, read)
    try:
        yield
    finally:
        loop.remove_reader(fd)
        with contextlib.suppress(termios.error, OSError):  # a closed terminal needs no mending
            termios.tcsetattr(fd, termios.TCSADRAIN, before)


@contextlib.contextmanager
def caught_signals(on_end: Callable[[int], None], **others: Callable[[], None]) -> Iterator[None]:
    """Turn signals into an orderly end, so that no screen is left behind.

    Args:
        on_end: called with the exit status.
        others: what to do at other signals, by their names, like `SIGWINCH`.
    """
    loop = asyncio.get_running_loop()
    handlers: dict[int, Callable[[], None]] = {number: partial(on_end, 128 + number) for number in _ENDS}
    handlers |= {signal.Signals[name]: handler for name, handler in others.items()}
    for number, handler in handlers.items():
        loop.add_signal_handler(number, handler)
    try:
        yield
    finally:
        for number in handlers:
            loop.remove_signal_handler(number)
