"""The journal of an older cnnbo becomes one of this version as a whole or not at all."""

import asyncio
import shutil
import sqlite3
import stat
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from cnnbo import __version__
from cnnbo.daemon.journal import JOURNAL_NAME, Journal, read_journal
from cnnbo.daemon.journal.migrations import MIGRATIONS
from cnnbo.scheduler.codec import FORMAT_VERSION
from cnnbo.scheduler.errors import ConfigurationError

DATA = Path(__file__).parents[2] / "data"
OLD_JOURNAL = DATA / "journal_v1.sqlite"
COPY_NAME = "journal.v1.sqlite"


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """A state folder with a journal of format 1."""
    shutil.copyfile(OLD_JOURNAL, tmp_path / JOURNAL_NAME)
    return tmp_path


async def open_and_close(state: Path) -> None:
    journal = Journal(state)
    try:
        await journal.open()
    finally:
        await journal.close()


def rows(path: Path, query: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(path)) as db:
        return db.execute(query).fetchall()


def tables(path: Path) -> list[tuple[Any, ...]]:
    return rows(path, "SELECT type, name, sql FROM sqlite_master WHERE name NOT LIKE 'sqlite_%' ORDER BY name")


def content(path: Path) -> dict[str, list[tuple[Any, ...]]]:
    """What stands in the tables that people's results are in, as far as format 1 has columns for it."""
    columns = dict.fromkeys(("study", "event", "trial", "attempt"), "*")
    columns["trial"] = "study, id, state, value, failure, source, configuration, message"
    return {table: rows(path, f"SELECT {names} FROM {table}") for table, names in columns.items()}


async def test_an_old_journal_is_upgraded_and_kept_as_it_was(state: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Whoever wants the older version back finds what it wrote."""
    await open_and_close(state)
    assert dict(rows(state / JOURNAL_NAME, "SELECT * FROM meta")) == {
        "format": str(FORMAT_VERSION),
        "version": __version__,
    }
    assert content(state / JOURNAL_NAME) == content(state / COPY_NAME) == content(OLD_JOURNAL)
    assert tables(state / COPY_NAME) == tables(OLD_JOURNAL)
    assert stat.S_IMODE((state / COPY_NAME).stat().st_mode) == 0o600
    assert f"as it was it lies in {state / COPY_NAME}" in caplog.text


async def test_a_journal_of_this_format_is_not_copied(tmp_path: Path) -> None:
    """An upgrade happens once."""
    for _ in range(2):
        await open_and_close(tmp_path)
    assert not (tmp_path / f"journal.v{FORMAT_VERSION}.sqlite").exists()


def test_reading_an_old_journal_changes_nothing(state: Path) -> None:
    """`cnnbo show` of a newer version beside a daemon of an older one, or on a folder that is an archive."""
    before = (state / JOURNAL_NAME).read_bytes()
    studies, _ = read_journal(state)
    assert [stored.study.name for stored in studies] == ["digits", "crashing", "cancelled"]
    assert (state / JOURNAL_NAME).read_bytes() == before
    assert [path.name for path in state.iterdir()] == [JOURNAL_NAME]


async def test_an_old_journal_with_later_tables_is_upgraded_too(state: Path) -> None:
    """Before formats were counted, tables were added without saying so."""
    with closing(sqlite3.connect(state / JOURNAL_NAME)) as db:
        MIGRATIONS[2](db)
        db.execute("INSERT INTO receipt VALUES (7, 'pause', '1', 'a')")
        db.commit()
    await open_and_close(state)
    assert rows(state / JOURNAL_NAME, "SELECT * FROM receipt") == [(7, "pause", "1", "a")]


def test_old_devices_tell_as_much_as_new_ones(state: Path) -> None:
    """`cnnbo devices` is asked before a daemon has looked at them anew."""
    [device] = read_journal(state)[1]
    assert device.items() > {"uuid": "GPU-1", "state": "idle", "index": 0, "reason": None, "since": None}.items()


@pytest.mark.parametrize("version", range(1, FORMAT_VERSION + 1))
async def test_journals_of_every_format_become_like_a_new_one(version: int, tmp_path: Path) -> None:
    """A migration that is changed after a release would leave those who had it with other tables."""
    (tmp_path / "new").mkdir()
    (tmp_path / "old").mkdir()
    shutil.copyfile(DATA / f"journal_v{version}.sqlite", tmp_path / "old" / JOURNAL_NAME)
    for folder in ("new", "old"):
        await open_and_close(tmp_path / folder)
    assert tables(tmp_path / "old" / JOURNAL_NAME) == tables(tmp_path / "new" / JOURNAL_NAME)


@pytest.mark.parametrize("version", [1, 2])
async def test_trials_of_before_there_was_chance_are_not_at_it(version: int, tmp_path: Path) -> None:
    """What was a failure then stays one: nobody knows the bound."""
    shutil.copyfile(DATA / f"journal_v{version}.sqlite", tmp_path / JOURNAL_NAME)
    failures = rows(tmp_path / JOURNAL_NAME, "SELECT count(*) FROM trial WHERE failure IS NOT NULL")
    await open_and_close(tmp_path)
    assert rows(tmp_path / JOURNAL_NAME, "SELECT DISTINCT chance, at_chance FROM trial") == [(None, 0)]
    assert rows(tmp_path / JOURNAL_NAME, "SELECT count(*) FROM trial WHERE failure IS NOT NULL") == failures
    assert {trial.at_chance for stored in read_journal(tmp_path)[0] for trial in stored.study.trials} == {False}


def test_there_is_a_migration_to_every_format() -> None:
    """A gap would be met by somebody who skipped a release."""
    assert sorted(MIGRATIONS) == list(range(2, FORMAT_VERSION + 1))


async def test_a_newer_journal_is_refused_by_the_name_of_who_wrote_it(tmp_path: Path) -> None:
    """After a downgrade people need to know which version to go back to, and what else they can do."""
    await open_and_close(tmp_path)
    newer = FORMAT_VERSION + 1
    with closing(sqlite3.connect(tmp_path / JOURNAL_NAME)) as db:
        db.execute("UPDATE meta SET value = ? WHERE key = 'format'", (newer,))
        db.execute("UPDATE meta SET value = '7.1.0' WHERE key = 'version'")
        db.commit()
    before = (tmp_path / JOURNAL_NAME).read_bytes()
    with pytest.raises(ConfigurationError) as refused:
        await open_and_close(tmp_path)
    assert str(refused.value) == (
        f"{tmp_path / JOURNAL_NAME}: this journal is of a newer cnnbo 7.1.0 (format {newer}; this one, {__version__}, "
        f"knows them up to {FORMAT_VERSION}); install cnnbo 7.1.0 or later, use another --state folder."
    )
    assert (tmp_path / JOURNAL_NAME).read_bytes() == before
    copy = tmp_path / f"journal.v{FORMAT_VERSION}.sqlite"
    copy.touch()
    with pytest.raises(ConfigurationError, match=f"or go back to {copy}, the copy from before that upgrade"):
        read_journal(tmp_path)


MORTALS = """
import asyncio, itertools, os, pathlib, shutil, signal, sqlite3, sys
from cnnbo.daemon.journal import JOURNAL_NAME, RESERVE_BYTES, RESERVE_NAME, Journal

old, folder = map(pathlib.Path, sys.argv[1:])
left = 0

class Mortal(sqlite3.Connection):
    def execute(self, *arguments):
        global left
        if not left:
            os.kill(os.getpid(), signal.SIGKILL)
        left -= 1
        return super().execute(*arguments)

connect = sqlite3.connect
sqlite3.connect = lambda *arguments, **options: connect(*arguments, **options, factory=Mortal)
for count in itertools.count():
    state = folder / str(count)
    state.mkdir()
    shutil.copyfile(old, state / JOURNAL_NAME)
    with (state / RESERVE_NAME).open("wb") as reserve:
        reserve.truncate(RESERVE_BYTES)  # writing it anew each time would take most of the time
    if not (pid := os.fork()):
        left = count
        asyncio.run(Journal(state).open())
        os._exit(0)
    if os.waitpid(pid, 0)[1] == 0:
        break
"""
"""Opens one journal after the other, each in a process that is killed before one more statement than the last one."""


def test_a_kill_before_any_statement_leaves_one_format_or_the_other(tmp_path: Path) -> None:
    """The power goes when it wants to: while the journal is copied, changed, or replayed."""
    subprocess.run([sys.executable, "-c", MORTALS, OLD_JOURNAL, tmp_path], check=True)
    formats = []
    for state in sorted(tmp_path.iterdir(), key=lambda state: int(state.name)):
        path = state / JOURNAL_NAME
        [(found,)] = rows(path, "SELECT value FROM meta WHERE key = 'format'")
        formats.append(int(found))
        assert content(path) == content(OLD_JOURNAL)
        assert (tables(path) == tables(OLD_JOURNAL)) == (found == "1")
        assert not (state / COPY_NAME).exists() or content(state / COPY_NAME) == content(OLD_JOURNAL)
    assert formats == sorted(formats) and formats.count(1) > 20 and formats.count(FORMAT_VERSION) > 5
    assert set(formats) == {1, FORMAT_VERSION}


FILLS = """
import asyncio, pathlib, resource, sys
from cnnbo.daemon.journal import Journal
from cnnbo.scheduler.errors import ConfigurationError

def fill(event, _arguments):
    if event == sys.argv[2]:
        resource.setrlimit(resource.RLIMIT_FSIZE, (8000, 8000))

sys.addaudithook(fill)
try:
    asyncio.run(Journal(pathlib.Path(sys.argv[1])).open())
except ConfigurationError as error:
    print(error)
"""
"""From a moment on no file may grow further than to 8,000 bytes, which SQLite takes for a disk that is full."""


@pytest.mark.parametrize("moment", ["tempfile.mkstemp", "os.rename"])
def test_a_disk_that_fills_up_meanwhile_changes_nothing(state: Path, moment: str) -> None:
    """Whether the copy doesn't fit or what is changed doesn't: the old version goes on as if nothing had been."""
    done = subprocess.run([sys.executable, "-c", FILLS, state, moment], capture_output=True, text=True, check=True)
    assert "free at least 17 MiB there. Nothing was changed." in done.stdout
    assert content(state / JOURNAL_NAME) == content(OLD_JOURNAL)
    assert tables(state / JOURNAL_NAME) == tables(OLD_JOURNAL)
    assert not list(state.glob(".*"))
    asyncio.run(open_and_close(state))
    assert rows(state / JOURNAL_NAME, "SELECT value FROM meta WHERE key = 'format'") == [(str(FORMAT_VERSION),)]


async def test_what_a_killed_upgrade_left_is_removed(state: Path) -> None:
    """A part of a copy is of use to nobody, and as large as the journal."""
    part = state / f".{COPY_NAME}-x7"
    part.touch()
    await open_and_close(state)
    assert not part.exists()


async def test_a_damaged_old_journal_stays_as_it_is(state: Path) -> None:
    """The version that wrote it may make more of it than this one."""
    with closing(sqlite3.connect(state / JOURNAL_NAME)) as db:
        db.execute("DROP TRIGGER event_is_never_removed")
        db.execute("DELETE FROM event WHERE seq = 9")
        db.commit()
    before = content(state / JOURNAL_NAME)
    with pytest.raises(ConfigurationError, match="event 9 is missing"):
        await open_and_close(state)
    assert content(state / JOURNAL_NAME) == before
    assert rows(state / JOURNAL_NAME, "SELECT value FROM meta WHERE key = 'format'") == [("1",)]
