"""The command line's side of the control socket, and the read-only way to a state folder whose daemon is away."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from cnnbo.daemon.socketpath import SOCKET_NAME, socket_path
from cnnbo.scheduler.errors import CnnboError, ConfigurationError, RequestError

if TYPE_CHECKING:
    from cnnbo.daemon.logfiles import LogPart

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
        from cnnbo.daemon.folders import SERVICE_SOCKET, SERVICE_STATE, closed_service, without_daemon

        # Nobody but the service may enter its state folder.
        is_service = state == SERVICE_STATE and SERVICE_SOCKET.parent.is_dir()
        try:
            async with asyncio.timeout(_CONNECT_S), socket_path(SERVICE_SOCKET.parent if is_service else state) as path:
                return cls(*await asyncio.open_unix_connection(path, limit=64 * 1024 * 1024))
        except PermissionError as error:
            theirs = (
                f"{state / SOCKET_NAME}: this daemon is somebody else's; ask them, or use --state DIR for your own."
            )
            raise RequestError((closed_service() if is_service else None) or theirs) from error
        except (OSError, TimeoutError) as error:
            raise NoDaemonError(without_daemon(state)) from error

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


@dataclass(frozen=True, slots=True)
class LogPiece:
    """A piece of what an attempt printed.

    Attributes:
        part: the piece, with the mark that leads to the next one.
        is_over: whether the attempt had ended before it was read.
    """

    part: "LogPart"
    is_over: bool


def read_log(
    state: Path, study: str, trial: int, attempt: int, lines: int, after: "LogPiece | None" = None
) -> LogPiece:
    """What an attempt printed: from the daemon, which alone may read a service's files, else from the files.

    Args:
        state: the state folder.
        study: whose output.
        trial: whose output.
        attempt: whose output; counts from 1.
        lines: at most so many of the last lines.
        after: the piece before; then all that came after it.

    Raises:
        RequestError: there is no such trial.
        OSError: the files can't be read.
    """
    from cnnbo.daemon.logfiles import LogPart, read_end, read_on

    mark = None if after is None else after.part.mark
    try:
        told = ask(state, "logs", study=study, trial=trial, attempt=attempt, lines=lines, mark=mark)
    except NoDaemonError:
        place = (state, study, trial, attempt)
        return LogPiece(read_end(*place, lines) if mark is None else read_on(*place, mark, is_over=True), is_over=True)
    return LogPiece(LogPart(tuple(told["lines"]), told["mark"]), told["is_over"])


def _offline_status(state: Path) -> dict[str, Any]:
    from cnnbo.daemon import messages
    from cnnbo.daemon.journal import read_journal

    _refuse_closed(state)
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

    _refuse_closed(state)
    stored, _ = read_journal(state)
    for known in stored:
        if known.study.name == name:
            return dict(messages.show_object(known.study, _rest(known.study)))
    if (members := Members.of((known.study for known in stored), name)).studies:
        return dict(messages.comparison_object(members, time.time()))
    names = ", ".join(known.study.name for known in stored) or "none"
    raise RequestError(f"there is no study {name!r} in {state}; the studies there are: {names}.")


def _refuse_closed(state: Path) -> None:
    """Say it where a service of this box is meant that is closed to us: an empty folder of our own answers nothing.

    Raises:
        RequestError: that is so.
    """
    from cnnbo.daemon.folders import closed_service

    if not state.exists() and (closed := closed_service()):
        raise RequestError(closed)


def _rest(study: Any) -> float:
    """The moment for which to show a study: its end, or now."""
    return time.time() if study.ended_at is None else float(study.ended_at)
