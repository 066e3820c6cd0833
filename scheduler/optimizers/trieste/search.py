"""Where the acquisition function is highest: many candidates, gradients for the reals, moves for the rest."""

from collections.abc import Callable, Iterator

import numpy as np
import scipy.optimize
import tensorflow as tf

from cnnbo.scheduler.optimizers.base import Points
from cnnbo.scheduler.optimizers.distinct import TakenPoints, distinct_points, grid
from cnnbo.scheduler.optimizers.trieste.kernel import coarse_centres
from cnnbo.scheduler.space import SearchSpace

CANDIDATES = 1_024
"""Uniform candidates; beside them the neighbourhoods of the anchors."""

_NEIGHBOURS = 128
_STARTS = 8
_ROUNDS = 3
_STEPS = 50
_LISTED_AT_MOST = 4_096


class AcquisitionSearch:
    """Maximises one acquisition function, whose graphs are traced once.

    Args:
        space: the search space, of dimension D.
        acquisition: from (n, 1, D) to (n, 1), to be maximised; its parameters may change between calls, its graph not.
    """

    def __init__(self, space: SearchSpace, acquisition: Callable[[tf.Tensor], tf.Tensor]) -> None:
        self._space = space
        self._acquisition = acquisition
        self._centres = [
            None if (centres := coarse_centres(parameter)) is None else np.array(centres)
            for parameter in space.parameters
        ]
        self._real = [d for d, centres in enumerate(self._centres) if centres is None]
        self._coarse = [d for d, centres in enumerate(self._centres) if centres is not None]
        # Any number of points: a fixed number would be traced again for each.
        signature = [tf.TensorSpec([None, space.dimension], tf.float64)]
        self._compiled_values = tf.function(self._trace_values, input_signature=signature, autograph=False)
        self._compiled_ascent = tf.function(self._trace_ascent, input_signature=signature, autograph=False)

    def best_new(self, anchors: Points, taken: TakenPoints, rng: np.random.Generator) -> Points:
        """The best point found that is not taken, canonical, shape (1, D); it is added to `taken`.

        Args:
            anchors: good points whose neighbourhoods are looked at too, shape (A, D).
            taken: what must not be proposed again.
            rng: the source of the candidates.

        Raises:
            SpaceExhaustedError: nothing is left.
        """
        candidates = self._candidates(anchors, rng)
        values = self.values(candidates)
        if not self._is_listed():
            improved = self._improve(self._starts(candidates, values, len(anchors)))
            candidates = np.concatenate([improved, candidates])
            values = np.concatenate([self.values(improved), values])
        ranked = candidates[np.argsort(-values, kind="stable")]
        return distinct_points(self._space, taken, _then_anywhere(ranked, rng), 1, rng)

    def values(self, points: Points) -> Points:
        """Acquisition at points (n, D), shape (n,); minus infinity where it is no number."""
        values = self._compiled_values(tf.constant(points)).numpy()
        return np.where(np.isnan(values), -np.inf, values).astype(np.float64)

    def _is_listed(self) -> bool:
        """Whether the space is so small that every configuration is a candidate."""
        return self._space.size is not None and self._space.size <= _LISTED_AT_MOST

    def _candidates(self, anchors: Points, rng: np.random.Generator) -> Points:
        """The whole of a small space; else neighbours of the anchors, anchor by anchor, then uniform points."""
        if self._is_listed():
            return np.array(list(grid(self._space)))
        uniform = rng.random((CANDIDATES, self._space.dimension))
        near = [self._neighbours(anchor, rng) for anchor in anchors]
        return self._snapped(np.concatenate([*near, uniform]))

    def _neighbours(self, anchor: Points, rng: np.random.Generator) -> Points:
        """Steps from the anchor, of all sizes from a thousandth to the whole cube, along about two axes each."""
        dimension = len(anchor)
        sizes = 10.0 ** rng.uniform(-3, 0, (_NEIGHBOURS, 1))
        moved = rng.random((_NEIGHBOURS, dimension)) < min(1.0, 2.0 / dimension)
        steps = sizes * rng.standard_normal((_NEIGHBOURS, dimension)) * moved
        return np.clip(anchor + steps, 0.0, 1.0)

    def _snapped(self, points: Points) -> Points:
        """The points with choices and coarse integers moved to the nearest of their canonical coordinates."""
        snapped = points.copy()
        for d in self._coarse:
            centres = self._centres[d]
            assert centres is not None
            snapped[:, d] = centres[np.searchsorted((centres[1:] + centres[:-1]) / 2, points[:, d])]
        return snapped

    def _starts(self, candidates: Points, values: Points, anchors: int) -> Points:
        """The best candidates of all, and the best one near each anchor."""
        best = np.argsort(-values, kind="stable")[:_STARTS].tolist()
        near = [
            k * _NEIGHBOURS + int(np.argmax(values[k * _NEIGHBOURS : (k + 1) * _NEIGHBOURS])) for k in range(anchors)
        ]
        return candidates[list(dict.fromkeys([*best, *near]))]

    def _improve(self, points: Points) -> Points:
        """Climb along the reals and move the other coordinates in turn, until neither helps."""
        for _ in range(_ROUNDS):
            points = self._ascend(points)
            moved = self._move_coarse(points)
            if np.array_equal(moved, points):
                break
            points = moved
        return points

    def _ascend(self, points: Points) -> Points:
        """L-BFGS over the real coordinates of all points at once: their sum is maximal when each of them is."""
        if not self._real:
            return points
        shape = (len(points), len(self._real))

        def loss(flat: Points) -> tuple[float, Points]:
            moved = points.copy()
            moved[:, self._real] = flat.reshape(shape)
            values, gradients = self._compiled_ascent(tf.constant(moved))
            return -float(tf.reduce_sum(values)), -gradients.numpy()[:, self._real].ravel()

        flat = points[:, self._real].ravel()
        result = scipy.optimize.minimize(
            loss, flat, jac=True, method="L-BFGS-B", bounds=[(0.0, 1.0)] * flat.size, options={"maxiter": _STEPS}
        )
        climbed = points.copy()
        climbed[:, self._real] = result.x.reshape(shape)
        # A failed line search may end lower for some of the points.
        return np.where((self.values(climbed) > self.values(points))[:, None], climbed, points)

    def _move_coarse(self, points: Points) -> Points:
        """For each point the best change of one choice or one coarse integer, or none."""
        if not self._coarse:
            return points
        moves = [self._single_moves(point) for point in points]
        values = np.split(self.values(np.concatenate(moves)), np.cumsum([len(m) for m in moves])[:-1])
        return np.stack([m[int(np.argmax(v))] for m, v in zip(moves, values, strict=True)])

    def _single_moves(self, point: Points) -> Points:
        """The point itself, then every change of one of its choices or coarse integers."""
        blocks = [point[None]]
        for d in self._coarse:
            centres = self._centres[d]
            assert centres is not None
            block = np.repeat(point[None], len(centres), axis=0)
            block[:, d] = centres
            blocks.append(block)
        return np.concatenate(blocks)

    def _trace_values(self, points: tf.Tensor) -> tf.Tensor:
        return self._acquisition(points[:, None, :])[:, 0]

    def _trace_ascent(self, points: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch(points)
            values = self._trace_values(points)
        return values, tape.gradient(values, points)


def _then_anywhere(ranked: Points, rng: np.random.Generator) -> Iterator[list[float]]:
    yield from ranked.tolist()
    while True:
        yield rng.random(ranked.shape[1]).tolist()
