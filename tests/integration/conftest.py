"""A command line with a state folder of its own, and studies whose trials take no time."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

CNNBO = Path(sys.executable).with_name("cnnbo")
PATIENCE_S = 60
LONG_PATIENCE_S = 100
"""For what a child says; less than a test may take, so that it is the child's silence that is told."""

SCRIPT = """\
import argparse, os, pathlib, sys, time
parser = argparse.ArgumentParser()
parser.add_argument("--x", type=float)
x = parser.parse_args().x
print("val_acc: 0.1")
print(f"val_acc: {1 - (x - 0.3) ** 2:.6f}", flush=True)
"""

STUDY = """\
name = "parabola"
command = ["python", "-S", "train.py", "{args}"]
evaluations = 4
optimizer = "sobol"
metric = "val_acc"
[report]
pattern = "val_acc: ([0-9.]+)"
[space]
x = { type = "float", low = 0, high = 1 }
[trial]
python = "PYTHON"
"""


@dataclass
class Box:
    """A folder with a study in it, and a command line that works there.

    Attributes:
        folder: working directory of all commands.
        environment: what is added to the environment.
    """

    folder: Path
    environment: dict[str, str] = field(default_factory=dict)
    children: list["subprocess.Popen[str]"] = field(default_factory=list)

    @property
    def state(self) -> Path:
        return self.folder / "state"

    def write_study(self, change: Callable[[str], str] = lambda text: text, script: str = SCRIPT) -> Path:
        """Write the study, changed by a function, and its script."""
        (self.folder / "train.py").write_text(script)
        path = self.folder / "study.toml"
        path.write_text(change(STUDY.replace("PYTHON", sys.executable)))
        return path

    def _environment(self) -> dict[str, str]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("CNNBO_", "CUDA_", "XDG_"))}
        leases = self.folder / "leases"
        leases.mkdir(exist_ok=True)
        # A lease folder of its own: tests run side by side, and cpu-0 is one device to the whole box.
        ours = {"CNNBO_STATE": str(self.state), "CNNBO_LEASE_DIR": str(leases), "CNNBO_CONFIG": os.devnull}
        return kept | ours | self.environment

    def run(self, *arguments: str | Path, code: int = 0, **environment: str) -> "subprocess.CompletedProcess[str]":
        """Run `cnnbo …` to its end; its exit code must be `code`."""
        done = subprocess.run(
            [CNNBO, *arguments], cwd=self.folder, env=self._environment() | environment, text=True,
            capture_output=True, timeout=PATIENCE_S, stdin=subprocess.DEVNULL, check=False,
        )  # fmt: skip
        assert done.returncode == code, f"{arguments} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stderr
        return done

    def json(self, *arguments: str | Path) -> Any:
        """What `cnnbo … --json` prints."""
        return json.loads(self.run(*arguments, "--json").stdout)

    def start(self, *arguments: str | Path, **environment: str) -> "subprocess.Popen[str]":
        """Start `cnnbo …` in the background; it is ended with the test."""
        child = subprocess.Popen(
            [CNNBO, *arguments], cwd=self.folder, env=self._environment() | environment, text=True, bufsize=1,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        self.children.append(child)
        return child

    def daemon(self, *arguments: str, **environment: str) -> "subprocess.Popen[str]":
        """Start a daemon without MQTT and wait until it is ready."""
        child = self.start("daemon", "--no-mqtt", *arguments, **environment)
        self.wait_for(child, "ready:")
        return child

    def wait_for(self, child: "subprocess.Popen[str]", *texts: str) -> list[str]:
        """Read a child's output until each of the texts was in a line, in any order; a silent child is killed.

        What one call has read no other one finds: what may come in any order is waited for in one call.

        It is often called in a thread, and Python's end waits for threads: without a limit here a silent child would
        hold up the test run for ever, whatever time limit the test itself has.
        """
        assert child.stdout is not None
        seen: list[str] = []
        missing = set(texts)
        limit = threading.Timer(LONG_PATIENCE_S, child.kill)
        limit.start()
        try:
            for line in child.stdout:
                seen.append(line)
                missing -= {text for text in missing if text in line}
                if not missing:
                    return seen
        finally:
            limit.cancel()
        raise AssertionError(f"{' and '.join(sorted(missing))} never came:\n{''.join(seen)}")


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    box = Box(tmp_path)
    yield box
    for child in box.children:
        if child.poll() is None:
            child.kill()
        child.wait()
        if child.stdout is not None:
            with closing(child.stdout):
                pass


def environments_of(state: Path, study: str) -> list[Mapping[str, str]]:
    """What trials that dump their environment to `environment.json` in their folder saw."""
    return [json.loads(path.read_text()) for path in sorted(state.glob(f"studies/{study}/trials/*/*/environment.json"))]
