"""What tests of several rooms share."""

import faulthandler
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path

import pytest
from _pytest.faulthandler import fault_handler_stderr_fd_key
from hypothesis import HealthCheck, settings

# Tests are no packages (importlib mode); from here on they import each other's helpers as `tests.contracts.…`.
sys.path.append(str(Path(__file__).parent.parent))
pytest.register_assert_rewrite("tests.contracts")
# Debian puts mosquitto where only root's PATH leads.
os.environ["PATH"] = os.environ.get("PATH", os.defpath) + os.pathsep + "/usr/sbin"

from tests.nvml.driver import FakeDriver, build_library, gpus  # noqa: E402 - needs the path above
from tests.systemd.machine import unable  # noqa: E402 - needs the path above

# `make test` draws the same few examples every time, so that it fails only for what was changed; `make fuzz` draws new
# ones, many. What a search finds is added to its test as an @example.
_SEARCH = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow, HealthCheck.data_too_large]}
settings.register_profile("fixed", settings(max_examples=60, derandomize=True, database=None), **_SEARCH)
settings.register_profile("fuzz", settings(max_examples=3_000, print_blob=True), **_SEARCH)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "fixed"))


def _lacks(*programs: str) -> str | None:
    missing = [program for program in programs if shutil.which(program) is None]
    return f"not installed: {', '.join(missing)}" if missing else None


# What is missing for tests of a marker, or None.
_MISSING: Mapping[str, Callable[[], str | None]] = {
    "gcc": lambda: _lacks("gcc"),
    "gpu": lambda: None if Path("/dev/nvidiactl").exists() else "no NVIDIA GPU here",
    "systemd_analyze": lambda: _lacks("systemd-analyze"),
    "mosquitto": lambda: _lacks("mosquitto", "mosquitto_sub"),
    "systemd": unable,
    "tensorflow": lambda: None if find_spec("tensorflow") else "TensorFlow is not installed",
}
# Where this is set (CI), a machine that lacks what can be installed fails instead of passing with less. No GPU can be.
_REQUIRED = os.environ.get("CNNBO_REQUIRE_EXTRAS") == "1"


_LAST_WORDS_S = 60
"""For all that comes after a failure: the ends of fixtures, event loops and threads."""


@pytest.hookimpl(tryfirst=True)  # before the fixtures, which need what is looked for here
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a test whose marker names something this machine lacks, with the reason."""
    for marker, missing in _MISSING.items():
        if item.get_closest_marker(marker) is None or (reason := missing()) is None:
            continue
        if _REQUIRED and marker != "gpu":
            pytest.fail(f"{reason}, and CNNBO_REQUIRE_EXTRAS=1 asks for it", pytrace=False)
        pytest.skip(reason)


@pytest.hookimpl(trylast=True)
def pytest_exception_interact(node: pytest.Item | pytest.Collector) -> None:
    """Set the limit of `faulthandler_timeout` again, which pytest takes away from a test that failed.

    One that failed because a thread of it hangs would wait for that thread for ever: Python does, at the end of a loop.
    """
    if isinstance(node, pytest.Item):  # after a module that can't be imported nobody would take the limit away again
        stderr = node.config.stash[fault_handler_stderr_fd_key]
        faulthandler.dump_traceback_later(_LAST_WORDS_S, file=stderr, exit=True)


@pytest.fixture(scope="session")
def nvml_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with our stand-in for NVIDIA's driver library; mark what uses it with `gcc`."""
    return build_library(tmp_path_factory.mktemp("nvml")).parent


@pytest.fixture
def fake_driver(nvml_library: Path, tmp_path: Path) -> FakeDriver:
    """A driver with three GPUs, for child processes: `env={**os.environ, **fake_driver.env()}`; mark with `gcc`."""
    return FakeDriver(nvml_library, tmp_path / "nvml-state", gpus(3))


WAITING = "import sys; print(flush=True); sys.stdin.read()"
"""A program that says when it runs, and ends with its input."""


@pytest.fixture
def stranger() -> Iterator[int]:
    """Pid of a process of somebody else's tree: who started it is gone, so it isn't below this process."""
    leave = (
        f"import subprocess, sys; p = subprocess.Popen([sys.executable, '-c', {WAITING!r}]); print(p.pid, flush=True)"
    )
    with subprocess.Popen([sys.executable, "-c", leave], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        said = [parent.stdout.readline(), parent.stdout.readline()]
        parent.wait()
        yield int(b"".join(said))
