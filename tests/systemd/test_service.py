"""The service of a box under a real systemd: it gets up, stays up and goes on."""

from pathlib import Path

import pytest
from tests.systemd.conftest import (
    NEXT_VERSION,
    STATE,
    finish,
    install_wheel,
    is_at_the_gate,
    printed,
    running,
    submit,
    trials,
)
from tests.systemd.machine import CNNBO, PYTHON, Machine

from cnnbo import __version__

pytestmark = pytest.mark.systemd


def test_two_commands_make_a_bare_box_a_service(machine: Machine) -> None:
    """What an administrator types who has never heard of it: first to look, then to do it."""
    dry = machine.run(CNNBO, "service", "install", "--dry-run", user="alice").stdout
    assert "would run  systemctl start cnnbo.service" not in dry
    dry = machine.run(CNNBO, "service", "install", "--now", "--dry-run", user="alice").stdout
    assert "would run  systemctl start cnnbo.service" in dry
    assert "+ExecStart=" in dry and "would run  useradd" in dry and "Nothing was changed." in dry
    assert machine.run("id", "cnnbo", code=1).stdout == ""
    said = machine.run(CNNBO, "service", "install", "--now").stdout
    told = machine.show("ActiveState", "StatusText", "UnitFileState", "User", "ExecStart")
    assert told["ActiveState"] == "active" and told["UnitFileState"] == "enabled" and told["User"] == "cnnbo"
    assert PYTHON in told["ExecStart"] and " -P -m cnnbo daemon " in told["ExecStart"]
    assert told["StatusText"] != "" and f"ready    {told['StatusText']}" in said


def test_a_second_install_changes_nothing(service: Machine) -> None:
    """Ansible runs it every night: a daemon that is as it should be isn't disturbed."""
    before = service.show("MainPID", "ActiveEnterTimestampMonotonic")
    assert "nothing to do" in service.run(CNNBO, "service", "install", "--now").stdout
    assert service.show("MainPID", "ActiveEnterTimestampMonotonic") == before


def test_a_killed_daemon_comes_back_and_the_study_goes_on(service: Machine) -> None:
    """Nobody is there at 3 a.m.: systemd starts it anew, and nothing that was measured is lost."""
    submit(service, "killed")
    service.until("a trial is complete", lambda: any(t["state"] == "complete" for t in trials(service, "killed")))
    before = {trial["id"]: trial["value"] for trial in trials(service, "killed") if trial["state"] == "complete"}
    first = service.show("MainPID")["MainPID"]
    service.run("kill", "-KILL", first)
    service.until("systemd starts it anew", lambda: _is_restarted(service))
    assert service.show("MainPID")["MainPID"] != first
    after = finish(service, "killed")
    assert [trial["id"] for trial in after] == [1, 2, 3, 4]
    assert all(trial["state"] == "complete" for trial in after)
    assert before.items() <= {trial["id"]: trial["value"] for trial in after}.items()


def test_a_frozen_daemon_is_restarted_by_the_watchdog(service: Machine) -> None:
    """A daemon that hangs looks alive to everybody but systemd, to whom it must say so itself."""
    service.write("/run/systemd/system/cnnbo.service.d/impatient.conf", "[Service]\nWatchdogSec=4\nTimeoutAbortSec=2\n")
    service.run("systemctl", "daemon-reload")
    service.run("systemctl", "restart", "cnnbo")
    submit(service, "frozen")
    service.until("a trial runs", lambda: running(service, "frozen") == 1)
    service.run("kill", "-STOP", service.show("MainPID")["MainPID"])
    service.until("systemd starts it anew", lambda: _is_restarted(service))
    assert "Watchdog timeout" in service.journal()
    assert [trial["state"] for trial in finish(service, "frozen")] == ["complete"] * 4
    service.run("rm", "-r", "/run/systemd/system/cnnbo.service.d")


def test_a_stop_gives_trials_time_and_a_start_goes_on(service: Machine) -> None:
    """`systemctl stop` for an update of the driver must cost no training."""
    service.write("/srv/study/gate", "")
    submit(service, "stopped")
    service.until("a trial has something to go on from", lambda: is_at_the_gate(service, "stopped"))
    life = service.show("InvocationID")["InvocationID"]
    service.run("systemctl", "stop", "cnnbo")
    assert service.show("ActiveState", "Result") == {"ActiveState": "inactive", "Result": "success"}
    said = service.journal(invocation=life)
    assert "Stopped cnnbo.service" in said and "SIGKILL" not in said
    ended = [attempt["outcome"] for trial in trials(service, "stopped") for attempt in trial["attempts"]]
    assert ended.count("interrupted") == 1 and running(service, "stopped") == 0
    told = service.run(CNNBO, "status").stdout
    assert (
        told.startswith("the cnnbo service of this box is down; start it: systemctl start cnnbo") and "stopped" in told
    )
    assert "is the folder of this box's service" in service.run(CNNBO, "daemon", code=78).stderr
    service.run("rm", "/srv/study/gate")
    service.run("systemctl", "start", "cnnbo")
    after = finish(service, "stopped")
    assert [trial["state"] for trial in after] == ["complete"] * 4
    [first, *_] = [trial["id"] for trial in after if len(trial["attempts"]) == 2]
    assert "began at 5" in printed(service, "stopped", first)


def test_an_upgrade_goes_on_and_keeps_what_somebody_changed(service: Machine, wheel: Path, next_wheel: Path) -> None:
    """The administrator's settings are the administrator's; and what runs is what was installed."""
    config = service.root / "etc/cnnbo/cnnbo.toml"
    config.write_text(config.read_text().replace("# grace_s = 60", "grace_s = 30"))
    changed = config.read_text()
    submit(service, "upgraded")
    service.until("a trial runs", lambda: running(service, "upgraded") == 1)
    try:
        install_wheel(service, next_wheel)
        told = service.json("service", "status")
        assert told["version"] == __version__ and told["installed_version"] == NEXT_VERSION and told["needs_restart"]
        said = service.run(CNNBO, "service", "install", "--now").stdout
        assert f"cnnbo {__version__} runs, {NEXT_VERSION} is installed" in said
        assert "kept, since it isn't as an install wrote it: /etc/cnnbo/cnnbo.toml" in said
        told = service.json("service", "status")
        assert told["version"] == NEXT_VERSION and not told["needs_restart"]
        assert config.read_text() == changed
        assert [trial["state"] for trial in finish(service, "upgraded")] == ["complete"] * 4
    finally:
        service.run("systemctl", "stop", "cnnbo")
        install_wheel(service, wheel)


def test_a_reboot_goes_on_with_nobody_logged_in(service: Machine) -> None:
    """Boxes are rebooted by people who don't know what runs there."""
    submit(service, "rebooted")
    service.until("a trial runs", lambda: running(service, "rebooted") == 1)
    service.reboot()
    service.until("it is up", lambda: service.show("ActiveState")["ActiveState"] == "active")
    assert service.show("NRestarts")["NRestarts"] == "0"
    assert [trial["state"] for trial in finish(service, "rebooted")] == ["complete"] * 4


def test_wrong_settings_are_told_and_not_tried_again(service: Machine) -> None:
    """A loop of restarts hides the reason, and wrong settings don't get better."""
    service.write("/etc/cnnbo/cnnbo.toml", "poll_z = 3\n")
    service.run("systemctl", "restart", "cnnbo", code=1)
    told = service.show("ActiveState", "ExecMainStatus", "NRestarts")
    assert told == {"ActiveState": "failed", "ExecMainStatus": "78", "NRestarts": "0"}
    said = service.run(CNNBO, "service", "status", code=1).stdout
    assert "failed" in said and 'cnnbo.toml:1  "poll_z" is no key of the settings; did you mean "poll_s"?' in said
    assert 'cnnbo.toml:1  "poll_z"' in service.run(CNNBO, "service", "install", "--now", code=78).stderr


def test_an_install_says_what_the_service_waits_for(machine: Machine) -> None:
    """A full disk is waited for without end; whoever installs is told so, and needn't come back once it is mended."""
    machine.run("mkdir", STATE)
    machine.run("mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", STATE)
    try:
        machine.run("dd", "if=/dev/zero", f"of={STATE}/ballast", "bs=64k", code=1)
        told = machine.run(CNNBO, "service", "install", "--now", code=1).stderr
        assert "but waits: " in told and f"{STATE}" in told and "gets ready by itself" in told
        assert machine.show("ActiveState")["ActiveState"] == "activating"
        machine.run("mount", "-o", "remount,size=200m", STATE)
        machine.run("rm", f"{STATE}/ballast")
        assert "ready    " in machine.run(CNNBO, "service", "install", "--now").stdout
    finally:
        machine.run("systemctl", "stop", "cnnbo")
        machine.run("umount", STATE)


def test_a_daemon_that_somebody_started_by_hand_is_not_fought(machine: Machine) -> None:
    """Two daemons can't work in one state folder, and the service would fail with a puzzle."""
    by_hand = ("systemd-run", "--unit=by-hand", "--service-type=notify", CNNBO, "daemon", "--no-mqtt")
    machine.run(*by_hand, "--state", STATE)
    refused = machine.run(CNNBO, "service", "install", "--now", code=78).stderr
    assert f"{STATE}: a daemon (pid {machine.show('MainPID', unit='by-hand')['MainPID']}) that isn't this" in refused
    assert not (machine.root / "etc/systemd/system/cnnbo.service").exists()
    machine.run("systemctl", "stop", "by-hand")


def test_how_it_is_stands_in_one_place(service: Machine) -> None:
    """Versions, folders, since when: what is asked first when something is wrong."""
    told = service.json("service", "status")
    shown = service.show("MainPID", "StatusText")
    assert told["active"] and told["enabled"] and str(told["pid"]) == shown["MainPID"]
    assert told["status"] == shown["StatusText"] and told["restarts"] == 0
    assert told["version"] == told["installed_version"] == __version__ and told["python"] == PYTHON
    assert told["state_folder"] == STATE and told["state_bytes"] > 0 and told["socket"] is not None
    assert "service  active, enabled" in service.run(CNNBO, "service", "status", user="alice").stdout
    service.run("systemctl", "stop", "cnnbo")
    stopped = service.run(CNNBO, "service", "status", code=1).stdout
    assert "inactive, enabled" in stopped and "next     systemctl start cnnbo" in stopped


def _is_restarted(machine: Machine) -> bool:
    return machine.show("ActiveState", "NRestarts") == {"ActiveState": "active", "NRestarts": "1"}


def test_a_reload_takes_settings_in_while_it_trains(service: Machine) -> None:
    """A box's limits are changed by day; what trains doesn't notice."""
    before = service.show("MainPID", "NRestarts")
    service.write("/etc/cnnbo/cnnbo.toml", "grace_s = 30\n")
    service.run("systemctl", "reload", "cnnbo")
    service.until("it says so", lambda: "settings reloaded: new are grace_s" in service.journal())
    assert service.show("MainPID", "NRestarts") == before
    assert service.show("ActiveState", "StatusText")["ActiveState"] == "active"
