"""What NVML tells of driver and cards beyond a reading: versions, what a card can compute, how it is cut."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pynvml
from pynvml import NVMLError

from cnnbo.daemon.devices.nvml_reading import Handle, figure, is_cut, reason, text
from cnnbo.scheduler.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class GpuFacts:
    """A whole GPU.

    Attributes:
        index: as nvidia-smi numbers it.
        uuid: None where it doesn't even tell that.
        name: the maker's name for it.
        capability: its compute capability; None where it isn't told.
        instances: UUIDs of its MIG instances; None = MIG is off.
    """

    index: int
    uuid: str | None
    name: str
    capability: tuple[int, int] | None
    instances: tuple[str, ...] | None


@dataclass(frozen=True, slots=True)
class DriverFacts:
    """A driver that answers.

    Attributes:
        version: of the driver.
        cuda: the newest CUDA that it serves; None where it isn't told.
        gpus: by rising index, those left out that can't be opened.
    """

    version: str
    cuda: tuple[int, int] | None
    gpus: tuple[GpuFacts, ...]


def library_version() -> str | None:
    """Version of NVIDIA's library, which tells it without a driver, too; None where there is none."""
    try:
        pynvml.nvmlInit()
    except NVMLError as error:
        if error.value == pynvml.NVML_ERROR_LIBRARY_NOT_FOUND:
            return None
    else:
        pynvml.nvmlShutdown()
    version = figure(lambda _: pynvml.nvmlSystemGetNVMLVersion(), None, fatal=frozenset())
    return None if version is None else text(version)


def read_driver() -> DriverFacts | None:
    """Ask the driver; None where no NVIDIA library is installed.

    Raises:
        ConfigurationError: the library is there and can't be used, with the remedy.
    """
    try:
        with _session():
            return _facts()
    except NVMLError as error:
        if error.value == pynvml.NVML_ERROR_LIBRARY_NOT_FOUND:
            return None
        raise ConfigurationError(f"{reason(error)}.") from error


@contextmanager
def _session() -> Iterator[None]:
    pynvml.nvmlInit()
    try:
        yield
    finally:
        pynvml.nvmlShutdown()


def _facts() -> DriverFacts:
    number = figure(lambda _: pynvml.nvmlSystemGetCudaDriverVersion(), None)
    cuda = None if number is None else (number // 1000, number % 1000 // 10)
    gpus = []
    for index in range(pynvml.nvmlDeviceGetCount()):
        handle = figure(pynvml.nvmlDeviceGetHandleByIndex, index, fatal=frozenset())
        if handle is not None:
            gpus.append(_gpu(handle, index))
    return DriverFacts(text(pynvml.nvmlSystemGetDriverVersion()), cuda, tuple(gpus))


def _gpu(handle: Handle, index: int) -> GpuFacts:
    uuid = figure(pynvml.nvmlDeviceGetUUID, handle, fatal=frozenset())
    name = figure(pynvml.nvmlDeviceGetName, handle, fatal=frozenset())
    capability = figure(pynvml.nvmlDeviceGetCudaComputeCapability, handle, fatal=frozenset())
    return GpuFacts(
        index,
        None if uuid is None else text(uuid),
        text(name or "NVIDIA device"),
        None if capability is None else (int(capability[0]), int(capability[1])),
        _instances(handle) if is_cut(handle) else None,
    )


def _instances(gpu: Handle) -> tuple[str, ...]:
    found = []
    for number in range(figure(pynvml.nvmlDeviceGetMaxMigDeviceCount, gpu, fatal=frozenset()) or 0):
        handle = figure(pynvml.nvmlDeviceGetMigDeviceHandleByIndex, gpu, number, fatal=frozenset())
        uuid = None if handle is None else figure(pynvml.nvmlDeviceGetUUID, handle, fatal=frozenset())
        if uuid is not None:
            found.append(text(uuid))
    return tuple(found)
