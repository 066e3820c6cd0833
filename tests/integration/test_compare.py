"""`cnnbo compare` of somebody's script: from the file to the end, over a kill of the daemon."""

import os
import signal
from pathlib import Path

import pytest
from tests.integration.conftest import Box
from tests.integration.test_foreground import GATED

COMPARE = """
[compare]
methods = ["sobol", "random"]
runs = 2
confirm = 2
twice = false
"""


def write(box: Box, script: str | None = None) -> Path:
    study = box.write_study(lambda text: text.replace("evaluations = 4", "evaluations = 3") + COMPARE)
    if script is not None:
        (box.folder / "train.py").write_text(script)
    return study


@pytest.mark.long
def test_a_comparison_goes_on_after_a_kill_and_ends_with_its_confirmation(box: Box) -> None:
    """The same command goes on: no trial that has ended is run again, and the next stage comes by itself."""
    gate = box.folder / "gate"
    study = write(box, GATED)
    first = box.start("compare", study, "--devices", "cpu:2", "--no-mqtt", GATE=str(gate), GATED_FROM="2")
    box.wait_for(first, "random-2")
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    gate.touch()
    finished = {part["name"]: part["finished"] for part in box.json("show", "parabola")["studies"]}
    assert 0 < sum(finished.values()) < 12
    done = box.run("compare", study, "--devices", "cpu:2", "--no-mqtt")
    assert "confirm begins: " in done.stdout
    assert done.stdout.splitlines()[-1].strip() == "next: cnnbo report parabola -o DIR"
    shown = box.json("show", "parabola")
    assert (shown["state"], [part["name"] for part in shown["studies"]]) == ("finished", [
        "parabola-sobol-1", "parabola-random-1", "parabola-sobol-2", "parabola-random-2", "parabola-confirm",
    ])  # fmt: skip
    for part in shown["studies"][:4]:
        trials = box.json("show", part["name"])["trials"]
        ended_before = trials[: finished[part["name"]]]
        assert len(trials) == 3 and {len(trial["attempts"]) for trial in ended_before} <= {1}


def test_the_plan_is_printed_and_nothing_is_started(box: Box) -> None:
    """Hours and price are to be known before they are spent."""
    done = box.run("compare", write(box), "--devices", "cpu:2", "--dry-run")
    assert "search: sobol" in done.stdout and "in all, at most" in done.stdout
    assert done.stdout.splitlines()[-1] == "Nothing was started."
    assert not (box.state / "journal.sqlite").exists()


@pytest.mark.long
def test_a_daemon_takes_a_comparison_and_its_orders(box: Box) -> None:
    """Handed over, it needs nobody; and its name is enough to stop all of it."""
    gate = box.folder / "gate"
    study = write(box, GATED)
    box.daemon("--devices", "cpu:2", GATE=str(gate))
    done = box.run("compare", study, "-d", GATE=str(gate))
    assert done.stdout.splitlines()[0] == "parabola: created, 0 of 12 finished"
    paused = box.run("pause", "parabola")
    assert paused.stdout.startswith("parabola: paused")
    [row] = [line for line in box.run("status").stdout.splitlines() if line.startswith("parabola")]
    assert row.split()[1:3] == ["paused", "0/12"]
    wrong = box.run("trials", "parabola", code=1)
    assert "parabola is a comparison; name one of its studies, like parabola-sobol-1" in wrong.stderr
    box.run("cancel", "parabola")
    assert box.json("show", "parabola")["state"] == "cancelled"


def test_a_file_without_the_table_is_refused(box: Box) -> None:
    """Nothing is compared by guesswork."""
    done = box.run("compare", box.write_study(), code=78)
    assert "[compare] is missing; add one, like" in done.stderr
