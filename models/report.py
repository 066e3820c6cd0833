"""The training script's side of the trial contract: where am I in the search, how far am I, what came out.

A script uses as much of it as it likes, and still runs by itself, where reporting does nothing:

```python
from cnnbo.models import report

for step in range(1000):
    ...
    report.progress(step=step + 1, steps=1000, accuracy=accuracy)
report.result(accuracy)
```

Standard library only: this is imported into training environments that are not ours.
"""

import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, SupportsFloat

from cnnbo.models.files import replacing

Phase = Literal["loading", "compiling", "training", "evaluating"]
"""What a trial can be at."""

Task = Literal["tune", "trace", "final"]
"""What a built-in model trains for: a value, a curve, or weights and the test set's score."""

FailureKind = Literal["diverged", "out_of_memory"]
"""The failures that a script can know of: both say that the configuration is bad, not that the code is."""

TEST_SET_MARK: Final = "test-set-opened"
"""Name of the file that says, in an attempt's folder, that the attempt opened the test set."""

_is_resumed = False  # one process runs one attempt, so this is true of whatever it comes to

# POSIX writes at most this many bytes to a pipe in one piece; a longer line could arrive torn.
_ATOMIC_BYTES = 4096


@dataclass(frozen=True, slots=True)
class TrialContext:
    """What cnnbo tells a training script.

    Attributes:
        study: name of the study.
        trial: id of the trial, >= 1.
        attempt: number of the attempt at it, >= 1.
        seed: seed for everything random; the same in every attempt at a trial.
        configuration: parameter names with the values to train with.
        epochs: passes over the training data, >= 1; None where the study leaves it to the script.
        batch_size: examples per update, >= 1; None where the study leaves it to the script.
        data_dir: folder of the data; None where the study names none.
        checkpoint_dir: folder kept across the attempts at a trial; None where there is none.
        stop_at_chance: whether to end early when the model sits at the majority class.
        images: how many images of the training data to train on, the first ones, >= 1; None = all of them.
        task: what to train for; a script of one's own is only ever asked to `tune`.
    """

    study: str
    trial: int
    attempt: int
    seed: int
    configuration: Mapping[str, bool | int | float | str]
    epochs: int | None = None
    batch_size: int | None = None
    data_dir: Path | None = None
    checkpoint_dir: Path | None = None
    stop_at_chance: bool = True
    images: int | None = None
    task: Task = "tune"


def trial() -> TrialContext:
    """The trial this process runs, from the file that `CNNBO_TRIAL` names. Keys of a newer cnnbo are left aside.

    Raises:
        RuntimeError: this process was not started by cnnbo.
    """
    path = os.environ.get("CNNBO_TRIAL")
    if not path:
        raise RuntimeError("CNNBO_TRIAL is not set: this script was not started by cnnbo; use `cnnbo run STUDY`.")
    told: dict[str, Any] = json.loads(Path(path).read_text(encoding="utf-8"))
    return TrialContext(
        study=told["study"],
        trial=told["trial"],
        attempt=told["attempt"],
        seed=told["seed"],
        configuration=told["configuration"],
        epochs=told.get("epochs"),
        batch_size=told.get("batch_size"),
        data_dir=_path(told.get("data_dir")),
        checkpoint_dir=_path(told.get("checkpoint_dir")),
        stop_at_chance=told.get("stop_at_chance", True),
        images=told.get("images"),
        task=told.get("task", "tune"),
    )


def _path(text: str | None) -> Path | None:
    return Path(text) if text else None


def _finite(metrics: Mapping[str, SupportsFloat]) -> dict[str, float]:
    # JSON has no NaN; a metric that isn't a number now is left out until it is one again.
    return {name: number for name, metric in metrics.items() if math.isfinite(number := float(metric))}


def resumed() -> None:
    """Tell that this attempt goes on from a checkpoint of an earlier one; call it once that has been restored.

    `result` and `failure` say so from then on, and people see it beside the attempt: its seconds are not those of the
    whole training.
    """
    global _is_resumed
    _is_resumed = True


def test_set_opened() -> None:
    """Tell that this attempt is about to open the test set; call it before, or a kill in between goes unseen.

    What says so is on the disk when this returns, and cnnbo counts it however the attempt ends: `cnnbo show` tells how
    often a study has seen the test set.
    """
    if target := os.environ.get("CNNBO_RESULT"):
        with replacing(Path(target).with_name(TEST_SET_MARK)):
            pass


def progress(
    *,
    step: int | None = None,
    steps: int | None = None,
    epoch: int | None = None,
    epochs: int | None = None,
    **metrics: SupportsFloat,
) -> None:
    """Tell how far the training has come; about once a second is plenty.

    Never waits and never fails because of who listens: a line that can't be taken at once is dropped.

    Args:
        step: updates done.
        steps: updates in all.
        epoch: passes over the data begun.
        epochs: passes in all.
        metrics: any numbers by name; those that aren't finite are left out.
    """
    _tell({"step": step, "steps": steps, "epoch": epoch, "epochs": epochs, "metrics": _finite(metrics)})


def phase(name: Phase) -> None:
    """Tell what the training is at from now on: screens show it, and the timeline of the device keeps it."""
    _tell({"phase": name})


def _tell(told: Mapping[str, object]) -> None:
    """Send one line of progress, if somebody listens."""
    descriptor = os.environ.get("CNNBO_PROGRESS_FD", "")
    if not descriptor.isdigit():
        return
    line = json.dumps({name: value for name, value in told.items() if value is not None}).encode() + b"\n"
    if len(line) <= _ATOMIC_BYTES:
        _send(int(descriptor), line)


def _send(descriptor: int, line: bytes) -> None:
    try:
        os.set_blocking(descriptor, False)  # a listener that has stopped must not stop the training
        os.write(descriptor, line)
    except OSError:
        pass  # full, or nobody there: progress is news, and the result goes another way


def result(value: SupportsFloat, *, chance: SupportsFloat | None = None, **metrics: SupportsFloat) -> None:
    """Tell the value of the trial, once, at the end; a NaN or infinite one is the failure `diverged`.

    Args:
        value: the metric that the study optimises, in the user's direction.
        chance: the best value that luck explains, in the same direction: a trial that is no better has learnt nothing,
            and is shown and told to the optimizer as such. None = no value is luck. One that isn't finite is left out.
            (So no metric can be called `chance`.)
        metrics: further numbers to keep; those that aren't finite are left out.
    """
    number = float(value)
    if math.isfinite(number):
        bound = {} if chance is None else _finite({"chance": chance})
        _leave({"value": number, **bound, "metrics": _finite(metrics)})
    else:
        failure("diverged", f"the value is {number}", **metrics)


def failure(kind: FailureKind, message: str, **metrics: SupportsFloat) -> None:
    """Tell that this configuration can't be trained; the script should then end.

    Args:
        kind: `diverged` (the loss left the numbers; where nothing is learnt there is a `result`, with its `chance`), or
            `out_of_memory`.
        message: one sentence for the user.
        metrics: numbers to keep all the same; those that aren't finite are left out.
    """
    _leave({"failure": kind, "message": message, "metrics": _finite(metrics)})


def _leave(told: dict[str, object]) -> None:
    """Write the result file so that after any crash it is there as a whole or not at all."""
    target = os.environ.get("CNNBO_RESULT")
    if not target:
        return
    with replacing(Path(target)) as file:
        file.write(json.dumps(told | ({"resumed": True} if _is_resumed else {})).encode())
