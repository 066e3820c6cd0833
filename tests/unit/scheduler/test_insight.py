"""What a study makes of what its surrogate says."""

import json
import math
from collections.abc import Mapping

import pytest

from cnnbo.scheduler.codec import decode_event, encode_event
from cnnbo.scheduler.events import AskOptimizer, Event, PointsSuggested, StudyCreated, TrialsRequested
from cnnbo.scheduler.insight import ASKS_TO_ADVISE, StudyInsight
from cnnbo.scheduler.optimizers.base import Source
from cnnbo.scheduler.space import FloatParameter, SearchSpace
from cnnbo.scheduler.spec import Direction, StudySpec
from cnnbo.scheduler.study import Study

SPEC = StudySpec(SearchSpace((FloatParameter("x", 0.0, 1.0), FloatParameter("y", 0.0, 1.0))))
SAID = {
    "relevance": {"y": 0.2, "x": 0.8},
    "best_mean": -0.9,
    "best_sd": 0.01,
    "noise_sd": 0.004,
    "expected_improvement": 0.002,
    "feasible_probability": 0.5,
    "observations": 30,
}
LITTLE = SAID
MUCH = SAID | {"expected_improvement": 0.4}


def suggest(*said: Mapping[str, object], spec: StudySpec = SPEC, source: Source = Source.SURROGATE) -> Study:
    """A study whose asks were answered with these insights."""
    study = Study(spec)
    for k, insight in enumerate(said):
        answer(study, k, insight, source)
    return study


def answer(study: Study, k: int, insight: Mapping[str, object], source: Source = Source.SURROGATE) -> list[Event]:
    requested = TrialsRequested(1.0, 1)
    [command] = study.handle(requested)
    assert isinstance(command, AskOptimizer)
    suggested = PointsSuggested(1.0, command.ask, ((0.5, (k + 1) / 100),), source, insight=insight)
    study.check(suggested)
    study.handle(suggested)
    return [requested, suggested]


def row(study: Study) -> int:
    assert study.insight is not None
    return study.insight.asks_below_noise


@pytest.mark.parametrize(("direction", "best"), [(Direction.MAXIMIZE, 0.9), (Direction.MINIMIZE, -0.9)])
def test_beliefs_are_turned_to_the_users_direction(direction: Direction, best: float) -> None:
    """Whoever maximises an accuracy must never read of -0.9; widths and gains have no direction."""
    insight = suggest(SAID, spec=StudySpec(SPEC.space, direction=direction)).insight
    assert insight is not None
    assert (insight.best_mean, insight.best_sd, insight.noise_sd) == (best, 0.01, 0.004)
    assert list(insight.relevance.items()) == [("x", 0.8), ("y", 0.2)]  # the most relevant first


def test_a_trial_that_fails_brings_no_gain() -> None:
    """The gain is that of a trial which may fail, or a lethal region would look promising."""
    insight = StudyInsight.read(SAID)
    assert insight is not None
    assert insight.expected_gain == pytest.approx(0.001)


@pytest.mark.parametrize(
    "said",
    [
        {"best_mean": math.nan, "best_sd": math.inf, "noise_sd": -1.0, "expected_improvement": "much"},
        {"relevance": [1, 2], "observations": True, "best_sd": None, "pid": 4711},
        {"relevance": {"x": "most", "y": math.nan}, "best_mean": 10**400},
    ],
)
def test_what_cannot_be_read_counts_as_not_told(said: dict[str, object]) -> None:
    """Journals of other versions must replay, and no NaN may get onto a screen or a topic."""
    assert suggest(said).insight is None


def test_missing_figures_leave_the_others() -> None:
    """Objectives near 1e308 have no finite deviation; what matters is known all the same."""
    insight = suggest({"relevance": {"x": 1.0}}).insight
    assert insight is not None
    assert (insight.relevance, insight.expected_gain, insight.is_gain_below_noise) == ({"x": 1.0}, None, False)


def test_stopping_is_advised_after_several_asks_in_a_row_and_not_before() -> None:
    """One ask below the noise is often luck; a hint that comes and goes is worse than none."""
    study = suggest(*[LITTLE] * (ASKS_TO_ADVISE - 1))
    assert study.insight is not None and not study.insight.advises_stop
    answer(study, 50, LITTLE)
    assert study.insight.advises_stop
    answer(study, 51, MUCH)
    assert (row(study), study.insight.advises_stop) == (0, False)


def test_an_ask_that_tells_no_figures_ends_the_row() -> None:
    """Not knowing is no reason to stop."""
    assert row(suggest(LITTLE, LITTLE, {"relevance": {"x": 1.0}}, LITTLE)) == 1


@pytest.mark.parametrize("source", [Source.INITIAL, Source.SOBOL])
def test_the_design_and_fallbacks_believe_nothing_and_change_nothing(source: Source) -> None:
    """Without a surrogate there is nothing to advise; one missed deadline doesn't make forget what was believed."""
    assert suggest({}, {}, source=source).insight is None
    study = suggest(LITTLE, LITTLE)
    before = study.insight
    answer(study, 60, {}, source)
    assert study.insight == before


def test_a_replay_advises_what_was_advised() -> None:
    """A restarted daemon must not forget the row, nor count it twice."""
    study = Study(SPEC, at=1.0)
    events: list[Event] = [StudyCreated(1.0, SPEC)]
    for k, said in enumerate((MUCH, LITTLE, LITTLE, LITTLE)):
        events += answer(study, k, said)
    journalled = [decode_event(json.loads(json.dumps(encode_event(event)))) for event in events]
    assert row(study) == 3
    assert Study.replay(journalled).insight == study.insight
