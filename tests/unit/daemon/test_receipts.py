"""Receipts of requests in the journal: there with the effect or not at all, and never too many."""

import shutil
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.unit.daemon.test_journal import OLD_JOURNAL, SPEC

from cnnbo.daemon.journal import JOURNAL_NAME, Journal, Receipt
from cnnbo.scheduler.events import StudyCreated
from cnnbo.scheduler.study import Study


@pytest.fixture
async def journal(tmp_path: Path) -> AsyncIterator[Journal]:
    shutil.copy(OLD_JOURNAL, tmp_path / JOURNAL_NAME)
    journal = Journal(tmp_path)
    await journal.open()
    yield journal
    await journal.close()


async def test_a_journal_of_an_older_version_takes_receipts(journal: Journal) -> None:
    """Nobody starts anew for an update."""
    assert await journal.receipts() == []
    await journal.keep(Receipt("pause", "1", "a"))
    assert await journal.receipts() == [Receipt("pause", "1", "a")]


async def test_the_newest_are_kept_in_their_order(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    """A script that asks once a minute for years must not fill the disk."""
    monkeypatch.setattr("cnnbo.daemon.journal.rows.RECEIPTS_KEPT", 3)
    given = [Receipt("resume", str(number), "a") for number in range(5)]
    for receipt in given:
        await journal.keep(receipt)
    assert await journal.receipts() == given[2:]


async def test_an_effect_that_fails_leaves_no_receipt(journal: Journal) -> None:
    """A receipt without its effect would have the order refused for ever."""
    first = StudyCreated(1.0, replace(SPEC, name="new"))
    study = Study(first.spec, at=1.0)
    await journal.create(first, study, receipt=Receipt("submit", "1", "a"))
    with pytest.raises(Exception, match="UNIQUE"):
        await journal.create(first, study, receipt=Receipt("submit", "2", "a"))
    assert await journal.receipts() == [Receipt("submit", "1", "a")]
