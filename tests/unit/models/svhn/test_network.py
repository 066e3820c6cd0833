from pathlib import Path

import numpy as np
import pytest
from tests.unit.models.desk import random_part

from cnnbo.models.svhn.data import PIXEL_BYTES, RECORD_BYTES, open_fold

tf = pytest.importorskip("tensorflow")
pytestmark = pytest.mark.tensorflow

from cnnbo.models.registry import SVHN_CNN  # noqa: E402 - after the skip
from cnnbo.models.svhn.network import (  # noqa: E402
    Hyperparameters,
    Network,
    RMSProp,
    Trainer,
    batches,
    standardised_grey,
)

SETTINGS = Hyperparameters.of(SVHN_CNN.defaults)
SMALL = Hyperparameters(3, 4, 10, 5, keep_probability=0.5, learning_rate=1e-3, momentum=0.5, decay=0.9)


def test_batches_are_the_records_in_their_order(random_folder: Path) -> None:
    """What TensorFlow reads is what was parsed: side, order, axes and digits; the last batch is what is left."""
    fold = open_fold(random_folder)
    records = np.fromfile(fold.path, np.uint8).reshape(-1, RECORD_BYTES)
    for rows, sizes in (
        (fold.training_side, [16, 16, 8]),
        (fold.training_side[:18], [16, 2]),
        (fold.validation_side, [10]),
        (fold.all_records, [16, 16, 16, 2]),
    ):
        mine = records[rows.start : rows.stop]
        read = [(images.numpy(), digits.numpy()) for images, digits in batches(fold, rows, 16)]
        assert [len(digits) for _, digits in read] == sizes
        images = np.concatenate([images for images, _ in read])
        assert images.shape[1:] == (32, 32, 3)
        np.testing.assert_array_equal(images.reshape(-1, PIXEL_BYTES), mine[:, 1:])
        np.testing.assert_array_equal(np.concatenate([digits for _, digits in read]), mine[:, 0])


def test_each_image_is_standardised_by_itself() -> None:
    """Grey with Rec. 709 weights, then mean 0 and variance 1 per image, as computed in double precision beside it."""
    images, _ = random_part(4, seed=5)
    images[1] //= 16  # a dark image of little contrast must come out like any other
    grey = images @ np.array([0.2125, 0.7154, 0.0721])
    expected = (grey - grey.mean(axis=(1, 2), keepdims=True)) / grey.std(axis=(1, 2), keepdims=True)
    np.testing.assert_allclose(standardised_grey(images)[..., 0], expected, atol=2e-5)


def test_an_image_of_one_colour_becomes_zeros() -> None:
    """Its variance is 0 up to rounding: dividing by it would blow up the rounding, or give NaN."""
    flat = np.full((2, 32, 32, 3), [[[[37, 101, 203]]], [[[0, 0, 0]]]], np.uint8)
    np.testing.assert_array_equal(standardised_grey(flat), np.zeros((2, 32, 32, 1)))


def test_the_network_has_the_layers_of_2016() -> None:
    """Counted by hand for the defaults: 5x5x32, 5x5x64, 8x8x64 to 1024, 1024 to 10, each with biases."""
    by_hand = (25 * 32 + 32) + (25 * 32 * 64 + 64) + (64 * 64 * 1024 + 1024) + (1024 * 10 + 10)
    assert sum(int(tf.size(variable)) for variable in Network(SETTINGS, 0).trainable_variables) == by_hand


def test_weights_start_from_a_truncated_normal() -> None:
    """Standard deviation 0.1 cut off at two of them, which leaves 0.088; biases at 0.1; a function of the seed."""
    network, again, other = Network(SETTINGS, 1), Network(SETTINGS, 1), Network(SETTINGS, 2)
    weights = network.weights[2].numpy()
    assert np.abs(weights).max() <= 0.2
    assert weights.std() == pytest.approx(0.088, abs=0.001)
    assert all((bias.numpy() == np.float32(0.1)).all() for bias in network.biases)
    np.testing.assert_array_equal(weights, again.weights[2].numpy())
    assert (weights != other.weights[2].numpy()).any()


def test_dropout_is_for_training_and_a_function_of_the_step() -> None:
    """Scoring uses the whole network; a training step can be repeated, and the next one drops others."""
    network, images = Network(SMALL, 1), random_part(8, seed=1)[0]
    first, again, second = (network.logits(images, tf.constant(step, tf.int64)).numpy() for step in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - second).max() > 0.1
    np.testing.assert_array_equal(network.logits(images), network.logits(images))


def test_rmsprop_is_the_one_of_tensorflow_1() -> None:
    """The documented formula, step by step in double precision; above all, the mean square starts at one."""
    rng = np.random.default_rng(0)
    weights, mean_square, momentum = rng.normal(size=5), np.ones(5), np.zeros(5)
    variable = tf.Variable(weights, dtype=tf.float32)
    optimizer = RMSProp(SETTINGS, [variable])
    for _ in range(4):
        gradient = rng.normal(size=5)
        optimizer.apply([tf.constant(gradient, tf.float32)])
        mean_square = SETTINGS.decay * mean_square + (1 - SETTINGS.decay) * gradient**2
        momentum = SETTINGS.momentum * momentum + SETTINGS.learning_rate * gradient / np.sqrt(mean_square + 1e-10)
        weights = weights - momentum
    np.testing.assert_allclose(variable, weights, rtol=1e-6)


def test_blocks_of_steps_change_nothing(random_folder: Path) -> None:
    """How many steps TensorFlow runs in one go follows the clock; what is learnt must not."""
    fold = open_fold(random_folder)
    trainers = [Trainer(SMALL, 3), Trainer(SMALL, 3)]
    for trainer, blocks in zip(trainers, ([5], [1, 3, 1]), strict=True):
        iterator = iter(batches(fold, fold.training_side, 8))
        for steps in blocks:
            trainer.train(iterator, tf.constant(steps))
    assert [int(trainer.step) for trainer in trainers] == [5, 5]
    for one, other in zip(*(trainer.network.trainable_variables for trainer in trainers), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)


def test_a_score_counts_answers_against_digits(random_folder: Path) -> None:
    """All figures of the rule about chance come from here; compared with counting in NumPy."""
    fold = open_fold(random_folder)
    trainer = Trainer(SMALL, 3)
    score = trainer.score(batches(fold, fold.validation_side, 4))
    ((images, digits),) = list(batches(fold, fold.validation_side, 10))
    answers = trainer.network.logits(images).numpy().argmax(axis=1)
    assert score.images == 10
    assert score.correct == (answers == digits.numpy()).sum()
    assert score.majority == np.bincount(digits.numpy()).max()
    assert score.answers == len(set(answers.tolist()))
