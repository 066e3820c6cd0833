"""Readings of the devices, where their time matters."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import cast

import pytest

from cnnbo.daemon.device_reader import DeviceReader
from cnnbo.daemon.devices.base import Device, Sample
from cnnbo.daemon.journal import Journal
from cnnbo.daemon.lease import Lease, lease_path
from cnnbo.daemon.settings import Settings
from cnnbo.daemon.shell import Shell
from cnnbo.scheduler.occupancy import Stranger


class Told:
    """Stands for a shell on which trials begin at a given moment: between two looks at what is busy."""

    def __init__(self, *busy: frozenset[str]) -> None:
        self._busy = list(busy)
        self.held: Mapping[str, Stranger] = {}

    @property
    def busy_devices(self) -> frozenset[str]:
        return self._busy.pop(0) if len(self._busy) > 1 else self._busy[0]

    def take_devices(self, devices: Iterable[Device]) -> None:
        """Nothing is done with them."""

    def take_samples(self, samples: Mapping[str, Sample], held: Mapping[str, Stranger]) -> None:
        self.held = held

    def device_objects(self) -> list[object]:
        return []


@pytest.mark.parametrize(
    ("busy", "is_held"),
    [((frozenset(),), True), ((frozenset({"cpu-0"}),), False), ((frozenset(), frozenset({"cpu-0"})), False)],
    ids=["no trial of ours", "our trial", "our trial began meanwhile"],
)
async def test_the_lease_of_our_own_trial_makes_nobody_a_stranger(
    busy: tuple[frozenset[str], ...], is_held: bool, tmp_path: Path
) -> None:
    """A driver may take seconds to answer, and trials begin when they like."""
    reader, journal = DeviceReader("cpu:1", Settings(tmp_path, "tower", lease_dir=tmp_path)), Journal(tmp_path)
    await reader.open()
    await journal.open()
    told = Told(*busy)
    lease = Lease.acquire(lease_path(tmp_path, "cpu-0"))
    assert lease is not None
    with lease:
        await reader.read(cast(Shell, told), journal)
    assert (set(told.held) == {"cpu-0"}) is is_held
    await reader.close()
    await journal.close()
