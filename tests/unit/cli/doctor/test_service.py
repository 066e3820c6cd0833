"""What systemd says of the units, played by a program in its place."""

from dataclasses import replace
from pathlib import Path

import pytest
from tests.journals import journal_study
from tests.unit.cli.doctor.conftest import at

from cnnbo.cli.doctor.finding import Finding, Level
from cnnbo.cli.doctor.scope import Scope
from cnnbo.cli.doctor.service import check_service
from cnnbo.cli.doctor.state import owner_of
from cnnbo.scheduler.space import FloatParameter, SearchSpace
from cnnbo.scheduler.spec import Origin, StudySpec

PYTHON = "/home/alice/venv/bin/python"
COMMAND = StudySpec(
    SearchSpace((FloatParameter("x", 0, 1),)),
    name="thesis",
    command=("python", "train.py"),
    origin=Origin("/home/alice/thesis", {}, PYTHON),
)
MODEL = replace(COMMAND, name="svhn", model="svhn-cnn", command=(), data_dir="/home/alice/svhn")


def systemd(scope: Scope, tmp_path: Path, system: str = "LoadState=not-found", user: str = "") -> Scope:
    """A machine on which systemd runs and tells this of the two units."""
    program = tmp_path / "systemctl"
    program.write_text(
        f"#!/bin/sh\ncase $1 in --user) cat <<'E'\n{user}\nE\n;; show) cat <<'E'\n{system}\nE\n;; esac\n"
    )
    program.chmod(0o755)
    (tmp_path / "systemd").mkdir(exist_ok=True)
    return at(scope, systemd=tmp_path / "systemd", systemctl=str(program), linger=tmp_path / "linger")


def unit(state: str = "enabled", **properties: str) -> str:
    told = {"LoadState": "loaded", "UnitFileState": state, "ActiveState": "active", **properties}
    return "\n".join(f"{name}={value}" for name, value in told.items())


def look(scope: Scope) -> list[Finding]:
    return list(check_service(scope))


def test_without_systemd_or_units_nothing_is_said(scope: Scope, tmp_path: Path) -> None:
    """Containers have no systemd, and a laptop no unit."""
    assert look(scope) == []
    assert look(systemd(scope, tmp_path)) == []
    assert look(at(scope, systemd=tmp_path)) == []  # no systemctl


@pytest.mark.parametrize(("state", "level"), [("enabled", Level.OK), ("disabled", Level.WARN)])
def test_a_service_should_start_at_boot(scope: Scope, tmp_path: Path, state: str, level: Level) -> None:
    """A study that doesn't go on after a reboot is noticed on Monday."""
    [found] = look(systemd(scope, tmp_path, unit(state)))
    assert found.level is level and (found.fix is None or "systemctl enable cnnbo" in found.fix)


@pytest.mark.parametrize("state", ["enabled", "disabled"])
def test_a_service_that_has_failed_is_a_failure(scope: Scope, tmp_path: Path, state: str) -> None:
    """All green over a dead service sends an administrator to look everywhere else."""
    [found] = look(systemd(scope, tmp_path, unit(state, ActiveState="failed")))
    assert (found.check, found.level, found.fix) == ("service", Level.FAIL, "cnnbo service status")
    [found, _] = look(systemd(scope, tmp_path, user=unit(state, ActiveState="failed")))
    assert (found.level, found.fix) == (Level.FAIL, "cnnbo service status --user")


def test_a_service_that_was_stopped_is_told(scope: Scope, tmp_path: Path) -> None:
    """It would run again only after the next boot; one that is about to run is well."""
    [found] = look(systemd(scope, tmp_path, unit(ActiveState="inactive")))
    assert (found.level, found.fix) == (Level.WARN, "sudo systemctl start cnnbo")
    [found] = look(systemd(scope, tmp_path, unit(ActiveState="activating")))
    assert found.level is Level.OK


def test_a_users_service_needs_linger(scope: Scope, tmp_path: Path) -> None:
    """Without it the service ends with the last session."""
    machine = systemd(scope, tmp_path, user=unit())
    assert [(found.check, found.level) for found in look(machine)] == [("service", Level.OK), ("linger", Level.WARN)]
    (tmp_path / "linger").mkdir()
    (tmp_path / "linger" / owner_of(tmp_path.stat().st_uid)).touch()
    assert [found.level for found in look(machine)] == [Level.OK, Level.OK]


@pytest.mark.parametrize("protection", ["yes", "tmpfs"])
def test_what_the_service_cannot_see_of_a_study_is_told(scope: Scope, tmp_path: Path, protection: str) -> None:
    """ "Permission denied though permissions are correct" is the report that this saves."""
    machine = systemd(scope, tmp_path, unit(ProtectHome=protection))
    [_, hidden] = look(replace(machine, study=MODEL))
    assert (hidden.check, hidden.level) == ("home", Level.FAIL)
    assert "/home/alice/svhn" in hidden.text and "systemctl edit cnnbo" in str(hidden.fix)
    journal_study(scope.settings.state, COMMAND)
    _, *found = look(machine)
    assert [place for place in (PYTHON, "/home/alice/thesis") if any(place in each.text for each in found)] == [
        PYTHON,
        "/home/alice/thesis",
    ]


def test_where_a_command_cannot_write_is_told(scope: Scope, tmp_path: Path) -> None:
    """Scripts like to write beside themselves; a drop-in may have opened the folder."""
    machine = replace(systemd(scope, tmp_path, unit(ProtectHome="read-only")), study=COMMAND)
    [_, found] = look(machine)
    assert found.level is Level.WARN and "ReadWritePaths=/home/alice/thesis" in str(found.fix)
    opened = systemd(scope, tmp_path, unit(ProtectHome="read-only", ReadWritePaths="/run/lock -/home/alice"))
    assert len(look(replace(opened, study=COMMAND))) == 1
    assert len(look(replace(machine, study=MODEL))) == 1
