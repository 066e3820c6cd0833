"""What NVML tells of one device, and what its errors mean."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pynvml
from pynvml import NVMLError

from cnnbo.daemon.devices.base import DeviceProcess, Sample

Handle = Any
"""An opaque pointer of the binding, which has no types."""

_MIB = 1024 * 1024

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

SESSION_BROKEN = frozenset(
    {
        pynvml.NVML_ERROR_UNINITIALIZED,
        pynvml.NVML_ERROR_DRIVER_NOT_LOADED,
        pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH,
        pynvml.NVML_ERROR_UNKNOWN,
    }
)
"""Errors that a new session with the driver may cure."""

# Errors that end with an operator's reset only. All others end when the driver answers again.
_BROKEN = frozenset({pynvml.NVML_ERROR_GPU_IS_LOST, pynvml.NVML_ERROR_RESET_REQUIRED})

_CUT = "MIG is on, so that programs run on its instances only; turn it off to use this GPU as a whole."

# Why clocks are low. Left out is what is no trouble: idleness, limits that somebody set, other devices' pace.
_SLOWDOWNS: Mapping[int, str] = {
    pynvml.nvmlClocksThrottleReasonHwThermalSlowdown: "it is far too hot (hardware thermal slowdown)",
    pynvml.nvmlClocksThrottleReasonSwThermalSlowdown: "it is too hot (software thermal slowdown)",
    pynvml.nvmlClocksThrottleReasonHwPowerBrakeSlowdown: "the power supply asks for it (hardware power brake)",
}
_SLOWDOWN_BY_HARDWARE = "heat, the power supply or a fast change of load (hardware slowdown)"


def reason(error: NVMLError) -> str:
    """What an error means and what to do about it: the middle of a sentence."""
    return _REASONS.get(error.value, f"NVML reports error {error.value} ({error}); see `nvidia-smi` and the kernel log")


def faulty(error: NVMLError) -> Sample:
    """The sample of a device that answers with an error."""
    why = reason(error)
    return Sample(fault=f"{why[0].upper()}{why[1:]}.", is_broken=error.value in _BROKEN)


def text(value: str | bytes) -> str:
    """What the binding returned; older ones return bytes."""
    return value.decode() if isinstance(value, bytes) else value


def figure(read: Callable[..., Any], handle: Handle, *more: object, fatal: frozenset[int] = _DEAD) -> Any:
    """What `read` returns, or None where this card, driver or user can't have it; raises only for `fatal` errors."""
    try:
        return read(handle, *more)
    except NVMLError as error:
        if error.value in fatal:
            raise
        return None


def is_cut(gpu: Handle) -> bool:
    """Whether MIG is on. Cards and drivers that don't know it say NOT_SUPPORTED or lack the function."""
    mode = figure(pynvml.nvmlDeviceGetMigMode, gpu, fatal=frozenset())
    return mode is not None and mode[0] == pynvml.NVML_DEVICE_MIG_ENABLE


def sample_gpu(gpu: Handle) -> Sample:
    """A reading of a whole GPU; it has a fault when MIG is on.

    Raises:
        NVMLError: it can't be used.
    """
    if is_cut(gpu):
        return Sample(fault=_CUT)
    millijoules = figure(pynvml.nvmlDeviceGetTotalEnergyConsumption, gpu)
    energy_j = None if millijoules is None else millijoules / 1000
    return replace(sample_instance(gpu), energy_j=energy_j, slowdown=_slowdown(gpu))


def sample_instance(instance: Handle) -> Sample:
    """A reading of a MIG instance: what is told of those, too.

    Raises:
        NVMLError: it can't be used.
    """
    memory = _memory(instance)
    rates = figure(pynvml.nvmlDeviceGetUtilizationRates, instance)
    celsius = figure(pynvml.nvmlDeviceGetTemperature, instance, pynvml.NVML_TEMPERATURE_GPU)
    milliwatts = figure(pynvml.nvmlDeviceGetPowerUsage, instance)
    return Sample(
        memory_used_mib=None if memory is None else memory.used / _MIB,
        memory_total_mib=None if memory is None else memory.total / _MIB,
        utilisation_percent=None if rates is None else float(rates.gpu),
        temperature_c=None if celsius is None else float(celsius),
        power_w=None if milliwatts is None else milliwatts / 1000,
        processes=_processes(instance),
    )


def _slowdown(gpu: Handle) -> str | None:
    bits = figure(pynvml.nvmlDeviceGetCurrentClocksEventReasons, gpu)
    if bits is None:  # before driver 535 it had another name
        bits = figure(pynvml.nvmlDeviceGetCurrentClocksThrottleReasons, gpu) or 0
    found = [why for bit, why in _SLOWDOWNS.items() if bits & bit]
    if not found and bits & pynvml.nvmlClocksThrottleReasonHwSlowdown:  # else it only repeats what is found
        found = [_SLOWDOWN_BY_HARDWARE]
    return f"It runs slower than it could: {', and '.join(found)}." if found else None


def _memory(handle: Handle) -> Any:
    # Version 1 counts what the driver keeps for itself as used, some hundred MiB on an idle device.
    memory = figure(pynvml.nvmlDeviceGetMemoryInfo, handle, pynvml.nvmlMemory_v2)
    if memory is None:
        memory = figure(pynvml.nvmlDeviceGetMemoryInfo, handle, fatal=_DEAD_FOR_MEMORY)
    return memory


def _processes(handle: Handle) -> tuple[DeviceProcess, ...]:
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


def _list(handle: Handle, *versions: Callable[[Handle], list[Any]]) -> list[Any]:
    """The answer of the first version that the driver has: before 510 there was only the second one."""
    for version in versions:
        listed = figure(version, handle)
        if listed is not None:
            return list(listed)
    return []
