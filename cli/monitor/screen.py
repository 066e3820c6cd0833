"""The monitor at work: listens to brokers, folds what comes, and shows it as a screen, as lines or as data."""

import asyncio
import contextlib
import os
import signal
import sys
import termios
import time
import tty
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Sequence

from rich.console import Console, Group
from rich.live import Live

from cnnbo.cli.monitor.figures import printable
from cnnbo.cli.monitor.reader import follow
from cnnbo.cli.monitor.render import ASCII, UNICODE, Screen, render
from cnnbo.cli.monitor.state import MonitorState
from cnnbo.daemon.credentials import broker_address
from cnnbo.daemon.mqtt import BrokerAddress
from cnnbo.scheduler.errors import RequestError

_QUIET_S = 0.4  # without a message for this long, all retained topics have arrived: a broker sends them in one go
_LIMIT_S = 10.0  # for all brokers together to say what they know
_FRAME_S = 0.25  # least time between two drawings
_TICK_S = 1.0  # ages and the clock go on without news
_LEAST_WIDTH = 60


class Monitor:
    """What one `cnnbo watch` does; make it inside of the event loop.

    Args:
        brokers: URLs of the brokers to listen to, at least one; see `broker_address` for users and passwords.
        node: the only box to show, or None for all.
        base: base of the topics.

    Raises:
        ConfigurationError: a URL, or what is stored about its broker, can't be read.
    """

    def __init__(self, brokers: Sequence[str], node: str | None = None, base: str = "cnnbo") -> None:
        addresses = [broker_address(url, os.environ) for url in brokers]
        self._brokers = {str(address): address for address in addresses}  # by a name without the password
        self._filter = f"{base}/v1/{node or '+'}/#"
        self._changed = asyncio.Event()
        self._lines: deque[str] = deque(maxlen=10_000)
        self._exit_status: int | None = None
        self.state = MonitorState(base)

    @contextlib.asynccontextmanager
    async def _listening(self) -> AsyncIterator[None]:
        async with asyncio.TaskGroup() as tasks:
            readers = [
                tasks.create_task(self._follow(name, address), name=name) for name, address in self._brokers.items()
            ]
            try:
                yield
            finally:
                for reader in readers:
                    reader.cancel()

    async def _follow(self, name: str, address: BrokerAddress) -> None:
        def take(topic: str, payload: bytes) -> None:
            if line := self.state.apply(topic, payload, time.time(), name):
                self._lines.append(line)
            self._changed.set()

        def connection(reason: str | None) -> None:
            if name not in self.state.brokers or self.state.brokers[name] != reason:
                self._lines.append(f"{name} connected" if reason is None else f"no connection to {reason}")
            self.state.brokers[name] = reason
            self._changed.set()

        await follow(address, self._filter, take, connection)

    async def listen_once(self) -> None:
        """Listen until every broker has told what it knows, or why it can't be reached.

        Raises:
            RequestError: none can be reached.
        """
        async with self._listening():
            await self._settle()
        reasons = [reason for reason in self.state.brokers.values() if reason is not None]
        if len(reasons) == len(self._brokers) or not self.state.brokers:
            why = "; ".join(reasons) or f"no answer from {', '.join(self._brokers)}"
            raise RequestError(f"{why}. Is that where a daemon publishes? `cnnbo status` on its box tells.")

    async def _settle(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LIMIT_S):
                while len(self.state.brokers) < len(self._brokers) or await self._has_changed_within(_QUIET_S):
                    await self._has_changed_within(_QUIET_S)

    async def _has_changed_within(self, seconds: float) -> bool:
        self._changed.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._changed.wait()
        return self._changed.is_set()

    def _screen(self, console: Console, height: int | None) -> Group:
        glyphs = UNICODE if "utf" in console.encoding.lower() else ASCII
        return Group(*render(self.state, Screen(max(_LEAST_WIDTH, console.width), height, time.time(), glyphs)))

    def print_screen(self) -> None:
        """Print what is known as one screen, as long as it takes."""
        console = Console()
        console.print(self._screen(console, None), soft_wrap=True)

    async def print_changes(self) -> int:
        """Print a screen and then a line for everything that turns, until a signal; returns the exit status."""
        async with self._listening():
            await self._settle()
            self._lines.clear()
            self.print_screen()
            with self._signals():
                while self._exit_status is None:
                    await self._has_changed_within(_TICK_S)
                    while self._lines:
                        print(time.strftime("%H:%M:%S"), printable(self._lines.popleft()), flush=True)
        return self._exit_status

    async def draw(self) -> int:
        """Keep a screen up to date until `q` or a signal; returns the exit status and leaves the terminal as it was."""
        console = Console()
        async with self._listening():
            with self._signals(), _keys(self._press), Live(console=console, screen=True, auto_refresh=False) as live:
                while self._exit_status is None:
                    live.update(self._screen(console, console.height), refresh=True)
                    await asyncio.sleep(_FRAME_S)
                    if not self._changed.is_set():
                        await self._has_changed_within(_TICK_S)
                    self._changed.clear()
        return self._exit_status

    def _press(self, keys: bytes) -> None:
        if b"q" in keys:
            self._end(0)

    def _end(self, status: int) -> None:
        self._exit_status = status
        self._changed.set()

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        """Turn signals into an orderly end, so that no screen is left behind."""
        loop = asyncio.get_running_loop()
        ends = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        for number in ends:
            loop.add_signal_handler(number, self._end, 128 + number)
        loop.add_signal_handler(signal.SIGWINCH, self._changed.set)
        try:
            yield
        finally:
            for number in (*ends, signal.SIGWINCH):
                loop.remove_signal_handler(number)


@contextlib.contextmanager
def _keys(on_keys: Callable[[bytes], None]) -> Iterator[None]:
    """Hand over keys as they are pressed, without echo; nothing where stdin is no terminal."""
    if not sys.stdin.isatty():
        yield
        return
    loop, fd = asyncio.get_running_loop(), sys.stdin.fileno()
    before = termios.tcgetattr(fd)
    tty.setcbreak(fd)

    def read() -> None:
        try:
            pressed = os.read(fd, 64)
        except OSError:
            pressed = b""
        if pressed:
            on_keys(pressed)
        else:
            loop.remove_reader(fd)  # the terminal is gone; SIGHUP ends us

    loop.add_reader(fd, read)
    try:
        yield
    finally:
        loop.remove_reader(fd)
        with contextlib.suppress(termios.error, OSError):  # a closed terminal needs no mending
            termios.tcsetattr(fd, termios.TCSADRAIN, before)
