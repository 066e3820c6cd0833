"""`python -m cnnbo.models.svhn.train`: one trial of `svhn-cnn`, under the trial contract.

Trains on 80 % of train + extra and reports `val_accuracy`, the accuracy on the other 20 %. The same seed and
configuration give the same value on the same machine with the same number of CPU threads; on a GPU, nearly.
"""

import itertools
import math
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from cnnbo.models import report
from cnnbo.models.registry import SVHN_CNN
from cnnbo.models.svhn.chance import Score, check_steps, is_stuck, sample_size
from cnnbo.models.svhn.data import Fold, open_fold
from cnnbo.models.svhn.network import Hyperparameters, Trainer, batches
from cnnbo.scheduler.errors import ConfigurationError

import tensorflow as tf  # isort: skip - after `network`, which keeps its start-up quiet

_SCORING_BATCH: Final = 500  # bounds the memory that scoring takes; changes no answer
_REPORT_S: Final = 1.0


class DivergedError(Exception):
    """The configuration can't be trained.

    Attributes:
        metrics: what was measured all the same.
    """

    def __init__(self, message: str, **metrics: float) -> None:
        super().__init__(message)
        self.metrics = metrics


def block_ends(steps: int, checks: frozenset[int], clock: Callable[[], float] = time.monotonic) -> Iterator[int]:
    """Cut 1..`steps` into blocks that TensorFlow runs in one go; yields the last step of each.

    Blocks grow until one takes between half a second and a second, the pace of progress reports, and none reaches over
    a check. The cuts depend on the clock, what is computed doesn't.
    """
    done, size = 0, 1
    while done < steps:
        next_check = min((check for check in checks if check > done), default=steps)
        end = min(done + size, next_check, steps)
        started = clock()
        yield end
        elapsed_s = clock() - started
        if elapsed_s > _REPORT_S:
            size = max(1, size // 2)
        elif elapsed_s < _REPORT_S / 2 and end - done == size:
            size *= 2
        done = end


class Run:
    """One trial's training: the steps, the checks between them, the final score."""

    def __init__(self, context: report.TrialContext, fold: Fold) -> None:
        self._context = context
        self._epochs = context.epochs or SVHN_CNN.epochs
        batch_size = context.batch_size or SVHN_CNN.batch_size
        self._steps_per_epoch = math.ceil(fold.train / batch_size)
        self._steps = self._epochs * self._steps_per_epoch
        self._trainer = Trainer(Hyperparameters.of(context.configuration), context.seed)
        self._training = batches(fold, "train", batch_size).repeat(self._epochs)
        self._validation = batches(fold, "validation", _SCORING_BATCH)
        self._sample = batches(fold, "validation", sample_size(fold.validation)).take(1)
        self._checks: list[Score] = []

    def train(self) -> Score:
        """Train to the end and score the validation side.

        Raises:
            DivergedError: the loss isn't finite any more, or the network sits at the majority class.
        """
        checks = check_steps(self._steps)
        iterator = iter(self._training)
        for begin, end in itertools.pairwise(itertools.chain([0], block_ends(self._steps, checks))):
            self._advance(iterator, begin, end)
            if end in checks:
                self._check(end)
        score = self._trainer.score(self._validation)
        if self._context.stop_at_chance and score.accuracy <= score.chance:
            raise DivergedError(
                f"validation accuracy {score.accuracy:.4f} is no better than the most frequent digit's "
                f"(up to {score.chance:.4f} may be luck)",
                val_accuracy=score.accuracy,
            )
        return score

    def _advance(self, iterator: Any, begin: int, end: int) -> None:
        loss, accuracy = (float(x) for x in self._trainer.train(iterator, tf.constant(end - begin)))
        if not math.isfinite(loss):
            raise DivergedError(f"the loss was {loss} between step {begin + 1} and step {end}")
        report.progress(
            step=end,
            steps=self._steps,
            epoch=math.ceil(end / self._steps_per_epoch),
            epochs=self._epochs,
            loss=loss,
            accuracy=accuracy,
            **({"val_accuracy": self._checks[-1].accuracy} if self._checks else {}),
        )

    def _check(self, step: int) -> None:
        self._checks.append(self._trainer.score(self._sample))
        if self._context.stop_at_chance and is_stuck(self._checks):
            raise DivergedError(
                f"stuck at the majority class: at step {step} of {self._steps} every image still gets the same answer",
                val_accuracy=self._checks[-1].accuracy,
            )


def _use_the_machine() -> None:
    """Take the cores this process was given, and of a device's memory what is needed; before TensorFlow starts."""
    cores = len(os.sched_getaffinity(0))
    tf.config.threading.set_intra_op_parallelism_threads(cores)
    tf.config.threading.set_inter_op_parallelism_threads(cores)
    for device in tf.config.list_physical_devices("GPU"):
        tf.config.experimental.set_memory_growth(device, True)


def main() -> int:
    """Run the trial that `CNNBO_TRIAL` names; returns the exit status."""
    context = report.trial()
    try:
        fold = open_fold(context.data_dir or Path())
    except ConfigurationError as error:
        print(*error.problems, sep="\n", file=sys.stderr)
        return 78
    _use_the_machine()
    try:
        score = Run(context, fold).train()
    except DivergedError as error:
        report.failure("diverged", str(error), **error.metrics)
    except tf.errors.ResourceExhaustedError as error:
        report.failure("out_of_memory", f"TensorFlow ran out of memory: {error.message.splitlines()[0]}")
    else:
        report.result(score.accuracy, val_accuracy=score.accuracy)
    return 0


if __name__ == "__main__":
    sys.exit(main())
