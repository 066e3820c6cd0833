"""What brokers do. Each check plays one behaviour through and returns what it saw, as the text of a cell."""

import asyncio
import re
import secrets
import signal
import ssl
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiomqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from tests.brokers.subjects import Subject, topic
from tests.brokers.victim import victim
from tests.subscriber import WAIT_S, Subscriber, publish, subscribed

from cnnbo.daemon.mqtt import BrokerAddress, Failure, connected

_KEEPALIVE_S = 5
_SILENCE_S = 3.0  # who does not answer within this, on the same machine, does not answer
_LONG = 3600  # a keep-alive that is never missed
_PAYLOAD = b"x" * (256 * 1024)
_EXPIRY_S = 2


def _client(address: BrokerAddress, identifier: str | None = None, **options: Any) -> aiomqtt.Client:
    """A client with options that the product has no use for."""
    return aiomqtt.Client(
        address.host,
        address.port,
        username=address.user,
        password=address.password,
        identifier=identifier or f"client-{secrets.token_hex(4)}",
        tls_params=aiomqtt.TLSParameters(ca_certs=str(address.ca)) if address.tls else None,
        **options,
    )


async def _told(subject: Subject, seen: Subscriber, name: str) -> list[bytes]:
    """What a subscriber was sent up to now: everything before a message that is published now."""
    await publish(subject.writer, name, b"last")
    await seen.payload(b"last")
    return seen.payloads[:-1]


async def _retained(subject: Subject, name: str) -> list[bytes]:
    """What a new subscriber is told of a topic."""
    async with subscribed(subject.reader, name) as seen:
        return await _told(subject, seen, name)


async def retained(subject: Subject) -> str:
    name = topic()
    await publish(subject.writer, name, b"first", retain=True)
    await publish(subject.writer, name, b"second", retain=True)
    kept = await _retained(subject, name)
    await publish(subject.writer, name, b"", retain=True)
    cleared = await _retained(subject, name)
    return "ok" if (kept, cleared) == ([b"second"], []) else f"kept {kept}, then {cleared}"


async def will_of_a_killed_client(subject: Subject) -> str:
    name = topic()
    async with (
        subscribed(subject.reader, f"{name}/will") as seen,
        victim(subject.writer, name, keepalive_s=_LONG) as it,
    ):
        it.kill()
        await seen.payload(b"gone")
    return "ok"


async def will_of_a_frozen_client(subject: Subject) -> str:
    name = topic()
    async with (
        subscribed(subject.reader, f"{name}/will") as seen,
        victim(subject.writer, name, keepalive_s=_KEEPALIVE_S) as it,
    ):
        began = time.monotonic()
        it.send_signal(signal.SIGSTOP)
        await seen.payload(b"gone")
        return f"after {time.monotonic() - began:.1f} s"


async def queue_for_a_session_that_is_away(subject: Subject) -> str:
    name, identifier = topic(), f"away-{secrets.token_hex(4)}"
    async with _client(subject.reader, identifier, clean_session=False) as client:
        await client.subscribe(name, qos=1)
    for number in range(5):
        await publish(subject.writer, name, b"%d" % number)
    got = []
    async with _client(subject.reader, identifier, clean_session=False) as client:
        await client.subscribe(name, qos=1)
        await publish(subject.writer, name, b"last")
        async for message in client.messages:
            if message.payload == b"last":
                break
            got.append(message.payload)
    async with _client(subject.reader, identifier):  # a clean session ends the other one
        pass
    return f"{len(set(got))} of 5"


async def nothing_unasked(subject: Subject) -> str:
    wanted, secret = topic(), topic()
    await publish(subject.writer, secret, b"retained", retain=True)
    async with subscribed(subject.reader, wanted) as seen, subscribed(subject.reader, secret) as other:
        await publish(subject.writer, secret, b"live")
        await other.payload(b"live")
        got = await _told(subject, seen, wanted)
    await publish(subject.writer, secret, b"", retain=True)
    return "ok" if got == [] else f"it got {got}"


def _properties(**values: object) -> Properties:
    properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
    for name, value in values.items():
        setattr(properties, name, value)
    return properties


async def mqtt_5(subject: Subject) -> str:
    name = topic()
    properties = _properties(UserProperty=("from", "cnnbo"))
    async with subscribed(subject.reader, name) as seen:  # speaks MQTT 3.1.1
        try:
            async with connected(
                _client(subject.writer, protocol=aiomqtt.ProtocolVersion.V5, timeout=_SILENCE_S)
            ) as client:
                await client.publish(name, b"with properties", qos=1, properties=properties)
        except Failure:
            return "not let in"
        await seen.payload(b"with properties")
    return "ok, and reaches MQTT 3.1.1 clients"


async def retained_that_expires(subject: Subject) -> str:
    name = topic()
    properties = _properties(MessageExpiryInterval=_EXPIRY_S)
    try:
        async with connected(
            _client(subject.writer, protocol=aiomqtt.ProtocolVersion.V5, timeout=_SILENCE_S)
        ) as client:
            began = time.monotonic()
            await client.publish(name, b"short-lived", qos=1, retain=True, properties=properties)
    except Failure:
        return "takes MQTT 5"
    while await _retained(subject, name):  # noqa: ASYNC110 - a broker tells nobody that it forgot
        await asyncio.sleep(0.1)
    return f"gone after {time.monotonic() - began:.1f} s"


async def retained_over_sigterm(subject: Subject) -> str:
    return await _retained_over(subject, signal.SIGTERM)


async def retained_over_sigkill(subject: Subject) -> str:
    return await _retained_over(subject, signal.SIGKILL)


async def _retained_over(subject: Subject, number: signal.Signals) -> str:
    name = topic()
    await publish(subject.writer, name, b"kept", retain=True)
    await subject.restart(number)
    return "kept" if await _retained(subject, name) else "lost"


async def shared_subscriptions(subject: Subject) -> str:
    name = topic()
    shared = f"$share/group/{name}"
    async with subscribed(subject.reader, shared) as one, subscribed(subject.reader, shared) as other:
        for number in range(4):
            await publish(subject.writer, name, b"%d" % number)
        both = (one, other)
        waiting = [
            asyncio.ensure_future(who.until(lambda: sum(len(each.payloads) for each in both) == 4)) for who in both
        ]
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        for task in waiting:
            task.cancel()
        return " + ".join(str(len(each.payloads)) for each in both)


async def takeover_of_a_client_id(subject: Subject) -> str:
    identifier = f"twin-{secrets.token_hex(4)}"
    async with connected(_client(subject.reader, identifier)) as former:
        ended = asyncio.ensure_future(anext(aiter(former.messages)))
        async with connected(_client(subject.reader, identifier)):
            await asyncio.wait([ended], timeout=WAIT_S)
            is_closed = ended.done() and isinstance(ended.exception(), aiomqtt.MqttError)
        ended.cancel()
        await asyncio.gather(ended, return_exceptions=True)
    return "the former client is hung up on" if is_closed else "both stay"


async def users_tls_and_rights(subject: Subject) -> str:
    stranger = replace(subject.reader, user=None, password=None)
    found = ["strangers refused" if await _is_refused(stranger) else "anybody let in"]
    found.append("TLS" if await asyncio.to_thread(_speaks_tls, subject.reader) else "no TLS")
    name = topic()
    async with subscribed(subject.reader, name) as seen:
        await publish(subject.reader, name, b"by a reader")
        found.append("rights" if await _told(subject, seen, name) == [] else "no rights")
    return ", ".join(found)


async def _is_refused(address: BrokerAddress) -> bool:
    try:
        async with connected(_client(address, timeout=WAIT_S)):
            return False
    except Failure:
        return True


def _speaks_tls(address: BrokerAddress) -> bool:
    try:
        ssl.get_server_certificate((address.host, address.port), ca_certs=None, timeout=WAIT_S)
    except OSError:
        return False
    return True


async def large_payloads(subject: Subject) -> str:
    name = topic()
    async with subscribed(subject.reader, name) as seen:
        await publish(subject.writer, name, _PAYLOAD)
        await seen.payload(_PAYLOAD)
    return f"256 KiB ok; 1 MB {await _passes(subject, b'x' * 1_000_000)}"


async def _passes(subject: Subject, payload: bytes) -> str:
    name = topic()
    client = _client(subject.writer)
    async with subscribed(subject.reader, name) as seen, connected(client):
        arrival = asyncio.ensure_future(seen.payload(payload))
        # Publishing doesn't notice a lost connection by itself, listening does.
        hang_up = asyncio.ensure_future(anext(aiter(client.messages)))
        sending = asyncio.ensure_future(client.publish(name, payload, qos=0))
        await asyncio.wait((arrival, hang_up), return_when=asyncio.FIRST_COMPLETED)
        is_refused = hang_up.done()
        for task in (arrival, hang_up, sending):
            task.cancel()
        await asyncio.gather(arrival, hang_up, sending, return_exceptions=True)
    return "refused, the sender is hung up on" if is_refused else "ok"


async def qos_2(subject: Subject) -> str:
    name = topic()
    async with subscribed(subject.reader, name, qos=2) as seen:
        await publish(subject.writer, name, b"once", qos=2)
        got = await _told(subject, seen, name)
    return "ok" if got == [b"once"] else f"arrived {len(got)} times"


async def a_subscriber_that_never_reads(subject: Subject) -> str:
    name = topic()
    before = _memory_mib(subject.pid)
    async with (
        victim(subject.reader, name, keepalive_s=_LONG, subscribes=True) as frozen,
        subscribed(subject.reader, name, qos=0) as seen,
    ):
        frozen.send_signal(signal.SIGSTOP)
        async with connected(_client(subject.writer)) as client:
            for number in range(64):
                await client.publish(name, _PAYLOAD[:-2] + b"%02d" % number, qos=1)
        await seen.until(lambda: len(seen.payloads) == 64)
        return f"others are served; + {max(0.0, _memory_mib(subject.pid) - before):.0f} MiB for 16 MiB"


def _memory_mib(pid: int) -> float:
    found = re.search(r"^VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1]) / 1024
