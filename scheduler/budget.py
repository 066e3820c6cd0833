"""What a study has spent, and whether one more trial fits: pure functions of the study and the time."""

import statistics
from collections.abc import Iterable

from cnnbo.scheduler.study import Study
from cnnbo.scheduler.trial import Attempt, TrialState

SECONDS_PER_HOUR = 3600.0


def device_seconds(attempts: Iterable[Attempt], now: float) -> float:
    """Device time of attempts in seconds; one that runs counts until `now`."""
    return sum(max(0.0, (now if attempt.ended is None else attempt.ended) - attempt.started) for attempt in attempts)


def study_cost(study: Study, now: float) -> float | None:
    """What the study's device time has cost so far; None without a price."""
    price = study.spec.budget.price_per_device_hour
    if price <= 0:
        return None
    return device_seconds((a for trial in study.trials for a in trial.attempts), now) / SECONDS_PER_HOUR * price


def exceeded_limit(study: Study, now: float) -> str | None:
    """The limit that one more trial would exceed, or None if it fits.

    It fits if what is spent, plus for each running trial the larger of its cost so far and the median, plus one median
    stays within the budget. The median is that of ended attempts, and 0 before the first end. Time on the clock runs
    once for all devices: there, one median more must fit.

    Returns:
        `wall_clock`, `cost` or None.
    """
    budget = study.spec.budget
    durations = [a.duration_s for trial in study.trials for a in trial.attempts if a.duration_s is not None]
    median_s = statistics.median(durations) if durations else 0.0
    if budget.wall_clock_s is not None and study.wall_clock_s + median_s >= budget.wall_clock_s:
        return "wall_clock"
    if budget.cost is not None:
        committed_s = sum(durations) + median_s + sum(max(a, median_s) for a in _running_seconds(study, now))
        if committed_s / SECONDS_PER_HOUR * budget.price_per_device_hour > budget.cost:
            return "cost"
    return None


def _running_seconds(study: Study, now: float) -> list[float]:
    return [now - trial.attempts[-1].started for trial in study.trials if trial.state is TrialState.RUNNING]
