"""NVIDIA devices for machines without any: builds `fake_nvml.c` and changes what it reports under running programs."""

import os
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import Any, Literal

_SOURCE = Path(__file__).parent / "fake_nvml.c"
_LIBRARY = "libnvidia-ml.so.1"


@dataclass(frozen=True, slots=True)
class FakeProcess:
    """A process on a device; memory in MiB, None = the driver doesn't say."""

    pid: int
    memory_mib: int | None = 500
    kind: Literal["compute", "graphics"] = "compute"


@dataclass(frozen=True, slots=True)
class FakeInstance:
    """A MIG instance; memory in MiB."""

    uuid: str
    name: str = "NVIDIA A100-SXM4-40GB MIG 1g.5gb"
    memory_total_mib: int = 4864
    memory_used_mib: int = 12
    processes: tuple[FakeProcess, ...] = ()


@dataclass(frozen=True, slots=True)
class FakeGpu:
    """A GPU as its driver sees it.

    Attributes:
        memory_reserved_mib: what the driver keeps for itself.
        errors: what fails, with which NVML code: `memory`, `utilisation`, `temperature`, `power`, `processes`, `mig`,
            `handle`, `uuid`, `name`, `pci`, or `device` for everything.
        instances: MIG instances, None = an empty place; MIG is on unless this is None.
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
    processes: tuple[FakeProcess, ...] = ()
    errors: dict[str, int] = field(default_factory=dict)
    instances: tuple[FakeInstance | None, ...] | None = None


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

    def _write(self) -> None:
        lines = [f"error library {self._error}", "driver 570.133.20"]
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
        yield f"memory {gpu.memory_total_mib} {gpu.memory_reserved_mib} {gpu.memory_used_mib}"
        yield f"utilisation {gpu.utilisation_percent}"
        yield f"temperature {gpu.temperature_c}"
        yield f"power {gpu.power_mw}"
        yield f"mig {int(gpu.instances is not None)}"
        yield from _process_lines(gpu.processes)
        yield from (f"error {call} {code}" for call, code in gpu.errors.items())
        for instance in gpu.instances or ():
            yield from self._instance_lines(instance)

    def _instance_lines(self, instance: FakeInstance | None) -> Iterator[str]:
        if instance is None:
            yield "instance 0 -"
            return
        yield f"instance {self._handle(instance.uuid)} {instance.uuid}"
        yield f"name {instance.name}"
        yield f"memory {instance.memory_total_mib} 0 {instance.memory_used_mib}"
        yield from _process_lines(instance.processes)


def _process_lines(processes: Sequence[FakeProcess]) -> Iterator[str]:
    for process in processes:
        yield f"process {process.kind} {process.pid} {-1 if process.memory_mib is None else process.memory_mib}"
