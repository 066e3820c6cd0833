"""The stand-in for NVIDIA's library, inside the test process."""

import ctypes
import os
from collections.abc import Callable
from pathlib import Path

import pynvml
import pytest
from tests.nvml.driver import FakeDriver, build_library, gpus

Meet = Callable[[FakeDriver, Path], None]


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
    load(driver, plain_libraries["new"])
    return driver


@pytest.fixture
def old_driver(plain_libraries: dict[str, Path], load: Meet, tmp_path: Path) -> FakeDriver:
    """The same three GPUs under a driver that lacks newer functions."""
    driver = FakeDriver(plain_libraries["old"].parent, tmp_path / "state", gpus(3))
    load(driver, plain_libraries["old"])
    return driver
