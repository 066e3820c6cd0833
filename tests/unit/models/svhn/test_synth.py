import hashlib
from pathlib import Path

import numpy as np
import pytest

from cnnbo.models.svhn.layout import FILES, read_part

pytest.importorskip("PIL")

from cnnbo.models.svhn.synth import draw, write_dataset


def test_drawn_digits_have_the_layout_of_svhn(tmp_path: Path) -> None:
    """The loader of the real files reads them, as many as were asked for."""
    write_dataset(tmp_path / "new", {"train": 30, "extra": 20, "test": 10}, seed=0)
    assert [len(read_part(tmp_path / "new" / name)[0]) for name in FILES.values()] == [30, 20, 10]


def test_a_seed_stands_for_the_same_bytes(tmp_path: Path) -> None:
    """People compare values over drawn data; another seed draws others, and so does each part."""
    sums = set()
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        write_dataset(tmp_path / name, {"train": 5, "extra": 5, "test": 5}, seed)
        sums |= {hashlib.sha256((tmp_path / name / file).read_bytes()).hexdigest() for file in FILES.values()}
    assert len(sums) == 6


def test_a_larger_set_begins_with_the_smaller_one() -> None:
    """Chunks are drawn independently: more images never change those before."""
    few, many = draw(20, (3, 0)), draw(700, (3, 0))
    np.testing.assert_array_equal(few[0], many[0][:20])
    np.testing.assert_array_equal(few[1], many[1][:20])


def test_digits_are_equally_likely_and_well_exposed() -> None:
    """No majority to hide behind, no image all black or white, and light on dark as often as dark on light."""
    images, digits = draw(1000, (4, 0))
    assert np.bincount(digits, minlength=10).min() > 60
    contrast = images.reshape(1000, -1).std(axis=1)
    assert np.median(contrast) > 15
    middle = images[:, 8:24, 8:24].mean(axis=(1, 2, 3)) - images.mean(axis=(1, 2, 3))
    assert 0.35 < (middle > 0).mean() < 0.65


def test_each_digit_has_a_shape_of_its_own() -> None:
    """What makes the set learnable: averaged over colours and faces, no two digits look alike."""
    images, digits = draw(1500, (5, 0))
    grey = images.mean(axis=3).reshape(1500, -1)
    grey -= grey.mean(axis=1, keepdims=True)
    ink = grey / grey.std(axis=1, keepdims=True)
    ink *= np.sign(ink.reshape(-1, 32, 32)[:, 8:24, 8:24].mean(axis=(1, 2)))[:, np.newaxis]  # paint bright everywhere
    means = np.stack([ink[digits == digit].mean(axis=0) for digit in range(10)])
    alike = np.corrcoef(means - means.mean(axis=0)) - np.eye(10)
    assert alike.max() < 0.85
