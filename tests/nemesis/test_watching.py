"""What is watched while a round is played: orphans, doubles on a device, copies of the journal."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.nemesis import training
from tests.nemesis.evidence import read_doubles
from tests.nemesis.faults import copy_problems
from tests.nemesis.processes import Marked, wait_until_gone

from cnnbo.daemon.journal import JOURNAL_NAME, Journal

_WAIT = "import sys; print(flush=True); sys.stdin.read()"


@contextmanager
def _process(*arguments: str, env: dict[str, str]) -> Iterator["subprocess.Popen[bytes]"]:
    """A process that is up, and ends with the block."""
    command = [sys.executable, "-S", "-c", _WAIT, *arguments]
    with subprocess.Popen(command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        yield child


def test_an_orphan_is_found_by_its_environment_or_its_arguments() -> None:
    """One that has cleared its environment is an orphan too."""
    marked = Marked("nemesis-test-of-orphans")
    with _process(env={"ANY": "nemesis-test-of-orphans"}) as one, _process("nemesis-test-of-orphans", env={}) as two:
        assert marked.find().keys() == {one.pid, two.pid}
        left = wait_until_gone(marked, 0.0)
        assert len(left) == 2 and str(one.pid) in "".join(left)
        marked.kill()
        assert wait_until_gone(marked, 0.0) == []
    assert (one.returncode, two.returncode) == (-9, -9)


def test_an_orphan_that_goes_in_time_is_none() -> None:
    """What is waited for is the end, not the clock."""
    with _process(env={"ANY": "nemesis-test-in-time"}) as child:
        assert child.stdin is not None
        child.stdin.close()
        assert wait_until_gone(Marked("nemesis-test-in-time"), 30.0) == []


def test_a_trial_that_finds_its_device_taken_says_so(tmp_path: Path) -> None:
    """The account of the trials is worth something only if a second one on a device is noticed."""
    told = tmp_path / "config.json"
    devices = {"GPU-0": ["alpha", "beta"], "GPU-1": ["gamma"]}
    held = []
    for device, studies in devices.items():
        for study in studies:
            told.write_text(json.dumps({"study": study, "trial": 1, "attempt": 1}))
            with pytest.MonkeyPatch.context() as patch:
                patch.setenv("CNNBO_TRIAL", str(told))
                patch.setenv("CUDA_VISIBLE_DEVICES", device)
                held.append(training.Trial("marker", tmp_path, x=0.5))
    assert read_doubles(tmp_path) == ("beta-1-1: GPU-0 was held by alpha/1/1",)
    for trial in held:
        os.close(trial.lock)


async def test_a_copy_that_is_no_journal_is_reported(tmp_path: Path) -> None:
    """A backup that can't be restored is none."""
    state = tmp_path / "state"
    state.mkdir()
    journal = Journal(state)
    await journal.open()
    assert copy_problems(state, tmp_path / "good") == []
    await journal.close()
    content = bytearray((state / JOURNAL_NAME).read_bytes())
    content[4096:8192] = os.urandom(4096)
    (state / JOURNAL_NAME).write_bytes(content)
    assert await asyncio.to_thread(copy_problems, state, tmp_path / "bad")
