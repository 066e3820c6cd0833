"""The state folder and what lies in and around it."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from tests.journals import journal_study
from tests.unit.cli.doctor.conftest import at

from cnnbo.cli.doctor.finding import Finding, Level
from cnnbo.cli.doctor.scope import Scope
from cnnbo.cli.doctor.state import check_state
from cnnbo.daemon.folders import SERVICE_STATE
from cnnbo.daemon.processes import TOKEN_VARIABLE
from cnnbo.scheduler.events import PointsSuggested, TrialsRequested, TrialStarted
from cnnbo.scheduler.optimizers.base import Source
from cnnbo.scheduler.space import FloatParameter, SearchSpace
from cnnbo.scheduler.spec import StudySpec

SPEC = StudySpec(SearchSpace((FloatParameter("x", 0, 1),)), name="parabola", command=("true",))
TOKEN = "a token of this test, 24 c"


def look(scope: Scope) -> dict[str, Finding]:
    """The findings, by check; each is told once."""
    found = list(check_state(scope))
    by_check = {finding.check: finding for finding in found}
    assert len(by_check) == len(found)
    return by_check


def levels(scope: Scope) -> dict[str, str]:
    return {check: str(finding.level) for check, finding in look(scope).items()}


def everything_in(folder: Path) -> dict[Path, tuple[int, int]]:
    return {path: (path.stat().st_size, path.stat().st_mtime_ns) for path in [folder, *folder.rglob("*")]}


def test_a_good_folder_with_a_journal_stays_as_it_is(scope: Scope, tmp_path: Path) -> None:
    """Root looks at the service's folder: a file left there by root would stop the service."""
    journal_study(scope.settings.state, SPEC)
    before = everything_in(tmp_path)
    assert levels(scope) == {"state": "ok", "disk": "ok", "journal": "ok", "leases": "ok"}
    assert everything_in(tmp_path) == before


def test_a_folder_that_is_not_there_yet_is_well_and_not_made(scope: Scope, tmp_path: Path) -> None:
    """So it is before the first daemon."""
    state = tmp_path / "far" / "away"
    found = look(replace(scope, settings=replace(scope.settings, state=state)))
    assert found["state"].level is Level.OK and "journal" not in found
    assert not state.parent.exists()


def test_a_network_folder_fails_with_a_local_one_as_remedy(scope: Scope, tmp_path: Path) -> None:
    """Homes in a laboratory are on NFS."""
    mounts = tmp_path / "mountinfo"
    mounts.write_text(
        f"1 0 8:1 / / rw - ext4 /dev/sda1 rw\n2 1 0:5 / {scope.settings.state} rw - nfs4 server:/home rw\n"
    )
    found = look(at(scope, mountinfo=mounts))
    assert list(found) == ["state"]
    assert found["state"].level is Level.FAIL and "nfs4" in found["state"].text
    assert "cnnbo config set state /var/lib/cnnbo" in str(found["state"].fix)


def test_the_services_folder_is_no_remedy_for_itself(scope: Scope, tmp_path: Path) -> None:
    """Advice that leads back to where one is costs trust in all other advice."""
    mounts = tmp_path / "mountinfo"
    mounts.write_text(f"1 0 8:1 / / rw - ext4 /dev/sda1 rw\n2 1 0:5 / {SERVICE_STATE} rw - nfs4 server:/lib rw\n")
    service = replace(scope, settings=replace(scope.settings, state=SERVICE_STATE))
    assert look(at(service, mountinfo=mounts))["state"].fix == "mount a local disk there"


def test_a_file_in_the_way_and_an_open_folder(scope: Scope, tmp_path: Path) -> None:
    """The journal holds environments, with tokens in them."""
    file = tmp_path / "file"
    file.touch()
    assert look(replace(scope, settings=replace(scope.settings, state=file / "state")))["state"].level is Level.FAIL
    scope.settings.state.chmod(0o755)
    opened = look(scope)["state"]
    assert (opened.level, opened.fix) == (Level.WARN, f"chmod o= {scope.settings.state}")


def test_a_damaged_journal_fails(scope: Scope) -> None:
    """It is told before a daemon finds it at midnight."""
    (scope.settings.state / "journal.sqlite").write_bytes(b"SQLite format 3\0" + bytes(4096))
    found = look(scope)["journal"]
    assert found.level is Level.FAIL and "backup" in str(found.fix)


def test_leases_in_a_folder_of_each_service_are_no_leases(scope: Scope, tmp_path: Path) -> None:
    """Two daemons, each with a /tmp of its own, would put two trials on one device."""
    private = replace(scope.settings, lease_dir=tmp_path / "tmp" / "leases")
    found = look(at(replace(scope, settings=private), temporary=(tmp_path / "tmp",)))["leases"]
    assert found.level is Level.WARN and "PrivateTmp" in found.text
    assert not private.lease_dir.exists()


def test_leases_that_cannot_be_opened_are_named(scope: Scope, tmp_path: Path) -> None:
    """A lease folder in a file's place lets no trial start."""
    (tmp_path / "file").touch()
    found = look(replace(scope, settings=replace(scope.settings, lease_dir=tmp_path / "file")))["leases"]
    assert found.level is Level.FAIL and "cnnbo config set lease_dir" in str(found.fix)


def test_a_small_disk_is_told(scope: Scope, tmp_path: Path) -> None:
    """With less than the reserve no daemon starts."""
    if os.getuid() != 0:
        pytest.skip("only root may mount a small disk")
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m,mode=700", "tmpfs", small], capture_output=True)
    if mounted.returncode:
        pytest.skip(f"no small disk can be mounted here: {mounted.stderr.decode().strip()}")
    on_it = replace(scope, settings=replace(scope.settings, state=small))
    try:
        found = look(on_it)["disk"]
        assert found.level is Level.FAIL and "8 MiB free" in found.text
        subprocess.run(["mount", "-o", "remount,size=80m", small], check=True)
        assert look(on_it)["disk"].level is Level.WARN
        subprocess.run(["mount", "-o", "remount,size=2g", small], check=True)
        assert look(on_it)["disk"].level is Level.OK
    finally:
        subprocess.run(["umount", small], check=True)


def test_processes_that_a_dead_daemon_left_are_named(scope: Scope) -> None:
    """They hold a device that everybody takes for free."""
    begun = (
        TrialsRequested(2.0, 1),
        PointsSuggested(3.0, 0, ((0.5,),), Source.SOBOL),
        TrialStarted(4.0, 1, 1, "GPU-a", TOKEN),
    )
    journal_study(scope.settings.state, SPEC, *begun)
    assert "leftovers" not in look(scope)
    left = subprocess.Popen(
        [sys.executable, "-c", "import sys; print(flush=True); sys.stdin.read()"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={**os.environ, TOKEN_VARIABLE: TOKEN},
    )  # fmt: skip
    with left:
        assert left.stdout is not None and left.stdout.readline()
        found = look(scope)["leftovers"]
        left.communicate()
    assert found.level is Level.WARN and str(left.pid) in found.text and f"kill {left.pid}" in str(found.fix)
