"""A booted box with cnnbo installed as people install it: the built wheel in an environment below /opt."""

import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.systemd.machine import CNNBO, PYTHON, Machine, take_own_mounts

ROOT = Path(__file__).parent.parent.parent
STATE = "/var/lib/cnnbo"
NEXT_VERSION = "99.0.0"

SCRIPT = """\
import argparse, json, os, pathlib, signal, sys, time

here = json.loads(pathlib.Path(os.environ["CNNBO_TRIAL"]).read_text())
checkpoint = pathlib.Path(here["checkpoint_dir"]) / "step"


def stop(*_):
    checkpoint.write_text(str(step))
    sys.exit(1)


signal.signal(signal.SIGTERM, stop)
parser = argparse.ArgumentParser()
parser.add_argument("--x", type=float)
x = parser.parse_args().x
first = int(checkpoint.read_text()) if checkpoint.exists() else 0
for step in range(first, 10):
    print(f"at step {step}", flush=True)
    time.sleep(0.2)
    while step == 5 and pathlib.Path("gate").exists():
        time.sleep(0.05)
print(f"began at {first}")
print(f"val_acc: {1 - (x - 0.3) ** 2:.6f}", flush=True)
"""
"""A training of two seconds that goes on from its checkpoint; at step 5 it waits while there is a gate."""

STUDY = """\
name = "NAME"
command = ["python", "-S", "train.py", "{args}"]
evaluations = EVALUATIONS
optimizer = "sobol"
metric = "val_acc"
[report]
pattern = "val_acc: ([0-9.]+)"
[space]
x = { type = "float", low = 0, high = 1 }
[trial]
python = "/usr/bin/python3"
"""


def built_wheel(folder: Path, version: str | None = None) -> Path:
    """The wheel of the working tree, or of the same under another version."""
    tree = folder / "tree"
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    for name in listed.stdout.split("\0"):
        if name and (ROOT / name).exists():
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, tree / name, follow_symlinks=False)
    if version is not None:
        for name, key in (("src/cnnbo/__init__.py", "__version__"), ("pyproject.toml", "version")):
            text = (tree / name).read_text()
            (tree / name).write_text(re.sub(f'^{key} = "[^"]*"', f'{key} = "{version}"', text, flags=re.MULTILINE))
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index",
         "--wheel-dir", folder, tree],
        check=True,
    )  # fmt: skip
    [wheel] = folder.glob("*.whl")
    return wheel


def install_wheel(machine: Machine, wheel: Path) -> None:
    """What `pip install --upgrade` does, without a network."""
    inside = machine.root / "srv" / wheel.name
    shutil.copy(wheel, inside)
    machine.run(
        *(PYTHON, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--ignore-installed"),
        *("--root-user-action=ignore", "--disable-pip-version-check", f"/srv/{wheel.name}"),
    )


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built_wheel(tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="session")
def next_wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built_wheel(tmp_path_factory.mktemp("next-wheel"), NEXT_VERSION)


@pytest.fixture(scope="session")
def booted(wheel: Path) -> Iterator[Machine]:
    """The box, with cnnbo's environment, the users alice and bob, and a folder of studies; no service yet."""
    take_own_mounts()
    # Not pytest's own folder: it is emptied by rm, which must never walk into a mount that stayed.
    scratch = Path(tempfile.mkdtemp(prefix="cnnbo-box-"))
    try:
        with Machine(scratch) as machine:
            machine.run("ldconfig")
            version = f"{sys.version_info.major}.{sys.version_info.minor}"
            machine.run(f"/opt/python/bin/python{version}", "-m", "venv", "--without-pip", "/opt/cnnbo")
            packages = machine.root / f"opt/cnnbo/lib/python{version}/site-packages"
            (packages / "rest.pth").write_text("/opt/site-packages\n")
            install_wheel(machine, wheel)
            for user in ("alice", "bob"):
                machine.run("useradd", "--create-home", user)
            (machine.root / "srv/study").mkdir()
            (machine.root / "srv/study/train.py").write_text(SCRIPT)
            yield machine
    finally:
        scratch.rmdir()


@pytest.fixture
def machine(booted: Machine) -> Iterator[Machine]:
    """The box, and afterwards no service, whatever became of it."""
    yield booted
    booted.run(CNNBO, "service", "uninstall", "--purge", "-y")


@pytest.fixture
def service(machine: Machine) -> Machine:
    """The box with the service, ready."""
    machine.run(CNNBO, "service", "install", "--now")
    return machine


def submit(machine: Machine, name: str, evaluations: int = 4) -> None:
    """Hand a study to the service, as root does it."""
    text = STUDY.replace("NAME", name).replace("EVALUATIONS", str(evaluations))
    (machine.root / f"srv/study/{name}.toml").write_text(text)
    machine.run("sh", "-c", f"cd /srv/study && exec {CNNBO} submit {name}.toml --state {STATE}")


def trials(machine: Machine, name: str) -> list[dict[str, Any]]:
    """What became of a study's trials so far."""
    return list(machine.json("show", name, "--state", STATE)["trials"])


def finish(machine: Machine, name: str) -> list[dict[str, Any]]:
    """Wait for the end of a study; its trials."""
    over = ("finished", "failed")
    machine.until(f"{name} is over", lambda: machine.json("show", name, "--state", STATE)["state"] in over)
    return trials(machine, name)


def running(machine: Machine, name: str) -> int:
    """How many of a study's trials run."""
    return sum(trial["state"] == "running" for trial in trials(machine, name))


def is_at_the_gate(machine: Machine, name: str) -> bool:
    """Whether a trial has come to step 5."""
    logs = (machine.root / STATE.lstrip("/") / "studies" / name / "trials").glob("*/*/log")
    return any("at step 5" in log.read_text() for log in logs)


def printed(machine: Machine, name: str, trial: int) -> str:
    """What a trial printed."""
    return machine.run(CNNBO, "logs", name, str(trial), "--state", STATE).stdout
