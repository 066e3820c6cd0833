"""SIGHUP: settings are taken in, and what trains doesn't notice."""

import json
import shutil
import signal
import socket
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from tests.integration.conftest import Box
from tests.integration.test_foreground import GATED, _wait_for_gated

TRAINS = 'devices.max = 1\nnode = "tower"\n[mqtt]\nenabled = false\n'


@pytest.fixture
def settings(box: Box) -> Path:
    path = box.folder / "cnnbo.toml"
    path.write_text(TRAINS)
    return path


def start(box: Box, settings: Path, **environment: str) -> "subprocess.Popen[str]":
    child = box.start("daemon", "--devices", "cpu:2", CNNBO_CONFIG=str(settings), **environment)
    box.wait_for(child, "ready:")
    return child


def reload(box: Box, child: "subprocess.Popen[str]", until: str) -> str:
    """Have the daemon reload; what it logged about that."""
    child.send_signal(signal.SIGHUP)
    return "".join(box.wait_for(child, until))


def test_new_settings_hold_and_the_trial_goes_on(box: Box, settings: Path) -> None:
    """A box's limits are changed by day, while it trains; a mistake costs nothing."""
    gate = box.folder / "gate"
    child = start(box, settings)
    box.run("submit", box.write_study(script=GATED), GATE=str(gate))
    _wait_for_gated(box, 1)
    [running] = [trial for trial in box.json("show", "parabola")["trials"] if trial["state"] == "running"]

    settings.write_text(f'{TRAINS}[devices]\nmax = "two"\n')  # the table stands here twice, in two forms
    logged = reload(box, child, "were not reloaded")
    assert f"ERROR {settings}:5  no valid TOML" in logged

    settings.write_text(TRAINS.replace("max = 1", "max = 2").replace("tower", "attic") + "[proposer]\ndeadline_s = 3\n")
    logged = reload(box, child, "node has a new value, which needs a restart")
    assert "INFO settings reloaded: new are devices.max, proposer.deadline_s." in logged
    _wait_for_gated(box, 2)  # the second device is in use at once
    trials = {trial["id"]: trial for trial in box.json("show", "parabola")["trials"]}
    assert trials[running["id"]]["attempts"] == running["attempts"]

    settings.write_text('log = "json"\n' + settings.read_text())
    logged = reload(box, child, "needs a restart")
    [line, *_] = [json.loads(line) for line in logged.splitlines() if "settings reloaded" in line]
    assert (line["level"], line["message"]) == ("info", "settings reloaded: new are log.")
    gate.touch()


def test_a_broker_is_added_while_a_trial_runs(box: Box, settings: Path) -> None:
    """News of a study that has been running for a day, without running it for a day again."""
    gate = box.folder / "gate"
    child = start(box, settings)
    box.run("submit", box.write_study(script=GATED), GATE=str(gate))
    _wait_for_gated(box, 1)
    before = box.json("show", "parabola")["trials"]
    settings.write_text(TRAINS.replace("false", "true"))
    reload(box, child, "connected to")
    url = box.json("status")["mqtt"]
    [heard] = box.json("status", "--broker", url, "--node", "tower")["studies"]
    assert (heard["name"], heard["running"]) == ("parabola", 1)
    settings.write_text(TRAINS)
    reload(box, child, "settings reloaded: new are mqtt.enabled")
    assert box.json("status")["mqtt"] is None
    assert box.json("show", "parabola")["trials"] == before
    child.terminate()
    assert child.wait() == 0


def test_a_bug_in_a_reload_costs_no_trial(box: Box) -> None:
    """A daemon that was begun in a folder which is gone can't even say where its state folder is."""
    gone = box.folder / "gone"
    gone.mkdir()
    child = replace(box, folder=gone).start("daemon", "--no-mqtt", "--devices", "cpu:1", "--state", "../elsewhere")
    box.wait_for(child, "ready:")
    shutil.rmtree(gone)
    assert "FileNotFoundError" in reload(box, child, "No such file or directory")
    child.terminate()
    assert child.wait() == 0


def test_another_password_is_named_and_so_is_what_to_type(box: Box, settings: Path) -> None:
    """Whoever rotates it sees that it arrived."""
    password = box.folder / "password"
    settings.write_text(f'[mqtt]\nurl = "mqtt://127.0.0.1:9"\nuser = "me"\npassword_file = "{password}"\n')
    password.write_text("s3cret\n")
    password.chmod(0o600)
    child = start(box, settings)
    password.write_text("an0ther\n")
    assert "new are the password in mqtt.password_file." in reload(box, child, "settings reloaded")
    done = box.run("config", "set", "grace_s", "7", CNNBO_CONFIG=str(settings))
    assert f"The running daemon takes it in at: kill -HUP {child.pid}\n" in done.stdout
    done = box.run("config", "set", "node", "attic", CNNBO_CONFIG=str(settings))
    assert f"The running daemon needs a restart for it: kill {child.pid}, then" in done.stdout


def test_systemd_is_told_when_a_reload_begins_and_ends(box: Box, settings: Path, tmp_path: Path) -> None:
    """`systemctl reload` returns when the new settings hold."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))
        listener.settimeout(30)
        child = start(box, settings, NOTIFY_SOCKET=str(tmp_path / "notify"))
        hear(listener, b"READY=1")
        child.send_signal(signal.SIGHUP)
        assert hear(listener, b"RELOADING=1")[1].startswith(b"MONOTONIC_USEC=")
        assert hear(listener, b"READY=1") == [b"READY=1"]  # the status line stays what it was


def hear(listener: socket.socket, state: bytes) -> list[bytes]:
    """Wait until systemd is told a state; all that it is told with that."""
    while (told := listener.recv(4096).split(b"\n"))[0] != state:
        pass
    return told
