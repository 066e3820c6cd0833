"""One ask with the surrogate: fit, believe what is pending, search, and again for the rest of the batch."""

import math
from dataclasses import replace

import numpy as np
import tensorflow as tf
from trieste.data import Dataset
from trieste.models.gpflow.models import GaussianProcessRegression
from trieste.types import Tag

from cnnbo.scheduler.errors import SurrogateFitError
from cnnbo.scheduler.optimizers.base import History, Points, Source, Suggestion
from cnnbo.scheduler.optimizers.distinct import TakenPoints
from cnnbo.scheduler.optimizers.trieste.acquisition import (
    OBJECTIVE,
    FeasibleLogExpectedImprovement,
    PendingBelieved,
)
from cnnbo.scheduler.optimizers.trieste.classifier import Feasibility
from cnnbo.scheduler.optimizers.trieste.hint import Hint
from cnnbo.scheduler.optimizers.trieste.search import BRIEF, THOROUGH, AcquisitionSearch
from cnnbo.scheduler.optimizers.trieste.subset import rows_to_fit
from cnnbo.scheduler.optimizers.trieste.surrogate import Surrogate
from cnnbo.scheduler.optimizers.trieste.targets import TargetScale
from cnnbo.scheduler.space import SearchSpace

_ANCHORS = 3


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

    def _suggest(self, told: History, taken: TakenPoints, rng: np.random.Generator, count: int) -> Suggestion:
        whole = _with_bounds_as_objectives(told)
        history = _part_to_fit(whole)
        scale = TargetScale.of(history.objectives)
        targets = scale.target(history.objectives)
        before = Hint.from_bytes(whole.hint)
        hint = Hint(self._objective.fit(history.observed, targets, before.objective))
        if len(whole.failed):
            feasibility = self._feasibility.fit(whole.observed, whole.failed, before.feasibility)
            hint = replace(hint, feasibility=feasibility)
        insight = self._insight(history.observed, scale) | {"observed": len(whole.observed)}
        anchors = self._best_observed(history.observed)
        function, search = self._function(history, targets, history.pending)
        candidates = search.candidates(anchors, rng)
        points, candidates = search.best_new(candidates, taken, rng, THOROUGH)
        insight |= _outlook(function, points, scale)
        while len(points) < count:
            self._function(history, targets, np.concatenate([history.pending, points]))
            best, candidates = search.best_new(candidates, taken, rng, BRIEF)
            points = np.concatenate([points, best])
        return Suggestion(points, Source.SURROGATE, _finite(insight), hint.to_bytes())

    def _function(
        self, history: History, targets: Points, pending: Points
    ) -> tuple[FeasibleLogExpectedImprovement, AcquisitionSearch]:
        """The acquisition function with these pending points, and the search for its maximum."""
        has_failures = len(history.failed) > 0
        models: dict[Tag, GaussianProcessRegression] = {OBJECTIVE: self._objective.model}
        datasets: dict[Tag, Dataset] = {OBJECTIVE: Dataset(tf.constant(history.observed), tf.constant(targets))}
        builder = PendingBelieved(self._feasibility if has_failures else None)
        if has_failures not in self._functions:
            function = builder.prepare_acquisition_function(models, datasets, tf.constant(pending))
            self._functions[has_failures] = function, AcquisitionSearch(self._space, function)
        else:
            function, _ = self._functions[has_failures]
            builder.update_acquisition_function(function, models, datasets, tf.constant(pending))
        return self._functions[has_failures]

    def _best_observed(self, observed: Points) -> Points:
        mean, _ = self._objective.predict(observed)
        return np.asarray(observed[np.argsort(mean[:, 0], kind="stable")[:_ANCHORS]])

    def _insight(self, observed: Points, scale: TargetScale) -> dict[str, object]:
        mean, variance = self._objective.predict(observed)
        best = int(np.argmin(mean))
        target = float(mean[best, 0])
        inverse = 1.0 / self._objective.length_scales
        return {
            "observations": len(observed),
            "relevance": dict(zip(self._space.names, (inverse / inverse.sum()).tolist(), strict=True)),
            "best_mean": scale.objective(target),
            "best_sd": math.sqrt(float(variance[best, 0])) * scale.slope(target),
            "noise_sd": math.sqrt(self._objective.noise_variance) * scale.slope(target),
        }


def _with_bounds_as_objectives(history: History) -> History:
    """The history with each trial at chance observed at its bound: at one constant, whatever it scored."""
    return replace(
        history,
        observed=np.concatenate([history.observed, history.censored]),
        objectives=np.concatenate([history.objectives, history.bounds]),
        censored=history.censored[:0],
        bounds=history.bounds[:0],
    )


def _part_to_fit(history: History) -> History:
    """The history with no more observations than the surrogate of the objective takes."""
    rows = rows_to_fit(history.objectives)
    # Ids and sources belong to rows, some of which go here; nothing that fits needs them.
    return replace(history, observed=history.observed[rows], objectives=history.objectives[rows], trials=(), sources=())


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
