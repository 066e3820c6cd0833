"""The network as a file that Keras loads, against the network it came from."""

import re
import zipfile
from pathlib import Path

import numpy as np
import pytest

from cnnbo.models.registry import SVHN_CNN
from cnnbo.models.svhn.data import open_fold

tf = pytest.importorskip("tensorflow")
keras = pytest.importorskip("keras")
pytestmark = pytest.mark.tensorflow

from cnnbo.models.svhn.export import save_network  # noqa: E402 - after the skip
from cnnbo.models.svhn.network import Hyperparameters, Trainer, batches  # noqa: E402


@pytest.mark.long
def test_keras_gives_the_networks_answers(street_mnist: Path, tmp_path: Path) -> None:
    """On real images, and on flat ones, whose variance is zero: the same digits with the same probabilities."""
    fold = open_fold(street_mnist)
    settings = dict(SVHN_CNN.defaults) | {"filter1_width": 4, "filter1_depth": 10, "filter2_depth": 12}
    trainer = Trainer(Hyperparameters.of(settings | {"learning_rate": 1e-3}), seed=1)
    trainer.train(iter(batches(fold, fold.training_side, 100)), tf.constant(20))
    images = fold.records()[fold.train :, 1:].reshape(-1, 32, 32, 3).copy()
    for row, colour in enumerate(((0, 0, 0), (255, 255, 255), (37, 101, 203))):
        images[row] = colour
    probabilities = tf.nn.softmax(trainer.network.logits(images)).numpy()
    assert len(set(probabilities.argmax(axis=1))) > 3  # it has learnt something that could get lost

    save_network(trainer.network, tmp_path / "model.keras")
    model = keras.models.load_model(tmp_path / "model.keras")  # in safe mode: nothing in it may be code
    for form in ("uint8", "float32", "float64"):
        answers = model.predict(images.astype(form), verbose=0)
        np.testing.assert_array_equal(answers.argmax(axis=1), probabilities.argmax(axis=1))
        np.testing.assert_allclose(answers, probabilities, atol=1e-4)
    with zipfile.ZipFile(tmp_path / "model.keras") as archive:
        described = archive.read("config.json").decode()
    assert set(re.findall(r'"module": "([a-z_]+)', described)) == {"keras"}
    assert "cnnbo" not in described


def test_a_file_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    """Half a network would load, or not, at the wrong moment."""
    trainer = Trainer(Hyperparameters.of(SVHN_CNN.defaults), seed=1)
    (tmp_path / "model.keras").mkdir()
    with pytest.raises(OSError):
        save_network(trainer.network, tmp_path / "model.keras")
    assert [path.name for path in tmp_path.iterdir()] == ["model.keras"]
