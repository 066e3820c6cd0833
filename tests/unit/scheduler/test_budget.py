"""Whether one more trial fits the budget."""

import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnnbo.scheduler.budget import JOULES_PER_KWH, exceeded_limit, study_cost, study_energy
from cnnbo.scheduler.events import (
    PointsSuggested,
    TimeSpent,
    TrialCompleted,
    TrialFailed,
    TrialsRequested,
    TrialStarted,
)
from cnnbo.scheduler.optimizers.base import Source
from cnnbo.scheduler.space import FloatParameter, SearchSpace
from cnnbo.scheduler.spec import Budget, StudySpec
from cnnbo.scheduler.study import Study
from cnnbo.scheduler.trial import Failure


def study(budget: Budget, ended: int, running: int, energy_j: float | None = None) -> Study:
    """A study whose ended trials took an hour each, and whose running ones began at 7200 s."""
    made = Study(StudySpec(SearchSpace((FloatParameter("x", 0.0, 1.0),)), budget=budget))
    made.handle(TrialsRequested(0.0, ended + running))
    points = tuple((k / 10,) for k in range(ended + running))
    made.handle(PointsSuggested(0.0, 0, points, Source.SOBOL))
    for trial in range(1, ended + 1):
        made.handle(TrialStarted(0.0, trial, 1, "a"))
        made.handle(TrialCompleted(3600.0, trial, 1, 0.5, energy_j=energy_j))
    for trial in range(ended + 1, ended + running + 1):
        made.handle(TrialStarted(7200.0, trial, 1, "a"))
    return made


@pytest.mark.parametrize(
    ("cost", "now", "limit"),
    [
        (8.0, 7200.0, None),  # 2 spent + 1 for the running one (the median) + 1 for the next, at 2 an hour
        (7.9, 7200.0, "cost"),
        (10.0, 7200.0 + 2 * 3600, None),  # the running one has cost more than the median by now
        (9.9, 7200.0 + 2 * 3600, "cost"),
    ],
)
def test_cost_counts_running_trials_and_the_next_one(cost: float, now: float, limit: str | None) -> None:
    """A budget that is found exceeded afterwards is no budget."""
    assert exceeded_limit(study(Budget(cost=cost, price_per_device_hour=2.0), 2, 1), now) == limit


def test_the_first_trial_always_fits() -> None:
    """Before the first end nobody knows what a trial costs."""
    assert exceeded_limit(study(Budget(cost=0.01, price_per_device_hour=2.0), 0, 0), 0.0) is None


def test_wall_clock_counts_only_time_in_which_the_study_was_up() -> None:
    """A night with the machine off must not use up the hours."""
    made = study(Budget(wall_clock_s=3 * 3600.0), 2, 0)
    assert exceeded_limit(made, 1e9) is None
    made.handle(TimeSpent(0.0, 2 * 3600.0))
    assert exceeded_limit(made, 1e9) == "wall_clock"


def test_without_a_price_there_is_no_cost() -> None:
    """A cost of 0.00 would look measured."""
    assert study_cost(study(Budget(), 1, 0), 0.0) is None
    assert study_cost(study(Budget(price_per_device_hour=2.0), 1, 0), 0.0) == 2.0


@pytest.mark.parametrize(
    ("kwh", "running_j", "limit"),
    [
        (4.0, [0.0], None),  # 2 spent + 1 for the running one (the median) + 1 for the next
        (3.9, [0.0], "energy_kwh"),
        (5.0, [2 * JOULES_PER_KWH], None),  # the running one has used more than the median by now
        (4.9, [2 * JOULES_PER_KWH], "energy_kwh"),
        (3.0, [], None),  # nothing is known of the running one
    ],
)
def test_energy_counts_running_trials_and_the_next_one(kwh: float, running_j: list[float], limit: str | None) -> None:
    """The rule of the cost, in what the devices measured."""
    made = study(Budget(energy_kwh=kwh), 2, 1, energy_j=JOULES_PER_KWH)
    assert study_energy(made) == 2 * JOULES_PER_KWH
    assert exceeded_limit(made, 7200.0, running_j) == limit


def test_an_attempt_whose_end_no_daemon_saw_counts_at_the_mean_power_of_the_others() -> None:
    """Power cuts every night must not make the energy free."""
    made = study(Budget(energy_kwh=4.0), 2, 1, energy_j=JOULES_PER_KWH)  # two of an hour and 1 kWh each
    made.handle(TrialFailed(7200.0 + 1800.0, 3, 1, Failure.INTERRUPTED))  # half an hour
    assert exceeded_limit(made, 1e4) is None  # 2 + 0.5 + 1 for the next
    made.handle(TrialStarted(1e4, 3, 2, "a"))
    made.handle(TrialFailed(1e4 + 2000.0, 3, 2, Failure.INTERRUPTED))
    assert exceeded_limit(made, 2e4) == "energy_kwh"


def test_energy_that_was_not_measured_is_unknown() -> None:
    """On the CPU nobody knows."""
    assert study_energy(study(Budget(), 2, 1)) is None


@given(
    hours=st.lists(st.integers(0, 5), max_size=5),
    ages=st.lists(st.integers(0, 9), max_size=3),
    cost=st.integers(1, 80).map(float),
)
def test_one_more_trial_fits_or_not_by_the_words_of_the_rule(hours: list[int], ages: list[int], cost: float) -> None:
    """Spent, for each running one the larger of its cost and the median, and one median: all within the budget."""
    now, total = 100_000.0, len(hours) + len(ages)
    budget = Budget(cost=cost, price_per_device_hour=2.0)
    made = Study(StudySpec(SearchSpace((FloatParameter("x", 0.0, 1.0),)), budget=budget))
    if total:
        made.handle(TrialsRequested(0.0, total))
        made.handle(PointsSuggested(0.0, 0, tuple((k / 10,) for k in range(total)), Source.SOBOL))
    for trial, duration in enumerate(hours, 1):
        made.handle(TrialStarted(0.0, trial, 1, "a"))
        made.handle(TrialCompleted(duration * 3600.0, trial, 1, 0.5))
    for trial, age in enumerate(ages, len(hours) + 1):
        made.handle(TrialStarted(now - age * 3600.0, trial, 1, "a"))
    median = statistics.median(hours) if hours else 0
    committed = sum(hours) + sum(max(age, median) for age in ages) + median
    assert exceeded_limit(made, now) == ("cost" if committed * 2.0 > cost else None)
