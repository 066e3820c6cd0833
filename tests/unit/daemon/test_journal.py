"""The journal: nothing that was committed is lost, nothing is changed afterwards."""

import asyncio
import json
import shutil
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tests.fuzz.mutations import DEEP, mutated, torn

from cnnbo.daemon.board import Activity
from cnnbo.daemon.journal import JOURNAL_NAME, RESERVE_BYTES, RESERVE_NAME, Journal, JournalFullError, read_journal
from cnnbo.daemon.messages import rfc3339
from cnnbo.scheduler.codec import encode_event
from cnnbo.scheduler.errors import ConfigurationError
from cnnbo.scheduler.events import (
    DeviceEvent,
    DeviceQuarantined,
    DeviceReturned,
    Event,
    PointsSuggested,
    StudyCreated,
    TimeSpent,
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
    TrialCompleted(5.0, 1, 1, 0.1 + 0.2, chance=1 / 3),
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


async def test_a_reader_that_stayed_long_leaves_no_long_wal(journal: Journal, tmp_path: Path) -> None:
    """An open `sqlite3` shell keeps the WAL from starting over; its size must not stay behind when it is closed."""
    study = await write(journal, COURSE[:3])
    after = study.copy()
    after.handle(COURSE[3])
    wal = tmp_path / f"{JOURNAL_NAME}-wal"
    with closing(sqlite3.connect(tmp_path / JOURNAL_NAME, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM event").fetchone()
        while wal.stat().st_size < 6 << 20:
            await journal.append(1, COURSE[3], study, after)
    for _ in range(2):  # the first one checkpoints, the next one starts over
        await journal.append(1, COURSE[3], study, after)
    assert wal.stat().st_size <= 4 << 20


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


def _changed_rows() -> st.SearchStrategy[tuple[str, Any]]:
    """A column of an event with another value: its text mutated as JSON or as bytes, or its other columns."""
    bodies = [encode_event(event) for event in (StudyCreated(1.0, SPEC), *COURSE)]
    texts = st.sampled_from(bodies).flatmap(mutated).map(json.dumps)
    scraps = st.sampled_from([json.dumps(body).encode() for body in bodies]).flatmap(torn)
    others = st.sampled_from([None, 7, 0.5, "", "TrialStarted", "1970-01-01T00:00:02.000Z", b"\xff", 10**15, -1])
    return st.tuples(st.just("body"), texts | scraps | others | st.just(DEEP.decode())) | st.tuples(
        st.sampled_from(["seq", "study", "at", "type"]), others
    )


@example(rows=[(3, ("body", '{"type": "TrialStarted"}'))])
@example(rows=[(3, ("body", "7"))])
@example(rows=[(2, ("body", DEEP.decode()))])  # RecursionError
@example(rows=[(4, ("study", 7))])  # was passed over
@example(rows=[(4, ("seq", 9))])
@given(rows=st.lists(st.tuples(st.integers(1, 5), _changed_rows()), min_size=1, max_size=2))
def test_a_damaged_row_is_a_sentence_and_no_event_is_passed_over(
    good_journal: Path, tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[int, tuple[str, Any]]]
) -> None:
    """A disk that fails bit by bit must not make results vanish unseen, nor greet people with a traceback."""
    state = tmp_path_factory.mktemp("state")
    shutil.copyfile(good_journal, state / JOURNAL_NAME)
    with closing(sqlite3.connect(state / JOURNAL_NAME, isolation_level=None)) as db:
        db.execute("DROP TRIGGER event_is_never_changed")
        for number, (column, value) in rows:
            with suppress(sqlite3.IntegrityError, UnicodeEncodeError):
                db.execute(f"UPDATE event SET {column} = ? WHERE seq = ?", (value, number))
    is_sound_or_a_sentence(state)


@example(cut=(40_000, b""))  # the end of the file is missing
@example(cut=(3729, b","))  # a column of the table of studies is two, and there seems to be no study
@given(cut=st.tuples(st.integers(0, 60_000), st.binary(min_size=1, max_size=40)))
def test_a_damaged_page_is_a_sentence_and_no_event_is_passed_over(
    good_journal: Path, tmp_path_factory: pytest.TempPathFactory, cut: tuple[int, bytes]
) -> None:
    """SQLite notices much of it by itself, and leaves out rows where an index or a page forgets them."""
    state = tmp_path_factory.mktemp("state")
    content = bytearray(good_journal.read_bytes())
    at, scrap = cut
    content[at : at + len(scrap) or None] = scrap
    (state / JOURNAL_NAME).write_bytes(content)
    is_sound_or_a_sentence(state)


def is_sound_or_a_sentence(state: Path) -> None:
    """Reading tells of as many events as were written, or says in one sentence that it can't, as does the daemon."""
    try:
        [stored], _ = read_journal(state)
    except ConfigurationError as error:
        assert len(error.problems) == 1 and "\n" not in error.problems[0]
        assert str(state) in error.problems[0]
        sentence: str | None = str(error)
    else:
        assert len(stored.study.trials) == 1 and len(stored.study.trials[0].attempts) == 1
        assert stored.study.trials[0].value is not None
        sentence = None

    with (state / RESERVE_NAME).open("wb") as reserve:
        reserve.truncate(RESERVE_BYTES)  # stands already; to write it anew for each example takes the most time

    async def open_and_close() -> None:
        journal = Journal(state)
        try:
            assert len(await journal.open()) == 1
        finally:
            await journal.close()

    try:
        asyncio.run(open_and_close())
    except ConfigurationError as error:
        assert sentence is not None and len(error.problems) == 1
    else:
        assert sentence is None or "device" in sentence


@pytest.fixture(scope="module")
def good_journal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A closed journal with one study and five events."""
    state = tmp_path_factory.mktemp("good")

    async def make() -> None:
        journal = Journal(state)
        await journal.open()
        await write(journal, COURSE)
        await journal.save_devices([{"uuid": "GPU-1", "state": "idle"}], 6.0)
        await journal.close()

    asyncio.run(make())
    return state / JOURNAL_NAME


@pytest.mark.parametrize(("statement", "sentence"), [
    ("DELETE FROM event WHERE seq = 3", "event 3 is missing"),
    ("DELETE FROM event WHERE seq = 5", "events after number 4 are missing"),
    ("DELETE FROM study", "event 1 is of a study that isn't there"),
    ("UPDATE event SET at = 'x' WHERE seq = 2", "event 2 is damaged"),
    ("UPDATE study SET name = 'other'", "its events are of a study digits"),
    ("UPDATE device SET body = '[]'", "a device is damaged"),
    ("DELETE FROM meta", "doesn't say its format"),
])  # fmt: skip
def test_what_is_missing_is_named(good_journal: Path, tmp_path: Path, statement: str, sentence: str) -> None:
    """Whoever restores a backup wants to know what is wrong with the file."""
    shutil.copyfile(good_journal, tmp_path / JOURNAL_NAME)
    with closing(sqlite3.connect(tmp_path / JOURNAL_NAME, isolation_level=None)) as db:
        db.execute("DROP TRIGGER event_is_never_changed")
        db.execute("DROP TRIGGER event_is_never_removed")
        db.execute(statement)
    with pytest.raises(ConfigurationError, match=sentence):
        read_journal(tmp_path)


async def test_a_transaction_that_failed_leaves_no_gap(journal: Journal, tmp_path: Path) -> None:
    """A gap is taken for a lost event, so none may come from a full disk."""
    study = await write(journal, COURSE[:3])
    journal._db.execute("PRAGMA max_page_count = 1")
    after = study.copy()
    after.handle(COURSE[3])
    with pytest.raises(JournalFullError):
        for _ in range(200):
            await journal.append(1, TimeSpent(5.0, 1.0), study, study)
    journal._db.execute("PRAGMA max_page_count = 1000000")
    await journal.append(1, COURSE[3], study, after)
    [stored], _ = read_journal(tmp_path)
    assert stored.study.finished == 1


async def test_only_the_owner_can_read_a_journal(journal: Journal, tmp_path: Path) -> None:
    """It holds the environment of whoever submitted, secrets included; and so do the files beside it."""
    for ending in ("", "-wal", "-shm"):
        assert (tmp_path / f"{JOURNAL_NAME}{ending}").stat().st_mode & 0o077 == 0


async def test_what_was_said_of_devices_comes_back_and_is_never_changed(journal: Journal, tmp_path: Path) -> None:
    """A device that was quarantined in March is so after the reboot in April."""
    said: list[DeviceEvent] = [
        DeviceQuarantined(1.0, "GPU-1", "XID 79: it has fallen off the bus", 79),
        DeviceReturned(2.0, "GPU-1", "returned by bob"),
    ]
    for event in said:
        await journal.append_device(event)
    assert await journal.device_events() == said
    with closing(sqlite3.connect(tmp_path / JOURNAL_NAME)) as db, pytest.raises(sqlite3.IntegrityError):
        db.execute("DELETE FROM device_event")


async def test_the_timeline_of_a_daemon_that_was_killed_ends_where_it_last_wrote(tmp_path: Path) -> None:
    """Nobody knows what a device did until the next daemon came; a night of training it was not."""
    journal = Journal(tmp_path)
    await journal.open()
    await write(journal, COURSE)
    begun = COURSE[-1].at + 100.0
    await journal.save_activities([Activity(begun, "a", "training", None, "s", 1), Activity(begun + 5, "b", "idle")])
    await journal.close()
    for _ in range(2):  # a second restart adds nothing
        again = Journal(tmp_path)
        await again.open()
        await again.close()
    with closing(sqlite3.connect(tmp_path / JOURNAL_NAME)) as db:
        rows = db.execute("SELECT device, activity, begun, ended FROM timeline ORDER BY device, begun").fetchall()
    last = rfc3339(begun + 5)
    assert rows == [
        ("a", "training", rfc3339(begun), last),
        ("a", "off", last, None),
        ("b", "idle", last, last),
        ("b", "off", last, None),
    ]
