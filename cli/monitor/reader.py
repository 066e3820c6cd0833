"""Listens to brokers on behalf of the monitor. Reads only: it subscribes, and publishes nothing."""

import asyncio
import secrets
from collections.abc import Callable, Sequence

from cnnbo.cli.monitor.sources import Source
from cnnbo.daemon.mqtt import connected, reconnect_for_ever

_QUEUE = 100_000  # messages that wait to be folded; all retained ones of a large broker arrive in one go
_RETRY_S = (0.5, 10.0)
_REPLY_S = 5.0  # for any single answer of a broker


async def follow(
    source: Source,
    topic_filters: Sequence[str],
    on_message: Callable[[str, bytes, bool], None],
    on_connection: Callable[[str | None], None],
    retry_s: tuple[float, float] = _RETRY_S,
) -> None:
    """Subscribe at a broker and hand over every message until cancelled; reconnects for ever.

    Subscribes with QoS 0: a broker then sends all retained topics, while with QoS 1 it stops after as many as it may
    have in flight or queued (rumqttd after 100, mosquitto after about 1,000).

    Args:
        source: where the broker is to be found, before each connection.
        topic_filters: what to subscribe to.
        on_message: called with topic, payload and whether the broker had kept it, so that it may be old.
        on_connection: called with None when the subscription stands, with the reason when there is no connection.
        retry_s: see `reconnect_for_ever`.
    """
    await reconnect_for_ever(
        lambda: _listen(source, topic_filters, on_message, on_connection),
        lambda error: on_connection(source.reason_of(error)),
        retry_s,
    )


async def _listen(
    source: Source,
    topic_filters: Sequence[str],
    on_message: Callable[[str, bytes, bool], None],
    on_connection: Callable[[str | None], None],
) -> None:
    # A random id: two viewers with the same one would throw each other out, again and again.
    identifier = f"cnnbo-watch-{secrets.token_hex(6)}"

    async def subscribe() -> None:
        await client.subscribe([(topic_filter, 0) for topic_filter in topic_filters])
        on_connection(None)

    client = (await source.find()).client(identifier, reply_s=_REPLY_S, queue_limit=_QUEUE)
    async with connected(client), asyncio.TaskGroup() as tasks:
        # Beside, for only who listens for messages notices a lost connection: waiting for SUBACK alone doesn't.
        tasks.create_task(subscribe(), name="subscribe")
        async for message in client.messages:
            payload = message.payload if isinstance(message.payload, bytes) else b""
            on_message(message.topic.value, payload, message.retain)
