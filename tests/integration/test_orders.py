"""Orders to a running daemon: submit, pause, resume, cancel, archive, delete, and what they leave behind."""

import signal

from tests.integration.conftest import Box
from tests.integration.test_foreground import GATED, _wait_for_gated


def test_the_life_of_a_study(box: Box) -> None:
    """Each order does what its name says, twice over says so, and never touches another study."""
    study = box.write_study(script=GATED)
    gate = box.folder / "gate"
    box.daemon("--devices", "cpu:2", GATE=str(gate))
    assert "created" in box.run("submit", study, GATE=str(gate)).stdout
    _wait_for_gated(box, 2)
    assert "2 trials still running" in box.run("pause", "parabola").stdout
    assert "cnnbo cancel" in box.run("delete", "-y", "parabola", code=1).stderr
    box.run("pause", "parabola", "--now")
    assert "only a paused study" not in box.run("resume", "parabola").stdout
    assert "only a paused study" in box.run("resume", "parabola", code=1).stderr
    box.run("cancel", "parabola")
    assert "nothing to cancel" in box.run("cancel", "parabola", code=1).stderr
    assert "cnnbo delete" in box.run("submit", study, code=1).stderr
    shown = box.json("show", "parabola")
    assert shown["state"] == "cancelled"


def test_archive_hides_and_delete_frees(box: Box) -> None:
    """Three ideas, three words: cancel ends, archive hides, delete frees the name."""
    study = box.write_study()
    box.daemon("--devices", "cpu:2")
    box.run("run", study)
    box.run("archive", "parabola")
    assert box.json("status")["studies"] == []
    assert box.json("show", "parabola")["archived"] is True
    assert "archived" in box.run("submit", study, code=1).stderr
    box.run("delete", "parabola", "-y")
    assert not (box.state / "studies" / "parabola").exists()
    assert "finished: best" in box.run("run", study).stdout


def test_sigterm_stops_in_order_and_the_daemon_goes_on_by_itself(box: Box) -> None:
    """After a reboot the study goes on with nobody logged in, and the stop counts against no trial."""
    study = box.write_study(script=GATED)
    gate = box.folder / "gate"
    first = box.daemon("--devices", "cpu:2")
    box.run("submit", study, GATE=str(gate))
    _wait_for_gated(box, 2)
    first.send_signal(signal.SIGTERM)
    first.communicate(timeout=30)
    assert first.returncode == 0
    gate.touch()
    box.daemon("--devices", "cpu:2")
    followed = box.run("run", study)
    assert "finished: best" in followed.stdout
    shown = box.json("show", "parabola")
    assert shown["finished"] == 4
    assert [len(trial["attempts"]) for trial in shown["trials"]] == [2, 2, 1, 1]


def test_logs_and_trials_tell_what_happened(box: Box) -> None:
    """The output of a trial and the reasons of failures are one command away, with or without a daemon."""
    study = box.write_study()
    box.run("run", study, "--devices", "cpu:2", "--no-mqtt")
    assert "val_acc: 0.1" in box.run("logs", "parabola", "2").stdout
    assert "val_acc: 0.1" not in box.run("logs", "parabola", "2", "-n", "1").stdout
    assert "no trial 9" in box.run("logs", "parabola", "9", code=1).stderr
    values = [trial["value"] for trial in box.json("trials", "parabola", "--sort", "value")]
    assert values == sorted(values, reverse=True)
    assert "No failed trial" in box.run("trials", "parabola", "--failed").stdout
    assert "no such column" in box.run("trials", "parabola", "--sort", "colour", code=78).stderr
    assert "attempt 1" in box.run("show", "parabola", "1").stdout
