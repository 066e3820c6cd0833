"""Why there is no NVIDIA driver where there is a card."""

from pathlib import Path

import pytest
from tests.unit.cli.doctor.conftest import at

from cnnbo.cli.doctor.driver import broken_driver
from cnnbo.cli.doctor.finding import Level
from cnnbo.cli.doctor.scope import Scope


def plug_in(pci: Path, address: str, vendor: str, kind: str, driver: str | None) -> None:
    """A PCI device as /sys has it."""
    device = pci / "devices" / address
    device.mkdir(parents=True)
    (device / "vendor").write_text(f"{vendor}\n")
    (device / "class").write_text(f"{kind}\n")
    if driver is not None:
        (pci / "drivers" / driver).mkdir(parents=True, exist_ok=True)
        (device / "driver").symlink_to(pci / "drivers" / driver)


@pytest.fixture
def machine(scope: Scope, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Scope:
    """A machine whose other PCI devices are an Intel GPU and the card's sound."""
    monkeypatch.setenv("CNNBO_FAKE_NVML", str(tmp_path / "nothing"))  # a stand-in that another test loaded
    plug_in(tmp_path, "0000:00:02.0", "0x8086", "0x030000", "i915")
    plug_in(tmp_path, "0000:01:00.1", "0x10de", "0x040300", "snd_hda_intel")
    return at(scope, pci=tmp_path / "devices")


@pytest.mark.parametrize(
    ("driver", "text", "remedy"),
    [
        (None, "no driver is loaded for it", "nvidia-driver"),
        ("nouveau", "drives it with nouveau", "blacklist nouveau"),
        ("nvidia", "drives it with nvidia", "--gpus all"),
        ("vfio-pci", "drives it with vfio-pci", "virtual machine"),
    ],
)
def test_a_card_that_nothing_can_use_fails(
    machine: Scope, tmp_path: Path, driver: str | None, text: str, remedy: str
) -> None:
    """A night on the CPU beside an idle card is noticed too late."""
    plug_in(tmp_path, "0000:01:00.0", "0x10de", "0x030200", driver)
    [found] = broken_driver(machine)
    assert found.level is Level.FAIL and "PCI 0000:01:00.0" in found.text and text in found.text
    assert remedy in str(found.fix) and "--devices cpu" in str(found.fix)


def test_without_a_card_no_driver_is_missed(machine: Scope, scope: Scope) -> None:
    """Laptops, and containers without /sys."""
    assert list(broken_driver(machine)) == list(broken_driver(scope)) == []
