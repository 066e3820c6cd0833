"""The embedded broker, as a real process."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import aiomqtt
import pytest

from cnnbo.daemon.broker import EmbeddedBroker, _has_port
from cnnbo.daemon.mqtt import BrokerAddress

_DAEMON = """
import asyncio, sys
from pathlib import Path
from cnnbo.daemon.broker import EmbeddedBroker

async def main():
    async with EmbeddedBroker(Path(sys.argv[1]), 0) as broker:
        print(broker.url, broker.pid, flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


def _client(url: str | None) -> aiomqtt.Client:
    assert url is not None
    return BrokerAddress.parse(url).client("test")


async def _answers(url: str | None) -> bool:
    try:
        async with _client(url) as client:
            await client.publish("x", b"y", qos=1)
    except aiomqtt.MqttError:
        return False
    return True


async def test_it_answers_on_loopback_and_ends_with_the_block(tmp_path: Path) -> None:
    """A port that is open to the network, or stays open, is a reason to drop the product."""
    async with EmbeddedBroker(tmp_path, 0) as broker:
        assert broker.reason is None
        assert broker.url is not None and broker.url.startswith("mqtt://127.0.0.1:")
        assert await _answers(broker.url)
        pid = broker.pid
    assert pid is not None
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert not await _answers(broker.url)


async def test_a_foreign_broker_is_left_alone(tmp_path: Path) -> None:
    """Whoever listens at the port already never asked for our news."""
    with socket.create_server(("127.0.0.1", 0)) as foreign:
        port = foreign.getsockname()[1]
        async with EmbeddedBroker(tmp_path, port) as broker:
            assert broker.url not in (None, f"mqtt://127.0.0.1:{port}")
            assert await _answers(broker.url)


async def test_it_comes_back_where_it_was(tmp_path: Path) -> None:
    """Whoever listened to a broker that had to evade another one looks for it there after a restart."""
    with socket.create_server(("127.0.0.1", 0)) as foreign:
        port = foreign.getsockname()[1]
        async with EmbeddedBroker(tmp_path, port) as broker:
            url = broker.url
    async with EmbeddedBroker(tmp_path, port) as broker:
        assert broker.url == url
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        other = probe.getsockname()[1]
    async with EmbeddedBroker(tmp_path, other) as broker:
        assert broker.url == f"mqtt://127.0.0.1:{other}"


async def test_large_messages_pass(tmp_path: Path) -> None:
    """rumqttd's own limit is 20,480 bytes, and it hangs up on more."""
    async with EmbeddedBroker(tmp_path, 0) as broker, _client(broker.url) as client:
        await client.subscribe("big")
        await client.publish("big", b"x" * 500_000, qos=1)
        message = await anext(aiter(client.messages))
    assert message.payload == b"x" * 500_000


async def test_it_is_started_again_at_the_same_port(tmp_path: Path) -> None:
    """Subscribers know the address they were told; a broker that dies must come back there."""
    async with EmbeddedBroker(tmp_path, 0) as broker:
        first = broker.pid
        assert first is not None
        os.kill(first, signal.SIGKILL)
        async with asyncio.timeout(30):
            while broker.pid == first or not await _answers(broker.url):  # noqa: ASYNC110 - a broker tells nobody
                await asyncio.sleep(0.02)


async def test_a_folder_that_cannot_be_written_is_no_catastrophe(tmp_path: Path) -> None:
    """Training goes on without news."""
    async with EmbeddedBroker(tmp_path / "missing", 0) as broker:
        assert broker.url is None
        assert broker.reason is not None and "could not be started" in broker.reason


async def test_it_ends_when_the_daemon_is_killed(tmp_path: Path) -> None:
    """An orphaned broker would hold the port of the next daemon and tell old news for ever."""
    daemon = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", _DAEMON, str(tmp_path)), stdout=asyncio.subprocess.PIPE
    )
    assert daemon.stdout is not None
    async with asyncio.timeout(30):
        _, pid = (await daemon.stdout.readline()).split()
    pidfd = os.pidfd_open(int(pid))
    try:
        ended = asyncio.Event()
        asyncio.get_running_loop().add_reader(pidfd, ended.set)
        daemon.kill()
        await daemon.wait()
        async with asyncio.timeout(30):
            await ended.wait()
    finally:
        asyncio.get_running_loop().remove_reader(pidfd)
        os.close(pidfd)


def _listening_sockets(pid: int | None) -> int:
    links = (str(fd.readlink()) for fd in Path(f"/proc/{pid}/fd").iterdir())
    inodes = {link[8:-1] for link in links if link.startswith("socket:")}
    rows = (line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:])
    return sum(row[3] == "0A" and row[9] in inodes for row in rows)


async def test_there_is_one_listener(tmp_path: Path) -> None:
    """A second one, for MQTT 5, was measured to disconnect subscribers of the first."""
    async with EmbeddedBroker(tmp_path, 0) as broker:
        assert _listening_sockets(broker.pid) == 1


def test_whose_port_it_is_is_told_from_whether_somebody_listens() -> None:
    """Two instances that start at once may choose the same free port; one would join the other's broker, unasked."""
    with socket.create_server(("127.0.0.1", 0)) as server, subprocess.Popen(["sleep", "60"]) as other:
        port = server.getsockname()[1]
        assert _has_port(os.getpid(), port)
        assert not _has_port(other.pid, port)
        other.kill()
        other.wait()
        assert not _has_port(other.pid, port)
