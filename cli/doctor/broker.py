"""The broker: whether it is there, lets us in, and whom else."""

import asyncio
import contextlib
import secrets
import socket
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

from cnnbo.cli.doctor.daemon import ask_in_time
from cnnbo.cli.doctor.finding import Finding, fail, from_error, ok, warn
from cnnbo.cli.doctor.scope import Scope
from cnnbo.daemon.broker import EmbeddedBroker
from cnnbo.daemon.credentials import daemon_address, is_this_machine
from cnnbo.daemon.mqtt import BrokerAddress, Failure, connected, reason_of, subscribe
from cnnbo.daemon.settings import MqttSettings
from cnnbo.scheduler.errors import CnnboError, ConfigurationError

_ANSWER_S: Final = 5.0


def check_broker(scope: Scope) -> Iterator[Finding]:
    """The broker of the settings, or the one that comes with cnnbo."""
    mqtt = scope.settings.mqtt
    if not mqtt.enabled:
        yield ok("broker", "mqtt.enabled = false: no news are published")
        return
    try:
        address = daemon_address(mqtt)
    except ConfigurationError as error:
        yield from from_error("broker", error)
        return
    if address is None:
        yield from _embedded(scope)
    else:
        yield from asyncio.run(_foreign(address, mqtt))


# ---- the one that comes with cnnbo ----


def _embedded(scope: Scope) -> Iterator[Finding]:
    if url := _url_of_daemon(scope):
        yield ok("broker", f"the embedded broker of the running daemon, {url}; only this box reaches it")
        return
    if reason := asyncio.run(_start_embedded()):
        yield warn("broker", reason, "studies run without news; for these set mqtt.url to a broker of yours")
        return
    port = scope.settings.mqtt.port
    if _is_taken(port):
        text = f"port {port} is in use, so the embedded broker would listen at a free one, which `cnnbo status` tells"
        yield warn(
            "broker", text, f"cnnbo config set mqtt.url mqtt://127.0.0.1:{port} to use the broker there, or mqtt.port"
        )
    else:
        yield ok("broker", f"the embedded broker starts; a daemon's listens on 127.0.0.1:{port}, for this box alone")


def _url_of_daemon(scope: Scope) -> str | None:
    with contextlib.suppress(CnnboError, TimeoutError):  # the check of the daemon tells
        url = ask_in_time(scope.settings.state, "status")["mqtt"]
        return url if isinstance(url, str) else None
    return None


async def _start_embedded() -> str | None:
    """Start one for a moment, at any free port; why that failed, or None."""
    with tempfile.TemporaryDirectory(prefix="cnnbo-doctor-") as folder:
        async with EmbeddedBroker(Path(folder), port=0) as broker:
            return None if broker.reason is None else f"{broker.reason} ({_last_line(Path(folder))})"


def _last_line(folder: Path) -> str:
    lines = (folder / "broker.log").read_text(errors="replace").splitlines() if (folder / "broker.log").exists() else []
    return next((line.strip() for line in reversed(lines) if line.strip()), "it said nothing")


def _is_taken(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return True
    return False


# ---- one of somebody's ----


async def _foreign(address: BrokerAddress, mqtt: MqttSettings) -> list[Finding]:
    if (refusal := await _refusal(address)) is not None:
        reason, _, fix = refusal.partition("; ")
        return [
            fail("broker", f"no connection to broker {reason}", fix or f"start it, or correct mqtt.url ({address})")
        ]
    who = f"as {address.user}" if address.user else "without a user"
    findings = [ok("broker", f"broker {address} lets the daemon in {who}{', TLS checked' if address.tls else ''}")]
    if address.password is not None and not address.tls and not is_this_machine(address.host):
        text = f"user and password go to {address} in clear; whoever is on the way can read them"
        findings.append(
            warn("broker", text, f"cnnbo broker configure DIR there, and mqtt.url = mqtts://{address.host}")
        )
    if await _lets_strangers_in(address, mqtt.base):
        findings.append(_strangers(address, mqtt))
    return findings


async def _refusal(address: BrokerAddress) -> str | None:
    """Why the broker isn't reached, or doesn't let us in."""
    try:
        async with asyncio.timeout(2 * _ANSWER_S), connected(address.client(_identifier(), reply_s=_ANSWER_S)):
            return None
    except Failure as error:
        return reason_of(error, address, is_of_daemon=True)


def _identifier() -> str:
    return f"cnnbo-doctor-{secrets.token_hex(6)}"


async def _lets_strangers_in(address: BrokerAddress, base: str) -> bool:
    """Whether somebody without a name may listen to our topics."""
    client = replace(address, user=None, password=None).client(_identifier(), reply_s=_ANSWER_S)
    try:
        async with asyncio.timeout(2 * _ANSWER_S), connected(client):
            await subscribe(client, f"{base}/v1/#")
            return True
    except Failure:
        return False


def _strangers(address: BrokerAddress, mqtt: MqttSettings) -> Finding:
    can = "read your studies and pause them" if mqtt.requests else "read your studies, and publish what looks like news"
    text = f"broker {address.host}:{address.port} accepts strangers; anyone who reaches it could {can}"
    return warn("broker", text, "cnnbo broker configure DIR, or give mosquitto a password file")
