"""Who else on a box, or beside it, can give orders: nobody."""

import json
import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.integration.conftest import PATIENCE_S, Box
from tests.listeners import listeners
from tests.subscriber import publish, subscribed

from cnnbo.daemon.broker import EmbeddedBroker
from cnnbo.daemon.mqtt import BrokerAddress

_NOBODY = 65534

_KNOCK = """
import errno, os, select, socket, sys
# Here and not before: the Python of these tests may lie where others have no access.
os.setgroups([])
os.setgid(int(sys.argv[2]))
os.setuid(int(sys.argv[2]))
outcomes = set()
is_last = False
while not is_last:
    is_last = bool(select.select([sys.stdin], [], [], 0)[0])
    with socket.socket(socket.AF_UNIX) as connection:
        code = connection.connect_ex(sys.argv[1])
    if not outcomes:
        print(flush=True)
    outcomes.add(errno.errorcode.get(code, "connected"))
print(*sorted(outcomes))
"""
"""Knocks at a socket again and again until its input ends, and prints what came of it."""


@pytest.fixture
def open_box() -> Iterator[Box]:
    """A box whose folder every user may enter; pytest's own are closed to others."""
    folder = Path(tempfile.mkdtemp(prefix="cnnbo-rights-"))
    folder.chmod(0o755)
    box = Box(folder)
    yield box
    for child in box.children:
        child.kill()
        child.communicate()
    shutil.rmtree(folder)


def knocking(path: Path) -> "subprocess.Popen[str]":
    """Somebody else, who tries to connect from now on until the input is closed."""
    if os.getuid() != 0:
        pytest.skip("only root can become another user")
    child = subprocess.Popen(
        [sys.executable, "-c", _KNOCK, path, str(_NOBODY)], text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert child.stdout is not None
    child.stdout.readline()  # it has knocked once
    return child


def outcomes(child: "subprocess.Popen[str]") -> set[str]:
    said, _ = child.communicate(timeout=PATIENCE_S)
    return set(said.split())


def test_other_users_are_kept_out_of_the_state_folder(open_box: Box) -> None:
    """The journal in it holds the environment of whoever submitted: tokens, too."""
    open_box.daemon("--devices", "cpu:1")
    assert stat.S_IMODE(open_box.state.stat().st_mode) == 0o700
    assert outcomes(knocking(open_box.state / "control.sock")) == {"EACCES"}


def test_other_users_cannot_connect_even_where_the_folder_is_open(open_box: Box) -> None:
    """An administrator may have made the folder; who gives orders must not depend on that."""
    open_box.state.mkdir(mode=0o755)
    daemon = open_box.start("daemon", "--no-mqtt", "--devices", "cpu:1")
    said = "".join(open_box.wait_for(daemon, "ready:"))
    assert "is open to every user of this box" in said and f"chmod o= {open_box.state}" in said
    assert stat.S_IMODE((open_box.state / "control.sock").stat().st_mode) == 0o600
    assert outcomes(knocking(open_box.state / "control.sock")) == {"EACCES"}
    assert open_box.json("status")["daemon"] is not None


def test_there_is_no_moment_in_which_other_users_can_connect(open_box: Box) -> None:
    """A connection that was made before a chmod stays open after it."""
    open_box.state.mkdir(mode=0o755)
    child = knocking(open_box.state / "control.sock")
    open_box.daemon("--devices", "cpu:1")
    assert outcomes(child) == {"ENOENT", "EACCES"}


async def test_the_embedded_broker_listens_on_loopback_alone(tmp_path: Path) -> None:
    """It asks nobody for a password, so nobody from elsewhere may reach it, by IPv6 neither."""
    async with EmbeddedBroker(tmp_path, 0) as broker:
        assert broker.url is not None and broker.pid is not None
        assert listeners(broker.pid) == {("127.0.0.1", BrokerAddress.parse(broker.url).port)}


async def test_what_is_asked_at_the_embedded_broker_is_never_done(box: Box) -> None:
    """Every user of the box can publish there: the broker is for news."""
    daemon = box.start("daemon", "--devices", "cpu:1", "--node", "tower", CNNBO_MQTT_PORT="65500")
    box.wait_for(daemon, "ready:")
    broker = await _broker_of(box)
    async with subscribed(broker, "cnnbo/v1/tower/response/#", "cnnbo/v1/tower/event") as seen:
        requests = {"drain": {"device": "cpu-0"}, "pause": {"study": "parabola"}, "cancel": {"study": "parabola"}}
        for verb, arguments in requests.items():
            # Retained: who subscribed later would get it, too.
            body = json.dumps({"transaction": verb, **arguments}).encode()
            await publish(broker, f"cnnbo/v1/tower/request/{verb}", body, retain=True)
        box.run("run", box.write_study())
        await seen.until(lambda: any(b"study_finished" in payload for payload in seen.payloads))
    assert not [topic for topic in seen.topics if "/response/" in topic]
    assert not [p for p in seen.payloads if b"drain" in p or b"pause" in p or b"cancel" in p]
    assert box.json("show", "parabola")["state"] == "finished"


async def _broker_of(box: Box) -> BrokerAddress:
    """Where the daemon of a box publishes; it is ready before its broker is."""
    while (url := box.json("status")["mqtt"]) is None:
        pass
    return BrokerAddress.parse(url)
