"""Seconds of cnnbo's own asks by number of observations and size of the batch, on an otherwise idle machine."""

import json
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from cnnbo.scheduler.optimizers.base import History
from cnnbo.scheduler.optimizers.trieste.optimizer import TriesteOptimizer
from proposing.problems import PROBLEMS

CASES = ((50, 0, 1), (50, 20, 1), (50, 0, 8), (200, 0, 1), (500, 0, 1), (500, 250, 1), (2_000, 0, 1))
"""Numbers of observations, of failed trials, and of points asked for."""

PENDING = 3
REPEATS = 9

_PROBLEM = PROBLEMS["network"]  # d = 8, with integers and choices


@dataclass(frozen=True)
class Timing:
    """One case, as it is kept: a line of JSON.

    Attributes:
        observed: trials with a value.
        failed: trials without one.
        count: points asked for at once.
        seconds: of each of `REPEATS` asks, the one that traces graphs not among them; every ask knows one trial more
            than the one before it and has its hint.
    """

    observed: int
    failed: int
    count: int
    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        """Median of the seconds."""
        return float(np.median(self.seconds))


def measure(observed: int, failed: int, count: int) -> Timing:
    """Time one case."""
    known = _history(observed + REPEATS + 1, failed)
    optimizer, hint, seconds = TriesteOptimizer(_PROBLEM.space, 0), None, []
    for told in range(observed, observed + REPEATS + 1):
        history = replace(known, observed=known.observed[:told], objectives=known.objectives[:told], hint=hint)
        begin = time.perf_counter()
        hint = optimizer.suggest(history, told + failed + PENDING, count).hint
        seconds.append(round(time.perf_counter() - begin, 4))
    return Timing(observed, failed, count, tuple(seconds[1:]))


def save(path: Path, timings: Iterable[Timing]) -> None:
    """Write the timings, instead of older ones."""
    path.write_text("".join(json.dumps(asdict(timing)) + "\n" for timing in timings))


def load(path: Path) -> list[Timing]:
    """The timings of a file; none where it does not exist."""
    lines = path.read_text().splitlines() if path.exists() else []
    return [Timing(**{**data, "seconds": tuple(data["seconds"])}) for data in map(json.loads, lines)]


def _history(count: int, failed: int) -> History:
    """Random trials of the problem, and pending ones; those with the highest learning rates fail."""
    space, rng = _PROBLEM.space, np.random.default_rng(0)
    points = np.array([space.canonical(u) for u in rng.random((count + failed + PENDING, space.dimension)).tolist()])
    pending, points = points[:PENDING], points[PENDING:]
    is_failed = points[:, 0] >= np.sort(points[:, 0])[count:][0] if failed else np.zeros(count, dtype=bool)
    observed = points[~is_failed]
    values = [[_PROBLEM.mean(space.decode(point))] for point in observed]
    total = count + failed + PENDING + 1
    return History(observed, np.array(values, dtype=float), points[is_failed], pending, points[:0], total, 0)
