"""Who may give orders to the service of a box."""

import pytest
from tests.systemd.conftest import STATE, submit
from tests.systemd.machine import CNNBO, Machine

pytestmark = pytest.mark.systemd


def test_members_of_the_group_give_orders_and_strangers_are_told_how(service: Machine) -> None:
    """An administrator lets colleagues in by one command, and nobody else."""
    submit(service, "shared", evaluations=50)
    service.run("usermod", "--append", "--groups", "cnnbo", "alice")
    service.run(CNNBO, "pause", "shared", user="alice")
    assert service.json("show", "shared", user="alice")["reason"] == "user"
    refused = service.run(CNNBO, "resume", "shared", user="bob", code=None)
    assert refused.returncode == 1 and "sudo usermod -aG cnnbo bob" in refused.stderr
    assert service.json("show", "shared")["state"] == "paused"
    service.run("test", "-S", "/run/cnnbo/control.sock")
    service.run("test", "-e", f"{STATE}/journal.sqlite", user="alice", code=1)
    as_command = service.run("sh", "-c", f"cd /srv/study && {CNNBO} submit shared.toml", user="alice", code=1)
    assert "commands are taken from that user or root only" in as_command.stderr
