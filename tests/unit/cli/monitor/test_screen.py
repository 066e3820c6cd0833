"""`cnnbo watch` with a real broker and a real terminal."""

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import sys
import termios
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest
from tests.events import NoEvents
from tests.unit.cli.monitor.terminals import WAIT_S, Terminal

from cnnbo.cli.monitor.screen import Monitor
from cnnbo.cli.monitor.sources import Source
from cnnbo.daemon.broker import EmbeddedBroker
from cnnbo.daemon.mqtt import BrokerAddress, connected
from cnnbo.daemon.sinks.base import Delivery, Message
from cnnbo.daemon.sinks.mqtt import MqttSink
from cnnbo.scheduler.errors import RequestError

_WATCH = """
import sys
import typer
from cnnbo.cli.commands.watch import watch
from cnnbo.scheduler.errors import RequestError

app = typer.Typer()
app.command()(watch)
try:
    app(sys.argv[1:])
except RequestError as error:
    sys.exit(str(error))
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
            async with asyncio.timeout(WAIT_S):
                await anext(aiter(client.messages))  # the last one
        yield broker.url
        running.cancel()
        await asyncio.wait([running])


async def _start(
    url: str,
    *arguments: str,
    stdin: int = subprocess.DEVNULL,
    stdout: int = subprocess.PIPE,
    stderr: int | None = None,
    before: str = "",
    environment: Mapping[str, str] | None = None,
) -> Process:
    """Start the command, after some code of the test's own."""
    command = (sys.executable, "-c", before + _WATCH, "--broker", url, *arguments)
    usual = {**os.environ, "TERM": "xterm", "COLUMNS": "100", "LINES": "40", "PYTHONUTF8": "1", "LC_ALL": "C.UTF-8"}
    changed = usual | dict(environment or {})
    return await asyncio.create_subprocess_exec(*command, stdin=stdin, stdout=stdout, stderr=stderr, env=changed)


async def test_json_holds_every_retained_trial(url: str) -> None:
    """A broker stops after a hundred retained messages where they are asked for with QoS 1."""
    process = await _start(url, "--json")
    output, _ = await asyncio.wait_for(process.communicate(), WAIT_S)
    assert process.returncode == 0
    (box,) = json.loads(output)["boxes"]
    assert (box["node"], box["availability"]) == ("tower", "online")
    assert [trial["id"] for trial in box["studies"][0]["trials"]] == list(range(1, 301))


async def test_once_prints_a_screen_and_ends(url: str) -> None:
    """For scripts, for a look over a slow line, and for terminals that can't draw."""
    process = await _start(url, "-1", "--node", "tower")
    output, _ = await asyncio.wait_for(process.communicate(), WAIT_S)
    assert process.returncode == 0
    assert "STUDY svhn  running  300/500 done" in output.decode()
    assert b"\x1b" not in output


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--node", "nix"), "There is no box 'nix'; the boxes are: tower."),
        (("--base", "lab"), "no box has published there yet below lab."),
    ],
)
async def test_a_box_that_is_not_there_is_an_error(url: str, arguments: tuple[str, str], sentence: str) -> None:
    """A script that watches a mistyped box would believe it idle for ever."""
    process = await _start(url, "-1", *arguments, stderr=subprocess.PIPE)
    _, errors = await asyncio.wait_for(process.communicate(), WAIT_S)
    assert process.returncode == 1
    assert sentence in " ".join(errors.decode().split())


async def test_a_broker_that_is_not_there_is_an_error_with_a_remedy(tmp_path: Path) -> None:
    """`watch -1` in a script must not print an empty screen and succeed."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        monitor = Monitor([Source(BrokerAddress("127.0.0.1", silent.getsockname()[1]))], tmp_path)
        with pytest.raises(RequestError, match=r"Connection refused.*cnnbo status"):
            await monitor.listen_once()


async def test_what_a_broker_kept_is_as_old_as_it_says(url: str, tmp_path: Path) -> None:
    """The mark of a kept message is all that tells an old figure from a fresh one of a slow clock."""
    async with connected(BrokerAddress.parse(url).client("old")) as client:
        await client.publish("cnnbo/v1/tower/device/GPU-0", b'{"ts": "2026-11-23T13:36:07Z"}', qos=1, retain=True)
    monitor = Monitor([Source(BrokerAddress.parse(url))], tmp_path)
    await monitor.listen_once()
    (box,) = monitor.state.boxes.values()
    assert (list(box.devices), box.behind_s) == (["GPU-0"], 0.0)


async def test_without_a_terminal_a_line_is_printed_for_each_turn(url: str) -> None:
    """`cnnbo watch > file` must be readable afterwards."""
    process = await _start(url)
    assert process.stdout is not None
    async with asyncio.timeout(WAIT_S):
        while b"STUDY svhn" not in await process.stdout.readline():
            pass
        async with connected(BrokerAddress.parse(url).client("other")) as client:
            await client.publish("cnnbo/v1/tower/study/svhn/trial/300", b'{"state": "cancelled"}', qos=1)
        while b"tower svhn #300 cancelled" not in await process.stdout.readline():
            pass
    process.send_signal(signal.SIGINT)
    assert await asyncio.wait_for(process.wait(), WAIT_S) == 130


async def _end(process: Process, terminal: Terminal, ending: bytes | signal.Signals) -> int:
    if isinstance(ending, bytes):
        os.write(terminal.ours, ending)
    else:
        process.send_signal(ending)
    return await asyncio.wait_for(process.wait(), WAIT_S)


@pytest.mark.parametrize(
    ("ending", "status"), [(b"q", 0), (signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
async def test_a_terminal_is_left_as_it_was(url: str, ending: bytes | signal.Signals, status: int) -> None:
    """A shell without echo or cursor, or on the second screen, is the last thing people see of a bad monitor."""
    terminal = Terminal()
    before = termios.tcgetattr(terminal.theirs)
    process = await _start(url, stdin=terminal.theirs, stdout=terminal.theirs)
    await terminal.until(b"300/500 done")
    assert not termios.tcgetattr(terminal.theirs)[3] & termios.ECHO
    assert await _end(process, terminal, ending) == status
    await _assert_clean(terminal)
    assert termios.tcgetattr(terminal.theirs) == before
    terminal.close()


async def _assert_clean(terminal: Terminal) -> None:
    await terminal.until(b"\x1b[?1049l")
    assert terminal.output.rindex(b"\x1b[?25h") > terminal.output.rindex(b"\x1b[?25l")


async def test_a_suspended_monitor_gives_the_terminal_back(url: str) -> None:
    """Ctrl-Z leads to a shell that can be read, and `fg` to the whole screen."""
    terminal = Terminal()
    process = await _start(url, stdin=terminal.theirs, stdout=terminal.theirs)
    await terminal.until(b"300/500 done")
    terminal.output = b""
    process.send_signal(signal.SIGTSTP)
    await terminal.until(b"\x1b[?1049l")
    assert b"300/500 done" not in terminal.output
    await asyncio.to_thread(os.waitid, os.P_PID, process.pid, os.WSTOPPED | os.WNOWAIT)
    process.send_signal(signal.SIGCONT)
    await terminal.until(b"300/500 done")
    assert terminal.output.index(b"\x1b[?1049h") > terminal.output.index(b"\x1b[?1049l")
    assert await _end(process, terminal, b"q") == 0
    terminal.close()


async def test_a_crash_leaves_a_clean_terminal_too(url: str) -> None:
    """A bug is bad enough; a shell that can't be typed into makes people afraid of the monitor."""
    crash = "from cnnbo.cli.monitor import screen\nscreen.render = lambda *_: 1 / 0\n"
    terminal = Terminal()
    before = termios.tcgetattr(terminal.theirs)
    process = await _start(url, stdin=terminal.theirs, stdout=terminal.theirs, stderr=subprocess.PIPE, before=crash)
    _, errors = await asyncio.wait_for(process.communicate(), WAIT_S)
    assert process.returncode == 1 and b"ZeroDivisionError" in errors
    await _assert_clean(terminal)
    assert termios.tcgetattr(terminal.theirs) == before
    terminal.close()


async def test_keys_are_answered(url: str) -> None:
    """From the terminal's bytes to the page they turn to."""
    terminal = Terminal()
    process = await _start(url, stdin=terminal.theirs, stdout=terminal.theirs)
    await terminal.until(b"300/500 done")
    for key, answer in (
        (b"?", b"KEYS"),
        (b"\x1b", b"300/500 done"),
        (b"\x0c", b"300/500 done"),
        (b"\x1b[B", "▸".encode()),
        (b"\r", b"TRIAL"),
    ):
        terminal.output = b""
        os.write(terminal.ours, key)
        await terminal.until(answer)
    assert await _end(process, terminal, b"q") == 0
    terminal.close()


@pytest.mark.parametrize(
    ("environment", "pattern"),
    [
        ({"NO_COLOR": "1"}, rb"\x1b\[(?:[0-9;]*;)?3[0-8][0-9;]*m"),
        ({"PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii"}, rb"[\x80-\xff]"),
        ({"LC_ALL": "", "LC_CTYPE": "", "LANG": "C"}, rb"[\x80-\xff]"),
    ],
    ids=["no colour", "no Unicode", "the C locale"],
)
async def test_what_a_terminal_cant_show_is_not_sent(url: str, environment: dict[str, str], pattern: bytes) -> None:
    """Colour only repeats what the words say, and every character has a form in ASCII."""
    terminal = Terminal()
    process = await _start(url, stdin=terminal.theirs, stdout=terminal.theirs, environment=environment)
    await terminal.until(b"300/500 done")
    await _end(process, terminal, b"q")
    assert not re.findall(pattern, terminal.output)
    terminal.close()


async def test_a_dumb_terminal_gets_lines(url: str) -> None:
    """In an editor's shell nothing can be drawn over."""
    terminal = Terminal()
    process = await _start(url, stdin=terminal.theirs, stdout=terminal.theirs, environment={"TERM": "dumb"})
    await terminal.until(b"300/500 done")
    assert await _end(process, terminal, signal.SIGINT) == 130
    assert b"\x1b" not in terminal.output
    terminal.close()


async def test_a_lost_broker_is_said_at_once_and_found_again(tmp_path: Path) -> None:
    """The screen must not look fresh while nothing comes, and needs nobody to come back."""
    terminal = Terminal()
    async with EmbeddedBroker(tmp_path, 0) as broker:
        url = broker.url
        assert url is not None
        process = await _start(url, stdin=terminal.theirs, stdout=terminal.theirs)
        await terminal.until(b"no box has published there yet")
    await terminal.until(b"no connection to")
    terminal.output = b""
    async with EmbeddedBroker(tmp_path, BrokerAddress.parse(url).port):
        await terminal.until(b"no box has published there yet")
        assert await _end(process, terminal, b"q") == 0
    terminal.close()
