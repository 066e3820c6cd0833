"""`cnnbo run`: tune a stranger's script in the foreground, and survive what happens to foregrounds."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.integration.conftest import SCRIPT, Box

# A script that waits at a gate from a certain trial on, without a clock; a pipe for each trial shows who waits.
GATED = (
    SCRIPT
    + """
gate = pathlib.Path(os.environ["GATE"])
trial = int(os.environ["CNNBO_TRIAL"].split("/")[-3])
if trial >= int(os.environ.get("GATED_FROM", "1")) and not gate.exists():
    os.mkfifo(gate.with_name(f"fifo-{os.getpid()}"))
    open(gate.with_name(f"fifo-{os.getpid()}")).read()
"""
)


def processes_of(box: Box) -> list[int]:
    """Pids of processes that work for this box's state folder: their environment or arguments name it."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            text = (entry / "environ").read_bytes() + (entry / "cmdline").read_bytes()
        except OSError:
            continue
        if b"CNNBO_TRIAL=" + bytes(box.state) in text:
            found.append(int(entry.name))
    return found


def wait_until_gone(pids: list[int], seconds: float) -> None:
    """Wait for the end of processes by their pidfds; fails when the time is over."""
    import select

    for pid in pids:
        try:
            descriptor = os.pidfd_open(pid)
        except ProcessLookupError:
            continue
        readable, _, _ = select.select([descriptor], [], [], seconds)
        os.close(descriptor)
        assert readable, f"process {pid} still lives"


def test_a_strangers_script_is_tuned_from_a_study_file_alone(box: Box) -> None:
    """The promise of the first ten minutes: no edit, no import, flags to paste at the end."""
    study = box.write_study()
    done = box.run("run", study, "--devices", "cpu:2", "--no-mqtt")
    lines = done.stdout.splitlines()
    assert lines[-2].split(" ", 1)[1].startswith("finished: best 0.9")
    assert sum("  val_acc 0." in line for line in lines) == 4
    shown = box.json("show", "parabola")
    best = min(shown["trials"], key=lambda trial: abs(trial["configuration"]["x"] - 0.3))
    assert shown["best_trial"] == best["id"]
    flags = box.run("best", "parabola", "--format", "flags").stdout.strip()
    assert flags == f"--x={best['configuration']['x']!r}"


def test_more_evaluations_than_configurations_end_cleanly(box: Box) -> None:
    """A small grid is tried once, each configuration, and the end says why it came early."""
    line = 'x = { type = "float", low = 0, high = 1 }'
    study = box.write_study(lambda text: text.replace(line, 'x = { type = "int", low = 0, high = 2 }'))
    done = box.run("run", study, "--devices", "cpu:2", "--no-mqtt")
    farewell = done.stdout.splitlines()[-2]
    assert "finished: best" in farewell and ", 3 trials, 0 failed," in farewell
    assert farewell.endswith(", every configuration tried")
    shown = box.json("show", "parabola")
    assert (shown["reason"], sorted(trial["configuration"]["x"] for trial in shown["trials"])) == (
        "space_exhausted",
        [0, 1, 2],
    )


def test_json_leaves_stdout_to_the_final_object(box: Box) -> None:
    """Scripts read stdout; people who watch read stderr."""
    study = box.write_study()
    done = box.run("run", study, "--devices", "cpu:2", "--no-mqtt", "--json")
    assert json.loads(done.stdout) == box.json("show", "parabola")
    assert "val_acc 0." in done.stderr


def test_kill_9_loses_nothing(box: Box) -> None:
    """Finished trials stay, running ones are run again, no configuration comes twice, nothing keeps running."""
    study = box.write_study(lambda text: text.replace("evaluations = 4", "evaluations = 6"), GATED)
    gate = box.folder / "gate"
    command = ("run", study, "--devices", "cpu:2", "--no-mqtt")
    first = box.start(*command, GATE=str(gate), GATED_FROM="3")
    _wait_for_gated(box, 2)
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    wait_until_gone(processes_of(box), 1.0)
    assert box.json("show", "parabola")["finished"] == 2
    gate.touch()
    shown = json.loads(box.run(*command, "--json", GATE=str(gate)).stdout)
    assert (shown["state"], shown["finished"]) == ("finished", 6)
    assert len({trial["configuration"]["x"] for trial in shown["trials"]}) == 6
    outcomes = [[attempt["outcome"] for attempt in trial["attempts"]] for trial in shown["trials"]]
    assert outcomes == [["complete"]] * 2 + [["interrupted", "complete"]] * 2 + [["complete"]] * 2


def _wait_for_gated(box: Box, count: int) -> None:
    """Wait until so many trials stand at the gate: each of them makes a pipe there."""
    import time

    deadline = time.monotonic() + 30
    while len(list(box.folder.glob("fifo-*"))) < count:
        assert time.monotonic() < deadline, "no trial came to the gate"
        time.sleep(0.02)


def test_ctrl_c_pauses_and_the_same_command_goes_on(box: Box) -> None:
    """Closing the laptop must never cost more than the trials that run."""
    study = box.write_study(script=GATED)
    gate = box.folder / "gate"
    first = box.start("run", study, "--devices", "cpu:2", "--no-mqtt", GATE=str(gate))
    _wait_for_gated(box, 2)
    first.send_signal(signal.SIGINT)
    output = first.communicate(timeout=30)[0]
    assert first.returncode == 130, output
    assert "a bug" not in output and "Traceback" not in output
    assert "run the same command to go on" in output
    shown = box.json("show", "parabola")
    assert (shown["state"], shown["running"]) == ("paused", 0)
    assert [a["outcome"] for trial in shown["trials"] for a in trial["attempts"]] == ["interrupted", "interrupted"]
    gate.touch()
    done = box.run("run", study, "--devices", "cpu:2", "--no-mqtt", GATE=str(gate))
    assert "resumed" in done.stdout
    assert box.json("show", "parabola")["finished"] == 4


def test_three_equal_crashes_stop_the_run_and_show_the_log(box: Box) -> None:
    """A broken script is told within a minute, with its last words and the interpreter."""
    study = box.write_study(
        lambda text: text.replace("evaluations = 4", "evaluations = 40"), "raise SystemExit('no module named torch')"
    )
    elsewhere = box.folder / "else where"
    done = box.run("run", study, "--devices", "cpu:1", "--no-mqtt", "--state", elsewhere, code=1)
    assert "3 trials crashed the same way" in done.stderr
    assert "  | no module named torch" in done.stderr
    assert f"They ran with {sys.executable}." in done.stderr
    assert "Mend the cause, then give the same command: they run again" in done.stderr
    # The run was its own daemon, and has ended; and each command must find the folder that it worked in.
    assert f"cnnbo logs parabola 3 --state '{elsewhere}'" in done.stderr
    assert "cnnbo daemon" not in done.stderr
    assert box.json("show", "parabola", "--state", elsewhere)["reason"] == "crashes"


# Fails in another place, for another key and at another address in each trial, until a module lies beside it.
NEEDY = (
    "import os, sys\n"
    "sys.path.insert(0, '.')\n"
    "try:\n"
    "    import torch_of_ours\n"
    "except ImportError as error:\n"
    "    print(f'{error} for trial {os.getpid()} at {id(error):#x} in {os.environ[\"CNNBO_TRIAL\"]!r}')\n"
    "    sys.exit(1)\n" + SCRIPT
)  # fmt: skip


def test_the_same_run_after_the_script_was_mended_runs_the_crashed_trials_again(box: Box) -> None:
    """Nothing to learn but the one command; and the surrogate never hears of the crashes, whenever the power failed."""
    study = box.write_study(lambda text: text.replace("evaluations = 4", "evaluations = 6"), NEEDY)
    command = ("run", study, "--devices", "cpu:2", "--no-mqtt")
    for _ in range(2):  # mended badly, it brakes again
        done = box.run(*command, code=1)
        assert "trials crashed the same way" in done.stderr
    assert "held   trials 1, 2, 3" in box.run("show", "parabola").stdout
    before = box.json("show", "parabola")
    (box.folder / "torch_of_ours.py").touch()
    done = box.run(*command)
    crashed = [trial["id"] for trial in before["trials"] if trial["braked"]]
    assert before["undecided"] == crashed and len(crashed) >= 3
    which = ", ".join(map(str, crashed))
    assert f"trials {which} run again: equal crashes, which had paused the study, are held against no" in done.stdout
    after = box.json("show", "parabola")
    assert (after["state"], after["finished"], after["failed"], after["undecided"]) == ("finished", 6, 0, [])
    for trial in after["trials"][:3]:  # a fourth may have been on its way
        assert [attempt["outcome"] for attempt in trial["attempts"]] == ["crashed", "crashed", "complete"]


def test_a_kill_between_the_crashes_and_the_mended_run_changes_nothing(box: Box) -> None:
    """What is undecided stands in the journal; the daemon may die as soon as the third crash is written there."""
    study = box.write_study(script=NEEDY)
    daemon = box.daemon("--devices", "cpu:1")
    box.run("run", study, code=1)
    daemon.kill()
    daemon.wait()
    (box.folder / "torch_of_ours.py").touch()
    done = box.run("run", study, "--devices", "cpu:1", "--no-mqtt")
    assert "trials 1, 2, 3 run again" in done.stdout
    assert box.json("show", "parabola")["finished"] == 4


def test_a_retry_needs_no_daemon(box: Box) -> None:
    """After `cnnbo run` there is none; the trials wait in the journal for the next one."""
    study = box.write_study(script=NEEDY)
    box.run("run", study, "--devices", "cpu:1", "--no-mqtt", code=1)
    (box.folder / "torch_of_ours.py").touch()
    retried = box.run("retry", "parabola", "--crashed")
    assert retried.stdout.startswith("parabola: trials 1, 2, 3 will run again; no daemon is there, so start one: ")
    assert "cnnbo run STUDY (its file), or cnnbo daemon" in retried.stdout
    assert "has crashed; name those" in box.run("retry", "parabola", "--crashed", code=1).stderr
    assert [trial["state"] for trial in box.json("trials", "parabola")] == ["pending"] * 3
    done = box.run("run", study, "--devices", "cpu:1", "--no-mqtt")
    assert "run again" not in done.stdout  # it was ordered before
    assert box.json("show", "parabola")["finished"] == 4


def test_orders_to_a_study_need_no_daemon(box: Box) -> None:
    """A name is freed, or a study ended, without starting what would train on it first."""
    study = box.write_study(script=NEEDY)
    box.run("run", study, "--devices", "cpu:1", "--no-mqtt", code=1)
    resumed = box.run("resume", "parabola").stdout.splitlines()
    assert resumed[0].startswith("parabola: goes on; no daemon is there, so start one: cnnbo run STUDY")
    assert resumed[1].endswith(
        "goes on without trials 1, 2, 3; to run what crashed again: cnnbo retry parabola --crashed"
    )
    assert box.run("pause", "parabola").stdout == "parabola: paused\n"
    assert box.run("cancel", "parabola").stdout == "parabola: cancelled\n"
    assert box.run("archive", "parabola").stdout == "parabola: archived\n"
    assert box.run("delete", "parabola", "--yes").stdout == "parabola: deleted\n"
    assert box.json("status")["studies"] == []
    assert "no daemon answers" in box.run("pause", "x", "--state", box.folder / "nowhere", code=1).stderr


def test_a_failed_study_is_a_failure(box: Box) -> None:
    """A script that checks the exit code must not take `no value at all` for success."""
    study = box.write_study(script="import random; print('val_acc: nan'); raise SystemExit(0)")
    text = study.read_text().replace("([0-9.]+)", "([a-z0-9.]+)")
    study.write_text(text)
    done = box.run("run", study, "--devices", "cpu:2", "--no-mqtt", code=1)
    assert "no trial gave a value" in done.stdout
    assert {trial["failure"] for trial in box.json("show", "parabola")["trials"]} == {"diverged"}


# Tells what luck explains by itself, as a script does that can import cnnbo.
LUCKY = """
import sys
from cnnbo.models import report
report.result(0.1, chance=0.12, loss=2.3)
"""


def test_a_study_of_nothing_but_luck_goes_on_to_its_end(box: Box) -> None:
    """It has finished, for nothing failed; that it found nothing is said, with what to look at first."""
    study = box.write_study(lambda text: text.replace('"-S", ', ""), script=LUCKY)
    done = box.run("run", study, "--devices", "cpu:2", "--no-mqtt")
    assert done.stdout.count("val_acc 0.1, no better than chance") == 4 and "BEST" not in done.stdout
    assert (
        "finished: best 0.1 (#1), no better than chance, 4 trials: 0 with a value, 4 at chance, 0 failed" in done.stdout
    )
    assert "look first at the range of the learning rate, then at whether report.pattern" in done.stdout
    shown = box.json("show", "parabola")
    counts = {key: shown[key] for key in ("state", "reason", "finished", "failed", "at_chance", "failures")}
    assert counts == {
        "state": "finished", "reason": "evaluations", "finished": 4, "failed": 0, "at_chance": 4, "failures": {},
    }  # fmt: skip
    assert {(trial["chance"], trial["at_chance"], trial["state"]) for trial in shown["trials"]} == {
        (0.12, True, "complete")
    }


def test_the_study_file_says_what_luck_explains(box: Box) -> None:
    """Of a script that nobody may edit: two of the four values are no better than that."""
    study = box.write_study(lambda text: text.replace("[report]", "[report]\nchance = 0.9"))
    box.run("run", study, "--devices", "cpu:2", "--no-mqtt")
    trials = box.json("show", "parabola")["trials"]
    assert [trial["at_chance"] for trial in trials] == [trial["value"] <= 0.9 for trial in trials]
    assert len({trial["at_chance"] for trial in trials}) == 2
    study.write_text(study.read_text().replace("chance = 0.9", "chance = 0.8"))
    assert "another report" in box.run("run", study, "--devices", "cpu:2", "--no-mqtt", code=78).stderr


def test_submitting_again(box: Box) -> None:
    """Same content goes on, more evaluations go on, anything else is refused by name."""
    study = box.write_study()
    box.run("run", study, "--devices", "cpu:2", "--no-mqtt")
    assert "finished: best" in box.run("run", study, "--devices", "cpu:2", "--no-mqtt").stdout
    text = study.read_text()
    study.write_text(text.replace("evaluations = 4", "evaluations = 6"))
    box.run("run", study, "--devices", "cpu:2", "--no-mqtt")
    assert box.json("show", "parabola")["finished"] == 6
    study.write_text(text.replace("high = 1", "high = 2"))
    refused = box.run("run", study, "--devices", "cpu:2", "--no-mqtt", code=78)
    assert "another space" in refused.stderr


def test_two_daemons_on_one_state_folder_are_refused(box: Box) -> None:
    """Two writers would be two truths."""
    box.write_study()
    box.daemon("--devices", "cpu:1")
    refused = box.run("daemon", "--devices", "cpu:1", code=78)
    assert "another daemon" in refused.stderr and "--state" in refused.stderr


def test_a_run_beside_a_daemon_is_handed_to_it(box: Box) -> None:
    """As with `docker run`; and it says so."""
    study = box.write_study()
    box.daemon("--devices", "cpu:2")
    refused = box.run("run", study, "--devices", "cpu:1", code=78)
    assert "--devices" in refused.stderr
    done = box.run("run", study)
    assert "handed to it" in done.stdout
    assert "finished: best" in done.stdout


def test_a_trial_sees_its_contract(box: Box) -> None:
    """Everything the trial contract promises to a script is there, and nothing of the daemon's own."""
    script = SCRIPT + (
        "import json\n"
        "directory = pathlib.Path(os.environ['CNNBO_TRIAL']).parent\n"
        "(directory / 'environment.json').write_text(json.dumps(dict(os.environ, CWD=os.getcwd())))\n"
    )
    study = box.write_study(lambda text: text.replace("evaluations = 4", "evaluations = 1"), script)
    box.run("run", study, "--devices", "cpu:1", "--no-mqtt", MY_OWN="kept")
    [path] = box.state.glob("studies/parabola/trials/1/1/environment.json")
    seen: dict[str, Any] = json.loads(path.read_text())
    config = json.loads(Path(seen["CNNBO_TRIAL"]).read_text())
    assert seen["CWD"] == str(box.folder)
    assert seen["MY_OWN"] == "kept"
    assert seen["CUDA_VISIBLE_DEVICES"] == ""
    assert float(seen["CNNBO_PARAM_X"]) == config["configuration"]["x"]
    assert Path(seen["CNNBO_RESULT"]).parent == path.parent
    assert Path(config["checkpoint_dir"]).is_dir()
    assert {"study", "trial", "attempt", "seed", "configuration", "epochs", "batch_size", "data_dir"} <= set(config)


def test_a_dry_run_starts_nothing(box: Box) -> None:
    """The plan is read before the night is spent."""
    study = box.write_study()
    done = box.run("run", study, "--devices", "cpu:2", "--dry-run")
    assert "4 trials of command" in done.stdout
    assert not box.state.exists()


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("run", "missing.toml"), 78, "missing.toml"),
        (("run", "study.toml", "--devices", "gpu7"), 78, "gpu7"),
        (("run", "study.toml", "--devices", "cpu:none"), 78, "cpu:none"),
        (("run", "study.toml", "--state", "study.toml"), 78, "study.toml"),
        (("status", "--state", "study.toml"), 78, "this is a file"),
        (("show", "nothing"), 1, "nothing"),
        (("logs", "nothing"), 1, "nothing"),
        (("best", "nothing"), 1, "nothing"),
        (("submit", "study.toml"), 1, "cnnbo daemon"),
        (("pause", "nothing"), 1, "cnnbo daemon"),
        (("watch", "-1"), 1, "no daemon answers"),
        (("trian",), 2, "trian"),
        (("run",), 2, "STUDY"),
        (("best", "x", "--format", "xml"), 2, "xml"),
    ],
)
def test_mistakes_are_one_sentence(arguments: tuple[str, ...], code: int, words: str, box: Box) -> None:
    """Culprit and remedy, an exit code scripts can tell apart, and never a traceback."""
    box.write_study()
    assert words in box.run(*arguments, code=code).stderr


def test_nothing_is_started_by_a_wrong_study_file(box: Box) -> None:
    """Every mistake is named at once, with its line."""
    study = box.write_study(lambda text: text.replace("evaluations", "n_trials").replace("low = 0", "low = 2"))
    refused = box.run("run", study, code=78)
    assert f"{study}:3" in refused.stderr and '"evaluations"' in refused.stderr
    assert "low" in refused.stderr
    assert "2 mistakes; nothing was started." in refused.stderr
    assert not box.state.exists()


def test_a_program_that_does_not_exist_is_found_before_the_first_trial(box: Box) -> None:
    """Four crashed trials are a slow way to learn of a typo."""
    study = box.write_study(lambda text: text.replace('"python", "-S"', '"pythonn"'))
    assert "no program 'pythonn'" in box.run("run", study, code=78).stderr
    assert not box.state.exists()


def test_an_unfinished_study_in_the_same_folder_is_named(box: Box) -> None:
    """It takes devices too; nobody should have to guess why only one is left."""
    other = box.write_study(lambda text: text.replace("parabola", "other"), GATED)
    gate = box.folder / "gate"
    first = box.start("run", other, "--devices", "cpu:2", "--no-mqtt", GATE=str(gate))
    _wait_for_gated(box, 2)
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    gate.touch()
    done = box.run("run", box.write_study(script=GATED), "--devices", "cpu:2", "--no-mqtt", GATE=str(gate))
    assert "goes on with other studies too: other" in done.stdout


def test_the_journal_can_be_read_while_it_is_written(box: Box) -> None:
    """People query trials with SQL during a run; readers and the writer must not lock each other out."""
    study = box.write_study()
    running: subprocess.Popen[str] = box.start("run", study, "--devices", "cpu:2", "--no-mqtt")
    box.wait_for(running, "#1 ")
    with sqlite3.connect(f"file:{box.state}/journal.sqlite?mode=ro", uri=True) as db:
        assert db.execute("SELECT count(*) FROM trial").fetchone()[0] >= 1
    db.close()
    running.communicate(timeout=30)
    assert running.returncode == 0
