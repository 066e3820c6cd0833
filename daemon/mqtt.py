"""What everybody who speaks MQTT shares: where a broker is, a connection to it, and why there is none.

Uses aiomqtt 2.x; nothing but this module, the MQTT sink, the request door and the readers that build on it know its
names.
"""

import asyncio
import contextlib
import logging
import random
import re
import shlex
import socket
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self
from urllib.parse import quote, unquote

import aiomqtt

from cnnbo.daemon import tls
from cnnbo.daemon.broker_url import DEFAULT_PORTS, split_broker_url
from cnnbo.scheduler.errors import ConfigurationError

# paho and aiomqtt report every disconnect as a warning of their own; what matters is said by whoever connects.
_library_log = logging.getLogger(f"{__name__}.library")
_library_log.setLevel(logging.CRITICAL)

_LEAVE_S = 1.0  # for the DISCONNECT of a connection that may be dead
_REFUSED = 0x80  # and above: a broker's word against a subscription

Failure = (aiomqtt.MqttError, OSError, TimeoutError, UnicodeError)
"""What a connection may raise while it is opened or used; UnicodeError comes of host names that are none."""


@dataclass(frozen=True, slots=True)
class BrokerAddress:
    """Where a broker listens, and who we are to it. Its text form never shows user and password.

    Attributes:
        host: name or address; with TLS the broker's certificate has to be for it.
        port: 1-65535.
        tls: whether the connection is encrypted, and the broker's certificate checked.
        user: who we are; None where the broker asks nobody.
        password: of the user.
        ca: PEM file of the CA to trust with TLS; None = those of the system.
    """

    host: str
    port: int
    tls: bool = False
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    ca: Path | None = None

    @classmethod
    def parse(cls, url: str) -> Self:
        """Read `mqtt[s]://[user:password@]host[:port]`; user and password may be percent-encoded.

        Example:
            >>> BrokerAddress.parse("mqtts://me:s%40crecy@broker.lan")
            BrokerAddress(host='broker.lan', port=8883, tls=True, user='me', ca=None)

        Raises:
            ConfigurationError: it is no such URL; see `split_broker_url`.
        """
        try:
            parts = split_broker_url(url)
        except ValueError as error:
            raise ConfigurationError(f"the broker's URL {error}.") from None
        assert parts.hostname is not None  # `split_broker_url` saw to it
        port = parts.port or DEFAULT_PORTS[parts.scheme]
        return cls(parts.hostname, port, parts.scheme == "mqtts", _decoded(parts.username), _decoded(parts.password))

    @classmethod
    def of(cls, broker: "str | BrokerAddress") -> "BrokerAddress":
        """The address that a URL says, or the one that is given.

        Raises:
            ConfigurationError: see `parse`.
        """
        return cls.parse(broker) if isinstance(broker, str) else broker

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'mqtts' if self.tls else 'mqtt'}://{host}:{self.port}"

    def client(
        self,
        identifier: str,
        *,
        will: aiomqtt.Will | None = None,
        keepalive_s: int = 30,
        reply_s: float = 10.0,
        queue_limit: int = 100,
    ) -> aiomqtt.Client:
        """A client that is not connected yet; make a new one for each attempt, a failed one can't be used again."""
        return aiomqtt.Client(
            self.host,
            self.port,
            username=self.user,
            password=self.password,
            identifier=identifier,
            will=will,
            keepalive=keepalive_s,
            timeout=reply_s,
            max_queued_incoming_messages=queue_limit,
            tls_params=aiomqtt.TLSParameters(ca_certs=None if self.ca is None else str(self.ca)) if self.tls else None,
            # A batch of small packets would wait for the other side's delayed acknowledgement, 40 ms on Linux.
            socket_options=((socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),),
            logger=_library_log,
        )


def _decoded(text: str | None) -> str | None:
    return None if text is None else unquote(text)


@contextlib.asynccontextmanager
async def connected(client: aiomqtt.Client) -> AsyncIterator[aiomqtt.Client]:
    """Connect for the time of a `with` block.

    aiomqtt's own `async with` may wait for a dead broker's answer to DISCONNECT and then raise in place of what ended
    the block, a cancellation included; this leaves within a second and keeps the reason. A connection attempt that is
    cancelled half-way goes on in its thread for a few seconds; its socket is closed with the loop.
    """
    try:
        await client.__aenter__()
        yield client
    finally:
        with contextlib.suppress(*Failure):
            async with asyncio.timeout(_LEAVE_S):
                await client.__aexit__(None, None, None)
        # aiomqtt tells a lost connection in this future, too, and nobody asks it: asyncio would print a traceback.
        disconnected = client._disconnected
        if disconnected.done() and not disconnected.cancelled():
            disconnected.exception()


async def reconnect_for_ever(
    session: Callable[[], Awaitable[None]],
    lost: Callable[[BaseExceptionGroup], None],
    retry_s: tuple[float, float],
    outlived: tuple[type[Exception], ...] = Failure,
) -> None:
    """Begin a session anew whenever it fails, until cancelled.

    Args:
        session: one connection, from CONNECT to its end.
        lost: told why it ended, or could not begin.
        retry_s: shortest and longest wait between two attempts; doubled from one to the other, half of it random.
        outlived: what a session may end by; all else is raised.
    """
    shortest_s, longest_s = retry_s
    wait_s = shortest_s
    while True:
        began = time.monotonic()
        try:
            await session()
        except* outlived as group:
            lost(group)
        # Only a connection that lasted starts the waits anew: some brokers accept and hang up at the first message.
        wait_s = shortest_s if time.monotonic() - began > longest_s else wait_s
        await asyncio.sleep(wait_s * random.uniform(0.5, 1.0))
        wait_s = min(2 * wait_s, longest_s)


async def subscribe(client: aiomqtt.Client, *topics: str) -> None:
    """Subscribe, at least once a message.

    Raises:
        OSError: the broker doesn't let this user.
    """
    codes = await client.subscribe([(topic, 1) for topic in topics])
    granted = [code if isinstance(code, int) else code.value for code in codes]
    refused = [topic for topic, code in zip(topics, granted, strict=True) if code >= _REFUSED]
    if refused:
        raise OSError(f"this user may not subscribe to {', '.join(refused)}")


def leaf_of(error: BaseException) -> BaseException:
    """The first error of a group, of groups of groups too; else the error itself."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def reason_of(error: BaseException, address: BrokerAddress, *, is_of_daemon: bool = False) -> str:
    """Why there is no connection, as the rest of a sentence: "mqtt://host:1883: Connection refused".

    Args:
        error: what the attempt, or the connection, ended by.
        address: where it went, and as whom.
        is_of_daemon: whether a daemon's settings say who we are, or the command line does.
    """
    error = leaf_of(error)
    cause = error.__context__  # of TLS aiomqtt keeps OpenSSL's text only, and hides the error
    if isinstance(cause, ssl.SSLError):
        reason = tls.reason_of_refusal(cause)
        return f"{address}: {reason}{_TLS_REMEDIES.get(reason, '').format(address=address)}"
    if isinstance(error, aiomqtt.MqttCodeError) and str(error.rc) in _NOT_LET_IN:
        return f"{address}: {error.rc}: {_login_remedy(address, is_of_daemon)}"
    text = re.sub(r"^\[Errno -?\d+\] ", "", str(error))
    return f"{address}: {_PLAIN_WORDS.get(text, text)}"


def _login_remedy(address: BrokerAddress, is_of_daemon: bool) -> str:
    user = address.user or "NAME"
    if is_of_daemon:
        remedy = f"`cnnbo config set mqtt.url {address} --user {shlex.quote(user)}` asks for the password again"
    else:
        url = str(address).replace("//", f"//{quote(user, safe='')}@", 1)
        remedy = f"type `cnnbo broker login {url}`"
    return f"user and password are missing or wrong; {remedy}"


_PLAIN_WORDS = {
    "": "no answer",
    "timed out": "no answer",
    "Operation timed out": "no answer",
    "Disconnected during message iteration": "the broker hung up",
}

_NOT_LET_IN: Final = ("Not authorized", "Bad user name or password")
_TLS_REMEDIES: Final = {
    tls.UNTRUSTED: "; name its CA: `cnnbo broker login {address} --ca FILE`, or mqtt.ca of a daemon",
    tls.OTHER_HOST: "; ask for it by a name that is in it, or add this one on its box: "
    "`cnnbo broker configure DIR --host NAME`",
    tls.EXPIRED: "; `cnnbo broker configure DIR` on its box makes a new one",
    tls.NOT_YET_VALID: "; compare the clocks of the two machines",
}
