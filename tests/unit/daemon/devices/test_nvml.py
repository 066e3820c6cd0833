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
from tests.unit.daemon.devices.conftest import Clock, Sessions

from cnnbo.daemon.devices.base import Device, DeviceKind, DeviceProcess, Sample
from cnnbo.daemon.devices.nvml import NvmlBackend
from cnnbo.scheduler.errors import ConfigurationError

pytestmark = pytest.mark.gcc

NOT_SUPPORTED, NO_PERMISSION, NOT_FOUND, UNKNOWN = 3, 4, 6, 999
FIRST, SECOND, THIRD = (gpu.uuid for gpu in gpus(3))
SLICE = FakeInstance("MIG-b1b1b1b1-0000-0000-0000-000000000001")
OTHER_SLICE = FakeInstance("MIG-b2b2b2b2-0000-0000-0000-000000000002", gpu_instance=2, memory_used_mib=700)


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
        energy_mj=9_000_250,
    )
    assert sample_of(backend, FIRST) == Sample(1024.0, 81559.0, 97.0, 71.0, 312.5, energy_j=9000.25)


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
    ("call", "field"),
    [
        ("utilisation", "utilisation_percent"),
        ("temperature", "temperature_c"),
        ("power", "power_w"),
        ("energy", "energy_j"),
        ("clocks", "slowdown"),
    ],
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


IDLE, APPLICATION_CLOCKS, POWER_CAP, HW_SLOWDOWN, SYNC_BOOST = 0x1, 0x2, 0x4, 0x8, 0x10
SW_THERMAL, HW_THERMAL, POWER_BRAKE, DISPLAY = 0x20, 0x40, 0x80, 0x100


@pytest.mark.parametrize(
    ("bits", "why"),
    [
        (SW_THERMAL, "it is too hot (software thermal slowdown)"),
        (HW_THERMAL | HW_SLOWDOWN, "it is far too hot (hardware thermal slowdown)"),
        (POWER_BRAKE | HW_SLOWDOWN | POWER_CAP, "the power supply asks for it (hardware power brake)"),
        (HW_SLOWDOWN, "heat, the power supply or a fast change of load (hardware slowdown)"),
    ],
)
def test_a_device_that_its_hardware_slows_down_says_why(
    driver: FakeDriver, backend: NvmlBackend, bits: int, why: str
) -> None:
    """Trials take longer than their timeout was made for, and somebody should look at the fans."""
    driver.change(FIRST, clocks_reasons=bits)
    assert sample_of(backend, FIRST).slowdown == f"It runs slower than it could: {why}."


def test_low_clocks_by_choice_are_no_slowdown(driver: FakeDriver, backend: NvmlBackend) -> None:
    """Idle clocks are low, and so are those of a device whose owner limited its power."""
    driver.change(FIRST, clocks_reasons=IDLE | APPLICATION_CLOCKS | POWER_CAP | SYNC_BOOST | DISPLAY)
    assert sample_of(backend, FIRST).slowdown is None


def test_old_driver_tells_of_a_slowdown_too(old_driver: FakeDriver) -> None:
    """The question has another name in drivers before 535."""
    old_driver.change(FIRST, clocks_reasons=HW_THERMAL)
    backend = NvmlBackend()
    slowdown = sample_of(backend, FIRST).slowdown
    backend.close()
    assert slowdown is not None


# ---- faults ----


@pytest.mark.parametrize(
    ("errors", "remedy", "is_broken"),
    [
        ({"device": 15}, "fallen off the bus", True),
        ({"device": 16}, "nvidia-smi --gpu-reset", True),
        ({"power": 15}, "fallen off the bus", True),
        ({"memory": UNKNOWN}, "restart the container", False),
        ({"memory": NO_PERMISSION}, "/dev/nvidia*", False),
    ],
)
def test_a_fault_says_what_to_do(
    driver: FakeDriver, backend: NvmlBackend, errors: dict[str, int], remedy: str, is_broken: bool
) -> None:
    """The sentence becomes the reason in lists, topics and mails; a broken device waits for its operator."""
    backend.discover()
    driver.change(SECOND, errors=errors)
    samples = backend.sample()
    fault = samples[SECOND].fault
    assert fault is not None
    assert remedy in fault
    assert fault[0].isupper()
    assert fault.endswith(".")
    assert samples[SECOND].is_broken is is_broken
    assert samples[FIRST].fault is None


@pytest.mark.parametrize(
    ("code", "remedy"), [(9, "modprobe nvidia"), (18, "reload the nvidia kernel modules"), (UNKNOWN, "container")]
)
def test_a_driver_that_breaks_down_says_what_to_do(
    driver: FakeDriver, backend: NvmlBackend, code: int, remedy: str
) -> None:
    """It is no device's own fault: all are used again when the driver answers."""
    backend.discover()
    driver.fail(code)
    for sample in backend.sample().values():
        assert sample.fault is not None and remedy in sample.fault
        assert not sample.is_broken


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


def test_a_broken_driver_is_opened_again_and_less_and_less_often(
    driver: FakeDriver, backend: NvmlBackend, clock: Clock, openings: list[str]
) -> None:
    """A container gets its devices back by that alone; but opening takes seconds on a large box."""
    backend.discover()
    driver.fail(UNKNOWN)
    faults(backend)
    waits = []
    for _ in range(7):
        before, began = len(openings), clock.now
        while len(openings) == before:
            clock.now += 10
            assert faults(backend) == 3
        waits.append(clock.now - began)
    assert waits == [10, 20, 40, 80, 160, 300, 300]
    driver.fail(0)
    clock.now += 300
    assert faults(backend) == 0
    driver.fail(UNKNOWN)
    assert faults(backend) == 3
    clock.now += 10
    before = len(openings)
    assert (faults(backend), len(openings) - before) == (3, 1)


def test_opening_the_driver_again_ends_the_broken_session(
    driver: FakeDriver, backend: NvmlBackend, clock: Clock, sessions: Sessions
) -> None:
    """Sessions are counted: with another one open, the driver's library would keep all that it had learnt."""
    backend.discover()
    driver.fail(UNKNOWN)
    faults(backend)
    clock.now += 10
    faults(backend)
    assert (sessions.number, sessions.endings) == (0, 1)
    driver.fail(0)
    clock.now += 20
    assert (faults(backend), sessions.number, sessions.endings) == (0, 1, 1)


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
        assert uuids(backend) == [FIRST, THIRD]
    assert caplog.text.count("NVIDIA device 1 is left out") == 1
    (sentence,) = backend.unreadable
    assert sentence.startswith("NVIDIA device 1 is left out: it has fallen off the bus; ")
    assert sentence.endswith(".")
    driver.restore(SECOND)
    assert uuids(backend) == [FIRST, SECOND, THIRD]
    assert not backend.unreadable


def test_a_dead_gpu_that_tells_its_uuid_is_a_device_with_a_fault(driver: FakeDriver, backend: NvmlBackend) -> None:
    """It then stands in every list by its name, with the reason, instead of missing there."""
    driver.change(SECOND, errors=dict.fromkeys(("name", "mig", "memory"), 16))
    assert uuids(backend) == [FIRST, SECOND, THIRD]
    assert backend.sample()[SECOND].fault
    assert not backend.unreadable


def test_a_known_device_that_dies_is_told_by_its_samples_alone(driver: FakeDriver, backend: NvmlBackend) -> None:
    """One device, one row, one reason."""
    backend.discover()
    driver.lose(SECOND)
    assert uuids(backend) == [FIRST, THIRD]
    assert backend.sample()[SECOND].fault
    assert not backend.unreadable


def test_a_device_plugged_in_later_is_found(driver: FakeDriver, backend: NvmlBackend) -> None:
    """A box gets a card, or a container its second one, without a restart of the daemon."""
    driver.install(gpus(2))
    assert uuids(backend) == [FIRST, SECOND]
    driver.install(gpus(3))
    assert uuids(backend) == [FIRST, SECOND, THIRD]
    assert backend.sample()[THIRD].fault is None


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


def test_a_gpu_that_is_cut_later_gives_way_to_its_instances(driver: FakeDriver, backend: NvmlBackend) -> None:
    """A trial on the whole of it would fail at its start; and back when MIG is turned off."""
    backend.discover()
    driver.change(FIRST, instances=(SLICE,))
    assert backend.sample()[FIRST].fault
    assert uuids(backend) == [SECOND, THIRD, SLICE.uuid]
    driver.change(FIRST, instances=None)
    assert uuids(backend) == [FIRST, SECOND, THIRD]
    samples = backend.sample()
    assert samples[FIRST].fault is None
    assert samples[SLICE.uuid].fault


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
        uuid: asdict(Sample(4.0, 81559.0, 0.0, 66.0 if uuid == SECOND else 35.0, 70.0, energy_j=0.0))
        | {"processes": []}
        for uuid in (FIRST, SECOND, THIRD)
    }


def test_a_library_that_cannot_be_loaded_counts_as_none(tmp_path: Path) -> None:
    """The binding then says that there is none, which is no error of ours."""
    (tmp_path / "libnvidia-ml.so.1").write_bytes(b"")
    assert run_program({"LD_LIBRARY_PATH": str(tmp_path)}) == [[], {}]
