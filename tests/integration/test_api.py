"""Every message of a whole run of the real daemon, held against what is published of the API."""

import json
import signal
import subprocess
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from tests.api import ASYNCAPI, channels_of, event_names, faults, payload_of, schema_named, sending
from tests.integration.conftest import Box
from tests.mosquitto import Mosquitto

from cnnbo.daemon.client import request

pytestmark = pytest.mark.mosquitto

# What its trials come to is told by the study's name and the number of trial and attempt.
SCRIPT = """
import json, os, pathlib, sys, time

told = json.loads(pathlib.Path(os.environ["CNNBO_TRIAL"]).read_text())
with os.fdopen(int(os.environ["CNNBO_PROGRESS_FD"]), "w") as progress:
    print(json.dumps({"step": 5, "steps": 10, "epoch": 1, "epochs": 1, "metrics": {"val_acc": 0.5}}), file=progress)
    print(json.dumps({"phase": "evaluating"}), file=progress)

def result(**body):
    path = pathlib.Path(os.environ["CNNBO_RESULT"])
    path.with_suffix(".new").write_text(json.dumps(body))
    path.with_suffix(".new").rename(path)

if told["study"] == "failing":
    match told["trial"]:
        case 1:
            result(value=float("nan"))
        case 2:
            result(failure="out_of_memory", message="no memory is left", metrics={"val_acc": 0.1})
        case 3:
            sys.exit("ModuleNotFoundError: no module is left")
        case 4:
            time.sleep(60)  # longer than its time limit
elif told["attempt"] == 1:
    time.sleep(60)  # until it is stopped
else:
    result(value=0.5, metrics={"loss": 0.1})
"""

STUDY = """
name = "NAME"
command = ["python", "-S", "train.py", "{args}"]
evaluations = EVALUATIONS
optimizer = "random"
[space]
x = { type = "float", low = 0, high = 1 }
layers = { type = "int", low = 1, high = 8 }
pooling = { type = "categorical", choices = ["max", "avg"] }
[budget]
price_per_device_hour = 2.6
[trial]
"""

# A CPU slot is never quarantined, and nothing on it is lost.
UNHEARD_EVENTS = {"device_quarantined", "trial_device_lost"}
# Requests are answered at an authenticated broker only, which is another test's.
UNHEARD_CHANNELS = {name for name in ASYNCAPI["channels"] if name.endswith(("Request", "Response"))}


@dataclass
class Ear:
    """Hears everything on a broker through Debian's mosquitto_sub; `heard` holds topic, payload, qos, retain."""

    where: list[str]
    heard: list[dict[str, Any]] = field(default_factory=list)

    def __enter__(self) -> "Ear":
        command = ["mosquitto_sub", *self.where, "-q", "1", "-t", "#", "-F", "%j"]
        self._child = subprocess.Popen(command, text=True, stdout=subprocess.PIPE, bufsize=1)
        return self

    def __exit__(self, *error: object) -> None:
        self._child.kill()
        self._child.communicate()

    def until(self, is_it: Callable[[dict[str, Any]], bool]) -> None:
        """Listen until a message is heard that is the one, from the next one on."""
        assert self._child.stdout is not None
        for line in self._child.stdout:
            self.heard.append(message_in(line))
            if is_it(self.heard[-1]):
                return
        raise AssertionError("mosquitto_sub ended")

    def until_event(self, event: str) -> None:
        self.until(lambda message: f'"event":"{event}"' in message["payload"])

    def bodies(self) -> list[dict[str, Any]]:
        """All JSON objects."""
        return [json.loads(message["payload"]) for message in self.heard if message["payload"].startswith("{")]


@pytest.fixture(params=["embedded", "mosquitto"])
async def broker_settings(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[dict[str, str]]:
    """What leads a daemon to its embedded broker, or to Debian's."""
    if request.param == "embedded":
        yield {}
        return
    broker = Mosquitto(tmp_path)
    await broker.start()
    yield {"CNNBO_MQTT_URL": broker.url}
    await broker.stop()


def write_study(box: Box, name: str, evaluations: int, trial: str = "") -> Path:
    (box.folder / "train.py").write_text(SCRIPT)
    path = box.folder / f"{name}.toml"
    path.write_text(STUDY.replace("NAME", name).replace("EVALUATIONS", str(evaluations)) + trial)
    return path


async def test_every_message_of_a_run_is_what_is_published(box: Box, broker_settings: dict[str, str]) -> None:
    """Scripts are written against the documents: no message may differ from them, and none they name may be missing."""
    daemon = box.start("daemon", "--devices", "cpu:2", "--node", "tower", **broker_settings)
    box.wait_for(daemon, "ready:")
    while (url := box.json("status")["mqtt"]) is None:
        pass  # the broker starts beside the daemon, which doesn't wait for it
    host, _, port = url.removeprefix("mqtt://").partition(":")
    where = ["-h", host, "-p", port]
    with Ear(where) as ear:
        ear.until(lambda message: message["topic"].endswith("/availability"))
        await live_a_life(box, ear)
        retained = retained_messages(where)
        assert await faults_of_answers(box.state) == []
        daemon.send_signal(signal.SIGTERM)
        ear.until(lambda message: message["payload"] == "offline")
    daemon.communicate()
    assert [fault for message in ear.heard for fault in faults_of(message)] == []
    if broker_settings:  # the embedded broker hands everything out with the QoS of the subscription
        assert {(channel_of(m), m["qos"]) for m in ear.heard} == {(n, sending(n)["qos"]) for n in ear_channels(ear)}
    check_nothing_is_missing(ear)
    assert retained and {channel_of(message) for message in retained} == {
        name for name in ear_channels(ear) if sending(name)["retain"]
    }


async def live_a_life(box: Box, ear: Ear) -> None:
    """Failures of each class a CPU can show, a pause, drain and return, retry; studies cancelled, archived, deleted."""
    box.run("submit", write_study(box, "failing", 4, 'timeout = "3s"'))
    ear.until_event("study_failed")
    box.run("submit", write_study(box, "svhn", 1))
    ear.until_event("trial_started")
    await request(box.state, "pause", study="svhn", now=True)
    ear.until_event("trial_interrupted")
    await request(box.state, "drain", device="0")
    await request(box.state, "resume", study="svhn")
    ear.until_event("study_finished")
    await request(box.state, "return", device="0")
    ear.until_event("device_returned")
    await request(box.state, "limit", devices=1)
    ear.until_event("devices_limited")
    await request(box.state, "retry", study="svhn", trials=[1])
    ear.until_event("trial_retried")
    ear.until_event("study_finished")
    for verb in ("archive", "delete"):
        box.run("submit", write_study(box, f"to-{verb}", 1))
        ear.until_event("trial_started")
        await request(box.state, "cancel", study=f"to-{verb}")
        ear.until_event("trial_cancelled")
        await request(box.state, verb, study=f"to-{verb}")
        ear.until_event(f"study_{verb}d")


async def faults_of_answers(state: Path) -> list[str]:
    """What is published differently of the data that requests are answered with, whichever door they come through."""
    asked = {"show": {"study": "svhn"}, "status": {}, "drain": {"device": "1"}, "return": {"device": "1"}}
    kinds = {"show": "ShowObject", "status": "StatusObject", "drain": "DeviceObject", "return": "DeviceObject"}
    return [
        f"{verb} {fault}"
        for verb, args in asked.items()
        for fault in faults(await request(state, verb, **args), ASYNCAPI["components"]["schemas"][kinds[verb]])
    ]


def channel_of(message: dict[str, Any]) -> str:
    """The AsyncAPI channel of a message; it must be one and only one."""
    [channel] = channels_of(message["topic"])
    return channel


def faults_of(message: dict[str, Any]) -> list[str]:
    """What is published differently of a message."""
    topic, payload, channel = message["topic"], message["payload"], channel_of(message)
    if payload == "":  # the topic is cleared
        found = [] if sending(channel)["retain"] else ["nothing can be cleared there"]
    elif channel == "availability":
        found = faults(payload, payload_of(channel))
    else:
        body = json.loads(payload)
        found = faults(body, payload_of(channel)) + faults(body, schema_named(body["schema"]))
    return [f"{topic}: {fault}" for fault in found]


def ear_channels(ear: Ear) -> set[str]:
    return {channel_of(message) for message in ear.heard}


def check_nothing_is_missing(ear: Ear) -> None:
    """What the documents name was heard, but for what a CPU and a broker without users can't show."""
    assert ear_channels(ear) == set(ASYNCAPI["channels"]) - UNHEARD_CHANNELS
    assert {body["event"] for body in ear.bodies() if "event" in body} == event_names() - UNHEARD_EVENTS
    outcomes = {attempt["outcome"] for body in ear.bodies() for attempt in body.get("attempts", [])}
    assert outcomes == {"complete", "cancelled", "diverged", "out_of_memory", "timeout", "crashed", "interrupted", None}
    cleared = {message["topic"] for message in ear.heard if message["payload"] == ""}
    studies = {f"cnnbo/v1/tower/study/{name}" for name in ("to-archive", "to-delete")}
    assert cleared == studies | {f"{study}/trial/1" for study in studies}


def retained_messages(where: list[str]) -> list[dict[str, Any]]:
    """What a new subscriber finds."""
    command = ["mosquitto_sub", *where, "-q", "1", "-t", "#", "-F", "%j", "--retained-only", "-W", "1"]
    done = subprocess.run(command, text=True, capture_output=True, check=False)
    return [message_in(line) for line in done.stdout.splitlines()]


def message_in(line: str) -> dict[str, Any]:
    """A line of mosquitto_sub's `%j`, which says null for an empty payload."""
    message = json.loads(line)
    return {**message, "payload": message["payload"] or ""}
