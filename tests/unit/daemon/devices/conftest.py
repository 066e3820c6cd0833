"""The stand-in for NVIDIA's library, inside the test process."""

import ctypes
import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pynvml
import pytest
from tests.nvml.driver import FakeDriver, build_library, gpus

from cnnbo.daemon.devices.nvml import NvmlBackend

Meet = Callable[[FakeDriver, Path], None]


class Clock:
    """Seconds that pass when a test says so."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


class Sessions:
    """What the loaded library tells of those who use it."""

    @property
    def number(self) -> int:
        """How many sessions are open."""
        return int(pynvml.nvmlLib.fake_sessions())

    @property
    def endings(self) -> int:
        """How often the last one was closed."""
        return int(pynvml.nvmlLib.fake_endings())

    def await_waiting(self) -> None:
        """Return when a thread waits for events."""
        deadline = time.monotonic() + 60
        while not pynvml.nvmlLib.fake_waiting():
            assert time.monotonic() < deadline
            time.sleep(0.005)  # the library offers no other way


@pytest.fixture(scope="session")
def plain_libraries(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The library as new and old drivers bring it, by `new` and `old`.

    Not under its own name: loaded under that, it would be found by every later load in this process, other tests' too.
    """
    folder = tmp_path_factory.mktemp("plain-nvml")
    return {
        "new": build_library(folder, name="new-driver.so"),
        "old": build_library(folder, name="old-driver.so", old_driver=True),
    }


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Meet:
    """Makes the binding of this process meet a driver in a library, as far as this test goes.

    The binding loads its library once per process, so it is handed the loaded library; all the rest is its real code.
    """

    def meet(driver: FakeDriver, library: Path) -> None:
        monkeypatch.setattr(pynvml, "nvmlLib", ctypes.CDLL(os.fspath(library)))
        monkeypatch.setattr(pynvml, "_nvmlGetFunctionPointer_cache", {})
        monkeypatch.setenv("CNNBO_FAKE_NVML", driver.env()["CNNBO_FAKE_NVML"])

    return meet


@pytest.fixture
def driver(plain_libraries: dict[str, Path], load: Meet, tmp_path: Path) -> FakeDriver:
    """A driver with three GPUs that this process meets."""
    driver = FakeDriver(plain_libraries["new"].parent, tmp_path / "state", gpus(3))
    # A copy has counters of its own, which what other tests left open doesn't count in.
    load(driver, Path(shutil.copy(plain_libraries["new"], tmp_path)))
    return driver


@pytest.fixture
def old_driver(plain_libraries: dict[str, Path], load: Meet, tmp_path: Path) -> FakeDriver:
    """The same three GPUs under a driver that lacks newer functions."""
    driver = FakeDriver(plain_libraries["old"].parent, tmp_path / "state", gpus(3))
    load(driver, plain_libraries["old"])
    return driver


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def sessions(driver: FakeDriver) -> Sessions:
    return Sessions()


@pytest.fixture
def backend(driver: FakeDriver, clock: Clock) -> Iterator[NvmlBackend]:
    """The three GPUs; the driver is opened anew, and its events waited for again, as this clock says."""
    backend = NvmlBackend(clock=clock)
    yield backend
    backend.close()
