"""The baseline: scikit-learn's forest, and nothing but that."""

import os
from dataclasses import replace

import numpy as np
import pytest
from tests.unit.models.desk import Desk

from cnnbo.models.registry import SVHN_FOREST
from cnnbo.models.report import TrialContext
from cnnbo.models.svhn.data import Fold, open_fold
from cnnbo.models.svhn.layout import FILES, write_part

ensemble = pytest.importorskip("sklearn.ensemble")
pytest.importorskip("PIL")

from cnnbo.models.svhn.forest import grow, plant, read_grey  # noqa: E402 - after the skip
from cnnbo.models.svhn.synth import draw  # noqa: E402

CONTEXT = TrialContext("digits", 1, 1, seed=5, configuration=SVHN_FOREST.defaults)


@pytest.fixture(scope="module")
def fold(tmp_path_factory: pytest.TempPathFactory) -> Fold:
    """400 + 100 drawn digits."""
    folder = tmp_path_factory.mktemp("digits")
    for part, count in (("train", 400), ("extra", 100)):
        write_part(folder / FILES[part], *draw(count, (0, count)))
    return open_fold(folder)


def test_the_defaults_are_those_of_scikit_learn() -> None:
    """The baseline is what anybody gets who types one line."""
    ours, theirs = plant(CONTEXT).get_params(), ensemble.RandomForestClassifier().get_params()
    assert ours["max_features"] == 32  # the "sqrt" of 1,024 pixels
    assert {name for name in theirs if ours[name] != theirs[name]} == {"max_features", "n_jobs", "random_state"}
    assert ours["n_jobs"] == len(os.sched_getaffinity(0))


def test_growing_it_with_news_changes_nothing(told: Desk, fold: Fold) -> None:
    """The same trees as a single fit, and a line for each tenth of them; the seed is what decides."""
    pixels, digits = read_grey(fold, fold.training_side)
    theirs = ensemble.RandomForestClassifier(random_state=5).fit(pixels, digits)
    ours, other = plant(CONTEXT), plant(replace(CONTEXT, seed=6))
    grow(ours, pixels, digits)
    assert [line["step"] for line in told.progress()] == list(range(10, 101, 10))
    grow(other, pixels, digits)
    unseen, answers = read_grey(fold, fold.validation_side)
    np.testing.assert_array_equal(ours.predict_proba(unseen), theirs.predict_proba(unseen))
    assert (ours.predict_proba(unseen) != other.predict_proba(unseen)).any()
    assert (ours.predict(unseen) == answers).mean() > 0.3


def test_fewer_trees_than_news_are_grown_too(told: Desk, fold: Fold) -> None:
    """A study's own space may ask for three."""
    forest = plant(replace(CONTEXT, configuration=dict(SVHN_FOREST.defaults) | {"n_estimators": 3}))
    grow(forest, *read_grey(fold, fold.training_side))
    assert len(forest.estimators_) == 3
    assert [line["step"] for line in told.progress()] == [1, 2, 3]


def test_its_pixels_are_grey_in_the_folds_order(fold: Fold) -> None:
    """Rec. 709 grey from 0 to 255, not standardised; more images than are turned grey at a time."""
    pixels, digits = read_grey(fold, range(350, 450))
    colours = fold.records()[350:450, 1:].reshape(100, 1024, 3).astype(np.float64)
    np.testing.assert_allclose(pixels, colours @ [0.2125, 0.7154, 0.0721], rtol=1e-5)
    np.testing.assert_array_equal(digits, fold.records()[350:450, 0])
    assert pixels.dtype == np.float32
