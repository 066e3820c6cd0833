"""A sound round to doctor: a small study as the daemon would have journalled and told it."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from tests.nemesis.evidence import Round, read_files, read_rows, read_tables

from cnnbo.daemon import messages
from cnnbo.daemon.journal import Journal
from cnnbo.daemon.launch import attempt_dir
from cnnbo.scheduler.events import (
    Event,
    PointsSuggested,
    StudyCreated,
    TrialCompleted,
    TrialFailed,
    TrialsRequested,
    TrialStarted,
)
from cnnbo.scheduler.optimizers.base import Source
from cnnbo.scheduler.space import FloatParameter, SearchSpace
from cnnbo.scheduler.spec import Budget, Origin, StudySpec
from cnnbo.scheduler.study import Study
from cnnbo.scheduler.trial import Failure

_SPEC = StudySpec(
    SearchSpace((FloatParameter("x", 0.0, 1.0),)),
    name="alpha",
    command=("python", "train.py"),
    evaluations=3,
    optimizer="sobol",
    initial=2,
    budget=Budget(cost=1.0, price_per_device_hour=360.0),  # ten seconds of one device
    origin=Origin(owner="me"),
)
_EVENTS: tuple[Event, ...] = (
    TrialsRequested(1.0, 2),
    PointsSuggested(1.0, 0, ((0.25,), (0.5,)), Source.SOBOL),
    TrialStarted(2.0, 1, 1, "GPU-0"),
    TrialStarted(2.0, 2, 1, "GPU-1"),
    TrialCompleted(3.0, 1, 1, 0.5),
    TrialFailed(3.0, 2, 1, Failure.INTERRUPTED),
    TrialStarted(4.0, 2, 2, "GPU-0"),
    TrialCompleted(5.0, 2, 2, 0.75),
    TrialsRequested(5.0, 1),
    PointsSuggested(5.0, 2, ((0.75,),), Source.SOBOL),
    TrialStarted(6.0, 3, 1, "GPU-1"),
    TrialFailed(7.0, 3, 1, Failure.CRASHED, "It fell over."),
)
_DEVICE = {"uuid": "GPU-0", "state": "idle"}


@pytest.fixture(scope="session")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Round:
    """A round in which everything is as it should be."""
    state = tmp_path_factory.mktemp("sound")
    study = asyncio.run(_journalled(state))
    for trial in study.trials:
        for attempt in trial.attempts:
            folder = attempt_dir(state, study.name, trial.id, attempt.n)
            folder.mkdir(parents=True)
            if attempt.outcome == "complete":
                (folder / "result.json").write_text(json.dumps({"value": trial.value}))
    assert study.ended_at is not None
    shown = json.loads(json.dumps(messages.show_object(study, study.ended_at)))
    return Round(
        rows=read_rows(state),
        tables=read_tables(state),
        files=read_files(state),
        patterns={},
        shown={study.name: shown},
        devices=[_DEVICE],
        retained=_retained(study),
    )


async def _journalled(state: Path) -> Study:
    journal = Journal(state)
    await journal.open()
    created = StudyCreated(0.0, _SPEC)
    study = Study(_SPEC)
    key = await journal.create(created, study)
    for event in _EVENTS:
        before, study = study, study.copy()
        study.check(event)
        study.handle(event)
        await journal.append(key, event, before, study)
    await journal.close()
    return study


def _retained(study: Study) -> dict[str, Any]:
    assert study.ended_at is not None
    news = messages.retained(study, study.trials, study.ended_at)
    envelope = {"schema": "s", "ts": "t", "boot": "b", "seq": 1}
    bodies = {message.topic: json.loads(json.dumps({**envelope, **(message.body or {})})) for message in news}
    return {"availability": "online", "info": {}, "device/GPU-0": {**envelope, **_DEVICE}, **bodies}
