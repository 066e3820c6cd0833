"""`python -m cnnbo.models.svhn.train`: one trial of `svhn-cnn`, under the trial contract.

Trains on 80 % of train + extra and reports `val_accuracy`, the accuracy on the other 20 %, with the highest one that
luck explains (`chance`). A network that is stuck at the majority class is trained no further. The same seed and
configuration give the same value on the same machine with the same number of CPU threads; on a GPU, nearly.

Other tasks than `tune`: `trace` also keeps the accuracy on a sample of the validation side at 24 steps on the way, as
`val_accuracy_at_<step>`, and goes on to the end as long as the loss is a number. `final` trains on all of train +
extra, leaves the network as a file in its working directory, and only then opens the test set: `test_accuracy`.

A training of several epochs leaves a checkpoint after each but the last, and any training does when it is asked to end
(SIGTERM). The next attempt goes on from there and comes to the value and weights that it would have come to without
the interruption, as far as they can be repeated at all: all randomness is a function of seed and step, and the order
of the images is fixed.
"""

import itertools
import math
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from cnnbo.models import report
from cnnbo.models.registry import SVHN_CNN, WEIGHTS_FILE
from cnnbo.models.svhn.chance import Score, check_steps, is_stuck, sample_size, trace_sample_size, trace_steps
from cnnbo.models.svhn.checkpoint import Checkpoint, CheckpointFile
from cnnbo.models.svhn.data import Fold, open_fold
from cnnbo.models.svhn.export import save_network
from cnnbo.models.svhn.network import Hyperparameters, Trainer, batches, image_batches
from cnnbo.models.svhn.tasks import check_test_set, open_test_set, report_score, training_rows
from cnnbo.scheduler.errors import ConfigurationError

import tensorflow as tf  # isort: skip - after `network`, which keeps its start-up quiet

_SCORING_BATCH: Final = 500  # bounds the memory that scoring takes; changes no answer
_REPORT_S: Final = 1.0


class DivergedError(Exception):
    """The configuration can't be trained: the loss isn't finite any more.

    Attributes:
        metrics: what was measured all the same.
    """

    def __init__(self, message: str, **metrics: float) -> None:
        super().__init__(message)
        self.metrics = metrics


class StoppedError(Exception):
    """The training was asked to end, and did after leaving a checkpoint."""


def block_ends(
    done: int, steps: int, halts: frozenset[int], clock: Callable[[], float] = time.monotonic
) -> Iterator[int]:
    """Cut the steps after `done` up to `steps` into blocks that TensorFlow runs in one go; yields the last of each.

    Blocks grow until one takes between half a second and a second, the pace of progress reports, and none reaches over
    a halt, where there is something to do. The cuts depend on the clock, what is computed doesn't.
    """
    size = 1
    while done < steps:
        next_halt = min((halt for halt in halts if halt > done), default=steps)
        end = min(done + size, next_halt, steps)
        started = clock()
        yield end
        elapsed_s = clock() - started
        if elapsed_s > _REPORT_S:
            size = max(1, size // 2)
        elif elapsed_s < _REPORT_S / 2 and end - done == size:
            size *= 2
        done = end


def _steps_to_check(task: report.Task, steps: int) -> frozenset[int]:
    match task:
        case "tune":
            return check_steps(steps)
        case "trace":
            return trace_steps(steps)
        case "final":
            return frozenset()  # what could be looked at on the way is trained on, or is the test set


class Run:
    """One trial's training: the steps, the checks and checkpoints between them, the final score.

    Args:
        context: the trial; a final one leaves its weights in the working directory.
        fold: its data.

    Raises:
        ConfigurationError: the data lack something that the task needs.

    Attributes:
        images: how many images are trained on.
        begin: the step of an earlier attempt's checkpoint, after which the training goes on; 0 where there is none.
        trainer: the network and its optimizer, as far as they are trained.
    """

    def __init__(self, context: report.TrialContext, fold: Fold) -> None:
        self._context = context
        self._fold = fold
        self._folder = context.data_dir or Path()
        check_test_set(self._folder, context.task)
        self._rows = training_rows(fold, context.task, context.images)
        self.images = len(self._rows)
        self._epochs = context.epochs or SVHN_CNN.epochs
        self._batch_size = context.batch_size or SVHN_CNN.batch_size
        self._steps_per_epoch = math.ceil(self.images / self._batch_size)
        self._steps = self._epochs * self._steps_per_epoch
        self.trainer = Trainer(Hyperparameters.of(context.configuration), context.seed)
        self._validation = batches(fold, fold.validation_side, _SCORING_BATCH)
        sample = (trace_sample_size if context.task == "trace" else sample_size)(fold.validation)
        self._sample = batches(fold, fold.validation_side, sample).take(1)
        self._check_steps = _steps_to_check(context.task, self._steps)
        self._checks: list[Score] = []
        self._stops_at_chance = context.stop_at_chance and context.task == "tune"
        self.begin = 0
        self._is_asked_to_stop = False
        self._checkpoints = self._checkpoint_file()
        self._restore()

    def _checkpoint_file(self) -> CheckpointFile | None:
        if self._context.checkpoint_dir is None:
            return None
        basis = {
            "configuration": dict(self._context.configuration),
            "seed": self._context.seed,
            "epochs": self._epochs,
            "batch_size": self._batch_size,
            "images": self.images,
            "task": self._context.task,
            "data": self._fold.path.name,  # changes with the source files, their order and the fold
        }
        return CheckpointFile(self._context.checkpoint_dir, basis)

    def _restore(self) -> None:
        checkpoint = None if self._checkpoints is None else self._checkpoints.read()
        if checkpoint is None:
            return
        self.trainer.restore(checkpoint.arrays)
        self._checks = list(checkpoint.checks)
        self.begin = checkpoint.step

    def stop(self) -> None:
        """Have the training end after the block of steps it is at; for a signal handler."""
        self._is_asked_to_stop = True

    def train(self) -> Score:
        """Train to the end and score what the task is judged by: the validation side, or the test set.

        A network that is stuck at the majority class has come to its end early, where the trial wants that.

        Raises:
            ConfigurationError: the test set is damaged.
            DivergedError: the loss isn't finite any more.
            StoppedError: `stop` was called in time.
        """
        self._take_steps()
        report.phase("evaluating")
        return self._test() if self._context.task == "final" else self.trainer.score(self._validation)

    @property
    def curve(self) -> dict[str, float]:
        """The checks of a traced training so far, as metrics; empty for other tasks."""
        if self._context.task != "trace":
            return {}
        scored = zip(sorted(self._check_steps), self._checks, strict=False)  # those that are still to come are missing
        return {f"val_accuracy_at_{step}": score.accuracy for step, score in scored}

    def _take_steps(self) -> None:
        checks = self._check_steps
        epoch_ends = self._inner_epoch_ends()
        iterator = iter(self._training())
        report.phase("compiling")
        for begin, end in itertools.pairwise(
            itertools.chain([self.begin], block_ends(self.begin, self._steps, checks | epoch_ends))
        ):
            self._advance(iterator, begin, end)
            if begin == self.begin:
                report.phase("training")
            if end in checks and self._is_stuck_after_check(end):
                return
            is_last = self._is_asked_to_stop  # looked at once, for a signal may come between any two lines
            if is_last or end in epoch_ends:
                self._keep(end)
            if is_last:
                raise StoppedError(f"asked to end at step {end} of {self._steps}")

    def _test(self) -> Score:
        # Once the test set has been seen there must be no way back to training.
        save_network(self.trainer.network, Path(WEIGHTS_FILE))
        return self.trainer.score(image_batches(*open_test_set(self._folder), _SCORING_BATCH))

    def forget(self) -> None:
        """Remove the checkpoint, once what the training came to is on the disk."""
        if self._checkpoints is not None:
            self._checkpoints.remove()

    def _inner_epoch_ends(self) -> frozenset[int]:
        """After which steps a checkpoint is due: not after the last, behind which there is only the score."""
        return frozenset(range(self._steps_per_epoch, self._steps, self._steps_per_epoch))

    def _training(self) -> Any:
        """The batches that are left."""
        epochs_done, steps_done = divmod(self.begin, self._steps_per_epoch)
        rest = batches(self._fold, self._rows, self._batch_size, skipped=steps_done)
        whole = batches(self._fold, self._rows, self._batch_size)
        return rest.concatenate(whole.repeat(max(0, self._epochs - epochs_done - 1)))

    def _keep(self, step: int) -> None:
        if self._checkpoints is not None:
            self._checkpoints.write(Checkpoint(step, self._checks, self.trainer.state()))

    def _advance(self, iterator: Any, begin: int, end: int) -> None:
        loss, accuracy = (float(x) for x in self.trainer.train(iterator, tf.constant(end - begin)))
        if not math.isfinite(loss):
            raise DivergedError(f"the loss was {loss} between step {begin + 1} and step {end}", **self.curve)
        report.progress(
            step=end,
            steps=self._steps,
            epoch=math.ceil(end / self._steps_per_epoch),
            epochs=self._epochs,
            loss=loss,
            accuracy=accuracy,
            **({"val_accuracy": self._checks[-1].accuracy} if self._checks else {}),
        )

    def _is_stuck_after_check(self, step: int) -> bool:
        """Score the sample; whether that ends the training, which the log then says."""
        self._checks.append(self.trainer.score(self._sample))
        if not (self._stops_at_chance and is_stuck(self._checks)):
            return False
        stuck = f"stuck at the majority class: at step {step} of {self._steps} every image still gets the same answer"
        print(f"{stuck}; the training ends here", flush=True)
        return True


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
    report.phase("loading")
    try:
        fold = open_fold(context.data_dir or Path())
        _use_the_machine()
        run = Run(context, fold)
        signal.signal(signal.SIGTERM, lambda *_: run.stop())
        if run.begin > 0:
            print(f"goes on from the checkpoint of step {run.begin}", flush=True)
            report.resumed()
        score = run.train()
    except ConfigurationError as error:
        print(*error.problems, sep="\n", file=sys.stderr)
        return 78
    except DivergedError as error:
        report.failure("diverged", str(error), **error.metrics)
    except tf.errors.ResourceExhaustedError as error:
        # A checkpoint stays: whoever retries the trial on a bigger device need not lose what was trained.
        report.failure("out_of_memory", f"TensorFlow ran out of memory: {error.message.splitlines()[0]}")
        return 0
    except StoppedError as error:
        print(error, file=sys.stderr)
        return 128 + signal.SIGTERM  # as a shell would tell it
    else:
        report_score(context.task, score.correct, score.images, run.images, score.chance, **run.curve)
    run.forget()
    return 0


if __name__ == "__main__":
    sys.exit(main())
