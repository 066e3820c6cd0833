"""Notifications arrive where the service manager listens, and trouble there is no trouble here."""

import asyncio
import socket
import threading
from pathlib import Path

import pytest

from cnnbo.daemon import systemd
from cnnbo.daemon.systemd import notify, tell

QUEUE = int(Path("/proc/sys/net/unix/max_dgram_qlen").read_text())


@pytest.mark.parametrize("prefix", ["", "@"])
def test_states_arrive_as_one_message(prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Path and abstract sockets are both in use."""
    monkeypatch.chdir(tmp_path)  # socket paths are short
    name = f"{tmp_path.name}-notify" if prefix else str(tmp_path / "s")[:100]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(f"\0{name}" if prefix else name)
        assert notify("READY=1", "STATUS=2 training", environ={"NOTIFY_SOCKET": prefix + name})
        assert manager.recv(100) == b"READY=1\nSTATUS=2 training"


@pytest.mark.parametrize("environ", [{}, {"NOTIFY_SOCKET": "nonsense"}, {"NOTIFY_SOCKET": "/nowhere/at/all"}])
def test_nobody_listening_is_no_error(environ: dict[str, str]) -> None:
    """A daemon in a terminal has no manager."""
    assert not notify("READY=1", environ=environ)


def test_a_manager_that_reads_nothing_is_not_waited_for_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its queue holds a few messages; a daemon that waited for the rest would stand still with it."""
    monkeypatch.setattr(systemd, "PATIENCE_S", 0.1)
    name = f"\0{tmp_path.name}-deaf"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(name)
        taken = [notify("WATCHDOG=1", environ={"NOTIFY_SOCKET": "@" + name[1:]}) for _ in range(QUEUE + 2)]
    assert taken[0] and not taken[-1]


async def test_what_fills_the_threads_of_the_event_loop_keeps_no_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Six launches wait for a data folder that hangs: the watchdog must not strike for that."""
    name = f"{tmp_path.name}-busy"
    monkeypatch.setenv("NOTIFY_SOCKET", f"@{name}")
    gate = threading.Event()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(f"\0{name}")
        hanging = [asyncio.ensure_future(asyncio.to_thread(gate.wait)) for _ in range(100)]
        try:
            assert await tell("WATCHDOG=1")
        finally:
            gate.set()
        assert manager.recv(100) == b"WATCHDOG=1"
    await asyncio.gather(*hanging)
