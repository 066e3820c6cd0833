"""What checks look at."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from cnnbo.daemon.settings import SERVICE_CONFIG, Settings
from cnnbo.scheduler.spec import StudySpec


@dataclass(frozen=True, slots=True)
class Places:
    """Where facts of the machine are read.

    Attributes:
        mountinfo: the kernel's list of mounts.
        proc: a folder per process, as /proc has them.
        pci: a folder per PCI device.
        nvidia_module: holds the version of the NVIDIA driver that is loaded.
        systemd: is there where systemd runs.
        linger: holds a file for each user whose services start at boot.
        systemctl: the program that knows about units.
        temporary: folders of which systemd gives a service its own (PrivateTmp).
        service_settings: the settings file of the box's service.
    """

    mountinfo: Path = Path("/proc/self/mountinfo")
    proc: Path = Path("/proc")
    pci: Path = Path("/sys/bus/pci/devices")
    nvidia_module: Path = Path("/sys/module/nvidia/version")
    systemd: Path = Path("/run/systemd/system")
    linger: Path = Path("/var/lib/systemd/linger")
    systemctl: str = "systemctl"
    temporary: tuple[Path, ...] = (Path("/tmp"), Path("/var/tmp"))
    service_settings: Path = SERVICE_CONFIG


@dataclass(frozen=True, slots=True)
class Scope:
    """What checks look at.

    Attributes:
        settings: of the instance.
        environ: the environment.
        devices: what `--devices` says.
        study: the study that is meant to run; None = none in particular.
        study_file: where it is written.
        data: the data folder, absolute; None = none was named.
        places: where facts of the machine are read.
    """

    settings: Settings
    environ: Mapping[str, str]
    devices: str = "auto"
    study: StudySpec | None = None
    study_file: Path | None = None
    data: Path | None = None
    places: Places = field(default_factory=Places)

    @property
    def runs_command(self) -> bool:
        """Whether trials are a command of the user's, with an interpreter of its own."""
        return self.study is not None and self.study.model is None
