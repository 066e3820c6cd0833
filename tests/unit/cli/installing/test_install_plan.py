"""What an install would do to a box, worked out over real files, with no systemd and no rights."""

import hashlib
import os
import stat
import tomllib
from pathlib import Path

import pytest

from cnnbo.cli.installing.diff import diff
from cnnbo.cli.installing.install import carry_out
from cnnbo.cli.installing.place import Place, system_place, user_place
from cnnbo.cli.installing.plan import Facts, InstallPlan, plan_install
from cnnbo.cli.installing.systemctl import Systemctl
from cnnbo.cli.installing.templates import mosquitto_drop_in
from cnnbo.daemon.settings import KEYS, load_settings
from cnnbo.scheduler.errors import ConfigurationError

SYSTEMCTL = Systemctl(is_user=False, environ={})
FACTS = Facts(Path("/opt/cnnbo/bin/python"), accounts=("user", "group"), device_groups=("video",), is_enabled=True)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """A box whose /run/lock is open to all users, as Debian's is."""
    (tmp_path / "run/lock").mkdir(parents=True)
    (tmp_path / "run/lock").chmod(0o1777)
    return system_place(tmp_path)


def plan(place: Place, facts: Facts = FACTS) -> InstallPlan:
    return plan_install(place, facts, SYSTEMCTL)


def write(plan: InstallPlan) -> list[str]:
    """Make the files what was planned, without the commands; what was said."""
    said: list[str] = []
    files_only = InstallPlan(plan.place, plan.manifest, (), plan.files, plan.saved, (), plan.notes)
    carry_out(files_only, SYSTEMCTL, said.append)
    return said


def test_a_bare_box_gets_unit_settings_group_and_user(place: Place) -> None:
    """The whole of it stands in the plan, before anything is changed."""
    planned = plan(place, Facts(Path("/opt/cnnbo/bin/python")))
    assert {file.path for file in planned.changed} == {place.unit, place.config}
    assert [command[0] for command in planned.before] == ["groupadd", "useradd"]
    assert [command[1] for command in planned.after] == ["daemon-reload", "enable"]
    assert not place.unit.exists() and not place.manifest.exists()


def test_a_dry_run_shows_every_line_that_would_change(place: Place) -> None:
    """Nobody lets a program loose on /etc unseen."""
    write(plan(place))
    changed = plan(place, Facts(Path("/opt/other/bin/python"), ("user", "group"), ("video",), True))
    [file] = changed.changed
    lines = diff(file)
    assert lines[:2] == [f"--- {place.unit}", f"+++ {place.unit}"]
    assert [line for line in lines[2:] if line.startswith(("+", "-"))] == [
        "-ExecStart=/opt/cnnbo/bin/python -P -m cnnbo daemon",
        "+ExecStart=/opt/other/bin/python -P -m cnnbo daemon",
    ]
    assert diff(plan(place).manifest) == []


def test_the_service_gets_a_password_that_is_older_than_its_group(place: Place) -> None:
    """`config set mqtt.url` before the install leaves one to root alone, and the daemon would fail by it."""
    write(plan(place))
    place.password.write_text("secret\n")
    place.password.chmod(0o600)
    assert plan(place).after == (
        ("chown", "root:cnnbo", str(place.password)),
        ("chmod", "0640", str(place.password)),
    )


def test_a_second_install_has_nothing_to_do(place: Place) -> None:
    """It is run every night by a tool that reports changes."""
    write(plan(place))
    assert plan(place).is_done
    assert write(plan(place)) == []
    assert stat.S_IMODE(place.config.stat().st_mode) == 0o644


def test_the_service_gets_at_its_settings_whatever_roots_umask_is(place: Place) -> None:
    """Many administrators have 077, and a service that can't read its settings doesn't start."""
    before = os.umask(0o077)
    try:
        write(plan(place))
    finally:
        os.umask(before)
    modes = [stat.S_IMODE(path.stat().st_mode) for path in (place.config.parent, place.config, place.unit)]
    assert modes == [0o755, 0o644, 0o644]


def test_settings_that_somebody_changed_are_kept(place: Place) -> None:
    """An upgrade must not undo what an administrator decided."""
    write(plan(place))
    place.config.write_text("poll_s = 3\n")
    planned = plan(place)
    assert place.config not in {file.path for file in planned.files}
    assert any(str(place.config) in note for note in planned.notes)


def test_settings_that_nobody_changed_follow_the_version(place: Place) -> None:
    """Otherwise the comments of the first version would stay for ever."""
    write(plan(place))
    manifest = place.manifest.read_text()
    of_old = b"# of an older version\n"
    place.config.write_bytes(of_old)
    digest = hashlib.sha256(of_old).hexdigest()
    place.manifest.write_text(manifest.replace('"written": [', f'"written": ["{digest}",'))
    assert [file.change for file in plan(place).files if file.path == place.config] == ["changed"]


def test_a_unit_that_somebody_changed_is_saved_beside(place: Place) -> None:
    """It belongs to an install, but whoever changed it had a reason."""
    write(plan(place))
    ours = place.unit.read_text()
    place.unit.write_text(ours + "# mine\n")
    said = write(plan(place))
    assert place.unit.read_text() == ours
    assert place.unit.with_name("cnnbo.service.save").read_text() == ours + "# mine\n"
    assert any("kept as" in line for line in said)


def test_a_user_that_was_there_is_nobodys_work(place: Place) -> None:
    """An uninstall removes what was made, and a second install must not claim the rest."""
    write(plan(place, Facts(FACTS.python)))
    assert '"user"' in place.manifest.read_text()
    place.manifest.unlink()
    write(plan(place))
    assert '"user"' not in place.manifest.read_text()


def test_a_new_settings_file_names_every_key_and_sets_none(place: Place) -> None:
    """It is the first page that an administrator reads; with a # taken away each line must be right."""
    write(plan(place))
    text = place.config.read_text()
    assert set(_keys(tomllib.loads(text))) == set()
    lines = [line.removeprefix("# ") if " = " in line else line for line in text.splitlines()]
    everything = "\n".join(line for line in lines if not line.startswith("#"))
    assert set(_keys(tomllib.loads(everything))) == set(KEYS)
    place.config.write_text(everything)
    assert load_settings({"CNNBO_CONFIG": str(place.config)}).mqtt.user == "tower"


def _keys(document: dict[str, object]) -> list[str]:
    flat = []
    for key, value in document.items():
        flat += [f"{key}.{inner}" for inner in value] if isinstance(value, dict) else [key]
    return flat


def test_leases_get_a_folder_of_their_own_where_run_lock_is_closed(place: Place) -> None:
    """On Fedora only root may write there, and every user's trials need the leases."""
    place.at("/run/lock").chmod(0o755)
    planned = plan(place)
    texts = {file.path: file.content.decode() for file in planned.files}
    assert "\nd /run/lock/cnnbo 1777 root root -\n" in texts[place.tmpfiles]
    assert tomllib.loads(texts[place.config])["lease_dir"] == "/run/lock/cnnbo"
    assert ("systemd-tmpfiles", "--create", str(place.tmpfiles)) in planned.after
    assert any("lease_dir" in note for note in planned.notes)


def test_a_users_service_has_a_state_folder_of_its_own(tmp_path: Path) -> None:
    """A member of the box's group would mean the service of the box otherwise; and it lingers."""
    (tmp_path / "run/lock").mkdir(parents=True)
    (tmp_path / "run/lock").chmod(0o1777)
    place = user_place({"HOME": str(tmp_path / "home")}, tmp_path)
    planned = plan_install(place, Facts(FACTS.python), Systemctl(is_user=True, environ={}))
    texts = {file.path: file.content.decode() for file in planned.files}
    state = Path(tomllib.loads(texts[tmp_path / "home/.config/cnnbo/cnnbo.toml"])["state"])
    assert state.parent == tmp_path / "home/.local/state/cnnbo"
    assert "User=" not in texts[tmp_path / "home/.config/systemd/user/cnnbo.service"]
    assert [command[:2] for command in planned.before] == [("loginctl", "enable-linger")]
    assert ("systemctl", "--user", "enable", "cnnbo.service") in planned.after


def test_mosquitto_gets_its_drop_in_where_it_reads_our_files(place: Place) -> None:
    """Debian's unit of mosquitto may not read what `cnnbo broker configure` wrote, or it starts too late."""
    assert place.mosquitto_drop_in not in {file.path for file in plan(place).files}
    place.at("/etc/mosquitto/cnnbo").mkdir(parents=True)
    [drop_in] = [file for file in plan(place).files if file.path == place.mosquitto_drop_in]
    assert drop_in.content == mosquitto_drop_in().encode()


def test_what_cannot_be_written_is_a_sentence(place: Place) -> None:
    """A read-only /etc is met on appliances."""
    place.config.parent.parent.mkdir(parents=True)
    place.config.parent.write_text("a file where the folder should be")
    with pytest.raises(ConfigurationError, match=r"cnnbo"):
        write(plan(place))
    assert [path.name for path in place.at("/etc").iterdir()] == ["cnnbo"]
