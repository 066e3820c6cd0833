"""Strangers are told from our own trials by the tree of processes below the daemon."""

import os
import pwd
import subprocess
import sys
from collections.abc import Iterator

import pytest
from tests.conftest import WAITING

from cnnbo.daemon.devices.base import Device, DeviceKind, DeviceProcess, Sample
from cnnbo.daemon.devices.strangers import Strangers

GPU = Device("GPU-a", 0, "NVIDIA H100", DeviceKind.NVIDIA)


@pytest.fixture
def child() -> Iterator[int]:
    """A process below us, as a trial is below its daemon."""
    with subprocess.Popen([sys.executable, "-c", WAITING], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process.pid


def on_device(*pids: int, memory_mib: float = 900.0) -> dict[str, Sample]:
    return {"GPU-a": Sample(memory_used_mib=memory_mib, processes=tuple(DeviceProcess(pid, 500.0) for pid in pids))}


def test_a_strangers_process_is_named_with_user_and_command(stranger: int) -> None:
    """An administrator must know whom to ask."""
    strangers = Strangers(1024.0)
    strangers.look()
    reason = strangers.find([GPU], on_device(stranger), set())["GPU-a"].reason
    assert reason.startswith(f"{pwd.getpwuid(os.getuid()).pw_name}: {sys.executable} -c import sys; print"[:60])
    assert reason.endswith(f"(pid {stranger}, 0.5 GB)")


def test_what_is_below_us_is_ours(child: int) -> None:
    """Trials, their data loaders, whatever they start."""
    strangers = Strangers(1024.0)
    strangers.look()
    assert strangers.find([GPU], on_device(child), {"GPU-a"}) == {}


def test_a_trial_that_ends_meanwhile_does_not_pass_for_a_stranger(child: int) -> None:
    """The driver's list is a moment older than ours."""
    strangers = Strangers(1024.0)
    strangers.look()
    os.kill(child, 9)
    os.waitpid(child, 0)
    assert strangers.find([GPU], on_device(child), set()) == {}


def test_memory_that_nobody_explains_is_somebodys() -> None:
    """In a container the driver names nobody."""
    strangers = Strangers(1024.0)
    seen = []
    for memory_mib in (5000.0, 300.0, 5000.0):
        strangers.look()
        seen.append("GPU-a" in strangers.find([GPU], on_device(memory_mib=memory_mib), set()))
    assert seen == [True, False, True]


def test_the_last_memory_of_our_own_trial_goes_after_it() -> None:
    """However often the device is looked at meanwhile: other trials that end have all devices read."""
    now = 100.0
    strangers = Strangers(1024.0, lambda: now)
    seen = []
    for at, busy in ((100.0, {"GPU-a"}), (100.1, set()), (100.2, set()), (104.9, set()), (105.1, set())):
        now = at
        strangers.look()
        seen.append("GPU-a" in strangers.find([GPU], on_device(memory_mib=5000.0), busy))
    assert seen == [False, False, False, False, True]


def test_memory_of_our_own_trial_is_explained() -> None:
    """A busy device is full of it."""
    strangers = Strangers(1024.0)
    for _ in range(2):
        strangers.look()
        assert strangers.find([GPU], on_device(memory_mib=70_000.0), {"GPU-a"}) == {}


def test_the_memory_of_the_box_makes_no_cpu_slot_foreign() -> None:
    """Everybody uses it; a laptop would never train."""
    slot, strangers = Device("cpu-0", 0, "CPU", DeviceKind.CPU), Strangers(1024.0)
    for _ in range(2):
        strangers.look()
        assert strangers.find([slot], {"cpu-0": Sample(memory_used_mib=20_000.0)}, set()) == {}
