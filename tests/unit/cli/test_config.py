"""`cnnbo config`: people see where a value comes from, and change it without an editor."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from cnnbo.cli.app import app
from cnnbo.daemon.settings import KEYS
from cnnbo.scheduler.errors import ConfigurationError


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A settings file that this environment names."""
    path = tmp_path / "cnnbo.toml"
    path.write_text('poll_s = 5\n[mqtt]\nurl = "mqtt://me:s3cret@ha.local"\n')
    path.chmod(0o600)
    monkeypatch.setenv("CNNBO_CONFIG", str(path))
    monkeypatch.setenv("CNNBO_STATE", str(tmp_path / "state"))
    return path


def config(*arguments: str, typed: str = "") -> Result:
    done = CliRunner().invoke(app, ["config", *arguments], input=typed)
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done


def test_show_says_where_each_value_comes_from(file: Path, tmp_path: Path) -> None:
    """`Why does it not do what I wrote` is answered by one command."""
    rows = {line.split()[0]: line.split()[1:] for line in config("show").stdout.splitlines()[1:]}
    assert list(rows) == list(KEYS)
    assert rows["poll_s"] == ["5", f"{file}:1"]
    assert rows["mqtt.url"] == ["mqtt://me:…@ha.local", f"{file}:3"]
    assert rows["state"] == [str(tmp_path / "state"), "CNNBO_STATE"]
    assert rows["grace_s"] == ["60", "built-in"]


def test_show_is_json_for_scripts_and_holds_no_password(file: Path) -> None:
    """What is pasted into a ticket."""
    text = config("show", "--json").stdout
    shown = json.loads(text)
    assert (shown["file"], shown["exists"]) == (str(file), True)
    rows = {row["key"]: row for row in shown["settings"]}
    assert rows["devices.max"] == {"key": "devices.max", "value": None, "from": "built-in", "reload": True}
    assert (rows["poll_s"]["value"], rows["mqtt.enabled"]["value"]) == (5.0, True)
    assert "s3cret" not in text


def test_show_says_that_a_file_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Often it is the wrong file that was edited."""
    monkeypatch.delenv("CNNBO_CONFIG", raising=False)
    monkeypatch.setattr("os.geteuid", lambda: 1000)  # root's default may be the service's file
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert config("show").stdout.splitlines()[0] == f"{tmp_path}/cnnbo/cnnbo.toml (does not exist)"


def test_set_says_what_was_what_is_and_what_it_takes(file: Path) -> None:
    """Nobody has to guess whether the daemon knows."""
    done = config("set", "poll_s", "1.5").stdout
    assert done.splitlines()[0] == "poll_s: 5 -> 1.5"
    assert f"Written to {file}. No daemon runs by these settings; the next one does.\n" in done
    config("set", "node", "attic")
    assert "-> false" in config("set", "mqtt.enabled", "no").stdout
    assert file.read_text().startswith('poll_s = 1.5\nnode = "attic"\n')
    assert "nothing was changed" in config("set", "node", "attic").stdout


def test_a_variable_that_wins_is_named(file: Path) -> None:
    """Or the new value seems to be ignored."""
    assert "CNNBO_STATE is set here, and wins over the file." in config("set", "state", "/srv/cnnbo").output


def test_a_broker_with_a_user_is_set_up_at_once(file: Path) -> None:
    """The password is typed, not seen, and not part of the settings."""
    done = config("set", "mqtt.url", "mqtt://tower.lan", "--user", "cnnbo", typed="0therS3cret\n")
    kept = file.with_name("mqtt.password")
    assert kept.read_text() == "0therS3cret\n" and kept.stat().st_mode & 0o777 == 0o600
    assert f'url = "mqtt://tower.lan"\nuser = "cnnbo"\npassword_file = "{kept}"\n' in file.read_text()
    assert "ecret" not in done.output
    assert "mqtt.url: mqtt://me:…@ha.local -> mqtt://tower.lan" in done.output
    assert "password: new\n" in done.output
    done = config("unset", "mqtt.url", "mqtt.user", "mqtt.password_file")
    assert file.read_text() == "poll_s = 5\n[mqtt]\n"
    assert f"The password is still in {kept}; where nobody needs it any more: rm {kept}\n" in done.stdout


def test_another_password_alone_is_a_change(file: Path) -> None:
    """It was rotated, and a daemon has to read it."""
    login = ("set", "mqtt.url", "mqtt://127.0.0.1", "--user", "cnnbo")
    config(*login, typed="0therS3cret\n")
    before = file.read_text()
    done = config(*login, typed="f0urth\n").stdout
    assert done.splitlines()[:2] == ["password: replaced", "No daemon runs by these settings; the next one does."]
    assert file.read_text() == before
    assert "nothing was changed" in config(*login, typed="f0urth\n").stdout


def test_no_password_is_taken_in_a_url(file: Path) -> None:
    """It would stand in the shell's history."""
    before = file.read_text()
    with pytest.raises(ConfigurationError) as refused:
        config("set", "mqtt.url", "mqtt://bob:an0ther@tower.lan:1884")
    assert "cnnbo config set mqtt.url mqtt://tower.lan:1884 --user bob" in str(refused.value)
    assert "an0ther" not in str(refused.value)
    assert file.read_text() == before


def test_a_login_in_clear_is_warned_of(file: Path) -> None:
    """Everybody on the way to another machine reads it."""
    for url, is_clear in (("mqtt://tower.lan", True), ("mqtt://127.0.0.1", False), ("mqtts://tower.lan", False)):
        done = config("set", "mqtt.url", url, "--user", "cnnbo", typed="0therS3cret\n")
        assert ("in clear" in done.stderr) == is_clear, url
    config("unset", "mqtt.url", "mqtt.user", "mqtt.password_file")
    assert "in clear" not in config("set", "mqtt.url", "mqtt://tower.lan").stderr


def test_another_node_says_where_the_studies_stay(file: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The next daemon would seem to have forgotten them."""
    assert "Studies stay" not in config("set", "node", "cellar").output  # CNNBO_STATE is set
    monkeypatch.delenv("CNNBO_STATE")
    monkeypatch.setattr("cnnbo.daemon.folders._knock", lambda path: FileNotFoundError())  # no service on this box
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    old = tmp_path / "cnnbo" / "cellar"
    assert f"Studies stay in {old}; to keep them: cnnbo config set state {old}" in config("set", "node", "attic").stderr
    config("set", "state", str(old))
    assert "Studies stay" not in config("set", "node", "roof").output


def test_without_a_password_nothing_is_changed(file: Path) -> None:
    """Half of a login is none."""
    before = file.read_text()
    with pytest.raises(ConfigurationError, match="no password on stdin"):
        config("set", "mqtt.url", "mqtt://tower.lan", "--user", "cnnbo")
    with pytest.raises(ConfigurationError, match="must look like"):
        config("set", "mqtt.url", "tower", "--user", "cnnbo", typed="x\n")
    assert file.read_text() == before and not file.with_name("mqtt.password").exists()
    assert config("set", "mqtt.port", "1", "--user", "cnnbo").exit_code == 2


def test_the_services_settings_are_those_of_etc(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Whose variables are set in the shell of root is no business of the service."""
    monkeypatch.setattr("cnnbo.daemon.settings.load.SERVICE_CONFIG", tmp_path / "etc.toml")
    monkeypatch.setenv("CNNBO_NODE", "elsewhere")
    lines = config("show", "--service").stdout.splitlines()
    assert lines[0].startswith(str(tmp_path / "etc.toml"))
    assert "/var/lib/cnnbo" in lines[1] and "elsewhere" not in lines[2]


def test_root_means_the_service_where_there_is_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """`sudo cnnbo config set` is typed for the service, not for root's own trainings."""
    path = tmp_path / "etc.toml"
    monkeypatch.delenv("CNNBO_CONFIG", raising=False)
    for module in ("settings", "settings.load", "settings.edit"):
        monkeypatch.setattr(f"cnnbo.daemon.{module}.SERVICE_CONFIG", path)
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert config("show").stdout.startswith(f"{tmp_path}/cnnbo/cnnbo.toml")
    path.write_text("")
    done = config("set", "poll_s", "3")
    assert f"root's default is the service: {path}" in done.output
    assert done.output.count("root's default") == 1
    assert path.read_text() == "poll_s = 3\n"
