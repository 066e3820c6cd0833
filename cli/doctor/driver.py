"""The NVIDIA driver, or why there is none."""

from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

from cnnbo.cli.doctor.finding import Finding, fail, from_error, ok
from cnnbo.cli.doctor.scope import Places, Scope
from cnnbo.daemon.devices.base import Device
from cnnbo.daemon.devices.nvml_facts import DriverFacts, library_version, read_driver
from cnnbo.daemon.devices.select import label
from cnnbo.scheduler.errors import ConfigurationError

_NVIDIA = "0x10de"
_DISPLAY = "0x03"  # the class of VGA and 3D controllers

_DRIVERS = {
    "nouveau": "NVIDIA's driver has to take its place: blacklist nouveau, install NVIDIA's driver and reboot",
    "vfio-pci": "it is kept for a virtual machine; give it back to the nvidia driver to train on it here",
    "nvidia": "install the library that fits the driver (libnvidia-ml, Debian: libnvidia-ml1); a container has to be "
    "started with its devices, as by `--gpus all`",
}


def asks_for_cpu(scope: Scope) -> bool:
    """Whether `--devices` leaves NVIDIA devices aside."""
    return scope.devices.strip().partition(":")[0] == "cpu"


def broken_driver(scope: Scope) -> Iterator[Finding]:
    """Why the driver can't be used; nothing where it can, or where there is no device for it."""
    try:
        if read_driver() is None:
            yield from _cards_without_library(scope.places)
    except ConfigurationError as error:
        versions = f"kernel module {_module_version(scope.places)}, library {library_version() or 'unknown'}"
        for finding in from_error("driver", error):
            yield fail("driver", f"{finding.text} ({versions})", f"{finding.fix}")


def _module_version(places: Places) -> str:
    try:
        return places.nvidia_module.read_text().strip()
    except OSError:
        return "not loaded"


def _cards_without_library(places: Places) -> Iterator[Finding]:
    for card in nvidia_cards(places.pci):
        bound = (card / "driver").resolve().name if (card / "driver").exists() else None
        text = f"an NVIDIA card is here (PCI {card.name}), and there is no NVIDIA library to use it with; "
        text += f"the kernel drives it with {bound}" if bound else "no driver is loaded for it"
        fix = _DRIVERS.get(bound or "", "install NVIDIA's driver (Debian: nvidia-driver) and reboot")
        yield fail("driver", text, f"{fix}; or train on the CPU: --devices cpu")


def nvidia_cards(pci: Path) -> list[Path]:
    """The folders of NVIDIA's graphics cards among those of all PCI devices."""
    try:
        devices = sorted(pci.iterdir())
    except OSError:
        return []
    return [device for device in devices if _is_nvidia_card(device)]


def _is_nvidia_card(device: Path) -> bool:
    try:
        vendor, kind = ((device / name).read_text().strip() for name in ("vendor", "class"))
    except OSError:
        return False
    return vendor == _NVIDIA and kind.startswith(_DISPLAY)


def good_driver(facts: DriverFacts, devices: tuple[Device, ...]) -> Finding:
    """Versions, and the devices that may be used."""
    cuda = "" if facts.cuda is None else f" (CUDA up to {facts.cuda[0]}.{facts.cuda[1]})"
    count = len(devices)
    return ok("driver", f"driver {facts.version}{cuda}, {count} device{'' if count == 1 else 's'}: {grouped(devices)}")


def grouped(devices: tuple[Device, ...]) -> str:
    """Devices by name, neighbours of one name together.

    Example:
        >>> from cnnbo.daemon.devices.base import DeviceKind
        >>> grouped(tuple(Device(f"GPU-{n}", n, name, DeviceKind.NVIDIA) for n, name in enumerate("AAB")))
        'gpu0 gpu1 A, gpu2 B'
    """
    runs = groupby(devices, key=lambda device: device.name)
    return ", ".join(f"{' '.join(map(label, run))} {name}" for name, run in runs)
