"""Keeps an eye on the devices: the threads that talk to their drivers, and the loops that have them read."""

import asyncio
import logging
import sqlite3
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from cnnbo.daemon.devices.base import Device, HealthKind, Sample
from cnnbo.daemon.devices.select import Selection, open_devices
from cnnbo.daemon.devices.strangers import Strangers
from cnnbo.daemon.journal import Journal, JournalFullError
from cnnbo.daemon.lease import Lease, lease_path
from cnnbo.daemon.settings import Settings
from cnnbo.daemon.shell import Shell
from cnnbo.scheduler.errors import ConfigurationError
from cnnbo.scheduler.occupancy import Stranger

log = logging.getLogger(__name__)
T = TypeVar("T")

IDLE_POLL_S = 30.0
"""Devices are read this often while no study runs: polling keeps an idle GPU awake."""

DISCOVERY_S = 600.0
"""New devices are looked for this often, and whenever the driver says that there may be some; it costs seconds."""

EVENT_WAIT_S = 5.0

PATIENCE_S = 60.0
"""The drivers' thread may be busy for so long, in seconds: opening the driver of eight devices anew takes a while."""


class DeviceReader:
    """One thread for all that is asked of device drivers, and one that waits for what they say by themselves.

    Args:
        wanted: what `--devices` says.
        settings: how often and with which limits.
    """

    def __init__(self, wanted: str, settings: Settings) -> None:
        self._wanted = wanted
        self._settings = settings
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="devices")
        self._listener = ThreadPoolExecutor(max_workers=1, thread_name_prefix="device events")
        self._selection: Selection | None = None
        self._devices: tuple[Device, ...] = ()
        self._saved: object = None
        self._strangers = Strangers(settings.idle_memory_mib)
        self._discovered_at = time.monotonic()
        self._answered_at = time.monotonic()

    def take_settings(self, settings: Settings) -> None:
        """Read as often, and judge with the limits, that these settings say from now on."""
        self._settings = settings
        self._strangers.idle_mib = settings.idle_memory_mib

    async def open(self) -> Selection:
        """Find the devices.

        Raises:
            ConfigurationError: they don't exist or can't be used.
        """
        self._selection = await self._in_thread(lambda: open_devices(self._wanted))
        self._devices = self._selection.devices
        return self._selection

    async def _in_thread(self, work: Callable[[], T]) -> T:
        result = await asyncio.get_running_loop().run_in_executor(self._thread, work)
        self._answered_at = time.monotonic()
        return result

    async def prove_moving(self) -> None:
        """Return once the drivers' thread has answered not more than `PATIENCE_S` ago; at rest it is asked for that."""
        if time.monotonic() - self._answered_at > PATIENCE_S:
            await self._in_thread(lambda: None)

    async def read(self, shell: Shell, journal: Journal) -> None:
        """Read the devices once and tell the shell."""
        busy = shell.busy_devices
        devices, samples, held = await self._in_thread(lambda: self._read(busy))
        # Of a device on which a trial began meanwhile, nameless memory and the lease are that trial's.
        begun = shell.busy_devices - busy
        held = {uuid: stranger for uuid, stranger in held.items() if stranger.is_known or uuid not in begun}
        # In one step: a device that nobody has read would pass for one that is well and free.
        shell.take_devices(devices)
        shell.take_samples(samples, held)
        states = {device["uuid"]: (device["state"], device["reason"]) for device in shell.device_objects()}
        if states != self._saved:
            try:
                await journal.save_devices(shell.device_objects(), time.time())
                self._saved = states
            except (JournalFullError, sqlite3.Error) as error:  # a picture for later; it waits for the next reading
                log.warning("the devices could not be saved: %s", error)

    async def run(self, shell: Shell, journal: Journal) -> None:
        """Read the devices for ever, often while a study runs."""
        while True:
            is_active = any(study.state == "running" for study in shell.studies)
            await shell.woken(self._settings.poll_s if is_active else IDLE_POLL_S)
            await journal.look_at_disk()
            if time.monotonic() - self._discovered_at >= DISCOVERY_S:
                await self._discover(shell)
            await self.read(shell, journal)

    async def listen(self, shell: Shell, journal: Journal) -> None:
        """Take in what the drivers report by themselves, for ever; returns at once where they never do."""
        assert self._selection is not None
        backend = self._selection.backend
        while backend.has_events:
            loop = asyncio.get_running_loop()
            events = await loop.run_in_executor(self._listener, backend.wait_for_events, EVENT_WAIT_S)
            for event in events:
                shell.take_health(event)
            if any(event.kind in (HealthKind.LAYOUT, HealthKind.UNCLEAR) for event in events):
                await self._discover(shell)
            if events:
                await self.read(shell, journal)

    async def _discover(self, shell: Shell) -> None:
        """Look which devices there are now; where the driver can't say, those of before stay, and tell their faults."""
        assert self._selection is not None
        self._discovered_at = time.monotonic()
        backend = self._selection.backend
        try:
            found = await self._in_thread(backend.discover)
        except ConfigurationError as error:
            log.warning("%s", error)
            return
        self._devices = _with_lost(found, self._devices, shell.busy_devices)

    def _read(self, busy: frozenset[str]) -> tuple[tuple[Device, ...], dict[str, Sample], dict[str, Stranger]]:
        """One reading, in the drivers' thread, of the devices that are known now."""
        assert self._selection is not None
        devices = self._devices
        known = {device.uuid for device in devices}
        self._strangers.look()
        samples = {uuid: sample for uuid, sample in self._selection.backend.sample().items() if uuid in known}
        devices = tuple(device for device in devices if device.uuid in samples)
        held = self._strangers.find(devices, samples, busy)
        for device in devices:
            # The lease of a device with a trial of ours is held by our own runner.
            if device.uuid not in busy and (holder := self._lease_holder(device.uuid)) is not None:
                held.setdefault(device.uuid, holder)
        return devices, samples, held

    def _lease_holder(self, uuid: str) -> Stranger | None:
        path = lease_path(self._settings.lease_dir, uuid)
        try:
            return None if Lease.is_free(path) else Stranger(f"in use by another cnnbo (lease {path})")
        except ConfigurationError as error:  # one file that somebody closed to us is no reason to stop the others
            return Stranger(str(error))

    async def close(self) -> None:
        """Let go of the drivers; a wait for events ends with that."""
        if self._selection is not None:
            await self._in_thread(self._selection.backend.close)
        self._thread.shutdown(wait=False)
        self._listener.shutdown(wait=False)


def _with_lost(found: Sequence[Device], known: Iterable[Device], busy: Collection[str]) -> tuple[Device, ...]:
    """What was found, and what is lost and must be seen to be.

    A MIG instance that was dissolved never comes back; it goes with the trial on it.
    """
    here = {device.uuid for device in found}
    gone = [device for device in known if device.uuid not in here]
    lost = [device for device in gone if device.uuid in busy or not device.uuid.startswith("MIG-")]
    return tuple(sorted([*found, *lost], key=lambda device: device.index))
