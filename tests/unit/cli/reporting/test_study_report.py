from collections.abc import Callable
from functools import cache
from xml.etree import ElementTree

import pytest
from tests.comparisons import BEGIN, Outcome, Played, play

from cnnbo.cli.reporting.context import Context
from cnnbo.cli.reporting.parts import Drawing, Note, Section, Table
from cnnbo.cli.reporting.study_report import sections_of_study
from cnnbo.cli.reporting.traces import best_seen
from cnnbo.scheduler import CategoricalParameter, FloatParameter, IntParameter, SearchSpace, Study
from cnnbo.scheduler.events import StudyPaused, TrialCompleted, TrialFailed, TrialStarted
from cnnbo.scheduler.spec import Direction, StudySpec
from cnnbo.scheduler.trial import Failure, Trial

_CONTEXT = Context("numbers", False, ("a CPU slot",), BEGIN + 86_400.0)
_ONE = SearchSpace((FloatParameter("x_y", 0.0, 1.0),))
_MIXED = SearchSpace(
    (
        FloatParameter("rate$", 1e-9, 1e-3, "log"),
        IntParameter("width", 1, 2),
        CategoricalParameter("pooling & such", ("max", "avg", True, 3)),
    )
)


def _studied(training: Callable[[StudySpec, Trial], Outcome], spec: StudySpec) -> Study:
    played = Played(spec)
    play([played], training)
    return played.study


def _spec(space: SearchSpace, direction: Direction = Direction.MAXIMIZE, evaluations: int = 6) -> StudySpec:
    return StudySpec(
        space, command=("python", "train.py"), evaluations=evaluations, optimizer="random", direction=direction
    )


def _never_started() -> Study:
    return Study(_spec(_ONE), at=BEGIN)


def _still_running() -> Study:
    played = Played(_spec(_ONE))
    played.propose(BEGIN)
    played.take(TrialStarted(BEGIN, 1, 1, "cpu-0"))
    return played.study


def _paused_after_one() -> Study:
    played = Played(_spec(_ONE, evaluations=2))
    played.propose(BEGIN)
    played.take(TrialStarted(BEGIN, 1, 1, "cpu-0"))
    played.take(StudyPaused(BEGIN))
    played.take(TrialCompleted(BEGIN, 1, 1, 0.5))  # in no time at all
    return played.study


def _paused_by_crashes() -> Study:
    played = Played(_spec(_ONE))
    for trial in range(1, 6):
        played.propose(BEGIN)
        played.take(TrialStarted(BEGIN, trial, 1, "cpu-0"))
        failure = Failure.TIMEOUT if trial == 2 else Failure.CRASHED
        failed = TrialFailed(BEGIN, trial, 1, failure, "KeyError")
        played.take(TrialCompleted(BEGIN, trial, 1, 0.5, chance=0.6) if trial == 1 else failed)
    return played.study


def _all_failed() -> Study:
    return _studied(lambda _, __: Outcome(None, 0.0, Failure.TIMEOUT), _spec(_MIXED))


def _huge_and_tiny() -> Study:
    return _studied(lambda _, trial: Outcome(10.0 ** (6 * trial.id - 18), 3.0), _spec(_MIXED, Direction.MINIMIZE, 5))


def _nearly_equal() -> Study:
    return _studied(lambda _, trial: Outcome(-1e9 - 1e-4 * trial.id, 3.0, energy_j=5.0), _spec(_MIXED))


def _all_equal() -> Study:
    return _studied(lambda _, __: Outcome(0.0, 3.0), _spec(_ONE, Direction.MINIMIZE))


def _mostly_luck() -> Study:
    values = {2: 0.6, 4: None, 5: 0.7}
    return _studied(lambda _, trial: Outcome(values.get(trial.id, 0.1), 3.0, chance=0.2), _spec(_MIXED))


def _only_luck() -> Study:
    return _studied(lambda _, trial: Outcome(trial.id / 100, 3.0, chance=0.2), _spec(_MIXED))


_STUDIES = (
    _mostly_luck,
    _only_luck,
    _never_started,
    _still_running,
    _paused_after_one,
    _paused_by_crashes,
    _all_failed,
    _huge_and_tiny,
    _nearly_equal,
    _all_equal,
)


@cache
def _sections(study: Callable[[], Study]) -> tuple[Section, ...]:
    """A study's report; drawing takes long, so it is drawn once."""
    return sections_of_study(study(), _CONTEXT)


@pytest.mark.parametrize("study", _STUDIES, ids=lambda make: make.__name__.removeprefix("_"))
def test_any_study_has_a_report(study: Callable[[], Study]) -> None:
    """People look at reports of studies in whatever state, on whatever scale: none may fail or read as nonsense."""
    sections = _sections(study)
    assert sections[0].key == "result" and sections[-1].key == "data"
    for part in _parts(sections):
        if isinstance(part, Drawing):
            texts = [element.text or "" for element in ElementTree.fromstring(part.svg).iter() if element.text]
            assert part.alt and part.caption and part.png.startswith(b"\x89PNG")
            assert not any("nan" in text.lower() or "inf" in text.lower().split() for text in [*texts, part.alt])
        elif isinstance(part, Table):
            assert all(len(row) == len(part.columns) for row in part.rows)
            assert all(cell == cell for row in part.rows for cell in row), "NaN is no fact"


def _parts(sections: tuple[Section, ...]) -> list[Drawing | Table | Note]:
    return [part for section in sections for part in section.parts]


def test_without_a_value_nothing_is_called_best() -> None:
    """A study whose trials all failed has its failures to show, and no trace, network or best configuration."""
    keys = {part.key for part in _parts(_sections(_all_failed)) if not isinstance(part, Note)}
    assert {"failures", "slices", "timeline", "trials"} <= keys
    assert not keys & {"best-seen", "best-configuration", "figure-1-topology", "parallel-coordinates"}


def test_the_lowest_value_is_best_where_the_metric_is_minimised() -> None:
    """The summary, the table and the picture's text must name the same trial."""
    parts = _parts(_sections(_huge_and_tiny))
    summary = next(part for part in parts if isinstance(part, Note))
    trace = next(part for part in parts if isinstance(part, Drawing) and part.key == "best-seen")
    best = _huge_and_tiny().incumbent
    assert best is not None and best.id == 1
    assert "1e-12, of trial 1" in summary.paragraphs[0] and "of trial 1" in trace.alt


def test_a_study_is_never_called_by_data_that_it_did_not_have() -> None:
    """Captions say which data were used, and when."""
    parts = _parts(_sections(_all_equal))
    drawn = [part for part in parts if isinstance(part, Drawing)]
    assert drawn and all(
        "Measured on numbers, on" in part.caption and "SVHN" not in part.caption and "2026-01-02" in part.caption
        for part in drawn
    )


def _told(study: Callable[[], Study], key: str) -> str:
    """The caption of a part, or the text of the summary."""
    parts = _parts(_sections(study))
    if key == "summary":
        return next(part for part in parts if isinstance(part, Note)).paragraphs[0]
    return next(part.caption for part in parts if not isinstance(part, Note) and part.key == key)


def _rows(study: Callable[[], Study], key: str) -> list[dict[str, object]]:
    table = next(part for part in _parts(_sections(study)) if isinstance(part, Table) and part.key == key)
    return [dict(zip((column.key for column in table.columns), row, strict=True)) for row in table.rows]


def test_crashes_held_against_no_configuration_are_told_apart_from_failures() -> None:
    """What a broken script did says nothing of how the search went."""
    told = _told(_paused_by_crashes, "summary")
    assert "5 of 6 evaluations ended, 1 of them at chance, 1 failed, 3 undecided (equal crashes" in told


def test_trials_at_chance_are_told_apart_from_failures() -> None:
    """In the counts, the tables and the captions of the drawings."""
    assert "6 of 6 evaluations ended, 3 of them at chance, 1 failed" in _told(_mostly_luck, "summary")
    [failures] = _rows(_mostly_luck, "failures")
    assert (failures["trials"], failures["at_chance"], failures["diverged"]) == (6, 3, 1)
    assert failures["failed_share"] == pytest.approx(1 / 6)
    assert [row["at_chance"] for row in _rows(_mostly_luck, "trials")] == [
        "true",
        "false",
        "true",
        None,
        "false",
        "true",
    ]
    assert "1 failed (ticks at the bottom), 3 are at chance (dots there)" in _told(_mostly_luck, "best-seen")
    assert "1 failed ones; dots there: 3 at chance" in _told(_mostly_luck, "slices")
    assert "n = 2; ended: 6 of this study; 3 at chance are left out" in _told(_mostly_luck, "parallel-coordinates")


def test_a_study_of_nothing_but_luck_says_so_with_a_remedy() -> None:
    """Its best configuration is there, for what it is worth."""
    told = _told(_only_luck, "summary")
    assert "No trial is better than chance: look first at the range of the learning rate." in told
    assert "no better than what luck explains (0.2), and so is every other" in _told(_only_luck, "best-configuration")
    assert "all values are at chance" in _told(_only_luck, "best-seen")


def test_the_best_seen_so_far_is_luck_only_as_long_as_there_is_nothing_else() -> None:
    """Where the bound depends on the trial, luck may have the higher value."""
    study = _studied(
        lambda _, trial: Outcome(
            {1: 0.1, 2: 0.39, 3: 0.3}.get(trial.id, 0.2), 3.0, chance=0.4 if trial.id < 3 else 0.15
        ),
        _spec(_ONE, evaluations=4),
    )
    assert best_seen(study).tolist() == [-0.1, -0.39, -0.3, -0.3]
