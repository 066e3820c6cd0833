import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.contracts.optimizer import MIXED, TINY, CreateOptimizer, OptimizerContract, drawn, make_history, rows

from cnnbo.daemon.proposer import Limits, Proposer
from cnnbo.scheduler.errors import SurrogateFitError
from cnnbo.scheduler.optimizers.base import History, Source
from cnnbo.scheduler.optimizers.trieste.optimizer import TriesteOptimizer
from cnnbo.scheduler.optimizers.trieste.subset import CLASSIFIED_AT_MOST
from cnnbo.scheduler.space import CategoricalParameter, FloatParameter, SearchSpace

PAIR = np.array([[0.25, 0.5], [0.75, 0.5]])
"""Two points of `TINY`."""

pytestmark = [pytest.mark.tensorflow, pytest.mark.usefixtures("libraries")]


class TestTrieste(OptimizerContract):
    @pytest.fixture
    def create(self) -> CreateOptimizer:
        return TriesteOptimizer

    def test_begins_with_the_initial_design(self) -> None:
        """A surrogate of nothing is worth nothing."""
        optimizer = TriesteOptimizer(MIXED, 0)
        assert optimizer.suggest(make_history(MIXED, observed=3, initial=5), 3, 1).source is Source.INITIAL
        assert optimizer.suggest(make_history(MIXED, observed=3, pending=2, initial=5), 5, 1).source is Source.SURROGATE

    def test_goes_where_the_objective_is_low(self) -> None:
        """After 30 looks at a bowl the next one is nearer to its bottom than any of them."""
        history = make_history(MIXED, observed=30)
        point = TriesteOptimizer(MIXED, 0).suggest(history, 30, 1).points[0]
        assert np.sum((point - 0.5) ** 2) < history.objectives.min()

    def test_believes_the_best_and_what_matters(self) -> None:
        """People read the insight to decide whether to go on, and on what."""
        history = make_history(MIXED, observed=30)
        by_rate = (history.observed[:, :1] - 0.3) ** 2 * 10 + 2
        known = History(history.observed, by_rate, history.failed, history.pending, history.excluded, 80, 0)
        insight = TriesteOptimizer(MIXED, 0).suggest(known, 30, 1).insight
        relevance = insight["relevance"]
        assert isinstance(relevance, dict)
        assert sum(relevance.values()) == pytest.approx(1)
        assert max(relevance, key=relevance.__getitem__) == "learning_rate"
        assert insight["best_mean"] == pytest.approx(by_rate.min(), abs=0.1)
        assert insight["feasible_probability"] == 1
        json.dumps(insight, allow_nan=False)

    def test_learns_where_trials_fail(self) -> None:
        """A region that kills every trial must not eat the budget, though the objective falls towards it."""
        history = make_history(MIXED, observed=40)
        is_lethal = history.observed[:, 0] > 0.6
        good = history.observed[~is_lethal]
        none = good[:0]
        known = History(good, 1 - good[:, :1], history.observed[is_lethal], none, none, 80, 0)
        suggestion = TriesteOptimizer(MIXED, 0).suggest(known, 40, 4)
        assert (suggestion.points[:, 0] < 0.65).all()
        probability = suggestion.insight["feasible_probability"]
        assert isinstance(probability, float)
        assert 0.25 < probability < 1, "more likely to fail than three times in four, and better ones are left"

    def test_a_batch_does_not_sit_in_one_place(self) -> None:
        """What is pending is believed, so that a second look at the same place promises nothing."""
        points = TriesteOptimizer(MIXED, 0).suggest(make_history(MIXED, observed=8), 8, 4).points
        distances = np.abs(points[:, None] - points[None]).max(axis=2)[np.triu_indices(4, 1)]
        assert distances.min() > 0.01

    def test_learns_where_trials_sit_at_chance(self) -> None:
        """Nine configurations in ten may learn nothing; most of what is proposed then should learn something."""
        history = make_history(MIXED, observed=40)
        learns = np.abs(history.observed[:, 0] - 0.5) < 0.15
        good, at_chance = history.observed[learns], history.observed[~learns]
        none, bounds = good[:0], np.full((len(at_chance), 1), 0.9)
        known = History(good, 0.5 - 0.3 * good[:, 3:], none, none, none, 80, 0, None, at_chance, bounds)
        points = TriesteOptimizer(MIXED, 0).suggest(known, 40, 4).points
        assert (np.abs(points[:, 0] - 0.5) < 0.2).all()

    def test_one_lucky_success_is_not_copied_for_ever(self) -> None:
        """Twelve neighbours at chance say that it was luck; the thirteenth would say nothing new."""
        rng = np.random.default_rng(0)
        lucky = np.array([MIXED.canonical([0.4, 0.6, 0.5, 0.5])])
        near = [MIXED.canonical(np.clip(lucky[0] + 0.02 * rng.standard_normal(4), 0, 1).tolist()) for _ in range(40)]
        at_chance = np.concatenate([np.unique(near, axis=0)[:12], drawn(MIXED, 8, seed=5)])
        none, bounds = lucky[:0], np.full((len(at_chance), 1), 0.36)
        known = History(lucky, np.array([[0.35]]), none, none, none, 80, 0, None, at_chance, bounds)
        point = TriesteOptimizer(MIXED, 0).suggest(known, 21, 1).points[0]
        assert np.abs(point - lucky[0]).max() > 0.1

    def test_fills_space_where_every_trial_is_at_chance(self) -> None:
        """A model of nothing but bounds would propose where it knows least: the corners."""
        known = make_history(MIXED, observed=0, censored=9)
        assert TriesteOptimizer(MIXED, 0).suggest(known, 9, 2).source is Source.SPACE_FILLING

    def test_fills_space_where_nothing_was_found_but_not_where_trials_fail(self) -> None:
        """Before the first success there is no objective to follow; what is known of failures is used all the same."""
        every = drawn(MIXED, 40, seed=2)
        is_lethal = every[:, 0] > 0.5
        at_chance, none = every[~is_lethal], every[:0]
        bounds = np.full((len(at_chance), 1), 0.9)
        known = History(none, np.empty((0, 1)), every[is_lethal], none, none, 80, 9, None, at_chance, bounds)
        suggestion = TriesteOptimizer(MIXED, 0).suggest(known, 40, 4)
        assert suggestion.source is Source.SPACE_FILLING
        assert (suggestion.points[:, 0] < 0.6).all()
        assert suggestion.hint is not None, "the next fit of failures starts where this one ended"

    def test_space_is_filled_where_trials_fail_even_if_nothing_likely_is_left(self) -> None:
        """All configurations that finish are taken: the others' turn has come, at once."""
        every = np.array([TINY.encode({"depth": d, "pooling": way}) for way in ("max", "avg") for d in (1, 2, 3)])
        none, bounds = every[:0], np.full((3, 1), 0.9)
        known = History(none, np.empty((0, 1)), every[3:5], none, none, 80, 2, None, every[:3], bounds)
        points = TriesteOptimizer(TINY, 0).suggest(known, 5, 1).points
        assert rows(points) == rows(every[5:])

    @pytest.mark.parametrize("bounds", [(0.6, 0.6, 1e6), (0.6, 0.6, -1e308), (-1e6, 0.6, 3.0)], ids=str)
    def test_an_absurd_bound_spoils_nothing(self, bounds: tuple[float, ...]) -> None:
        """A script may tell a bound with each trial, and one of them may be wrong by far."""
        history = make_history(MIXED, observed=5, censored=3)
        values = np.linspace(0.1, 0.5, 5)[:, None]
        known = replace(history, objectives=values, bounds=np.array(bounds)[:, None])
        suggestion = TriesteOptimizer(MIXED, 0).suggest(known, 8, 1)
        assert suggestion.source is Source.SURROGATE
        best = suggestion.insight["best_mean"]
        assert isinstance(best, float)
        assert 0 < best < 0.6


def test_a_settled_search_measures_no_copies_of_its_incumbent() -> None:
    """Where chance is all around and noise hides what is left to gain, thirty more of the same would tell nothing."""
    space = SearchSpace((FloatParameter("rate", 0, 1), FloatParameter("decay", 0, 1)))
    rng = np.random.default_rng(0)
    settled = 0.3 + 0.02 * rng.standard_normal((30, 2))
    values = 0.5 + 0.05 * rng.standard_normal((30, 1))
    anywhere = rng.random((60, 2))
    chance = anywhere[np.abs(anywhere - 0.3).max(axis=1) > 0.25][:25]
    none = np.empty((0, 2))
    known = History(settled, values, none, none, none, 80, 3, censored=chance, bounds=np.ones((25, 1)))
    suggestion = TriesteOptimizer(space, 0).suggest(known, 55, 1)
    assert suggestion.source is Source.SURROGATE
    assert np.abs(settled - suggestion.points).max(axis=1).min() > 0.15


def test_what_is_pending_says_nothing_of_how_often_trials_come_to_chance() -> None:
    """Believed to give a value, eight devices at work would make chance look rare, and unknown corners promising."""
    from cnnbo.scheduler.optimizers.trieste.propagation import base_rate_tilt
    from cnnbo.scheduler.optimizers.trieste.surrogate import Evidence, Surrogate

    points, places = drawn(MIXED, 9), drawn(MIXED, 8, seed=9)
    evidence = Evidence(points[:1], np.array([[-1.0]]), points[1:], np.full((8, 1), 1.0), base_rate_tilt(8, 1))
    surrogate = Surrogate(MIXED)
    surrogate.fit(evidence, None)
    alone = float(surrogate.process.prior_mean())
    surrogate.condition(evidence.believing(places, surrogate.predict(places)[0]))
    assert float(surrogate.process.prior_mean()) == alone


async def test_the_proposer_process_gives_the_same_points_bit_for_bit(tmp_path: Path) -> None:
    """An ask of last month can be repeated from the journal; here the graphs have served other asks in between."""
    history = make_history(MIXED, observed=12, failed=2, pending=2)
    async with Proposer(tmp_path / "log", Limits(deadline_s=100.0)) as proposer:
        proposer.warm("trieste", MIXED, 4)
        proposal = await proposer.suggest("svhn", "trieste", MIXED, 4, history, 16, 2)
    optimizer = TriesteOptimizer(MIXED, 4)
    optimizer.suggest(make_history(MIXED, observed=9, failed=1), 9, 1)
    here = optimizer.suggest(history, 16, 2)
    assert (proposal.note, proposal.source) == (None, Source.SURROGATE)
    assert proposal.points == tuple(tuple(row) for row in here.points.tolist())
    assert proposal.hint == here.hint
    assert {"tensorflow", "trieste", "gpflow", "numpy", "python"} <= set(proposal.environment)


def test_a_hint_is_where_the_next_fit_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is journalled with every ask; a hint that nobody reads would be a lie about what decides the points."""
    from cnnbo.scheduler.optimizers.trieste.fitting import Descent, Hyperparameters

    optimizer, best_of = TriesteOptimizer(MIXED, 0), Descent.best_of
    first = optimizer.suggest(make_history(MIXED, observed=12, failed=2), 14, 1)
    begun: list[Hyperparameters] = []

    def watched(self: Descent, starts: Sequence[Hyperparameters]) -> Hyperparameters:
        begun.append(starts[0])
        return best_of(self, starts)

    monkeypatch.setattr(Descent, "best_of", watched)
    assert first.hint is not None
    optimizer.suggest(make_history(MIXED, observed=13, failed=2, hint=first.hint), 15, 1)
    told = json.loads(first.hint)
    assert begun == [tuple(told["objective"]), tuple(told["feasibility"])]


def test_choices_alone_have_a_surrogate() -> None:
    """A study of optimizers and activations holds no number at all."""
    space = SearchSpace(
        (
            CategoricalParameter("optimizer", ("sgd", "adam", "rmsprop", "lion")),
            CategoricalParameter("activation", ("relu", "gelu", "tanh")),
        )
    )
    points = np.array([space.canonical([a, b]) for a, b in ((0.1, 0.1), (0.4, 0.5), (0.6, 0.9), (0.9, 0.5))])
    known = History(points[:3], np.array([[0.3], [0.1], [0.2]]), points[3:], points[:0], points[:0], 80, 0)
    assert TriesteOptimizer(space, 0).suggest(known, 4, 2).source is Source.SURROGATE


def test_hundreds_of_failures_are_no_obstacle() -> None:
    """A region that fails may be most of the space; the time of an ask has an end all the same."""
    history = make_history(MIXED, observed=20, failed=400)
    suggestion = TriesteOptimizer(MIXED, 0).suggest(history, 420, 1)
    assert suggestion.source is Source.SURROGATE
    assert rows(suggestion.points).isdisjoint(rows(history.taken))


def test_hundreds_of_trials_at_chance_are_no_obstacle() -> None:
    """The insight says on how many of them it rests."""
    history = make_history(MIXED, observed=20, censored=400)
    suggestion = TriesteOptimizer(MIXED, 0).suggest(history, 420, 1)
    assert suggestion.source is Source.SURROGATE
    assert rows(suggestion.points).isdisjoint(rows(history.taken))
    assert (suggestion.insight["observations"], suggestion.insight["observed"]) == (CLASSIFIED_AT_MOST, 420)


def test_a_surrogate_of_nonsense_is_refused() -> None:
    """The caller then falls back; a posterior of NaN would propose a corner of the cube for ever."""
    from cnnbo.scheduler.optimizers.trieste.surrogate import Evidence, Surrogate

    with pytest.raises(SurrogateFitError):
        Surrogate(TINY).fit(Evidence.of(PAIR, np.array([[np.nan], [0.0]])), None)


@pytest.mark.parametrize("least_noise", [1e-3, 1e-1])
def test_a_singular_matrix_is_fitted_with_more_noise(monkeypatch: pytest.MonkeyPatch, least_noise: float) -> None:
    """A point proposed by a blurred surrogate is better than one by none."""
    from cnnbo.scheduler.optimizers.trieste.surrogate import Evidence, Surrogate

    surrogate, condition = Surrogate(TINY), Surrogate.condition

    def singular_below(self: Surrogate, evidence: Evidence) -> None:
        if self.noise_variance < least_noise:
            raise SurrogateFitError("singular")
        condition(self, evidence)

    monkeypatch.setattr(Surrogate, "condition", singular_below)
    surrogate.fit(Evidence.of(PAIR, np.array([[-1.0], [1.0]])), None)
    mean, variance = surrogate.predict(np.array([[0.25, 0.5]]))
    assert mean[0, 0] < 0 < variance[0, 0]


def test_a_fit_that_goes_astray_falls_back_to_the_last_good_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hyperparameters that served the last ask serve this one, if today's can't be used at any noise."""
    from cnnbo.scheduler.optimizers.trieste.fitting import Descent
    from cnnbo.scheduler.optimizers.trieste.surrogate import Evidence, Surrogate

    evidence, surrogate = Evidence.of(PAIR, np.array([[-1.0], [1.0]])), Surrogate(TINY)
    good = surrogate.fit(evidence, None)
    monkeypatch.setattr(Descent, "best_of", lambda self, starts: (math.nan, *good[1:]))
    assert surrogate.fit(evidence, good) == good


def test_crowded_observations_are_no_obstacle() -> None:
    """Sixty points within a billionth of each other, with values that contradict each other."""
    rng = np.random.default_rng(0)
    crowd = 0.5 + 1e-9 * rng.random((60, MIXED.dimension))
    crowd[:, 1:3] = MIXED.canonical([0.5] * 4)[1:3]
    none = crowd[:0]
    known = History(crowd, rng.standard_normal((60, 1)), none, none, none, 80, 0)
    assert TriesteOptimizer(MIXED, 0).suggest(known, 60, 1).source is Source.SURROGATE
