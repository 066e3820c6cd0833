"""How long it takes until a subscriber sees what happened. `python benchmarks/mqtt_latency.py --help`.

A real daemon runs a study of tiny trials on CPU slots, once with its embedded broker and once with mosquitto, and a
subscriber notes when each message of a study, a trial, a device or an event comes. Daemon and subscriber share a clock.
"""

import asyncio
import csv
import json
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from living.daemon import Daemon

from cnnbo.daemon.client import status
from cnnbo.daemon.mqtt import BrokerAddress, connected

ROWS = Path(__file__).parent / "rows" / "mqtt_latency.csv"
"""Where the figures are kept."""

AIM_MS = 250.0
"""What 95 of 100 changes of a trial may take at most."""

_STUDY = """\
name = "latency"
command = ["sh", "-c", "echo value: 0.5"]
evaluations = {trials}
optimizer = "random"
metric = "value"
[report]
pattern = "value: ([0-9.]+)"
[space]
x = {{ type = "float", low = 0, high = 1 }}
"""

_PATIENCE_S = 600.0
_KINDS = {
    "change": "a trial starts or ends → its topic",
    "state": "a state is published → its topic",
    "event": "an event is journalled → the event topic",
}

app = typer.Typer(no_args_is_help=True, add_completion=False)


@dataclass(frozen=True, slots=True)
class Row:
    """Times from a moment in the daemon to the arrival at a subscriber, in milliseconds.

    Attributes:
        broker: `embedded` or `mosquitto`.
        kind: from and to where, see `_KINDS`. `change` begins before the journal's commit, `event` within it.
        count: messages.
    """

    broker: str
    kind: str
    count: int
    p50_ms: float
    p95_ms: float
    p99_ms: float
    max_ms: float


@app.callback()
def main() -> None:
    """How long it takes until a subscriber sees what happened."""


@app.command()
def run(
    trials: Annotated[int, typer.Option(help="Trials with each broker.")] = 300,
    slots: Annotated[int, typer.Option(help="CPU slots.")] = 2,
) -> None:
    """Run a study with each broker, write down how long its messages took, and print that."""
    rows = []
    for broker in ("embedded", "mosquitto"):
        with tempfile.TemporaryDirectory(prefix="latency-") as folder, _broker(broker) as url:
            daemon = Daemon(Path(folder), f"cpu:{slots}", environment={} if url is None else {"CNNBO_MQTT_URL": url})
            daemon.start()
            try:
                times = asyncio.run(_measure(daemon, trials))
            finally:
                daemon.stop()
        rows += [_row(broker, kind, times[kind]) for kind in _KINDS]
    _write(rows)
    for row in rows:
        typer.echo(
            f"{row.broker:9}  {_KINDS[row.kind]:42}  {row.count:5} messages: median {row.p50_ms:.1f} ms, "
            f"p95 {row.p95_ms:.1f}, p99 {row.p99_ms:.1f}, at most {row.max_ms:.1f}"
        )
    if any(row.p95_ms > AIM_MS for row in rows):
        sys.exit(f"more than {AIM_MS:.0f} ms where 95 of 100 should take less")


@contextmanager
def _broker(name: str) -> Iterator[str | None]:
    """The URL of a mosquitto for the time of the block, or None where the daemon brings its broker."""
    if name == "embedded":
        yield None
        return
    program = shutil.which("mosquitto") or "/usr/sbin/mosquitto"
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    # Without a configuration file it listens to this machine alone, and asks nobody for a password.
    with subprocess.Popen([program, "-p", str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            yield f"mqtt://127.0.0.1:{port}"
        finally:
            process.terminate()


async def _measure(daemon: Daemon, trials: int) -> Mapping[str, list[float]]:
    """Run a study and listen until its end; times in seconds by kind."""
    study = daemon.folder / "study.toml"
    study.write_text(_STUDY.format(trials=trials))
    times: dict[str, list[float]] = {kind: [] for kind in _KINDS}
    client = BrokerAddress.parse(await _url(daemon)).client("latency", queue_limit=0)
    async with asyncio.timeout(_PATIENCE_S), connected(client):
        for topics in ("study/+", "study/+/trial/+", "device/+", "event"):
            await client.subscribe(f"cnnbo/v1/+/{topics}", qos=1)
        submitting = asyncio.create_task(asyncio.to_thread(daemon.tell, "submit", study))
        async for message in client.messages:
            arrived = time.time()
            if message.retain or not isinstance(message.payload, bytes):
                continue
            body = json.loads(message.payload)
            for kind, began in _moments(message.topic.value, body):
                times[kind].append(arrived - began)
            if body.get("event") == "study_finished":
                break
        await submitting
    return times


async def _url(daemon: Daemon) -> str:
    """Where the daemon's broker is; it starts beside the daemon."""
    async with asyncio.timeout(_PATIENCE_S):
        while (url := (await asyncio.to_thread(status, daemon.state))["mqtt"]) is None:  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0.05)
    return str(url)


def _moments(topic: str, body: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """What a message tells the time of: kinds and seconds since the epoch."""
    if topic.endswith("/event"):
        yield "event", _seconds(body["ts"])
        return
    yield "state", _seconds(body["ts"])
    if "/trial/" in topic and body["attempts"]:
        attempt = body["attempts"][-1]
        yield "change", _seconds(attempt["ended"] or attempt["started"])


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def _row(broker: str, kind: str, times: Iterable[float]) -> Row:
    found = sorted(1000 * max(0.0, seconds) for seconds in times)  # the times told are rounded to milliseconds
    cuts = statistics.quantiles(found, n=100, method="inclusive")
    figures = (round(figure, 1) for figure in (cuts[49], cuts[94], cuts[98], found[-1]))
    return Row(broker, kind, len(found), *figures)


def _write(rows: Iterable[Row]) -> None:
    with ROWS.open("w", newline="") as file:
        writer = csv.DictWriter(file, [entry.name for entry in fields(Row)], lineterminator="\n")
        writer.writeheader()
        writer.writerows(asdict(row) for row in rows)


if __name__ == "__main__":
    app()
