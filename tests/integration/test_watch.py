"""`cnnbo watch` beside a daemon that works: what people order from it, and what they read."""

import asyncio
import os
import socket
import threading
from pathlib import Path

from tests.integration.conftest import CNNBO, SCRIPT, Box
from tests.unit.cli.monitor.terminals import WAIT_S, Terminal

# Says what it does, and waits to be told to go on.
_TALKING = (
    SCRIPT
    + """
print("now I wait", flush=True)
os.mkfifo("fifo")
open("fifo").read()
print("now I go on", flush=True)
while True:
    time.sleep(1000)
"""
)

# Python runs it first in each of its processes: the broker's waits there until a gate is opened.
_SLOW_BROKER = """
import sys
if "cnnbo.daemon.broker" in sys.orig_argv:
    open("fifo").read()
"""


async def _press(terminal: Terminal, key: bytes, *answers: bytes) -> None:
    """Press a key and wait for all that it leads to."""
    terminal.output = b""
    os.write(terminal.ours, key)
    for answer in answers:
        await terminal.until(answer)


async def test_orders_and_logs_of_this_machine(box: Box) -> None:
    """Pause, go on, drain, return and read a log without leaving the screen; what is said is the daemon's answer."""
    study = box.write_study(script=_TALKING)
    daemon = box.start("daemon", "--devices", "cpu:1")
    box.wait_for(daemon, "ready:", "connected to")
    box.run("submit", study)
    terminal = Terminal()
    ours = {"CNNBO_STATE": str(box.state), "CNNBO_CONFIG": os.devnull, "TERM": "xterm", "LC_ALL": "C.UTF-8"}
    environment = {**os.environ, **ours, "COLUMNS": "100", "LINES": "40"}
    process = await asyncio.create_subprocess_exec(
        CNNBO, "watch", stdin=terminal.theirs, stdout=terminal.theirs, env=environment, cwd=box.folder
    )
    await terminal.until(b"0/4 done  1 running")
    await _press(terminal, b"p", b"Pause parabola on")
    await _press(terminal, b"y", b"parabola is paused; 1 trial goes on to the end.", b"paused (user)")
    await _press(terminal, b"p", b"Resume parabola on")
    await _press(terminal, b"y", b"parabola goes on.")
    await _press(terminal, b"j", "▸".encode())
    await _press(terminal, b"d", b"Start no more trials on device 0")
    await _press(terminal, b"y", b"Device 0 is drained", b"drained by")
    await _press(terminal, b"d", b"Use device 0 of")
    await _press(terminal, b"y", b"Device 0 is used again (now busy).")
    await _press(terminal, b"l", b"now I wait")
    terminal.output = b""
    await asyncio.to_thread(_open_gate, box.folder)
    await terminal.until(b"now I go on")
    os.write(terminal.ours, b"q")
    assert await asyncio.wait_for(process.wait(), WAIT_S) == 0
    box.run("cancel", "parabola")
    terminal.close()


def test_a_daemon_that_comes_back_elsewhere_is_found(box: Box) -> None:
    """The embedded broker's port may be taken after a restart; only the daemon knows where it went."""
    daemon = box.start("daemon", "--devices", "cpu:1")
    box.wait_for(daemon, "ready:", "connected to")
    port = int(box.json("status")["mqtt"].rpartition(":")[2])
    watch = box.start("watch", PYTHONUNBUFFERED="1")
    box.wait_for(watch, "cnnbo watch")
    daemon.kill()
    daemon.wait()
    box.wait_for(watch, "the daemon of this box is not running: cnnbo daemon")
    with socket.create_server(("127.0.0.1", port)):
        box.start("daemon", "--devices", "cpu:1")
        box.wait_for(watch, "connected to the broker of this box")


def test_a_daemon_that_has_just_begun_is_waited_for(box: Box) -> None:
    """Its trials don't wait for its broker; whoever watches does, instead of being told that there is none."""
    modules = box.folder / "modules"
    modules.mkdir()
    (modules / "sitecustomize.py").write_text(_SLOW_BROKER)
    os.mkfifo(box.folder / "fifo")
    box.wait_for(box.start("daemon", "--devices", "cpu:1", "--node", "tower", PYTHONPATH=str(modules)), "ready:")
    assert (box.json("status")["mqtt"], box.json("status")["daemon"]["mqtt_starting"]) == (None, True)
    assert "mqtt off (its broker is being started)" in box.run("status").stdout
    watch = box.start("watch", "-1")
    threading.Thread(target=_open_gate, args=(box.folder,), daemon=True).start()
    box.wait_for(watch, "tower")
    assert watch.wait() == 0
    assert box.json("status")["daemon"]["mqtt_starting"] is False


def _open_gate(folder: Path) -> None:
    (folder / "fifo").write_text("")
