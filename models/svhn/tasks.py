"""What the models have in common: what a task trains on, what it is judged by, and what is told of that.

`tune` and `trace` train on the training side of the fold and never open the test set. `final` trains on both sides, and
what it leaves is scored on the test set, once.
"""

from pathlib import Path

from cnnbo.models import report
from cnnbo.models.svhn.data import Fold
from cnnbo.models.svhn.layout import Digits, Images, part_path, read_part
from cnnbo.scheduler.errors import ConfigurationError


def training_rows(fold: Fold, task: report.Task, images: int | None) -> range:
    """Which records of the fold are trained on.

    Args:
        fold: the tuning data.
        task: what the training is for.
        images: how many, the first ones, >= 1; None = all that the task may see.

    Raises:
        ConfigurationError: there are fewer. Taking all of them would be another experiment than the one written down.
    """
    rows = fold.all_records if task == "final" else fold.training_side
    if images is not None and images > len(rows):
        raise ConfigurationError(
            f"trial.images: {images:,} images are more than the {len(rows):,} that there are to train on; "
            "lower it, or leave it out to train on all of them."
        )
    return rows[:images]


def check_test_set(folder: Path, task: report.Task) -> None:
    """See that there is a test set where the task needs one, without opening it: hours later would be too late.

    Raises:
        ConfigurationError: the folder or the file is not there.
    """
    if task == "final":
        part_path(folder, "test")


def open_test_set(folder: Path) -> tuple[Images, Digits]:
    """The test set; that it is opened is noted first. Nothing else in a training opens it.

    Raises:
        ConfigurationError: it is missing or damaged.
    """
    path = part_path(folder, "test")
    report.test_set_opened()
    return read_part(path)


def report_score(task: report.Task, correct: int, images: int, trained: int, chance: float, **metrics: float) -> None:
    """Tell what a trial came to; a value that trials are compared by is told with what luck explains.

    Args:
        task: what was trained for; says whether the images were the validation side or the test set.
        correct: how many images were answered rightly.
        images: how many there were, >= 1.
        trained: how many images were trained on.
        chance: the highest accuracy that luck explains, 0-1.
        metrics: whatever else is to be kept.
    """
    accuracy = correct / images
    if task == "final":
        report.result(
            accuracy, test_accuracy=accuracy, test_images=images, test_correct=correct, train_images=trained, **metrics
        )
    else:
        report.result(accuracy, chance=chance if task == "tune" else None, val_accuracy=accuracy, **metrics)
