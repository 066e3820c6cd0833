"""The broker that comes with cnnbo, for a box where nobody runs one.

It is rumqttd, as the wheel `iotcore` brings it, in a process of its own: it has to outlive the daemon by the moment it
takes to tell everybody that it died. This module is both sides: `EmbeddedBroker` in the daemon, and `main`, what the
child process runs.
"""

import asyncio
import contextlib
import logging
import os
import random
import re
import socket
import sys
import threading
import time
from pathlib import Path
from typing import Self

from cnnbo.daemon.logfiles import CHILD_LOG_BYTES, keep_end

_log = logging.getLogger(__name__)

_HOST = "127.0.0.1"  # loopback only: it asks nobody for a password
_READY_S = 10.0
_STOP_S = 5.0
_LAST_WILL_S = 0.5  # what a broker whose daemon stopped or was killed has for telling so
_RETRY_S = (0.5, 30.0)
_FIRST_TRIES = 3
_LISTEN = "0A"  # a state in /proc/net/tcp

# One MQTT 3.1.1 listener: with a second one for MQTT 5, a publish with properties there disconnects 3.1.1 subscribers.
# The router's figures are per topic filter that anybody subscribed to. rumqttd's own ones let the log of one filter
# grow to a gigabyte, and hand a new subscriber no more than max_outgoing_packet_count retained messages.
_CONFIG = """\
# wanted: {wanted}
id = 0

[router]
id = 0
max_connections = 1000
max_outgoing_packet_count = 100000
max_segment_size = 1048576
max_segment_count = 10

[v4.1]
name = "cnnbo"
listen = "{host}:{port}"
next_connection_delay_ms = 1

[v4.1.connections]
connection_timeout_ms = 5000
max_payload_size = 1048576
max_inflight_count = 100
dynamic_filters = true
"""


class EmbeddedBroker:
    """Runs the broker for the time of an `async with` block. Never raises: without a broker the daemon goes on.

    It listens on 127.0.0.1 where it did the last time, for there it is looked for; else at `port` or, where that is
    taken, at a free one: whoever listens there already was not asked to carry our news. It ends with this process, even
    if that is killed, and is started again if it dies.

    Attributes:
        url: where it listens, or None if it could not be started.
        reason: why there is none, or None.

    Args:
        folder: state folder, for the broker's configuration.
        port: the port that is wanted.
        logs: folder for its (nearly always empty) log; default: the state folder.
    """

    def __init__(self, folder: Path, port: int = 1883, logs: Path | None = None) -> None:
        self._config = folder / "broker.toml"
        self._output = (logs or folder) / "broker.log"
        self._wanted = port
        self._port = port
        self._process: asyncio.subprocess.Process | None = None
        self._keeper: asyncio.Task[None] | None = None
        self.url: str | None = None
        self.reason: str | None = None

    @property
    def pid(self) -> int | None:
        """Process id of the broker, None while there is none."""
        return None if self._process is None else self._process.pid

    async def __aenter__(self) -> Self:
        try:
            await self._start_first()
        except asyncio.CancelledError:
            await self._stop()
            raise
        except OSError as error:
            await self._stop()
            self.reason = f"the embedded broker could not be started: {error}"
            _log.warning("%s", self.reason)
            return self
        self.url = f"mqtt://{_HOST}:{self._port}"
        self._keeper = asyncio.create_task(self._keep_running(), name="broker")
        return self

    async def __aexit__(self, *exception: object) -> None:
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.wait([self._keeper])
        await self._stop()

    async def _start_first(self) -> None:
        """Start the child at a free port, more than once if need be: killed then, it would be missed for the whole day.

        Raises:
            OSError: as `_start`, at the last try.
        """
        last = await asyncio.to_thread(_last_port, self._config, self._wanted)
        self._port = last or self._wanted
        for attempt in range(1, _FIRST_TRIES + 1):
            self._port = _free_port(self._port, self._wanted)
            configuration = _CONFIG.format(host=_HOST, port=self._port, wanted=self._wanted)
            await asyncio.to_thread(self._config.write_text, configuration)
            try:
                await self._start()
                return
            except OSError as error:
                await self._stop()
                if attempt == _FIRST_TRIES:
                    raise
                _log.warning("the embedded broker did not start, and is tried again: %s", error)

    async def _start(self) -> None:
        """Start the child and wait until it listens.

        Raises:
            OSError: it can't be executed, it ended, or it doesn't listen in time.
        """
        keep_end(self._output, CHILD_LOG_BYTES)
        with self._output.open("ab") as output:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "cnnbo.daemon.broker", str(self._config)),
                stdin=asyncio.subprocess.PIPE,  # its lifeline: nothing is ever written to it
                stdout=output,
                stderr=output,
                start_new_session=True,  # a Ctrl-C in the terminal is for the daemon, which still has to say goodbye
            )
        ended = asyncio.ensure_future(self._process.wait())
        listening = asyncio.ensure_future(_listening(self._process.pid, self._port))
        try:
            await asyncio.wait((ended, listening), timeout=_READY_S, return_when=asyncio.FIRST_COMPLETED)
            if ended.done():
                raise OSError(f"it ended at once with status {ended.result()}; see {self._output}")
            if not listening.done():
                raise OSError(f"it does not listen on {_HOST}:{self._port} after {_READY_S:.0f} s; see {self._output}")
        finally:
            ended.cancel()
            listening.cancel()

    async def _keep_running(self) -> None:
        """Start it again, at the same port, whenever it dies."""
        wait_s, longest_s = _RETRY_S
        while True:
            began = time.monotonic()
            if self._process is not None:
                await self._process.wait()
                _log.warning("the embedded broker ended (status %s); starting it again", self._process.returncode)
            wait_s = _RETRY_S[0] if time.monotonic() - began > longest_s else wait_s
            await asyncio.sleep(wait_s * random.uniform(0.5, 1.0))
            wait_s = min(2 * wait_s, longest_s)
            try:
                await self._start()
            except OSError as error:
                _log.warning("the embedded broker could not be started again: %s", error)
                await self._stop()

    async def _stop(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        assert process.stdin is not None  # it was started with a pipe
        process.stdin.close()  # no SIGTERM: it has acknowledged our "offline", and may not have told anybody yet
        try:
            async with asyncio.timeout(_STOP_S):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()


def _last_port(config: Path, wanted: int) -> int | None:
    """Where the broker of this configuration listened; None where there was none, or another port was wanted then."""
    with contextlib.suppress(OSError, UnicodeError):
        if found := re.search(rf"^# wanted: {wanted}\n(?s:.*)^listen = .*:(\d+)\"$", config.read_text(), re.MULTILINE):
            return int(found[1])
    return None


def _free_port(*wanted: int) -> int:
    """The first of these ports at which nobody listens, else a free port of the system's choice.

    Raises:
        OSError: no port can be had at all.
    """
    for port in (*wanted, 0):
        with socket.socket() as probe, contextlib.suppress(OSError):
            # As the broker will: a port whose last connections are still being forgotten counts as free.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((_HOST, port))
            return int(probe.getsockname()[1])
    raise OSError(f"{_HOST} has no free port")


async def _listening(pid: int, port: int) -> None:
    """Return as soon as the process listens at the port; that somebody does may be another instance's broker."""
    while True:
        if await asyncio.to_thread(_has_port, pid, port):
            return
        await asyncio.sleep(0.02)  # there is no event to wait for: rumqttd doesn't say when it is ready


def _has_port(pid: int, port: int) -> bool:
    """Whether a process holds a TCP socket that listens at the port, by the kernel's table of them."""
    try:
        lines = [line.split() for line in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]]
        links = list(Path(f"/proc/{pid}/fd").iterdir())
    except OSError:  # it has ended
        return False
    inodes = {line[9] for line in lines if line[3] == _LISTEN and int(line[1].rpartition(":")[2], 16) == port}
    return not inodes.isdisjoint(filter(None, map(_socket_inode, links)))


def _socket_inode(link: Path) -> str | None:
    with contextlib.suppress(OSError):  # closed while we looked
        if match := re.fullmatch(r"socket:\[(\d+)\]", str(link.readlink())):
            return match[1]
    return None


def _end_with_parent() -> None:
    """Wait for the daemon's end of the pipe to close, as it stops or dies, and end soon after."""
    os.read(sys.stdin.fileno(), 1)
    time.sleep(_LAST_WILL_S)
    os._exit(0)  # rumqttd has no way to be stopped, and nothing to save


def main() -> None:
    """Run the broker in this process until stdin is closed; the one argument is its configuration file."""
    from iotcore import IotCoreBroker

    threading.Thread(target=_end_with_parent, daemon=True).start()
    logging.disable(logging.CRITICAL)  # rumqttd reports every packet as an error
    IotCoreBroker(config_path=sys.argv[1]).run_forever()


if __name__ == "__main__":
    main()
