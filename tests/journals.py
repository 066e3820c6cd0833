"""State folders for tests of what reads them, made from played studies."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from tests.comparisons import BEGIN, DEVICES, Played

from cnnbo.daemon.board import Activity
from cnnbo.daemon.journal import JOURNAL_NAME, write_journal
from cnnbo.scheduler.study import Study


def write_state(state: Path, played: Iterable[Played]) -> Path:
    """A state folder with these studies, the devices they ran on, and their timeline; its path."""
    state.mkdir(parents=True, exist_ok=True)
    played = list(played)
    devices = [
        {"uuid": uuid, "index": index, "name": "A Processor", "state": "busy", "reason": None, "study": "small-bo-1"}
        for index, uuid in enumerate(DEVICES)
    ]
    activities = _activities([each.study for each in played])
    write_journal(state / JOURNAL_NAME, [each.events for each in played], devices, activities)
    return state


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
