"""How well the surrogate foresees the next trials of runs that were made: a higher log density is better.

The trials that a run made next are those that its surrogate believed in, so this is where too much faith shows.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import scipy.stats

from proposing import groups
from proposing.simulation import Row

TRIALS = (16, 22, 28, 34)
"""Ended trials that are fitted to."""

_NEXT = 5
_WORST = -20.0
"""A log density below this counts as this: one wild miss must not hide all others."""


@dataclass(frozen=True)
class Foresight:
    """One fit.

    Attributes:
        problem, seed: of the run.
        trials: fitted to.
        log_density: mean over the next trials, in targets: of a value its density, of one at chance the probability to
            lie at or above the bound.
        noise_sd: of the fitted noise, in targets of standard deviation 1.
    """

    problem: str
    seed: int
    trials: int
    log_density: float
    noise_sd: float


def foresights(rows: Iterable[Row]) -> Iterator[Foresight]:
    """Fit to the first trials of each run and test on the next ones; runs without chance are left out."""
    for row in rows:
        if row.chance is not None:
            yield from _of_run(row, row.chance)


def _of_run(row: Row, chance: float) -> Iterator[Foresight]:
    from cnnbo.scheduler.optimizers.trieste.runtime import prepare

    prepare()
    from cnnbo.scheduler.optimizers.trieste.propagation import base_rate_tilt
    from cnnbo.scheduler.optimizers.trieste.surrogate import Evidence, Surrogate
    from cnnbo.scheduler.optimizers.trieste.targets import TargetScale

    space = groups.get(row.problem).space
    surrogate = Surrogate(space)
    ended = [(c, v) for c, v in zip(row.configurations, row.observed, strict=True) if v is not None]
    points = np.array([space.encode(configuration) for configuration, _ in ended])
    values = np.array([[value] for _, value in ended])
    learnt = values[:, 0] < chance
    for trials in TRIALS:
        past, after = np.arange(trials), np.arange(trials, min(trials + _NEXT, len(values)))
        observed, censored = past[learnt[past]], past[~learnt[past]]
        if not len(observed) or not len(censored) or not len(after):
            continue
        bounds = np.full((len(censored), 1), chance)
        scale = TargetScale.of(np.concatenate([values[observed], bounds[:1]]))
        tilt = base_rate_tilt(len(censored), len(observed))
        targets = scale.target(values[observed])
        evidence = Evidence(points[observed], targets, points[censored], scale.target(bounds), tilt)
        surrogate.fit(evidence, None)
        mean, variance = (part[:, 0] for part in surrogate.predict(points[after]))
        deviation = np.sqrt(variance + surrogate.noise_variance)
        density = np.where(
            learnt[after],
            scipy.stats.norm.logpdf(scale.target(values[after])[:, 0], mean, deviation),
            scipy.stats.norm.logsf(evidence.bounds[0, 0], mean, deviation),
        )
        log_density = float(np.maximum(density, _WORST).mean())
        yield Foresight(row.problem, row.seed, trials, log_density, surrogate.noise_variance**0.5)
