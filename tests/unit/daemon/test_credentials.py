"""Where users, passwords and CAs of brokers come from."""

import logging
import stat
from pathlib import Path

import pytest

from cnnbo.daemon.certificates import make_authority
from cnnbo.daemon.credentials import (
    broker_address,
    broker_addresses,
    broker_of_box,
    credentials_file,
    daemon_address,
    store,
)
from cnnbo.daemon.mqtt import BrokerAddress
from cnnbo.daemon.settings import MqttSettings
from cnnbo.scheduler.errors import ConfigurationError

URL = "mqtts://tower.lan"


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    return {"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path / "config")}


@pytest.fixture
def authority(tmp_path: Path) -> Path:
    path = tmp_path / "ca.crt"
    path.write_bytes(make_authority("test").certificate)
    return path


def written(environ: dict[str, str], text: str, mode: int = 0o600) -> Path:
    path = credentials_file(environ)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)
    return path


def test_what_is_stored_completes_a_url(environ: dict[str, str], authority: Path) -> None:
    """After one login the bare URL is enough, and `ps` shows nothing else."""
    address = BrokerAddress("tower.lan", 8883, True, "viewer", "secret", authority)
    path = store(address, environ)
    assert broker_address(URL, environ) == address
    assert path == Path(environ["XDG_CONFIG_HOME"]) / "cnnbo" / "brokers.toml"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_on_its_own_box_the_login_of_the_daemon_will_do(environ: dict[str, str], tmp_path: Path) -> None:
    """Whoever has set it up is asked for nothing again; it goes to the broker of the settings alone."""
    settings, password, state = tmp_path / "cnnbo.toml", tmp_path / "password", tmp_path / "state"
    settings.write_text(f'[mqtt]\nurl = "mqtt://127.0.0.1"\nuser = "tower"\npassword_file = "{password}"\n')
    password.write_text("s3cret")
    password.chmod(0o600)
    environ["CNNBO_CONFIG"] = str(settings)
    tower = BrokerAddress("127.0.0.1", 1883, False, "tower", "s3cret")
    assert broker_of_box("mqtt://127.0.0.1:1883", environ, state) == tower
    assert broker_of_box("mqtt://127.0.0.1:1884", environ, state) == BrokerAddress("127.0.0.1", 1884)
    password.chmod(0o644)
    assert broker_of_box("mqtt://127.0.0.1:1883", environ, state) == BrokerAddress("127.0.0.1", 1883)
    store(BrokerAddress("127.0.0.1", 1883, False, "viewer", "secret"), environ)
    assert broker_of_box("mqtt://127.0.0.1:1883", environ, state).user == "viewer"


def test_brokers_are_told_apart_by_host_and_port(environ: dict[str, str]) -> None:
    """A password goes to the broker it belongs to, and to no other."""
    store(BrokerAddress("tower.lan", 8883, True, "viewer", "secret"), environ)
    store(BrokerAddress("::1", 8883, True, "guest", "else"), environ)
    assert broker_address("mqtts://tower.lan:8884", environ) == BrokerAddress("tower.lan", 8884, True)
    assert broker_address("mqtts://other.lan", environ).password is None
    assert broker_address("mqtts://[::1]", environ).password == "else"


def test_what_is_kept_for_tls_is_for_nothing_else(environ: dict[str, str]) -> None:
    """One letter less in a URL, and the password would go over the network in clear."""
    store(BrokerAddress("tower.lan", 8883, True, "viewer", "secret"), environ)
    assert broker_address("mqtt://tower.lan:8883", environ) == BrokerAddress("tower.lan", 8883)
    assert broker_address("mqtt://viewer@tower.lan:8883", environ).password is None
    store(BrokerAddress("tower.lan", 8883, False, "guest", "public"), environ)
    assert broker_address("mqtt://tower.lan:8883", environ).password == "public"
    assert broker_address(URL, environ).password == "secret"


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "[::1]", "evil.lan", "10.0.0.7"])
def test_the_variable_goes_to_other_machines_with_tls_only(environ: dict[str, str], host: str) -> None:
    """It is set once for a whole shell or container, and a URL without TLS is typed quickly."""
    environ["CNNBO_BROKER_PASSWORD"] = "secret"
    assert broker_address(f"mqtts://me@{host}", environ).password == "secret"
    assert broker_address(f"mqtt://{host}", environ).password is None  # nobody says who that would be
    if host in ("evil.lan", "10.0.0.7"):
        sentence = (
            rf"mqtt://{host}:1883: without TLS CNNBO_BROKER_PASSWORD is sent to this machine only .*; write mqtts"
        )
        with pytest.raises(ConfigurationError, match=sentence):
            broker_address(f"mqtt://me@{host}", environ)
    else:
        assert broker_address(f"mqtt://me@{host}", environ).password == "secret"


def test_of_several_brokers_none_is_given_the_variable(environ: dict[str, str]) -> None:
    """It is the password of one of them, and the others would learn it."""
    environ["CNNBO_BROKER_PASSWORD"] = "secret"
    store(BrokerAddress("b.lan", 8883, True, "me", "stored"), environ)
    several = broker_addresses(["mqtts://me@a.lan", "mqtts://b.lan"], environ)
    assert [address.password for address in several] == [None, "stored"]
    assert [address.password for address in broker_addresses(["mqtts://me@a.lan"], environ)] == ["secret"]


def test_another_user_does_not_get_the_stored_password(environ: dict[str, str], authority: Path) -> None:
    """It would be the wrong one; whom to trust is the same for all."""
    store(BrokerAddress("tower.lan", 8883, True, "viewer", "secret", authority), environ)
    address = broker_address("mqtts://operator@tower.lan", environ)
    assert address == BrokerAddress("tower.lan", 8883, True, "operator", None, authority)


def test_the_environment_goes_before_the_file_and_the_url_before_both(
    environ: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    """The order of all settings; containers have variables and no files. The URL's password is warned about."""
    store(BrokerAddress("tower.lan", 8883, True, "viewer", "stored"), environ)
    environ["CNNBO_BROKER_PASSWORD"] = "variable"
    assert broker_address(URL, environ).password == "variable"
    assert broker_address("mqtts://other.lan", environ).password is None  # nobody says who that would be
    assert not caplog.records
    caplog.set_level(logging.DEBUG)
    assert broker_address("mqtts://me:typed@tower.lan", environ).password == "typed"
    (record,) = caplog.records
    assert "cnnbo broker login mqtts://tower.lan:8883" in record.getMessage()
    assert "typed" not in caplog.text


def test_a_file_that_others_can_read_is_refused(environ: dict[str, str]) -> None:
    """A warning is read by nobody; and a login must not add to such a file."""
    path = written(environ, '["mqtts://tower.lan:8883"]\nuser = "me"\npassword = "secret"\n', 0o640)
    sentence = rf"others can read it \(mode 0640\); type: chmod 600 {path}"
    with pytest.raises(ConfigurationError, match=sentence):
        broker_address(URL, environ)
    with pytest.raises(ConfigurationError, match=sentence):
        store(BrokerAddress("tower.lan", 8883), environ)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('"mqtts://tower.lan:8883" = "secret"', ':1  "mqtts://tower.lan:8883": must be a table'),
        (
            '["mqtts://tower.lan:8883"]\npasword = "secret"',
            ':2  "pasword" is no key of a broker; did you mean "password"?',
        ),
        ('["mqtts://tower.lan:8883"]\nuser = "me"\npassword = 5', ":3  password: must be a text"),
        ('["mqtts://tower.lan:8883"]\npassword = secret', ":2  no valid TOML"),
        ('["mqtts://tower.lan:8883"]\nca = "/nowhere/ca.crt"', "/nowhere/ca.crt is no file of a CA"),
    ],
)
def test_a_mistake_in_the_file_is_told_without_the_password(environ: dict[str, str], text: str, sentence: str) -> None:
    """People edit the file; what is wrong stands in their terminal's history."""
    written(environ, text)
    with pytest.raises(ConfigurationError) as caught:
        broker_address(URL, environ)
    assert sentence in str(caught.value)


def test_storing_keeps_comments_and_other_brokers(environ: dict[str, str]) -> None:
    """The file is people's as much as ours; a dotfiles folder may hold it, linked."""
    kept = '# the lab\n["mqtts://lab:8883"]\nuser = "me" # not root\npassword = "theirs"\n'
    real = written(environ, kept)
    elsewhere = real.with_name("elsewhere.toml")
    real.rename(elsewhere)
    real.symlink_to(elsewhere)
    for password in ("first", "second"):
        store(BrokerAddress("tower.lan", 8883, True, "viewer", password), environ)
    assert real.is_symlink()
    assert elsewhere.read_text().startswith(kept)
    assert broker_address(URL, environ).password == "second"
    assert "first" not in elsewhere.read_text()


def test_without_a_home_nothing_is_stored_and_nothing_is_missed() -> None:
    """Containers run users without a home."""
    environ = {"HOME": "nowhere", "CNNBO_BROKER_PASSWORD": "secret"}
    assert broker_address("mqtts://me@tower.lan", environ).password == "secret"
    with pytest.raises(ConfigurationError, match="XDG_CONFIG_HOME"):
        store(BrokerAddress("tower.lan", 8883), environ)


def test_a_daemon_takes_user_password_and_ca_from_its_settings(tmp_path: Path, authority: Path) -> None:
    """What the settings say of their own goes before what the URL holds."""
    file = tmp_path / "password"
    file.write_text("secret\n")
    file.chmod(0o600)
    settings = MqttSettings("mqtts://me:old@tower.lan", user="tower", password_file=file, ca=authority)
    assert daemon_address(settings) == BrokerAddress("tower.lan", 8883, True, "tower", "secret", authority)
    assert daemon_address(MqttSettings("mqtt://me:old@tower.lan")) == BrokerAddress(
        "tower.lan", 1883, False, "me", "old"
    )
    assert daemon_address(MqttSettings()) is None
    assert "old" not in repr(settings)
    file.chmod(0o644)
    with pytest.raises(ConfigurationError, match="chmod 600"):
        daemon_address(settings)
