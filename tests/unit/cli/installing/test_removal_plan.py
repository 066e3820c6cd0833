"""What an uninstall takes away, over real files, with no systemd."""

import os
import pwd
from dataclasses import replace
from pathlib import Path

import pytest
from tests.unit.cli.installing.test_install_plan import FACTS, plan, write

from cnnbo.cli.installing.place import Place, system_place
from cnnbo.cli.installing.removal import RemovalPlan, plan_removal, size
from cnnbo.cli.installing.systemctl import Systemctl
from cnnbo.cli.installing.uninstall import remove
from cnnbo.daemon.lease import Lease
from cnnbo.scheduler.errors import ConfigurationError

# A manager that isn't there, so that no command of this machine's is run.
SYSTEMCTL = Systemctl(is_user=True, environ={})


@pytest.fixture
def place(tmp_path: Path) -> Place:
    (tmp_path / "run/lock").mkdir(parents=True)
    (tmp_path / "run/lock").chmod(0o1777)
    place = system_place(tmp_path)
    write(plan(place))
    place.default_state.mkdir(parents=True)
    (place.default_state / "journal.sqlite").write_bytes(bytes(1_500_000))
    return place


def removal(place: Place, purge: bool = False) -> RemovalPlan:
    return plan_removal(place, SYSTEMCTL, is_active=False, purge=purge)


def left(place: Place) -> list[str]:
    return sorted(str(path.relative_to(place.root)) for path in place.root.rglob("*") if not path.is_dir())


def test_unit_and_settings_go_and_results_stay(place: Place) -> None:
    """What was measured is worth more than what measured it."""
    said: list[str] = []
    remove(removal(place), SYSTEMCTL, said.append)
    assert left(place) == ["var/lib/cnnbo/journal.sqlite"]
    assert not place.config.parent.exists()
    assert f"kept     {place.default_state}, 1.5 MB" in said


def test_a_purge_takes_results_too(place: Place) -> None:
    """And an administrator's own settings, after the question."""
    place.config.write_text("poll_s = 3\n")
    (place.drop_ins).mkdir()
    (place.drop_ins / "data.conf").write_text("[Service]\n")
    remove(removal(place, purge=True), SYSTEMCTL, lambda _: None)
    assert left(place) == [] and not place.default_state.exists()
    assert removal(place, purge=True).is_done


def test_settings_that_somebody_changed_stay(place: Place) -> None:
    """They are somebody's work."""
    place.config.write_text("poll_s = 3\n")
    assert place.config not in removal(place).files
    assert any(str(place.config) in sentence for sentence in removal(place).kept)


def test_files_of_others_in_the_folder_stay_and_are_named(place: Place) -> None:
    """A broker's certificate wasn't written by cnnbo; who wants the box as it was has to know of it."""
    certificate = place.config.with_name("ca.crt")
    certificate.write_text("text\n")
    said: list[str] = []
    remove(removal(place, purge=True), SYSTEMCTL, said.append)
    assert left(place) == ["etc/cnnbo/ca.crt"]
    assert f"kept     {certificate}, which no install wrote" in said


def test_a_purge_takes_the_password_and_what_installs_kept_beside(place: Place) -> None:
    """`config set` and earlier installs wrote them; without a purge they stay, and are named."""
    place.mosquitto_drop_in.parent.mkdir()
    written = [place.password, *(path.with_name(f"{path.name}.save") for path in (place.unit, place.mosquitto_drop_in))]
    for path in written:
        path.write_text("text\n")
    kept = removal(place).kept
    assert all(any(sentence.startswith(f"{path}, ") for sentence in kept) for path in written)
    remove(removal(place, purge=True), SYSTEMCTL, lambda _: None)
    assert left(place) == []


def test_no_link_is_followed(place: Place, tmp_path: Path) -> None:
    """Whoever moved the state folder to a large disk keeps the disk; and so does whom a trial's link points at."""
    precious = place.root / "srv/precious"
    precious.mkdir(parents=True)
    (precious / "file").write_text("text")
    (place.default_state / "out").symlink_to(precious)
    remove(removal(place, purge=True), SYSTEMCTL, lambda _: None)
    assert left(place) == ["srv/precious/file"]
    place.default_state.symlink_to(precious)
    said: list[str] = []
    remove(removal(place, purge=True), SYSTEMCTL, said.append)
    assert left(place) == ["srv/precious/file"] and not os.path.lexists(place.default_state)
    assert any("what it led to stays" in line for line in said)


def test_a_state_folder_that_the_settings_name_stays(place: Place) -> None:
    """Other things may lie in it."""
    chosen = place.root / "data"
    chosen.mkdir()
    (chosen / "journal.sqlite").write_text("")
    place.config.write_text(f'state = "{chosen}"\n')
    planned = removal(place, purge=True)
    assert chosen not in planned.folders
    assert any("remove it yourself" in sentence for sentence in planned.kept)


def test_leases_go_unless_they_are_held(place: Place) -> None:
    """A lease that is removed while somebody holds it would let two trials on one device."""
    free, held = place.at("/run/lock/cnnbo-cpu-0"), place.at("/run/lock/cnnbo-cpu-1")
    lease = Lease.acquire(held)
    assert lease is not None
    free.touch()
    mine = replace(place, account=pwd.getpwuid(os.getuid()).pw_name)
    with lease:
        planned = removal(mine, purge=True)
    assert free in planned.files and held not in planned.files


def test_what_is_there_by_halves_goes(place: Place) -> None:
    """An install that was interrupted before its unit, or a unit that somebody removed."""
    place.unit.unlink()
    place.wanted.parent.mkdir(parents=True)
    place.wanted.symlink_to(place.unit)
    remove(removal(place, purge=True), SYSTEMCTL, lambda _: None)
    assert left(place) == []
    write(plan(place, FACTS))
    place.manifest.unlink()
    remove(removal(place), SYSTEMCTL, lambda _: None)
    assert left(place) == []


def test_a_damaged_manifest_is_told(place: Place) -> None:
    """Guessing what was made would remove what wasn't."""
    place.manifest.write_text("{")
    with pytest.raises(ConfigurationError, match="move it away"):
        removal(place)


def test_a_folder_that_is_missing_has_no_size(tmp_path: Path) -> None:
    """Nothing is not zero bytes."""
    assert size(tmp_path / "none") is None and size(tmp_path) == 0
