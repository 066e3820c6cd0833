"""The door between a broker and the handler: orders are carried out once, and a flood is told to wait."""

import asyncio
import contextlib
import json
import os
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiomqtt
import pytest
from tests.mosquitto import Mosquitto
from tests.unit.daemon.test_shell import DEVICES, Ears, scene

from cnnbo.daemon.api.requests import Drain, Limit, Return
from cnnbo.daemon.attempts import Pins
from cnnbo.daemon.executors.fake import FakeExecutor
from cnnbo.daemon.handler import Handler
from cnnbo.daemon.journal import Journal, Receipt
from cnnbo.daemon.mqtt import BrokerAddress, connected
from cnnbo.daemon.mqtt_door import WAITING_LIMIT, WORKERS, MqttDoor, Orders
from cnnbo.daemon.proposer import Proposer
from cnnbo.daemon.shell import Shell
from cnnbo.daemon.tasks import end_tasks

PATIENCE_S = 30
PREFIX = "cnnbo/v1/tower"


def handler_of(shell: Shell) -> Handler:
    return Handler(shell, lambda: {"daemon": None, "mqtt": None}, time.time)


async def test_the_same_order_twice_at_once_is_carried_out_once_and_answered_twice(tmp_path: Path) -> None:
    """A broker that repeats a message doesn't wait for the answer to the first."""
    async with scene(tmp_path) as at:
        orders, drain = Orders(handler_of(at.shell)), Drain(device="0")
        first, second = await asyncio.gather(*(orders.carry_out("drain", 1, drain) for _ in range(2)))
        assert [answer["status"] for answer in first] == ["ok", "ok"]
        assert (second, first[0]) == ([], first[1])
        assert at.ears.events() == ["device_drained"]


async def test_a_refusal_is_remembered_like_any_answer(tmp_path: Path) -> None:
    """Who was told no must not find it done later."""
    async with scene(tmp_path) as at:
        orders, back = Orders(handler_of(at.shell)), Return(device="0")
        [refused] = await orders.carry_out("return", 1, back)
        assert "neither drained nor quarantined" in str(refused["error"])
        await orders.carry_out("drain", 2, Drain(device="0"))
        assert await orders.carry_out("return", 1, back) == [refused]
        assert at.shell.device_objects()[0]["state"] == "drained"


async def test_the_oldest_order_is_forgotten_first(tmp_path: Path) -> None:
    """Whoever asks once a minute for years must not fill the memory."""
    async with scene(tmp_path) as at:
        orders = Orders(handler_of(at.shell), [Receipt("limit", "1", "another")], limit=2)
        [known] = await orders.carry_out("limit", 1, Limit(devices=1))
        assert "was another limit before" in str(known["error"])
        for transaction in (2, 3):
            await orders.carry_out("limit", transaction, Limit(devices=transaction))
        [anew] = await orders.carry_out("limit", 1, Limit(devices=1))
        assert anew["data"] == {"limit": 1}
        await orders.carry_out("limit", 3, Limit(devices=3))
        assert at.shell.limit == 1


async def test_refusals_make_no_order_forgotten(tmp_path: Path) -> None:
    """A script that is refused all day must not have what somebody else ordered done twice."""
    async with scene(tmp_path) as at:
        orders = Orders(handler_of(at.shell), limit=2)
        [first] = await orders.carry_out("limit", 0, Limit(devices=1))
        [refused, *_] = [(await orders.carry_out("return", number, Return(device="0")))[0] for number in range(4)]
        assert refused["status"] == "error"
        await orders.carry_out("limit", None, Limit(devices=None))
        assert await orders.carry_out("limit", 0, Limit(devices=1)) == [first]
        assert at.shell.limit is None
        await orders.carry_out("drain", 1, Drain(device="0"))
        [anew] = await orders.carry_out("return", 0, Return(device="0"))  # the oldest refusal is forgotten
        assert anew["status"] == "ok"


@contextlib.asynccontextmanager
async def resting_shell(state: Path) -> AsyncIterator[Shell]:
    """A shell that has not begun: whoever orders something waits until it does."""
    journal = Journal(state)
    await journal.open()
    async with Proposer(state / "proposer.log") as proposer:
        shell = Shell(Pins(state, None, 0.0), journal, FakeExecutor(), proposer, [Ears()], time.time)
        shell.take_devices(DEVICES)
        yield shell
    await journal.close()


class Script:
    """Somebody at the broker who asks the box."""

    def __init__(self, client: aiomqtt.Client) -> None:
        self._client = client

    async def say(self, verb: str, body: dict[str, object]) -> None:
        await self._client.publish(f"{PREFIX}/request/{verb}", json.dumps(body), qos=1)

    async def hear(self, verb: str) -> dict[str, Any]:
        """The next response to a verb."""
        async with asyncio.timeout(PATIENCE_S):
            async for message in self._client.messages:
                if message.topic.matches(f"{PREFIX}/response/{verb}"):
                    assert isinstance(message.payload, bytes)
                    return dict(json.loads(message.payload))
        raise AssertionError("the broker hung up")

    async def wait_for_door(self) -> None:
        """Ask until there is an answer: before the door has subscribed, nobody takes a message."""
        answered = asyncio.ensure_future(self.hear("ping"))
        while not answered.done():
            await self.say("ping", {})
            await asyncio.wait((answered,), timeout=0.05)
        answered.result()


@pytest.fixture
async def broker(tmp_path: Path) -> AsyncIterator[Mosquitto]:
    broker = Mosquitto(tmp_path)
    await broker.start()
    yield broker
    await broker.stop()


@contextlib.asynccontextmanager
async def open_door(broker: Mosquitto, shell: Shell) -> AsyncIterator[tuple[Script, "asyncio.Task[None]"]]:
    """A door of a shell, and somebody before it."""
    door = MqttDoor(broker.url, PREFIX, boot="b", handler=handler_of(shell), retry_s=(0.01, 0.1))
    task = asyncio.create_task(door.run())
    async with connected(BrokerAddress.parse(broker.url).client("script", queue_limit=0)) as client:
        await client.subscribe(f"{PREFIX}/response/+", qos=1)
        script = Script(client)
        await script.wait_for_door()
        yield script, task
        await end_tasks([task])


@pytest.mark.mosquitto
async def test_a_flood_is_told_to_wait(tmp_path: Path, broker: Mosquitto) -> None:
    """So many requests are taken in as can be worked on soon; each of the others hears that it was too many."""
    taken, flood = WORKERS + WAITING_LIMIT, WORKERS + WAITING_LIMIT + 20
    async with resting_shell(tmp_path) as shell, open_door(broker, shell) as (script, _):
        for number in range(flood):
            await script.say("limit", {"transaction": number, "devices": number})
        refused = [await script.hear("limit") for _ in range(taken, flood)]
        assert {body["transaction"] for body in refused} == set(range(taken, flood))
        assert all("too many requests: 64 are waiting already" in body["error"] for body in refused)
        running = asyncio.create_task(shell.run([]))
        carried_out = [await script.hear("limit") for _ in range(taken)]
        assert {body["data"]["limit"] for body in carried_out} == set(range(taken))
        await end_tasks([running])


@pytest.mark.mosquitto
async def test_a_stop_waits_neither_for_a_broker_that_hangs_nor_for_orders(tmp_path: Path, broker: Mosquitto) -> None:
    """A daemon that is told to stop stops, or systemd kills it with its trials."""
    async with resting_shell(tmp_path) as shell, open_door(broker, shell) as (script, door):
        await script.say("limit", {"devices": 1})
        os.kill(broker.pid, signal.SIGSTOP)
        door.cancel()
        done, _ = await asyncio.wait((door,), timeout=PATIENCE_S)
        os.kill(broker.pid, signal.SIGCONT)
        assert door in done and door.cancelled()
