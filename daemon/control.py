"""The control socket: JSON lines in, JSON lines out; the command line's way to the daemon, with or without a broker.

A request is `{"verb", "transaction", "args"}`; its response is `{"transaction", "status", "data", "error"}`, whose
status is `ok` or `error`. `follow` answers with the study, and goes on with `{"topic", "body"}` for each piece of news.
"""

import asyncio
import json
import logging
import os
import pwd
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from cnnbo.daemon.api.requests import SOCKET_REQUESTS, Follow, Request, read_request
from cnnbo.daemon.handler import Handler, refusal, response
from cnnbo.daemon.messages import is_json
from cnnbo.daemon.sinks.base import Delivery, Message
from cnnbo.daemon.socketpath import SOCKET_NAME, socket_path
from cnnbo.daemon.submitted import Peer
from cnnbo.scheduler.errors import CnnboError, RequestError

log = logging.getLogger(__name__)

MAX_REQUEST_BYTES = 4 * 1024 * 1024
"""Longest request line; a study file with its caller's environment is far below."""

FOLLOWER_BACKLOG = 1000
"""News kept for a follower that does not read; progress beyond that is dropped, then the follower."""

_BACKLOG = 1024  # who knocks while that many wait is told at once that nobody answers

_UCRED = struct.Struct("3i")  # pid, uid, gid of SO_PEERCRED


class FollowSink:
    """Hands the news to whoever follows a study, or a comparison, through the control socket."""

    def __init__(self) -> None:
        self._followers: dict[asyncio.Queue[Message | None], str] = {}

    def publish(self, message: Message) -> None:
        """Put the message into the queue of everybody it concerns."""
        for queue, beginning in list(self._followers.items()):
            if not _concerns(message, beginning):
                continue
            if queue.qsize() < FOLLOWER_BACKLOG:
                queue.put_nowait(message)
            elif message.delivery is not Delivery.PROGRESS:
                # It reads nothing: better no news than a gap that looks like calm.
                del self._followers[queue]
                queue.put_nowait(None)

    async def run(self) -> None:
        """Nothing to deliver by itself: followers take their news."""
        await asyncio.Event().wait()

    async def follow(self, name: str, is_comparison: bool = False) -> AsyncIterator[Message]:
        """The news about a study from now on; or about all studies whose names begin as those of a comparison do.

        Of a comparison more parts are to come, which nobody knows yet.
        """
        queue: asyncio.Queue[Message | None] = asyncio.Queue()
        self._followers[queue] = f"{name}-" if is_comparison else f"{name}/"
        try:
            while (message := await queue.get()) is not None:
                yield message
        finally:
            self._followers.pop(queue, None)


def _concerns(message: Message, beginning: str) -> bool:
    """Whether a message is about a device, or a study whose name, with a slash behind it, begins so."""
    kind, _, rest = message.topic.partition("/")
    study = (message.body or {}).get("study") if kind == "event" else rest.split("/")[0]
    return kind == "device" or (kind in ("event", "study") and f"{study}/".startswith(beginning))


class ControlServer:
    """Listens on the control socket and hands requests to the handler.

    Args:
        state: the state folder, in which the socket is found.
        handler: answers the requests.
        follow: tells the news.
        shared: a folder for the socket that the group of this process may enter, and nobody else; then the group may
            connect, and in the state folder there is a link. None = the socket is in the state folder, for its owner.
    """

    def __init__(self, state: Path, handler: Handler, follow: FollowSink, shared: Path | None = None) -> None:
        self._state = state
        self._shared = shared
        self._handler = handler
        self._follow = follow
        self._connections: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        """Accept requests while the block runs."""
        folder, mode = (self._state, 0o600) if self._shared is None else (self._shared, 0o660)
        self._remove_sockets()  # a dead daemon's; the state lock is ours
        async with socket_path(folder) as path:
            listener = _listener(path, mode)
        server = await asyncio.start_unix_server(self._serve, sock=listener, limit=MAX_REQUEST_BYTES, backlog=_BACKLOG)
        if self._shared is not None:
            (self._state / SOCKET_NAME).symlink_to(self._shared / SOCKET_NAME)
        try:
            yield
        finally:
            server.close()
            for connection in self._connections:
                connection.cancel()
            self._remove_sockets()

    def _remove_sockets(self) -> None:
        for folder in (self._state, self._shared):
            if folder is not None:
                (folder / SOCKET_NAME).unlink(missing_ok=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            peer = _peer(writer)
            while line := await _read_line(reader):
                await self._answer(line, peer, reader, writer)
        except RequestError as error:  # where the next request begins isn't known
            log.info("control connection ended: %s", error)
            with suppress(ConnectionError):
                await _send(writer, refusal(None, error))
        except ConnectionError as error:
            log.info("control connection ended: %s", error)
        except asyncio.CancelledError:
            pass  # the daemon stops
        finally:
            self._connections.discard(task)
            writer.close()

    async def _answer(
        self, line: bytes, peer: Peer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        message = _parse(line)
        transaction = message.get("transaction")
        try:
            if not _is_plain(transaction):
                transaction = None
                raise RequestError("transaction must be a text or a number of the request.")
            request = _request(message)
            if isinstance(request, Follow):
                self._handler.show(request.study)  # raises if there is none
        except CnnboError as error:
            await _send(writer, refusal(transaction, error))
            return
        if isinstance(request, Follow):
            await self._stream(request, transaction, peer, reader, writer)
        else:
            await _send(writer, await response(transaction, str(message["verb"]), self._handler.handle(request, peer)))

    async def _stream(
        self,
        request: Follow,
        transaction: object,
        peer: Peer,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        news = self._follow.follow(request.study, self._handler.is_comparison(request.study))
        waiting = asyncio.ensure_future(anext(news))
        hanging_up = asyncio.ensure_future(_hang_up(reader))
        await asyncio.sleep(0)  # the follower is registered before the state is read: no gap between the two
        try:
            await _send(writer, await response(transaction, "follow", self._handler.handle(request, peer)))
            while True:
                await asyncio.wait((waiting, hanging_up), return_when=asyncio.FIRST_COMPLETED)
                if hanging_up.done():
                    return  # or whoever left a study that is at rest would be kept for ever
                message = await waiting
                waiting = asyncio.ensure_future(anext(news))
                await _send(writer, {"topic": message.topic, "body": message.body})
        except StopAsyncIteration:
            writer.close()  # the follower read nothing for too long; an end it can see beats silence
            return
        finally:
            for task in (waiting, hanging_up):
                task.cancel()
                with suppress(asyncio.CancelledError, StopAsyncIteration, ConnectionError):
                    await task
            await news.aclose()  # type: ignore[attr-defined]


def _listener(path: str, mode: int) -> socket.socket:
    """A socket at a path, with that mode, through which nobody else can connect at any moment.

    By the umask, the mode would hold for whatever else the process makes meanwhile, too.
    """
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    os.fchmod(listener.fileno(), mode)  # before it has a name; the umask may take more away …
    listener.bind(path)
    Path(path).chmod(mode)  # … which is given back here
    return listener


async def _read_line(reader: asyncio.StreamReader) -> bytes:
    """The next request; empty at the end.

    Raises:
        RequestError: it is longer than any request.
    """
    try:
        return await reader.readline()
    except ValueError as error:
        raise RequestError(f"a request is at most {MAX_REQUEST_BYTES // 1024**2} MiB; this one is longer.") from error


async def _hang_up(reader: asyncio.StreamReader) -> None:
    """Wait until a follower leaves; what it says is passed over, for it is told news until then."""
    while await reader.read(1 << 16):
        pass


def _peer(writer: asyncio.StreamWriter) -> Peer:
    connection: socket.socket = writer.get_extra_info("socket")
    _, uid, _ = _UCRED.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size))
    is_root_elsewhere = uid == 0 and os.getuid() != 0
    return Peer(_user_name(uid), uid in (0, os.getuid()), is_root_elsewhere)


def _user_name(uid: int) -> str:
    """The user's name, or the number where the box doesn't know it."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _parse(line: bytes) -> dict[str, Any]:
    try:
        request = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return request if isinstance(request, dict) else {}


def _request(message: dict[str, Any]) -> Request:
    """The request that a message makes.

    Raises:
        RequestError: it makes none.
    """
    verb, args = str(message.get("verb")), message.get("args") or {}
    if not isinstance(args, dict):
        raise RequestError("args must be an object of the request.")
    if verb not in SOCKET_REQUESTS:
        raise RequestError(f"the daemon knows no request {verb!r}; it may be older than this command line.")
    return read_request(SOCKET_REQUESTS[verb], verb, args)


def _is_plain(transaction: object) -> bool:
    """Whether it can be echoed: nothing nested, and no number that JSON doesn't know."""
    return transaction is None or (isinstance(transaction, str | int | float) and is_json(transaction))


async def _send(writer: asyncio.StreamWriter, line: object) -> None:
    writer.write(json.dumps(line).encode() + b"\n")
    await writer.drain()
