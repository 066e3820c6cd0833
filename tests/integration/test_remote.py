"""Another box read through a broker that carries other people's messages too."""

import asyncio
import contextlib
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.fuzz.mutations import DEEP, ODD_VALUES
from tests.mosquitto import Mosquitto
from typer.testing import CliRunner

from cnnbo.cli.app import app
from cnnbo.daemon import remote
from cnnbo.daemon.mqtt import BrokerAddress, connected
from cnnbo.daemon.remote import RemoteDaemon
from cnnbo.scheduler.errors import RequestError

pytestmark = pytest.mark.mosquitto

PREFIX = "cnnbo/v1/tower"
ELSEWHERE = {"CNNBO_CONFIG": os.devnull, "CNNBO_STATE": "/nowhere"}
ENVELOPE = {"schema": "cnnbo.any/1", "ts": "2026-11-24T14:36:02.114Z", "boot": "b", "seq": 1}
OLD = {"ts": "2020-01-01T00:00:00.000Z"}
NEWER = {"told_by_a_newer_daemon": [1]}
DEVICE: dict[str, Any] = {
    **ENVELOPE, "uuid": "cpu-0", "index": 0, "name": "CPU slot", "state": "busy", "reason": None,
    "since": "2026-11-24T14:36:02.114Z", "memory_used_mib": 1, "memory_total_mib": 2.5, "utilisation_percent": 100,
    "temperature_c": 50.5, "power_w": 3, "study": "svhn", "trial": 1, "phase": "training",
}  # fmt: skip
ATTEMPT: dict[str, Any] = {
    "n": 1, "device": "cpu-0", "started": "2026-11-24T14:36:02.114Z", "ended": None, "outcome": None, "resumed": False,
    "energy_j": None,
}  # fmt: skip
TRIAL: dict[str, Any] = {
    **ENVELOPE, "id": 1, "state": "complete", "configuration": {"x": 0.5, "y": "relu", "z": 3}, "value": 0.9,
    "failure": None, "source": "sobol", "duration_s": 3.5, "energy_j": None, "cost": 1, "attempts": [ATTEMPT],
    "message": None, "note": None, "metrics": {"loss": 0.1, "top5": None}, "resumed": False, "at_chance": False,
    "chance": None, "braked": False,
}  # fmt: skip
STUDY: dict[str, Any] = {
    **ENVELOPE, "name": "svhn", "state": "running", "reason": None, "archived": False, "evaluations": 4, "finished": 1,
    "running": 1, "failed": 0, "cancelled": 0, "best": {"trial": 1, "value": 0.9, "configuration": {"x": 0.5}},
    "best_trial": 1, "best_value": 0.9, "energy_kwh": None, "cost": 1.5, "eta_s": 60, "metric": "val_accuracy",
    "direction": "maximize", "optimizer": "sobol", "model": "svhn-cnn", "seed": 1, "space": ["x"], "owner": "anna",
    "python": None, "started": "2026-11-24T14:36:02.114Z", "ended": None, "spent_s": 5, "spent_wall_clock_s": 5,
    "budget_wall_clock_s": None, "budget_cost": None, "budget_energy_kwh": None, "failures": {"crashed": 1},
    "insight": None, "test_set_openings": 0, "comparison": None, "at_chance": 0, "undecided": [], "advice": None,
}  # fmt: skip


def spoilt(given: dict[str, Any], key: str, odd: list[Any]) -> list[dict[str, Any]]:
    """The object without a key, and with odd values of it."""
    return [{name: value for name, value in given.items() if name != key}, *(given | {key: value} for value in odd)]


_ANOTHER = {"device": "cpu-9", "study": "another", "study/svhn/trial": 9}


def _as_of_another_version(good: dict[str, Any], identity: str, name: object) -> dict[str, Any]:
    """Without a key that came later, and with a word that comes later."""
    word = (
        {"phase": "resting"} if "phase" in good else {"reason": "boredom"} if "reason" in good else {"failure": "bored"}
    )
    left_out = "since" if "phase" in good else "budget_cost" if "budget_cost" in good else "note"
    return {key: value for key, value in good.items() if key != left_out} | word | {identity: name}


def leftovers() -> dict[str, bytes]:
    """What may lie on the topics of a box, good and bad."""
    objects = [("device", "uuid", DEVICE), ("study", "name", STUDY), ("study/svhn/trial", "id", TRIAL)]
    left: dict[str, bytes] = {}
    for kind, identity, good in objects:
        bad = [change for key in good if key != identity for change in spoilt(good, key, ODD_VALUES)]
        for number, body in enumerate(bad, 2):
            name: object = number if identity == "id" else f"x{number}"
            left[f"{kind}/{name}"] = json.dumps(body | {identity: name}).encode()
        left |= {f"{kind}/{rest}": payload for rest, payload in (("deep", DEEP), ("text", b"no JSON"), ("list", b"[]"))}
        left[f"{kind}/{_ANOTHER[kind]}"] = json.dumps(_as_of_another_version(good, identity, _ANOTHER[kind])).encode()
        left[f"{kind}/copy"] = json.dumps(good).encode()
        left[f"{kind}/odd"] = json.dumps(good | {identity: "odd", "attempts": 5, "state": "so odd!"}).encode()
        left[f"{kind}/{good[identity]}"] = json.dumps(good | NEWER).encode()
    return left


def told(given: dict[str, Any]) -> dict[str, Any]:
    """The object as `--json` shows it: without the envelope, and with the keys that only a newer daemon knows."""
    return {key: value for key, value in given.items() if key not in ENVELOPE} | NEWER


@pytest.fixture
async def broker(tmp_path: Path) -> AsyncIterator[Mosquitto]:
    broker = Mosquitto(tmp_path)
    await broker.start()
    async with connected(BrokerAddress.parse(broker.url).client("neighbour")) as client:
        for topic, payload in {"availability": b"offline", "info": b"{}", **leftovers()}.items():
            await client.publish(f"{PREFIX}/{topic}", payload, qos=0, retain=True)
        await client.publish("done", b"", qos=1)  # acknowledged after all of them
    yield broker
    await broker.stop()


async def said(broker: Mosquitto, *arguments: str) -> str:
    command = [*arguments, "--broker", broker.url]
    done = await asyncio.to_thread(CliRunner().invoke, app, command, env=ELSEWHERE)
    assert done.exit_code == 0, (arguments, done.output, done.exception)
    return done.stdout


async def test_what_is_no_object_of_ours_is_passed_over(broker: Mosquitto) -> None:
    """A test message that somebody left two years ago must not keep everybody from their results."""
    assert "svhn" in await said(broker, "status")
    status = json.loads(await said(broker, "status", "--json"))
    [device] = [device for device in status["devices"] if device["uuid"] == "cpu-0"]
    [study] = [study for study in status["studies"] if study["name"] == "svhn"]
    assert (device, study) == (told(DEVICE), told(STUDY))
    [other] = [device for device in status["devices"] if device["uuid"] == "cpu-9"]
    assert (other["phase"], other["since"]) == ("resting", None)
    [other] = [study for study in status["studies"] if study["name"] == "another"]
    assert (other["reason"], other["budget_cost"]) == ("boredom", None)
    assert "so odd!" not in {found.get("state") for found in (*status["devices"], *status["studies"])}
    assert "svhn #1   complete" in await said(broker, "show", "svhn", "1")
    assert "svhn" in await said(broker, "show", "svhn")
    shown = json.loads(await said(broker, "show", "svhn", "--json"))
    assert shown["trials"][0] == told(TRIAL)
    [other] = [trial for trial in shown["trials"] if trial["id"] == 9]
    assert (other["failure"], other["note"]) == ("bored", None)
    assert all(isinstance(trial["id"], int) and trial["attempts"] != 5 for trial in shown["trials"])


async def test_a_dead_box_that_its_broker_calls_online_is_told_with_its_age(tmp_path: Path) -> None:
    """A broker that was killed has forgotten the last will, and yesterday's figures look like today's."""
    broker = Mosquitto(tmp_path)
    await broker.start()
    async with connected(BrokerAddress.parse(broker.url).client("daemon")) as client:
        for topic, payload in (("availability", b"online"), ("device/cpu-0", json.dumps(DEVICE | OLD).encode())):
            await client.publish(f"{PREFIX}/{topic}", payload, qos=1, retain=True)
    done = await asyncio.to_thread(CliRunner().invoke, app, ["status", "--broker", broker.url], env=ELSEWHERE)
    await broker.stop()
    assert done.exit_code == 0
    assert done.stderr.startswith("tower says nothing, though its broker calls it online; what follows was told at ")


@pytest.mark.parametrize("name", ["#", "+", "ab#c", "a/b", "a\0b", "", "A", "x" * 41])
@pytest.mark.parametrize(
    "arguments", [("status", "--node", "{}"), ("show", "{}"), ("best", "{}"), ("pause", "s", "--node", "{}")]
)
def test_a_name_that_is_none_is_told_before_anybody_is_asked(arguments: tuple[str, ...], name: str) -> None:
    """A wildcard would mean every topic; the broker that is named here isn't even there."""
    command = [part.format(name) for part in arguments]
    done = CliRunner().invoke(app, [*command, "--broker", "mqtt://127.0.0.1:1"], env=ELSEWHERE)
    assert isinstance(done.exception, RequestError)
    assert " can't be called " in str(done.exception) and "its name has 1 to 40 of a-z, 0-9" in str(done.exception)


@contextlib.asynccontextmanager
async def slow_road(port: int, pauses: int) -> AsyncIterator[str]:
    """A way to a broker on which what it sends stands still, longer than the end of it is waited for."""

    async def forward(source: asyncio.StreamReader, sink: asyncio.StreamWriter, pauses: int) -> None:
        while data := await source.read(40_000):
            sink.write(data)
            if pauses > 0 and len(data) > 10_000:  # in the midst of what is retained
                pauses -= 1
                await asyncio.sleep(2 * remote._QUIET_S)
        sink.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        from_broker, to_broker = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(forward(reader, to_broker, 0), forward(from_broker, writer, pauses))

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield f"mqtt://127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def test_a_network_that_stands_still_cuts_nothing_off(broker: Mosquitto) -> None:
    """Half of the studies, shown without a word, would look like all of them."""
    near = RemoteDaemon(BrokerAddress.parse(broker.url), "tower", "cnnbo")
    whole = await asyncio.to_thread(near.status)
    async with slow_road(broker.port, pauses=1) as url:
        far = RemoteDaemon(BrokerAddress.parse(url), "tower", "cnnbo")
        assert (await asyncio.to_thread(far.status))["studies"] == whole["studies"]
