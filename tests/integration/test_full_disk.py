"""A full disk: what ran is kept, nothing new starts, and with space there again everything goes on by itself."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from tests.integration.conftest import Box
from tests.integration.test_foreground import GATED, _wait_for_gated

from cnnbo.daemon.journal import RESERVE_BYTES, RESERVE_NAME

FAILS_TO_WRITE = GATED + "\npathlib.Path(os.environ['CNNBO_RESULT']).write_text('x' * 4096)\n"
"""Raises where its result can't be written; the pattern's value doesn't count then."""


@pytest.fixture
def small_box(box: Box) -> Iterator[Box]:
    """A box whose state folder is on a disk of 64 MiB."""
    if os.getuid() != 0:
        pytest.skip("only root may mount a small disk")
    box.state.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", box.state], capture_output=True)
    if mounted.returncode:
        pytest.skip(f"no small disk can be mounted here: {mounted.stderr.decode().strip()}")
    yield box
    for child in box.children:
        child.kill()
        child.wait()
    # Lazily: a runner that has just lost its daemon may still write there.
    subprocess.run(["umount", "--lazy", box.state], check=True)


def fill(state: Path) -> Path:
    """Write a file until not a byte is left."""
    filler = state / "filler"
    with filler.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(1 << 16))
    return filler


def let_in(box: Box) -> None:
    """Let those at the gate through."""
    for fifo in box.folder.glob("fifo-*"):
        with fifo.open("w"):
            fifo.unlink()


def test_a_full_disk_keeps_what_ran_and_stops_what_has_not_begun(small_box: Box) -> None:
    """The night in which the checkpoints of somebody else fill the disk: no result is lost, nobody needs to come."""
    gate = small_box.folder / "gate"
    daemon = small_box.daemon("--devices", "cpu:2", GATE=str(gate), CNNBO_POLL_S="0.1")
    study = small_box.write_study(script=GATED)
    small_box.run("submit", study, GATE=str(gate))
    _wait_for_gated(small_box, 2)
    filler = fill(small_box.state)
    small_box.wait_for(daemon, "the disk is almost full")
    gate.touch()
    let_in(small_box)
    for _ in range(2):
        small_box.wait_for(daemon, "event=trial_complete")
    shown = small_box.json("show", "parabola")
    assert [(trial["id"], trial["state"]) for trial in shown["trials"]] == [(1, "complete"), (2, "complete")]
    assert not (small_box.state / RESERVE_NAME).exists()
    reasons = [device["reason"] for device in small_box.json("status")["devices"]]
    assert all("is full; free 32 MiB" in reason for reason in reasons)
    filler.unlink()
    small_box.wait_for(daemon, "there is space again")
    assert "finished: best" in small_box.run("run", study, GATE=str(gate)).stdout
    assert small_box.json("show", "parabola")["finished"] == 4
    assert (small_box.state / RESERVE_NAME).stat().st_size == RESERVE_BYTES


def test_a_result_that_finds_no_space_says_nothing_about_the_configuration(small_box: Box) -> None:
    """The script raises, but it is the disk's fault: the trial runs again, and the optimizer hears of no failure."""
    gate = small_box.folder / "gate"
    daemon = small_box.daemon("--devices", "cpu:1", GATE=str(gate), CNNBO_POLL_S="0.1")
    study = small_box.write_study(lambda text: text.replace("evaluations = 4", "evaluations = 1"), FAILS_TO_WRITE)
    small_box.run("submit", study, GATE=str(gate))
    _wait_for_gated(small_box, 1)
    filler = fill(small_box.state)
    gate.touch()
    let_in(small_box)
    small_box.wait_for(daemon, "event=trial_interrupted")
    (trial,) = small_box.json("show", "parabola")["trials"]
    assert (trial["state"], trial["attempts"][0]["outcome"]) == ("pending", "interrupted")
    filler.unlink()
    small_box.write_study(script=GATED)
    assert "finished: best" in small_box.run("run", study, GATE=str(gate)).stdout


@pytest.mark.parametrize("had_a_journal", [False, True])
def test_a_daemon_does_not_start_on_a_full_disk(had_a_journal: bool, small_box: Box) -> None:
    """A sentence that names the folder and the space that is missing; a journal that is there is no broken one."""
    if had_a_journal:
        small_box.daemon("--devices", "cpu:1").terminate()
        small_box.children[-1].wait()
        (small_box.state / RESERVE_NAME).unlink()
    fill(small_box.state)
    error = small_box.run("daemon", "--no-mqtt", "--devices", "cpu:1", code=78).stderr
    assert f"{small_box.state}: the disk is full; free at least 32 MiB there" in error
