"""The MQTT sink with real brokers: the embedded one, and Debian's mosquitto."""

import asyncio
import contextlib
import gc
import json
import logging
import math
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

import aiomqtt
import pytest
from tests.events import NoEvents
from tests.mosquitto import Mosquitto

from cnnbo.daemon.broker import EmbeddedBroker
from cnnbo.daemon.mqtt import BrokerAddress, connected
from cnnbo.daemon.sinks.base import Delivery, Message, StoredEvent
from cnnbo.daemon.sinks.mqtt import MqttSink

_ROOT = Path(__file__).parents[2]
_WAIT_S = 30.0  # for what is bound to happen; a test that is well never waits this long

_STAND_IN = """
import asyncio, sys
from cnnbo.daemon.sinks.mqtt import MqttSink

sys.path.append(sys.argv[2])
from tests.events import NoEvents

asyncio.run(MqttSink(sys.argv[1], "tower", boot="stand-in", events=NoEvents()).run())
"""


class Listener:
    """A subscriber that remembers what came, and can be waited for."""

    def __init__(self) -> None:
        self.received: list[tuple[str, bytes, bool]] = []
        self._news = asyncio.Event()

    def add(self, topic: str, payload: bytes, *, is_retained: bool) -> None:
        self.received.append((topic, payload, is_retained))
        self._news.set()

    async def until(self, is_enough: Callable[[], bool]) -> None:
        async with asyncio.timeout(_WAIT_S):
            while not is_enough():
                self._news.clear()
                await self._news.wait()

    async def payload_of(self, topic: str) -> bytes:
        await self.until(lambda: any(t.endswith(topic) for t, _, _ in self.received))
        return next(p for t, p, _ in self.received if t.endswith(topic))

    async def object_of(self, topic: str) -> dict[str, Any]:
        body = json.loads(await self.payload_of(topic))
        assert isinstance(body, dict)
        return body

    def newest(self, topic: str) -> bytes | None:
        return next((p for t, p, _ in reversed(self.received) if t.endswith(topic)), None)


@contextlib.asynccontextmanager
async def listening(url: str, topics: str = "#") -> AsyncIterator[Listener]:
    listener = Listener()
    async with connected(BrokerAddress.parse(url).client(f"listener-{id(listener)}")) as client:
        await client.subscribe(topics, qos=0)

        async def collect() -> None:
            async for message in client.messages:
                assert isinstance(message.payload, bytes)
                listener.add(message.topic.value, message.payload, is_retained=message.retain)

        async with running(collect()):
            yield listener


@contextlib.asynccontextmanager
async def running(work: Coroutine[Any, Any, None]) -> AsyncIterator[asyncio.Task[None]]:
    """Run a coroutine for the time of the block."""
    task = asyncio.create_task(work)
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.wait([task], timeout=_WAIT_S)


class Connections:
    """What `on_state` was told, and a way to wait for it."""

    def __init__(self) -> None:
        self.changes: list[tuple[bool, str | None]] = []
        self._news = asyncio.Event()

    def __call__(self, is_connected: bool, reason: str | None) -> None:
        self.changes.append((is_connected, reason))
        self._news.set()

    @property
    def is_connected(self) -> bool:
        """What was said last."""
        return bool(self.changes) and self.changes[-1][0]

    async def until(self, is_enough: Callable[[], bool]) -> None:
        async with asyncio.timeout(_WAIT_S):
            while not is_enough():
                self._news.clear()
                await self._news.wait()

    async def count(self, wanted: int) -> tuple[bool, str | None]:
        """Wait for that many changes and return the last of them."""
        await self.until(lambda: len(self.changes) >= wanted)
        return self.changes[wanted - 1]


def sink_at(url: str, on_state: Callable[[bool, str | None], None] | None = None, **settings: Any) -> MqttSink:
    defaults: dict[str, Any] = {"retry_s": (0.02, 0.1), "boot": "7f3a", "events": NoEvents()}
    return MqttSink(url, "tower", on_state=on_state, **defaults | settings)


def run_to_end(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)


def state(topic: str, **body: object) -> Message:
    return Message(topic, body, "cnnbo.test/1", Delivery.STATE)


@pytest.fixture(params=["embedded", pytest.param("mosquitto", marks=pytest.mark.mosquitto)])
async def broker_url(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[str]:
    """A broker of each kind."""
    if request.param == "embedded":
        async with EmbeddedBroker(tmp_path, 0) as broker:
            assert broker.url is not None
            yield broker.url
        return
    mosquitto = Mosquitto(tmp_path)
    await mosquitto.start()
    yield mosquitto.url
    await mosquitto.stop()


@pytest.fixture
async def mosquitto(tmp_path: Path) -> AsyncIterator[Mosquitto]:
    """A mosquitto that can be stopped and started again; mark the test `mosquitto`."""
    broker = Mosquitto(tmp_path)
    await broker.start()
    yield broker
    await broker.stop()


async def test_who_comes_late_gets_the_newest_state(broker_url: str) -> None:
    """Scripts and screens start when they like, and must see what is, with numbers as numbers."""
    sink = sink_at(broker_url)
    for finished in range(3):
        sink.publish(state("study/svhn", finished=finished, best_value=math.nan, devices=[1.5, math.inf]))
    async with running(sink.run()), listening(broker_url, "cnnbo/v1/tower/study/marker") as live:
        sink.publish(state("study/marker"))
        await live.payload_of("marker")  # what was published before it has been delivered
        async with listening(broker_url) as late:
            body = await late.object_of("/study/svhn")
            assert await late.payload_of("tower/availability") == b"online"
    assert list(body)[:4] == ["schema", "ts", "boot", "seq"]
    assert (body["schema"], body["boot"], body["seq"]) == ("cnnbo.test/1", "7f3a", 3)
    assert len(body["ts"]) == len("2026-11-23T14:36:02.114Z") and body["ts"].endswith("Z")
    assert (body["finished"], body["best_value"], body["devices"]) == (2, None, [1.5, None])


async def test_a_cleared_topic_is_gone(broker_url: str) -> None:
    """An archived study must vanish from every dashboard."""
    sink = sink_at(broker_url)
    async with running(sink.run()), listening(broker_url) as live:
        sink.publish(state("study/svhn", finished=1))
        await live.object_of("/study/svhn")
        sink.publish(Message("study/svhn", None, "cnnbo.test/1", Delivery.STATE))
        await live.until(lambda: live.newest("/study/svhn") == b"")
        async with listening(broker_url) as late:
            await late.payload_of("availability")
            sink.publish(state("study/other", finished=1))
            await late.payload_of("/study/other")
            assert late.newest("/study/svhn") is None


async def test_a_killed_daemon_is_called_offline(broker_url: str) -> None:
    """Nobody can say goodbye after SIGKILL, so the broker has to."""
    daemon = await asyncio.create_subprocess_exec(sys.executable, "-c", _STAND_IN, broker_url, str(_ROOT))
    async with listening(broker_url) as listener:
        await listener.until(lambda: listener.newest("availability") == b"online")
        daemon.kill()
        await daemon.wait()
        await listener.until(lambda: listener.newest("availability") == b"offline")
    async with listening(broker_url) as late:
        assert await late.payload_of("availability") == b"offline"


async def test_a_daemon_that_stops_sends_its_last_news_and_says_offline(broker_url: str) -> None:
    """A will is for accidents; and what the stop itself changed is still worth telling."""
    told = Connections()
    sink = sink_at(broker_url, told)
    async with listening(broker_url) as listener:
        async with running(sink.run()):
            await told.count(1)
            sink.publish(state("study/svhn", state="paused"))
        await listener.until(lambda: listener.newest("availability") == b"offline")
        assert (await listener.object_of("/study/svhn"))["state"] == "paused"


async def test_a_late_death_of_a_former_life_is_contradicted(broker_url: str) -> None:
    """The broker sends the will of a box that lost its network long after the box is back."""
    sink = sink_at(broker_url)
    async with running(sink.run()), listening(broker_url) as listener:
        await listener.until(lambda: listener.newest("availability") == b"online")
        async with connected(BrokerAddress.parse(broker_url).client("former-life")) as client:
            await client.publish(sink.availability_topic, b"offline", qos=1, retain=True)
        await listener.until(lambda: listener.newest("availability") == b"offline")
        await listener.until(lambda: listener.newest("availability") == b"online")


def others_known(told: Connections) -> list[bool]:
    """What was said, in turn, of whether another daemon uses the node's name."""
    return [reason is not None and "--node" in reason for is_connected, reason in told.changes if is_connected]


async def test_two_daemons_of_one_name_leave_each_others_topics_alone(
    broker_url: str, request: pytest.FixtureRequest
) -> None:
    """A user's own daemon beside the service has the host's name, too: both are told, and none wipes the other's."""
    first_told, second_told = Connections(), Connections()
    first, second = sink_at(broker_url, first_told, boot="first"), sink_at(broker_url, second_told, boot="second")
    for sink, name in ((first, "first"), (second, "second")):
        sink.publish(Message("info", {"pid": 1}, "cnnbo.info/1", Delivery.STATE))
        sink.publish(state(f"study/{name}", finished=1))
    async with running(first.run()), listening(broker_url) as listener:
        await listener.object_of("/study/first")
        async with running(second.run()):
            await listener.object_of("/study/second")
            for told in (first_told, second_told):
                await told.until(lambda told=told: others_known(told)[-1:] == [True])  # type: ignore[misc]
            second.publish(state("study/marker"))
            await listener.object_of("/study/marker")
            assert b"" not in [payload for _, payload, _ in listener.received]
        await first_told.until(lambda: others_known(first_told) == [False, True, False])
        if "mosquitto" in request.node.name:  # the embedded broker hands its orphans out at the next connection only
            await listener.until(lambda: {listener.newest(f"/study/{name}") for name in ("second", "marker")} == {b""})
        assert listener.newest("/study/first") != b""


@pytest.mark.parametrize(("doubt_s", "will"), [(60.0, b"offline"), (0.5, None)])
async def test_a_name_is_free_again_when_its_former_owner_is_gone(
    broker_url: str, doubt_s: float, will: bytes | None
) -> None:
    """A box that lost its power is `online` until the will comes; if the broker lost power, too, none ever comes."""
    async with connected(BrokerAddress.parse(broker_url).client("former-life")) as client:
        for topic, payload in (("availability", b"online"), ("info", b'{"boot": "former"}'), ("study/old", b"{}")):
            await client.publish(f"cnnbo/v1/tower/{topic}", payload, qos=1, retain=True)
    told = Connections()
    async with listening(broker_url) as listener, running(sink_at(broker_url, told, doubt_s=doubt_s).run()):
        await told.until(lambda: others_known(told)[-1:] == [True])
        assert await listener.payload_of("/study/old") == b"{}"
        if will is not None:
            async with connected(BrokerAddress.parse(broker_url).client("former-life")) as client:
                await client.publish("cnnbo/v1/tower/availability", will, qos=1, retain=True)
        await listener.until(lambda: listener.newest("/study/old") == b"")
        assert others_known(told)[-2:] == [True, False]


async def test_progress_comes_at_most_once_an_interval_and_its_end_is_not_lost(broker_url: str) -> None:
    """Subscribers on a phone must survive a training loop that reports every step."""
    told = Connections()
    sink = sink_at(broker_url, told, progress_interval_s=0.5)
    clock = asyncio.get_running_loop().time

    def progress(step: int) -> Message:
        return Message("study/s/trial/1/progress", {"step": step}, "cnnbo.progress/1", Delivery.PROGRESS)

    async with listening(broker_url) as listener, running(sink.run()):
        await told.count(1)
        began = clock()
        sink.publish(progress(0))
        await listener.payload_of("progress")
        for step in range(1, 500):
            sink.publish(progress(step))
        await listener.until(lambda: b'"step":499' in (listener.newest("progress") or b""))
        assert clock() - began >= 0.5
        assert sum(topic.endswith("progress") for topic, _, _ in listener.received) == 2


@pytest.mark.mosquitto
async def test_a_broker_that_was_started_anew_is_told_everything(mosquitto: Mosquitto) -> None:
    """It keeps nothing over a restart, and dashboards must be right again without the daemon's restart."""
    told = Connections()
    sink = sink_at(mosquitto.url, told)
    for k in range(40):
        sink.publish(state(f"study/svhn/trial/{k}", id=k))
    async with running(sink.run()):
        assert await told.count(1) == (True, None)
        await mosquitto.stop()
        is_connected, reason = await told.count(2)
        assert not is_connected and reason is not None and mosquitto.url in reason
        sink.publish(state("study/svhn", finished=41))
        await mosquitto.start()
        assert await told.count(3) == (True, None)
        async with listening(mosquitto.url) as listener:
            await listener.until(lambda: len({t for t, _, _ in listener.received}) == 42)


@pytest.mark.mosquitto
async def test_a_broker_that_hangs_is_left_and_told_again_when_it_wakes(mosquitto: Mosquitto) -> None:
    """A suspended virtual machine keeps its connections open and answers nothing."""
    told = Connections()
    sink = sink_at(mosquitto.url, told, reply_s=1.0)
    async with running(sink.run()):
        await told.until(lambda: told.is_connected)
        os.kill(mosquitto.pid, signal.SIGSTOP)
        try:
            sink.publish(state("study/svhn", finished=1))
            await told.until(lambda: told.changes[-1] == (False, f"{mosquitto.url}: no answer"))
        finally:
            os.kill(mosquitto.pid, signal.SIGCONT)
        await told.until(lambda: told.is_connected)
        async with listening(mosquitto.url) as listener:
            assert (await listener.object_of("/study/svhn"))["finished"] == 1


async def test_a_server_that_accepts_and_says_nothing_delays_nobody() -> None:
    """A wrong port, or a broker out of threads: connecting must time out, and stopping must not wait for it."""
    told = Connections()
    hung_up = asyncio.Event()

    async def swallow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(4096):
            pass
        hung_up.set()
        writer.close()

    async with await asyncio.start_server(swallow, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        sink = sink_at(f"mqtt://127.0.0.1:{port}", told, reply_s=0.2)
        async with running(sink.run()) as task:
            sink.publish(state("study/svhn", finished=1))
            assert await told.count(1) == (False, f"mqtt://127.0.0.1:{port}: no answer")
            async with asyncio.timeout(_WAIT_S):
                await hung_up.wait()  # a connection that is given up is closed, not collected
        assert task.cancelled()


async def test_a_broker_that_hangs_up_leaves_no_traceback(caplog: pytest.LogCaptureFixture) -> None:
    """It would end up on the terminal of whoever types a command, beside the sentence that says what happened."""

    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(4096)
        writer.write(b"\x20\x02\x00\x00")
        await reader.read(4096)
        writer.close()

    async with await asyncio.start_server(hang_up, "127.0.0.1", 0) as server:
        address = BrokerAddress("127.0.0.1", server.sockets[0].getsockname()[1])
        with pytest.raises(aiomqtt.MqttError):
            async with connected(address.client("anybody", reply_s=1.0)) as client:
                await client.subscribe("#")
    del client
    gc.collect()  # asyncio complains of a future when that is collected
    assert "never retrieved" not in caplog.text


async def test_a_refused_connection_is_tried_until_there_is_a_broker(tmp_path: Path) -> None:
    """The daemon and the broker start in any order."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    told = Connections()
    async with running(sink_at(f"mqtt://127.0.0.1:{port}", told).run()):
        assert await told.count(1) == (False, f"mqtt://127.0.0.1:{port}: Connection refused")
        async with EmbeddedBroker(tmp_path, port) as broker:
            assert broker.url == f"mqtt://127.0.0.1:{port}"
            assert await told.count(2) == (True, None)


@pytest.mark.mosquitto
async def test_user_and_password_are_used_and_never_shown(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A production broker takes no strangers, and logs are read by many."""
    caplog.set_level(logging.DEBUG)
    passwords = tmp_path / "passwords"
    run_to_end("mosquitto_passwd", "-c", "-b", str(passwords), "tower", "s@crecy")
    broker = Mosquitto(tmp_path, f"allow_anonymous false\npassword_file {passwords}")
    await broker.start()
    try:
        told = Connections()
        async with running(sink_at(broker.url.replace("//", "//tower:wrong-s%40crecy@"), told).run()):
            is_connected, reason = await told.count(1)
            assert not is_connected and reason is not None and "uthor" in reason
        told = Connections()
        async with running(sink_at(broker.url.replace("//", "//tower:s%40crecy@"), told).run()):
            assert await told.count(1) == (True, None)
    finally:
        await broker.stop()
    assert "crecy" not in caplog.text


@pytest.mark.mosquitto
@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl to make a certificate")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # paho leaves a refused TLS socket open
async def test_tls_is_verified_against_the_systems_certificates(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Encryption to whoever answers protects nobody: an unknown certificate must be refused, a known one taken."""
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subject = ("-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1", "-days", "2")
    files = ("-keyout", str(key), "-out", str(certificate))
    make = ("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    run_to_end(*make, *subject, *files)
    broker = Mosquitto(tmp_path, f"allow_anonymous true\nkeyfile {key}\ncertfile {certificate}", scheme="mqtts")
    await broker.start()
    try:
        told = Connections()
        async with running(sink_at(broker.url, told).run()):
            is_connected, reason = await told.count(1)
            assert not is_connected and reason is not None and "signed by nobody trusted here" in reason
        monkeypatch.setenv(ssl.get_default_verify_paths().openssl_cafile_env, str(certificate))
        told = Connections()
        async with running(sink_at(broker.url, told).run()):
            assert await told.count(1) == (True, None)
    finally:
        await broker.stop()


class BrokenStore(NoEvents):
    """An `EventStore` with a bug, until it is mended."""

    def __init__(self) -> None:
        self.is_broken = True

    async def waiting_events(self, limit: int) -> list[StoredEvent]:
        if self.is_broken:
            raise KeyError("topic")
        return []


async def test_a_bug_in_the_news_is_told_and_ends_nobody(broker_url: str, caplog: pytest.LogCaptureFixture) -> None:
    """MQTT is news: an error nobody thought of must not end the daemon and the trials of the night with it."""
    told = Connections()
    store = BrokenStore()
    sink = sink_at(broker_url, told, events=store)
    sink.publish(state("study/svhn", finished=1))
    async with running(sink.run()) as task, listening(broker_url) as listener:
        is_connected, reason = await told.count(4)  # the same bug twice
        store.is_broken = False
        assert (is_connected, reason) == (
            False,
            "a bug in cnnbo (KeyError('topic')); the log has its traceback, please report it",
        )
        assert await listener.object_of("/study/svhn")
        assert not task.done()
    tracebacks = [record.exc_info for record in caplog.records if "a bug in cnnbo ended" in record.message]
    assert len(tracebacks) == 1 and tracebacks[0] is not None
    assert told.changes[-1] == (True, None)


async def test_a_payload_no_broker_takes_is_dropped_alone(broker_url: str, caplog: pytest.LogCaptureFixture) -> None:
    """Brokers hang up on what is over their limit; sent again at every connection it would silence everything else."""
    told = Connections()
    sink = sink_at(broker_url, told)
    sink.publish(state("study/huge", text="x" * 1_000_000))
    sink.publish(state("study/\udc80", finished=1))
    sink.publish(state("study/svhn", finished=1))
    async with running(sink.run()), listening(broker_url) as listener:
        await listener.object_of("/study/svhn")
    assert told.changes == [(True, None)]
    assert "study/huge" in caplog.text


_WITH_BROKER = """
import asyncio, sys
from pathlib import Path
from cnnbo.daemon.broker import EmbeddedBroker
from cnnbo.daemon.sinks.mqtt import MqttSink

sys.path.append(sys.argv[2])
from tests.events import NoEvents

async def main():
    async with EmbeddedBroker(Path(sys.argv[1]), 0) as broker:
        print(broker.url, flush=True)
        await MqttSink(broker.url, "tower", boot="stand-in", events=NoEvents()).run()

asyncio.run(main())
"""


async def test_the_embedded_broker_outlives_its_daemon_by_the_last_will(tmp_path: Path) -> None:
    """A broker that goes down with the daemon at once would never tell anybody that the daemon died."""
    command = (sys.executable, "-c", _WITH_BROKER, str(tmp_path), str(_ROOT))
    daemon = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
    assert daemon.stdout is not None
    async with asyncio.timeout(_WAIT_S):
        url = (await daemon.stdout.readline()).decode().strip()
    async with listening(url) as listener:
        await listener.until(lambda: listener.newest("availability") == b"online")
        daemon.kill()
        await daemon.wait()
        await listener.until(lambda: listener.newest("availability") == b"offline")
