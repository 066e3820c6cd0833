"""The service's settings file, which doctor reads before the next restart does."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.unit.cli.doctor.conftest import at
from tests.unit.cli.doctor.test_service import systemd, unit

from cnnbo.cli.doctor.finding import Finding, Level
from cnnbo.cli.doctor.scope import Scope
from cnnbo.cli.doctor.service import check_service


@pytest.fixture
def file() -> Iterator[Path]:
    """A settings file without mistakes, in a folder that all may enter, as none of pytest's is."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        path = Path(folder) / "cnnbo.toml"
        path.write_text("[mqtt]\nport = 1884\n")
        path.chmod(0o644)
        yield path


def look(scope: Scope, file: Path) -> list[Finding]:
    return [found for found in check_service(at(scope, service_settings=file)) if found.check == "settings"]


def test_without_a_file_nothing_is_said(scope: Scope, tmp_path: Path) -> None:
    """The defaults hold then, and most boxes have no service."""
    assert look(scope, tmp_path / "etc" / "cnnbo.toml") == []


def test_a_good_file_is_told(scope: Scope, file: Path) -> None:
    """Whoever has just edited it wants to know."""
    [found] = look(scope, file)
    assert found.level is Level.OK and str(file) in found.text


def test_mistakes_are_told_with_file_and_line(scope: Scope, file: Path, tmp_path: Path) -> None:
    """The service goes on with the old settings until its next start, which then ends in exit status 78."""
    file.write_text("[mqtt]\nport = 99999\nprot = 1\n")
    for machine in (scope, systemd(scope, tmp_path, unit(User="nobody", ActiveState="active"))):
        found = look(machine, file)
        assert [each.level for each in found] == [Level.FAIL] * 2
        assert [each.text.split()[0] for each in found] == [f"{file}:2", f"{file}:3"]


def test_what_whoever_looks_has_set_is_not_the_services(
    scope: Scope, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mistake in root's own environment stops no service."""
    monkeypatch.setenv("CNNBO_MQTT_PORT", "none")
    [found] = look(scope, file)
    assert found.level is Level.OK


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can ask what another user may read")
@pytest.mark.parametrize("closed", ["file", "folder"])
def test_a_file_that_its_user_cannot_read_fails(scope: Scope, file: Path, tmp_path: Path, closed: str) -> None:
    """An editor that writes with umask 077 stops the service at its next start."""
    machine = systemd(scope, tmp_path, unit(User="nobody"))
    assert [found.level for found in look(machine, file)] == [Level.OK]
    (file if closed == "file" else file.parent).chmod(0o700)
    found = look(machine, file)
    assert [each.level for each in found] == [Level.FAIL, Level.OK]
    assert f"{file} can't be read by its user nobody" in found[0].text
    assert found[0].fix is not None and found[0].fix.startswith("sudo chgrp nobody ")
