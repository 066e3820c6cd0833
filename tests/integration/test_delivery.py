"""No event is lost and no topic stays behind: the real sink, journal and daemon against brokers that go away or hang.

CNNBO_OUTAGE_S makes the outage of the daemon's broker longer (`make test-long`).
"""

import asyncio
import contextlib
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import time
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from tests.events import some_event
from tests.integration.conftest import PATIENCE_S, Box
from tests.integration.test_mqtt import Connections, Listener, listening, running, sink_at, state
from tests.mosquitto import Mosquitto
from tests.nemesis.retained import read_retained

from cnnbo.daemon.broker import EmbeddedBroker
from cnnbo.daemon.client import request
from cnnbo.daemon.journal import JOURNAL_NAME, Journal
from cnnbo.daemon.mqtt import BrokerAddress, connected
from cnnbo.daemon.outbox import EVENT_LIMIT
from cnnbo.daemon.sinks.base import Delivery, Message
from cnnbo.daemon.sinks.mqtt import MqttSink
from cnnbo.scheduler.events import DeviceDrained

OUTAGE_S = float(os.environ.get("CNNBO_OUTAGE_S", "0"))
_EVENTS = "cnnbo/v1/tower/event"


@pytest.fixture
async def mosquitto(tmp_path: Path) -> AsyncIterator[Mosquitto]:
    """A broker that doesn't run yet; mark the test `mosquitto`."""
    broker = Mosquitto(tmp_path)
    yield broker
    await broker.stop()


@pytest.fixture
async def journal(tmp_path: Path) -> AsyncIterator[Journal]:
    journal = Journal(tmp_path, "7f3a")
    await journal.open()
    yield journal
    await journal.close()


async def happen(journal: Journal, sink: MqttSink, numbers: range) -> None:
    """Things happen, are journalled and told."""
    for number in numbers:
        news = some_event("drained", {"number": number})
        await journal.append_device(DeviceDrained(float(number), "cpu-0", ""), [news])
        sink.publish(news)


def heard(listener: Listener) -> list[dict[str, Any]]:
    """The different events, in the order in which they came first: QoS 1 may repeat them."""
    bodies = [json.loads(payload) for topic, payload, _ in listener.received if topic == _EVENTS]
    return list({(body["boot"], body["seq"]): body for body in reversed(bodies)}.values())[::-1]


async def test_events_are_told_in_order_and_then_forgotten(journal: Journal, tmp_path: Path) -> None:
    """Those of before the broker's start, those of after, and of none a trace in the journal when all is done."""
    async with EmbeddedBroker(tmp_path, 0) as broker:
        assert broker.url is not None
        sink = sink_at(broker.url, events=journal)
        await happen(journal, sink, range(50))
        async with listening(broker.url) as listener:
            async with running(sink.run()):
                await listener.until(lambda: len(heard(listener)) >= 50)
                await happen(journal, sink, range(50, 60))
            await listener.until(lambda: listener.newest("availability") == b"offline")
    assert [(body["seq"], body["number"]) for body in heard(listener)] == [(k + 1, k) for k in range(60)]
    assert await journal.waiting_events(1) == []


async def test_a_stop_with_a_long_backlog_says_offline_and_loses_nothing(journal: Journal, tmp_path: Path) -> None:
    """A daemon that stops just after a long outage can't tell all of it; what is left is for its next life."""
    news = [some_event("drained", {"number": number}) for number in range(9000)]
    await journal.append_device(DeviceDrained(1.0, "cpu-0", ""), news)
    async with EmbeddedBroker(tmp_path, 0) as broker:
        assert broker.url is not None
        sink = sink_at(broker.url, events=journal)
        async with listening(broker.url, "cnnbo/v1/tower/availability") as availability:
            async with running(sink.run()):
                await availability.until(lambda: availability.newest("availability") == b"online")
            await availability.until(lambda: availability.newest("availability") == b"offline")
    left = await journal.waiting_events(9000)
    assert [event.seq for event in left] == list(range(9001 - len(left), 9001))


async def test_events_that_could_not_be_read_are_told_once_they_can(
    journal: Journal, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A disk that fails for a moment must not keep them until something else happens, which may be days."""
    async with EmbeddedBroker(tmp_path, 0) as broker:
        assert broker.url is not None
        sink = sink_at(broker.url, events=journal)
        await happen(journal, sink, range(3))
        with closing(sqlite3.connect(tmp_path / JOURNAL_NAME)) as db:
            db.execute("ALTER TABLE outbox RENAME TO away")
            async with listening(broker.url) as listener, running(sink.run()):
                async with asyncio.timeout(30):
                    while "events can't be read" not in caplog.text:  # noqa: ASYNC110 - a log tells nobody
                        await asyncio.sleep(0.01)
                db.execute("ALTER TABLE away RENAME TO outbox")
                await listener.until(lambda: len(heard(listener)) >= 3)


@pytest.mark.mosquitto
async def test_a_broker_that_hangs_gets_all_events_when_it_wakes(journal: Journal, mosquitto: Mosquitto) -> None:
    """A virtual machine that is suspended for a while has acknowledged nothing of what was sent to it."""
    await mosquitto.start()
    told = Connections()
    sink = sink_at(mosquitto.url, told, events=journal, reply_s=1.0)
    async with running(sink.run()), listening(mosquitto.url) as listener:
        await happen(journal, sink, range(5))
        await listener.until(lambda: len(heard(listener)) >= 5)
        os.kill(mosquitto.pid, signal.SIGSTOP)
        try:
            await happen(journal, sink, range(5, 30))
            await told.until(lambda: not told.is_connected)
        finally:
            os.kill(mosquitto.pid, signal.SIGCONT)
        await listener.until(lambda: len(heard(listener)) >= 30)
    assert [body["number"] for body in heard(listener)] == list(range(30))


async def _acknowledge_no_event(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A broker that answers CONNECT, SUBSCRIBE and `online`, and takes in silence what comes then."""
    replies = iter([b"\x20\x02\x00\x00", b"\x90\x04\x00\x01\x01\x01", b"\x40\x02\x00\x02"])
    while await reader.read(1 << 16):
        writer.write(next(replies, b""))
    writer.close()


@pytest.mark.mosquitto
async def test_events_that_a_server_swallowed_are_told_to_the_next_one(journal: Journal, mosquitto: Mosquitto) -> None:
    """What was written to a socket has not arrived: only an acknowledgement says so."""
    told = Connections()
    sink = sink_at(mosquitto.url, told, events=journal, reply_s=1.0)
    await happen(journal, sink, range(20))
    async with await asyncio.start_server(_acknowledge_no_event, "127.0.0.1", mosquitto.port), running(sink.run()):
        await told.until(lambda: told.is_connected)
        await told.until(lambda: told.changes[-1] == (False, f"{mosquitto.url}: no answer"))
    await mosquitto.start()
    async with listening(mosquitto.url) as listener, running(sink_at(mosquitto.url, events=journal).run()):
        await listener.until(lambda: len(heard(listener)) >= 20)
    assert [body["number"] for body in heard(listener)] == list(range(20))


@pytest.mark.parametrize("kind", ["embedded", pytest.param("mosquitto", marks=pytest.mark.mosquitto)])
async def test_topics_that_nobody_keeps_are_cleared(
    kind: str, journal: Journal, mosquitto: Mosquitto, tmp_path: Path
) -> None:
    """A life that was killed before it could, or had other devices, leaves them on a broker that outlives it."""
    async with contextlib.AsyncExitStack() as stack:
        if kind == "embedded":
            url = (await stack.enter_async_context(EmbeddedBroker(tmp_path, 0))).url
            assert url is not None
        else:
            await mosquitto.start()
            url = mosquitto.url
        orphans = ["study/old", "device/GPU-0", *(f"study/old/trial/{k}" for k in range(1, 400))]
        others = ["cnnbo/v1/box2/study/old", "cnnbo/v1/tower/info", "cnnbo/v1/tower/study/new"]
        async with connected(BrokerAddress.parse(url).client("former-life")) as client:
            for topic in [*(f"cnnbo/v1/tower/{topic}" for topic in orphans), *others]:
                await client.publish(topic, b"{}", qos=1, retain=True)
        sink = sink_at(url, events=journal)
        sink.publish(state("study/new", finished=1))
        async with running(sink.run()), asyncio.timeout(30):
            while (await read_retained(url, "tower")).keys() != {"availability", "info", "study/new"}:
                pass
        assert (await read_retained(url, "box2")).keys() == {"study/old"}


@pytest.mark.mosquitto
async def test_what_is_being_cleared_is_no_orphan(mosquitto: Mosquitto) -> None:
    """The broker hands out a deleted study's topics while they are being cleared; clearing them twice was fatal."""
    await mosquitto.start()
    topics = [f"study/old/trial/{k}" for k in range(1, 400)]
    async with connected(BrokerAddress.parse(mosquitto.url).client("former-life")) as client:
        for topic in topics:
            await client.publish(f"cnnbo/v1/tower/{topic}", b"{}", qos=1, retain=True)
    told = Connections()
    sink = sink_at(mosquitto.url, told)
    for topic in topics:
        sink.publish(Message(topic, None, "cnnbo.test/1", Delivery.STATE))
    async with running(sink.run()), asyncio.timeout(30):
        while (await read_retained(mosquitto.url, "tower")).keys() != {"availability"}:
            pass
    assert told.changes == [(True, None)]


def _cleared(listener: Listener) -> set[str]:
    return {topic.removeprefix("cnnbo/v1/tower/") for topic, payload, _ in listener.received if not payload}


# -- the whole daemon


async def _start(box: Box, url: str, *said: str, devices: str = "cpu:2") -> "subprocess.Popen[str]":
    """Start a daemon and wait until it is ready and has said further texts, before or after."""
    child = box.start("daemon", "--devices", devices, "--node", "tower", CNNBO_MQTT_URL=url)
    await asyncio.to_thread(box.wait_for, child, "ready:", *said)
    return child


@contextlib.asynccontextmanager
async def _back(box: Box, mosquitto: Mosquitto, child: "subprocess.Popen[str]") -> AsyncIterator[Listener]:
    """Start the broker, and let the daemon find it only when somebody listens there."""
    os.kill(child.pid, signal.SIGSTOP)
    await mosquitto.start()
    async with listening(mosquitto.url) as listener:
        os.kill(child.pid, signal.SIGCONT)
        await asyncio.to_thread(box.wait_for, child, "connected to")  # half a minute after a long outage
        yield listener


def _numbered(state: Path) -> int:
    """How many events there were to be told so far, by the journal."""
    with closing(sqlite3.connect(state / JOURNAL_NAME)) as db:
        row = db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'outbox'").fetchone()
    return 0 if row is None else int(row[0])


@pytest.mark.mosquitto
@pytest.mark.timeout(240)
async def test_a_study_that_ran_while_the_broker_was_away_is_told_when_it_is_back(
    box: Box, mosquitto: Mosquitto
) -> None:
    """The broker is updated in the night and forgets all it retained, and in the morning every screen is right."""
    study = box.write_study()
    await mosquitto.start()
    child = await _start(box, mosquitto.url, "connected to")
    await mosquitto.stop()
    gone_at = time.monotonic()
    await asyncio.to_thread(box.run, "run", study)
    await asyncio.sleep(max(0.0, gone_at + OUTAGE_S - time.monotonic()))
    async with _back(box, mosquitto, child) as listener:
        await listener.until(lambda: len(heard(listener)) >= 10)
    assert [body["seq"] for body in heard(listener)] == list(range(1, _numbered(box.state) + 1))
    assert {(body["event"], body.get("trial")) for body in heard(listener)} == {
        ("study_created", None),
        ("study_finished", None),
        *((event, trial) for event in ("trial_started", "trial_complete") for trial in range(1, 5)),
    }
    trials = {f"study/parabola/trial/{n}" for n in range(1, 5)}
    devices = {"device/cpu-0", "device/cpu-1"}
    retained = await read_retained(mosquitto.url, "tower")
    assert retained.keys() == {"availability", "info", "study/parabola"} | trials | devices
    assert retained["study/parabola"]["state"] == "finished"


_STUBBORN = """
import os, pathlib, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
pathlib.Path(f"{os.environ['GATE']}-{os.getpid()}").touch()  # from now on it ignores SIGTERM
while not pathlib.Path(os.environ["GATE"]).exists():
    time.sleep(0.02)
"""


def _named(name: str) -> Callable[[str], str]:
    return lambda text: text.replace("parabola", name).replace("evaluations = 4", "evaluations = 2")


@pytest.mark.mosquitto
async def test_studies_that_went_while_the_broker_was_away_are_gone_when_it_is_back(box: Box, tmp_path: Path) -> None:
    """A broker that keeps what it retains hands out their topics just as they are cleared; that must end no daemon."""
    mosquitto = Mosquitto(tmp_path, f"allow_anonymous true\npersistence true\npersistence_location {tmp_path}/")
    await mosquitto.start()
    child = await _start(box, mosquitto.url)
    for name in ("deleted", "archived"):
        await asyncio.to_thread(box.run, "run", box.write_study(_named(name)))
    stopping = box.write_study(_named("stopping"), _STUBBORN)
    gate = box.folder / "gate"
    await asyncio.to_thread(box.run, "submit", stopping, GATE=str(gate))
    async with asyncio.timeout(30):
        while len(list(box.folder.glob("gate-*"))) < 2:  # noqa: ASYNC110 - trials tell nobody
            await asyncio.sleep(0.02)
        while not {"study/stopping/trial/2", "study/archived"} <= (await read_retained(mosquitto.url, "tower")).keys():
            pass
    await mosquitto.shut_down()
    for order in ("delete deleted", "archive archived", "cancel stopping", "archive stopping"):
        verb, study = order.split()
        await request(box.state, verb, study=study)
    gate.touch()
    for _ in range(2):
        await asyncio.to_thread(box.wait_for, child, "event=trial_cancelled")
    try:
        async with _back(box, mosquitto, child) as listener:
            await listener.until(lambda: "study_deleted" in {body["event"] for body in heard(listener)})
            child.terminate()
            await listener.until(lambda: listener.newest("availability") == b"offline")
        assert await asyncio.to_thread(child.wait, PATIENCE_S) == 0
        kept = await read_retained(mosquitto.url, "tower")
        assert kept.keys() == {"availability", "info", "device/cpu-0", "device/cpu-1"}
    finally:
        await mosquitto.stop()


@pytest.mark.mosquitto
async def test_the_events_of_a_life_that_was_killed_are_told_by_the_next_one(box: Box, mosquitto: Mosquitto) -> None:
    """Power and network fail together; what ran before is told once both are back, each event once and in order."""
    study = box.write_study()
    child = await _start(box, mosquitto.url)
    await asyncio.to_thread(box.run, "run", study)
    child.kill()
    child.wait()
    child = await _start(box, mosquitto.url)
    await asyncio.to_thread(box.run, "drain", "cpu-0")
    await asyncio.to_thread(box.run, "delete", "parabola", "--yes")
    assert _numbered(box.state) == 12
    async with _back(box, mosquitto, child) as listener:
        await listener.until(lambda: len(heard(listener)) >= 12)
        child.terminate()
        await listener.until(lambda: listener.newest("availability") == b"offline")
    bodies = [json.loads(payload) for topic, payload, _ in listener.received if topic == _EVENTS]
    assert [body["seq"] for body in bodies] == list(range(1, 13))
    first, *_, last_before, drained, deleted = bodies
    assert (first["event"], last_before["event"]) == ("study_created", "study_finished")
    assert (drained["event"], deleted["event"]) == ("device_drained", "study_deleted")
    assert [body["boot"] for body in bodies] == [first["boot"]] * 10 + [deleted["boot"]] * 2
    assert first["boot"] != deleted["boot"]
    assert await asyncio.to_thread(child.wait, PATIENCE_S) == 0
    with closing(sqlite3.connect(box.state / JOURNAL_NAME)) as db:
        assert db.execute("SELECT count (*) FROM outbox").fetchone() == (0,)


@pytest.mark.mosquitto
async def test_a_daemon_with_another_journal_and_fewer_devices_leaves_no_topic_behind(
    box: Box, mosquitto: Mosquitto
) -> None:
    """A box that is set up anew must not show the studies of its former owner for ever."""
    study = box.write_study()
    await mosquitto.start()
    child = await _start(box, mosquitto.url)
    await asyncio.to_thread(box.run, "run", study)
    orphans = {"study/parabola", *(f"study/parabola/trial/{n}" for n in range(1, 5)), "device/cpu-1"}
    async with asyncio.timeout(30):
        while not orphans <= (await read_retained(mosquitto.url, "tower")).keys():
            pass
    child.kill()
    child.wait()
    shutil.rmtree(box.state)
    async with listening(mosquitto.url, "cnnbo/v1/tower/#") as listener:
        await _start(box, mosquitto.url, devices="cpu:1")
        await listener.until(lambda: orphans <= _cleared(listener))
    assert (await read_retained(mosquitto.url, "tower")).keys() == {"availability", "info", "device/cpu-0"}


@pytest.mark.parametrize("why", ["it is switched off", "its broker can't be started"])
def test_events_nobody_will_be_told_are_not_kept(why: str, box: Box) -> None:
    """On a box without a broker the journal must not fill with news for one."""
    if why == "it is switched off":
        child = box.daemon("--devices", "cpu:1")
    else:
        (box.state / "broker.toml").mkdir(parents=True)  # where the broker's configuration would be written
        child = box.start("daemon", "--devices", "cpu:1")
        box.wait_for(child, "could not be started: ")
    box.run("drain", "cpu-0")
    box.wait_for(child, "event=device_drained")
    with closing(sqlite3.connect(box.state / JOURNAL_NAME)) as db:
        assert db.execute("SELECT count (*) FROM outbox").fetchone() == (0,)


@pytest.mark.mosquitto
async def test_status_says_that_another_daemon_has_the_same_name(box: Box, mosquitto: Mosquitto) -> None:
    """Their topics change to and fro, and nobody who looks at them can see why."""
    await mosquitto.start()
    async with running(sink_at(mosquitto.url).run()) as other:
        async with listening(mosquitto.url, "cnnbo/v1/tower/availability") as listener:
            await listener.until(lambda: listener.newest("availability") == b"online")
        async with connected(BrokerAddress.parse(mosquitto.url).client("info")) as client:
            await client.publish("cnnbo/v1/tower/info", b'{"boot": "7f3a"}', qos=1, retain=True)
        await _start(box, mosquitto.url, "another daemon publishes")
        assert "give each daemon a name of its own" in (await asyncio.to_thread(box.run, "status")).stdout
        assert not other.done()


async def test_status_counts_events_that_were_dropped(box: Box, mosquitto: Mosquitto) -> None:
    """Who misses events looks there, and must not find that all is well."""
    box.state.mkdir()
    journal = Journal(box.state, "former")
    await journal.open()
    news = [some_event("drained", {"number": number}) for number in range(EVENT_LIMIT + 5)]
    await journal.append_device(DeviceDrained(1.0, "cpu-0", ""), news)
    await journal.close()
    await _start(box, mosquitto.url)
    facts = await asyncio.to_thread(box.json, "status")
    assert facts["daemon"]["mqtt_dropped_events"] == 5
    status = await asyncio.to_thread(box.run, "status")
    assert "5 events dropped)" in status.stdout
