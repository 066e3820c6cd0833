"""What there is of NVIDIA's on this box, and who gives it out, asked of the kernel: a driver would not know."""

import errno
import os
from pathlib import Path
from typing import Final

_BUS: Final = Path("/sys/bus/pci/devices")
_NODES: Final = Path("/dev")
_PROCESSES: Final = Path("/proc")
_NVIDIA: Final = "0x10de"
_DISPLAY: Final = "0x03"  # the class of graphics cards, with a screen (0x0300) or without (0x0302)


def gpus_without_devices(bus: Path = _BUS, nodes: Path = _NODES) -> list[str]:
    """PCI addresses of NVIDIA GPUs of this box, for where the driver offers none of them.

    Those that are left to a virtual machine (vfio-pci) aren't this box's. Nor are, in a container, those that the
    host's driver has and that were not handed on, which a device node would show.

    Args:
        bus: where the kernel lists what is on the bus.
        nodes: where device nodes are.
    """
    is_handed_on = (nodes / "nvidiactl").exists()
    found = []
    for device in sorted(bus.glob("*")):
        driver = _driver(device)
        is_ours = driver != "vfio-pci" and (driver != "nvidia" or is_handed_on)
        if is_ours and _text(device / "vendor") == _NVIDIA and _text(device / "class").startswith(_DISPLAY):
            found.append(device.name)
    return found


def _driver(device: Path) -> str | None:
    try:
        return (device / "driver").readlink().name
    except OSError:
        return None


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""


def nodes_closed_by_rules(nodes: Path = _NODES) -> list[Path]:
    """Device nodes of NVIDIA's driver that only the device rules of this process's control group keep closed.

    systemd makes the rules of a unit when it starts it, of the drivers that are loaded by then: what a driver that is
    loaded later brings stays closed to the unit until it is started anew.
    """
    return [node for name in ("nvidiactl", "nvidia-uvm") if _is_closed_by_rules(node := nodes / name)]


def _is_closed_by_rules(node: Path) -> bool:
    try:
        os.close(os.open(node, os.O_RDWR | os.O_CLOEXEC))
    except OSError as error:
        return error.errno == errno.EPERM  # the mode of the file would say EACCES
    return False


def runs_slurmd(processes: Path = _PROCESSES) -> bool:
    """Whether Slurm's daemon runs here, and so gives out the GPUs of this box.

    Args:
        processes: where the kernel lists them.
    """
    return any(_text(name) == "slurmd" for name in processes.glob("[0-9]*/comm"))
