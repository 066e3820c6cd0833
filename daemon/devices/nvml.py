"""NVIDIA devices, through NVML, the management library that comes with the driver.

Everything is keyed by UUID: the index may change over a reboot, and a handle dies with its device. What a card doesn't
tell is None; only errors that mean "no trial can run here" make a fault. Whether a device stays out of use after a
fault, and what a foreign process means, is decided by whoever reads the samples.
"""

import logging
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import pynvml
from pynvml import NVMLError

from cnnbo.daemon.devices.back_off import BackOff
from cnnbo.daemon.devices.base import Device, DeviceKind, HealthEvent, Sample
from cnnbo.daemon.devices.nvml_events import EventQueue, Place
from cnnbo.daemon.devices.nvml_reading import (
    SESSION_BROKEN,
    Handle,
    faulty,
    figure,
    is_cut,
    reason,
    sample_gpu,
    sample_instance,
    text,
)
from cnnbo.scheduler.errors import ConfigurationError, NotReadyError

_LOG = logging.getLogger(__name__)

# Opening the driver anew may take seconds on a box with many devices; a lasting error must not cause it all the time.
_FIRST_REOPENING_S, _LONGEST_REOPENING_S = 10.0, 300.0

_NOT_CUT = "MIG is on and no instance exists; create some with `nvidia-smi mig -cgi ... -C` or turn MIG off"


def _unusable(why: str, *errors: NVMLError) -> ConfigurationError:
    """What is said where no device can be used; all but missing rights may heal while somebody waits."""
    is_closed = bool(errors) and all(error.value == pynvml.NVML_ERROR_NO_PERMISSION for error in errors)
    kind = ConfigurationError if is_closed else NotReadyError
    return kind(f"No NVIDIA device can be used: {why}, or train on the CPU with --devices cpu.")


def hides_all(visible: str | None) -> bool:
    """Whether a value of CUDA_VISIBLE_DEVICES, None if unset, is one of the usual ways to say "no GPU"."""
    return visible is not None and visible.strip() in ("", "-1")


@dataclass(frozen=True, slots=True)
class _Found:
    device: Device
    handle: Handle
    place: Place


class NvmlBackend:
    """The NVIDIA devices of this box; implements `DeviceBackend`.

    A GPU keeps the index that nvidia-smi shows. Where MIG is on, its instances are the devices and it is none itself;
    they are numbered on from the last GPU.

    Args:
        visible: the devices that may be used, in the form of CUDA_VISIBLE_DEVICES: indices, UUIDs or unique beginnings
            of UUIDs, separated by commas; as in CUDA, one that names nothing hides itself and all behind it. Indices
            count in PCI order, as nvidia-smi does. None = no limit.
        clock: seconds of a monotonic clock.
    """

    has_events = True

    def __init__(self, visible: str | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._visible = visible
        self._only: frozenset[str] | None = None  # UUIDs; None = not narrowed down so far
        self._devices: dict[str, Device] = {}
        self._places: dict[str, Place] = {}
        self._handles: dict[str, Handle] = {}
        self._faulty: frozenset[str] = frozenset()
        self._unreadable: tuple[str, ...] = ()
        self._is_open = False
        self._opening_error: NVMLError | None = None
        self._reopening = BackOff(_FIRST_REOPENING_S, _LONGEST_REOPENING_S, clock)
        self._events = EventQueue(clock)

    @property
    def unreadable(self) -> Sequence[str]:
        """A sentence for each GPU that the last discovery left out because it doesn't even tell its UUID.

        One that was known before isn't among them: its fault is in the samples.
        """
        return self._unreadable

    def discover(self) -> Sequence[Device]:
        """The usable devices that are there now; none where no NVIDIA library is installed.

        Opens the driver anew, so that a device that was reset or plugged in since is seen. A GPU that tells its UUID
        and nothing else is among them; its fault is in the samples.

        Raises:
            NotReadyError: the library is there, and its driver can't be used now.
            ConfigurationError: this user may not use it, or nothing matches `visible`.
        """
        if hides_all(self._visible):
            return ()
        self._close_session()
        try:
            self._open_session()
            found, problems = _find_all()
        except NVMLError as error:
            if error.value == pynvml.NVML_ERROR_LIBRARY_NOT_FOUND:
                return ()
            raise _unusable(reason(error), error) from error
        except ConfigurationError:
            self._listen()  # only an event tells when there is something to use
            raise
        usable = self._allowed(found)
        self._tell(problems, usable)
        self._remember(usable)
        self._listen()
        return tuple(each.device for each in usable)

    def keep(self, uuids: Collection[str]) -> None:
        """Forget all other devices; they are neither discovered nor read from now on."""
        self._only = frozenset(uuids)
        self._devices = {uuid: device for uuid, device in self._devices.items() if uuid in self._only}
        self._places = {uuid: place for uuid, place in self._places.items() if uuid in self._only}
        self._listen()

    def sample(self) -> Mapping[str, Sample]:
        """A reading of every device discovered so far, by UUID; a faulty one is looked up anew each time."""
        if not self._devices:
            return {}
        if self._reopening.is_over:
            self._reopen()
        readings = {uuid: self._read(uuid) for uuid in self._devices}
        errors = [reading.value for reading in readings.values() if isinstance(reading, NVMLError)]
        self._judge_session(is_broken=self._opening_error is not None or not SESSION_BROKEN.isdisjoint(errors))
        samples = {
            uuid: faulty(reading) if isinstance(reading, NVMLError) else reading for uuid, reading in readings.items()
        }
        self._notice_recovery(frozenset(uuid for uuid, sample in samples.items() if sample.fault))
        return samples

    def wait_for_events(self, timeout_s: float) -> Sequence[HealthEvent]:
        """The next event of a discovered device, or nothing; see `DeviceBackend`."""
        return self._events.wait(timeout_s)

    def close(self) -> None:
        """Let go of the driver and forget the devices; a second call does nothing."""
        self._close_session()
        self._devices.clear()
        self._places.clear()

    def _allowed(self, found: list[_Found]) -> list[_Found]:
        if self._only is None and self._visible is not None:
            # Once and for all: indices may mean other devices when one has vanished.
            self._only = frozenset(device.uuid for device in _visible_among([e.device for e in found], self._visible))
        return [each for each in found if self._only is None or each.device.uuid in self._only]

    def _tell(self, problems: Mapping[int, NVMLError], usable: list[_Found]) -> None:
        here = {each.device.uuid for each in usable}
        known = {device.index for uuid, device in self._devices.items() if uuid not in here}
        told = tuple(
            f"NVIDIA device {index} is left out: {reason(why)}."
            for index, why in problems.items()
            if index not in known
        )
        for sentence in told:
            if sentence not in self._unreadable:
                _LOG.warning("%s", sentence)
        self._unreadable = told

    def _remember(self, usable: list[_Found]) -> None:
        self._handles = {each.device.uuid: each.handle for each in usable}
        self._devices |= {each.device.uuid: each.device for each in usable}
        # An instance's numbers are given to another one when it is gone; a GPU that is gone may come back as it was.
        whole = {uuid: place for uuid, place in self._places.items() if not _is_instance(uuid)}
        self._places = whole | {each.device.uuid: each.place for each in usable}

    def _read(self, uuid: str) -> Sample | NVMLError:
        if self._opening_error is not None:
            return self._opening_error
        try:
            if uuid not in self._handles:
                self._handles[uuid] = pynvml.nvmlDeviceGetHandleByUUID(uuid)
            return sample_instance(self._handles[uuid]) if _is_instance(uuid) else sample_gpu(self._handles[uuid])
        except NVMLError as error:
            self._handles.pop(uuid, None)
            return error

    def _notice_recovery(self, faulty_now: frozenset[str]) -> None:
        """A device that was away reports events only when asked again."""
        if self._faulty - faulty_now:
            self._listen()
        self._faulty = faulty_now

    # -- the session ---------------------------------------------------------------------------------------------------

    def _open_session(self) -> None:
        try:
            pynvml.nvmlInit()
        except NVMLError as error:
            self._opening_error = error
            raise
        self._is_open = True
        self._opening_error = None

    def _listen(self) -> None:
        if self._is_open:
            self._events.start(self._places.values())

    def _close_session(self) -> None:
        if not self._is_open:
            return
        self._events.stop()  # first, as sessions are counted: this one must be the last
        self._is_open = False
        self._handles.clear()
        try:
            pynvml.nvmlShutdown()
        except NVMLError as error:  # a broken session is what we wanted to be rid of
            _LOG.debug("closing NVML: %s", error)

    def _reopen(self) -> None:
        self._reopening.fail()  # the next wait is longer, unless the driver answers by then
        self._close_session()
        try:
            self._open_session()
        except NVMLError as error:
            _LOG.debug("opening NVML: %s", error)
            return
        self._listen()

    def _judge_session(self, *, is_broken: bool) -> None:
        if not is_broken:
            self._reopening.reset()
        elif not (self._reopening.is_waiting or self._reopening.is_over):
            self._reopening.fail()


# ---- finding devices ----


def _is_instance(uuid: str) -> bool:
    return uuid.startswith("MIG-")


def _find_all() -> tuple[list[_Found], dict[int, NVMLError]]:
    """What tells its UUID, GPUs first, then MIG instances, indices rising; and by index why the others don't."""
    gpus: list[_Found] = []
    instances: list[_Found] = []
    problems: dict[int, NVMLError] = {}
    count = pynvml.nvmlDeviceGetCount()
    for index in range(count):
        try:
            handle = pynvml.nvmlDeviceGetHandleByIndex(index)
            gpu = _describe(handle, index)
            if is_cut(handle):
                instances += _find_instances(gpu, count + len(instances))
            else:
                gpus.append(gpu)
        except NVMLError as error:
            problems[index] = error
    if count and not gpus and not instances:
        why = next((reason(error) for error in problems.values()), _NOT_CUT)
        raise _unusable(why, *problems.values())
    return gpus + instances, problems


def _describe(handle: Handle, index: int) -> _Found:
    uuid = text(pynvml.nvmlDeviceGetUUID(handle))
    name = figure(pynvml.nvmlDeviceGetName, handle, fatal=frozenset())
    # Without the PCI order, CUDA would number by speed, and whatever a trial prints would not fit nvidia-smi.
    environment = {"CUDA_VISIBLE_DEVICES": uuid, "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
    device = Device(uuid, index, text(name or "NVIDIA device"), DeviceKind.NVIDIA, environment)
    return _Found(device, handle, Place(uuid, uuid))


def _find_instances(gpu: _Found, first_index: int) -> list[_Found]:
    found: list[_Found] = []
    for number in range(pynvml.nvmlDeviceGetMaxMigDeviceCount(gpu.handle)):
        try:
            handle = pynvml.nvmlDeviceGetMigDeviceHandleByIndex(gpu.handle, number)
        except NVMLError as error:
            if error.value == pynvml.NVML_ERROR_NOT_FOUND:  # an empty place; there may be more behind it
                continue
            raise
        instance = _describe(handle, first_index + len(found))
        found.append(replace(instance, place=_place(instance, gpu)))
    return found


def _place(instance: _Found, gpu: _Found) -> Place:
    return Place(
        instance.device.uuid,
        gpu.device.uuid,
        figure(pynvml.nvmlDeviceGetGpuInstanceId, instance.handle),
        figure(pynvml.nvmlDeviceGetComputeInstanceId, instance.handle),
    )


def _visible_among(devices: list[Device], visible: str) -> list[Device]:
    named: list[Device] = []
    for entry in visible.split(","):
        matching = [device for device in devices if _answers_to(device, entry.strip())]
        if len(matching) != 1:
            break
        named += matching
    if devices and not named:
        there = ", ".join(f"{device.index} {device.uuid}" for device in devices)
        raise ConfigurationError(
            f'CUDA_VISIBLE_DEVICES="{visible}" means no NVIDIA device here; there are {there}. Correct or unset it.'
        )
    return named


def _answers_to(device: Device, entry: str) -> bool:
    if entry.isdecimal():
        # CUDA doesn't number MIG instances; the numbers they have here are our own.
        return device.index == int(entry) and not _is_instance(device.uuid)
    return entry != "" and device.uuid.startswith(entry)
