"""The port behind which devices are found and watched."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol


class DeviceKind(StrEnum):
    """What a device is made of."""

    NVIDIA = "nvidia"
    CPU = "cpu"
    FAKE = "fake"


@dataclass(frozen=True, slots=True)
class Device:
    """Something that runs one trial at a time.

    Attributes:
        uuid: what identifies it for good: NVML's UUID, `cpu-0` for a CPU slot.
        index: its number on this box, for people; may change over a reboot.
        name: the maker's name for it.
        kind: what it is made of.
        environment: variables that pin a process to it.
        cores: CPU cores that a process on it is confined to; empty = all of them.
    """

    uuid: str
    index: int
    name: str
    kind: DeviceKind
    environment: Mapping[str, str] = field(default_factory=dict)
    cores: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class DeviceProcess:
    """A process that a device's driver reports on it.

    Attributes:
        pid: its process id as the driver sees it; in a container that may be the host's.
        memory_used_mib: device memory it holds, in MiB; None where the driver doesn't say.
        is_compute: whether it computes; else it only draws, as a desktop does.
    """

    pid: int
    memory_used_mib: float | None
    is_compute: bool = True


@dataclass(frozen=True, slots=True)
class Sample:
    """One reading of a device. A figure is None where the device doesn't tell; that alone says nothing of its health.

    Attributes:
        memory_used_mib: device memory in use by anybody, in MiB.
        memory_total_mib: device memory in all, in MiB.
        utilisation_percent: share of the last moments in which it worked, 0-100.
        temperature_c: degrees Celsius.
        power_w: watts drawn now.
        processes: who uses it, as far as the driver says.
        fault: why no trial may start on it, as a sentence; None while it is well.
        is_broken: whether the fault is the device's own, so that it stays out of use until an operator returns it; else
            the fault ends when the driver answers again. Only meaningful with `fault`.
        energy_j: joules it took since its driver was loaded.
        slowdown: why its hardware runs slower now than it could, as a sentence; None while it doesn't.
    """

    memory_used_mib: float | None = None
    memory_total_mib: float | None = None
    utilisation_percent: float | None = None
    temperature_c: float | None = None
    power_w: float | None = None
    processes: tuple[DeviceProcess, ...] = ()
    fault: str | None = None
    is_broken: bool = False
    energy_j: float | None = None
    slowdown: str | None = None


class HealthKind(StrEnum):
    """What an event says of the devices it names.

    Attributes:
        APPLICATION: the program on the device went wrong; the device is well.
        HARDWARE: the device itself went wrong.
        LAYOUT: other devices are there than before, as after a change of MIG instances.
        UNCLEAR: events may have been missed; only a new reading tells how the devices are.
    """

    APPLICATION = "application"
    HARDWARE = "hardware"
    LAYOUT = "layout"
    UNCLEAR = "unclear"


@dataclass(frozen=True, slots=True)
class HealthEvent:
    """Something that a driver reported by itself.

    Attributes:
        uuids: the discovered devices concerned, at least one; all of them where the driver can't say which.
        kind: what it says of them.
        reason: what happened, for people; the beginning of a sentence, without a full stop.
        xid: NVIDIA's number of the error, where it has one.
    """

    uuids: tuple[str, ...]
    kind: HealthKind
    reason: str
    xid: int | None = None


class DeviceBackend(Protocol):
    """Finds and reads one kind of device.

    Every method may block. All are called from one and the same thread, but for `wait_for_events`, which is called from
    another one.
    """

    @property
    def has_events(self) -> bool:
        """Whether waiting for events is worth a thread."""

    @property
    def unreadable(self) -> Sequence[str]:
        """A sentence for each device that the last discovery had to leave out, as nothing tells which one it is."""

    def discover(self) -> Sequence[Device]:
        """The devices that are there now, by rising index.

        It may be called again at any time: new devices are added, and one that vanished is listed no longer but stays
        in the samples, with a fault.

        Raises:
            ConfigurationError: the devices asked for don't exist, or their driver can't be used.
        """

    def sample(self) -> Mapping[str, Sample]:
        """A reading of every discovered device, by UUID. A device that vanished has a `fault`; this never raises."""

    def wait_for_events(self, timeout_s: float) -> Sequence[HealthEvent]:
        """What the driver reports by itself, as soon as it does; nothing when the time is over, or sooner.

        It never raises. `close` ends a wait that is going on.

        Args:
            timeout_s: how long to wait at most, >= 0.
        """

    def close(self) -> None:
        """Let go of the driver."""
