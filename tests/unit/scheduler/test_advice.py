"""What is said of a study that ended with nothing but luck, or without any."""

import pytest

from cnnbo.scheduler.advice import advice
from cnnbo.scheduler.space import FloatParameter, SearchSpace
from cnnbo.scheduler.spec import Direction, ReportSettings, StudySpec
from cnnbo.scheduler.study import Study


def told(*values: float | None, names: tuple[str, ...] = ("x",), **settings: object) -> Study:
    """A study whose trials came to these values; None = it failed."""
    space = SearchSpace(tuple(FloatParameter(name, 0.0, 1.0) for name in names))
    start = tuple(dict.fromkeys(names, (k + 1) / 100) for k in range(len(values)))
    study = Study(StudySpec(space, evaluations=len(values), start=start, **settings))  # type: ignore[arg-type]
    for value in values:
        trial = study.ask()
        study.tell(trial, failure="diverged") if value is None else study.tell(trial, value)
    return study


def test_where_luck_explains_everything_the_learning_rate_comes_first() -> None:
    """Then what may be wrong with the number itself."""
    report = ReportSettings(pattern=r"acc: (\S+)", chance=0.14)
    assert advice(told(0.1, None, 0.14, names=("width", "opt.lr"), report=report)) == (
        "no trial is better than chance: look first at the range of opt.lr, then at whether report.pattern finds the "
        "right number, then at whether report.chance = 0.14 is right where the direction is maximize"
    )


def test_a_model_of_ours_has_no_pattern_to_look_at() -> None:
    """It works out itself what luck explains; a name that says nothing is not made up."""
    study = told(0.3, report=ReportSettings(chance=0.5))
    assert advice(study) == (
        "no trial is better than chance: look first at the range of the learning rate, then at whether report.chance = "
        "0.5 is right where the direction is maximize"
    )


@pytest.mark.parametrize(("direction", "chance"), [(Direction.MINIMIZE, 2.25), (Direction.MAXIMIZE, 0.1)])
def test_where_luck_explains_nothing_the_bound_may_be_wrong(direction: Direction, chance: float) -> None:
    """It may be that of the other direction; a narrow space may have none, too, so nothing is claimed."""
    value = 0.3
    said = advice(told(value, value, direction=direction, report=ReportSettings(chance=chance)))
    assert said is not None and said.startswith(
        f"no trial is at chance: if that is unlikely, look at report.chance = {chance}"
    )
    assert said.endswith(f"where the direction is {direction}")


@pytest.mark.parametrize(
    ("values", "chance"), [((0.1, 0.5), 0.2), ((0.5,), None), ((None, None), 0.2)], ids=["some", "no bound", "no value"]
)
def test_else_nothing_is_said(values: tuple[float | None, ...], chance: float | None) -> None:
    """A sentence that is always there is not read."""
    assert advice(told(*values, report=ReportSettings(chance=chance))) is None


def test_nothing_is_said_before_the_end() -> None:
    """Nine configurations in ten may learn nothing, so the first ones prove nothing."""
    space = SearchSpace((FloatParameter("x", 0.0, 1.0),))
    study = Study(StudySpec(space, start=({"x": 0.5},), report=ReportSettings(chance=0.2)))
    study.tell(study.ask(), 0.1)
    assert study.at_chance == 1
    assert advice(study) is None
