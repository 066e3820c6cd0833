"""The status line says what the devices are up to, in a few words."""

import asyncio
from collections.abc import Iterator

import pytest
from tests.contracts.sink import SinkContract
from tests.managers import Manager, managing

from cnnbo.daemon.sinks.base import Delivery, Message
from cnnbo.daemon.sinks.systemd import PAUSE_S, SystemdSink, status_line


class TestSystemdSink(SinkContract):
    """Keeps to the law of sinks, with nobody listening."""

    @pytest.fixture
    def sink(self) -> SystemdSink:
        return SystemdSink()


TRAINING = {"state": "busy", "phase": "training"}
COMPILING = {"state": "busy", "phase": "compiling"}
IDLE = {"state": "idle", "reason": None}
DRAINED = {"state": "drained", "reason": "drained by root"}
BROKEN = {"state": "quarantined", "reason": "it has fallen off the bus"}
LATE = {"state": "idle", "reason": "outside of the hours 20:00-08:00"}


def held(reason: str) -> dict[str, object]:
    return {"state": "foreign", "reason": reason}


ALICE = held("alice: python train.py (pid 41277, 9.1 GB)")
SILENT = held("bob (pid 7)")
OTHER = held("in use by another cnnbo (lease /run/lock/cnnbo-GPU-1)")
NOBODY = held("9.1 GB in use, by nobody the driver names")
UNKNOWN = held("a process this box does not know (pid 41277)")


@pytest.mark.parametrize(
    ("devices", "has_study", "line"),
    [
        ([TRAINING, ALICE, TRAINING, DRAINED], True, "2 training, 1 held by alice, 1 drained"),
        ([COMPILING, TRAINING, IDLE, BROKEN], True, "1 training, 1 compiling, 1 waiting, 1 quarantined"),
        ([IDLE, IDLE], False, "idle: no study runs"),
        ([IDLE, ALICE, SILENT], False, "idle: no study runs (1 held by alice, 1 held by bob)"),
        ([TRAINING, IDLE], False, "1 training, 1 idle"),  # it was paused, and runs on to its end
        ([LATE, LATE], True, "2 idle: outside of the hours 20:00-08:00"),
        ([OTHER, NOBODY, UNKNOWN], True, "1 held by another cnnbo, 2 held by somebody unknown"),
        ([DRAINED], False, "1 drained"),
        ([], False, "no devices"),
    ],
)
def test_the_line_counts_what_the_devices_do(devices: list[dict[str, object]], has_study: bool, line: str) -> None:
    """It is read in passing: what trains first, then who is in the way, then what is out of use."""
    assert status_line(devices, has_study) == line


@pytest.fixture
def manager(monkeypatch: pytest.MonkeyPatch) -> Iterator[Manager]:
    with managing() as manager:
        for name, value in manager.environment.items():
            monkeypatch.setenv(name, value)
        yield manager


async def test_only_what_changed_is_told_and_at_most_one_line_a_second(manager: Manager) -> None:
    """Temperatures change with every reading, and a manager that is flooded has better things to do."""
    sink = SystemdSink()
    sink.publish(Message("device/gpu", IDLE, "cnnbo.device/1", Delivery.STATE))
    running = asyncio.create_task(sink.run())
    loop = asyncio.get_running_loop()
    first = await asyncio.to_thread(manager.next)
    begun = loop.time()
    for degrees in range(50):
        sink.publish(Message("device/gpu", {**IDLE, "temperature_c": degrees}, "cnnbo.device/1", Delivery.STATE))
    sink.publish(Message("study/s", {"state": "running"}, "cnnbo.study/1", Delivery.STATE))
    sink.publish(Message("study/s/trial/1", {"state": "complete"}, "cnnbo.trial/1", Delivery.STATE))
    sink.publish(Message("device/gpu", {**TRAINING, "temperature_c": 70}, "cnnbo.device/1", Delivery.STATE))
    second = await asyncio.to_thread(manager.next)
    assert loop.time() - begun > PAUSE_S / 2
    sink.publish(Message("study/s", None, "cnnbo.study/1", Delivery.STATE))
    sink.publish(Message("device/gpu", IDLE, "cnnbo.device/1", Delivery.STATE))
    third = await asyncio.to_thread(manager.next)
    assert [message["STATUS"] for message in (first, second, third)] == [
        "idle: no study runs",
        "1 training",
        "idle: no study runs",
    ]
    running.cancel()
    await asyncio.wait([running])
