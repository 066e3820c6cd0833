"""A service goes away again: results stay, or nothing does."""

import pytest
from tests.systemd.conftest import finish, submit, trials
from tests.systemd.machine import CNNBO, Machine

pytestmark = pytest.mark.systemd


def test_results_outlive_the_service_and_are_found_again(service: Machine) -> None:
    """Whoever takes it away for a while loses no study; its user's number may change meanwhile."""
    submit(service, "kept", evaluations=2)
    before = finish(service, "kept")
    said = service.run(CNNBO, "service", "uninstall").stdout
    assert "kept     /var/lib/cnnbo, " in said
    assert service.run("id", "cnnbo", code=1).stdout == ""
    assert (
        not (service.root / "etc/cnnbo").exists() and not (service.root / "etc/systemd/system/cnnbo.service").exists()
    )
    assert service.show("LoadState")["LoadState"] == "not-found"
    service.run("useradd", "--system", "--shell", "/usr/sbin/nologin", "intruder")
    assert service.run("ls", "/var/lib/cnnbo", user="intruder", code=2).stdout == ""
    service.run(CNNBO, "service", "install", "--now")
    assert trials(service, "kept") == before
    service.run("userdel", "intruder")


def test_what_is_kept_is_roots_until_the_next_install(service: Machine) -> None:
    """The number of the service's user goes to whoever comes next, who must not get its password and its logs."""
    service.write("/etc/cnnbo/mqtt.password", "secret\n")
    service.run("chown", "cnnbo:cnnbo", "/etc/cnnbo/mqtt.password")
    service.run("chmod", "600", "/etc/cnnbo/mqtt.password")
    service.write("/etc/cnnbo/cnnbo.toml", "poll_s = 3\n")
    service.run("chown", "root:cnnbo", "/etc/cnnbo/cnnbo.toml")
    service.run("chmod", "640", "/etc/cnnbo/cnnbo.toml")
    kept = ("/var/lib/cnnbo", "/var/log/cnnbo", "/etc/cnnbo/mqtt.password", "/etc/cnnbo/cnnbo.toml")
    service.run(CNNBO, "service", "uninstall")
    assert service.run("stat", "--format=%U:%G", *kept).stdout.split() == ["root:root"] * len(kept)
    service.run(CNNBO, "service", "install", "--now")
    assert service.run("stat", "--format=%U:%G %a", *kept[2:]).stdout.split("\n")[:2] == ["root:cnnbo 640"] * 2


def test_a_purge_leaves_nothing(booted: Machine) -> None:
    """An administrator who tried it once gets the box back as it was."""
    before = booted.listing()
    booted.run(CNNBO, "service", "install", "--now")
    booted.write("/etc/systemd/system/cnnbo.service.d/data.conf", "[Service]\nReadWritePaths=/srv\n")
    submit(booted, "purged", evaluations=1)
    finish(booted, "purged")
    refused = booted.run(CNNBO, "service", "uninstall", "--purge", code=1)
    assert "there is no terminal to ask at" in refused.stderr and booted.show("ActiveState")["ActiveState"] == "active"
    at_terminal = ("script", "--quiet", "--return", "--command", f"{CNNBO} service uninstall --purge", "/dev/null")
    asked = booted.run(*at_terminal, stdin="n\n", code=1).stdout
    assert "would remove  /var/lib/cnnbo, " in asked and "[y/N]" in asked
    assert booted.show("ActiveState")["ActiveState"] == "active"
    booted.run(CNNBO, "service", "uninstall", "--purge", "-y")
    (booted.root / "srv/study/purged.toml").unlink()
    after = booted.listing()
    assert {
        path: (before.get(path), after.get(path))
        for path in before.keys() | after.keys()
        if before.get(path) != after.get(path)
    } == {}
    assert booted.run("sh", "-c", "ls -d /run/cnnbo /run/lock/cnnbo*", code=2).stdout == ""


def test_what_was_installed_by_halves_goes_away_too(service: Machine) -> None:
    """Somebody removed the unit by hand: the rest of it must not stay for ever."""
    (service.root / "etc/systemd/system/cnnbo.service").unlink()
    service.run(CNNBO, "service", "uninstall", "--purge", "-y")
    service.run("systemctl", "daemon-reload")
    assert service.show("LoadState", "ActiveState") == {"LoadState": "not-found", "ActiveState": "inactive"}
    assert service.run("sh", "-c", "find /etc /var/lib -name '*cnnbo*' -not -name cnnbo-test.conf").stdout == ""


def test_what_people_wrote_is_not_removed(service: Machine) -> None:
    """Certificates of a broker and changed settings are somebody's work; and a link leads to somebody's folder."""
    service.write("/etc/cnnbo/mqtt.password", "secret\n")
    service.write("/etc/cnnbo/ca.crt", "text\n")
    service.write("/etc/cnnbo/cnnbo.toml", "poll_s = 3\n")
    said = service.run(CNNBO, "service", "uninstall").stdout
    assert "kept     /etc/cnnbo/cnnbo.toml" in said
    assert (service.root / "etc/cnnbo/mqtt.password").exists()
    service.run("rm", "-r", "/var/lib/cnnbo")
    service.write("/srv/precious/file", "text\n")
    service.run("ln", "-s", "/srv/precious", "/var/lib/cnnbo")
    service.run(CNNBO, "service", "uninstall", "--purge", "-y")
    assert (service.root / "srv/precious/file").exists() and (service.root / "etc/cnnbo/ca.crt").exists()
    assert not any((service.root / "etc/cnnbo" / name).exists() for name in ("cnnbo.toml", "mqtt.password"))
    service.run("rm", "-r", "/etc/cnnbo", "/srv/precious")
    assert service.run("ls", "/var/lib/cnnbo", code=2).stdout == ""
