"""Who uses the devices beside us: what the driver lists, looked up in /proc, judged by `scheduler.occupancy`."""

import os
from collections.abc import Collection, Iterable, Mapping

from cnnbo.daemon.devices.base import Device, DeviceKind, DeviceProcess, Sample
from cnnbo.daemon.processes import command_line, descendants, owner
from cnnbo.scheduler.occupancy import DeviceUser, Stranger, find_stranger


class Strangers:
    """Finds devices that somebody else uses. Not to be called from two threads at once.

    Args:
        idle_mib: so much memory may be in use on an idle device, in MiB.
    """

    def __init__(self, idle_mib: float) -> None:
        self._idle_mib = idle_mib
        self._ours: frozenset[int] = frozenset()
        self._heavy: frozenset[str] = frozenset()

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

        Memory that nobody explains counts from the second reading in a row: a trial's last pages go after it.

        Args:
            devices: those to look at.
            samples: a reading of each device, made after `look`.
            busy: devices with a trial of ours.
        """
        ours = self._ours | set(descendants(os.getpid()))
        found: dict[str, Stranger] = {}
        heavy = set()
        for device in devices:
            if device.kind is DeviceKind.CPU:
                continue
            uuid, sample = device.uuid, samples[device.uuid]
            users = [_user(process, ours) for process in sample.processes]
            unnamed = None if uuid in busy else sample.memory_used_mib
            stranger = find_stranger(users, None, self._idle_mib)
            if stranger is None and (stranger := find_stranger(users, unnamed, self._idle_mib)):
                heavy.add(uuid)
                stranger = stranger if uuid in self._heavy else None
            if stranger is not None:
                found[uuid] = stranger
        self._heavy = frozenset(heavy)
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
