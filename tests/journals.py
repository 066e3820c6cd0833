"""State folders with studies that have taken their course, without a daemon, for tests of what reads them."""

import asyncio
import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from tests.comparisons import BEGIN, DEVICES, Played

from cnnbo.daemon.board import Activity
from cnnbo.daemon.journal import JOURNAL_NAME, Journal, write_journal
from cnnbo.scheduler.events import Event, StudyCreated
from cnnbo.scheduler.spec import StudySpec
from cnnbo.scheduler.study import Study


def write_state(state: Path, played: Iterable[Played], data_dir: Path | None = None) -> Path:
    """A state folder with these studies, the devices they ran on, and their timeline; its path.

    Studies that have a data folder get the one that is given.
    """
    state.mkdir(parents=True, exist_ok=True)
    played = list(played)
    courses = [
        each.events if data_dir is None else [_moved(event, data_dir) for event in each.events] for each in played
    ]
    devices = [
        {"uuid": uuid, "index": index, "name": "A Processor", "state": "busy", "reason": None, "study": "small-bo-1"}
        for index, uuid in enumerate(DEVICES)
    ]
    activities = _activities([each.study for each in played])
    write_journal(state / JOURNAL_NAME, courses, devices, activities)
    return state


def _moved(event: Event, data_dir: Path | None) -> Event:
    if isinstance(event, StudyCreated) and event.spec.data_dir is not None and data_dir is not None:
        return replace(event, spec=replace(event.spec, data_dir=str(data_dir)))
    return event


def _activities(studies: Sequence[Study]) -> list[Activity]:
    """Each device training, idle in between, and off at the ends."""
    attempts = sorted(
        ((attempt, study.name, trial.id) for study in studies for trial in study.trials for attempt in trial.attempts),
        key=lambda each: each[0].started,
    )
    found = [Activity(BEGIN - 60.0, device, "idle", "no study runs") for device in DEVICES]
    for attempt, study, trial in attempts:
        found.append(Activity(attempt.started, attempt.device, "training", None, study, trial))
        if attempt.ended is not None:
            found.append(Activity(attempt.ended, attempt.device, "idle", "waits for its next trial"))
    return sorted(found, key=lambda activity: activity.at)


def journal_study(state: Path, spec: StudySpec, *events: Event) -> Study:
    """Journal a study and what happened to it; the study as it is then."""
    return asyncio.run(_journal(state, spec, events))


async def _journal(state: Path, spec: StudySpec, events: tuple[Event, ...]) -> Study:
    journal, study = Journal(state), Study(spec, at=1.0)
    await journal.open()
    try:
        key = await journal.create(StudyCreated(1.0, spec), study)
        for event in events:
            before = study.copy()
            study.check(event)
            study.handle(event)
            await journal.append(key, event, before, study)
    finally:
        await journal.close()
    return study


def moved(path: Path, old: str, new: str) -> None:
    """Have everything in a journal seem to have happened in another folder."""
    with closing(sqlite3.connect(path)) as db:
        triggers = db.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'event'")
        kept = triggers.fetchall()
        for name, _ in kept:
            db.execute(f"DROP TRIGGER {name}")
        db.execute("UPDATE event SET body = replace (body, ?, ?)", (old, new))
        for _, sql in kept:
            db.execute(sql)
        db.commit()
