"""Who uses the devices beside us: what the driver lists, looked up in /proc, judged by `scheduler.occupancy`."""

import os
import time
from collections.abc import Callable, Collection, Iterable, Mapping

from cnnbo.daemon.devices.base import Device, DeviceKind, DeviceProcess, Sample
from cnnbo.daemon.processes import command_line, descendants, owner
from cnnbo.scheduler.occupancy import DeviceUser, Stranger, find_stranger

LINGER_S = 5.0
"""So long after a trial of ours the driver may still be giving back its memory, in seconds."""


class Strangers:
    """Finds devices that somebody else uses. Not to be called from two threads at once.

    Args:
        idle_mib: so much memory may be in use on an idle device, in MiB.
        clock: seconds, monotonic.

    Attributes:
        idle_mib: as above; it may be set at any time.
    """

    def __init__(self, idle_mib: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.idle_mib = idle_mib
        self._clock = clock
        self._ours: frozenset[int] = frozenset()
        self._busy_at: dict[str, float] = {}

    def look(self) -> None:
        """Remember which processes are ours; call it before the devices are read.

        A trial that ends between the driver's answer and a look in /proc would pass for a stranger otherwise.
        """
        self._ours = frozenset(descendants(os.getpid()))

    def find(
        self, devices: Iterable[Device], samples: Mapping[str, Sample], busy: Collection[str]
    ) -> dict[str, Stranger]:
        """Who uses which devices, by UUID.

        A CPU slot is never somebody else's: its memory is that of the whole box, which everybody uses.

        Memory that nobody explains counts, but for `LINGER_S` after a trial of ours: its last pages go after it.

        Args:
            devices: those to look at.
            samples: a reading of each device, made after `look`.
            busy: devices with a trial of ours.
        """
        now = self._clock()
        self._busy_at |= dict.fromkeys(busy, now)
        self._busy_at = {uuid: at for uuid, at in self._busy_at.items() if now - at < LINGER_S}
        ours = self._ours | set(descendants(os.getpid()))
        found: dict[str, Stranger] = {}
        for device in devices:
            if device.kind is DeviceKind.CPU:
                continue
            sample = samples[device.uuid]
            unnamed_mib = None if device.uuid in self._busy_at else sample.memory_used_mib
            users = [_user(process, ours) for process in sample.processes]
            if (stranger := find_stranger(users, unnamed_mib, self.idle_mib)) is not None:
                found[device.uuid] = stranger
        return found


def _user(process: DeviceProcess, ours: Collection[int]) -> DeviceUser:
    is_ours = process.pid in ours
    return DeviceUser(
        process.pid,
        owner=owner(process.pid),
        command=command_line(process.pid),
        memory_used_mib=process.memory_used_mib,
        is_compute=process.is_compute,
        is_ours=is_ours,
    )
