"""The stand-in for NVIDIA's library, judged by programs that know nothing of it."""

import getpass
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.nvml.driver import FakeDriver, FakeGpu, FakeInstance, FakeProcess, build_library, gpus

pytestmark = pytest.mark.gcc

FIRST, SECOND, THIRD = (gpu.uuid for gpu in gpus(3))


def run(driver: FakeDriver, *command: str) -> str:
    """What a program of this environment prints about a driver's devices; it must not complain of anything."""
    program, *arguments = command
    done = subprocess.run(
        [Path(sys.executable).parent / program, *arguments],
        env={**os.environ, **driver.env(), "TERM": "xterm", "COLUMNS": "200", "LINES": "60"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.fixture
def busy_driver(fake_driver: FakeDriver, stranger: int) -> FakeDriver:
    """Three GPUs, and a program of somebody else's on the second one."""
    fake_driver.change(
        SECOND,
        memory_used_mib=9318,
        utilisation_percent=93,
        temperature_c=71,
        power_mw=312_500,
        processes=(FakeProcess(stranger, 9000),),
    )
    return fake_driver


def test_gpustat_shows_devices_and_who_uses_them(busy_driver: FakeDriver, stranger: int) -> None:
    """It reads names, figures and processes through the same binding, with code of its own."""
    shown = json.loads(run(busy_driver, "gpustat", "--json"))["gpus"]
    assert [gpu["uuid"] for gpu in shown] == [FIRST, SECOND, THIRD]
    assert [gpu["index"] for gpu in shown] == [0, 1, 2]
    figures = ("memory.used", "memory.total", "utilization.gpu", "temperature.gpu", "power.draw")
    assert [shown[1][figure] for figure in figures] == [9318, 81559, 93, 71, 312]
    (process,) = shown[1]["processes"]
    assert (process["pid"], process["username"], process["gpu_memory_usage"]) == (stranger, getpass.getuser(), 9000)
    assert process["full_command"][:2] == [sys.executable, "-c"]


def test_gpustat_shows_the_same_on_an_old_driver(tmp_path: Path, stranger: int) -> None:
    """It has fallbacks of its own for functions that old drivers lack."""
    library = build_library(tmp_path / "old", old_driver=True)
    driver = FakeDriver(library.parent, tmp_path / "state", gpus(1))
    driver.occupy(FIRST, FakeProcess(stranger, 9000))
    (gpu,) = json.loads(run(driver, "gpustat", "--json"))["gpus"]
    assert [process["pid"] for process in gpu["processes"]] == [stranger]


def test_gpustat_knows_a_lost_device(fake_driver: FakeDriver) -> None:
    """Error codes are NVIDIA's own; the others are shown as before."""
    fake_driver.lose(SECOND)
    shown = json.loads(run(fake_driver, "gpustat", "--json"))["gpus"]
    assert [gpu["name"] for gpu in shown] == [gpus(1)[0].name, "((GPU is lost))", gpus(1)[0].name]


def test_nvitop_shows_devices_and_who_uses_them(busy_driver: FakeDriver, stranger: int) -> None:
    """It asks for much more than gpustat does, and complains where a function is missing."""
    busy_driver.double_bit_ecc(SECOND)
    shown = run(busy_driver, "nvitop", "-1")
    header, figures = (line for line in shown.splitlines() if "00000000:01:00.0" in line or "312W" in line)
    assert header.split("│")[3].split() == ["Disabled", "1"]
    assert all(figure in figures for figure in ("71C", "9318MiB / 79.65GiB", "93%"))
    (process,) = (line for line in shown.splitlines() if f" {stranger} " in line)
    assert all(word in process for word in (getpass.getuser(), "9000MiB", f"{sys.executable} -c"))


def test_nvitop_shows_mig_instances(fake_driver: FakeDriver, stranger: int) -> None:
    """It finds them by their GPU, and their numbers by their handles."""
    # No empty place among them: it would end the list for nvitop.
    instances = (
        FakeInstance("MIG-b1b1b1b1-0000-0000-0000-000000000001", gpu_instance=3),
        FakeInstance(
            "MIG-b2b2b2b2-0000-0000-0000-000000000002",
            gpu_instance=5,
            compute_instance=1,
            processes=(FakeProcess(stranger),),
        ),
    )
    fake_driver.install([FakeGpu(FIRST, instances=instances)])
    shown = run(fake_driver, "nvitop", "-1")
    assert all(words in shown for words in ("Enabled", "GI/CI: 3/0", "GI/CI: 5/1", f" {stranger} "))


def test_a_slow_driver_takes_its_time(fake_driver: FakeDriver) -> None:
    """Real ones take seconds to open on large boxes; each of our calls must bear that."""
    fake_driver.slow_down(100)
    began = time.monotonic()
    program = "import pynvml; pynvml.nvmlInit(); print(pynvml.nvmlDeviceGetCount())"
    assert run(fake_driver, "python", "-c", program) == "3\n"
    assert time.monotonic() - began >= 0.2
