"""The objects that people script against."""

import json
from dataclasses import replace
from typing import Any

from cnnbo.daemon.messages import study_object
from cnnbo.scheduler.events import (
    AskOptimizer,
    PointsSuggested,
    StudyCancelled,
    StudyPaused,
    TrialCompleted,
    TrialsRequested,
    TrialStarted,
)
from cnnbo.scheduler.optimizers.base import Source
from cnnbo.scheduler.space import FloatParameter, SearchSpace
from cnnbo.scheduler.spec import StudySpec
from cnnbo.scheduler.study import Study

SPEC = StudySpec(SearchSpace((FloatParameter("x", 0.0, 1.0),)), name="s", start=({"x": 0.5},))
SAID: dict[str, object] = {
    "relevance": {"x": 1.0},
    "best_mean": -0.9123456789,
    "best_sd": 0.0041,
    "noise_sd": 0.004,
    "expected_improvement": 0.002,
    "feasible_probability": 0.5,
    "observations": 300,
    "observed": 812,
}


def after_asks(count: int, said: dict[str, object], spec: StudySpec = SPEC) -> Study:
    study = Study(spec)
    for k in range(count):
        [command] = study.handle(TrialsRequested(1.0, 1))
        assert isinstance(command, AskOptimizer)
        point = ((k + 1) / 100,) * spec.space.dimension
        study.handle(PointsSuggested(1.0, command.ask, (point,), Source.SURROGATE, insight=said))
    return study


def insight_of(study: Study) -> Any:
    return study_object(study, 2.0)["insight"]


def test_insight_is_null_before_the_surrogate_and_a_flat_object_after() -> None:
    """Scripts rely on the keys, and on a best in the direction of their metric."""
    assert insight_of(Study(SPEC)) is None
    assert insight_of(after_asks(2, SAID)) == {
        "relevance": {"x": 1.0},
        "best_mean": 0.9123456789,
        "best_sd": 0.0041,
        "noise_sd": 0.004,
        "expected_improvement": 0.002,
        "feasible_probability": 0.5,
        "expected_gain": 0.001,
        "observations": 300,
        "observed": 812,
        "asks_below_noise": 2,
        "stop_advised": False,
    }


def test_only_a_running_study_is_advised_to_stop() -> None:
    """Nobody should be told to stop what stands still already."""
    study = after_asks(5, SAID)
    assert insight_of(study)["stop_advised"] is True
    study.handle(StudyPaused(1.0))
    assert insight_of(study)["stop_advised"] is False
    study.handle(StudyCancelled(1.0))
    assert insight_of(study)["stop_advised"] is False


def test_the_insight_takes_its_share_of_a_topic_and_no_more() -> None:
    """The study topic stays under 8 KiB with as many parameters as is promised, or small brokers drop it."""
    names = [f"layer{k:02}_{'x' * 22}" for k in range(60)]  # 30 letters each
    space = SearchSpace(tuple(FloatParameter(name, 0.0, 0.987654321) for name in names))
    said = SAID | {"relevance": {name: (k + 1) / 1830 for k, name in enumerate(names)}}
    study = after_asks(1, said, replace(SPEC, space=space, start=()))
    study.handle(TrialStarted(1.0, 1, 1, "cpu-0"))
    study.handle(TrialCompleted(2.0, 1, 1, 0.9123456789))
    insight = insight_of(study)
    assert list(insight["relevance"])[:2] == [names[59], names[58]]
    assert len(json.dumps(insight)) < 1500
    told = study_object(study, 2.0)
    assert told["best"] is not None
    assert len(json.dumps(told, allow_nan=False)) < 8 * 1024
