"""What a study has spent, and whether one more trial fits: pure functions of the study and the time."""

import statistics
from collections.abc import Collection, Iterable

from cnnbo.scheduler.study import Study
from cnnbo.scheduler.trial import Attempt, TrialState

SECONDS_PER_HOUR = 3600.0
JOULES_PER_KWH = 3.6e6


def device_seconds(attempts: Iterable[Attempt], now: float) -> float:
    """Device time of attempts in seconds; one that runs counts until `now`."""
    return sum(max(0.0, (now if attempt.ended is None else attempt.ended) - attempt.started) for attempt in attempts)


def study_cost(study: Study, now: float) -> float | None:
    """What the study's device time has cost so far; None without a price."""
    price = study.spec.budget.price_per_device_hour
    if price <= 0:
        return None
    return device_seconds((a for trial in study.trials for a in trial.attempts), now) / SECONDS_PER_HOUR * price


def study_energy(study: Study) -> float | None:
    """Joules of the study's ended attempts, as far as they were measured; None where none was."""
    measured = [trial.energy_j for trial in study.trials if trial.energy_j is not None]
    return sum(measured) if measured else None


def exceeded_limit(study: Study, now: float, running_j: Collection[float] = ()) -> str | None:
    """The limit that one more trial would exceed, or None if it fits.

    It fits if what is spent, plus for each running trial the larger of its cost so far and the median, plus one median
    stays within the budget. The median is that of ended attempts, and 0 before the first end. Time on the clock runs
    once for all devices: there, one median more must fit.

    Args:
        study: whose trial is to start.
        now: seconds since the epoch.
        running_j: what the devices used so far for each attempt that runs and is measured, in joules.

    Returns:
        `wall_clock`, `cost`, `energy_kwh` or None.
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
    if budget.energy_kwh is not None and _committed_j(study, running_j) > budget.energy_kwh * JOULES_PER_KWH:
        return "energy_kwh"
    return None


def _committed_j(study: Study, running_j: Collection[float]) -> float:
    ended = [attempt for trial in study.trials for attempt in trial.attempts if attempt.ended is not None]
    measured = [attempt.energy_j for attempt in ended if attempt.energy_j is not None]
    median_j = statistics.median(measured) if measured else 0.0
    return sum(measured) + _unmeasured_j(ended) + median_j + sum(max(so_far, median_j) for so_far in running_j)


def _unmeasured_j(ended: Collection[Attempt]) -> float:
    """What attempts used whose end no daemon saw, at the mean power of the others: a power cut is not for free."""
    measured = [attempt for attempt in ended if attempt.energy_j is not None]
    known_s = device_seconds(measured, 0.0)
    if known_s <= 0.0:
        return 0.0
    watts = sum(attempt.energy_j or 0.0 for attempt in measured) / known_s
    return watts * device_seconds((attempt for attempt in ended if attempt.energy_j is None), 0.0)


def _running_seconds(study: Study, now: float) -> list[float]:
    return [now - trial.attempts[-1].started for trial in study.trials if trial.state is TrialState.RUNNING]
