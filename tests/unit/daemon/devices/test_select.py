"""From what people write to devices."""

from collections.abc import Mapping

import pytest
from tests.nvml.driver import FakeDriver, FakeGpu, FakeInstance, gpus

from cnnbo.daemon.devices.base import Device, DeviceKind
from cnnbo.daemon.devices.cpu import CpuBackend
from cnnbo.daemon.devices.select import Selection, find_device, label, open_devices
from cnnbo.scheduler.errors import ConfigurationError

FIRST, SECOND, THIRD = (gpu.uuid for gpu in gpus(3))


def select(wanted: str, environ: Mapping[str, str] | None = None) -> tuple[Selection, list[str]]:
    """A selection, closed again, and the UUIDs it reads."""
    selection = open_devices(wanted, environ or {})
    read = list(selection.backend.sample())
    selection.backend.close()
    assert read == [device.uuid for device in selection.devices]
    return selection, read


# ---- --devices, on a box with three GPUs ----


@pytest.mark.gcc
@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ("auto", [FIRST, SECOND, THIRD]),
        ("2,0", [FIRST, THIRD]),
        ("gpu1", [SECOND]),
        (f" {THIRD} , 0", [FIRST, THIRD]),
        ("GPU-a1", [SECOND]),
        ("1,gpu1,GPU-a1", [SECOND]),
    ],
)
def test_takes_the_gpus_asked_for(driver: FakeDriver, wanted: str, expected: list[str]) -> None:
    """Whatever form was typed, UUIDs are what is pinned; the user reads which they are."""
    selection, read = select(wanted)
    assert read == expected
    assert all(uuid in selection.note for uuid in expected)
    assert "\n" not in selection.note


@pytest.mark.gcc
def test_visible_devices_are_all_there_is_to_choose_from(driver: FakeDriver) -> None:
    """The variable says what this user was given; the index is still the one nvidia-smi shows."""
    assert select("auto", {"CUDA_VISIBLE_DEVICES": "1,2"})[1] == [SECOND, THIRD]
    assert select("2", {"CUDA_VISIBLE_DEVICES": "1,2"})[1] == [THIRD]
    with pytest.raises(ConfigurationError, match='CUDA_VISIBLE_DEVICES="1,2" hides'):
        open_devices("0", {"CUDA_VISIBLE_DEVICES": "1,2"})


@pytest.mark.gcc
@pytest.mark.parametrize("hidden", ["", "-1"])
def test_hidden_gpus_mean_the_cpu(driver: FakeDriver, hidden: str) -> None:
    """An empty variable is how people ask for the CPU; the line says what was made of it."""
    selection, read = select("auto", {"CUDA_VISIBLE_DEVICES": hidden})
    assert read == ["cpu-0"]
    assert "CUDA_VISIBLE_DEVICES" in selection.note


@pytest.mark.gcc
@pytest.mark.parametrize("wanted", ["auto", "0"])
def test_an_unusable_gpu_is_never_replaced_by_the_cpu(driver: FakeDriver, wanted: str) -> None:
    """A night on the CPU instead of four GPUs is worse than an error."""
    driver.fail(18)
    with pytest.raises(ConfigurationError, match=r"reboot.*--devices cpu"):
        open_devices(wanted, {})


@pytest.mark.gcc
def test_the_cpu_can_be_had_with_a_broken_driver(driver: FakeDriver) -> None:
    """It is the remedy that the error names."""
    driver.fail(18)
    assert select("cpu")[1] == ["cpu-0"]


@pytest.mark.gcc
def test_every_unknown_device_is_named_with_what_there_is(driver: FakeDriver) -> None:
    """All mistakes at once, and the right names beside them."""
    with pytest.raises(ConfigurationError) as caught:
        open_devices("7,1,GPU-ff", {})
    seven, prefix = caught.value.problems
    assert "Device 7 doesn't exist here" in seven
    assert "Device GPU-ff doesn't exist here" in prefix
    assert all(uuid in seven for uuid in (FIRST, SECOND, THIRD))


@pytest.mark.gcc
def test_an_instance_is_chosen_by_its_uuid(driver: FakeDriver) -> None:
    """The GPU it was cut from is no device."""
    instance = FakeInstance("MIG-b1b1b1b1-0000-0000-0000-000000000001")
    driver.install([FakeGpu(FIRST, instances=(instance,)), FakeGpu(SECOND)])
    assert select("MIG-b1")[1] == [instance.uuid]
    with pytest.raises(ConfigurationError, match="MIG-b1b1b1b1"):
        open_devices("0", {})


# ---- --devices, on a laptop ----


@pytest.fixture
def laptop(driver: FakeDriver, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without NVIDIA's library, whatever this one has."""
    monkeypatch.delenv("CNNBO_FAKE_NVML")


@pytest.mark.gcc
@pytest.mark.usefixtures("laptop")
def test_auto_falls_to_one_cpu_slot_and_says_so() -> None:
    """One trial with all cores teaches the next proposal more than several slow ones at a time."""
    selection, read = select("auto")
    assert read == ["cpu-0"]
    assert "No NVIDIA device was found, so trials run on the CPU: cpu-0 (core" in selection.note


@pytest.mark.gcc
@pytest.mark.usefixtures("laptop")
def test_a_gpu_asked_for_where_there_is_none_is_an_error() -> None:
    """Who writes `--devices 0` wants a GPU."""
    with pytest.raises(ConfigurationError, match=r"--devices 0: .*there is none; --devices cpu"):
        open_devices("0", {})


# ---- --devices cpu ----


def test_cuts_the_cpu_into_slots() -> None:
    """A quick way to several trials at a time without a GPU."""
    assert select("cpu:3")[1] == ["cpu-0", "cpu-1", "cpu-2"]


def test_says_when_slots_share_cores() -> None:
    """Trials then slow each other down, which is allowed but should not surprise."""
    cores = len(CpuBackend().discover()[0].cores)
    assert "share a core" not in select(f"cpu:{cores}")[0].note
    assert "share a core" in select(f"cpu:{cores + 1}")[0].note


@pytest.mark.parametrize("wanted", ["cpu:0", "cpu:", "cpu:two", "cpu:-1"])
def test_refuses_slots_that_are_no_number(wanted: str) -> None:
    """The example in the sentence is what to type."""
    with pytest.raises(ConfigurationError, match="cpu:2"):
        open_devices(wanted, {})


# ---- one device ----


def device(index: int, uuid: str, kind: DeviceKind = DeviceKind.NVIDIA) -> Device:
    return Device(uuid, index, "card", kind)


TWINS = [device(0, "GPU-8f6e1111-aaaa"), device(1, "GPU-8f6e2222-bbbb"), device(10, "GPU-10aa3333-cccc")]
SLOTS = [device(index, f"cpu-{index}", DeviceKind.CPU) for index in range(11)]


@pytest.mark.parametrize(
    ("text", "index"),
    [
        ("0", 0),
        ("gpu1", 1),
        ("GPU10", 10),
        ("GPU-8f6e1", 0),
        ("gpu-8F6E2222-bbbb", 1),
        ("8f6e2", 1),
        ("10aa", 10),
        (" 1 ", 1),
    ],
)
def test_finds_a_device(text: str, index: int) -> None:
    """People type what they see: in nvidia-smi, on our screens, or half of what they copied."""
    assert find_device(text, TWINS).index == index


@pytest.mark.parametrize(("text", "uuid"), [("1", "cpu-1"), ("cpu-1", "cpu-1"), ("cpu-10", "cpu-10")])
def test_finds_a_slot(text: str, uuid: str) -> None:
    """`cpu-1` is a name of its own, and not short for `cpu-10`."""
    assert find_device(text, SLOTS).uuid == uuid


def test_a_beginning_of_two_uuids_is_refused() -> None:
    """Draining the wrong device stops somebody else's work."""
    with pytest.raises(ConfigurationError, match=r"8f6e could be gpu0 GPU-8f6e1111-aaaa .*gpu1 GPU-8f6e2222-bbbb"):
        find_device("8f6e", TWINS)


@pytest.mark.parametrize("text", ["2", "8", "8f6", "gpu", "gpu2", "card", "", "-1", "GPU-8f6e3", "1.0"])
def test_refuses_what_means_no_device(text: str) -> None:
    """A stray index must not pass for a piece of a UUID."""
    with pytest.raises(ConfigurationError, match="doesn't exist here; there are gpu0 GPU-8f6e1111-aaaa"):
        find_device(text, TWINS)


def test_labels_are_what_find_device_takes() -> None:
    """What a screen shows can be typed."""
    for each, among in [(TWINS[1], TWINS), (SLOTS[3], SLOTS)]:
        assert find_device(label(each), among) == each
