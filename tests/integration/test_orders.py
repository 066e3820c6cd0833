"""Orders to a running daemon: submit, pause, resume, retry, cancel, archive, delete, and what they leave behind."""

import json
import signal
import sqlite3
from contextlib import closing

from tests.integration.conftest import SCRIPT, Box
from tests.integration.test_foreground import GATED, _wait_for_gated

from cnnbo.scheduler.codec import decode_event
from cnnbo.scheduler.events import Event, PointsSuggested, TrialsRetried


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


# Crashes until its environment is mended: until a file lies beside it.
BREAKABLE = (
    "import pathlib\n"
    "if not pathlib.Path('mended').exists():\n"
    "    raise SystemExit('no module named torch')\n" + SCRIPT
)  # fmt: skip


def journal_of(box: Box) -> list[Event]:
    """What a daemon has journalled of the one study, in its order."""
    with closing(sqlite3.connect(f"file:{box.state}/journal.sqlite?mode=ro", uri=True)) as db:
        bodies = [body for (body,) in db.execute("SELECT body FROM event ORDER BY seq")]
    return [decode_event(json.loads(body)) for body in bodies]


def test_crashes_are_retried_as_if_they_had_never_been(box: Box) -> None:
    """Mended, the three run again as second attempts, and nothing proposed later has heard of their crashes."""
    study = box.write_study(lambda text: text.replace("evaluations = 4", "evaluations = 5"), BREAKABLE)
    box.daemon("--devices", "cpu:1")
    followed = box.run("run", study, code=1)
    assert "Mend the cause, then give the same command: they run again" in followed.stderr
    before = box.json("show", "parabola")
    assert (before["state"], before["reason"], before["failed"]) == ("paused", "crashes", 3)
    (box.folder / "mended").touch()
    assert box.run("retry", "parabola", "--crashed").stdout == "parabola: trials 1, 2, 3 will run again\n"
    assert "finished: best" in box.run("run", study).stdout
    after = box.json("show", "parabola")
    assert (after["state"], after["finished"], after["failed"], after["failures"]) == ("finished", 5, 0, {})
    for was, now in zip(before["trials"], after["trials"], strict=False):
        assert (now["id"], now["configuration"], now["source"]) == (was["id"], was["configuration"], was["source"])
        assert [attempt["outcome"] for attempt in now["attempts"]] == ["crashed", "complete"]
        assert "no module named torch" in (box.state / f"studies/parabola/trials/{now['id']}/1/log").read_text()
    events = journal_of(box)
    [at] = [k for k, event in enumerate(events) if isinstance(event, TrialsRetried)]
    asks = [event for event in events[at:] if isinstance(event, PointsSuggested)]
    assert asks and all(not ask.failed for ask in asks)


def test_a_submission_to_a_daemon_runs_crashes_again_and_says_which(box: Box) -> None:
    """People detach: the daemon goes on, and the answer is all that they read."""
    study = box.write_study(script=BREAKABLE)
    box.daemon("--devices", "cpu:1")
    box.run("run", study, code=1)
    (box.folder / "mended").touch()
    submitted = box.run("submit", study).stdout
    assert "parabola: trials 1, 2, 3 run again: equal crashes, which had paused the study" in submitted
    assert "finished: best" in box.run("run", study).stdout
    assert box.json("submit", study)["retried"] == []


def test_resumed_a_study_goes_on_without_what_crashed(box: Box) -> None:
    """Whoever wants that is told what they leave behind, and how to get it back."""
    study = box.write_study(lambda text: text.replace("evaluations = 4", "evaluations = 5"), BREAKABLE)
    box.daemon("--devices", "cpu:1")
    box.run("run", study, code=1)
    (box.folder / "mended").touch()
    assert "without trials 1, 2, 3; to run what crashed again: cnnbo retry" in box.run("resume", "parabola").stdout
    assert "finished: best" in box.run("run", study).stdout
    shown = box.json("show", "parabola")
    assert (shown["finished"], shown["failures"], shown["undecided"]) == (5, {"crashed": 3}, [])
    asks = [event for event in journal_of(box) if isinstance(event, PointsSuggested)]
    assert asks[-1].excluded == (1, 2, 3) and not asks[-1].failed
    assert "held against the script, not against its configuration" in box.run("show", "parabola", "1").stdout


def test_a_retry_says_what_it_does_and_what_it_does_not(box: Box) -> None:
    """A value is measured again; a user's pause stays; what makes no sense is refused with what to type."""
    study = box.write_study()
    box.daemon("--devices", "cpu:2")
    box.run("run", study)
    assert "cnnbo retry parabola --crashed" in box.run("retry", "parabola", code=1).stderr
    assert "has crashed; name those" in box.run("retry", "parabola", "--crashed", code=1).stderr
    assert "has no trial 9" in box.run("retry", "parabola", "9", code=1).stderr
    assert "TRIAL" in box.run("retry", "parabola", "two", code=2).stderr
    answer = box.json("retry", "parabola", "2", "4", "2")
    assert (answer["retried"], answer["state"], answer["ended"]) == ([2, 4], "running", None)
    assert "finished: best" in box.run("run", study).stdout
    assert [len(trial["attempts"]) for trial in box.json("trials", "parabola")] == [1, 2, 1, 2]
    box.run("archive", "parabola")
    assert "cnnbo delete parabola" in box.run("retry", "parabola", "1", code=1).stderr


def test_a_paused_study_stays_paused_through_a_retry(box: Box) -> None:
    """Whoever paused wants nothing to start, and is told how to go on."""
    study = box.write_study(script=GATED)
    gate = box.folder / "gate"
    box.daemon("--devices", "cpu:2")
    box.run("submit", study, GATE=str(gate), GATED_FROM="2")
    _wait_for_gated(box, 2)  # the first one has ended
    box.run("pause", "parabola")
    assert "trial 2 is running" in box.run("retry", "parabola", "2", code=1).stderr
    assert "it is paused: cnnbo resume parabola" in box.run("retry", "parabola", "1").stdout
    shown = box.json("show", "parabola")
    assert (shown["state"], shown["reason"], shown["trials"][0]["state"]) == ("paused", "user", "pending")
    assert "trial 1 waits to run already" in box.run("retry", "parabola", "1", code=1).stderr
    gate.touch()
    for pipe in box.folder.glob("fifo-*"):
        pipe.write_bytes(b"")  # lets through who waits there
    box.run("resume", "parabola")
    box.run("run", study, GATE=str(gate), GATED_FROM="2")
    assert [len(trial["attempts"]) for trial in box.json("trials", "parabola")] == [2, 1, 1, 1]


def test_a_budget_that_is_spent_keeps_its_results(box: Box) -> None:
    """The last trial of the budget can't be run again on it; a withdrawn value would be gone."""
    budget = "[budget]\ncost = 0.00001\nprice_per_device_hour = 2.60\n"
    study = box.write_study(lambda text: text.replace("[space]", f"{budget}[space]"))
    box.daemon("--devices", "cpu:1")
    box.run("run", study)
    shown = box.json("show", "parabola")
    assert shown["reason"] == "budget"
    assert "raise budget.cost" in box.run("retry", "parabola", "1", code=1).stderr
    assert box.json("show", "parabola") == shown
