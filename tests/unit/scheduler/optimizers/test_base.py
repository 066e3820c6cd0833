"""What a history refuses, and in which order it lists what is taken."""

from typing import Any

import numpy as np
import pytest

from cnnbo.scheduler.optimizers.base import History, Source

POINTS = np.arange(10.0).reshape(5, 2) / 10
NOTHING = POINTS[:0]


def made(**fields: Any) -> History:
    """A history with one point of each kind, but for what is said."""
    defaults: dict[str, Any] = {
        "observed": POINTS[:1],
        "objectives": np.zeros((1, 1)),
        "censored": POINTS[1:2],
        "bounds": np.ones((1, 1)),
        "failed": POINTS[2:3],
        "pending": POINTS[3:4],
        "excluded": POINTS[4:],
        "evaluations": 80,
        "initial": 3,
    }
    return History(**(defaults | fields))


def test_ids_and_sources_stand_in_the_order_of_what_is_taken() -> None:
    """Observed, censored, failed, pending, excluded: an optimizer reads off which row is which trial."""
    history = made(trials=(5, 4, 3, 2, 1), sources=(Source.START,) * 5)
    assert history.taken.tolist() == POINTS.tolist()
    assert len(history.trials) == len(history.sources) == len(history.taken)


def test_a_history_without_censored_points_need_not_mention_them() -> None:
    """Most studies have none."""
    history = History(POINTS, np.zeros((5, 1)), NOTHING, NOTHING, NOTHING, 80, 3)
    assert (history.censored.shape, history.bounds.shape) == ((0, 2), (0, 1))
    assert (history.taken.shape, history.trials, history.sources) == ((5, 2), (), ())


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"objectives": np.zeros((2, 1))}, "1 observed points with objectives of shape"),
        ({"bounds": np.zeros((2, 1))}, "1 censored points with bounds of shape"),
        ({"censored": NOTHING}, "0 censored points with bounds of shape"),
        ({"objectives": np.full((1, 1), np.nan)}, "must be finite"),
        ({"bounds": np.full((1, 1), np.inf)}, "must be finite"),
        ({"trials": (1, 2)}, "5 points with 2 trials and 0 sources"),
        ({"sources": (Source.START,) * 6}, "5 points with 0 trials and 6 sources"),
    ],
)
def test_what_does_not_fit_together_is_refused(fields: dict[str, Any], sentence: str) -> None:
    """A row with another row's objective would be learnt without a word."""
    with pytest.raises(ValueError, match=sentence):
        made(**fields)
