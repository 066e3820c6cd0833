"""Brokers as a daemon would meet them."""

import asyncio
import socket
import subprocess
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.mosquitto import Mosquitto
from tests.secured import SecuredBroker

from cnnbo.cli.doctor.broker import check_broker
from cnnbo.cli.doctor.finding import Finding, Level
from cnnbo.cli.doctor.scope import Scope
from cnnbo.daemon.settings import MqttSettings


async def look(scope: Scope, **mqtt: Any) -> list[Finding]:
    """The findings with these settings, from a thread as in the command."""
    settings = replace(scope.settings, mqtt=MqttSettings(**mqtt))
    return await asyncio.to_thread(lambda: list(check_broker(replace(scope, settings=settings))))


def open_to_all(folder: Path) -> str:
    return "allow_anonymous true"


def with_passwords(folder: Path) -> str:
    passwords = folder / "passwords"
    subprocess.run(["mosquitto_passwd", "-b", "-c", passwords, "tower", "secret"], check=True, capture_output=True)
    return f"allow_anonymous false\npassword_file {passwords}"


@pytest.fixture(params=[open_to_all])
async def mosquitto(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Mosquitto]:
    configure: Callable[[Path], str] = request.param
    broker = Mosquitto(tmp_path, configure(tmp_path))
    await broker.start()
    yield broker
    await broker.stop()


@pytest.mark.mosquitto
async def test_a_broker_that_lets_strangers_in(scope: Scope, mosquitto: Mosquitto) -> None:
    """mosquitto does, if nobody tells it not to."""
    reached, strangers = await look(scope, url=mosquitto.url)
    assert (reached.level, strangers.level) == (Level.OK, Level.WARN)
    assert strangers.text.startswith(f"broker 127.0.0.1:{mosquitto.port} accepts strangers")
    assert strangers.fix == "cnnbo broker configure DIR, or give mosquitto a password file"
    _, strangers = await look(scope, url=mosquitto.url, requests=True)
    assert "pause" in strangers.text


@pytest.mark.mosquitto
@pytest.mark.parametrize("mosquitto", [with_passwords], indirect=True)
async def test_a_broker_with_users(scope: Scope, mosquitto: Mosquitto, tmp_path: Path) -> None:
    """The daemon's login is tried; a wrong password is told before a night without news, and never shown."""
    secret = tmp_path / "mqtt.password"
    secret.write_text("secret\n")
    secret.chmod(0o600)
    settings = {"url": mosquitto.url, "user": "tower", "password_file": secret}
    [found] = await look(scope, **settings)
    assert found.level is Level.OK and "as tower" in found.text
    secret.write_text("wr0ng\n")
    [found] = await look(scope, **settings)
    assert (
        found.level is Level.FAIL and "Not authorized" in found.text and "cnnbo config set mqtt.url" in str(found.fix)
    )
    assert "wr0ng" not in str(found)
    secret.chmod(0o644)
    [found] = await look(scope, **settings)
    assert found.level is Level.FAIL and "chmod 600" in str(found.fix)


@pytest.mark.mosquitto
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # paho leaves a refused TLS socket open
async def test_a_broker_with_tls(scope: Scope) -> None:
    """As `cnnbo broker configure` sets it up; the CA that nobody named is the usual mistake."""
    broker = SecuredBroker()
    try:
        broker.start()
        settings = {
            "url": f"mqtts://localhost:{broker.port}",
            "user": "tower",
            "password_file": broker.folder / "passwords" / "tower",
        }
        [found] = await look(scope, **settings, ca=broker.folder / "ca.crt")
        assert found.level is Level.OK and "TLS checked" in found.text
        [found] = await look(scope, **settings)
        assert (
            found.level is Level.FAIL and "signed by nobody trusted here" in found.text and "mqtt.ca" in str(found.fix)
        )
    finally:
        broker.close()


async def test_a_broker_that_is_away(scope: Scope) -> None:
    """Training goes on, but nobody hears of it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))  # nobody listens there
        [found] = await look(scope, url=f"mqtt://127.0.0.1:{probe.getsockname()[1]}")
    assert found.level is Level.FAIL and "Connection refused" in found.text and "start it" in str(found.fix)


async def test_the_embedded_broker_is_started_for_a_moment(scope: Scope) -> None:
    """At a port of its own: whoever listens at the wanted one was not asked."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        port = int(other.getsockname()[1])
        [taken] = await look(scope, port=port)
    assert taken.level is Level.WARN and f"port {port} is in use" in taken.text
    [free] = await look(scope, port=port)
    assert free.level is Level.OK and f"127.0.0.1:{port}" in free.text
    [none] = await look(scope, enabled=False)
    assert none.level is Level.OK
    assert list(scope.settings.state.iterdir()) == []
