import numpy as np
import pytest

from cnnbo.scheduler.optimizers.base import History
from cnnbo.scheduler.optimizers.trieste.subset import (
    CLASSIFIED_AT_MOST,
    FITTED_AT_MOST,
    best_and_rest,
    rows_to_classify,
    rows_to_fit,
)


def test_few_observations_are_all_taken() -> None:
    """A study of the usual length is fitted to as a whole."""
    assert best_and_rest(np.arange(5.0)[:, None], limit=5).tolist() == [0, 1, 2, 3, 4]


def test_of_many_the_best_half_and_some_of_every_age() -> None:
    """The optimum lies among the best; the rest tells where not to look."""
    objectives = np.array([5.0, 1.0, 4.0, 0.0, 3.0, 2.0, 9.0, 8.0])[:, None]
    rows = best_and_rest(objectives, limit=4)
    assert {1, 3} <= set(rows.tolist())
    assert len(set(rows.tolist())) == 4
    assert (np.diff(rows) > 0).all()


def test_equal_objectives_are_no_obstacle() -> None:
    """A thousand networks that learned nothing."""
    assert len(set(best_and_rest(np.zeros((1_000, 1)), limit=500).tolist())) == 500


@pytest.mark.parametrize("counts", [(1000, 1), (1, 1000), (500, 250), (299, 2), (5000, 0), (0, 5000)])
def test_of_many_trials_both_kinds_are_classified(counts: tuple[int, int]) -> None:
    """A thousand successes must not crowd out the failures, nor the other way round."""
    rows = rows_to_classify(*counts, limit=300)
    assert sum(map(len, rows)) == 300
    for kept, count in zip(rows, counts, strict=True):
        assert len(set(kept.tolist())) == len(kept) >= min(count, 75)
        assert count == 0 or kept[-1] == count - 1, "the newest trial is missing"


@pytest.mark.tensorflow
@pytest.mark.usefixtures("libraries")
def test_the_insight_says_when_only_a_part_was_fitted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever reads what the surrogate believes must know on what; and no point of the rest is proposed again."""
    from tests.contracts.optimizer import TINY, make_history

    from cnnbo.scheduler.optimizers.trieste import subset
    from cnnbo.scheduler.optimizers.trieste.optimizer import TriesteOptimizer

    monkeypatch.setattr(subset, "FITTED_AT_MOST", 4)
    every = np.array([TINY.encode({"depth": depth, "pooling": way}) for depth in (1, 2, 3) for way in ("max", "avg")])
    none = make_history(TINY, observed=0).pending
    known = History(every[:5], np.arange(5.0)[:, None], none, none, none, 80, 0)
    suggestion = TriesteOptimizer(TINY, 0).suggest(known, 5, 1)
    assert (suggestion.insight["observations"], suggestion.insight["observed"]) == (4, 5)
    assert suggestion.points.tolist() == every[5:].tolist()


@pytest.mark.parametrize(("observed", "censored"), [(600, 0), (600, 3), (5, 900), (400, 400)])
def test_the_time_of_an_ask_has_an_end_whatever_the_trials_came_to(observed: int, censored: int) -> None:
    """Sites for trials at chance are dearer than values, and nine trials in ten may be at chance."""
    measured, at_chance = rows_to_fit(np.arange(observed, 0.0, -1)[:, None], censored)
    assert len(measured) + len(at_chance) == (CLASSIFIED_AT_MOST if censored else FITTED_AT_MOST)
    assert observed - 1 in measured, "the best is among them"
    assert len(at_chance) >= min(censored, CLASSIFIED_AT_MOST // 4)
