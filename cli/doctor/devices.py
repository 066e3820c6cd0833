"""The devices that trials may run on, and what keeps them from it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from cnnbo.cli.doctor.daemon import ask_in_time
from cnnbo.cli.doctor.driver import asks_for_cpu, broken_driver, good_driver
from cnnbo.cli.doctor.finding import Finding, fail, from_error, ok, warn
from cnnbo.cli.doctor.scope import Scope
from cnnbo.cli.doctor.slurm import is_slurms
from cnnbo.daemon.devices.base import Device, DeviceKind, Sample
from cnnbo.daemon.devices.nvml_facts import DriverFacts, read_driver
from cnnbo.daemon.devices.select import label, open_devices
from cnnbo.daemon.devices.strangers import Strangers
from cnnbo.daemon.lease import Lease, lease_path
from cnnbo.scheduler.errors import CnnboError, ConfigurationError
from cnnbo.scheduler.occupancy import Stranger


@dataclass(frozen=True, slots=True)
class Survey:
    """The devices of this moment.

    Attributes:
        devices: those that may be used, by rising index.
        note: one line that names them.
        samples: a reading of each, by UUID.
        users: who uses a device, by UUID, whoever it is; a trial of this instance's daemon is nobody.
        told: what this instance's daemon says of them, by UUID; empty without a daemon.
        unreadable: a sentence for each that doesn't even tell its UUID.
        driver: None where all devices are CPU slots.
    """

    devices: tuple[Device, ...]
    note: str
    samples: Mapping[str, Sample]
    users: Mapping[str, Stranger]
    told: Mapping[str, Mapping[str, Any]]
    unreadable: tuple[str, ...]
    driver: DriverFacts | None

    def is_idle(self, device: Device) -> bool:
        """Whether a trial could start there now."""
        state = self.told.get(device.uuid, {}).get("state", "idle")
        is_free = state == "idle" and device.uuid not in self.users
        return is_free and self.samples[device.uuid].fault is None


def survey(scope: Scope) -> Survey:
    """Look at all devices once.

    Raises:
        ConfigurationError: those asked for don't exist or can't be used.
    """
    told = _told(scope)
    strangers = Strangers(scope.settings.idle_memory_mib)
    selection = open_devices(scope.devices, scope.environ, is_slurms=lambda: False)  # only to look; see `check_slurm`
    try:
        strangers.look()
        samples = selection.backend.sample()
        unreadable = tuple(selection.backend.unreadable)
    finally:
        selection.backend.close()
    busy = [uuid for uuid, device in told.items() if device["state"] == "busy"]
    others = [device for device in selection.devices if device.uuid not in busy]
    users = strangers.find(others, samples, ())
    for device in others:
        if (holder := _lease_holder(scope, device.uuid)) is not None:
            users.setdefault(device.uuid, holder)
    is_nvidia = any(device.kind is DeviceKind.NVIDIA for device in selection.devices)
    driver = read_driver() if is_nvidia else None
    return Survey(selection.devices, selection.note, samples, users, told, unreadable, driver)


def _told(scope: Scope) -> dict[str, dict[str, Any]]:
    try:
        return {device["uuid"]: device for device in ask_in_time(scope.settings.state, "devices")}
    except (CnnboError, TimeoutError):  # the check of the daemon tells
        return {}


def _lease_holder(scope: Scope, uuid: str) -> Stranger | None:
    path = lease_path(scope.settings.lease_dir, uuid)
    try:
        return None if Lease.is_free(path) else Stranger(f"another cnnbo (lease {path})", is_known=True)
    except ConfigurationError:  # the check of the leases tells
        return None


def check_devices(scope: Scope) -> Iterator[Finding]:
    """Driver, devices, their faults, MIG, and who uses them."""
    if not asks_for_cpu(scope):
        broken = list(broken_driver(scope))
        yield from broken
        if broken:
            return
    try:
        found = survey(scope)
    except ConfigurationError as error:
        yield from from_error("devices", error)
        return
    if found.driver is None:
        yield ok("driver", found.note.rstrip("."))
    else:
        yield good_driver(found.driver, found.devices)
        yield from _left_out(found)
        yield from _mig(found.driver)
    for device in found.devices:
        yield from _trouble(found, device)


def _left_out(found: Survey) -> Iterator[Finding]:
    for sentence in found.unreadable:
        text, _, fix = sentence.rstrip(".").rpartition("; ")
        yield fail("devices", text or fix, fix if text else "look at `nvidia-smi` and the kernel log")


def _mig(driver: DriverFacts) -> Iterator[Finding]:
    for gpu in driver.gpus:
        if gpu.instances:
            count = len(gpu.instances)
            yield ok(
                "mig", f"GPU {gpu.index} is cut into {count} MIG instance{'' if count == 1 else 's'}, a device each"
            )
        elif gpu.instances is not None:
            text = f"GPU {gpu.index} ({gpu.name}) has MIG on and no instance, so nothing can run on it"
            yield warn(
                "mig", text, f"nvidia-smi -i {gpu.index} -mig 0, or create instances: nvidia-smi mig -cgi ... -C"
            )


def _trouble(found: Survey, device: Device) -> Iterator[Finding]:
    """Why a device gets no trial, if so."""
    name, sample = label(device), found.samples[device.uuid]
    told = found.told.get(device.uuid, {})
    elsewhere = _elsewhere(found)
    if sample.fault is not None:
        text, _, fix = f"{name}: {sample.fault}".rstrip(".").rpartition("; ")
        yield fail("devices", text or fix, f"{fix}, or {elsewhere}" if text else elsewhere)
    elif (user := found.users.get(device.uuid)) is not None:
        fix = f"nothing, or ask them; to do without it for good, {elsewhere}"
        if not user.is_known:
            fix = f"nvidia-smi outside of this container tells who it is; or {elsewhere}"
        yield warn("devices", f"{name} in use by {user.reason}; left alone while that lasts", fix)
    elif told.get("state") in ("drained", "quarantined"):
        because = f": {str(told['reason']).rstrip('.')}" if told["reason"] else ""
        yield warn(
            "devices", f"{name} is {told['state']}{because}", f"cnnbo return {name}, when it is to be used again"
        )
    elif sample.slowdown is not None:
        yield warn("devices", f"{name}: {sample.slowdown.rstrip('.')}", "see to its cooling and power supply")


def _elsewhere(found: Survey) -> str:
    """How to do without a device that gets no trial."""
    others = ",".join(str(device.index) for device in found.devices if found.is_idle(device))
    if found.driver is None:
        return "wait until it is free again"
    return f"leave it out: --devices {others}" if others else "wait, or train on the CPU: --devices cpu"


def triable(scope: Scope, found: Survey) -> tuple[Device, ...]:
    """The devices on which a process may be started to try them: idle ones that are ours to use."""
    return tuple(
        device
        for device in found.devices
        if found.is_idle(device) and not (device.kind is DeviceKind.NVIDIA and is_slurms(scope))
    )
