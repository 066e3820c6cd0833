"""Settings that name a broker with users and TLS."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from cnnbo.daemon.settings import MqttSettings, load_settings
from cnnbo.scheduler.errors import ConfigurationError


def load(folder: Path, text: str, mode: int = 0o600, environ: Mapping[str, str] | None = None) -> MqttSettings:
    path = folder / "cnnbo.toml"
    path.write_text(text)
    path.chmod(mode)
    ours = {"HOME": str(folder), "CNNBO_CONFIG": str(path), "CNNBO_STATE": str(folder)}
    return load_settings({**ours, **(environ or {})}).mqtt


def test_user_password_file_and_ca_are_taken(tmp_path: Path) -> None:
    """From the file and from the environment alike."""
    text = '[mqtt]\nurl = "mqtts://h"\nuser = "tower"\npassword_file = "/etc/p"\nca = "/etc/ca.crt"\n'
    variables = {
        "CNNBO_MQTT_URL": "mqtts://h",
        "CNNBO_MQTT_USER": "tower",
        "CNNBO_MQTT_PASSWORD_FILE": "/etc/p",
        "CNNBO_MQTT_CA": "/etc/ca.crt",
    }
    mqtt = load(tmp_path, text)
    assert mqtt == load(tmp_path, "", environ=variables)
    assert (mqtt.user, mqtt.password_file, mqtt.ca) == ("tower", Path("/etc/p"), Path("/etc/ca.crt"))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('url = "mqtts://h"\nuser = ""', 'cnnbo.toml:3  mqtt.user: must be the name of a user of the broker, not "".'),
        ('url = "mqtts://h"\npassword_file = "p"', "mqtt.password_file: must be the whole path of a file"),
        ('url = "mqtts://h"\nca = true', "mqtt.ca: must be the whole path of a file"),
        ('url = "mqtt://h"\nca = "/etc/ca.crt"', "mqtt.ca: is for a broker with TLS; write mqtt.url as mqtts://"),
        ('url = "mqtts://h"\npassword_file = "/etc/p"', "mqtt.password_file: whose password is it? Set mqtt.user too"),
        ('user = "tower"', "mqtt.user: the embedded broker knows no users; set mqtt.url too"),
    ],
)
def test_what_makes_no_sense_is_refused(tmp_path: Path, text: str, sentence: str) -> None:
    """A CA that is never looked at, or a password that is never said, is what somebody relied on."""
    with pytest.raises(ConfigurationError) as caught:
        load(tmp_path, f"[mqtt]\n{text}\n")
    assert sentence in str(caught.value)


@pytest.mark.parametrize(
    ("url", "mode", "is_warned"),
    [("mqtt://me:secret@h", 0o644, True), ("mqtt://me:secret@h", 0o600, False), ("mqtt://me@h", 0o644, False)],
)
def test_a_password_that_others_can_read_is_warned_about(
    tmp_path: Path, url: str, mode: int, is_warned: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """No refusal: that would stop every study for the broker's sake."""
    load(tmp_path, f'mqtt.url = "{url}"', mode)
    assert ("chmod 600" in caplog.text) is is_warned
    assert "secret" not in caplog.text
