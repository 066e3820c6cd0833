"""Which data it is, without reading for minutes."""

from dataclasses import replace
from pathlib import Path

import pytest

from cnnbo.cli.doctor.data import check_data
from cnnbo.cli.doctor.finding import Level
from cnnbo.cli.doctor.scope import Scope
from cnnbo.models.svhn.synth import write_dataset
from cnnbo.scheduler.space import FloatParameter, SearchSpace
from cnnbo.scheduler.spec import StudySpec

COMMAND = StudySpec(SearchSpace((FloatParameter("x", 0, 1),)), command=("python", "train.py"))


@pytest.fixture
def drawn(tmp_path: Path) -> Path:
    write_dataset(tmp_path / "digits", {"train": 12, "extra": 8, "test": 5}, seed=0)
    return tmp_path / "digits"


def test_drawn_digits_are_called_that(scope: Scope, drawn: Path) -> None:
    """A report on drawn digits must not be taken for one on SVHN."""
    before = sorted(drawn.iterdir())
    [found] = check_data(replace(scope, data=drawn))
    assert found.level is Level.OK
    assert "12 train, 8 extra, 5 test images" in found.text and "drawn by cnnbo, not SVHN" in found.text
    assert sorted(drawn.iterdir()) == before


def test_what_is_missing_or_damaged_fails(scope: Scope, drawn: Path, tmp_path: Path) -> None:
    """Before eighty trials crash on it."""
    whole = (drawn / "extra_32x32.mat").read_bytes()
    (drawn / "extra_32x32.mat").write_bytes(whole[: len(whole) // 2])
    [found] = check_data(replace(scope, data=drawn))
    assert found.level is Level.FAIL and "extra_32x32.mat" in found.text
    (drawn / "extra_32x32.mat").unlink()
    [found] = check_data(replace(scope, data=drawn))
    assert found.level is Level.FAIL and "holds no extra_32x32.mat" in found.text and "data fetch" in str(found.fix)
    [found] = check_data(replace(scope, data=tmp_path / "nowhere"))
    assert found.level is Level.FAIL and "not a folder" in found.text


def test_a_commands_data_may_be_anything(scope: Scope, tmp_path: Path) -> None:
    """Only its script knows what has to be in there."""
    [found] = check_data(replace(scope, study=COMMAND, data=tmp_path))
    assert found.level is Level.OK
    [found] = check_data(replace(scope, study=COMMAND, data=tmp_path / "nowhere"))
    assert found.level is Level.FAIL
    assert list(check_data(scope)) == []
