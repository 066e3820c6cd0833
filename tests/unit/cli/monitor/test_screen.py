"""`cnnbo watch` with a real broker and a real terminal."""

import asyncio
import json
import os
import pty
import signal
import socket
import subprocess
import sys
import termios
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.events import NoEvents

from cnnbo.cli.monitor.screen import Monitor
from cnnbo.daemon.broker import EmbeddedBroker
from cnnbo.daemon.mqtt import BrokerAddress, connected
from cnnbo.daemon.sinks.base import Delivery, Message
from cnnbo.daemon.sinks.mqtt import MqttSink
from cnnbo.scheduler.errors import RequestError

_WAIT_S = 30.0
_WATCH = """
import sys
import typer
from cnnbo.cli.commands.watch import watch

app = typer.Typer()
app.command()(watch)
app(sys.argv[1:])
"""


def _study(trials: int) -> list[Message]:
    summary = {"name": "svhn", "state": "running", "evaluations": 500, "finished": trials}
    return [
        Message("study/svhn", summary, "cnnbo.study/1", Delivery.STATE),
        *(
            Message(f"study/svhn/trial/{k}", {"id": k, "state": "complete"}, "cnnbo.trial/1", Delivery.STATE)
            for k in range(1, trials + 1)
        ),
    ]


@pytest.fixture
async def url(tmp_path: Path) -> AsyncIterator[str]:
    """A broker where the daemon of a box has published a study of 300 trials, and stays connected."""
    async with EmbeddedBroker(tmp_path, 0) as broker:
        assert broker.url is not None
        sink = MqttSink(broker.url, "tower", boot="b", events=NoEvents())
        for message in _study(300):
            sink.publish(message)
        async with connected(BrokerAddress.parse(broker.url).client("fixture")) as client:
            await client.subscribe("cnnbo/v1/tower/study/svhn/trial/300", qos=0)
            running = asyncio.create_task(sink.run())
            async with asyncio.timeout(_WAIT_S):
                await anext(aiter(client.messages))  # the last one
        yield broker.url
        running.cancel()
        await asyncio.wait([running])


async def _start(url: str, *arguments: str, stdin: int = subprocess.DEVNULL, stdout: int = subprocess.PIPE) -> Process:
    command = (sys.executable, "-c", _WATCH, "--broker", url, *arguments)
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100", "LINES": "40", "PYTHONUTF8": "1"}
    return await asyncio.create_subprocess_exec(*command, stdin=stdin, stdout=stdout, env=environment)


async def test_json_holds_every_retained_trial(url: str) -> None:
    """A broker stops after a hundred retained messages where they are asked for with QoS 1."""
    process = await _start(url, "--json")
    output, _ = await asyncio.wait_for(process.communicate(), _WAIT_S)
    assert process.returncode == 0
    (box,) = json.loads(output)["boxes"]
    assert (box["node"], box["availability"]) == ("tower", "online")
    assert [trial["id"] for trial in box["studies"][0]["trials"]] == list(range(1, 301))


async def test_once_prints_a_screen_and_ends(url: str) -> None:
    """For scripts, for a look over a slow line, and for terminals that can't draw."""
    process = await _start(url, "-1", "--node", "tower")
    output, _ = await asyncio.wait_for(process.communicate(), _WAIT_S)
    assert process.returncode == 0
    assert "STUDY svhn  running  300/500 done" in output.decode()
    assert b"\x1b" not in output


async def test_a_broker_that_is_not_there_is_an_error_with_a_remedy(tmp_path: Path) -> None:
    """`watch -1` in a script must not print an empty screen and succeed."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        monitor = Monitor([f"mqtt://127.0.0.1:{silent.getsockname()[1]}"], tmp_path)
        with pytest.raises(RequestError, match=r"Connection refused.*cnnbo status"):
            await monitor.listen_once()


async def test_without_a_terminal_a_line_is_printed_for_each_turn(url: str) -> None:
    """`cnnbo watch > file` must be readable afterwards."""
    process = await _start(url)
    assert process.stdout is not None
    async with asyncio.timeout(_WAIT_S):
        while b"STUDY svhn" not in await process.stdout.readline():
            pass
        async with connected(BrokerAddress.parse(url).client("other")) as client:
            await client.publish("cnnbo/v1/tower/study/svhn/trial/300", b'{"state": "cancelled"}', qos=1)
        while b"tower svhn #300 cancelled" not in await process.stdout.readline():
            pass
    process.send_signal(signal.SIGINT)
    assert await asyncio.wait_for(process.wait(), _WAIT_S) == 130


class Terminal:
    """A pseudo-terminal and everything a program wrote to it."""

    def __init__(self) -> None:
        self.ours, self.theirs = pty.openpty()
        self.output = b""
        self._news = asyncio.Event()
        asyncio.get_running_loop().add_reader(self.ours, self._read)

    def _read(self) -> None:
        self.output += os.read(self.ours, 65536)
        self._news.set()

    async def until(self, text: bytes) -> None:
        async with asyncio.timeout(_WAIT_S):
            while text not in self.output:
                self._news.clear()
                await self._news.wait()

    def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self.ours)
        os.close(self.ours)
        os.close(self.theirs)


@pytest.mark.parametrize(("key", "status"), [(b"q", 0), (b"\x03", 130)])
async def test_a_terminal_is_left_as_it_was(url: str, key: bytes, status: int) -> None:
    """A shell without echo or cursor, or on the second screen, is the last thing people see of a bad monitor."""
    terminal = Terminal()
    before = termios.tcgetattr(terminal.theirs)
    process = await _start(url, stdin=terminal.theirs, stdout=terminal.theirs)
    await terminal.until(b"300/500 done")
    assert not termios.tcgetattr(terminal.theirs)[3] & termios.ECHO
    if key == b"\x03":
        process.send_signal(signal.SIGINT)  # what the terminal of a session would do
    else:
        os.write(terminal.ours, key)
    assert await asyncio.wait_for(process.wait(), _WAIT_S) == status
    await terminal.until(b"\x1b[?1049l")
    assert terminal.output.rindex(b"\x1b[?25h") > terminal.output.rindex(b"\x1b[?25l")
    assert termios.tcgetattr(terminal.theirs) == before
    terminal.close()
