"""From what people write (`--devices 0,1`, `cnnbo drain gpu0`) to devices."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from cnnbo.daemon.devices.base import Device, DeviceBackend, DeviceKind
from cnnbo.daemon.devices.cpu import CpuBackend
from cnnbo.daemon.devices.nvml import NvmlBackend, hides_all
from cnnbo.daemon.devices.presence import gpus_without_devices, runs_slurmd
from cnnbo.scheduler.errors import ConfigurationError, NotReadyError

# `GPU-` is left out by many who copy a UUID; below this a stray index could pass for a piece of a UUID.
_SHORTEST_BARE_PREFIX = 4


@dataclass(frozen=True, slots=True)
class Selection:
    """The devices that trials may run on.

    Attributes:
        backend: finds and reads exactly these devices; has discovered them already, to be closed by the caller.
        devices: what was chosen, by rising index, at least one.
        note: one line for the user that names them, with UUIDs, and says why the CPU was taken if it was.
    """

    backend: DeviceBackend
    devices: tuple[Device, ...]
    note: str


def open_devices(
    wanted: str,
    environ: Mapping[str, str] = os.environ,
    find_gpus: Callable[[], Sequence[str]] = gpus_without_devices,
    is_slurms: Callable[[], bool] = runs_slurmd,
) -> Selection:
    """Find the devices that `--devices` asks for.

    - `auto`: every NVIDIA device; where there is none, the CPU as one slot with all cores. One, because a single trial
      at full speed teaches the next proposal more than several slow ones side by side, and needs less memory.
    - `cpu`, `cpu:N`: the CPU as one slot, or cut into N.
    - otherwise NVIDIA devices separated by commas, each in one of the forms that `find_device` knows.

    `CUDA_VISIBLE_DEVICES` in `environ` limits the NVIDIA devices there are to choose from. Empty or `-1`, it means that
    none may be used, and `auto` takes the CPU. Inside a Slurm job only the devices of its allocation are there; outside
    of one there are none where Slurm gives them out.

    Args:
        wanted: what stands behind `--devices`.
        environ: the environment.
        find_gpus: where the driver offers nothing, the PCI addresses of the GPUs that are there all the same.
        is_slurms: whether Slurm gives out the devices of this box.

    Raises:
        ConfigurationError: the text can't be read, a device in it doesn't exist, or there are NVIDIA devices and they
            can't be used, or are Slurm's to give; the CPU is never taken in their place.
        NotReadyError: there are NVIDIA devices, and the driver doesn't offer them now.
    """
    wanted = wanted.strip()
    if wanted == "cpu" or wanted.startswith("cpu:"):
        return _open_cpu(_slots(wanted), "Trials run on the CPU")
    limit = _limit(environ)
    backend = NvmlBackend(limit.visible)
    try:
        found = tuple(backend.discover())
        if not found and not hides_all(limit.visible):
            _refuse_to_pass_over(find_gpus())
        if found and "SLURM_JOB_ID" not in environ and is_slurms():
            raise ConfigurationError(
                "Slurm gives out the GPUs of this box, and this is no job of its; run cnnbo inside one, like "
                "sbatch --gpus=1 --wrap 'cnnbo run study.toml', or train on the CPU with --devices cpu."
            )
        if wanted != "auto":
            return _open_chosen(wanted, backend, found, limit)
    except ConfigurationError:
        backend.close()
        raise
    if found:
        return _selected(backend, found, limit)
    backend.close()
    why = limit.reason if hides_all(limit.visible) else "No NVIDIA device was found"
    return _open_cpu(1, f"{why}, so trials run on the CPU")


def _refuse_to_pass_over(addresses: Sequence[str]) -> None:
    """Refuse to pass over GPUs of which no driver tells: a night on the CPU by mistake is worse than a sentence."""
    if addresses:
        raise NotReadyError(
            f"No NVIDIA device can be used: the driver offers none, and there is a GPU at PCI {', '.join(addresses)}; "
            "load or install NVIDIA's driver, or train on the CPU with --devices cpu."
        )


@dataclass(frozen=True, slots=True)
class _Limit:
    """Which NVIDIA devices may be used, in the form of CUDA_VISIBLE_DEVICES (None = all), and who says so."""

    visible: str | None
    reason: str = ""


def _limit(environ: Mapping[str, str]) -> _Limit:
    visible = environ.get("CUDA_VISIBLE_DEVICES")
    job = environ.get("SLURM_JOB_ID")
    if job:
        # Slurm sets CUDA_VISIBLE_DEVICES for a job that has GPUs, and leaves it out for one that has none.
        return _Limit(visible or "", f"Slurm job {job} has {f'the devices {visible}' if visible else 'no GPU'}")
    return _Limit(
        visible, f'CUDA_VISIBLE_DEVICES="{visible}" hides {"every GPU" if hides_all(visible) else "all others"}'
    )


def _selected(backend: NvmlBackend, devices: tuple[Device, ...], limit: _Limit) -> Selection:
    allocation = f" ({limit.reason})" if limit.reason.startswith("Slurm") else ""
    return Selection(backend, devices, " ".join([f"Trials run on {_list(devices)}{allocation}.", *backend.unreadable]))


def find_device(text: str, devices: Sequence[Device]) -> Device:
    """The one device that `text` means.

    Args:
        text: an index (`0`), `gpu0`, a UUID or a CPU slot's id (`cpu-0`), or a beginning that a single UUID has; `GPU-`
            may be left out when four or more characters follow. Upper and lower case are the same.
        devices: those to choose from.

    Raises:
        ConfigurationError: it means none of them, or several.
    """
    wanted = text.strip().lower()
    # In this order, so that `1` is never the beginning of a UUID and `cpu-1` never that of `cpu-10`.
    for means in (_has_index, _has_uuid, _begins_uuid):
        matching = [device for device in devices if means(device, wanted)]
        if len(matching) == 1:
            return matching[0]
        if matching:
            raise ConfigurationError(f"Device {text} could be {_list(matching)}; write more of the UUID.")
    there = f"there are {_list(devices)}" if devices else "there is none; --devices cpu trains on the CPU"
    raise ConfigurationError(f"Device {text} doesn't exist here; {there}.")


def label(device: Device) -> str:
    """What a device is called on screens: `gpu0`, or `cpu-0` for a CPU slot."""
    return device.uuid if device.kind is DeviceKind.CPU else f"gpu{device.index}"


def _slots(wanted: str) -> int:
    _, colon, count = wanted.partition(":")
    if not colon:
        return 1
    if not count.isdecimal() or int(count) < 1:
        raise ConfigurationError(f"--devices {wanted}: after cpu: stands the number of slots, from 1 on, as in cpu:2.")
    return int(count)


def _open_cpu(slots: int, why: str) -> Selection:
    backend = CpuBackend(slots)
    devices = tuple(backend.discover())
    shared = sum(len(device.cores) for device in devices) > len({core for device in devices for core in device.cores})
    remark = "; some share a core and slow each other down" if shared else ""
    return Selection(backend, devices, f"{why}: {_list(devices)}{remark}.")


def _open_chosen(wanted: str, backend: NvmlBackend, found: tuple[Device, ...], limit: _Limit) -> Selection:
    chosen: set[str] = set()
    problems: list[str] = []
    for text in wanted.split(","):
        try:
            chosen.add(find_device(text, found).uuid)
        except ConfigurationError as error:
            problems += error.problems
    if problems:
        why = "" if limit.visible is None else f" ({limit.reason})"
        raise ConfigurationError(
            [*(f"--devices {wanted}: {problem}{why}" for problem in problems), *backend.unreadable]
        )
    backend.keep(chosen)
    return _selected(backend, tuple(device for device in found if device.uuid in chosen), limit)


def _has_index(device: Device, text: str) -> bool:
    if device.kind is not DeviceKind.CPU:
        text = text.removeprefix("gpu")
    return text == str(device.index)


def _has_uuid(device: Device, text: str) -> bool:
    return device.uuid.lower() == text


def _begins_uuid(device: Device, text: str) -> bool:
    uuid = device.uuid.lower()
    maker, _, bare = uuid.partition("-")
    if text.startswith(f"{maker}-"):
        return uuid.startswith(text)
    return len(text) >= _SHORTEST_BARE_PREFIX and bare.startswith(text)


def _list(devices: Sequence[Device]) -> str:
    return ", ".join(_describe(device) for device in devices)


def _describe(device: Device) -> str:
    if device.kind is DeviceKind.CPU:
        noun = "core" if len(device.cores) == 1 else "cores"
        return f"{device.uuid} ({noun} {_ranges(device.cores)})"
    return f"{label(device)} {device.uuid} ({device.name})"


def _ranges(numbers: Sequence[int]) -> str:
    """Rising numbers as people write them.

    Example:
        >>> _ranges([0, 1, 2, 5])
        '0-2, 5'
    """
    # In a run of neighbours the number less its place is the same for all.
    runs = [[number for _, number in run] for _, run in groupby(enumerate(numbers), lambda pair: pair[1] - pair[0])]
    return ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)
