"""The wait for a study's data, which has an end whatever the disk does."""

import asyncio
import fcntl
import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import IO

import pytest
from tests.unit.daemon.test_shell import SPEC
from tests.unit.models.desk import random_part

from cnnbo.daemon.preparing import prepare_data
from cnnbo.models.svhn.layout import FILES, write_part
from cnnbo.scheduler.errors import ConfigurationError


def hold(folder: Path) -> IO[str]:
    """Make a data folder whose preparation waits until what is returned is closed."""
    (folder / ".cnnbo").mkdir(parents=True)
    for part in ("train", "extra"):
        write_part(folder / FILES[part], *random_part(20, 0))
    file = (folder / ".cnnbo" / "lock").open("w")
    fcntl.flock(file, fcntl.LOCK_EX)
    return file


def workers_on(folder: Path) -> list[int]:
    """Processes that prepare the data of a folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            arguments = (process / "cmdline").read_bytes().split(b"\0")
        except OSError:  # it has ended
            continue
        if b"cnnbo.models.svhn.prepare" in arguments and str(folder).encode() in arguments:
            found.append(int(process.name))
    return found


async def test_data_that_never_become_ready_are_told(tmp_path: Path) -> None:
    """A disk that is away would keep the study, and all after it, for ever."""
    spec = replace(SPEC, command=(), model="svhn-cnn", data_dir=str(tmp_path / "digits"))
    with (
        hold(tmp_path / "digits"),
        pytest.raises(ConfigurationError, match="digits were not prepared within 0 minutes"),
    ):
        await prepare_data(spec, deadline_s=0.3)
    assert not workers_on(tmp_path / "digits")


async def test_a_preparation_that_breaks_is_one_sentence(tmp_path: Path) -> None:
    """A traceback of 25 lines was shown as 25 mistakes of the study."""
    spec = replace(SPEC, command=(), model="svhn-cnn", data_dir=str(tmp_path / "digits"))
    hold(tmp_path / "digits").close()
    (tmp_path / "digits" / ".cnnbo" / "lock").unlink()
    (tmp_path / "digits" / ".cnnbo" / "lock").mkdir()
    with pytest.raises(ConfigurationError, match=r"could not be prepared \(IsADirectoryError: .*\); see") as caught:
        await prepare_data(spec)
    assert len(caught.value.problems) == 1


async def test_a_preparation_that_is_killed_is_one_sentence(tmp_path: Path) -> None:
    """The kernel kills what takes too much memory, and leaves no word."""
    spec = replace(SPEC, command=(), model="svhn-cnn", data_dir=str(tmp_path / "digits"))
    with hold(tmp_path / "digits"):
        task = asyncio.create_task(prepare_data(spec))
        async with asyncio.timeout(30):
            while not (workers := workers_on(tmp_path / "digits")):  # noqa: ASYNC110 - it tells nobody when it has begun
                await asyncio.sleep(0.01)
        os.kill(workers[0], signal.SIGKILL)
        with pytest.raises(ConfigurationError, match=r"\(exit status -9\); see whether the memory"):
            await task


async def test_who_no_longer_waits_leaves_no_process(tmp_path: Path) -> None:
    """A daemon that stops leaves nothing behind that holds half of the memory."""
    spec = replace(SPEC, command=(), model="svhn-cnn", data_dir=str(tmp_path / "digits"))
    with hold(tmp_path / "digits"):
        task = asyncio.create_task(prepare_data(spec))
        async with asyncio.timeout(30):
            while not workers_on(tmp_path / "digits"):  # noqa: ASYNC110 - it tells nobody when it has begun
                await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled() and not workers_on(tmp_path / "digits")
