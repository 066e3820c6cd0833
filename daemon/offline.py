"""Orders while no daemon is there: the daemon's own handler carries them out, for a moment and on no device."""

import asyncio
import getpass
import os
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from cnnbo.daemon.api.requests import SOCKET_REQUESTS, read_request
from cnnbo.daemon.attempts import Pins
from cnnbo.daemon.client import NoDaemonError, ask
from cnnbo.daemon.executors.local import LocalExecutor
from cnnbo.daemon.folders import prepare_state_folder
from cnnbo.daemon.handler import Handler
from cnnbo.daemon.journal import JOURNAL_NAME, Journal, too_full
from cnnbo.daemon.proposer import Proposer
from cnnbo.daemon.settings import Settings, load_settings
from cnnbo.daemon.shell import Shell
from cnnbo.daemon.statelock import state_lock
from cnnbo.daemon.submitted import Peer
from cnnbo.daemon.tasks import end_tasks
from cnnbo.scheduler.space import SearchSpace


def order(state: Path, verb: str, **args: object) -> tuple[Any, bool]:
    """Have an order to a study carried out: by the daemon of a state folder, or in its place where none answers.

    Args:
        state: the folder.
        verb: an order that starts nothing by itself, like `retry`.
        args: its arguments.

    Returns:
        the response's data, and whether a daemon gave it: else nothing runs until one is there.

    Raises:
        RequestError, ConfigurationError: the order can't be carried out.
        NoDaemonError: no daemon answers, and the folder holds no journal.
    """
    try:
        return ask(state, verb, **args), True
    except NoDaemonError:
        if not (state / JOURNAL_NAME).exists():
            raise
    return asyncio.run(_carry_out(load_settings(os.environ, state=state), verb, args)), False


async def _carry_out(settings: Settings, verb: str, args: dict[str, object]) -> object:
    request = read_request(SOCKET_REQUESTS[verb], verb, args)
    prepare_state_folder(settings.state)
    async with _handler(settings) as handler:
        return await handler.handle(request, Peer(getpass.getuser(), may_run_commands=True))


@asynccontextmanager
async def _handler(settings: Settings) -> AsyncIterator[Handler]:
    """A daemon's handler without a device, a broker or a door; what happens is told by the next daemon."""
    async with AsyncExitStack() as stack:
        stack.enter_context(state_lock(settings.state))
        journal = Journal(settings.state, secrets.token_hex(4) if settings.mqtt.enabled else None)
        stack.push_async_callback(journal.close)
        stored = await journal.open()
        if journal.is_full:
            raise too_full(settings.state)
        pins = Pins(settings.state, settings.lease_dir, settings.grace_s)
        shell = Shell(pins, journal, LocalExecutor(), _NoProposer(settings.state), [], time.time)
        handler = Handler(shell, lambda: {"daemon": None, "mqtt": None}, time.time)
        stack.callback(handler.close)
        inbox = asyncio.ensure_future(shell.run(stored))
        stack.push_async_callback(end_tasks, [inbox])
        await shell.settled()
        yield handler


class _NoProposer(Proposer):
    """Without a device nobody asks for points, so no process is started for them."""

    def warm(self, optimizer: str, space: SearchSpace, seed: int) -> None:
        """Do nothing."""
