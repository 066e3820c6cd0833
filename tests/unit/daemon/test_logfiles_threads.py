"""Where the daemon reads trials' output: aside from everything else that it does aside."""

import asyncio
import os
from contextlib import closing
from pathlib import Path

import pytest
from tests.unit.daemon.test_shell import scene

from cnnbo.daemon.api import requests
from cnnbo.daemon.handler import Handler
from cnnbo.daemon.launch import attempt_dir
from cnnbo.daemon.submitted import Peer


@pytest.mark.parametrize("mark", [None, "0:0"])
async def test_many_logs_that_are_slow_to_read_hold_up_nothing_else(tmp_path: Path, mark: str | None) -> None:
    """Trials wait for the same threads as everything that is read or written aside."""
    async with scene(tmp_path) as at:
        await at.submit()
        await at.executor.started("s/1/1")
        slow = attempt_dir(tmp_path, "s", 1, 1) / "log"
        slow.parent.mkdir(parents=True, exist_ok=True)
        os.mkfifo(slow)  # opening it waits until somebody writes there
        with closing(Handler(at.shell, lambda: {"daemon": None, "mqtt": None}, lambda: 1.0)) as handler:
            request = requests.Logs(study="s", trial=1, attempt=1, mark=mark)
            peer = Peer("me", may_run_commands=True)
            # More than there can be threads for `asyncio.to_thread`.
            asked = [asyncio.create_task(handler.handle(request, peer)) for _ in range(40)]
            await asyncio.sleep(0)  # each of them begins
            try:
                async with asyncio.timeout(20):
                    await asyncio.to_thread(lambda: None)
            finally:
                writer = os.open(slow, os.O_RDWR)
                answers = await asyncio.gather(*asked, return_exceptions=True)
                os.close(writer)
        assert {type(answer).__name__ for answer in answers} == {"RequestError"}  # no file to seek in
