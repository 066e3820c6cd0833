"""What every optimizer keeps to."""

from collections.abc import Callable

import numpy as np
import pytest

from cnnbo.scheduler.errors import SpaceExhaustedError
from cnnbo.scheduler.optimizers.base import History, Optimizer, Points
from cnnbo.scheduler.space import CategoricalParameter, FloatParameter, IntParameter, Point, SearchSpace

MIXED = SearchSpace(
    (
        FloatParameter("learning_rate", 1e-5, 1.0, "log"),
        IntParameter("width", 3, 10),
        CategoricalParameter("pooling", ("max", "avg", "none")),
        FloatParameter("momentum", 0.5, 0.999, "reverse-log"),
    )
)
TINY = SearchSpace((IntParameter("depth", 1, 3), CategoricalParameter("pooling", ("max", "avg"))))

CreateOptimizer = Callable[[SearchSpace, int], Optimizer]


def drawn(space: SearchSpace, count: int, seed: int = 0) -> Points:
    """Random canonical points of a space, shape (count, D)."""
    rng = np.random.default_rng(seed)
    rows = [space.canonical(row.tolist()) for row in rng.random((count, space.dimension))]
    return np.array(rows).reshape(count, space.dimension)


def make_history(
    space: SearchSpace,
    observed: int = 6,
    failed: int = 0,
    pending: int = 0,
    *,
    censored: int = 0,
    initial: int = 0,
    hint: bytes | None = None,
) -> History:
    """A history whose objective is the squared distance to the centre; that of censored points is 0.5 or more."""
    ends = [observed, observed + failed, observed + failed + pending]
    points = np.split(drawn(space, observed + failed + pending + censored), ends)
    objectives = np.sum((points[0] - 0.5) ** 2, axis=1, keepdims=True)
    bounds = np.full((censored, 1), 0.5)
    nowhere = points[0][:0]
    return History(points[0], objectives, points[1], points[2], nowhere, 80, initial, hint, points[3], bounds)


def rows(points: Points) -> set[Point]:
    """The points as a set."""
    return {tuple(row) for row in points.tolist()}


class OptimizerContract:
    """The law of `Optimizer`; subclasses supply a fixture `create` that builds one from (space, seed)."""

    @pytest.mark.parametrize("count", [1, 3])
    def test_points_are_canonical_and_in_the_cube(self, create: CreateOptimizer, count: int) -> None:
        """The stored point is the configuration's own, or the surrogate learns about a place nobody trained at."""
        points = create(MIXED, 0).suggest(make_history(MIXED), 6, count).points
        assert points.shape == (count, MIXED.dimension)
        assert points.dtype == np.float64
        assert ((points >= 0) & (points <= 1)).all()
        assert rows(points) == {MIXED.canonical(point) for point in rows(points)}

    def test_nothing_is_proposed_twice(self, create: CreateOptimizer) -> None:
        """A repeated configuration is a wasted training run."""
        history = make_history(MIXED, observed=6, failed=2, pending=2, censored=3)
        points = create(MIXED, 0).suggest(history, 13, 4).points
        assert len(rows(points) - rows(history.taken)) == 4

    def test_the_same_call_gives_the_same_points(self, create: CreateOptimizer) -> None:
        """An ask can be repeated from the journal."""
        history = make_history(MIXED, failed=1, pending=1, censored=1)
        first, again = (create(MIXED, 0).suggest(history, 9, 2) for _ in range(2))
        assert first.points.tobytes() == again.points.tobytes()
        assert (first.source, first.hint) == (again.source, again.hint)

    def test_points_come_even_where_everything_is_at_chance(self, create: CreateOptimizer) -> None:
        """Nine configurations in ten may learn nothing, and the first nine all be of those."""
        history = make_history(MIXED, observed=0, censored=9)
        points = create(MIXED, 0).suggest(history, 9, 2).points
        assert len(rows(points) - rows(history.taken)) == 2

    def test_the_seed_matters_before_anything_is_known(self, create: CreateOptimizer) -> None:
        """Repetitions of an experiment differ by their seed alone."""
        empty = History.empty(MIXED.dimension)
        assert rows(create(MIXED, 0).suggest(empty, 0, 1).points) != rows(create(MIXED, 1).suggest(empty, 0, 1).points)

    def test_what_is_pending_is_not_repeated(self, create: CreateOptimizer) -> None:
        """With several devices the second ask comes before the first result."""
        optimizer, history = create(MIXED, 0), make_history(MIXED)
        first = optimizer.suggest(history, 6, 1).points
        waiting = History(history.observed, history.objectives, history.failed, first, history.excluded, 80, 0)
        assert rows(optimizer.suggest(waiting, 6, 1).points) != rows(first)

    def test_failures_alone_are_no_obstacle(self, create: CreateOptimizer) -> None:
        """The first trials of a bad space all fail, and the study must go on."""
        points = create(MIXED, 0).suggest(make_history(MIXED, observed=0, failed=5), 5, 1).points
        assert points.shape == (1, MIXED.dimension)

    @pytest.mark.parametrize("objective", [0.0, 1e300, -1e-300], ids=str)
    def test_equal_objectives_are_no_obstacle(self, create: CreateOptimizer, objective: float) -> None:
        """Networks that learn nothing all score the majority class."""
        history = make_history(MIXED)
        flat = History(
            history.observed, np.full((6, 1), objective), history.failed, history.pending, history.excluded, 80, 0
        )
        assert len(create(MIXED, 0).suggest(flat, 6, 1).points) == 1

    def test_any_finite_objective_is_taken(self, create: CreateOptimizer) -> None:
        """A loss that blew up just short of infinity is a value like any other."""
        history = make_history(MIXED)
        wild = np.array([[0.1], [0.2], [1e-300], [-1e308], [1e308], [3e5]])
        extreme = History(history.observed, wild, history.failed, history.pending, history.excluded, 80, 0)
        assert len(create(MIXED, 0).suggest(extreme, 6, 1).points) == 1

    def test_repeated_observations_are_no_obstacle(self, create: CreateOptimizer) -> None:
        """The same configuration may have been enqueued twice, with two results."""
        history = make_history(MIXED)
        twice = np.concatenate([history.observed, history.observed])
        values = np.concatenate([history.objectives, history.objectives + 0.1])
        repeated = History(twice, values, history.failed, history.pending, history.excluded, 80, 0)
        assert len(create(MIXED, 0).suggest(repeated, 12, 1).points) == 1

    def test_a_hint_of_somebody_else_is_no_obstacle(self, create: CreateOptimizer) -> None:
        """A journal may hold a hint of another version."""
        for hint in (b"\xff", b"[]", b'{"format":1,"objective":[1,2],"feasibility":"x"}'):
            assert len(create(MIXED, 0).suggest(make_history(MIXED, failed=1, hint=hint), 7, 1).points) == 1

    def test_a_small_space_is_proposed_to_the_last_configuration_and_no_further(self, create: CreateOptimizer) -> None:
        """A grid of six deserves all six, and then the study is finished, not stuck."""
        optimizer, seen = create(TINY, 3), np.empty((0, 2))
        for ask in range(6):
            half = (len(seen) + 1) // 2
            values = np.arange(half, dtype=float)[:, None]
            history = History(seen[:half], values, seen[half:], seen[:0], seen[:0], 80, 2)
            seen = np.concatenate([seen, optimizer.suggest(history, ask, 1).points])
        assert len(rows(seen)) == 6
        with pytest.raises(SpaceExhaustedError, match="6"):
            optimizer.suggest(History(seen[:0], np.empty((0, 1)), seen[:3], seen[3:], seen[:0], 80, 2), 6, 1)

    def test_a_batch_larger_than_what_is_left_is_refused(self, create: CreateOptimizer) -> None:
        """Half a batch would hide that the space is at its end."""
        history = History.empty(TINY.dimension)
        assert len(rows(create(TINY, 0).suggest(history, 0, 6).points)) == 6
        with pytest.raises(SpaceExhaustedError):
            create(TINY, 0).suggest(history, 0, 7)

    def test_excluded_points_are_not_proposed(self, create: CreateOptimizer) -> None:
        """A trial lost to a dying machine is not tried for ever."""
        every = create(TINY, 0).suggest(History.empty(TINY.dimension), 0, 6).points
        none = every[:0]
        left = create(TINY, 0).suggest(History(none, np.empty((0, 1)), none, none, every[:5], 80, 0), 5, 1).points
        assert rows(left) == rows(every[5:])
