"""NVIDIA devices for machines without any: builds `fake_nvml.c` and changes what it reports under running programs.

What it can play, all of it live: devices that are lost, need a reset, come back, are plugged in and out or cut into
MIG instances; processes; heat and other reasons of low clocks; energy; memory errors; events; no driver, one that
doesn't fit the library, a slow one. An old driver, without newer functions, is a library of its own.
"""

import os
import subprocess
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import Any, Literal

_SOURCE = Path(__file__).parent / "fake_nvml.c"
_LIBRARY = "libnvidia-ml.so.1"

SINGLE_BIT_ECC, DOUBLE_BIT_ECC, XID, MIG_CHANGE, UNAVAILABLE, RECOVERY_ACTION = 0x1, 0x2, 0x8, 0x100, 0x4000, 0x8000
"""Types of events, NVML's bits."""

_ALL_INSTANCES = 0xFFFFFFFF
_EVENTS_KEPT = 64  # as many as the library reads


@dataclass(frozen=True, slots=True)
class FakeProcess:
    """A process on a device; memory in MiB, None = the driver doesn't say."""

    pid: int
    memory_mib: int | None = 500
    kind: Literal["compute", "graphics"] = "compute"


@dataclass(frozen=True, slots=True)
class FakeInstance:
    """A MIG instance; memory in MiB, and its numbers among the GPU's instances."""

    uuid: str
    gpu_instance: int = 1
    compute_instance: int = 0
    name: str = "NVIDIA A100-SXM4-40GB MIG 1g.5gb"
    memory_total_mib: int = 4864
    memory_used_mib: int = 12
    processes: tuple[FakeProcess, ...] = ()


@dataclass(frozen=True, slots=True)
class FakeGpu:
    """A GPU as its driver sees it.

    Attributes:
        memory_reserved_mib: what the driver keeps for itself.
        energy_mj: since the driver was loaded.
        ecc_errors: memory errors that could not be corrected.
        clocks_reasons: why its clocks are low, NVML's bits.
        event_types: the events it can tell of, NVML's bits.
        recovery_action: what the driver asks to do about it, NVML's number; 0 = nothing.
        errors: what fails, with which NVML code: `memory`, `utilisation`, `temperature`, `power`, `energy`, `ecc`,
            `clocks`, `fields`, `processes`, `mig`, `handle`, `index`, `uuid`, `name`, `pci`, `capability`,
            `events` (which ones there are), `register` (for events), or `device` for everything.
        instances: MIG instances, None = an empty place; MIG is on unless this is None.
        capability: compute capability, major and minor.
    """

    uuid: str
    name: str = "NVIDIA H100 80GB HBM3"
    bus: str = "00000000:17:00.0"
    memory_total_mib: int = 81559
    memory_reserved_mib: int = 600
    memory_used_mib: int = 4
    utilisation_percent: int = 0
    temperature_c: int = 35
    power_mw: int = 70_000
    energy_mj: int = 0
    ecc_errors: int = 0
    clocks_reasons: int = 0
    event_types: int = SINGLE_BIT_ECC | DOUBLE_BIT_ECC | XID | MIG_CHANGE | UNAVAILABLE | RECOVERY_ACTION
    recovery_action: int = 0
    processes: tuple[FakeProcess, ...] = ()
    errors: dict[str, int] = field(default_factory=dict)
    instances: tuple[FakeInstance | None, ...] | None = None
    capability: tuple[int, int] = (9, 0)


def gpus(number: int) -> list[FakeGpu]:
    """GPUs with UUIDs that begin `GPU-a0…`, `GPU-a1…` and so on."""
    return [
        FakeGpu(
            f"GPU-a{index}a{index}a{index}a{index}-1111-2222-3333-44444444444{index}", bus=f"00000000:{index:02x}:00.0"
        )
        for index in range(number)
    ]


def build_library(folder: Path, *, old_driver: bool = False, name: str = _LIBRARY) -> Path:
    """Compile the library into a folder; with `old_driver` it lacks what old drivers lack."""
    folder.mkdir(parents=True, exist_ok=True)
    options = ["-std=c11", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", f"-Wl,-soname,{name}"]
    variant = ["-DOLD_DRIVER"] if old_driver else []
    subprocess.run(["gcc", *options, *variant, "-o", str(folder / name), str(_SOURCE)], check=True)
    return folder / name


class FakeDriver:
    """An NVIDIA driver with GPUs that change at a word. Every method takes effect at the next call of the library.

    Args:
        library: the folder that holds `libnvidia-ml.so.1`.
        state: the file the library reads; written here.
        gpus: the GPUs at the start, by rising index.
    """

    def __init__(self, library: Path, state: Path, gpus: Sequence[FakeGpu] = ()) -> None:
        self._library = library
        self._state = state
        self._error = 0
        self._wait_error = 0
        self._slow_ms = 0
        self._cuda = 12080
        self._serials = count(1)
        self._events: deque[str] = deque(maxlen=_EVENTS_KEPT)
        self._gpus = {gpu.uuid: gpu for gpu in gpus}
        self._numbers = count(1)
        self._handles: dict[str, int] = {}
        self._write()

    def env(self) -> dict[str, str]:
        """Variables with which a new process meets this driver; add them to its environment."""
        path = os.pathsep.join(filter(None, [str(self._library), os.environ.get("LD_LIBRARY_PATH")]))
        return {"LD_LIBRARY_PATH": path, "CNNBO_FAKE_NVML": str(self._state)}

    def install(self, gpus: Sequence[FakeGpu]) -> None:
        """Replace all GPUs."""
        self._gpus = {gpu.uuid: gpu for gpu in gpus}
        self._write()

    def change(self, uuid: str, **fields: Any) -> None:
        """Change attributes of a GPU, named as in `FakeGpu`."""
        self._gpus[uuid] = replace(self._gpus[uuid], **fields)
        self._write()

    def lose(self, uuid: str) -> None:
        """Let a GPU fall off the bus: every call about it says that it is lost."""
        self.change(uuid, errors={"device": 15})

    def occupy(self, uuid: str, *processes: FakeProcess) -> None:
        """Put these processes on a GPU, and no others."""
        self.change(uuid, processes=processes)

    def restore(self, uuid: str) -> None:
        """Bring a GPU back well, under a new handle, as after a reset: the old handles of it stay dead."""
        self._handles.pop(uuid, None)
        self.change(uuid, errors={})

    def fail(self, code: int) -> None:
        """Let every call fail with an NVML code, such as 9 (driver not loaded) or 18 (version mismatch); 0 ends it."""
        self._error = code
        self._write()

    def fail_waiting(self, code: int) -> None:
        """Let waiting for events fail with an NVML code, and nothing else; 0 ends it."""
        self._wait_error = code
        self._write()

    def slow_down(self, milliseconds: int) -> None:
        """Let every call take so much longer; 0 ends it."""
        self._slow_ms = milliseconds
        self._write()

    def serve_cuda(self, major: int, minor: int) -> None:
        """Let it be a driver that serves no later CUDA than this."""
        self._cuda = 1000 * major + 10 * minor
        self._write()

    def xid(
        self, uuid: str | None, number: int, gpu_instance: int | None = None, compute_instance: int | None = None
    ) -> None:
        """Report an XID of a GPU to those who wait for events.

        Args:
            uuid: the GPU; None = one whose UUID can't be read any more.
            number: NVIDIA's number.
            gpu_instance: the GPU instance it is about; None = all.
            compute_instance: the compute instance in it; None = all.
        """
        self.event(uuid, XID, number, gpu_instance, compute_instance)

    def double_bit_ecc(self, uuid: str) -> None:
        """Report a memory error that could not be corrected, and count it."""
        self._gpus[uuid] = replace(self._gpus[uuid], ecc_errors=self._gpus[uuid].ecc_errors + 1)
        self.event(uuid, DOUBLE_BIT_ECC)

    def event(
        self,
        uuid: str | None,
        kind: int,
        data: int = 0,
        gpu_instance: int | None = None,
        compute_instance: int | None = None,
    ) -> None:
        """Report an event of any type, NVML's bit; else as `xid`."""
        handle = 0 if uuid is None else self._handle(uuid)
        places = (_ALL_INSTANCES if place is None else place for place in (gpu_instance, compute_instance))
        self._events.append(" ".join(map(str, ("event", next(self._serials), handle, kind, data, *places))))
        self._write()

    def _write(self) -> None:
        lines = [f"error library {self._error}", f"error wait {self._wait_error}", f"slow {self._slow_ms}"]
        lines += ["driver 570.133.20", f"cuda {self._cuda}", *self._events]
        for gpu in self._gpus.values():
            lines += self._gpu_lines(gpu)
        unfinished = self._state.with_suffix(".new")
        unfinished.write_text("\n".join(lines) + "\n")
        unfinished.replace(self._state)  # a reader finds the old state or the new one, never half of one

    def _handle(self, uuid: str) -> int:
        if uuid not in self._handles:
            self._handles[uuid] = next(self._numbers)
        return self._handles[uuid]

    def _gpu_lines(self, gpu: FakeGpu) -> Iterator[str]:
        yield f"gpu {self._handle(gpu.uuid)} {gpu.uuid}"
        yield f"name {gpu.name}"
        yield f"bus {gpu.bus}"
        yield f"capability {gpu.capability[0]} {gpu.capability[1]}"
        yield f"memory {gpu.memory_total_mib} {gpu.memory_reserved_mib} {gpu.memory_used_mib}"
        yield f"utilisation {gpu.utilisation_percent}"
        yield f"temperature {gpu.temperature_c}"
        yield f"power {gpu.power_mw}"
        yield f"energy {gpu.energy_mj}"
        yield f"ecc {gpu.ecc_errors}"
        yield f"clocks {gpu.clocks_reasons}"
        yield f"events {gpu.event_types}"
        yield f"recovery {gpu.recovery_action}"
        yield f"mig {int(gpu.instances is not None)}"
        yield from _process_lines(gpu.processes)
        yield from (f"error {call} {code}" for call, code in gpu.errors.items())
        for instance in gpu.instances or ():
            yield from self._instance_lines(instance)

    def _instance_lines(self, instance: FakeInstance | None) -> Iterator[str]:
        if instance is None:
            yield "instance 0 - 0 0"
            return
        numbers = f"{instance.gpu_instance} {instance.compute_instance}"
        yield f"instance {self._handle(instance.uuid)} {instance.uuid} {numbers}"
        yield f"name {instance.name}"
        yield f"memory {instance.memory_total_mib} 0 {instance.memory_used_mib}"
        yield from _process_lines(instance.processes)


def _process_lines(processes: Sequence[FakeProcess]) -> Iterator[str]:
    for process in processes:
        yield f"process {process.kind} {process.pid} {-1 if process.memory_mib is None else process.memory_mib}"
