"""The recipes of `docs/mqtt.md` that ask a daemon, run as they stand against one at an authenticated broker."""

import json
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.api import ASYNCAPI, DOCS, faults, mosquitto_options, schema_named, shell_block
from tests.integration.conftest import PATIENCE_S, Box
from tests.integration.test_foreground import GATED, _wait_for_gated
from tests.mosquitto import Mosquitto

pytestmark = pytest.mark.mosquitto


def password_file(folder: Path) -> Path:
    """Knows the user tower."""
    path = folder / "passwords"
    subprocess.run(["mosquitto_passwd", "-c", "-b", str(path), "tower", "secret"], check=True)
    return path


@pytest.fixture
async def asked(box: Box, tmp_path: Path) -> AsyncIterator[dict[str, str]]:
    """A box called tower with a running study svhn, and the environment that leads to its broker."""
    broker = Mosquitto(tmp_path, f"allow_anonymous false\npassword_file {password_file(tmp_path)}")
    await broker.start()
    url = broker.url.replace("//", "//tower:secret@")
    daemon = box.start(
        "daemon", "--devices", "cpu:2", "--node", "tower",
        CNNBO_MQTT_URL=url, CNNBO_MQTT_REQUESTS="true", GATE=str(box.folder / "gate"),
    )  # fmt: skip
    box.wait_for(daemon, "ready:")
    study = box.write_study(lambda text: text.replace("parabola", "svhn"), GATED)
    box.run("submit", study, GATE=str(box.folder / "gate"))
    _wait_for_gated(box, 2)
    yield mosquitto_options(tmp_path, f"-h 127.0.0.1\n-p {broker.port}\n-u tower\n-P secret\n")
    await broker.stop()


def run(block: str, environment: dict[str, str]) -> str:
    done = subprocess.run(
        ["bash", "-c", block], cwd=DOCS.parent, env=environment, text=True, capture_output=True, timeout=PATIENCE_S,
        check=True,
    )  # fmt: skip
    return done.stdout


def test_the_box_is_limited_and_then_a_study_paused(box: Box, asked: dict[str, str]) -> None:
    """Home automation says that prices peak, and running trials go on to their end; a script sees that it was heard."""
    topics = ["-t", "cnnbo/v1/tower/device/+", "-t", "cnnbo/v1/tower/response/limit"]
    heard = subprocess.Popen(["mosquitto_sub", "-q", "1", *topics], env=asked, text=True, stdout=subprocess.PIPE)
    box.children.append(heard)
    assert heard.stdout is not None
    bodies = (json.loads(line) for line in heard.stdout)
    next(bodies)  # the subscription stands
    run(shell_block("request/limit"), asked)
    answer = next(body for body in bodies if body["schema"] == "cnnbo.response/1")
    assert (answer["status"], answer["data"]) == ("ok", {"limit": 0})
    for pipe in box.folder.glob("fifo-*"):
        pipe.write_text("go on")
    idle: set[str] = set()
    while idle != {"cpu-0", "cpu-1"}:
        idle |= {body["uuid"] for body in [next(bodies)] if body["state"] == "idle" and body["reason"]}
    shown = box.json("show", "svhn")
    assert (shown["running"], shown["finished"], shown["state"]) == (0, 2, "running")
    answer = json.loads(run(shell_block("request/pause"), asked))
    assert faults(answer, schema_named("cnnbo.response/1")) == []
    assert faults(answer["data"], ASYNCAPI["components"]["schemas"]["StudyObject"]) == []
    assert (answer["transaction"], answer["status"], answer["data"]["state"]) == ("a1", "ok", "paused")
    assert box.json("show", "svhn")["state"] == "paused"
