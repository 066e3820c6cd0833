"""Record what three boxes with eight devices each publish, and replay it into `cnnbo watch`, ten times as fast.

`python benchmarks/stream.py --help`
"""

import asyncio
import contextlib
import csv
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Annotated, Any

import typer

sys.path.append(str(Path(__file__).parent.parent))  # for the stand-in of NVIDIA's library, which belongs to the tests

from living.daemon import CNNBO, vitals
from streaming.boxes import PLANS, SimulatedBox
from streaming.recording import RECORDING, Recorded, read, write
from streaming.replay import Clock, Terminal, publish
from tests.nvml.driver import build_library

from cnnbo.daemon.broker import EmbeddedBroker
from cnnbo.daemon.mqtt import BrokerAddress, connected

ROWS = Path(__file__).parent / "rows" / "watch_replay.csv"
"""How late each count of finished trials appeared on the screen."""

_COLUMNS, _LINES = 120, 50
_START_S = 5.0  # for `cnnbo watch` to come up
_LAST_FRAME_S = 3.0
_STEP_S = 2.0  # between two looks of the simulated drivers at what their devices do

app = typer.Typer(no_args_is_help=True, add_completion=False)


@app.callback()
def main() -> None:
    """Record what three boxes publish, and replay it."""


@app.command()
def record(
    seconds: Annotated[float, typer.Option(help="How long.")] = 360.0,
    to: Annotated[Path, typer.Option(help="The file to write.")] = RECORDING,
) -> None:
    """Run three daemons over simulated drivers and write down what they publish (needs gcc)."""
    with tempfile.TemporaryDirectory(prefix="cnnbo-stream-") as folder:
        messages = asyncio.run(_record(Path(folder), seconds))
    write(to, messages)
    print(f"{len(messages)} messages in {messages[-1].t:.0f} s, {to.stat().st_size / 1024:.0f} KiB: {to}")


async def _record(folder: Path, seconds: float) -> list[Recorded]:
    library = build_library(folder / "nvml").parent
    async with EmbeddedBroker(folder, 0) as broker, contextlib.AsyncExitStack() as stack:
        assert broker.url is not None, broker.reason
        listener = await stack.enter_async_context(_listening(broker.url))
        boxes = [SimulatedBox(plan, folder / plan.node, library, broker.url) for plan in PLANS]
        for box in boxes:
            await asyncio.to_thread(stack.enter_context, box.running())
        playing = asyncio.create_task(_play(boxes, listener))
        await asyncio.sleep(seconds)
        playing.cancel()
        await asyncio.wait([playing])
        return listener.messages


@dataclass(frozen=True, slots=True)
class Seen:
    """One count of finished trials, and how late it was seen.

    Attributes:
        at_s: when it was told, since the replay began.
        finished, evaluations: the count.
        lag_s: from the telling to the drawing.
    """

    at_s: float
    finished: int
    evaluations: int
    lag_s: float


@app.command()
def replay(
    speed: Annotated[float, typer.Option(help="How much faster than it was.")] = 10.0,
    rows: Annotated[Path, typer.Option(help="The CSV file to write.")] = ROWS,
) -> None:
    """Replay the recording into `cnnbo watch` in a terminal of its own, and time how late it shows what it is told."""
    messages = list(read(RECORDING))
    with tempfile.TemporaryDirectory(prefix="cnnbo-stream-") as folder:
        asyncio.run(_replay(Path(folder), messages, speed, rows))


async def _replay(folder: Path, messages: Sequence[Recorded], speed: float, rows: Path) -> None:
    async with EmbeddedBroker(folder, 0) as broker:
        assert broker.url is not None, broker.reason
        terminal = Terminal.running([CNNBO, "watch", "--broker", broker.url], _COLUMNS, _LINES)
        async with connected(BrokerAddress.parse(broker.url).client("replay")) as client:
            await asyncio.sleep(_START_S)
            before, began = vitals(terminal.process.pid), time.monotonic()
            told = await publish(client, messages, Clock.beginning_now(messages, speed))
            after, took_s = vitals(terminal.process.pid), time.monotonic() - began
            await asyncio.sleep(_LAST_FRAME_S)
        terminal.press(b"q")
        await asyncio.to_thread(terminal.process.wait)
    seen = [
        Seen(round(at - began, 3), *count, round(drawn - at, 3))
        for count, at in told.items()
        if (drawn := terminal.first_seen(*count)) is not None
    ]
    _write_rows(rows, seen)
    share = 100 * (after.cpu_s - before.cpu_s) / took_s
    drawn_kib = terminal.drawn_bytes / took_s / 1024
    print(
        f"{len(messages)} messages in {took_s:.1f} s ({len(messages) / took_s:.0f} a second, {speed:g} times as fast)"
    )
    print(f"cnnbo watch: {share:.1f} % of a core, {after.rss_mib:.0f} MiB, {drawn_kib:.0f} KiB/s drawn")
    print(f"{len(seen)} of {len(told)} counts of finished trials were seen")
    quarter = len(seen) // 4
    for name, some in (("all", seen), ("first quarter", seen[:quarter]), ("last quarter", seen[-quarter:])):
        lags = [row.lag_s for row in some]
        p95 = statistics.quantiles(lags, n=20)[-1]
        print(f"late by, {name}: median {statistics.median(lags):.3f} s, p95 {p95:.3f} s, most {max(lags):.3f} s")


def _write_rows(path: Path, rows: Sequence[Seen]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(Seen)], lineterminator="\n")
        writer.writeheader()
        writer.writerows(asdict(row) for row in rows)


class _Listener:
    """Keeps all messages, and which devices have a trial."""

    def __init__(self) -> None:
        self.messages: list[Recorded] = []
        self.busy: set[str] = set()
        self._began = asyncio.get_running_loop().time()

    def take(self, topic: str, payload: bytes) -> None:
        t = round(asyncio.get_running_loop().time() - self._began, 3)
        is_retained = not topic.endswith(("/event", "/progress"))
        self.messages.append(Recorded(t, topic, payload.decode(), is_retained))
        if "/device/" in topic and payload:
            device: dict[str, Any] = json.loads(payload)
            (self.busy.add if device["trial"] is not None else self.busy.discard)(device["uuid"])


@contextlib.asynccontextmanager
async def _listening(url: str) -> AsyncIterator[_Listener]:
    listener = _Listener()
    async with connected(BrokerAddress.parse(url).client("recorder", queue_limit=100_000)) as client:
        await client.subscribe("#", qos=0)

        async def collect() -> None:
            async for message in client.messages:
                assert isinstance(message.payload, bytes)
                listener.take(message.topic.value, message.payload)

        collecting = asyncio.create_task(collect())
        try:
            yield listener
        finally:
            collecting.cancel()
            await asyncio.wait([collecting])


async def _play(boxes: list[SimulatedBox], listener: _Listener) -> None:
    """Move the figures of the devices, and let happen what happens to boxes, until cancelled."""
    tower, attic, lab = boxes
    incidents = {
        20: lambda: attic.tell("drain", "5"),
        40: lambda: lab.driver.xid(lab.uuids[6], 79),
        60: lambda: tower.visit(3, _stranger()),
    }
    elapsed_s = 0.0
    while True:
        for box in boxes:
            box.work(listener.busy, _STEP_S)
        await asyncio.sleep(_STEP_S)
        elapsed_s += _STEP_S
        if incident := incidents.pop(int(elapsed_s), None):
            await asyncio.to_thread(incident)


def _stranger() -> int:
    """Pid of a process that is not below any daemon, and ends by itself."""
    leave = "sleep 150 >/dev/null 2>&1 & echo $!"
    return int(subprocess.run(["sh", "-c", leave], capture_output=True, check=True).stdout)


if __name__ == "__main__":
    app()
