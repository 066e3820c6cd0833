"""What `cnnbo watch` costs, open all day: processor time, memory, and what it writes over the line.

`python benchmarks/watch_cost.py --help`
"""

import asyncio
import csv
import fcntl
import itertools
import os
import pty
import signal
import struct
import sys
import tempfile
import termios
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from living.daemon import CNNBO, vitals
from rich.console import Console
from streaming.story import Story

from cnnbo.cli.monitor.canvas import Screen
from cnnbo.cli.monitor.render import render
from cnnbo.cli.monitor.state import MonitorState
from cnnbo.cli.monitor.terminal import Painter
from cnnbo.daemon.broker import EmbeddedBroker
from cnnbo.daemon.mqtt import BrokerAddress, connected

ROWS = Path(__file__).parent / "rows" / "watch_cost.csv"
"""Where the raw rows are kept; each run adds one."""

WIDTH, HEIGHT = 120, 50
_WARM_UP_S = 5.0  # imports and the first drawing are paid once
_FOLDS = 50_000
_FRAMES = 200

app = typer.Typer(add_completion=False)


@dataclass(frozen=True, slots=True)
class Cost:
    """One run.

    Attributes:
        date: when, UTC.
        boxes, devices: how many boxes published, with how many devices each.
        messages_per_s: what was published.
        seconds: how long was measured.
        cpu_percent: of one core, of the monitor alone.
        rss_mib, grown_mib: its resident memory at the end, and by how much it grew meanwhile.
        written_bytes_per_s: to the terminal.
        folds_per_s: messages that a state takes in, if it does nothing else.
        frame_ms: to render a screen and find out what changed.
    """

    date: str
    boxes: int
    devices: int
    messages_per_s: float
    seconds: float
    cpu_percent: float
    rss_mib: float
    grown_mib: float
    written_bytes_per_s: float
    folds_per_s: float
    frame_ms: float


@app.command()
def main(
    seconds: Annotated[float, typer.Option(help="How long to measure.")] = 60.0,
    boxes: Annotated[int, typer.Option(help="Boxes that publish.")] = 1,
    devices: Annotated[int, typer.Option(help="Devices of each; two messages a second for each.")] = 8,
    speed: Annotated[float, typer.Option(help="So many times faster than boxes really publish.")] = 1.0,
) -> None:
    """Watch made-up boxes in a terminal of 120x50, and add a row to rows/watch_cost.csv."""
    cost = asyncio.run(_measure(seconds, boxes, devices, speed))
    is_new = not ROWS.exists()
    with ROWS.open("a", newline="") as file:
        writer = csv.DictWriter(file, [entry.name for entry in fields(Cost)], lineterminator="\n")
        if is_new:
            writer.writeheader()
        writer.writerow(asdict(cost))
    typer.echo(cost)


async def _measure(seconds: float, boxes: int, devices: int, speed: float) -> Cost:
    stories = [Story(f"box-{number}", devices) for number in range(boxes)]
    with tempfile.TemporaryDirectory(prefix="watch-") as folder:
        async with EmbeddedBroker(Path(folder), 0) as broker:
            if broker.url is None:
                raise RuntimeError(broker.reason)
            publishing = asyncio.create_task(_publish(broker.url, stories, speed))
            terminal = Terminal()
            process = await asyncio.create_subprocess_exec(
                CNNBO, "watch", "--broker", broker.url, "--state", folder, stdin=terminal.theirs, stdout=terminal.theirs
            )
            try:
                seen = await _observe(process.pid, terminal, stories, seconds)
            finally:
                process.send_signal(signal.SIGINT)
                await process.wait()
                publishing.cancel()
                await asyncio.wait([publishing])
    state, folds_per_s = _fold(stories)
    return Cost(
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        boxes=boxes,
        devices=devices,
        messages_per_s=round(seen.messages / seconds, 1),
        seconds=seconds,
        cpu_percent=round(100 * seen.cpu_s / seconds, 2),
        rss_mib=round(seen.rss_mib, 1),
        grown_mib=round(seen.grown_mib, 2),
        written_bytes_per_s=round(seen.written / seconds),
        folds_per_s=round(folds_per_s),
        frame_ms=round(_frame_ms(state, stories), 2),
    )


class Terminal:
    """A pseudo-terminal of the given size that counts what is written to it."""

    def __init__(self) -> None:
        self.ours, self.theirs = pty.openpty()
        fcntl.ioctl(self.theirs, termios.TIOCSWINSZ, struct.pack("4H", HEIGHT, WIDTH, 0, 0))
        self.written = 0
        asyncio.get_running_loop().add_reader(self.ours, self._read)

    def _read(self) -> None:
        self.written += len(os.read(self.ours, 1 << 16))


async def _publish(url: str, stories: Sequence[Story], speed: float) -> None:
    async with connected(BrokerAddress.parse(url).client("story")) as client:
        for story in stories:
            for topic, payload in story.opening(time.time()):
                await client.publish(topic, payload, qos=1, retain=True)
        began = time.monotonic()
        for second in itertools.count(1):
            for story in stories:
                for topic, payload in story.second(second, time.time()):
                    await client.publish(topic, payload, qos=0)
            await asyncio.sleep(max(0.0, began + second / speed - time.monotonic()))


@dataclass(frozen=True, slots=True)
class Seen:
    """What happened while the monitor was looked at; see `Cost`."""

    messages: int
    cpu_s: float
    rss_mib: float
    grown_mib: float
    written: int


async def _observe(pid: int, terminal: Terminal, stories: Sequence[Story], seconds: float) -> Seen:
    await asyncio.sleep(_WARM_UP_S)
    before, written, told = vitals(pid), terminal.written, sum(story.told for story in stories)
    await asyncio.sleep(seconds)
    after = vitals(pid)
    return Seen(
        messages=sum(story.told for story in stories) - told,
        cpu_s=after.cpu_s - before.cpu_s,
        rss_mib=after.rss_mib,
        grown_mib=after.rss_mib - before.rss_mib,
        written=terminal.written - written,
    )


def _fold(stories: Sequence[Story]) -> tuple[MonitorState, float]:
    """A state that has taken in everything, and messages per second meanwhile."""
    state, now = MonitorState(), time.time()
    state.brokers["b"] = None
    for story in stories:
        for topic, payload in story.opening(now):
            state.apply(topic, payload, now, "b")
    # Each one new: of messages that come twice the second is dropped unread.
    news = (message for second in itertools.count() for story in stories for message in story.second(second, now))
    messages = list(itertools.islice(news, _FOLDS))
    began = time.process_time()
    for topic, payload in messages:
        state.apply(topic, payload, now, "b")
    return state, _FOLDS / (time.process_time() - began)


def _frame_ms(state: MonitorState, stories: Sequence[Story]) -> float:
    """Processor time to draw a frame of which everything about devices and running trials has changed."""
    with Path(os.devnull).open("w") as nowhere:
        console = Console(file=nowhere, force_terminal=True, width=WIDTH, height=HEIGHT)
        with Painter(console) as painter:
            spent = 0.0
            for second in range(_FRAMES):
                now = time.time()
                for story in stories:
                    for topic, payload in story.second(1000 + second, now):
                        state.apply(topic, payload, now, "b")
                began = time.process_time()
                painter.draw(render(state, Screen(WIDTH, HEIGHT, now)), (WIDTH, HEIGHT))
                spent += time.process_time() - began
    return 1000 * spent / _FRAMES


if __name__ == "__main__":
    sys.exit(app())
