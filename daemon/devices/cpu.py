"""CPU slots: a machine without a GPU trains too, one process per slot."""

import os
import platform
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path

from cnnbo.daemon.devices.base import Device, DeviceKind, HealthEvent, Sample

_KIB_PER_MIB = 1024

# Each library sizes its thread pool by the whole machine unless told otherwise.
_THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "TF_NUM_INTRAOP_THREADS",
    "TF_NUM_INTEROP_THREADS",
)

_Ticks = tuple[int, int]  # of one core since boot: busy ones, all


class CpuBackend:
    """The CPU of this box cut into slots `cpu-0`, `cpu-1`, …; implements `DeviceBackend`.

    Slots get cores of their own, as evenly as it goes. When there are more slots than cores, slots share cores in turn:
    trials that wait for a disk or another machine gain by that, so it is allowed.

    Args:
        slots: how many trials run at a time, >= 1.
        cores: the cores to use; None = those that this process may run on.
        proc: where the kernel's figures are read.
    """

    has_events = False
    unreadable: Sequence[str] = ()

    def __init__(self, slots: int = 1, cores: Sequence[int] | None = None, proc: Path = Path("/proc")) -> None:
        self._slots = slots
        self._cores = tuple(sorted(os.sched_getaffinity(0))) if cores is None else tuple(cores)
        self._proc = proc
        self._devices: tuple[Device, ...] = ()
        self._ticks: Mapping[int, _Ticks] = {}

    def discover(self) -> Sequence[Device]:
        """All slots, the same at every call."""
        name = processor_name(self._proc)
        shares = share_cores(self._cores, self._slots)
        self._devices = tuple(_slot(index, name, cores) for index, cores in enumerate(shares))
        self._ticks = _read_ticks(self._proc)
        return self._devices

    def sample(self) -> Mapping[str, Sample]:
        """A reading of every slot: memory of the whole machine, and how busy its cores were since the last reading."""
        before, self._ticks = self._ticks, _read_ticks(self._proc)
        used, total = _read_memory(self._proc)
        return {
            device.uuid: Sample(
                memory_used_mib=used,
                memory_total_mib=total,
                utilisation_percent=_utilisation(device.cores, before, self._ticks),
            )
            for device in self._devices
        }

    def wait_for_events(self, timeout_s: float) -> Sequence[HealthEvent]:
        """Nothing: the kernel reports no faults of single cores."""
        return ()

    def close(self) -> None:
        """Forget the slots."""
        self._devices = ()


def share_cores(cores: Sequence[int], slots: int) -> list[tuple[int, ...]]:
    """The cores of each slot: neighbours, counts differing by at most one; one each, in turn, when there are too few.

    Example:
        >>> share_cores([0, 1, 2, 3, 4], 2)
        [(0, 1, 2), (3, 4)]
        >>> share_cores([0, 1], 3)
        [(0,), (1,), (0,)]
    """
    if slots >= len(cores):
        return [(cores[slot % len(cores)],) for slot in range(slots)]
    size, larger = divmod(len(cores), slots)
    starts = [slot * size + min(slot, larger) for slot in range(slots + 1)]
    return [tuple(cores[start:end]) for start, end in pairwise(starts)]


def _slot(index: int, name: str, cores: tuple[int, ...]) -> Device:
    # An empty value hides every GPU; a missing one would let the trial take them all.
    environment = {"CUDA_VISIBLE_DEVICES": ""} | dict.fromkeys(_THREAD_VARIABLES, str(len(cores)))
    return Device(f"cpu-{index}", index, name, DeviceKind.CPU, environment, cores)


# ---- the kernel's figures; what can't be read is None, as some containers hide or renumber it ----


def _read_lines(path: Path) -> list[str]:
    try:
        return path.read_text(errors="replace").splitlines()
    except OSError:
        return []


def processor_name(proc: Path = Path("/proc")) -> str:
    """What the processor calls itself, or its kind where the kernel doesn't say."""
    for line in _read_lines(proc / "cpuinfo"):
        key, _, value = line.partition(":")
        if key.strip() == "model name":
            return value.strip()
    return f"CPU ({platform.machine()})"  # ARM kernels name no model


def _read_ticks(proc: Path) -> dict[int, _Ticks]:
    ticks = {}
    for line in _read_lines(proc / "stat"):
        word, _, figures = line.partition(" ")
        if word.startswith("cpu") and word[3:].isdecimal():
            # user nice system idle iowait irq softirq steal; the guest figures behind them are in user and nice already
            counted = [int(figure) for figure in figures.split()[:8]]
            ticks[int(word[3:])] = (sum(counted) - sum(counted[3:5]), sum(counted))
    return ticks


def _utilisation(cores: Sequence[int], before: Mapping[int, _Ticks], now: Mapping[int, _Ticks]) -> float | None:
    known = [core for core in cores if core in before and core in now]
    busy = sum(now[core][0] - before[core][0] for core in known)
    passed = sum(now[core][1] - before[core][1] for core in known)
    if passed <= 0:
        return None
    return min(100.0, max(0.0, 100.0 * busy / passed))  # the kernel's counters may step back by a tick


def _read_memory(proc: Path) -> tuple[float | None, float | None]:
    """Used and total MiB; what the kernel could free at once doesn't count as used."""
    figures = {}
    for line in _read_lines(proc / "meminfo"):
        key, _, value = line.partition(":")
        if key in ("MemTotal", "MemAvailable"):
            figures[key] = int(value.split()[0]) / _KIB_PER_MIB
    total, available = figures.get("MemTotal"), figures.get("MemAvailable")
    return (None if total is None or available is None else total - available), total
