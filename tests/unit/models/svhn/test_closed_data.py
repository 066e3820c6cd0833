"""Data that the user of the trials may not read, as in a home folder of mode 0700."""

import multiprocessing
import os
import shutil
import tempfile
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest

from cnnbo.models.svhn.data import open_fold
from cnnbo.models.svhn.layout import FILES
from cnnbo.scheduler.errors import ConfigurationError

NOBODY = 65534


@pytest.fixture
def home(random_folder: Path) -> Iterator[Path]:
    """A folder that all may enter, with the data in `digits`."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        shutil.copytree(random_folder, Path(folder) / "digits")
        yield Path(folder)


def become_nobody() -> None:
    """Where root tests, whom no mode keeps out."""
    if os.geteuid() == 0:
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)


def problems_of(folder: Path) -> list[str]:
    try:
        open_fold(folder)
    except ConfigurationError as error:
        return list(error.problems)
    return []


def as_nobody(folder: Path) -> list[str]:
    """What a process of somebody without rights is told about the data in a folder."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("fork"), become_nobody) as pool:
        return pool.submit(problems_of, folder).result(timeout=60)


def test_a_closed_folder_is_one_sentence(home: Path) -> None:
    """It names the folder, the user and what to type; each file would be a mistake of its own otherwise."""
    home.chmod(0o000)
    try:
        [problem] = as_nobody(home / "digits")
    finally:
        home.chmod(0o755)
    assert problem.startswith(f"{home / 'digits'} can't be read by the user ")
    assert "(Permission denied); open it to that user (chmod o+rx it" in problem


def test_a_closed_file_is_named(home: Path) -> None:
    """To call it damaged would send people to fetch it again."""
    (home / "digits" / FILES["extra"]).chmod(0o000)
    [problem] = as_nobody(home / "digits")
    assert problem.startswith(f"{home / 'digits' / FILES['extra']} can't be read by the user ")
    assert "chmod o+r it" in problem


def test_a_closed_cache_is_passed_over(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The owner of the data, who works with umask 077, has tuned with them before."""
    open_fold(home / "digits")
    (home / "digits" / ".cnnbo").chmod(0o000)
    cache = home / "cache"
    cache.mkdir()
    cache.chmod(0o777)
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    try:
        assert as_nobody(home / "digits") == []
    finally:
        (home / "digits" / ".cnnbo").chmod(0o755)
    assert list(cache.rglob("fold-*.bin"))
