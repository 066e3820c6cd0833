"""The command line's side of the control socket, and the read-only way to a state folder whose daemon is away."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from cnnbo.scheduler.errors import CnnboError, ConfigurationError, RequestError

_CONNECT_S = 5.0


class NoDaemonError(CnnboError):
    """No daemon answers on this state folder."""


class Connection:
    """One connection to a daemon; requests are answered in their order."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, state: Path) -> "Connection":
        """Connect to the daemon of a state folder.

        Raises:
            NoDaemonError: none answers.
        """
        from cnnbo.daemon.control import SOCKET_NAME, socket_path

        try:
            async with asyncio.timeout(_CONNECT_S), socket_path(state) as path:
                return cls(*await asyncio.open_unix_connection(path, limit=64 * 1024 * 1024))
        except PermissionError as error:
            raise RequestError(
                f"{state / SOCKET_NAME}: this daemon is somebody else's; ask them, or use --state DIR for your own."
            ) from error
        except (OSError, TimeoutError) as error:
            raise NoDaemonError(f"no daemon answers in {state}; start one: cnnbo daemon --state {state}") from error

    async def request(self, verb: str, **args: object) -> Any:
        """Send a request and return the response's data.

        Raises:
            RequestError, ConfigurationError: the daemon's sentence.
            NoDaemonError: the daemon went away.
        """
        self._writer.write(json.dumps({"verb": verb, "transaction": verb, "args": args}).encode() + b"\n")
        return data_of(await self._read())

    async def news(self) -> AsyncIterator[tuple[str, dict[str, Any] | None]]:
        """After a `follow`: topic and body of each piece of news, until the daemon goes away."""
        while True:
            try:
                line = await self._read()
            except NoDaemonError:
                return
            yield line["topic"], line["body"]

    async def _read(self) -> dict[str, Any]:
        try:
            line = await self._reader.readline()
        except (ConnectionError, ValueError):
            line = b""
        if not line.endswith(b"\n"):
            raise NoDaemonError("the daemon went away; its journal keeps all results, start it again to go on.")
        return cast(dict[str, Any], json.loads(line))

    async def close(self) -> None:
        """Hang up."""
        self._writer.close()


def data_of(response: Mapping[str, Any]) -> Any:
    """The data of a response.

    Raises:
        RequestError, ConfigurationError: the daemon's sentence, where it refused.
    """
    if response["status"] == "ok":
        return response["data"]
    if (response["data"] or {}).get("configuration"):
        raise ConfigurationError(str(response["error"]).splitlines())
    raise RequestError(str(response["error"]))


async def request(state: Path, verb: str, **args: object) -> Any:
    """One request to the daemon of a state folder; see `Connection`."""
    connection = await Connection.open(state)
    try:
        return await connection.request(verb, **args)
    finally:
        await connection.close()


def ask(state: Path, verb: str, **args: object) -> Any:
    """`request` for callers without an event loop."""
    return asyncio.run(request(state, verb, **args))


@dataclass(frozen=True, slots=True)
class LocalDaemon:
    """The daemon of a state folder on this box; its journal tells what can be told while it is away.

    Attributes:
        state: the folder.
    """

    state: Path

    def status(self) -> dict[str, Any]:
        """See `status`."""
        return status(self.state)

    def show(self, name: str) -> dict[str, Any]:
        """See `show`."""
        return show(self.state, name)

    def ask(self, verb: str, **args: object) -> Any:
        """See `ask`."""
        return ask(self.state, verb, **args)


# -- with or without a daemon ------------------------------------------------------------------------------------------


def status(state: Path) -> dict[str, Any]:
    """What `status --json` prints: from the daemon, else from the journal with `daemon` and `mqtt` null."""
    try:
        return cast(dict[str, Any], ask(state, "status"))
    except NoDaemonError:
        return _offline_status(state)


def show(state: Path, name: str) -> dict[str, Any]:
    """What `show NAME --json` prints: from the daemon, else from the journal.

    Raises:
        RequestError: there is no such study.
    """
    try:
        return cast(dict[str, Any], ask(state, "show", study=name))
    except NoDaemonError:
        return _offline_show(state, name)


def _offline_status(state: Path) -> dict[str, Any]:
    from cnnbo.daemon import messages
    from cnnbo.daemon.journal import read_journal

    stored, devices = read_journal(state)
    studies = [messages.study_object(s.study, _rest(s.study)) for s in stored if not s.study.is_archived]
    for device in devices:
        # Without a daemon nothing of ours runs; a fault it found may still be there.
        device |= {"study": None, "trial": None, "state": "idle" if device["state"] == "busy" else device["state"]}
    return {"daemon": None, "mqtt": None, "limit": None, "devices": devices, "studies": studies}


def _offline_show(state: Path, name: str) -> dict[str, Any]:
    from cnnbo.daemon import messages
    from cnnbo.daemon.journal import read_journal
    from cnnbo.scheduler.comparison import Members

    stored, _ = read_journal(state)
    for known in stored:
        if known.study.name == name:
            return dict(messages.show_object(known.study, _rest(known.study)))
    if (members := Members.of((known.study for known in stored), name)).studies:
        return dict(messages.comparison_object(members, time.time()))
    names = ", ".join(known.study.name for known in stored) or "none"
    raise RequestError(f"there is no study {name!r} in {state}; the studies there are: {names}.")


def _rest(study: Any) -> float:
    """The moment for which to show a study: its end, or now."""
    return time.time() if study.ended_at is None else float(study.ended_at)
