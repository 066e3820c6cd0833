"""What NVIDIA's driver reports by itself: errors, changes of the MIG layout.

The rules are those of NVIDIA's device plugin for Kubernetes (its `internal/rm/health.go`): some XIDs are the program's
fault, every other error is the device's, and one of a device that can't be told concerns all of them.
"""

import logging
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import pynvml
from pynvml import NVMLError

from cnnbo.daemon.devices.back_off import BackOff
from cnnbo.daemon.devices.base import HealthEvent, HealthKind
from cnnbo.daemon.devices.nvml_reading import text
from cnnbo.daemon.devices.xid import APPLICATION_XIDS, describe

_LOG = logging.getLogger(__name__)

# A session with the driver can't end under a thread that waits, so whoever ends it waits up to so long.
_SLICE_S = 0.5
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 2.0, 60.0

_ALL = 0xFFFFFFFF  # in the place of an instance's number

# Younger than the oldest binding that is allowed, so not all have names there.
_GPU_UNAVAILABLE = 0x4000
_GPU_RECOVERY_ACTION = 0x8000
_RECOVERY_ACTION_FIELD = 230
_NO_RECOVERY_NEEDED = 0

_KINDS = (
    pynvml.nvmlEventTypeXidCriticalError
    | pynvml.nvmlEventTypeDoubleBitEccError
    | pynvml.nvmlEventTypeSingleBitEccError
    | pynvml.nvmlEventMigConfigChange
    | _GPU_UNAVAILABLE
    | _GPU_RECOVERY_ACTION
)

# The driver or every device is too old: there is nothing to wait for.
_NO_EVENTS = frozenset({pynvml.NVML_ERROR_NOT_SUPPORTED, pynvml.NVML_ERROR_FUNCTION_NOT_FOUND})


@dataclass(frozen=True, slots=True)
class Place:
    """Where a device is.

    Attributes:
        uuid: the device.
        gpu_uuid: the GPU that it is, or is an instance of.
        gpu_instance: its number as MIG knows it; None = the whole GPU, or not told.
        compute_instance: the number within the GPU instance; None = all of it, or not told.
    """

    uuid: str
    gpu_uuid: str
    gpu_instance: int | None = None
    compute_instance: int | None = None

    def is_concerned(self, gpu_instance: int, compute_instance: int) -> bool:
        """Whether something that happened in these instances of its GPU happened to this device."""
        return _covers(gpu_instance, self.gpu_instance) and _covers(compute_instance, self.compute_instance)


def _covers(named: int, own: int | None) -> bool:
    return own is None or named in (_ALL, own)


class EventQueue:
    """The driver's events for one thread, within a session that another thread opens and ends.

    NVML's sessions are counted, so one of the waiting thread's own would keep a broken driver from being opened anew.
    It therefore waits in the session of the other thread, which calls `start` when there is one and `stop` before it
    ends. `wait` is called from a thread of its own, `start` and `stop` from the one that owns the session.

    Args:
        clock: seconds of a monotonic clock.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        # Guards the two below; what follows them belongs to who is inside, or to `stop`.
        self._turn = threading.Condition()
        self._places: tuple[Place, ...] = ()  # empty = there is nothing to wait for
        self._is_inside = False  # whether a thread is in the driver with the event set
        self._event_set: Any = None
        self._back_off = BackOff(_FIRST_PAUSE_S, _LONGEST_PAUSE_S, clock)
        self._warnings: set[str] = set()

    def start(self, places: Iterable[Place]) -> None:
        """Wait for events of these devices, in the session that is open now."""
        self.stop()
        with self._turn:
            self._places = tuple(places)
            self._turn.notify_all()

    def stop(self) -> None:
        """Wait for no more events. When this returns, no thread is in the driver for them: the session may end."""
        with self._turn:
            self._places = ()
            self._turn.notify_all()
            self._turn.wait_for(lambda: not self._is_inside)
            self._free()

    def wait(self, timeout_s: float) -> tuple[HealthEvent, ...]:
        """The next event, or nothing after the time or when it is stopped; see `DeviceBackend.wait_for_events`."""
        while timeout_s > 0:
            slice_s = min(timeout_s, _SLICE_S)
            timeout_s -= slice_s
            places = self._enter(slice_s)
            if not places:
                break
            try:
                events = self._take(places, slice_s)
            finally:
                self._leave()
            if events or self._places is not places:  # stopped meanwhile, or started anew
                return events
        return ()

    def _enter(self, timeout_s: float) -> tuple[Place, ...]:
        """Go into the driver; no places where there's nothing to do there for the moment, which is slept over."""
        with self._turn:
            if not self._places or self._back_off.is_waiting:
                self._turn.wait(timeout_s)
                return ()
            self._is_inside = True
            return self._places

    def _leave(self) -> None:
        with self._turn:
            self._is_inside = False
            self._turn.notify_all()

    def _take(self, places: tuple[Place, ...], timeout_s: float) -> tuple[HealthEvent, ...]:
        try:
            if self._event_set is None:
                self._open(places)
            data = pynvml.nvmlEventSetWait_v2(self._event_set, int(timeout_s * 1000))
        except NVMLError as error:
            if error.value != pynvml.NVML_ERROR_TIMEOUT:
                return self._give_up(places, error)
            self._back_off.reset()
            return ()
        self._back_off.reset()
        return _judge(data, places)

    def _open(self, places: tuple[Place, ...]) -> None:
        self._event_set = pynvml.nvmlEventSetCreate()
        gpus = dict.fromkeys(place.gpu_uuid for place in places)
        errors = [error for gpu in gpus if (error := self._register(gpu)) is not None]
        if len(errors) == len(gpus):
            raise errors[0]

    def _register(self, gpu_uuid: str) -> NVMLError | None:
        try:
            gpu = pynvml.nvmlDeviceGetHandleByUUID(gpu_uuid)
            kinds = _KINDS & pynvml.nvmlDeviceGetSupportedEventTypes(gpu)
            pynvml.nvmlDeviceRegisterEvents(gpu, kinds, self._event_set)
        except NVMLError as error:
            self._warn_once(f"The driver reports no events of {gpu_uuid} ({error}); only reading it shows its faults.")
            return error
        return None

    def _give_up(self, places: tuple[Place, ...], error: NVMLError) -> tuple[HealthEvent, ...]:
        """Leave the event set; a new one is opened after a while, unless that can't help."""
        self._free()
        if error.value in _NO_EVENTS:
            self._warn_once(f"The driver reports no events ({error}); only reading the devices shows their faults.")
            with self._turn:
                self._places = ()
            return ()
        self._back_off.fail()
        return (HealthEvent(_uuids(places), HealthKind.UNCLEAR, f"waiting for the driver's events failed ({error})"),)

    def _free(self) -> None:
        if self._event_set is None:
            return
        try:
            pynvml.nvmlEventSetFree(self._event_set)
        except NVMLError as error:  # of a broken session; it goes with that
            _LOG.debug("freeing NVML's event set: %s", error)
        self._event_set = None

    def _warn_once(self, sentence: str) -> None:
        if sentence not in self._warnings:
            self._warnings.add(sentence)
            _LOG.warning("%s", sentence)


# ---- what an event means ----


def _uuids(places: Iterable[Place]) -> tuple[str, ...]:
    return tuple(place.uuid for place in places)


def _judge(data: Any, places: tuple[Place, ...]) -> tuple[HealthEvent, ...]:
    """The event as we tell it; nothing where no device of ours is concerned or nothing is wrong."""
    gpu_uuid = _uuid_of(data.device)
    meaning = _meaning(data)
    if meaning is None:
        _LOG.info("%s reports an event of type %#x, which needs nothing.", gpu_uuid or "A device", data.eventType)
        return ()
    kind, reason = meaning
    xid = int(data.eventData) if data.eventType == pynvml.nvmlEventTypeXidCriticalError else None
    if gpu_uuid is not None:
        uuids = _uuids(_concerned(data, gpu_uuid, places))
    elif kind is HealthKind.APPLICATION:
        _LOG.warning("A device that can't be told reports %s.", reason)
        uuids = ()  # to blame the programs on all devices would be wrong for all but one, and their exits tell anyway
    else:
        uuids = _uuids(places)
        reason = f"{reason} (the driver can't tell on which device)"
    return (HealthEvent(uuids, kind, reason, xid),) if uuids else ()


def _uuid_of(device: Any) -> str | None:
    try:
        return text(pynvml.nvmlDeviceGetUUID(device))
    except NVMLError:
        return None


def _concerned(data: Any, gpu_uuid: str, places: Iterable[Place]) -> list[Place]:
    on_gpu = [place for place in places if place.gpu_uuid == gpu_uuid]
    if data.eventType != pynvml.nvmlEventTypeXidCriticalError:
        return on_gpu  # only XIDs name instances
    return [place for place in on_gpu if place.is_concerned(data.gpuInstanceId, data.computeInstanceId)]


def _meaning(data: Any) -> tuple[HealthKind, str] | None:
    """What an event says of its device, None for nothing: single-bit errors are corrected."""
    match data.eventType:
        case pynvml.nvmlEventTypeXidCriticalError:
            is_application = data.eventData in APPLICATION_XIDS
            return (HealthKind.APPLICATION if is_application else HealthKind.HARDWARE), describe(data.eventData)
        case pynvml.nvmlEventTypeDoubleBitEccError:
            return HealthKind.HARDWARE, "double-bit ECC: an error in its memory could not be corrected"
        case pynvml.nvmlEventMigConfigChange:
            return HealthKind.LAYOUT, "its MIG configuration changed"
        case kind if kind == _GPU_UNAVAILABLE:
            return HealthKind.HARDWARE, "the driver reports it as unavailable"
        case kind if kind == _GPU_RECOVERY_ACTION and _needs_recovery(data.device):
            return HealthKind.HARDWARE, "the driver asks to reset it or to reboot"
        case _:
            return None


def _needs_recovery(device: Any) -> bool:
    """Whether the driver asks for anything: that it asks no longer is an event, too."""
    try:
        (field,) = pynvml.nvmlDeviceGetFieldValues(device, [_RECOVERY_ACTION_FIELD])
    except NVMLError:
        return True
    return not (field.nvmlReturn == pynvml.NVML_SUCCESS and field.value.uiVal == _NO_RECOVERY_NEEDED)
