"""A study that an older cnnbo began goes on with this one."""

import json
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from tests.data.make_journal import STUDY
from tests.integration.conftest import Box
from tests.journals import moved

from cnnbo.daemon.journal import JOURNAL_NAME

DATA = Path(__file__).parents[1] / "data"
HOME = "/home/me"
"""Where the old journals were written."""

SCRIPT = 'import sys\nprint("val_acc:", 0.5 + len(sys.argv) / 100)\n'


def take_over(box: Box, version: int) -> None:
    """Have the box find the journal of an older cnnbo, whose folder is now the box's own."""
    box.state.mkdir()
    shutil.copyfile(DATA / f"journal_v{version}.sqlite", box.state / JOURNAL_NAME)
    moved(box.state / JOURNAL_NAME, HOME, str(box.folder))
    (box.folder / "train.py").write_text(SCRIPT)
    (box.folder / "bin").mkdir()
    (box.folder / "bin" / "python").symlink_to(sys.executable)


def finish(box: Box, study: str, daemon: "subprocess.Popen[str]") -> dict[str, Any]:
    """Wait for a study's end; what is then told of it."""
    box.wait_for(daemon, f"event=study_finished study={study}")
    daemon.terminate()
    daemon.wait()
    shown: dict[str, Any] = box.json("show", study)
    return shown


def test_a_study_of_format_1_goes_on_to_its_end(box: Box) -> None:
    """It crashed for want of a library; a year later the cause is mended, and cnnbo has been upgraded."""
    take_over(box, 1)
    assert box.json("show", "crashing")["state"] == "paused"
    assert "crashing" in box.run("status").stdout
    # The surrogate has its own tests: without time for it points are Sobol's.
    daemon = box.daemon("--devices", "cpu:2", CNNBO_PROPOSER_DEADLINE_S="0.1")
    box.run("retry", "crashing", "--crashed")
    shown = finish(box, "crashing", daemon)
    assert (shown["state"], shown["finished"], shown["failed"]) == ("finished", 6, 0)
    assert (box.state / "journal.v1.sqlite").exists()


def test_a_study_of_format_2_goes_on_to_its_end(box: Box) -> None:
    """Its daemon was killed while a trial ran, and everything else of that day is still known."""
    take_over(box, 2)
    assert box.json("show", "compared")["state"] == "finished"
    states = {
        name: {t["state"] for t in box.json("show", name)["trials"]} for name in ("compared-sobol-1", "cancelled")
    }
    assert states == {"compared-sobol-1": {"complete", "failed"}, "cancelled": {"cancelled", "failed"}}
    daemon = box.daemon("--devices", "cpu:2")
    shown = finish(box, "goes-on", daemon)
    assert (shown["state"], shown["finished"], shown["failed"]) == ("finished", 6, 0)
    attempts = shown["trials"][4]["attempts"]
    assert [attempt["outcome"] for attempt in attempts] == ["interrupted", "complete"]
    with closing(sqlite3.connect(box.state / JOURNAL_NAME)) as db:
        kept = {t: db.execute(f"SELECT count(*) FROM {t}").fetchone()[0] for t in ("device_event", "receipt", "outbox")}
    assert kept == {"device_event": 4, "receipt": 1, "outbox": 55}


def test_a_study_of_format_3_goes_on_to_its_end(box: Box) -> None:
    """What luck explains is in its file, and in one trial's result; the trial that ran is at chance, too."""
    take_over(box, 3)
    begun = box.json("show", "goes-on")
    assert (begun["state"], begun["finished"], begun["failed"], begun["at_chance"]) == ("running", 5, 0, 2)
    assert [trial["id"] for trial in begun["trials"] if trial["at_chance"]] == [1, 4]
    assert {trial["chance"] for trial in begun["trials"]} == {0.9, None}
    daemon = box.daemon("--devices", "cpu:2")
    shown = finish(box, "goes-on", daemon)
    assert (shown["state"], shown["finished"], shown["failed"], shown["at_chance"]) == ("finished", 6, 0, 3)
    assert (shown["best_trial"], shown["trials"][4]["at_chance"]) == (6, True)
    with closing(sqlite3.connect(box.state / JOURNAL_NAME)) as db:
        asked = [json.loads(body) for (body,) in db.execute("SELECT body FROM event WHERE type = 'PointsSuggested'")]
        kept = {t: db.execute(f"SELECT count(*) FROM {t}").fetchone()[0] for t in ("device_event", "receipt", "outbox")}
    assert any(event["censored"] for event in asked)
    assert kept == {"device_event": 4, "receipt": 1, "outbox": 67}


def test_a_study_of_format_3_runs_again_what_crashed_with_it(box: Box) -> None:
    """One trial had crashed in another way before, and one that was on its way crashed after the pause."""
    take_over(box, 3)
    file = box.folder / "braked.toml"
    file.write_text(STUDY.replace("NAME", "braked"))
    begun = box.json("show", "braked")
    assert (begun["state"], begun["reason"], begun["failed"], begun["undecided"]) == (
        "paused",
        "crashes",
        5,
        [1, 3, 4, 5],
    )
    assert [trial["braked"] for trial in begun["trials"]] == [True, False, True, True, True]
    daemon = box.daemon("--devices", "cpu:2")
    assert "braked: trials 1, 3, 4, 5 run again" in box.run("submit", file).stdout
    shown = finish(box, "braked", daemon)
    counts = (shown["finished"], shown["failed"], shown["at_chance"], shown["undecided"])
    assert counts == (6, 1, 5, [])
    assert shown["trials"][1]["failure"] == "crashed"


@pytest.fixture
def small_disk(box: Box) -> Iterator[Box]:
    """A box whose state folder is on a disk of 16 MiB."""
    box.state.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", box.state], capture_output=True)
    if mounted.returncode:
        pytest.skip(f"no small disk can be mounted here: {mounted.stderr.decode().strip()}")
    yield box
    subprocess.run(["umount", "--lazy", box.state], check=True)


def test_without_space_for_a_copy_nothing_is_upgraded(small_disk: Box) -> None:
    """Found out before anything is changed, not in the middle of it."""
    box = small_disk
    shutil.copyfile(DATA / "journal_v1.sqlite", box.state / JOURNAL_NAME)
    with closing(sqlite3.connect(box.state / JOURNAL_NAME)) as db:
        db.execute("PRAGMA journal_mode = WAL")  # as every daemon leaves it
    before = (box.state / JOURNAL_NAME).read_bytes()
    refused = box.run("daemon", "--no-mqtt", "--devices", "cpu:1", code=78)
    assert "to upgrade it and keep a copy, free at least 17 MiB there. Nothing was changed." in refused.stderr
    assert (box.state / JOURNAL_NAME).read_bytes() == before
    assert [path.name for path in box.state.glob("*.sqlite")] == [JOURNAL_NAME]
