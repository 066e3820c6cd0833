"""What a broker retains, as somebody sees it who subscribes only now."""

import asyncio
import json
import secrets
from contextlib import suppress
from typing import Any

import aiomqtt

from cnnbo.daemon.mqtt import BrokerAddress, connected

_SILENCE_S = 0.3  # a broker doesn't say which retained message is the last one


async def read_retained(url: str, node: str) -> dict[str, Any]:
    """The retained messages below a node, by the rest of their topic: JSON data, or text where it is none.

    Raises:
        OSError: there is no such broker, or it hung up.
    """
    prefix = f"cnnbo/v1/{node}/"
    found: dict[str, Any] = {}
    client = BrokerAddress.parse(url).client(f"nemesis-{secrets.token_hex(4)}", queue_limit=10_000)
    try:
        async with connected(client):
            await client.subscribe(f"{prefix}#", qos=0)
            messages = aiter(client.messages)
            with suppress(TimeoutError):
                while True:
                    async with asyncio.timeout(_SILENCE_S):
                        message = await anext(messages)
                    if message.retain and isinstance(message.payload, bytes):
                        found[message.topic.value.removeprefix(prefix)] = _decoded(message.payload)
    except aiomqtt.MqttError as error:
        raise OSError(f"{url}: {error}") from error
    return found


def _decoded(payload: bytes) -> Any:
    try:
        return json.loads(payload)
    except ValueError:
        return payload.decode(errors="replace")
