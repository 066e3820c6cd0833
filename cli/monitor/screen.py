"""The monitor at work: listens to brokers, folds what comes, and shows it as a screen, as lines or as data."""

import asyncio
import contextlib
import os
import time
from collections import deque
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console, Group
from rich.text import Text

from cnnbo.cli.monitor.boxes import absence
from cnnbo.cli.monitor.canvas import LEAST_WIDTH, Screen, glyphs_of
from cnnbo.cli.monitor.figures import printable
from cnnbo.cli.monitor.known import Box
from cnnbo.cli.monitor.logs import elsewhere, read_log
from cnnbo.cli.monitor.notes import Fading
from cnnbo.cli.monitor.orders import Home, carry_out
from cnnbo.cli.monitor.reader import follow
from cnnbo.cli.monitor.render import render
from cnnbo.cli.monitor.sources import Source
from cnnbo.cli.monitor.state import MonitorState
from cnnbo.cli.monitor.terminal import Painter, caught_signals, pressed_keys
from cnnbo.cli.monitor.view import LogTail, Order, Page, View, marked_trial, press, shown_box
from cnnbo.daemon.remote import RemoteDaemon
from cnnbo.daemon.tasks import end_tasks
from cnnbo.scheduler.errors import RequestError

_QUIET_S = 0.4  # without a message for this long, all retained topics have arrived: a broker sends them in one go
_LIMIT_S = 10.0  # for all brokers together to say what they know
_FRAME_S = 0.5  # least time between two drawings, but for those that answer a key
_TICK_S = 1.0  # ages and the clock go on without news


class Monitor:
    """What one `cnnbo watch` does; make it inside of the event loop.

    Args:
        brokers: where to listen, at least one.
        home: state folder of this machine's daemon, whose box takes orders and shows logs.
        node: the only box to show, or None for all.
        base: base of the topics.
    """

    def __init__(self, brokers: Sequence[Source], home: Path, node: str | None = None, base: str = "cnnbo") -> None:
        self._sources = {source.name: source for source in brokers}
        # Of the other boxes no more than their names, for whoever mistypes one.
        self._filters = [f"{base}/v1/{node}/#", f"{base}/v1/+/availability"] if node else [f"{base}/v1/+/#"]
        self._base = base
        self._home = Home(home)
        self._changed = asyncio.Event()
        self._pressed = asyncio.Event()
        self._lines: deque[str] = deque(maxlen=10_000)
        self._exit_status: int | None = None
        self._orders: set[asyncio.Task[None]] = set()
        self.state = MonitorState(base, node)
        self.view = View()

    # -- listening

    @contextlib.asynccontextmanager
    async def _listening(self) -> AsyncIterator[None]:
        async with asyncio.TaskGroup() as tasks:
            readers = [tasks.create_task(self._follow(source), name=name) for name, source in self._sources.items()]
            try:
                yield
            finally:
                for reader in readers:
                    reader.cancel()

    async def _follow(self, source: Source) -> None:
        name = source.name

        def take(topic: str, payload: bytes, is_retained: bool) -> None:
            if line := self.state.apply(topic, payload, time.time(), name, is_retained):
                self._lines.append(line)
            self._changed.set()

        def connection(reason: str | None) -> None:
            if name not in self.state.brokers or self.state.brokers[name] != reason:
                self._lines.append(f"connected to {name}" if reason is None else reason)
            self.state.brokers[name] = reason
            self._changed.set()

        await follow(source, self._filters, take, connection)

    async def listen_once(self) -> None:
        """Listen until every broker has told what it knows, or why it can't be reached.

        Raises:
            RequestError: none can be reached, or no box is there.
        """
        async with self._listening():
            await self._settle()
        reasons = [reason for reason in self.state.brokers.values() if reason is not None]
        if len(reasons) == len(self._sources) or not self.state.brokers:
            why = "; ".join(reasons) or f"no answer from {', '.join(self._sources)}"
            raise RequestError(f"{why}. Is that where a daemon publishes? `cnnbo status` on its box tells.")
        if not self.state.boxes:
            raise RequestError(absence(self.state))

    async def _settle(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LIMIT_S):
                while len(self.state.brokers) < len(self._sources) or await self._has_changed_within(_QUIET_S):
                    await self._has_changed_within(_QUIET_S)

    async def _has_changed_within(self, seconds: float) -> bool:
        self._changed.clear()
        return await _is_set_within(self._changed, seconds)

    # -- showing

    def _rendered(self, console: Console, height: int | None) -> list[Text]:
        glyphs = glyphs_of(console.encoding, os.environ)
        return render(self.state, Screen(max(LEAST_WIDTH, console.width), height, time.time(), glyphs), self.view)

    def print_screen(self) -> None:
        """Print what is known as one screen, as long as it takes."""
        console = Console()
        console.print(Group(*self._rendered(console, None)), soft_wrap=True)

    async def print_changes(self) -> int:
        """Print a screen and then a line for everything that turns, until a signal; returns the exit status."""
        async with self._listening():
            await self._settle()
            self._lines.clear()
            self.print_screen()
            with caught_signals(self._end):
                while self._exit_status is None:
                    await self._has_changed_within(_TICK_S)
                    while self._lines:
                        print(time.strftime("%H:%M:%S"), printable(self._lines.popleft()), flush=True)
        return self._exit_status

    async def draw(self) -> int:
        """Keep a screen up to date until `q` or a signal; returns the exit status and leaves the terminal as it was."""
        console = Console()
        painter = Painter(console)
        fading = Fading()

        def suspend() -> None:
            painter.suspend()
            self._wake()

        def pressed(key: str) -> None:
            if key == "redraw":
                painter.forget()
                self._wake()
            else:
                self._press(key)

        signals = caught_signals(self._end, SIGWINCH=self._wake, SIGTSTP=suspend)
        with signals, pressed_keys(pressed), painter:
            async with self._listening():
                while self._exit_status is None:
                    self._changed.clear()
                    self._pressed.clear()
                    self.view = fading.faded(self.view, time.monotonic())
                    await self._read_log()
                    lines = self._rendered(console, console.height)
                    painter.draw(lines, (console.width, console.height))
                    if not await _is_set_within(self._pressed, _FRAME_S):
                        await _is_set_within(self._changed, _TICK_S - _FRAME_S)
                await end_tasks(self._orders)
        return self._exit_status

    def _wake(self) -> None:
        """Draw at once."""
        self._pressed.set()
        self._changed.set()

    def _end(self, status: int) -> None:
        self._exit_status = status
        self._wake()

    # -- keys

    def _press(self, key: str) -> None:
        if key == "q":
            return self._end(0)
        self.view, order = press(self.view, key, self.state)
        if order is not None:
            task = asyncio.create_task(self._carry_out(order), name=order.verb)
            self._orders.add(task)
            task.add_done_callback(self._orders.discard)
        return self._wake()

    async def _carry_out(self, order: Order) -> None:
        self.view = replace(self.view, note="Asking the daemon ...")
        box = self.state.boxes.get(order.box)
        if box is None:
            sentence = "The box is gone."
        else:
            daemon = RemoteDaemon(self._sources[box.broker].address, box.node, self._base)
            sentence = await carry_out(order, box, self._home, daemon)
        self.view = replace(self.view, note=sentence)
        self._wake()

    async def _read_log(self) -> None:
        """Read the log that is shown, as it is now."""
        box = shown_box(self.state, self.view)
        marked = None if box is None else marked_trial(box, self.view)
        if self.view.page is not Page.LOG or box is None or marked is None:
            return
        log = await self._log(box, *marked)
        self.view = replace(self.view, log=log)  # as it is now: keys may have been pressed meanwhile

    async def _log(self, box: Box, study: str, trial: int) -> LogTail:
        if not await self._home.is_of(box):
            return elsewhere(box.node, study, trial)
        known = box.studies[study].trials.get(trial) if study in box.studies else None
        attempt = 0 if known is None else len(known.attempts)
        return await asyncio.to_thread(read_log, self._home.folder, study, trial, attempt)


async def _is_set_within(event: asyncio.Event, seconds: float) -> bool:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
    return event.is_set()
