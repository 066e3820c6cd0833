"""NVIDIA devices, on a C library in the place of the driver's."""

import json
import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

import pynvml
import pytest
from tests.contracts.device_backend import VanishingDeviceContract
from tests.nvml.driver import FakeDriver, FakeGpu, FakeInstance, FakeProcess, gpus

from cnnbo.daemon.devices.base import Device, DeviceKind, DeviceProcess, Sample
from cnnbo.daemon.devices.nvml import NvmlBackend
from cnnbo.scheduler.errors import ConfigurationError

pytestmark = pytest.mark.gcc

NOT_SUPPORTED, NO_PERMISSION, NOT_FOUND, UNKNOWN = 3, 4, 6, 999
FIRST, SECOND, THIRD = (gpu.uuid for gpu in gpus(3))
SLICE = FakeInstance("MIG-b1b1b1b1-0000-0000-0000-000000000001")
OTHER_SLICE = FakeInstance("MIG-b2b2b2b2-0000-0000-0000-000000000002", memory_used_mib=700)


class Clock:
    """Seconds that pass when a test says so."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def backend(driver: FakeDriver, clock: Clock) -> Iterator[NvmlBackend]:
    backend = NvmlBackend(clock=clock)
    yield backend
    backend.close()


class TestNvmlBackend(VanishingDeviceContract):
    """Three GPUs of a new driver."""

    @pytest.fixture
    def vanish(self, driver: FakeDriver) -> Callable[[str], None]:
        return driver.lose

    @pytest.fixture
    def restore(self, driver: FakeDriver) -> Callable[[str], None]:
        return driver.restore


class TestNvmlBackendOnOldDriver(VanishingDeviceContract):
    """Three GPUs of a driver without MIG and the newer versions of functions."""

    @pytest.fixture
    def backend(self, old_driver: FakeDriver) -> Iterator[NvmlBackend]:
        backend = NvmlBackend()
        yield backend
        backend.close()

    @pytest.fixture
    def vanish(self, old_driver: FakeDriver) -> Callable[[str], None]:
        return old_driver.lose

    @pytest.fixture
    def restore(self, old_driver: FakeDriver) -> Callable[[str], None]:
        return old_driver.restore


def uuids(backend: NvmlBackend) -> list[str]:
    return [device.uuid for device in backend.discover()]


def sample_of(backend: NvmlBackend, uuid: str) -> Sample:
    backend.discover()
    return backend.sample()[uuid]


# ---- one device ----


def test_describes_a_gpu(driver: FakeDriver, backend: NvmlBackend) -> None:
    """A trial is pinned by full UUID, in PCI order: an index may mean another card to CUDA than to nvidia-smi."""
    assert backend.discover()[1] == Device(
        uuid=SECOND,
        index=1,
        name="NVIDIA H100 80GB HBM3",
        kind=DeviceKind.NVIDIA,
        environment={"CUDA_VISIBLE_DEVICES": SECOND, "CUDA_DEVICE_ORDER": "PCI_BUS_ID"},
    )


def test_reads_every_figure_in_its_unit(driver: FakeDriver, backend: NvmlBackend) -> None:
    """NVML counts bytes and milliwatts; and what the driver keeps for itself is nobody's use."""
    driver.change(
        FIRST,
        memory_total_mib=81559,
        memory_reserved_mib=600,
        memory_used_mib=1024,
        utilisation_percent=97,
        temperature_c=71,
        power_mw=312_500,
    )
    assert sample_of(backend, FIRST) == Sample(1024.0, 81559.0, 97.0, 71.0, 312.5)


def test_sees_changes_at_the_next_sample(driver: FakeDriver, backend: NvmlBackend) -> None:
    """A reading is of now, not of the discovery."""
    assert sample_of(backend, FIRST).temperature_c == 35
    driver.change(FIRST, temperature_c=88)
    assert sample_of(backend, FIRST).temperature_c == 88


def test_lists_who_computes_and_who_draws(driver: FakeDriver, backend: NvmlBackend) -> None:
    """A desktop session uses the device as much as a training; one that does both is one process."""
    driver.change(
        FIRST,
        processes=(
            FakeProcess(4711, 9000),
            FakeProcess(99, None),
            FakeProcess(812, 40, "graphics"),
            FakeProcess(4711, 9000, "graphics"),
        ),
    )
    expected = (DeviceProcess(99, None), DeviceProcess(812, 40.0, is_compute=False), DeviceProcess(4711, 9000.0))
    assert sample_of(backend, FIRST).processes == expected


def test_old_driver_tells_the_same(old_driver: FakeDriver) -> None:
    """Drivers before 510 lack the functions the binding calls first; there are many of them about."""
    old_driver.change(FIRST, memory_reserved_mib=600, memory_used_mib=1024, processes=(FakeProcess(4711, 9000),))
    backend = NvmlBackend()
    sample = sample_of(backend, FIRST)
    backend.close()
    assert sample.processes == (DeviceProcess(4711, 9000.0),)
    assert sample.memory_used_mib == 1624.0  # the older function can't tell the driver's share


@pytest.mark.parametrize("code", [NOT_SUPPORTED, NO_PERMISSION, UNKNOWN])
@pytest.mark.parametrize(
    ("call", "field"), [("utilisation", "utilisation_percent"), ("temperature", "temperature_c"), ("power", "power_w")]
)
def test_a_figure_a_card_does_not_tell_is_none(
    driver: FakeDriver, backend: NvmlBackend, call: str, field: str, code: int
) -> None:
    """Consumer and laptop cards lack some figures and train well all the same."""
    driver.change(FIRST, errors={call: code})
    sample = sample_of(backend, FIRST)
    assert getattr(sample, field) is None
    assert sample.fault is None
    assert sample.memory_total_mib == 81559


def test_memory_that_is_not_told_is_no_fault(driver: FakeDriver, backend: NvmlBackend) -> None:
    """Devices that share the host's memory say NOT_SUPPORTED."""
    driver.change(FIRST, errors={"memory": NOT_SUPPORTED, "processes": NOT_SUPPORTED})
    sample = sample_of(backend, FIRST)
    assert (sample.memory_used_mib, sample.memory_total_mib, sample.processes) == (None, None, ())
    assert sample.fault is None


# ---- faults ----


@pytest.mark.parametrize(
    ("errors", "remedy"),
    [
        ({"device": 15}, "fallen off the bus"),
        ({"device": 16}, "nvidia-smi --gpu-reset"),
        ({"power": 15}, "fallen off the bus"),
        ({"memory": UNKNOWN}, "restart the container"),
        ({"memory": NO_PERMISSION}, "/dev/nvidia*"),
    ],
)
def test_a_fault_says_what_to_do(driver: FakeDriver, backend: NvmlBackend, errors: dict[str, int], remedy: str) -> None:
    """The sentence becomes the reason in lists, topics and mails."""
    backend.discover()
    driver.change(SECOND, errors=errors)
    samples = backend.sample()
    fault = samples[SECOND].fault
    assert fault is not None
    assert remedy in fault
    assert fault[0].isupper()
    assert fault.endswith(".")
    assert samples[FIRST].fault is None


def test_a_device_is_looked_up_again_by_uuid_after_a_loss(driver: FakeDriver, backend: NvmlBackend) -> None:
    """A handle dies with its device: the old one would say "lost" for ever after a reset."""
    backend.discover()
    driver.lose(FIRST)
    assert backend.sample()[FIRST].fault
    driver.restore(FIRST)
    driver.change(FIRST, temperature_c=41)
    assert backend.sample()[FIRST].temperature_c == 41


def test_a_device_that_was_unplugged_has_a_fault(driver: FakeDriver, backend: NvmlBackend) -> None:
    """The others keep their identity though their indices move up."""
    backend.discover()
    driver.install([gpu for gpu in gpus(3) if gpu.uuid != FIRST])
    samples = backend.sample()
    assert samples[FIRST].fault
    assert samples[SECOND].fault is None
    assert [(device.index, device.uuid) for device in backend.discover()] == [(0, SECOND), (1, THIRD)]


def faults(backend: NvmlBackend) -> int:
    return sum(sample.fault is not None for sample in backend.sample().values())


@pytest.fixture
def openings(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """One entry for each time that the driver is opened."""
    opened: list[str] = []

    def note_and_open() -> None:
        opened.append("nvmlInit")
        pynvml.nvmlInitWithFlags(0)  # what the real one does

    monkeypatch.setattr(pynvml, "nvmlInit", note_and_open)
    return opened


def test_a_broken_driver_is_opened_again_but_not_every_time(
    driver: FakeDriver, backend: NvmlBackend, clock: Clock, openings: list[str]
) -> None:
    """A container gets its devices back by that alone; but opening takes seconds on a large box."""
    backend.discover()
    driver.fail(UNKNOWN)
    assert (faults(backend), faults(backend), len(openings)) == (3, 3, 1)
    clock.now += 60
    assert (faults(backend), faults(backend), len(openings)) == (3, 3, 2)
    driver.fail(0)
    assert (faults(backend), faults(backend), len(openings)) == (0, 0, 3)


@pytest.mark.usefixtures("driver")
def test_discovery_opens_the_driver_anew_and_sampling_does_not(backend: NvmlBackend, openings: list[str]) -> None:
    """A session may only know the devices of its beginning; readings go on every second or two."""
    backend.discover()
    backend.sample()
    backend.sample()
    assert len(openings) == 1
    backend.discover()
    assert len(openings) == 2


# ---- a driver that can't be used ----


def test_without_the_library_there_are_no_devices(driver: FakeDriver, monkeypatch: pytest.MonkeyPatch) -> None:
    """A laptop without NVIDIA is no mistake."""
    monkeypatch.delenv("CNNBO_FAKE_NVML")  # the library then answers as if it were not installed
    assert list(NvmlBackend().discover()) == []


@pytest.mark.parametrize(
    ("code", "remedy"),
    [(9, "modprobe nvidia"), (18, "reboot"), (NO_PERMISSION, "/dev/nvidia"), (UNKNOWN, "container"), (20, "error 20")],
)
def test_a_driver_that_cannot_be_used_says_why(
    driver: FakeDriver, backend: NvmlBackend, code: int, remedy: str
) -> None:
    """Each needs another remedy; falling back to the CPU in silence would waste a night."""
    driver.fail(code)
    with pytest.raises(ConfigurationError, match="No NVIDIA device can be used") as caught:
        backend.discover()
    assert remedy in str(caught.value)
    assert "--devices cpu" in str(caught.value)


def test_a_dead_gpu_does_not_hide_the_others(
    driver: FakeDriver, backend: NvmlBackend, caplog: pytest.LogCaptureFixture
) -> None:
    """A box with one broken card goes on with the rest, and says so."""
    driver.lose(SECOND)
    with caplog.at_level(logging.WARNING):
        assert uuids(backend) == [FIRST, THIRD]
    assert "NVIDIA device 1 is left out" in caplog.text


def test_only_dead_gpus_are_an_error(driver: FakeDriver, backend: NvmlBackend) -> None:
    """There are devices, and none can be used: not the same as none."""
    driver.install([FakeGpu(FIRST, errors={"handle": NO_PERMISSION})])
    with pytest.raises(ConfigurationError, match="/dev/nvidia"):
        backend.discover()


# ---- MIG ----


def test_instances_stand_for_a_gpu_that_is_cut(driver: FakeDriver, backend: NvmlBackend) -> None:
    """CUDA runs nothing on the whole of it; an empty place among the instances is not their end."""
    cut = FakeGpu(FIRST, instances=(SLICE, None, OTHER_SLICE))
    driver.install([cut, FakeGpu(SECOND)])
    found = backend.discover()
    # The whole GPU keeps the index that nvidia-smi shows.
    assert [(device.index, device.uuid) for device in found] == [(1, SECOND), (2, SLICE.uuid), (3, OTHER_SLICE.uuid)]
    assert found[1].environment["CUDA_VISIBLE_DEVICES"] == SLICE.uuid


def test_reads_an_instance(driver: FakeDriver, backend: NvmlBackend) -> None:
    """Power and temperature are the whole GPU's and would be counted several times."""
    busy = FakeInstance(SLICE.uuid, memory_used_mib=700, processes=(FakeProcess(5, 690),))
    driver.install([FakeGpu(FIRST, instances=(busy,))])
    expected = Sample(700.0, 4864.0, None, None, None, processes=(DeviceProcess(5, 690.0),))
    assert sample_of(backend, SLICE.uuid) == expected


def test_a_destroyed_instance_has_a_fault(driver: FakeDriver, backend: NvmlBackend) -> None:
    """An administrator may cut the GPU anew under a running daemon."""
    driver.install([FakeGpu(FIRST, instances=(SLICE, OTHER_SLICE))])
    backend.discover()
    driver.install([FakeGpu(FIRST, instances=(SLICE,))])
    for _ in range(2):  # with the handle of before, and looked up anew
        samples = backend.sample()
        assert samples[SLICE.uuid].fault is None
        assert samples[OTHER_SLICE.uuid].fault


def test_mig_without_instances_is_an_error(driver: FakeDriver, backend: NvmlBackend) -> None:
    """The GPU is there and usable by nobody; the CPU must not be taken for that reason."""
    driver.install([FakeGpu(FIRST, instances=())])
    with pytest.raises(ConfigurationError, match="nvidia-smi mig"):
        backend.discover()


# ---- CUDA_VISIBLE_DEVICES ----


@pytest.mark.parametrize(
    ("visible", "expected"),
    [
        ("0,2", [FIRST, THIRD]),
        ("2,0", [FIRST, THIRD]),
        (f"{SECOND}", [SECOND]),
        ("GPU-a1", [SECOND]),
        (" 1 , GPU-a0 ", [FIRST, SECOND]),
        ("0,7,1", [FIRST]),  # as in CUDA, an entry that means nothing hides all behind it
        ("1,GPU-,2", [SECOND]),  # and so does one that means several
        ("", []),
        ("-1", []),
    ],
)
def test_visible_devices_limit_what_is_used(driver: FakeDriver, visible: str, expected: list[str]) -> None:
    """Whoever set the variable, a scheduler or a person, gave these devices and no others."""
    backend = NvmlBackend(visible)
    assert uuids(backend) == expected
    assert list(backend.sample()) == expected
    backend.close()


def test_visible_devices_that_do_not_exist_are_an_error(driver: FakeDriver) -> None:
    """Taking the CPU, or all devices, would both be wrong guesses."""
    with pytest.raises(ConfigurationError, match=f'CUDA_VISIBLE_DEVICES="7" .* 0 {FIRST}'):
        NvmlBackend("7").discover()


def test_an_index_means_no_instance(driver: FakeDriver) -> None:
    """CUDA gives instances no index; ours are for people."""
    driver.install([FakeGpu(FIRST, instances=(SLICE,)), FakeGpu(SECOND)])
    backend = NvmlBackend("1,2")
    assert uuids(backend) == [SECOND]
    backend.close()


def test_the_limit_holds_by_uuid_once_found(driver: FakeDriver) -> None:
    """When a device goes, the index of another becomes its own: that other one was never given to us."""
    backend = NvmlBackend("0,1")
    backend.discover()
    driver.install([gpu for gpu in gpus(3) if gpu.uuid != FIRST])
    assert uuids(backend) == [SECOND]
    backend.close()


def test_keeps_only_the_devices_asked_for(driver: FakeDriver, backend: NvmlBackend) -> None:
    """Reading a device may wake it up, so what nobody uses is left alone."""
    backend.discover()
    backend.keep([THIRD])
    assert list(backend.sample()) == [THIRD]
    assert uuids(backend) == [THIRD]


# ---- the binding's own way to the library ----

_PROGRAM = """
import dataclasses, json
from cnnbo.daemon.devices.nvml import NvmlBackend
backend = NvmlBackend()
print(json.dumps([[device.uuid for device in backend.discover()],
                  {uuid: dataclasses.asdict(sample) for uuid, sample in backend.sample().items()}]))
"""


def run_program(environment: dict[str, str]) -> list[object]:
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM],
        env={**os.environ, **environment},
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    loaded: list[object] = json.loads(done.stdout)
    return loaded


def test_a_process_finds_the_library_by_its_name(fake_driver: FakeDriver) -> None:
    """End-to-end tests run whole daemons on the stand-in this way."""
    fake_driver.change(SECOND, temperature_c=66)
    found, samples = run_program(fake_driver.env())
    assert found == [FIRST, SECOND, THIRD]
    assert samples == {
        uuid: asdict(Sample(4.0, 81559.0, 0.0, 66.0 if uuid == SECOND else 35.0, 70.0)) | {"processes": []}
        for uuid in (FIRST, SECOND, THIRD)
    }


def test_a_library_that_cannot_be_loaded_counts_as_none(tmp_path: Path) -> None:
    """The binding then says that there is none, which is no error of ours."""
    (tmp_path / "libnvidia-ml.so.1").write_bytes(b"")
    assert run_program({"LD_LIBRARY_PATH": str(tmp_path)}) == [[], {}]
