"""Work in the foreground: as one's own daemon, or by following the one that is there, until it is done or Ctrl-C."""

import asyncio
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from cnnbo.daemon.client import Connection
    from cnnbo.daemon.living import Daemon
    from cnnbo.daemon.settings import Settings

Show = Callable[[], Awaitable[Mapping[str, Any]]]
"""Asks the daemon for the newest `show` object of what is followed."""


class Narrator(Protocol):
    """Tells the course of what is followed, line by line."""

    def hello(self, submitted: Mapping[str, Any]) -> None:
        """Say what was submitted, and what is known of it already.

        Args:
            submitted: what the daemon answered to the submission.
        """

    def take(self, topic: str, body: Mapping[str, Any] | None) -> None:
        """Take a piece of news."""

    def beat(self) -> None:
        """Say where things stand if nothing was said for long."""

    async def is_over(self, show: Show) -> bool:
        """Whether there is nothing more to wait for."""

    def goodbye(self, shown: Mapping[str, Any]) -> int:
        """Say how it ended and what to do next; returns the exit code."""


class Errand(Protocol):
    """What is to be done in the foreground.

    Attributes:
        name: of the study or comparison.
    """

    name: str

    def request(self) -> tuple[str, dict[str, Any]]:
        """Verb and arguments of the request that submits it."""

    def is_own(self, study: Mapping[str, Any]) -> bool:
        """Whether a study belongs to it."""

    def narrator(self, shown: Mapping[str, Any], devices: list[dict[str, Any]], say: Callable[[str], None]) -> Narrator:
        """Who tells its course, from its first `show` object on."""


class Foreground:
    """One errand, from submission to farewell.

    Args:
        errand: what is to be done.
        settings: of the instance that does it.
        devices: `--devices`; None = not given.
        json: whether stdout belongs to the final `show` object.
    """

    def __init__(self, errand: Errand, settings: "Settings", devices: str | None, json: bool) -> None:
        self._errand = errand
        self._settings = settings
        self._devices = devices
        self._json = json
        self._interrupts: asyncio.Queue[int] = asyncio.Queue()

    def _say(self, line: str) -> None:
        print(line, file=sys.stderr if self._json else sys.stdout, flush=True)

    async def run(self) -> int:
        """Follow the daemon that is there, or be one; returns the exit code."""
        from cnnbo.daemon.client import Connection, NoDaemonError
        from cnnbo.daemon.folders import prepare_lease_dir, prepare_state_folder
        from cnnbo.scheduler.errors import ConfigurationError

        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._interrupts.put_nowait, number)
        try:
            connection = await Connection.open(self._settings.state)
        except NoDaemonError:
            prepare_state_folder(self._settings.state)
            prepare_lease_dir(self._settings.lease_dir)
            return await self._as_daemon()
        if self._devices is not None:
            raise ConfigurationError(
                f"--devices: a daemon works in {self._settings.state} already and has devices of its own; "
                "leave the flag out to use them, or start elsewhere with --state DIR."
            )
        where = f"a daemon works in {self._settings.state} already"
        self._say(f"{where}: {self._errand.name} is handed to it and followed from here.")
        return await self._follow(connection, None)

    async def _as_daemon(self) -> int:
        from cnnbo.daemon.client import Connection
        from cnnbo.daemon.serve import running_daemon

        async with running_daemon(self._settings, self._devices or "auto") as daemon:
            self._say(daemon.note)
            try:
                code = await self._follow(await Connection.open(self._settings.state), daemon)
            finally:
                watcher = asyncio.ensure_future(self._hasten(daemon))
        watcher.cancel()
        return code

    async def _hasten(self, daemon: "Daemon") -> None:
        """While the daemon stops, one more signal cuts the grace short."""
        await self._interrupts.get()
        daemon.stop.set()

    async def _follow(self, connection: "Connection", daemon: "Daemon | None") -> int:
        """Submit the errand and tell its course until it ends or a signal comes."""
        from cnnbo.daemon.client import Connection

        verb, args = self._errand.request()
        submitted = await connection.request(verb, **args)
        status = await connection.request("status")
        listener = await Connection.open(self._settings.state)
        followed = await listener.request("follow", study=self._errand.name)
        narrator = self._errand.narrator(followed, status["devices"], self._say)
        narrator.hello(submitted)
        self._name_others(status["studies"], "this daemon goes on with other studies too")
        listening = asyncio.ensure_future(_listen(listener, narrator, lambda: self._show(connection)))
        interrupted = asyncio.ensure_future(self._interrupts.get())
        await asyncio.wait((listening, interrupted), return_when=asyncio.FIRST_COMPLETED)
        interrupted.cancel()
        if listening.done():
            listening.result()
            code = await self._farewell(connection, narrator)
        else:
            listening.cancel()
            code = await self._interrupted(connection, daemon, interrupted.result())
        await listener.close()
        await connection.close()
        return code

    async def _show(self, connection: "Connection") -> Mapping[str, Any]:
        shown: Mapping[str, Any] = await connection.request("show", study=self._errand.name)
        return shown

    async def _farewell(self, connection: "Connection", narrator: Narrator) -> int:
        shown = await self._show(connection)
        code = narrator.goodbye(shown)
        if self._json:
            from cnnbo.cli.output import print_json

            print_json(shown)
        studies = (await connection.request("status"))["studies"]
        self._name_others(studies, "still unfinished in this state folder; cnnbo daemon goes on with them")
        return code

    def _name_others(self, studies: list[dict[str, Any]], what: str) -> None:
        others = [s["name"] for s in studies if s["state"] == "running" and not self._errand.is_own(s)]
        if others:
            self._say(f"{what}: {', '.join(others)}")

    async def _interrupted(self, connection: "Connection", daemon: "Daemon | None", number: int) -> int:
        from cnnbo.scheduler.errors import RequestError

        if daemon is None:
            self._say(f"no longer followed; the daemon goes on: cnnbo show {self._errand.name}")
            return 130
        if number == signal.SIGTERM:
            self._say("stopping; run the same command to go on.")
            return 0
        grace = self._settings.grace_s
        self._say(
            f"stopping: trials have {grace:.0f} s for a checkpoint (Ctrl-C again: now); run the same command to go on."
        )
        with suppress(RequestError):  # it may have ended, or been cancelled, in this moment
            await connection.request("pause", study=self._errand.name, now=True)
        return 130


async def _listen(listener: "Connection", narrator: Narrator, show: Show) -> None:
    """Tell the news until there is nothing more to wait for."""
    from cnnbo.daemon.client import NoDaemonError

    news = listener.news()
    waiting: asyncio.Future[Any] = asyncio.ensure_future(anext(news, None))
    try:
        while not await narrator.is_over(show):
            done, _ = await asyncio.wait((waiting,), timeout=30)
            if not done:
                narrator.beat()
                continue
            message = waiting.result()
            if message is None:
                raise NoDaemonError(
                    "the daemon went away; its journal keeps all results, run the same command to go on."
                )
            narrator.take(*message)
            narrator.beat()
            waiting = asyncio.ensure_future(anext(news, None))
    finally:
        waiting.cancel()
