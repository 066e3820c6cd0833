"""The journal: nothing that was committed is lost, nothing is changed afterwards."""

import shutil
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from cnnbo.daemon.journal import JOURNAL_NAME, RESERVE_BYTES, RESERVE_NAME, Journal, JournalFullError, read_journal
from cnnbo.scheduler.errors import ConfigurationError
from cnnbo.scheduler.events import (
    Event,
    PointsSuggested,
    StudyCreated,
    TrialCompleted,
    TrialsRequested,
    TrialsRetried,
    TrialStarted,
)
from cnnbo.scheduler.optimizers.base import Source
from cnnbo.scheduler.space import FloatParameter, SearchSpace
from cnnbo.scheduler.spec import StudySpec
from cnnbo.scheduler.study import Study

OLD_JOURNAL = Path(__file__).parents[2] / "data" / "journal_v1.sqlite"
SPEC = StudySpec(SearchSpace((FloatParameter("x", 0.0, 1.0),)), name="digits", evaluations=9)
COURSE: list[Event] = [
    TrialsRequested(2.0, 1),
    PointsSuggested(3.0, 0, ((1 / 3,),), Source.SURROGATE, hint=b"\x00\x01"),
    TrialStarted(4.0, 1, 1, "GPU-1", "token"),
    TrialCompleted(5.0, 1, 1, 0.1 + 0.2),
]


@pytest.fixture
async def journal(tmp_path: Path) -> AsyncIterator[Journal]:
    journal = Journal(tmp_path)
    await journal.open()
    yield journal
    await journal.close()


async def write(journal: Journal, events: list[Event]) -> Study:
    """Journal a new study and its course."""
    study = Study(SPEC, at=1.0)
    key = await journal.create(StudyCreated(1.0, SPEC), study)
    for event in events:
        after = study.copy()
        after.handle(event)
        await journal.append(key, event, study, after)
        study = after
    return study


async def test_studies_come_back_as_they_were(journal: Journal, tmp_path: Path) -> None:
    """A restart must know every trial bit for bit."""
    study = await write(journal, COURSE)
    again = Journal(tmp_path)
    [stored] = await again.open()
    await again.close()
    assert stored.study.trials == study.trials
    assert (stored.study.spec, stored.study.hint) == (SPEC, b"\x00\x01")


async def test_people_can_query_trials_with_sql(journal: Journal, tmp_path: Path) -> None:
    """The tables beside the events are part of what we offer."""
    await write(journal, COURSE)
    with sqlite3.connect(tmp_path / JOURNAL_NAME) as db:
        [row] = db.execute(
            "SELECT study.name, best_value, trial.state, json_extract(configuration, '$.x'), device, outcome "
            "FROM study JOIN trial ON trial.study = study.id JOIN attempt ON attempt.study = study.id"
        )
    db.close()
    assert row == ("digits", 0.1 + 0.2, "complete", 0.333333, "GPU-1", "complete")


async def test_events_are_neither_changed_nor_removed(journal: Journal, tmp_path: Path) -> None:
    """An append-only table is one that refuses everything else."""
    await write(journal, COURSE)
    db = sqlite3.connect(tmp_path / JOURNAL_NAME)
    for statement in ("DELETE FROM event", "UPDATE event SET body = ''"):
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            db.execute(statement)
    db.close()


async def test_the_journal_survives_a_power_cut(journal: Journal, tmp_path: Path) -> None:
    """WAL with synchronous FULL: a commit is on the disk when it returns."""
    assert journal._db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert journal._db.execute("PRAGMA synchronous").fetchone() == (2,)


async def test_a_deleted_study_frees_its_name_and_leaves_its_events(journal: Journal, tmp_path: Path) -> None:
    """Deletion is about the name and the files; what happened has happened."""
    await write(journal, COURSE)
    await journal.delete(1, 9.0)
    await write(journal, [])
    studies, _ = read_journal(tmp_path)
    assert [len(stored.study.trials) for stored in studies] == [0]
    with sqlite3.connect(tmp_path / JOURNAL_NAME) as db:
        assert db.execute("SELECT count(*) FROM event").fetchone() == (len(COURSE) + 2,)
    db.close()


async def test_readers_need_no_daemon_and_change_nothing(journal: Journal, tmp_path: Path) -> None:
    """`cnnbo show` works on a box whose daemon is down, beside a daemon that writes too."""
    await write(journal, COURSE)
    await journal.save_devices([{"uuid": "GPU-1", "state": "idle"}], 6.0)
    studies, devices = read_journal(tmp_path)
    assert studies[0].study.finished == 1
    assert devices == [{"uuid": "GPU-1", "state": "idle"}]


def test_an_empty_state_folder_has_no_studies(tmp_path: Path) -> None:
    """Asking about nothing is no error."""
    assert read_journal(tmp_path) == ([], [])


@pytest.mark.parametrize("content", [b"", b"not a database at all, but long enough to look like one" * 9])
async def test_a_foreign_file_is_refused_and_kept(content: bytes, tmp_path: Path) -> None:
    """Garbage must lead to a sentence; an empty file is a journal that was never written."""
    path = tmp_path / JOURNAL_NAME
    path.write_bytes(content)
    journal = Journal(tmp_path)
    if content:
        with pytest.raises(ConfigurationError, match="can't be read as a journal"):
            await journal.open()
        assert path.read_bytes() == content
    else:
        assert await journal.open() == []
    await journal.close()


async def test_a_journal_of_a_newer_version_is_refused(journal: Journal, tmp_path: Path) -> None:
    """An old program must not misread new events."""
    journal._db.execute("UPDATE meta SET value = '999'")
    with pytest.raises(ConfigurationError, match="newer cnnbo"):
        read_journal(tmp_path)


async def test_a_full_disk_uses_the_reserve_and_then_waits(journal: Journal, tmp_path: Path) -> None:
    """A result that arrives on a full disk is journalled all the same; only new trials stop."""
    study = await write(journal, COURSE[:3])
    reserve = tmp_path / RESERVE_NAME
    assert reserve.stat().st_size == RESERVE_BYTES
    assert reserve.stat().st_blocks * 512 >= RESERVE_BYTES
    # SQLite's own page limit stands for the disk: it fails with the very same error.
    pages = journal._db.execute("PRAGMA page_count").fetchone()[0]
    journal._db.execute(f"PRAGMA max_page_count = {pages}")
    after = study.copy()
    after.handle(COURSE[3])
    with pytest.raises(JournalFullError, match="free some space"):
        for _ in range(200):
            await journal.append(1, COURSE[3], study, after)
    assert journal.is_full
    assert not reserve.exists()
    journal._db.execute("PRAGMA max_page_count = 1000000")
    await journal.append(1, COURSE[3], study, after)
    await journal.look_at_disk()
    assert not journal.is_full
    assert reserve.stat().st_size == RESERVE_BYTES


async def test_a_journal_of_format_1_is_read_for_ever_and_goes_on(tmp_path: Path) -> None:
    """Written before trials could be retried, with every kind of event there was."""
    shutil.copyfile(OLD_JOURNAL, tmp_path / JOURNAL_NAME)
    journal = Journal(tmp_path)
    stored = {known.study.name: known for known in await journal.open()}
    ends = {name: (str(known.study.state), known.study.reason) for name, known in stored.items()}
    assert ends == {
        "digits": ("finished", "budget"), "crashing": ("paused", "crashes"), "cancelled": ("cancelled", "user")
    }  # fmt: skip
    digits = stored["digits"].study
    assert [trial.value for trial in digits.trials] == [0.91, 0.1 + 0.2, None, None, 0.925]
    assert [attempt.outcome for attempt in digits.trial(2).attempts] == ["interrupted", "device_lost", "complete"]
    assert (digits.hint, digits.is_archived, digits.spec.evaluations) == (b'{"format":1,"objective":[0.5]}', True, 6)
    before = stored["crashing"].study
    event = TrialsRetried(400.0, (1, 2, 3))
    before.check(event)
    after = before.copy()
    after.handle(event)
    await journal.append(stored["crashing"].key, event, before, after)
    await journal.close()
    again = {known.study.name: known.study for known in read_journal(tmp_path)[0]}["crashing"]
    assert (again.state, again.trials) == ("running", after.trials)
    with sqlite3.connect(tmp_path / JOURNAL_NAME) as db:
        rows = set(db.execute("SELECT trial.state, failure, message FROM trial WHERE study = 2"))
        assert (rows, db.execute("SELECT state, reason, finished FROM study WHERE id = 2").fetchone()) == (
            {("pending", None, "")},
            ("running", None, 0),
        )
    db.close()


async def test_only_the_owner_can_read_a_journal(journal: Journal, tmp_path: Path) -> None:
    """It holds the environment of whoever submitted, secrets included."""
    assert (tmp_path / JOURNAL_NAME).stat().st_mode & 0o077 == 0
