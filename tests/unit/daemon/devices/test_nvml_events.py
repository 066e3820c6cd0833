"""What the driver reports by itself, on a C library in the place of NVIDIA's."""

import logging
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import pynvml
import pytest
from tests.nvml.driver import (
    DOUBLE_BIT_ECC,
    MIG_CHANGE,
    RECOVERY_ACTION,
    SINGLE_BIT_ECC,
    UNAVAILABLE,
    XID,
    FakeDriver,
    FakeGpu,
    FakeInstance,
    gpus,
)
from tests.unit.daemon.devices.conftest import Clock, Sessions

from cnnbo.daemon.devices.base import HealthEvent, HealthKind
from cnnbo.daemon.devices.nvml import NvmlBackend

pytestmark = pytest.mark.gcc

NOT_SUPPORTED, UNKNOWN = 3, 999
FIRST, SECOND, THIRD = (gpu.uuid for gpu in gpus(3))
LEFT, MIDDLE, RIGHT = (
    FakeInstance("MIG-b1b1b1b1-0000-0000-0000-000000000001", gpu_instance=1),
    FakeInstance("MIG-b2b2b2b2-0000-0000-0000-000000000002", gpu_instance=2, compute_instance=0),
    FakeInstance("MIG-b3b3b3b3-0000-0000-0000-000000000003", gpu_instance=2, compute_instance=1),
)


def listen(backend: NvmlBackend) -> None:
    """Have events kept from here on: those from before the first wait are nobody's."""
    assert list(backend.wait_for_events(0.01)) == []


def next_events(backend: NvmlBackend) -> Sequence[HealthEvent]:
    return backend.wait_for_events(60)


@pytest.fixture
def listening(backend: NvmlBackend) -> NvmlBackend:
    """The three GPUs, events kept."""
    backend.discover()
    listen(backend)
    return backend


# ---- what an event means ----


@pytest.mark.parametrize("number", [13, 31, 43, 45, 68, 109])
def test_an_error_of_the_program_leaves_the_device_alone(
    driver: FakeDriver, listening: NvmlBackend, number: int
) -> None:
    """A trial that uses memory it hasn't got must not cost the box a GPU."""
    driver.xid(SECOND, number)
    (event,) = next_events(listening)
    assert (event.uuids, event.kind, event.xid) == ((SECOND,), HealthKind.APPLICATION, number)
    assert event.reason.startswith(f"XID {number}: ")


@pytest.mark.parametrize(
    ("number", "reason"),
    [(79, "XID 79: it has fallen off the bus"), (4711, "XID 4711 (see NVIDIA's XID catalogue)")],
)
def test_any_other_xid_is_the_devices_own(driver: FakeDriver, listening: NvmlBackend, number: int, reason: str) -> None:
    """Numbers that nobody knows yet are no reason for hope."""
    driver.xid(SECOND, number)
    assert list(next_events(listening)) == [HealthEvent((SECOND,), HealthKind.HARDWARE, reason, number)]


def test_an_uncorrectable_memory_error_is_the_devices_own(driver: FakeDriver, listening: NvmlBackend) -> None:
    """What was in that memory is lost."""
    driver.double_bit_ecc(FIRST)
    (event,) = next_events(listening)
    assert (event.uuids, event.kind, event.xid) == ((FIRST,), HealthKind.HARDWARE, None)
    assert "double-bit ECC" in event.reason


def test_a_corrected_memory_error_is_only_logged(
    driver: FakeDriver, listening: NvmlBackend, caplog: pytest.LogCaptureFixture
) -> None:
    """They happen on every large card; many of them are worth a look some day."""
    with caplog.at_level(logging.INFO):
        driver.event(FIRST, SINGLE_BIT_ECC)
        driver.xid(SECOND, 79)
        assert [event.uuids for event in next_events(listening)] == [(SECOND,)]
    assert f"{FIRST} reports" in caplog.text


def test_an_unavailable_device_is_told(driver: FakeDriver, listening: NvmlBackend) -> None:
    """Newer drivers say it in a word instead of an XID."""
    driver.event(THIRD, UNAVAILABLE)
    (event,) = next_events(listening)
    assert (event.uuids, event.kind) == ((THIRD,), HealthKind.HARDWARE)


def test_a_device_that_needs_recovery_is_told_and_one_that_had_it_is_not(
    driver: FakeDriver, listening: NvmlBackend
) -> None:
    """The driver reports every change of what it asks for; that it asks for nothing more is good news."""
    driver.event(FIRST, RECOVERY_ACTION)
    driver.change(SECOND, recovery_action=1)
    driver.event(SECOND, RECOVERY_ACTION)
    (event,) = next_events(listening)
    assert (event.uuids, event.kind) == ((SECOND,), HealthKind.HARDWARE)


def test_an_error_of_a_device_that_cannot_be_told_concerns_all(driver: FakeDriver, listening: NvmlBackend) -> None:
    """One of them is broken, and a trial on it would come to wrong results."""
    driver.xid(None, 79)
    (event,) = next_events(listening)
    assert (event.uuids, event.kind, event.xid) == ((FIRST, SECOND, THIRD), HealthKind.HARDWARE, 79)


def test_an_error_of_a_program_that_cannot_be_told_concerns_none(driver: FakeDriver, listening: NvmlBackend) -> None:
    """Blaming all programs would be wrong for all but one, and that one tells by its exit."""
    driver.xid(None, 31)
    driver.xid(FIRST, 79)
    assert [event.xid for event in next_events(listening)] == [79]


def test_events_of_other_devices_are_dropped(driver: FakeDriver, backend: NvmlBackend) -> None:
    """The neighbour's GPU is the neighbour's business."""
    backend.discover()
    backend.keep([FIRST])
    listen(backend)
    driver.xid(SECOND, 79)
    driver.xid(FIRST, 48)
    assert [(event.uuids, event.xid) for event in next_events(backend)] == [((FIRST,), 48)]


# ---- MIG ----


@pytest.fixture
def cut(driver: FakeDriver, backend: NvmlBackend) -> NvmlBackend:
    """Three instances in two GPU instances of one GPU, and a whole GPU; events kept."""
    driver.install([FakeGpu(FIRST, instances=(LEFT, None, MIDDLE, RIGHT)), FakeGpu(SECOND)])
    backend.discover()
    listen(backend)
    return backend


@pytest.mark.parametrize(
    ("gpu_instance", "compute_instance", "concerned"),
    [
        (1, 0, [LEFT]),
        (2, 1, [RIGHT]),
        (2, None, [MIDDLE, RIGHT]),
        (None, None, [LEFT, MIDDLE, RIGHT]),
    ],
)
def test_an_xid_concerns_the_instances_it_names(
    driver: FakeDriver,
    cut: NvmlBackend,
    gpu_instance: int | None,
    compute_instance: int | None,
    concerned: list[FakeInstance],
) -> None:
    """Instances fail apart from each other; that is what they are bought for."""
    driver.xid(FIRST, 31, gpu_instance, compute_instance)
    (event,) = next_events(cut)
    assert event.uuids == tuple(instance.uuid for instance in concerned)


def test_an_xid_of_an_instance_that_is_not_ours_is_dropped(driver: FakeDriver, cut: NvmlBackend) -> None:
    """It may have been made after the discovery, by somebody else."""
    driver.xid(FIRST, 94, 5, 0)
    driver.xid(SECOND, 79)
    assert [event.uuids for event in next_events(cut)] == [(SECOND,)]


@pytest.mark.parametrize("kind", [MIG_CHANGE, DOUBLE_BIT_ECC])
def test_what_happens_to_a_gpu_happens_to_all_its_instances(driver: FakeDriver, cut: NvmlBackend, kind: int) -> None:
    """Only XIDs name an instance."""
    driver.event(FIRST, kind, gpu_instance=1, compute_instance=0)  # without a meaning there
    (event,) = next_events(cut)
    assert event.uuids == (LEFT.uuid, MIDDLE.uuid, RIGHT.uuid)
    assert event.kind is (HealthKind.LAYOUT if kind == MIG_CHANGE else HealthKind.HARDWARE)


# ---- drivers and devices that report less ----


def test_asks_only_for_events_that_the_device_knows(driver: FakeDriver, backend: NvmlBackend) -> None:
    """A driver refuses the whole list for one kind that it doesn't know."""
    driver.change(FIRST, event_types=XID)
    backend.discover()
    listen(backend)
    driver.xid(FIRST, 79)
    assert [event.xid for event in next_events(backend)] == [79]


def test_a_device_without_events_is_warned_of_once_and_the_others_go_on(
    driver: FakeDriver, backend: NvmlBackend, caplog: pytest.LogCaptureFixture
) -> None:
    """Its faults are still found by reading it."""
    driver.change(FIRST, errors={"register": NOT_SUPPORTED})
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            backend.discover()
            listen(backend)
    assert caplog.text.count(f"The driver reports no events of {FIRST}") == 1
    driver.xid(SECOND, 79)
    assert [event.uuids for event in next_events(backend)] == [(SECOND,)]


@pytest.fixture
def old_backend(old_driver: FakeDriver) -> Iterator[NvmlBackend]:
    backend = NvmlBackend()
    yield backend
    backend.close()


def test_an_old_driver_reports_nothing(old_backend: NvmlBackend, caplog: pytest.LogCaptureFixture) -> None:
    """The function has another shape before driver 450; all else works there."""
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            old_backend.discover()
            assert list(old_backend.wait_for_events(0.01)) == []
    assert caplog.text.count("The driver reports no events (") == 1


# ---- a queue that fails ----


def test_a_failed_wait_says_that_nothing_is_clear(driver: FakeDriver, listening: NvmlBackend) -> None:
    """An event may have been lost with it, so the devices are to be read anew."""
    driver.fail_waiting(UNKNOWN)
    (event,) = next_events(listening)
    assert (event.uuids, event.kind, event.xid) == ((FIRST, SECOND, THIRD), HealthKind.UNCLEAR, None)


def test_a_failed_queue_is_opened_again_and_less_and_less_often(
    driver: FakeDriver, listening: NvmlBackend, clock: Clock
) -> None:
    """A driver that fails at every wait must not keep a core busy; not even when each failure has it opened anew."""
    driver.fail_waiting(UNKNOWN)
    assert len(next_events(listening)) == 1
    for wait_s in (2, 4, 8, 16, 32, 60, 60):
        clock.now += wait_s - 1
        listening.discover()
        assert list(listening.wait_for_events(0.01)) == []
        clock.now += 1
        assert [event.kind for event in next_events(listening)] == [HealthKind.UNCLEAR]
    driver.fail_waiting(0)
    clock.now += 60
    listen(listening)
    driver.xid(FIRST, 79)
    assert [event.xid for event in next_events(listening)] == [79]


# ---- beside the thread that reads ----


def test_events_come_while_another_thread_reads(driver: FakeDriver, listening: NvmlBackend, sessions: Sessions) -> None:
    """One thread waits for hours, and the other one reads every second or two."""
    with ThreadPoolExecutor(1) as thread:
        wait = thread.submit(listening.wait_for_events, 60)
        sessions.await_waiting()
        for _ in range(20):
            assert listening.sample()[FIRST].fault is None
        driver.xid(FIRST, 79)
        assert [event.xid for event in wait.result(timeout=30)] == [79]


def test_the_driver_is_really_opened_anew_under_a_waiting_thread(
    driver: FakeDriver, listening: NvmlBackend, sessions: Sessions
) -> None:
    """Sessions are counted: one left open would make a new one show the old devices."""
    with ThreadPoolExecutor(1) as thread:
        wait = thread.submit(listening.wait_for_events, 60)
        sessions.await_waiting()
        before = sessions.endings
        listening.discover()
        assert (sessions.endings - before, sessions.number) == (1, 1)
        assert list(wait.result(timeout=30)) == []  # ended with its session; the next one is in the new session
    listen(listening)
    driver.xid(FIRST, 79)
    assert [event.xid for event in next_events(listening)] == [79]


def test_nothing_is_left_open(listening: NvmlBackend, sessions: Sessions) -> None:
    """A session left open keeps the driver loaded and every device awake."""
    with ThreadPoolExecutor(1) as thread:
        wait = thread.submit(listening.wait_for_events, 60)
        sessions.await_waiting()
        listening.close()
        assert list(wait.result(timeout=30)) == []
    assert (sessions.number, sessions.endings) == (0, 1)


def test_a_device_that_came_back_reports_again(driver: FakeDriver, listening: NvmlBackend) -> None:
    """What it was asked to report before its reset is forgotten with it."""
    driver.lose(FIRST)
    assert listening.sample()[FIRST].fault
    listening.discover()
    listen(listening)  # to the others
    assert listening.sample()[FIRST].fault
    driver.restore(FIRST)
    assert listening.sample()[FIRST].fault is None
    listen(listening)
    driver.xid(FIRST, 48)
    assert [event.uuids for event in next_events(listening)] == [(FIRST,)]


def test_a_device_plugged_in_later_reports_too(driver: FakeDriver, listening: NvmlBackend) -> None:
    """A discovery is all it takes."""
    (*_, fourth) = gpus(4)
    driver.install(gpus(4))
    listening.discover()
    listen(listening)
    driver.xid(fourth.uuid, 79)
    assert [event.uuids for event in next_events(listening)] == [(fourth.uuid,)]


def test_younger_kinds_have_the_numbers_of_the_binding() -> None:
    """They are ours by number, for bindings that don't name them yet; this one does."""
    assert pynvml.nvmlEventTypeGpuUnavailableError == UNAVAILABLE
    assert pynvml.nvmlEventTypeGpuRecoveryAction == RECOVERY_ACTION
