from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.io import loadmat, savemat
from tests.unit.models.desk import random_part

from cnnbo.models.svhn.layout import FILES, count_images, part_path, read_part, write_part
from cnnbo.scheduler.errors import ConfigurationError

GOOD_X = np.zeros((32, 32, 3, 4), np.uint8)
GOOD_Y = np.array([[1], [2], [3], [10]], np.uint8)


def test_real_digits_are_read_with_ten_meaning_zero(svhn_sample: Path) -> None:
    """The convention of the official files, on real ones: images first, digits 0-9."""
    images, digits = read_part(svhn_sample / FILES["test"])
    assert images.shape == (42, 32, 32, 3)
    assert images.dtype == np.uint8
    # The counts that the sample's own documentation gives, label by label.
    assert np.bincount(digits, minlength=10).tolist() == [4, 13, 7, 5, 1, 2, 4, 4, 0, 2]


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    """Axes and labels survive the way through MATLAB's column order."""
    images, digits = random_part(7, seed=3)
    write_part(tmp_path / "x.mat", images, digits)
    again, labels = read_part(tmp_path / "x.mat")
    np.testing.assert_array_equal(again, images)
    np.testing.assert_array_equal(labels, digits)
    assert count_images(tmp_path / "x.mat") == 7


def test_written_files_have_the_official_form(tmp_path: Path) -> None:
    """Other people's loaders must find in them what the official files hold."""
    images, _ = random_part(3, seed=3)
    write_part(tmp_path / "x.mat", images, np.array([0, 1, 9], np.uint8))
    content = loadmat(tmp_path / "x.mat")
    assert (content["X"].shape, content["X"].dtype) == ((32, 32, 3, 3), np.uint8)
    assert content["y"].tolist() == [[10], [1], [9]]
    np.testing.assert_array_equal(content["X"][:, :, :, 2], images[2])


def test_the_same_images_make_the_same_bytes(tmp_path: Path) -> None:
    """A seed stands for bytes, so the date that MATLAB files carry must not get in."""
    for name in ("a.mat", "b.mat"):
        write_part(tmp_path / name, *random_part(3, seed=3))
    assert (tmp_path / "a.mat").read_bytes() == (tmp_path / "b.mat").read_bytes()
    assert b"Created on" not in (tmp_path / "a.mat").read_bytes()


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ({"y": GOOD_Y}, "holds no X"),
        ({"X": GOOD_X}, "holds no y"),
        ({"X": GOOD_X.astype(float), "y": GOOD_Y}, "X is of type float64, not uint8"),
        ({"X": np.zeros((28, 28, 3, 4), np.uint8), "y": GOOD_Y}, r"X has shape \(28, 28, 3, 4\)"),
        ({"X": GOOD_X[..., 0], "y": GOOD_Y}, r"X has shape \(32, 32, 3\)"),
        ({"X": GOOD_X, "y": GOOD_Y[:3]}, r"y has shape \(3, 1\), not \(4, 1\)"),
        ({"X": GOOD_X, "y": np.array(["a", "b", "c", "d"])[:, None]}, "y "),
        ({"X": GOOD_X, "y": GOOD_Y + 1}, r"image 4 is labelled 11.*1 to 10"),
        ({"X": GOOD_X, "y": GOOD_Y % 10}, r"image 4 is labelled 0.*A digit 0 is labelled 10"),
        ({"X": GOOD_X, "y": GOOD_Y / 2}, r"image 1 is labelled 0\.5"),
    ],
)
def test_another_content_is_refused_by_name(tmp_path: Path, content: dict[str, Any], complaint: str) -> None:
    """Each mistake is one sentence with the file and the culprit; training on it would give a silent wrong answer."""
    path = tmp_path / "x.mat"
    savemat(path, content)
    with pytest.raises(ConfigurationError, match=complaint) as caught:
        read_part(path)
    assert str(path) in str(caught.value)
    assert len(caught.value.problems) == 1


@pytest.mark.parametrize("cut", [0, 60, 128, 200, 5000])
def test_a_file_cut_short_is_refused(tmp_path: Path, cut: int) -> None:
    """An interrupted download must not surface as one of SciPy's many exceptions."""
    path = tmp_path / "x.mat"
    write_part(path, *random_part(10, seed=1))
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(ConfigurationError, match=r"x\.mat .*"):
        read_part(path)


def test_a_foreign_file_is_refused(tmp_path: Path) -> None:
    """A mirror's error page, saved under the right name, is a usual mistake."""
    path = tmp_path / "x.mat"
    path.write_text("<html>404 Not Found</html>" * 100)
    for reader in (read_part, count_images):
        with pytest.raises(ConfigurationError, match="can't be read as a MATLAB 5 file"):
            reader(path)


def test_a_missing_file_leads_to_the_commands_that_get_it(random_folder: Path, tmp_path: Path) -> None:
    """The remedy is one command away."""
    with pytest.raises(ConfigurationError, match=r"holds no test_32x32.mat; `cnnbo data fetch DIR`"):
        part_path(random_folder, "test")
    with pytest.raises(ConfigurationError, match=r"nowhere is not a folder; `cnnbo data fetch DIR`"):
        part_path(tmp_path / "nowhere", "train")
