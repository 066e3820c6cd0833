"""What the tests of the models share: small data sets, and a place to report to."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.unit.models.desk import SHARED, Desk, random_part

from cnnbo.models.svhn.layout import FILES, write_part


@pytest.fixture
def random_folder(tmp_path: Path) -> Path:
    """A data folder with 30 + 20 random images to tune on, and no test set."""
    folder = tmp_path / "random"
    folder.mkdir()
    write_part(folder / FILES["train"], *random_part(30, seed=1))
    write_part(folder / FILES["extra"], *random_part(20, seed=2))
    return folder


@pytest.fixture
def svhn_sample(tmp_path: Path) -> Path:
    """The 64 real SVHN digits, linked into a folder of our own, so that nothing is cached beside the shared ones."""
    return _linked(SHARED / "svhn_sample", tmp_path / "sample")


@pytest.fixture
def street_mnist(tmp_path: Path) -> Path:
    """Real handwritten digits over photos, linked likewise, without the test set."""
    folder = _linked(SHARED / "street_mnist", tmp_path / "street")
    (folder / FILES["test"]).unlink()
    return folder


def _linked(source: Path, folder: Path) -> Path:
    if not source.is_dir():
        pytest.skip(f"{source.name} is not beside this checkout")
    folder.mkdir()
    for name in FILES.values():
        (folder / name).symlink_to(source / name)
    return folder


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    """A desk with an open progress pipe, whose writing end the environment names."""
    reading, writing = os.pipe()
    environment = {
        "CNNBO_TRIAL": str(tmp_path / "config.json"),
        "CNNBO_RESULT": str(tmp_path / "result.json"),
        "CNNBO_PROGRESS_FD": str(writing),
    }
    desk = Desk(tmp_path, reading, environment)
    desk.checkpoints.mkdir()
    yield desk
    os.close(reading)
    os.close(writing)


@pytest.fixture
def told(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> Desk:
    """A desk that this very process reports to."""
    for name, value in desk.environment.items():
        monkeypatch.setenv(name, value)
    return desk
