"""Where the acquisition function is highest: many candidates, gradients for the reals, moves for the rest."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.optimize
import tensorflow as tf
from trieste.acquisition.optimizer import ScipyOptimizerGreenlet

from cnnbo.scheduler.optimizers.base import Points
from cnnbo.scheduler.optimizers.distinct import TakenPoints, bin_centres, distinct_points, grid
from cnnbo.scheduler.space import FloatParameter, IntParameter, SearchSpace

CANDIDATES = 1_024
"""Uniform candidates; beside them the neighbourhoods of the anchors."""

FINE = 200
"""An integer of more values than this is climbed like a real and rounded at the end: its steps are small enough."""

_NEIGHBOURS = 128
_STEPS = 40
_KEPT = 4
_LISTED_AT_MOST = 4_096

Slopes = Callable[[npt.NDArray[np.int_], Points], tuple[Points, Points]]


@dataclass(frozen=True, slots=True)
class Effort:
    """How long a search lasts.

    Attributes:
        starts: candidates to climb from, >= 1; the best one near each anchor comes in addition.
        rounds: how often climbing and moving take turns, >= 1.
    """

    starts: int
    rounds: int


THOROUGH = Effort(starts=8, rounds=3)
"""For the first point of an ask."""

BRIEF = Effort(starts=2, rounds=1)
"""For the others of a batch: they begin where the first search ended."""


@dataclass(frozen=True, slots=True, eq=False)
class Candidates:
    """Points to begin a search with, those near the anchors first, anchor by anchor.

    Attributes:
        points: shape (n, D), integers and choices canonical.
        anchors: how many neighbourhoods of `_NEIGHBOURS` points stand at the head.
    """

    points: Points
    anchors: int

    def starts(self, values: Points, count: int) -> Points:
        """The `count` best of all, and the best one near each anchor; `values` of shape (n,)."""
        best = np.argsort(-values, kind="stable")[:count].tolist()
        blocks = [slice(k * _NEIGHBOURS, (k + 1) * _NEIGHBOURS) for k in range(self.anchors)]
        near = [block.start + int(np.argmax(values[block])) for block in blocks]
        return self.points[list(dict.fromkeys([*best, *near]))]

    def with_more(self, points: Points) -> "Candidates":
        """These and further points."""
        return Candidates(np.concatenate([self.points, points]), self.anchors)


class AcquisitionSearch:
    """Maximises one acquisition function, whose graphs are traced once.

    Args:
        space: the search space, of dimension D.
        acquisition: from (n, 1, D) to (n, 1), to be maximised; its parameters may change between calls, its graph not.
    """

    def __init__(self, space: SearchSpace, acquisition: Callable[[tf.Tensor], tf.Tensor]) -> None:
        self._space = space
        self._acquisition = acquisition
        self._real = [d for d, parameter in enumerate(space.parameters) if _is_real(parameter)]
        self._centres = {
            d: np.array(bin_centres(parameter))
            for d, parameter in enumerate(space.parameters)
            if not isinstance(parameter, FloatParameter)
        }
        self._moves = {d: centres for d, centres in self._centres.items() if d not in self._real}
        # Any number of points: a fixed number would be traced again for each.
        signature = [tf.TensorSpec([None, space.dimension], tf.float64)]
        self._compiled_values = tf.function(self._trace_values, input_signature=signature, autograph=False)
        self._compiled_slopes = tf.function(self._trace_slopes, input_signature=signature, autograph=False)

    def candidates(self, anchors: Points, rng: np.random.Generator) -> Candidates:
        """Where the searches of one ask begin: a small space as a whole; else uniform points and what is near anchors.

        Args:
            anchors: good points whose neighbourhoods are looked at too, shape (A, D).
            rng: the source of the points.
        """
        if self._is_listed():
            return Candidates(np.array(list(grid(self._space))), 0)
        uniform = rng.random((CANDIDATES, self._space.dimension))
        near = [_neighbours(anchor, rng) for anchor in anchors]
        return Candidates(self._snapped(np.concatenate([*near, uniform])), len(anchors))

    def best_new(
        self, candidates: Candidates, taken: TakenPoints, rng: np.random.Generator, effort: Effort
    ) -> tuple[Points, Candidates]:
        """The best point found that is not taken, canonical, shape (1, D); it is added to `taken`.

        Args:
            candidates: where to begin.
            taken: what must not be proposed again.
            rng: chooses where nothing else is left.
            effort: how long to search.

        Returns:
            the point, and the candidates with what was climbed to, for the next point of the batch.

        Raises:
            SpaceExhaustedError: nothing is left.
        """
        values = self.values(candidates.points)
        if not self._is_listed():
            improved = self._improve(candidates.starts(values, effort.starts), effort.rounds)
            candidates = candidates.with_more(improved)
            values = np.concatenate([values, self.values(improved)])
        ranked = candidates.points[np.argsort(-values, kind="stable")]
        return distinct_points(self._space, taken, _then_anywhere(ranked, rng), 1, rng), candidates

    def values(self, points: Points) -> Points:
        """Acquisition at points (n, D), shape (n,); minus infinity where it is no number."""
        values = self._compiled_values(tf.constant(points)).numpy()
        return np.where(np.isnan(values), -np.inf, values).astype(np.float64)

    def _is_listed(self) -> bool:
        """Whether the space is so small that every configuration is a candidate."""
        return self._space.size is not None and self._space.size <= _LISTED_AT_MOST

    def _snapped(self, points: Points) -> Points:
        """The points with choices and integers moved to the nearest of their canonical coordinates."""
        snapped = points.copy()
        for d, centres in self._centres.items():
            snapped[:, d] = centres[np.searchsorted((centres[1:] + centres[:-1]) / 2, points[:, d])]
        return snapped

    def _improve(self, points: Points, rounds: int) -> Points:
        """Climb along the reals and move the other coordinates in turn, the better points on, until neither helps."""
        improved = [points]
        for _ in range(rounds):
            points = self._ascend(points)
            moved = self._move(points)
            improved.append(moved)
            if np.array_equal(moved, points):
                break
            points = moved[np.argsort(-self.values(moved), kind="stable")[:_KEPT]]
        return np.concatenate(improved[::-1])

    def _ascend(self, points: Points) -> Points:
        """Climb along the real coordinates, each point by itself; never ends lower than it began."""
        if not self._real:
            return points
        climbed = points.copy()
        climbed[:, self._real] = maximise_each(self._slopes(points), points[:, self._real], _STEPS)
        climbed = self._snapped(climbed)
        return np.where((self.values(climbed) > self.values(points))[:, None], climbed, points)

    def _move(self, points: Points) -> Points:
        """For each point the best change of one choice or one integer, or none."""
        if not self._moves:
            return points
        moves = [self._single_moves(point) for point in points]
        values = np.split(self.values(np.concatenate(moves)), np.cumsum([len(m) for m in moves])[:-1])
        return np.stack([m[int(np.argmax(v))] for m, v in zip(moves, values, strict=True)])

    def _single_moves(self, point: Points) -> Points:
        """The point itself, then changes of one coordinate: all choices; of an integer nearby and far values."""
        blocks = [point[None]]
        for d, centres in self._moves.items():
            is_ordered = isinstance(self._space.parameters[d], IntParameter)
            reached = centres[_reach(point[d], centres)] if is_ordered else centres
            block = np.repeat(point[None], len(reached), axis=0)
            block[:, d] = reached
            blocks.append(block)
        return np.concatenate(blocks)

    def _trace_values(self, points: tf.Tensor) -> tf.Tensor:
        return self._acquisition(points[:, None, :])[:, 0]

    def _slopes(self, points: Points) -> Slopes:
        """Acquisition and slopes of points whose real coordinates are replaced."""

        def slopes(rows: npt.NDArray[np.int_], reals: Points) -> tuple[Points, Points]:
            moved = points[rows]
            moved[:, self._real] = reals
            values, gradients = self._compiled_slopes(tf.constant(moved))
            return values.numpy(), gradients.numpy()[:, self._real]

        return slopes

    def _trace_slopes(self, points: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch(points)
            values = self._trace_values(points)
        return values, tape.gradient(values, points)


def maximise_each(slopes: Slopes, starts: Points, steps: int) -> Points:
    """Climb from each start within the unit cube by L-BFGS-B, all of them side by side, shape (n, R).

    Each climb is Trieste's greenlet around SciPy's; what they ask for at the same time is evaluated in one call.
    (Climbing the sum of all by one L-BFGS takes two to three times the steps: it has the worst of their curvatures.)

    Args:
        slopes: from rows of `starts` and where those have got to, to values (m,) and gradients (m, R).
        starts: shape (n, R).
        steps: iterations at most.
    """
    climbs = [ScipyOptimizerGreenlet() for _ in starts]
    box = scipy.optimize.Bounds(np.zeros(starts.shape[1]), np.ones(starts.shape[1]))
    options = {"options": {"maxiter": steps}}
    states = [climb.switch(start, box, [], options) for climb, start in zip(climbs, starts, strict=True)]
    while rows := [k for k, state in enumerate(states) if not isinstance(state, scipy.optimize.OptimizeResult)]:
        values, gradients = slopes(np.array(rows), np.array([states[k] for k in rows]))
        for k, value, gradient in zip(rows, values, gradients, strict=True):
            states[k] = climbs[k].switch(-value, -gradient)
    return np.array([state.x for state in states])


def _neighbours(anchor: Points, rng: np.random.Generator) -> Points:
    """Steps from the anchor, of all sizes from a thousandth to the whole cube, along about two axes each."""
    dimension = len(anchor)
    sizes = 10.0 ** rng.uniform(-3, 0, (_NEIGHBOURS, 1))
    moved = rng.random((_NEIGHBOURS, dimension)) < min(1.0, 2.0 / dimension)
    steps = sizes * rng.standard_normal((_NEIGHBOURS, dimension)) * moved
    return np.clip(anchor + steps, 0.0, 1.0)


def _is_real(parameter: object) -> bool:
    is_fine = isinstance(parameter, IntParameter) and parameter.high - parameter.low >= FINE
    return isinstance(parameter, FloatParameter) or is_fine


def _reach(coordinate: float, centres: Points) -> list[int]:
    """Indices at 0, 1, 2, 4, 8, … steps up and down from a canonical coordinate, those that exist."""
    here = int(np.searchsorted(centres, coordinate - 1e-12))
    steps = [0] + [2**k for k in range(len(centres).bit_length())]
    return sorted({k for step in steps for k in (here - step, here + step) if 0 <= k < len(centres)})


def _then_anywhere(ranked: Points, rng: np.random.Generator) -> Iterator[list[float]]:
    yield from ranked.tolist()
    while True:
        yield rng.random(ranked.shape[1]).tolist()
