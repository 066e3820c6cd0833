"""One ask with the surrogate: fit, believe what is pending, search, and again for the rest of the batch."""

import math

import numpy as np
import tensorflow as tf

from cnnbo.scheduler.errors import SurrogateFitError
from cnnbo.scheduler.optimizers.base import History, Points, Source, Suggestion
from cnnbo.scheduler.optimizers.distinct import TakenPoints, distinct_points
from cnnbo.scheduler.optimizers.space_filling import spread_points
from cnnbo.scheduler.optimizers.trieste.acquisition import FeasibleLogExpectedImprovement
from cnnbo.scheduler.optimizers.trieste.classifier import Feasibility
from cnnbo.scheduler.optimizers.trieste.hint import Hint
from cnnbo.scheduler.optimizers.trieste.propagation import base_rate_tilt
from cnnbo.scheduler.optimizers.trieste.search import BRIEF, THOROUGH, AcquisitionSearch
from cnnbo.scheduler.optimizers.trieste.subset import rows_to_fit
from cnnbo.scheduler.optimizers.trieste.surrogate import Evidence, Surrogate
from cnnbo.scheduler.optimizers.trieste.targets import TargetScale
from cnnbo.scheduler.space import SearchSpace

_ANCHORS = 3

_LIKELIEST = 16
"""Candidates to fill space that are left at least, however likely they are to fail."""

_FARTHEST = 10.0
"""Targets beyond this, in standard deviations, are no bounds that anybody means."""


class Engine:
    """The compiled graphs of one search space, and how an ask uses them.

    Args:
        space: the search space, of dimension D.
    """

    def __init__(self, space: SearchSpace) -> None:
        self._space = space
        self._objective = Surrogate(space)
        self._feasibility = Feasibility(space)
        # One function with failures and one without: a study without failures doesn't pay for their surrogate.
        self._functions: dict[bool, tuple[FeasibleLogExpectedImprovement, AcquisitionSearch]] = {}

    def suggest(self, history: History, seed: list[int], count: int) -> Suggestion:
        """Propose `count` points; `history` holds at least one observation. See `Optimizer.suggest`."""
        taken = TakenPoints(self._space, history.taken)
        taken.require(count)
        try:
            return self._suggest(history, taken, np.random.default_rng(seed), count)
        except tf.errors.OpError as error:
            raise SurrogateFitError(f"The surrogate failed in TensorFlow: {error.message}") from error

    def fill(self, history: History, seed: list[int], count: int) -> Suggestion:
        """Propose `count` points that fill space where trials are not likely to fail; see `Optimizer.suggest`.

        `history` holds at least one failure and one trial that finished.
        """
        rng = np.random.default_rng(seed)
        before = Hint.from_bytes(history.hint)
        hint = Hint(before.objective, self._fit_feasibility(history, before))
        taken = TakenPoints(self._space, history.taken)
        draws = spread_points(self._space, history.taken, rng, self._likely_to_finish)
        points = distinct_points(self._space, taken, draws, count, rng)
        return Suggestion(points, Source.SPACE_FILLING, {}, hint.to_bytes())

    def _likely_to_finish(self, points: Points) -> Points:
        """Those that rather finish than fail, and at least the likeliest."""
        log_p = self._feasibility.log_probability(tf.constant(points)).numpy()[:, 0]
        order = np.argsort(-log_p, kind="stable")
        likely = max(_LIKELIEST, int(np.sum(log_p > math.log(0.5))))
        return np.asarray(points[order[:likely]])

    def _suggest(self, history: History, taken: TakenPoints, rng: np.random.Generator, count: int) -> Suggestion:
        scale = _scale(history)
        evidence = _evidence(history, scale)
        before = Hint.from_bytes(history.hint)
        objective = self._objective.fit(evidence, before.objective)
        feasibility = self._fit_feasibility(history, before) if len(history.failed) else None
        insight = self._insight(evidence, scale) | {"observed": len(history.observed) + len(history.censored)}
        anchors = self._best_observed(evidence.points)
        has_failures = feasibility is not None
        function, search = self._function(evidence, history.pending, has_failures)
        candidates = search.candidates(anchors, rng)
        points, candidates = search.best_new(candidates, taken, rng, THOROUGH)
        insight |= _outlook(function, points, scale)
        while len(points) < count:
            self._function(evidence, np.concatenate([history.pending, points]), has_failures)
            best, candidates = search.best_new(candidates, taken, rng, BRIEF)
            points = np.concatenate([points, best])
        return Suggestion(points, Source.SURROGATE, _finite(insight), Hint(objective, feasibility).to_bytes())

    def _fit_feasibility(self, history: History, before: Hint) -> tuple[float, ...]:
        finished = np.concatenate([history.observed, history.censored])
        return self._feasibility.fit(finished, history.failed, before.feasibility)

    def _function(
        self, evidence: Evidence, pending: Points, has_failures: bool
    ) -> tuple[FeasibleLogExpectedImprovement, AcquisitionSearch]:
        """The acquisition function with these pending points, and the search for its maximum.

        The incumbent is the lowest posterior mean at observed and pending points, not the lowest observation: with
        noise that is mostly luck.
        """
        known = self._believe(evidence, pending)
        if has_failures not in self._functions:
            feasibility = self._feasibility if has_failures else None
            made = FeasibleLogExpectedImprovement(self._objective.process, feasibility)
            self._functions[has_failures] = made, AcquisitionSearch(self._space, made)
        function, search = self._functions[has_failures]
        function.compare_with(self._best_observed(known.points)[0], expects_luck=len(evidence.censored) > 0)
        return function, search

    def _believe(self, evidence: Evidence, pending: Points) -> Evidence:
        """Condition on the evidence and on what it predicts at the pending points; returns both.

        Kriging believer (Ginsbourger, Le Riche and Carraro 2010): the uncertainty around a pending point goes, the mean
        stays.
        """
        self._objective.condition(evidence)
        if len(pending) == 0:
            return evidence
        mean, _ = self._objective.predict(pending)
        both = evidence.believing(pending, mean)
        self._objective.condition(both)
        return both

    def _best_observed(self, observed: Points) -> Points:
        mean, _ = self._objective.predict(observed)
        return np.asarray(observed[np.argsort(mean[:, 0], kind="stable")[:_ANCHORS]])

    def _insight(self, evidence: Evidence, scale: TargetScale) -> dict[str, object]:
        mean, variance = self._objective.predict(evidence.points)
        best = int(np.argmin(mean))
        target = float(mean[best, 0])
        inverse = 1.0 / self._objective.length_scales
        return {
            "observations": len(evidence),
            "relevance": dict(zip(self._space.names, (inverse / inverse.sum()).tolist(), strict=True)),
            "best_mean": scale.objective(target),
            "best_sd": math.sqrt(float(variance[best, 0])) * scale.slope(target),
            "noise_sd": math.sqrt(self._objective.noise_variance) * scale.slope(target),
        }


def _scale(history: History) -> TargetScale:
    """The scale of what was observed and, counted once, of what luck explains: how often that came says nothing."""
    luck = [[np.median(history.bounds)]] if len(history.bounds) else np.empty((0, 1))
    return TargetScale.of(np.concatenate([history.objectives, luck]))


def _evidence(history: History, scale: TargetScale) -> Evidence:
    """No more trials than the surrogate of the objective takes."""
    measured, censored = rows_to_fit(history.objectives, len(history.censored))
    # A bound that is out of all proportion says as much when it is at the end of them, and would overflow.
    bounds = np.clip(history.bounds[censored], scale.objective(-_FARTHEST), scale.objective(_FARTHEST))
    return Evidence(
        history.observed[measured],
        scale.target(history.objectives[measured]),
        history.censored[censored],
        scale.target(bounds),
        base_rate_tilt(len(history.censored), len(history.observed)) if len(history.censored) else 0.0,
    )


def _outlook(function: FeasibleLogExpectedImprovement, point: Points, scale: TargetScale) -> dict[str, object]:
    """What the first point of the batch promises, in units of the objective."""
    x = tf.constant(point)
    log_ei = float(function.log_improvement(x)[0, 0])
    return {
        "expected_improvement": math.exp(min(log_ei, 300.0)) * scale.spread * scale.unit,
        "feasible_probability": math.exp(float(function.log_feasibility(x)[0, 0])),
    }


def _finite(insight: dict[str, object]) -> dict[str, object]:
    """The figures that are numbers; JSON has no infinity, and objectives near 1e308 lead there."""
    return {key: value for key, value in insight.items() if not isinstance(value, float) or math.isfinite(value)}
