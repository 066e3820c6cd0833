"""NVIDIA devices, through NVML, the management library that comes with the driver.

Everything is keyed by UUID: the index may change over a reboot, and a handle dies with its device. What a card doesn't
tell is None; only errors that mean "no trial can run here" make a fault. Whether a device stays out of use after a
fault, and what a foreign process means, is decided by whoever reads the samples.
"""

import logging
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pynvml
from pynvml import NVMLError

from cnnbo.daemon.devices.base import Device, DeviceKind, DeviceProcess, Sample
from cnnbo.scheduler.errors import ConfigurationError

_LOG = logging.getLogger(__name__)

_Handle = Any  # an opaque pointer of the binding, which has no types

_MIB = 1024 * 1024

# Opening the driver anew may take seconds on a box with many devices; a lasting error must not cause it every second.
_REOPEN_AFTER_S = 10.0

_REASONS: Mapping[int, str] = {
    pynvml.NVML_ERROR_NO_PERMISSION: "this user may not open it; join the group that owns /dev/nvidia*",
    pynvml.NVML_ERROR_NOT_FOUND: "it is gone; it comes back with a reset, a reboot or the MIG layout it was part of",
    pynvml.NVML_ERROR_DRIVER_NOT_LOADED: "the NVIDIA driver is not loaded; load it with `modprobe nvidia` or reboot",
    pynvml.NVML_ERROR_GPU_IS_LOST: "it has fallen off the bus; reset it with `nvidia-smi --gpu-reset` or reboot",
    pynvml.NVML_ERROR_RESET_REQUIRED: "it needs a reset; use `nvidia-smi --gpu-reset` or reboot",
    pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH: (
        "the NVIDIA driver was upgraded under the running one; reboot or reload the nvidia kernel modules"
    ),
    pynvml.NVML_ERROR_UNKNOWN: (
        "the NVIDIA driver answers with an unknown error, as in a container that has lost its devices; "
        "run `nvidia-smi` and restart the container or the box"
    ),
}

_NOT_CUT = "MIG is on and no instance exists; create some with `nvidia-smi mig -cgi ... -C` or turn MIG off"

# Errors of any figure that tell of the device, not of the figure.
_DEAD = frozenset(
    {
        pynvml.NVML_ERROR_UNINITIALIZED,
        pynvml.NVML_ERROR_DRIVER_NOT_LOADED,
        pynvml.NVML_ERROR_GPU_IS_LOST,
        pynvml.NVML_ERROR_RESET_REQUIRED,
        pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH,
        pynvml.NVML_ERROR_GPU_NOT_FOUND,
    }
)

# Some cards answer like this for temperature or power and train well all the same. Memory is told by every card that
# has some of its own, so here it means that the device is out of reach: taken from the container, or its MIG instance
# destroyed.
_DEAD_FOR_MEMORY = _DEAD | {
    pynvml.NVML_ERROR_INVALID_ARGUMENT,
    pynvml.NVML_ERROR_NO_PERMISSION,
    pynvml.NVML_ERROR_NOT_FOUND,
    pynvml.NVML_ERROR_UNKNOWN,
}

# Errors that a new session with the driver may cure.
_SESSION_BROKEN = frozenset(
    {
        pynvml.NVML_ERROR_UNINITIALIZED,
        pynvml.NVML_ERROR_DRIVER_NOT_LOADED,
        pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH,
        pynvml.NVML_ERROR_UNKNOWN,
    }
)


def _reason(error: NVMLError) -> str:
    return _REASONS.get(error.value, f"NVML reports error {error.value} ({error}); see `nvidia-smi` and the kernel log")


def _fault(error: NVMLError) -> str:
    reason = _reason(error)
    return f"{reason[0].upper()}{reason[1:]}."


def _unusable(reason: str) -> ConfigurationError:
    return ConfigurationError(f"No NVIDIA device can be used: {reason}, or train on the CPU with --devices cpu.")


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value  # older bindings return bytes


def hides_all(visible: str | None) -> bool:
    """Whether a value of CUDA_VISIBLE_DEVICES, None if unset, is one of the usual ways to say "no GPU"."""
    return visible is not None and visible.strip() in ("", "-1")


@dataclass(frozen=True, slots=True)
class _Found:
    device: Device
    handle: _Handle


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

    def __init__(self, visible: str | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._visible = visible
        self._only: frozenset[str] | None = None  # UUIDs; None = not narrowed down so far
        self._clock = clock
        self._devices: dict[str, Device] = {}
        self._handles: dict[str, _Handle] = {}
        self._opened_at: float | None = None  # None = there is no session

    def discover(self) -> Sequence[Device]:
        """The usable devices that are there now; none where no NVIDIA library is installed.

        Opens the driver anew, so that a device that was reset or plugged in since is seen. A GPU that doesn't answer is
        left out with a warning in the log.

        Raises:
            ConfigurationError: the library is there but can't be used, or nothing matches `visible`.
        """
        if hides_all(self._visible):
            return ()
        self._close_session()
        try:
            self._open_session()
            found = _find_all()
        except NVMLError as error:
            if error.value == pynvml.NVML_ERROR_LIBRARY_NOT_FOUND:
                return ()
            raise _unusable(_reason(error)) from error
        usable = self._allowed(found)
        self._handles = {each.device.uuid: each.handle for each in usable}
        self._devices |= {each.device.uuid: each.device for each in usable}
        return tuple(each.device for each in usable)

    def keep(self, uuids: Collection[str]) -> None:
        """Forget all other devices; they are neither discovered nor read from now on."""
        self._only = frozenset(uuids)
        self._devices = {uuid: device for uuid, device in self._devices.items() if uuid in self._only}

    def sample(self) -> Mapping[str, Sample]:
        """A reading of every device discovered so far, by UUID; a faulty one is looked up anew each time."""
        if not self._devices:
            return {}
        try:
            self._open_session()
        except NVMLError as error:
            return dict.fromkeys(self._devices, Sample(fault=_fault(error)))
        readings = {uuid: self._read(uuid) for uuid in self._devices}
        if any(error.value in _SESSION_BROKEN for error in readings.values() if isinstance(error, NVMLError)):
            self._close_session_if_old()
        return {
            uuid: Sample(fault=_fault(reading)) if isinstance(reading, NVMLError) else reading
            for uuid, reading in readings.items()
        }

    def close(self) -> None:
        """Let go of the driver and forget the devices; a second call does nothing."""
        self._close_session()
        self._devices.clear()

    def _allowed(self, found: list[_Found]) -> list[_Found]:
        if self._only is None and self._visible is not None:
            # Once and for all: indices may mean other devices when one has vanished.
            self._only = frozenset(device.uuid for device in _visible_among([e.device for e in found], self._visible))
        return [each for each in found if self._only is None or each.device.uuid in self._only]

    def _read(self, uuid: str) -> Sample | NVMLError:
        try:
            if uuid not in self._handles:
                self._handles[uuid] = pynvml.nvmlDeviceGetHandleByUUID(uuid)
            return _sample(self._handles[uuid])
        except NVMLError as error:
            self._handles.pop(uuid, None)
            return error

    def _open_session(self) -> None:
        if self._opened_at is None:
            pynvml.nvmlInit()
            self._opened_at = self._clock()

    def _close_session(self) -> None:
        if self._opened_at is None:
            return
        self._opened_at = None
        self._handles.clear()
        try:
            pynvml.nvmlShutdown()
        except NVMLError as error:  # a broken session is what we wanted to be rid of
            _LOG.debug("closing NVML: %s", error)

    def _close_session_if_old(self) -> None:
        if self._opened_at is not None and self._clock() - self._opened_at >= _REOPEN_AFTER_S:
            self._close_session()


# ---- finding devices ----


def _find_all() -> list[_Found]:
    """Every device that answers, GPUs first, then MIG instances, indices rising."""
    gpus: list[_Found] = []
    instances: list[_Found] = []
    problems: list[str] = []
    count = pynvml.nvmlDeviceGetCount()
    for index in range(count):
        try:
            handle = pynvml.nvmlDeviceGetHandleByIndex(index)
            if _is_cut(handle):
                instances += _find_instances(handle, count + len(instances))
            else:
                gpus.append(_describe(handle, index))
        except NVMLError as error:
            _LOG.warning("NVIDIA device %d is left out: %s.", index, _reason(error))
            problems.append(_reason(error))
    if count and not gpus and not instances:
        raise _unusable(problems[0] if problems else _NOT_CUT)
    return gpus + instances


def _describe(handle: _Handle, index: int) -> _Found:
    uuid = _text(pynvml.nvmlDeviceGetUUID(handle))
    name = _figure(pynvml.nvmlDeviceGetName, handle)
    # Without the PCI order, CUDA would number by speed, and whatever a trial prints would not fit nvidia-smi.
    environment = {"CUDA_VISIBLE_DEVICES": uuid, "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
    device = Device(uuid, index, _text(name or "NVIDIA device"), DeviceKind.NVIDIA, environment)
    return _Found(device, handle)


def _is_cut(handle: _Handle) -> bool:
    """Whether MIG is on. Cards and drivers that don't know it say NOT_SUPPORTED or lack the function."""
    mode = _figure(pynvml.nvmlDeviceGetMigMode, handle)
    return mode is not None and mode[0] == pynvml.NVML_DEVICE_MIG_ENABLE


def _find_instances(gpu: _Handle, first_index: int) -> list[_Found]:
    found: list[_Found] = []
    for place in range(pynvml.nvmlDeviceGetMaxMigDeviceCount(gpu)):
        try:
            handle = pynvml.nvmlDeviceGetMigDeviceHandleByIndex(gpu, place)
        except NVMLError as error:
            if error.value == pynvml.NVML_ERROR_NOT_FOUND:  # an empty place; there may be more behind it
                continue
            raise
        found.append(_describe(handle, first_index + len(found)))
    return found


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
        return device.index == int(entry) and not device.uuid.startswith("MIG-")
    return entry != "" and device.uuid.startswith(entry)


# ---- reading one device ----


def _figure(read: Callable[..., Any], handle: _Handle, *more: object, fatal: frozenset[int] = _DEAD) -> Any:
    """What `read` returns, or None where this card, driver or user can't have it; raises only for `fatal` errors."""
    try:
        return read(handle, *more)
    except NVMLError as error:
        if error.value in fatal:
            raise
        return None


def _sample(handle: _Handle) -> Sample:
    memory = _memory(handle)
    rates = _figure(pynvml.nvmlDeviceGetUtilizationRates, handle)
    celsius = _figure(pynvml.nvmlDeviceGetTemperature, handle, pynvml.NVML_TEMPERATURE_GPU)
    milliwatts = _figure(pynvml.nvmlDeviceGetPowerUsage, handle)
    return Sample(
        memory_used_mib=None if memory is None else memory.used / _MIB,
        memory_total_mib=None if memory is None else memory.total / _MIB,
        utilisation_percent=None if rates is None else float(rates.gpu),
        temperature_c=None if celsius is None else float(celsius),
        power_w=None if milliwatts is None else milliwatts / 1000,
        processes=_processes(handle),
    )


def _memory(handle: _Handle) -> Any:
    # Version 1 counts what the driver keeps for itself as used, some hundred MiB on an idle device.
    memory = _figure(pynvml.nvmlDeviceGetMemoryInfo, handle, pynvml.nvmlMemory_v2)
    if memory is None:
        memory = _figure(pynvml.nvmlDeviceGetMemoryInfo, handle, fatal=_DEAD_FOR_MEMORY)
    return memory


def _processes(handle: _Handle) -> tuple[DeviceProcess, ...]:
    """Who uses the device, by rising pid. One that computes and draws stands in both lists, with the same memory."""
    computing = _list(
        handle, pynvml.nvmlDeviceGetComputeRunningProcesses_v3, pynvml.nvmlDeviceGetComputeRunningProcesses_v2
    )
    drawing = _list(
        handle, pynvml.nvmlDeviceGetGraphicsRunningProcesses_v3, pynvml.nvmlDeviceGetGraphicsRunningProcesses_v2
    )
    used = {entry.pid: (entry.usedGpuMemory, False) for entry in drawing}
    used |= {entry.pid: (entry.usedGpuMemory, True) for entry in computing}
    return tuple(
        DeviceProcess(pid, None if memory is None else memory / _MIB, is_compute)
        for pid, (memory, is_compute) in sorted(used.items())
    )


def _list(handle: _Handle, *versions: Callable[[_Handle], list[Any]]) -> list[Any]:
    """The answer of the first version that the driver has: before 510 there was only the second one."""
    for version in versions:
        listed = _figure(version, handle)
        if listed is not None:
            return list(listed)
    return []
