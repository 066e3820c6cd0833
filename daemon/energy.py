"""What the devices' work costs in energy, from their readings."""

from collections.abc import Mapping

from cnnbo.daemon.devices.base import Sample


class EnergyMeter:
    """Counts joules per device from the first reading on.

    A device's own counter is exact, however seldom it is read; where there is none, power is integrated by the
    trapezoid rule between readings. A device that tells neither, like a CPU slot, is not measured.
    """

    def __init__(self) -> None:
        self._last: dict[str, tuple[float, Sample]] = {}
        self._joules: dict[str, float] = {}

    def take(self, at: float, samples: Mapping[str, Sample]) -> None:
        """Take in a reading of some devices, made at `at` seconds of a clock that never steps back."""
        for uuid, sample in samples.items():
            if sample.energy_j is None and sample.power_w is None:
                continue
            spent = _spent(*self._last[uuid], at, sample) if uuid in self._last else 0.0
            self._joules[uuid] = self._joules.get(uuid, 0.0) + spent
            self._last[uuid] = at, sample

    def joules(self, uuid: str) -> float | None:
        """What a device has used since its first reading, in joules, up to its last; None where it isn't measured."""
        return self._joules.get(uuid)

    def is_measured(self, uuid: str) -> bool:
        """Whether a device tells its energy or its power."""
        return uuid in self._joules


def _spent(then: float, before: Sample, now: float, after: Sample) -> float:
    """Joules between two readings, >= 0."""
    if before.energy_j is not None and after.energy_j is not None:
        return max(0.0, after.energy_j - before.energy_j)  # the counter begins anew with the driver
    if before.power_w is not None and after.power_w is not None:
        return max(0.0, now - then) * (before.power_w + after.power_w) / 2
    return 0.0
