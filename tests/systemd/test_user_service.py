"""A user's own service, for scripts of their own."""

from collections.abc import Iterator

import pytest
from tests.systemd.machine import CNNBO, Machine

pytestmark = pytest.mark.systemd

RUNTIME = "/run/user"


@pytest.fixture
def alice(booted: Machine) -> Iterator[Machine]:
    """The box, and afterwards no service of alice."""
    yield booted
    booted.run(CNNBO, "service", "uninstall", "--user", "--purge", "-y", user="alice", code=None)
    booted.run("loginctl", "disable-linger", "alice")


def test_a_service_of_a_user_is_there_after_a_reboot(alice: Machine) -> None:
    """Over SSH, with nothing set that a desktop would set, and with nobody logged in later."""
    refused = alice.run(CNNBO, "service", "install", "--user", user="alice", code=1).stderr
    assert "sudo loginctl enable-linger" in refused
    alice.run("loginctl", "enable-linger", "alice")
    alice.until("alice's systemd is there", lambda: _is_up(alice))
    said = alice.run(CNNBO, "service", "install", "--user", "--now", user="alice").stdout
    assert "ready    " in said
    state = alice.json("service", "status", "--user", user="alice")["state_folder"]
    assert state.startswith("/home/alice/.local/state/cnnbo/")
    assert alice.json("status", user="alice")["daemon"]["state"] == state
    alice.reboot()
    alice.until(
        "it is up", lambda: alice.run(CNNBO, "service", "status", "--user", user="alice", code=None).returncode == 0
    )
    alice.run(CNNBO, "service", "uninstall", "--user", user="alice")
    assert (
        alice.run("sh", "-c", "find ~/.config -name '*cnnbo*' 2>&1 | grep -v 'No such'", user="alice", code=1).stdout
        == ""
    )
    assert alice.run("ls", state, user="alice").stdout != ""
    alice.run(CNNBO, "service", "uninstall", "--user", "--purge", "-y", user="alice")
    assert alice.run("ls", state, user="alice", code=2).stdout == ""


def test_an_install_sees_to_linger_and_a_purge_takes_it_back(alice: Machine) -> None:
    """Nobody thinks of it before the first reboot; and whoever lingered before, for something else, goes on to."""
    uid = alice.run("id", "-u", "alice").stdout.strip()
    alice.run("systemctl", "start", f"user@{uid}.service")  # as at a login
    lingers = alice.root / "var/lib/systemd/linger/alice"
    said = alice.run(CNNBO, "service", "install", "--user", "--now", user="alice").stdout
    assert "ran      loginctl enable-linger alice" in said and lingers.exists()
    alice.run(CNNBO, "service", "uninstall", "--user", "--purge", "-y", user="alice")
    assert not lingers.exists()
    assert alice.run("sh", "-c", "find ~ -name '*cnnbo*'", user="alice").stdout == ""


def test_a_colleagues_service_stands_beside_that_of_the_box(alice: Machine) -> None:
    """Two daemons on one box: each takes its own orders, and the leases keep them apart."""
    alice.run(CNNBO, "service", "install", "--now")
    alice.run("usermod", "--append", "--groups", "cnnbo", "alice")
    alice.run("loginctl", "enable-linger", "alice")
    alice.until("alice's systemd is there", lambda: _is_up(alice))
    alice.run(CNNBO, "service", "install", "--user", "--now", user="alice")
    own = alice.json("status", user="alice")["daemon"]["pid"]
    assert str(own) != alice.show("MainPID")["MainPID"]
    alice.run(CNNBO, "service", "uninstall", "--user", "--purge", "-y", user="alice")
    assert alice.show("ActiveState")["ActiveState"] == "active"
    alice.run(CNNBO, "service", "uninstall", "--purge", "-y")


def test_root_gets_no_service_of_its_own(booted: Machine) -> None:
    """Every study would run as root."""
    assert "root's own service" in booted.run(CNNBO, "service", "install", "--user", code=1).stderr
    said = booted.run(CNNBO, "service", "install", user="alice", code=1).stderr
    assert f"type: sudo {CNNBO} service install, or --user" in said


def _is_up(machine: Machine) -> bool:
    uid = machine.run("id", "-u", "alice").stdout.strip()
    return machine.run("test", "-S", f"{RUNTIME}/{uid}/systemd/private", code=None).returncode == 0
