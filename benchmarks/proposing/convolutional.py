"""The product's own network as a live problem trains it: `svhn-cnn`, by the code that a trial runs."""

import contextlib
import gc
import io
import os
import tempfile
from collections.abc import Callable
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import numpy as np

from cnnbo.models import report
from cnnbo.models.svhn.chance import best_of_luck
from cnnbo.models.svhn.data import Fold, open_fold
from cnnbo.scheduler.space import Configuration

STREET_MNIST: Final = "CNNBO_STREET_MNIST"
"""Environment variable that names the folder of street_mnist."""

_NEXT_TO_CHECKOUT: Final = Path(__file__).parents[3] / "shared" / "data" / "street_mnist"

_BATCH_SIZE: Final = 20

_DRAWN: Final = {"train": 5000, "extra": 3000, "test": 10}
_DRAWN_SEED: Final = 3


def street_mnist() -> Path:
    """The folder of handwritten digits over photos: the one that the environment names, or one next to the checkout.

    Raises:
        FileNotFoundError: it is in neither place; says what to do.
    """
    folder = Path(os.environ.get(STREET_MNIST) or _NEXT_TO_CHECKOUT)
    if not (folder / "train_32x32.mat").exists():
        raise FileNotFoundError(f"street_mnist is not in {folder}; name its folder in {STREET_MNIST}")
    return folder


def drawn_digits() -> Path:
    """The folder of the drawn digits, which the first call draws: half a minute. The same ones on every machine."""
    folder = Path(tempfile.gettempdir()) / f"cnnbo-drawn-digits-{os.getuid()}"
    if not folder.exists():
        _draw(folder)
    return folder


def _draw(folder: Path) -> None:
    from cnnbo.models.svhn.synth import write_dataset

    with tempfile.TemporaryDirectory(dir=folder.parent) as unfinished:
        write_dataset(Path(unfinished) / folder.name, _DRAWN, seed=_DRAWN_SEED)
        with contextlib.suppress(OSError):  # another process was faster, and drew the same
            (Path(unfinished) / folder.name).rename(folder)


class Convolutional:
    """Networks trained for one epoch, ended early at the majority class, as in `examples/digits_compare.toml`.

    Args:
        find_folder: finds the folder of the data, in SVHN's layout, at first use; FileNotFoundError says why not.
        images: how many of the training side are trained on, >= 1.
    """

    def __init__(self, find_folder: Callable[[], Path], images: int = 2000) -> None:
        self._find_folder = find_folder
        self._images = images

    def missing(self) -> str | None:
        """See `Trainable.missing`."""
        if find_spec("tensorflow") is None:
            return "TensorFlow is not installed here: pip install 'cnnbo[svhn]'"
        try:
            self._find_folder()
        except FileNotFoundError as error:
            return str(error)
        return None

    def chance(self) -> float:
        """See `Trainable.chance`."""
        counts = np.bincount(self._fold.validation_digits())
        return 1.0 - best_of_luck(int(counts.max()), int(counts.sum()))

    def train(self, configuration: Configuration, seed: int) -> float | None:
        """See `Trainable.train`."""
        from cnnbo.models.svhn.train import DivergedError, Run  # here: TensorFlow is not for every method's process

        context = report.TrialContext(
            study="live",
            trial=1,
            attempt=1,
            seed=seed,
            configuration=configuration,
            epochs=1,
            batch_size=_BATCH_SIZE,
            data_dir=self._folder,
            images=self._images,
        )
        _quieten()
        try:
            with contextlib.redirect_stdout(io.StringIO()):  # it says when it ends early
                return 1.0 - Run(context, self._fold).train().accuracy
        except DivergedError:
            return None
        finally:
            # Compiled graphs refer to themselves, and would pile up to 15 MB a training.
            gc.collect()

    @cached_property
    def _folder(self) -> Path:
        return self._find_folder()

    @cached_property
    def _fold(self) -> Fold:
        return open_fold(self._folder)


def _quieten() -> None:
    """Keep TensorFlow from warning that every network is compiled again."""
    import tensorflow as tf

    tf.get_logger().setLevel("ERROR")
