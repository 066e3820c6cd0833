"""What the watchdog asks: threads that move answer at once, and one that stands still doesn't."""

import asyncio
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cnnbo.daemon import device_reader
from cnnbo.daemon.broker import EmbeddedBroker
from cnnbo.daemon.device_reader import DeviceReader
from cnnbo.daemon.journal import Journal
from cnnbo.daemon.logfiles import CHILD_LOG_BYTES
from cnnbo.daemon.settings import Settings

SOON_S = 0.2


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """What a thread stands at; opened in the end, or nobody could join it."""
    gate = threading.Event()
    yield gate
    gate.set()


async def test_a_journal_that_stands_still_proves_nothing(tmp_path: Path, gate: threading.Event) -> None:
    """A disk that hangs in the kernel: no result would be kept any more."""
    journal = Journal(tmp_path)
    await journal.open()
    await journal.prove_moving()
    standing = asyncio.ensure_future(journal._in_thread(gate.wait))
    proof = asyncio.ensure_future(journal.prove_moving())
    assert not (await asyncio.wait([proof], timeout=SOON_S))[0]
    gate.set()
    await asyncio.gather(standing, proof)
    await journal.close()


async def test_drivers_are_given_their_time_and_no_more(
    tmp_path: Path, gate: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Opening the driver of eight devices takes a while; a driver that hangs hides what happens to all of them."""
    reader = DeviceReader("cpu:1", Settings(tmp_path, "tower", lease_dir=tmp_path))
    await reader.open()
    standing = asyncio.ensure_future(reader._in_thread(gate.wait))
    begun = time.monotonic()
    await reader.prove_moving()
    assert time.monotonic() - begun < device_reader.PATIENCE_S / 2
    monkeypatch.setattr(device_reader, "PATIENCE_S", 0.0)
    proof = asyncio.ensure_future(reader.prove_moving())
    assert not (await asyncio.wait([proof], timeout=SOON_S))[0]
    gate.set()
    await asyncio.gather(standing, proof)
    await reader.prove_moving()  # at rest it is asked for an answer
    await reader.close()


async def test_the_log_of_the_broker_is_where_logs_are_and_keeps_its_end(tmp_path: Path) -> None:
    """A broker that dies a hundred times a day must not fill the disk, nor take the reason of the last time with it."""
    logs = tmp_path / "logs"
    logs.mkdir()
    (logs / "broker.log").write_bytes(b"x\n" * CHILD_LOG_BYTES + b"why it died\n")
    async with EmbeddedBroker(tmp_path, 0, logs) as broker:
        assert broker.reason is None
    kept = (logs / "broker.log").read_bytes()
    assert len(kept) <= CHILD_LOG_BYTES + 1000 and b"why it died\n" in kept
    assert not (tmp_path / "broker.log").exists()
