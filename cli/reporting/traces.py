"""What a run had found after each of its evaluations, and what that sums up to.

Evaluations are counted in the order in which trials were proposed, failed ones too: that order is the same however
many devices shared the work.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cnnbo.models.registry import SVHN_CNN
from cnnbo.scheduler.comparison import objective
from cnnbo.scheduler.spec import Direction, StudySpec, to_objective
from cnnbo.scheduler.study import Study
from cnnbo.scheduler.trial import Trial, TrialState

Floats = NDArray[np.float64]

GUESSED_DIGIT = 0.1
"""Share of right answers of somebody who guesses one of ten digits."""


def counted(study: Study, evaluations: int | None = None) -> tuple[Trial, ...]:
    """Trials that count as evaluations: those that ended with a value or a failure, in the order of their proposal.

    Args:
        study: the run.
        evaluations: only its first so many trials; None = all.
    """
    ended = (TrialState.COMPLETE, TrialState.FAILED)
    return tuple(t for t in study.trials if t.state in ended and (evaluations is None or t.id <= evaluations))


def best_seen(study: Study, evaluations: int | None = None) -> Floats:
    """The best objective after each evaluation, lower is better, shape (N,); inf before the first value.

    One at chance is the best only as long as there is no other.
    """
    trials, direction = counted(study, evaluations), study.spec.direction
    every = [math.inf if t.value is None else objective(t, direction) for t in trials]
    learnt = [math.inf if t.at_chance else value for t, value in zip(trials, every, strict=True)]
    best, any_value = (np.minimum.accumulate(np.array(values, dtype=np.float64)) for values in (learnt, every))
    return np.where(np.isfinite(best), best, any_value)


def stacked(traces: Sequence[Floats]) -> Floats:
    """Traces of several runs, shape (R, N), as far as the longest one goes; NaN where a run has not got."""
    length = max((len(trace) for trace in traces), default=0)
    table = np.full((len(traces), length), math.nan)
    for row, trace in zip(table, traces, strict=True):
        row[: len(trace)] = trace
    return table


def quantile(objectives: Floats, share: float) -> Floats:
    """A quantile over runs of objectives (R, N) at each evaluation, shape (N,), without interpolation.

    Between a number and inf there is nothing to interpolate, so it is one of the runs' own values: with an even number
    of runs the median is the better of the two in the middle. Runs that have not got so far are left out.

    >>> quantile(np.array([[0.3, 0.1], [np.inf, 0.2], [0.5, np.nan]]), 0.5)
    array([0.5, 0.1])
    """
    columns = [np.sort(column[~np.isnan(column)]) for column in objectives.T]
    return np.array([_rank(column, share) for column in columns], dtype=np.float64)


def _rank(ascending: Floats, share: float) -> float:
    # Halves are rounded towards the middle, so that the quartiles lie alike around the median.
    place = share * (len(ascending) - 1)
    index = math.ceil(place - 0.5) if share >= 0.5 else math.floor(place + 0.5)
    return float(ascending[index]) if len(ascending) else math.nan


def floor_value(spec: StudySpec, studies: Sequence[Study]) -> float | None:
    """What a run has before its first success: a guess among ten digits, or the worst value of all the trials.

    None where no trial has a value.
    """
    values = [trial.value for study in studies for trial in study.trials if trial.value is not None]
    if spec.model == SVHN_CNN.name:
        return GUESSED_DIGIT
    return max(values, key=lambda value: to_objective(value, spec.direction), default=None)


def area(trace: Floats, floor: float, direction: Direction) -> float:
    """Mean of the best-seen value over all evaluations: the area under the trace, divided by its length.

    Args:
        trace: objectives, shape (N,), N >= 1.
        floor: the value that counts before the first success.
        direction: which way values get better.

    >>> area(np.array([np.inf, -0.8, -0.9]), 0.1, Direction.MAXIMIZE)
    0.6
    """
    known = np.where(np.isfinite(trace), trace, to_objective(floor, direction))
    return to_objective(float(known.mean()), direction)


def evaluations_to(trace: Floats, target: float) -> int | None:
    """The first number of evaluations, from 1, after which a trace is at most the target objective; None if never.

    >>> evaluations_to(np.array([np.inf, 0.4, 0.2]), 0.3), evaluations_to(np.array([0.4]), 0.3)
    (3, None)
    """
    reached = trace <= target
    return int(reached.argmax()) + 1 if reached.any() else None
