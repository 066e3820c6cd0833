"""What a journal tells without its daemon, beside studies and devices; and journals written in one go."""

import shutil
from pathlib import Path

import pytest
from tests.comparisons import Played, play, train

from cnnbo.daemon.board import Activity
from cnnbo.daemon.journal import JOURNAL_NAME, Journal, read_events, read_journal, read_timeline, write_journal
from cnnbo.models.registry import SVHN_CNN
from cnnbo.scheduler.errors import ConfigurationError
from cnnbo.scheduler.spec import StudySpec

OLD_JOURNAL = Path(__file__).parents[2] / "data" / "journal_v1.sqlite"
SPEC = StudySpec(SVHN_CNN.space, name="digits", evaluations=3, optimizer="random")


@pytest.fixture
def played() -> Played:
    played = Played(SPEC)
    play([played], train)
    return played


async def test_a_journal_written_in_one_go_is_one_a_daemon_can_open(played: Played, tmp_path: Path) -> None:
    """Readers and the daemon itself must not be able to tell it from one that grew."""
    write_journal(tmp_path / JOURNAL_NAME, [played.events])
    assert read_events(tmp_path, 1) == played.events
    journal = Journal(tmp_path)
    [stored] = await journal.open()
    await journal.close()
    assert stored.study.trials == played.study.trials


async def test_the_timeline_says_when_each_activity_ended(tmp_path: Path) -> None:
    """Gaps between trials are measured from it."""
    journal = Journal(tmp_path)
    await journal.open()
    begun = [Activity(10.0, "cpu-0", "training", None, "digits", 1), Activity(10.0, "cpu-1", "idle", "no study runs")]
    await journal.save_activities([*begun, Activity(12.5, "cpu-0", "idle", "no study runs")])
    told = read_timeline(tmp_path)  # while the daemon has it open
    await journal.close()
    assert [(spell.device, spell.activity, ended) for spell, ended in told] == [
        ("cpu-0", "training", 12.5),
        ("cpu-0", "idle", None),
        ("cpu-1", "idle", None),
    ]
    assert told[0][0] == begun[0]


def test_a_journal_from_before_the_timeline_has_none(tmp_path: Path) -> None:
    """A report of last year's study must still be drawn."""
    shutil.copy(OLD_JOURNAL, tmp_path / JOURNAL_NAME)
    assert read_timeline(tmp_path) == []
    assert read_journal(tmp_path)[0]


def test_an_empty_state_folder_has_no_timeline(tmp_path: Path) -> None:
    """Asking about nothing is no error."""
    assert read_timeline(tmp_path) == []


def test_a_damaged_journal_is_told_in_a_sentence(tmp_path: Path) -> None:
    """These readers too must not end in a traceback."""
    (tmp_path / JOURNAL_NAME).write_bytes(b"not a database at all, but long enough to look like one" * 9)
    with pytest.raises(ConfigurationError, match="can't be read as a journal"):
        read_timeline(tmp_path)
    with pytest.raises(ConfigurationError, match="can't be read as a journal"):
        read_events(tmp_path, 1)
