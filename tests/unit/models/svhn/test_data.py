import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from tests.unit.models.desk import random_part

from cnnbo.models.svhn.data import RECORD_BYTES, Fold, open_fold
from cnnbo.models.svhn.layout import FILES, write_part
from cnnbo.scheduler.errors import ConfigurationError


def records(fold: Fold) -> np.ndarray[tuple[int, int], np.dtype[np.uint8]]:
    """All records of a fold."""
    return np.fromfile(fold.path, np.uint8).reshape(-1, RECORD_BYTES)


def test_the_fold_holds_every_image_once_with_its_digit(random_folder: Path) -> None:
    """Train and extra, nothing lost, nothing twice, no label at another image."""
    fold = open_fold(random_folder)
    parts = [random_part(30, seed=1), random_part(20, seed=2)]
    expected = {
        bytes([digit]) + image.tobytes()
        for images, digits in parts
        for image, digit in zip(images, digits, strict=True)
    }
    assert {record.tobytes() for record in records(fold)} == expected
    assert (fold.train, fold.validation) == (40, 10)
    np.testing.assert_array_equal(fold.validation_digits(), records(fold)[40:, 0])


def test_both_sides_of_the_fold_mix_train_and_extra(random_folder: Path) -> None:
    """A fold without shuffling would validate on extra alone, the easier part."""
    fold = open_fold(random_folder)
    of_train = {image.tobytes() for image in random_part(30, seed=1)[0]}
    sides = np.split(records(fold)[:, 1:], [fold.train])
    shares = [np.mean([image.tobytes() in of_train for image in side]) for side in sides]
    assert all(0.2 < share < 0.95 for share in shares)


def test_the_fold_is_the_same_everywhere(random_folder: Path, tmp_path: Path) -> None:
    """Values of different boxes are compared: these are the rows that NumPy's frozen generator gives for good."""
    shutil.copytree(random_folder, tmp_path / "copy")
    folds = [open_fold(random_folder), open_fold(tmp_path / "copy")]
    assert folds[0].path.read_bytes() == folds[1].path.read_bytes()
    digits = np.concatenate([random_part(30, seed=1)[1], random_part(20, seed=2)[1]])
    np.testing.assert_array_equal(records(folds[0])[:, 0], digits[np.random.RandomState(2016).permutation(50)])


def test_files_are_parsed_once(random_folder: Path) -> None:
    """The second trial takes what the first one left."""
    first = open_fold(random_folder)
    before = first.path.stat()
    assert open_fold(random_folder) == first
    assert first.path.stat().st_ino == before.st_ino


def test_a_changed_source_is_parsed_anew(random_folder: Path) -> None:
    """Training on the old images after the files were exchanged would be a silent wrong answer."""
    old = open_fold(random_folder)
    write_part(random_folder / FILES["extra"], *random_part(25, seed=9))
    new = open_fold(random_folder)
    assert new.train + new.validation == 55
    assert not old.path.exists()


def test_many_at_once_build_one_cache(random_folder: Path) -> None:
    """All devices start their first trial in the same second; each one opens the lock for itself, as processes do."""
    with ThreadPoolExecutor(8) as pool:
        folds = list(pool.map(open_fold, [random_folder] * 8))
    assert len(set(folds)) == 1
    assert sorted(path.name for path in (random_folder / ".cnnbo").iterdir()) == [folds[0].path.name, "lock"]


def test_what_a_killed_builder_left_is_cleared(random_folder: Path) -> None:
    """A kill in the middle leaves a temporary file of up to 1.9 GB, and never half a cache under the right name."""
    (random_folder / ".cnnbo").mkdir()
    (random_folder / ".cnnbo" / "half.tmp").write_bytes(b"x")
    open_fold(random_folder)
    assert not (random_folder / ".cnnbo" / "half.tmp").exists()


def test_a_folder_that_cannot_be_written_is_cached_in_the_users_cache(
    random_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Data often lie on a read-only share. A file in the folder's place stands in for it: root may write anywhere."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (random_folder / ".cnnbo").write_text("no folder can be made here")
    fold = open_fold(random_folder)
    assert fold.path.is_relative_to(tmp_path / "cache" / "cnnbo")
    assert open_fold(random_folder) == fold


def test_no_place_for_the_cache_is_one_sentence(
    random_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both places are named, and what to do."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (random_folder / ".cnnbo").touch()
    (tmp_path / "cache").touch()
    with pytest.raises(ConfigurationError, match=r"neither in .*\.cnnbo nor in .*cache.*XDG_CACHE_HOME"):
        open_fold(random_folder)


def test_every_bad_file_is_named_at_once(random_folder: Path) -> None:
    """One look is to show all mistakes."""
    for part in ("train", "extra"):
        (random_folder / FILES[part]).write_bytes(b"broken")
    with pytest.raises(ConfigurationError) as caught:
        open_fold(random_folder)
    about_train, about_extra = caught.value.problems
    assert FILES["train"] in about_train
    assert FILES["extra"] in about_extra
    assert not list((random_folder / ".cnnbo").glob("fold-*"))


def test_a_missing_extra_file_is_refused(random_folder: Path) -> None:
    """Half the data would silently be another experiment."""
    (random_folder / FILES["extra"]).unlink()
    with pytest.raises(ConfigurationError, match=r"holds no extra_32x32\.mat"):
        open_fold(random_folder)


def test_too_few_images_for_a_fold_are_refused(tmp_path: Path) -> None:
    """A validation side of nothing has no accuracy."""
    for part in ("train", "extra"):
        write_part(tmp_path / FILES[part], *random_part(2, seed=1))
    with pytest.raises(ConfigurationError, match="fewer than 5 images"):
        open_fold(tmp_path)


def test_the_test_set_is_never_opened(random_folder: Path) -> None:
    """Hold-out discipline: here it is a named pipe, on which opening would wait for ever."""
    os.mkfifo(random_folder / FILES["test"])
    assert open_fold(random_folder).train == 40


def prepare(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command that the daemon runs before the first trial."""
    command = [sys.executable, "-m", "cnnbo.models.svhn.prepare", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_preparing_good_data_says_nothing(random_folder: Path) -> None:
    """Silence and 0, and the cache is there."""
    done = prepare(str(random_folder))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert list((random_folder / ".cnnbo").glob("fold-*.bin"))


def test_preparing_bad_data_prints_a_line_per_problem(random_folder: Path) -> None:
    """What the daemon shows to the user as it stands, with the exit status of wrong input."""
    for part in ("train", "extra"):
        (random_folder / FILES[part]).write_bytes(b"broken")
    done = prepare(str(random_folder))
    assert done.returncode == 78
    about_train, about_extra = done.stderr.splitlines()
    assert FILES["train"] in about_train
    assert FILES["extra"] in about_extra
