"""`python -m cnnbo.models.svhn.forest`: one trial of `svhn-forest`, under the trial contract.

The baseline of 2016: scikit-learn's random forest on the grey pixels as they are, 0-255, without standardisation (its
splits ask for an order, not for a scale). The same seed and configuration give the same forest on any number of cores.

A forest leaves no weights, in the task `final` either: it is there to be compared with, and weighs gigabytes. It keeps
no checkpoint, and has no steps at which it could be stuck, so `stop_at_chance` means nothing here; what luck explains
is told as it is of a network.

On the 604,388 images of the real data the pixels take 2.5 GB, and scikit-learn's default of 100 trees, which grow until
their leaves are pure, up to 5 GB: half a node of 144 bytes per tree and image, as counted on street_mnist.
"""

import math
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from sklearn.ensemble import RandomForestClassifier

from cnnbo.models import report
from cnnbo.models.svhn.chance import best_of_luck
from cnnbo.models.svhn.data import Fold, open_fold
from cnnbo.models.svhn.layout import LUMA, SIDE, Digits, Images
from cnnbo.models.svhn.tasks import check_test_set, open_test_set, report_score, training_rows
from cnnbo.scheduler.errors import ConfigurationError

PIXELS: Final = SIDE * SIDE
_CHUNK: Final = 8192  # images turned grey at a time: 25 MB as they lie there, 100 MB on the way
_REPORTS: Final = 10


def grey_pixels(images: Images) -> npt.NDArray[np.float32]:
    """Grey values 0-255 of colour images (N, 32, 32, 3), shape (N, 1024)."""
    grey: npt.NDArray[np.float32] = np.dot(images.reshape(-1, PIXELS, 3).astype(np.float32), np.array(LUMA, np.float32))
    return grey


def _chunks(fold: Fold, rows: range) -> Iterator[tuple[Images, Digits]]:
    """Images and digits of some records, a chunk at a time."""
    records = fold.records()
    for start in rows[::_CHUNK]:
        chunk = records[start : min(start + _CHUNK, rows.stop)]
        yield chunk[:, 1:].reshape(-1, SIDE, SIDE, 3), chunk[:, 0]


def read_grey(fold: Fold, rows: range) -> tuple[npt.NDArray[np.float32], Digits]:
    """Grey pixels (N, 1024) and digits (N,) of some records, in their order.

    As float32, the one type on which scikit-learn's trees work without a copy.
    """
    pixels = np.empty((len(rows), PIXELS), np.float32)
    digits = np.empty(len(rows), np.uint8)
    done = 0
    for images, answers in _chunks(fold, rows):
        pixels[done : done + len(images)] = grey_pixels(images)
        digits[done : done + len(images)] = answers
        done += len(images)
    return pixels, digits


def plant(context: report.TrialContext) -> Any:
    """The `RandomForestClassifier` of a trial, not fitted yet."""
    settings = dict(context.configuration)
    return RandomForestClassifier(
        n_estimators=settings["n_estimators"],
        max_features=max(1, round(float(settings["max_features"]) * PIXELS)),
        min_samples_leaf=settings["min_samples_leaf"],
        random_state=context.seed,
        n_jobs=len(os.sched_getaffinity(0)),
    )


def grow(forest: Any, pixels: npt.NDArray[np.float32], digits: Digits) -> None:
    """Fit the forest, a tenth of its trees at a time, to tell how far it is; it comes out as if fitted in one go."""
    trees = forest.n_estimators
    forest.set_params(warm_start=True)
    for grown in sorted({math.ceil(trees * part / _REPORTS) for part in range(1, _REPORTS + 1)}):
        forest.set_params(n_estimators=grown)
        forest.fit(pixels, digits)
        report.progress(step=grown, steps=trees)


def _correct(forest: Any, chunks: Iterator[tuple[Images, Digits]]) -> int:
    return sum(int((forest.predict(grey_pixels(images)) == digits).sum()) for images, digits in chunks)


def main() -> int:
    """Run the trial that `CNNBO_TRIAL` names; returns the exit status."""
    context = report.trial()
    folder = context.data_dir or Path()
    report.phase("loading")
    try:
        check_test_set(folder, context.task)
        fold = open_fold(folder)
        rows = training_rows(fold, context.task, context.images)
        forest = plant(context)
        pixels, digits = read_grey(fold, rows)
        report.phase("training")
        grow(forest, pixels, digits)
        report.phase("evaluating")
        if context.task == "final":
            images, answers = open_test_set(folder)
            correct = _correct(forest, iter([(images, answers)]))
        else:
            answers = fold.validation_digits()
            correct = _correct(forest, _chunks(fold, fold.validation_side))
    except ConfigurationError as error:
        print(*error.problems, sep="\n", file=sys.stderr)
        return 78
    chance = best_of_luck(int(np.bincount(answers).max()), len(answers))
    report_score(context.task, correct, len(answers), len(rows), chance)
    return 0


if __name__ == "__main__":
    sys.exit(main())
