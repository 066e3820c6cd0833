"""Events on their way to a broker: kept with what happened, numbered for ever, and never too many of them."""

import json
import shutil
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import pytest
from tests.events import some_event

from cnnbo.daemon.journal import JOURNAL_NAME, Journal, JournalFullError
from cnnbo.daemon.messages import retained
from cnnbo.daemon.outbox import EVENT_LIMIT, SCHEMA, Outbox
from cnnbo.daemon.sinks.base import StoredEvent, UnreadableEventsError
from cnnbo.scheduler.events import DeviceDrained, StudyCreated
from cnnbo.scheduler.space import FloatParameter, SearchSpace
from cnnbo.scheduler.spec import StudySpec
from cnnbo.scheduler.study import Study

OLD_JOURNAL = Path(__file__).parents[2] / "data" / "journal_v1.sqlite"
SPEC = StudySpec(SearchSpace((FloatParameter("x", 0.0, 1.0),)), name="digits", evaluations=9)


@asynccontextmanager
async def opened(state: Path, boot: str | None) -> AsyncIterator[Journal]:
    """A life of the daemon, as far as its journal goes."""
    journal = Journal(state, boot)
    await journal.open()
    try:
        yield journal
    finally:
        await journal.close()


async def happen(journal: Journal, number: int) -> None:
    """Something happens, and is told."""
    await journal.append_device(DeviceDrained(float(number), "cpu-0", ""), [some_event("drained", {"number": number})])


def rows(state: Path) -> int:
    with closing(sqlite3.connect(state / JOURNAL_NAME)) as db:
        return int(db.execute("SELECT count (*) FROM outbox").fetchone()[0])


def heard(events: list[StoredEvent]) -> list[tuple[Any, ...]]:
    bodies = [json.loads(event.payload) for event in events]
    assert [body["seq"] for body in bodies] == [event.seq for event in events]
    return [(body["boot"], body["seq"], body["number"]) for body in bodies]


async def test_what_was_not_acknowledged_is_there_in_the_next_life_as_it_was(tmp_path: Path) -> None:
    """Subscribers tell duplicates by boot and seq, so neither may change on the way through a restart."""
    async with opened(tmp_path, "a") as journal:
        for number in range(3):
            await happen(journal, number)
        [first, *_] = await journal.waiting_events(1)
        journal.acknowledge_events(first.seq)
    async with opened(tmp_path, "b") as journal:
        await happen(journal, 3)
        events = await journal.waiting_events(10)
        assert heard(events) == [("a", 2, 1), ("a", 3, 2), ("b", 4, 3)]
        assert (events[0].topic, json.loads(events[0].payload)["schema"]) == ("event", "cnnbo.event/1")


async def test_numbers_are_never_used_again(tmp_path: Path) -> None:
    """A subscriber sees by a gap what it missed, over restarts too; a number that comes twice would hide one."""
    async with opened(tmp_path, "a") as journal:
        await happen(journal, 0)
        journal.acknowledge_events(1)
    assert rows(tmp_path) == 0
    async with opened(tmp_path, "b") as journal:
        await happen(journal, 1)
        assert heard(await journal.waiting_events(10)) == [("b", 2, 1)]


async def test_an_acknowledgement_waits_for_the_next_transaction(tmp_path: Path) -> None:
    """A commit costs the disk a wait; news that has arrived is worth none."""
    async with opened(tmp_path, "a") as journal:
        for number in range(3):
            await happen(journal, number)
        journal.acknowledge_events(2)
        assert heard(await journal.waiting_events(10)) == [("a", 3, 2)]
        assert rows(tmp_path) == 3
        await happen(journal, 3)
        assert rows(tmp_path) == 2
        journal.acknowledge_events(4)
        await journal.look_at_disk()  # as is done every few seconds, when nothing happens for long
        assert rows(tmp_path) == 0


async def test_an_event_is_told_if_and_only_if_it_is_journalled(tmp_path: Path) -> None:
    """A result on a full disk waits, and is told once: not before it is journalled, and not twice."""
    async with opened(tmp_path, "a") as journal:
        db = sqlite3.connect(tmp_path / JOURNAL_NAME)
        pages = journal._db.execute("PRAGMA page_count").fetchone()[0]
        # SQLite's own page limit stands for the disk: it fails with the very same error.
        journal._db.execute(f"PRAGMA max_page_count = {pages}")
        number = 0
        with pytest.raises(JournalFullError):
            for number in range(1000):
                await happen(journal, number)
        journalled = db.execute("SELECT count (*) FROM device_event").fetchone()[0]
        assert (journalled, len(await journal.waiting_events(1000))) == (number, number)
        journal._db.execute("PRAGMA max_page_count = 1000000")
        await happen(journal, number)
        assert [event[2] for event in heard(await journal.waiting_events(1000))] == list(range(number + 1))
        db.close()


async def test_of_the_news_of_a_study_its_events_are_kept(tmp_path: Path) -> None:
    """State is published anew at each connection; a copy on disk would be old by then."""
    study = Study(SPEC, at=1.0)
    news = [some_event("study_created", {"study": "digits"}), *retained(study, study.trials, 1.0)]
    async with opened(tmp_path, "a") as journal:
        key = await journal.create(StudyCreated(1.0, SPEC), study, news)
        await journal.delete(key, 2.0, [some_event("study_deleted", {"study": "digits"})])
        kinds = [json.loads(event.payload)["event"] for event in await journal.waiting_events(10)]
    assert kinds == ["study_created", "study_deleted"]


async def test_a_daemon_that_tells_nobody_keeps_no_events(tmp_path: Path) -> None:
    """Without a reader the table would grow to its limit and stay there."""
    async with opened(tmp_path, None) as journal:
        await happen(journal, 0)
        assert await journal.waiting_events(10) == []
    assert rows(tmp_path) == 0


async def test_without_a_broker_only_the_events_of_former_lives_wait(tmp_path: Path) -> None:
    """That the embedded broker can't be started is known only after the first events; the last life's are still due."""
    async with opened(tmp_path, "a") as journal:
        await happen(journal, 0)
    async with opened(tmp_path, "b") as journal:
        await happen(journal, 1)
        await journal.keep_no_events()
        await happen(journal, 2)
        assert heard(await journal.waiting_events(10)) == [("a", 1, 0)]


@pytest.fixture
def table(tmp_path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(tmp_path / "table.sqlite", isolation_level=None)
    db.executescript(SCHEMA)
    return db


def test_the_oldest_go_and_are_counted(table: sqlite3.Connection, caplog: pytest.LogCaptureFixture) -> None:
    """With the broker gone for a month the journal must not grow, and one line must say what is lost, not thousands."""
    outbox = Outbox("a", limit=3)
    for number in range(10):
        outbox.note_dropped(outbox.tidy(table))
        outbox.add(table, [some_event("e", {"number": number})])
    outbox.note_dropped(outbox.tidy(table))
    assert [event[2] for event in heard(outbox.waiting(table, 10))] == [7, 8, 9]
    assert outbox.dropped == 7
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    outbox.acknowledge(10)
    outbox.note_dropped(outbox.tidy(table))
    assert (outbox.waiting(table, 10), outbox.dropped) == ([], 7)  # what was acknowledged isn't lost
    for number in range(4):
        outbox.add(table, [some_event("e", {"number": number})])
        outbox.note_dropped(outbox.tidy(table))
    assert (outbox.dropped, len(caplog.records)) == (8, 2)  # the next outage is told again
    table.close()


async def test_a_transaction_that_fails_drops_nothing(tmp_path: Path) -> None:
    """What is counted as lost is lost."""
    async with opened(tmp_path, "a") as journal:
        journal._outbox._limit = 2
        for number in range(3):
            await happen(journal, number)

        def fail() -> None:
            raise RuntimeError

        with pytest.raises(RuntimeError):
            journal._transact(fail)
        assert (journal.dropped_events, len(await journal.waiting_events(10))) == (0, 3)
        await happen(journal, 3)
        assert (journal.dropped_events, len(await journal.waiting_events(10))) == (1, 3)


def test_an_event_no_broker_takes_is_dropped_alone(table: sqlite3.Connection, caplog: pytest.LogCaptureFixture) -> None:
    """Brokers hang up on what is too long: kept, it would stand in the way of all that come after it."""
    outbox = Outbox("a")
    news = [some_event("e", body) for body in ({"number": 0}, {"text": "x" * 300_000}, {"text": "\udc80"})]
    outbox.add(table, [*news, some_event("e", {"number": 1})])
    assert heard(outbox.waiting(table, 10)) == [("a", 1, 0), ("a", 2, 1)]
    assert caplog.text.count("event dropped") == 2
    table.close()


async def test_a_full_outbox_is_small_beside_the_reserve(tmp_path: Path) -> None:
    """Ten thousand events of trials with ten parameters each must not be what fills the disk."""
    configuration = {f"parameter_{k}": 0.123456 for k in range(10)}
    event = some_event("trial_complete", {"study": "digits", "message": "x" * 200, "configuration": configuration})
    with closing(sqlite3.connect(tmp_path / "table.sqlite")) as db:
        db.executescript(SCHEMA)
        Outbox("a").add(db, [event] * EVENT_LIMIT)
        db.commit()
    assert (tmp_path / "table.sqlite").stat().st_size < 16 << 20


async def test_an_old_journal_gets_its_outbox(tmp_path: Path) -> None:
    """Written before there was one."""
    shutil.copyfile(OLD_JOURNAL, tmp_path / JOURNAL_NAME)
    async with opened(tmp_path, "a") as journal:
        await happen(journal, 0)
        assert heard(await journal.waiting_events(10)) == [("a", 1, 0)]


async def test_events_that_cannot_be_read_wait(tmp_path: Path) -> None:
    """A disk that fails for a moment is told from one on which nothing waits: whoever asked has to ask again."""
    async with opened(tmp_path, "a") as journal:
        await happen(journal, 0)
        journal._db.execute("ALTER TABLE outbox RENAME TO elsewhere")
        with pytest.raises(UnreadableEventsError, match="events can't be read, and wait"):
            await journal.waiting_events(10)
        journal._db.execute("ALTER TABLE elsewhere RENAME TO outbox")
        assert len(await journal.waiting_events(10)) == 1
