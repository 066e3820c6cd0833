from typing import Any

import numpy as np
import pytest
from tests.contracts.optimizer import MIXED

from cnnbo.scheduler.optimizers.base import Points
from cnnbo.scheduler.optimizers.distinct import TakenPoints
from cnnbo.scheduler.space import SearchSpace

pytestmark = [pytest.mark.tensorflow, pytest.mark.usefixtures("libraries")]

NOTHING = np.empty((0, MIXED.dimension))


def search(space: SearchSpace, acquisition: Any) -> Any:
    from cnnbo.scheduler.optimizers.trieste.search import AcquisitionSearch

    return AcquisitionSearch(space, acquisition)


def best_new(space: SearchSpace, acquisition: Any, anchors: Points, taken: TakenPoints) -> Points:
    """The first point of an ask."""
    from cnnbo.scheduler.optimizers.trieste.search import THOROUGH

    rng = np.random.default_rng(0)
    maximiser = search(space, acquisition)
    best: Points
    best, _ = maximiser.best_new(maximiser.candidates(anchors, rng), taken, rng, THOROUGH)
    return best


def hill(top: np.ndarray[Any, np.dtype[np.float64]]) -> Any:
    """An acquisition function with one top, from (n, 1, D) to (n, 1)."""
    import tensorflow as tf

    return lambda x: -tf.reduce_sum((x - top) ** 2, axis=-1)


def test_finds_the_top_of_a_hill_in_a_mixed_space() -> None:
    """Reals are climbed to the top, integers and choices are moved to it: no candidate lies there by chance."""
    top = np.array(MIXED.encode({"learning_rate": 0.0123, "width": 9, "pooling": "avg", "momentum": 0.91}))
    found = best_new(MIXED, hill(top), NOTHING, TakenPoints(MIXED, NOTHING))
    configuration = MIXED.decode(found[0])
    assert (configuration["width"], configuration["pooling"]) == (9, "avg")
    assert found[0] == pytest.approx(top, abs=1e-4)


def test_takes_the_next_best_where_the_top_is_taken() -> None:
    """A top that was proposed before is a duplicate, not a proposal."""
    space = SearchSpace(MIXED.parameters[1:3])
    top = np.array(space.encode({"width": 9, "pooling": "avg"}))
    taken = TakenPoints(space, top[None])
    found = best_new(space, hill(top), top[None], taken)
    assert space.decode(found[0]) in ({"width": 8, "pooling": "avg"}, {"width": 10, "pooling": "avg"})
    assert found[0] in taken


def test_looks_around_the_anchors() -> None:
    """A needle that uniform candidates never meet is often beside the incumbent."""
    import tensorflow as tf

    needle = np.array(MIXED.encode({"learning_rate": 0.0123, "width": 9, "pooling": "avg", "momentum": 0.91}))

    def acquisition(x: tf.Tensor) -> tf.Tensor:
        distance = tf.reduce_sum((x - needle) ** 2, axis=-1)
        return tf.where(distance < 1e-3, 1.0 - distance, tf.zeros_like(distance))

    anchor = needle[None] + [[0.015, 0.0, 0.0, -0.015]]
    found = best_new(MIXED, acquisition, anchor, TakenPoints(MIXED, NOTHING))
    assert found[0] == pytest.approx(needle, abs=1e-3)


def test_a_value_that_is_no_number_is_the_worst() -> None:
    """A posterior at the edge of what doubles can hold must not be the maximum by accident."""
    import tensorflow as tf

    def acquisition(x: tf.Tensor) -> tf.Tensor:
        return tf.where(x[:, :, 0] > 0.5, tf.constant(np.nan, tf.float64), x[:, :, 0])

    values = search(MIXED, acquisition).values(np.array([[0.9, 0.5, 0.5, 0.5], [0.2, 0.5, 0.5, 0.5]]))
    assert values.tolist() == [-np.inf, 0.2]
