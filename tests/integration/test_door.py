"""The door for requests over MQTT in a whole daemon: what its own mistakes, and other people's, can't do."""

import asyncio
import json
import secrets
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiomqtt
import pytest
from tests.integration.conftest import PATIENCE_S
from tests.mosquitto import Mosquitto
from tests.unit.daemon.test_preparing import hold

from cnnbo.daemon import mqtt_door, speaker
from cnnbo.daemon.mqtt import BrokerAddress, connected
from cnnbo.daemon.serve import running_daemon
from cnnbo.daemon.settings import MqttSettings, Settings

pytestmark = pytest.mark.mosquitto

PREFIX = "cnnbo/v1/tower"


@pytest.fixture
async def broker(tmp_path: Path) -> AsyncIterator[Mosquitto]:
    broker = Mosquitto(tmp_path)
    await broker.start()
    yield broker
    await broker.stop()


@pytest.fixture
async def url(broker: Mosquitto, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[str]:
    """Where a daemon of this process takes requests; its door opens again at once."""
    monkeypatch.setattr(speaker, "REOPEN_S", 0.01)
    mqtt = MqttSettings(broker.url.replace("://", "://me:secret@"), requests=True)
    async with running_daemon(Settings(tmp_path / "state", "tower", tmp_path, mqtt), "cpu:1"):
        yield broker.url


async def answer(url: str, verb: str, transaction: str, **args: object) -> dict[str, Any]:
    """Ask until there is an answer: while the door is shut, nobody takes a message."""
    request = json.dumps({"transaction": transaction, **args})
    async with connected(BrokerAddress.parse(url).client(f"script-{secrets.token_hex(4)}")) as client:
        await client.subscribe(f"{PREFIX}/response/{verb}", qos=1)
        heard = asyncio.create_task(_response(client, transaction))
        async with asyncio.timeout(PATIENCE_S):
            while not heard.done():
                await client.publish(f"{PREFIX}/request/{verb}", request, qos=1)
                await asyncio.wait((heard,), timeout=0.2)
        return heard.result()


async def _response(client: aiomqtt.Client, transaction: str) -> dict[str, Any]:
    async for message in client.messages:
        assert isinstance(message.payload, bytes)
        if (body := dict(json.loads(message.payload)))["transaction"] == transaction:
            return body
    raise AssertionError("the broker hung up")


def bug(*_: object) -> Any:
    raise KeyError("nothing")


@pytest.mark.parametrize("broken", ["read_verb", "_digest"])
async def test_a_bug_in_one_request_is_answered_and_the_next_ones_are_carried_out(
    broken: str, url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As many as there are workers would else silence the door, without a word anywhere."""
    with monkeypatch.context() as patched:
        patched.setattr(mqtt_door, broken, bug)
        for number in range(mqtt_door.WORKERS + 1):
            refused = await answer(url, "limit", f"t{number}", devices=1)
            assert (refused["status"], refused["data"]) == ("error", {"configuration": False})
            assert refused["error"] == "a bug in cnnbo: KeyError('nothing'); see the daemon's log."
    assert "a bug in cnnbo: limit failed\nTraceback" in caplog.text
    assert "requests over MQTT failed" not in caplog.text
    assert (await answer(url, "limit", "t0", devices=1))["data"] == {"limit": 1}


async def test_a_bug_in_the_door_itself_opens_a_new_one(
    url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It would else end the daemon, and with it trials that have run for hours."""
    faults = iter([bug])
    rightly = mqtt_door._sendable
    monkeypatch.setattr(mqtt_door, "_sendable", lambda response: next(faults, rightly)(response))
    assert (await answer(url, "ping", "p"))["status"] == "ok"
    assert "requests over MQTT failed; they are taken again in" in caplog.text and "KeyError" in caplog.text


@pytest.mark.parametrize(
    ("url", "is_warned"),
    [
        ("mqtt://me:secret@broker.invalid", True),
        ("mqtts://me:secret@broker.invalid", False),
        ("mqtt://me:secret@localhost:1", False),
        ("mqtt://me:secret@127.0.0.2:1", False),
        ("mqtt://me:secret@[::1]:1", False),
    ],
)
async def test_orders_in_clear_are_warned_about(
    url: str, is_warned: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever hears a password on the way can stop studies; on the box itself there is no way to listen on."""
    settings = Settings(tmp_path / "state", "tower", tmp_path, MqttSettings(url, requests=True))
    async with running_daemon(settings, "cpu:1"):
        pass
    warning = "passwords and orders go to mqtt://broker.invalid:1883 in clear"
    assert caplog.text.count(warning) == is_warned and ("in clear" in caplog.text) is is_warned
    assert "secret" not in caplog.text


async def test_submits_that_take_long_keep_nobody_else_waiting(url: str, tmp_path: Path) -> None:
    """Data on a disk that is away must not take pause and cancel away too."""
    held = await asyncio.to_thread(hold, tmp_path / "digits")
    await answer(url, "limit", "l", devices=0)
    study = {"model": "svhn-cnn", "optimizer": "sobol", "evaluations": 1, "data": {"dir": str(tmp_path / "digits")}}
    async with connected(BrokerAddress.parse(url).client("scripts")) as client:
        await client.subscribe(f"{PREFIX}/response/submit", qos=1)
        for number in range(mqtt_door.WORKERS + 1):
            request = {"transaction": f"s{number}", "study": {**study, "name": f"s{number}"}}
            await client.publish(f"{PREFIX}/request/submit", json.dumps(request), qos=1)
        assert (await answer(url, "ping", "p"))["status"] == "ok"
        held.close()
        async with asyncio.timeout(PATIENCE_S):
            assert (await _response(client, f"s{mqtt_door.WORKERS}"))["data"]["outcome"] == "created"
