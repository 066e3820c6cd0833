"""The watchdog is fed while everything moves, and says what doesn't."""

import asyncio
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest
from tests.managers import Manager, managing

from cnnbo.daemon.watchdog import feed, feeding_interval_s


@pytest.fixture
def manager(monkeypatch: pytest.MonkeyPatch) -> Iterator[Manager]:
    with managing() as manager:
        manager.connection.setblocking(False)
        for name, value in manager.environment.items():
            monkeypatch.setenv(name, value)
        yield manager


async def hear(manager: Manager) -> bytes:
    return await asyncio.get_running_loop().sock_recv(manager.connection, 4096)


@pytest.mark.parametrize(
    ("environ", "interval_s"),
    [
        ({"WATCHDOG_USEC": "60000000"}, 20.0),
        ({"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": str(os.getpid())}, 20.0),
        ({"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({}, None),
    ],
)
def test_a_third_of_the_patience_is_used(environ: dict[str, str], interval_s: float | None) -> None:
    """Two messages may come late; and what was meant for a parent isn't for us."""
    assert feeding_interval_s(environ) == interval_s


def _then(emit: Callable[[logging.LogRecord], None], also: Callable[[], None]) -> Callable[[logging.LogRecord], None]:
    def both(record: logging.LogRecord) -> None:
        emit(record)
        also()

    return both


async def test_who_stands_still_is_named_and_nothing_is_told_until_all_move(
    manager: Manager, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A timer that ticks on in a daemon that hangs would keep it hanging."""
    gate, complained = asyncio.Event(), asyncio.Event()
    gate.set()
    monkeypatch.setattr(caplog.handler, "emit", _then(caplog.handler.emit, complained.set))
    proofs = 0

    async def loop_moves() -> None:
        nonlocal proofs
        proofs += 1
        await gate.wait()

    async def thread_moves() -> None:
        """Always."""

    feeding = asyncio.create_task(feed(0.02, {"the study loop": loop_moves, "the journal's thread": thread_moves}))
    for _ in range(3):
        assert await hear(manager) == b"WATCHDOG=1"
    gate.clear()
    await complained.wait()
    with suppress(BlockingIOError):  # what was told before it stood still
        while manager.connection.recv(4096):
            pass
    before = proofs
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.3):
            await hear(manager)
    assert proofs == before, "it isn't asked again before it has answered"
    [record] = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert "the study loop stuck" in record.getMessage() and "journal" not in record.getMessage()
    gate.set()
    assert await hear(manager) == b"WATCHDOG=1"
    assert "the study loop going on again" in caplog.text
    feeding.cancel()
    await asyncio.wait([feeding])
    assert feeding.cancelled()
