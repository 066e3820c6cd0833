"""Devices that exist on paper only, for tests and trials of everything around them."""

import queue
from collections.abc import Mapping, Sequence

from cnnbo.daemon.devices.base import Device, DeviceKind, HealthEvent, Sample

_TOTAL_MIB = 24576.0
_IDLE = Sample(
    memory_used_mib=0.0, memory_total_mib=_TOTAL_MIB, utilisation_percent=0.0, temperature_c=35.0, power_w=20.0
)
_GONE = Sample(fault="The device has vanished, as a test told it to.")


class FakeBackend:
    """Devices `FAKE-0`, `FAKE-1`, … that can vanish and come back; implements `DeviceBackend`.

    A vanished device is not discovered any more, and has a fault in every sample if it was before. `vanish`, `restore`
    and `report` may be called from any thread.

    Args:
        count: how many devices there are.
    """

    has_events = True
    unreadable: Sequence[str] = ()

    def __init__(self, count: int = 3) -> None:
        self._all = tuple(_device(index) for index in range(count))
        self._known: tuple[str, ...] = ()
        self._gone: frozenset[str] = frozenset()
        self._reported: queue.SimpleQueue[HealthEvent | None] = queue.SimpleQueue()  # None ends a wait

    def vanish(self, uuid: str) -> None:
        """Take a device away."""
        self._gone |= {uuid}

    def restore(self, uuid: str) -> None:
        """Bring a vanished device back."""
        self._gone -= {uuid}

    def report(self, event: HealthEvent) -> None:
        """Let the devices' driver report an event."""
        self._reported.put(event)

    def discover(self) -> Sequence[Device]:
        """The devices that have not vanished."""
        gone = self._gone
        here = tuple(device for device in self._all if device.uuid not in gone)
        self._known = tuple(dict.fromkeys((*self._known, *(device.uuid for device in here))))
        return here

    def sample(self) -> Mapping[str, Sample]:
        """A reading of an idle device for each that was discovered; a fault for those that vanished since."""
        gone = self._gone
        return {uuid: _GONE if uuid in gone else _IDLE for uuid in self._known}

    def wait_for_events(self, timeout_s: float) -> Sequence[HealthEvent]:
        """The next event that a test reported."""
        try:
            event = self._reported.get(timeout=timeout_s)
        except queue.Empty:
            return ()
        return () if event is None else (event,)

    def close(self) -> None:
        """Forget what was discovered."""
        self._known = ()
        self._reported.put(None)


def _device(index: int) -> Device:
    uuid = f"FAKE-{index}"
    return Device(uuid, index, "Fake device", DeviceKind.FAKE, {"CUDA_VISIBLE_DEVICES": uuid})
