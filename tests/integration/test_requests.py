"""Requests over MQTT: Debian's mosquitto with users, the real daemon behind it, and clients that are not ours."""

import asyncio
import contextlib
import json
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import aiomqtt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.fuzz.mutations import DEEP, mutated, odd_values, torn
from tests.integration.conftest import PATIENCE_S, Box
from tests.mosquitto import Mosquitto
from tests.unit.models.desk import random_part
from typer.testing import CliRunner, Result

from cnnbo.cli.app import app
from cnnbo.cli.monitor.known import Box as MonitoredBox
from cnnbo.cli.monitor.orders import Home, carry_out
from cnnbo.cli.monitor.view import Order
from cnnbo.daemon import client
from cnnbo.daemon.mqtt import BrokerAddress, connected
from cnnbo.daemon.mqtt_request import MAX_REQUEST_BYTES
from cnnbo.daemon.remote import RemoteDaemon
from cnnbo.daemon.studyfile import load_study
from cnnbo.daemon.tasks import end_tasks
from cnnbo.models.svhn.layout import FILES, write_part
from cnnbo.scheduler.codec import encode_value
from cnnbo.scheduler.errors import CnnboError
from cnnbo.scheduler.spec import Origin

pytestmark = pytest.mark.mosquitto

PREFIX = "cnnbo/v1/tower"
STUDY: dict[str, Any] = {"name": "digits", "model": "svhn-cnn", "evaluations": 4, "optimizer": "sobol"}


@dataclass
class Desk:
    """A daemon that takes requests, and the broker between it and others."""

    box: Box
    broker: Mosquitto
    process: "subprocess.Popen[str]"

    @property
    def url(self) -> str:
        """For somebody who may send requests."""
        return self.broker.url.replace("://", "://anna:hers@")

    async def restart(self) -> None:
        """Kill the daemon, and start it again."""
        self.process.kill()
        await asyncio.to_thread(self.process.wait, PATIENCE_S)
        self.process = await asyncio.to_thread(start_daemon, self.box)

    async def here(self, verb: str, **args: object) -> Any:
        """What the daemon says on the box."""
        return await client.request(self.box.state, verb, **args)

    async def submit(self, change: Callable[[str], str] = lambda text: text) -> None:
        """Submit the box's study there, with no device to start a trial on."""
        await self.here("limit", devices=0)
        spec = load_study(self.box.write_study(change), cwd=self.box.folder)
        spec = replace(spec, origin=Origin(str(self.box.folder), dict(os.environ), sys.executable))
        await self.here("submit", spec=encode_value(spec))

    async def stop(self) -> None:
        """Stop the daemon in order."""
        self.process.send_signal(signal.SIGTERM)
        await asyncio.to_thread(self.process.wait, PATIENCE_S)


def start_daemon(box: Box) -> "subprocess.Popen[str]":
    process = box.start("daemon", "--devices", "cpu:2", "--node", "tower")
    box.wait_for(process, "requests are taken on")
    return process


@pytest.fixture
async def broker(tmp_path: Path) -> AsyncIterator[Mosquitto]:
    """A broker that lets nobody in without a password."""
    passwords = tmp_path / "passwords"
    passwords.touch()
    for user, password in (("cnnbo", "secret"), ("anna", "hers"), ("ben", "his")):
        command = ("mosquitto_passwd", "-b", str(passwords), user, password)
        await asyncio.to_thread(subprocess.run, command, check=True, capture_output=True)
    broker = Mosquitto(tmp_path, f"allow_anonymous false\npassword_file {passwords}")
    await broker.start()
    yield broker
    await broker.stop()


@pytest.fixture
async def desk(box: Box, broker: Mosquitto) -> Desk:
    url = broker.url.replace("://", "://cnnbo:secret@")
    box.environment |= {"CNNBO_MQTT_URL": url, "CNNBO_MQTT_REQUESTS": "true"}
    return Desk(box, broker, await asyncio.to_thread(start_daemon, box))


class Asker:
    """Somebody's script: it publishes what it likes, and hears the responses."""

    def __init__(self, connection: aiomqtt.Client) -> None:
        self._connection = connection

    async def leave(self, topic: str, payload: bytes) -> None:
        """Leave something on a topic of the box."""
        await self._connection.publish(f"{PREFIX}/{topic}", payload, qos=1, retain=True)

    async def chatter(self) -> None:
        """Tell without end; the broker's acknowledgements give the pace."""
        while True:
            await self._connection.publish(f"{PREFIX}/device/chatter", b"{}", qos=1)

    async def told(self, topic: str, text: str) -> None:
        """Wait until a topic of the box holds a text."""
        await self._connection.subscribe(f"{PREFIX}/{topic}")
        async with asyncio.timeout(PATIENCE_S):
            async for message in self._connection.messages:
                assert isinstance(message.payload, bytes)
                if message.topic.matches(f"{PREFIX}/{topic}") and text in message.payload.decode():
                    break
        await self._connection.unsubscribe(f"{PREFIX}/{topic}")

    async def say(self, verb: str, payload: bytes, *, retain: bool = False) -> None:
        await self._connection.publish(f"{PREFIX}/request/{verb}", payload, qos=1, retain=retain)

    async def hear(self) -> tuple[str, dict[str, Any]]:
        """The next response: its verb, and its body."""
        async with asyncio.timeout(PATIENCE_S):
            message = await anext(self._connection.messages)
        assert not message.retain
        return message.topic.value.rpartition("/")[2], json.loads(message.payload)

    async def ask(self, verb: str, transaction: str | int | None = None, **args: Any) -> dict[str, Any]:
        """Ask, and wait for the response to this."""
        transaction = secrets.token_hex(4) if transaction is None else transaction
        await self.say(verb, json.dumps({"transaction": transaction, **args}).encode())
        while True:
            answered, body = await self.hear()
            if body["transaction"] == transaction:
                assert (answered, body["schema"]) == (verb, "cnnbo.response/1")
                assert isinstance(body["boot"], str) and body["seq"] >= 1
                return {key: body[key] for key in ("transaction", "status", "data", "error")}

    async def data(self, verb: str, **args: Any) -> Any:
        """The data of a response that has to be one."""
        answer = await self.ask(verb, **args)
        assert answer["status"] == "ok", answer
        return answer["data"]

    async def error(self, verb: str, **args: Any) -> str:
        answer = await self.ask(verb, **args)
        assert answer["status"] == "error", answer
        return str(answer["error"])


@contextlib.asynccontextmanager
async def asker(desk: Desk, user: str = "anna:hers") -> AsyncIterator[Asker]:
    address = BrokerAddress.parse(desk.broker.url.replace("://", f"://{user}@"))
    async with connected(address.client(f"script-{secrets.token_hex(4)}", queue_limit=0)) as connection:
        await connection.subscribe(f"{PREFIX}/response/+", qos=1)
        yield Asker(connection)


def with_data(folder: Path) -> dict[str, Any]:
    """A study of the built-in model, with a folder of random images."""
    folder.mkdir()
    for seed, (part, count) in enumerate((("train", 30), ("extra", 20), ("test", 10))):
        write_part(folder / FILES[part], *random_part(count, seed))
    return STUDY | {"data": {"dir": str(folder)}}


async def test_each_request_does_what_its_name_says(desk: Desk, tmp_path: Path) -> None:
    """The life of a study, led from another box."""
    study = await asyncio.to_thread(with_data, tmp_path / "digits")
    async with asker(desk) as anna:
        assert await anna.data("ping") == {}
        assert await anna.data("limit", devices=0) == {"limit": 0}  # so that no trial starts
        submitted = await anna.data("submit", study=study)
        assert (submitted["outcome"], submitted["owner"]) == ("created", "mqtt")
        shown = await anna.data("show", study="digits")
        assert shown == await desk.here("show", study="digits") and len(shown["trials"]) == 1
        assert "no completed trial yet" in await anna.error("best", study="digits")
        assert (await anna.data("pause", study="digits", now=True))["state"] == "paused"
        resumed = await anna.data("resume", study="digits")
        assert resumed["state"] == "running" and "trials" not in resumed
        assert (await anna.data("submit", study=study | {"evaluations": 5}))["evaluations"] == 5
        assert (await anna.data("limit", study="digits", devices=1))["name"] == "digits"
        assert (await anna.data("drain", device="0"))["reason"] == "drained by mqtt"
        assert (await anna.data("return", device="cpu-0"))["state"] == "idle"
        status = await anna.data("status")
        assert (status["limit"], status["studies"][0]["name"]) == (0, "digits")
        assert (await anna.data("cancel", study="digits"))["state"] == "cancelled"
        assert (await anna.data("archive", study="digits"))["archived"] is True


BAD: list[tuple[str, bytes, object, str]] = [
    ("pause", b"[1", None, "this is no JSON"),
    ("pause", b'"digits"', None, 'a request is a JSON object, like {"transaction": 1}, not "digits".'),
    ("pause", b'{"transaction": NaN}', None, "NaN is no number"),
    ("limit", b'{"transaction": 1, "devices": 1e999}', None, "1e999 is beyond any number"),
    ("pause", b'{"transaction": "\xff"}', None, "byte 17 of this one is not"),
    ("pause", DEEP, None, "nested too deeply"),
    ("submit", b'{"study": ' + b"[" * 30 + b"]" * 30 + b"}", None, "nested too deeply"),
    ("pause", b" " * (MAX_REQUEST_BYTES + 1), None, "at most 256 KiB"),
    ("pause", b'{"transaction": [1], "study": "digits"}', None, "transaction must be a text"),
    ("pause", b'{"transaction": "\\ud800"}', None, '"\\ud800" of this one is half a surrogate pair'),
    ("pause", b'{"transaction": 1}', 1, "the request names no study"),
    ("pause", b"", None, "the request names no study"),
    ("pause", b'{"transaction": "a", "study": 5}', "a", "study must be the name of a study"),
    ("pause", b'{"transaction": "a", "study": "\\ud800"}', None, "half a surrogate pair"),
    ("ping", b'{"\\ud800": 1}', None, "half a surrogate pair"),
    ("submit", b'{"study": {"space": [{"\\udfff": 1}]}}', None, "half a surrogate pair"),
    ("pause", b'{"transaction": "a", "study": "digits", "nows": true}', "a", 'did you mean "now"?'),
    ("pause", b'{"transaction": "a", "study": "digits"}', "a", "there is no study 'digits' here"),
    ("dance", b'{"transaction": 2}', 2, 'there is no request "dance"'),
    ("puase", b'{"transaction": 2}', 2, 'did you mean "pause"?'),
    ("delete", b'{"transaction": 3, "study": "digits"}', 3, "on the box type cnnbo delete NAME"),
    ("logs", b'{"transaction": 3}', 3, "on the box type cnnbo logs NAME [TRIAL]"),
    ("submit", b'{"transaction": 4, "study": {"command": ["id"]}}', 4, "a command is not taken over MQTT"),
    ("submit", b'{"transaction": 6, "study": {"n_trials": 4}}', 6, '"n_trials" is Optuna\'s word'),
    ("submit", b'{"transaction": 5, "spec": {}}', 5, '"spec" is no argument of submit'),
]


async def test_whatever_can_not_be_carried_out_is_answered_with_the_reason(desk: Desk) -> None:
    """Scripts are written by trial and error; silence would look like a broker that is away."""
    async with asker(desk) as anna:
        for verb, payload, transaction, sentence in BAD:
            await anna.say(verb, payload)
            answered, body = await anna.hear()
            assert (answered, body["status"], body["transaction"]) == (verb, "error", transaction), payload[:100]
            assert sentence in body["error"], payload[:100]
            assert "a bug" not in body["error"]
        assert await anna.data("ping") == {}
        await anna.say("ping", b"")  # as `mosquitto_pub -n` does
        assert (await anna.hear())[1]["status"] == "ok"


SPACE = {"momentum": {"low": 0.5, "high": 0.9}}
ARGUMENTS: list[tuple[str, dict[str, Any]]] = [
    ("submit", {"study": STUDY | {"data": {"dir": "/nowhere"}, "space": SPACE}}),
    ("pause", {"study": "digits", "now": True}),
    ("limit", {"study": "digits", "devices": 1}),
    ("drain", {"device": "0"}),
    ("return", {"device": "0"}),
    ("show", {"study": "digits"}),
    ("status", {}),
]
requests = st.sampled_from([(verb, args | {"transaction": 1}) for verb, args in ARGUMENTS])
letters = st.one_of(
    requests.flatmap(lambda r: st.tuples(st.just(r[0]), st.one_of(mutated(r[1]), odd_values).map(json.dumps))),
    requests.flatmap(lambda r: st.tuples(st.just(r[0]), torn(json.dumps(r[1]).encode()))),
)


@pytest.mark.hypothesis
async def test_whatever_is_said_is_answered_once_in_a_sentence(desk: Desk) -> None:
    """Clients are other people's, and a daemon that owns a box for a month meets all of them."""
    loop = asyncio.get_running_loop()
    async with asker(desk) as anna:

        async def talk(said: list[tuple[str, str | bytes]]) -> None:
            for verb, payload in said:
                await anna.say(verb, payload if isinstance(payload, bytes) else payload.encode())
            for _ in said:
                _, body = await anna.hear()
                assert {"transaction", "status", "data", "error"} <= set(body)
                assert (body["status"] == "ok") == (body["error"] is None)
                assert "a bug" not in str(body["error"]) and "Traceback" not in str(body["error"])

        @given(said=st.lists(letters, min_size=1, max_size=8))
        def search(said: list[tuple[str, str | bytes]]) -> None:
            asyncio.run_coroutine_threadsafe(talk(said), loop).result(PATIENCE_S)

        await asyncio.to_thread(search)
        assert await anna.data("ping") == {}
    assert desk.process.poll() is None


async def test_an_order_is_carried_out_once_whatever_happens(desk: Desk) -> None:
    """At least once is what MQTT promises; twice would undo what somebody did in between."""
    await desk.submit()
    async with asker(desk) as anna:
        first = await anna.ask("pause", transaction="p", study="parabola")
        assert (first["status"], first["data"]["state"]) == ("ok", "paused")
        await desk.here("resume", study="parabola")
        assert await anna.ask("pause", transaction="p", study="parabola") == first
        assert (await desk.here("show", study="parabola"))["state"] == "running"
        other = await anna.error("pause", transaction="p", study="parabola", now=True)
        assert other == 'transaction "p" was another pause before; take a new one for each request.'
        assert (await anna.ask("resume", transaction="p", study="parabola"))["status"] == "error"  # another verb
    await desk.restart()
    async with asker(desk) as anna:
        again = await anna.ask("pause", transaction="p", study="parabola")
        assert (again["status"], again["data"]["state"]) == ("ok", "running")  # as it is now
        assert "was another pause before" in await anna.error("pause", transaction="p", study="other")
        assert (await anna.ask("pause", transaction=1, study="parabola"))["data"]["state"] == "paused"
        assert "is paused" in await anna.error("pause", transaction="1", study="parabola")  # a text is no number
        assert (await desk.here("show", study="parabola"))["state"] == "paused"


async def test_a_retained_request_is_refused_and_named(desk: Desk) -> None:
    """It would be carried out again at every reconnection, months later too."""
    await desk.submit()
    await desk.stop()
    async with asker(desk) as anna:
        await anna.say("cancel", b'{"transaction": "r", "study": "parabola"}', retain=True)
        desk.process = await asyncio.to_thread(start_daemon, desk.box)
        verb, body = await anna.hear()
        assert (verb, body["status"], body["transaction"]) == ("cancel", "error", "r")
        assert "mosquitto_pub -r -n -t …/request/cancel" in body["error"]
    assert (await desk.here("show", study="parabola"))["state"] == "running"


async def test_the_door_opens_again_with_the_broker(desk: Desk) -> None:
    """A broker is updated at night; the daemon's own socket never needed it."""
    await desk.broker.stop()
    assert (await desk.here("status"))["limit"] is None
    await desk.broker.start()
    async with asker(desk) as anna:
        async with asyncio.timeout(PATIENCE_S):
            await asyncio.to_thread(desk.box.wait_for, desk.process, "requests are taken on")
        assert await anna.data("ping") == {}


async def test_two_people_ask_at_once_and_each_hears_of_all(desk: Desk) -> None:
    """A dashboard and a script; neither may take the other's door away."""
    async with asker(desk) as anna, asker(desk, "ben:his") as ben:
        answers = await asyncio.gather(*(who.ask("status") for who in (anna, ben)))
        assert [answer["status"] for answer in answers] == ["ok", "ok"]
        unheard = set(range(300))
        for number in unheard:
            await ben.say("ping", b'{"transaction": %d}' % number)
        while unheard:
            unheard.discard((await ben.hear())[1]["transaction"])


async def test_an_answer_too_long_for_brokers_names_the_topics_instead(desk: Desk) -> None:
    """A broker hangs up at a payload over its limit; and an order about a large study is an order all the same."""
    starts = "".join(f"[[start]]\nx = {number / 2000}\n" for number in range(2000))
    await desk.submit(lambda text: text.replace("evaluations = 4", "evaluations = 2000") + starts)
    async with asker(desk) as anna:
        await anna.told("study/parabola", "parabola")  # the last of its topics
        error = await anna.error("show", study="parabola")
        assert f"read the retained topics study/NAME and study/NAME/trial/+ of {PREFIX}" in error
        assert (await anna.data("pause", study="parabola"))["state"] == "paused"
    shown = await asyncio.to_thread(desk.box.json, "show", "parabola", "--broker", desk.url)
    assert [trial["id"] for trial in shown["trials"]] == list(range(1, 2001))


@pytest.mark.parametrize(
    "url", [None, "mqtt://127.0.0.1:1", "mqtt://me@127.0.0.1:1", "mqtt://me:@127.0.0.1:1", "mqtt://:secret@127.0.0.1:1"]
)
def test_a_broker_that_lets_everybody_in_is_no_door(box: Box, url: str | None) -> None:
    """Whoever reaches the broker could stop studies; that is said before anything starts."""
    box.environment |= {"CNNBO_MQTT_REQUESTS": "true"}
    if url is not None:
        box.environment["CNNBO_MQTT_URL"] = url
    error = box.run("daemon", "--devices", "cpu:1", code=78).stderr
    assert "mqtt.requests = true" in error and '"mqtts://broker.lan:8883", and mqtt.user' in error
    assert not box.state.exists() or not list(box.state.glob("journal*"))


# -- the command line of another box -----------------------------------------------------------------------------------


@dataclass
class Afar:
    """A command line on another box; in this process, since it is asked much."""

    url: str
    environment: dict[str, str]

    async def run(self, *arguments: str | Path) -> Result:
        command = [str(argument) for argument in (*arguments, "--broker", self.url)]
        return await asyncio.to_thread(CliRunner().invoke, app, command, env=self.environment)

    async def said(self, *arguments: str | Path) -> str:
        done = await self.run(*arguments)
        assert done.exit_code == 0, (arguments, done.output, done.exception)
        return done.stdout

    async def json(self, *arguments: str | Path) -> Any:
        return json.loads(await self.said(*arguments, "--json"))

    async def refused(self, *arguments: str | Path) -> str:
        """The sentence that `cnnbo` would end with."""
        done = await self.run(*arguments)
        assert isinstance(done.exception, CnnboError), (arguments, done.output, done.exception)
        return str(done.exception)


@pytest.fixture
def afar(desk: Desk) -> Afar:
    return Afar(desk.url, {"CNNBO_CONFIG": os.devnull, "CNNBO_STATE": str(desk.box.folder / "elsewhere")})


async def test_what_is_read_from_afar_is_what_the_box_says(desk: Desk, afar: Afar) -> None:
    """The same objects: a script doesn't care where it runs."""
    await asyncio.to_thread(desk.box.run, "run", desk.box.write_study())
    async with asker(desk) as anna:  # somebody's leftovers are passed over
        for topic in ("study/parabola/trial/7", "device/gpu", "study/other"):
            await anna.leave(topic, b'{"name": 7}')
            await anna.leave(f"{topic}2", b"no JSON")
    for verb in ("show", "best"):
        assert await afar.json(verb, "parabola", "--node", "tower") == await desk.here(verb, study="parabola")
    here, from_afar = await desk.here("status"), await afar.json("status")
    readings = ("memory_used_mib", "utilisation_percent", "temperature_c", "power_w")
    for status in (here, from_afar):
        for device in status["devices"]:
            assert all(device.pop(reading, "missing") != "missing" for reading in readings)
    assert here["daemon"].pop("commit", "missing") != "missing" and from_afar["daemon"].pop("commit") is None
    assert here["daemon"].pop("mqtt_dropped_events") == 0  # no topic tells that
    assert from_afar["daemon"].pop("mqtt_dropped_events") is None
    assert from_afar == here
    assert "cnnbo logs parabola 2" in await afar.said("show", "parabola", "2")
    assert [trial["id"] for trial in await afar.json("trials", "parabola", "--sort", "id")] == [1, 2, 3, 4]
    assert [device["uuid"] for device in await afar.json("devices")] == ["cpu-0", "cpu-1"]
    assert (await afar.said("best", "parabola", "--format", "flags")).startswith("--x=")
    assert "the studies are: parabola" in await afar.refused("show", "x")
    assert "the boxes are: tower" in await afar.refused("status", "--node", "attic")


async def test_reading_ends_though_the_box_tells_news_all_the_time(desk: Desk, afar: Afar) -> None:
    """Eight busy devices are never quiet; what they were told before is what was asked for."""
    async with asker(desk) as anna:
        chatter = asyncio.create_task(anna.chatter())
        assert "2 devices, 0 trials running" in await afar.said("status")
        await end_tasks([chatter])


async def test_orders_from_afar(desk: Desk, afar: Afar, tmp_path: Path) -> None:
    """Each order that `--broker` stands beside, with the words of the box."""
    study = await asyncio.to_thread(with_data, tmp_path / "digits")
    file = desk.box.folder / "digits.toml"
    lines = [f"{key} = {json.dumps(value)}" for key, value in study.items() if key != "data"]
    file.write_text("\n".join([*lines, "[data]", 'dir = "digits"']))
    assert await afar.said("limit", "0") == "all studies together: at most 0 devices\n"
    assert "at most 0 devices at a time" in await afar.said("status")
    assert "must be a whole path on the box" in await afar.refused("submit", file)
    assert "digits: created, 0 of 4 finished" in await afar.said("submit", file, "--data", tmp_path / "digits")
    assert await afar.said("limit", "1", "--study", "digits") == "digits: at most 1 device at a time\n"
    assert await afar.said("pause", "digits") == "digits: paused\n"
    assert "only a running study can be paused" in await afar.refused("pause", "digits")
    assert await afar.said("resume", "digits") == "digits: goes on\n"
    assert await afar.said("drain", "1") == "cpu-1: drained\n"
    assert await afar.said("return", "1") == "cpu-1: may be used again (now idle)\n"
    assert await afar.said("cancel", "digits") == "digits: cancelled\n"
    assert await afar.said("archive", "digits") == "digits: archived\n"
    assert "a command is not taken over MQTT" in await afar.refused("submit", desk.box.write_study())
    assert await afar.said("limit", "none") == "all studies together: no limit but that of the settings\n"


async def test_the_monitor_gives_orders_to_another_box(desk: Desk, tmp_path: Path) -> None:
    """Whoever watches six boxes from a laptop wants to pause where they look."""
    await desk.submit()
    address = BrokerAddress.parse(desk.broker.url.replace("://", "://anna:hers@"))
    box = MonitoredBox("tower", str(address))
    order, daemon = Order(box.key, "pause", {"study": "parabola"}), RemoteDaemon(address, "tower", "cnnbo")
    assert await carry_out(order, box, Home(tmp_path), daemon) == "parabola is paused."
    assert (await desk.here("show", study="parabola"))["state"] == "paused"
    assert "only a running study can be paused" in await carry_out(order, box, Home(tmp_path), daemon)


async def test_a_box_that_is_away_is_told_with_the_age_of_what_it_said(desk: Desk, afar: Afar) -> None:
    """Yesterday's values must not look like today's, and an order must not vanish."""
    await desk.submit()
    await desk.stop()
    shown = await afar.run("show", "parabola", "--json")
    assert "tower is offline; what follows was told at " in shown.stderr and " ago." in shown.stderr
    assert json.loads(shown.stdout)["state"] == "running"
    status = await afar.json("status")
    assert (status["daemon"], status["limit"], len(status["devices"])) == (None, 0, 2)
    assert "tower is offline: its daemon is not running" in await afar.refused("pause", "parabola")
    await desk.broker.stop()
    assert "Connection refused" in await afar.refused("status")


async def test_a_box_without_requests_says_so_and_can_be_read(box: Box, broker: Mosquitto) -> None:
    """News only is the default; reading needs no more."""
    box.environment |= {"CNNBO_MQTT_URL": broker.url.replace("://", "://cnnbo:secret@")}

    def start() -> None:
        for node, folder in (("tower", "a"), ("attic", "b")):
            child = box.start("daemon", "--devices", "cpu:1", "--node", node, "--state", box.folder / folder)
            box.wait_for(child, "ready:", "connected to")

    await asyncio.to_thread(start)
    afar = Afar(broker.url.replace("://", "://anna:hers@"), {"CNNBO_CONFIG": os.devnull})
    assert "carries several boxes: attic, tower; say which: --node NAME." in await afar.refused("status")
    assert (await afar.json("status", "--node", "tower"))["daemon"]["state"] == str(box.folder / "a")
    assert "mqtt.requests = true in its settings" in await afar.refused("limit", "1", "--node", "tower")
