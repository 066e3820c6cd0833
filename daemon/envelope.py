"""What every JSON object on a topic carries beside its body: `schema`, `ts`, `boot` and `seq`."""

import json
import math
import time
from collections.abc import Mapping

from cnnbo.daemon.messages import rfc3339
from cnnbo.daemon.sinks.base import Message

_TOPIC_LIMIT = 1024
PAYLOAD_LIMIT = 256 * 1024
"""Bytes of the longest payload: a broker answers one over its own limit by hanging up, again and again."""


class Envelope:
    """Turns messages into payloads.

    One `seq` counts the messages of all topics: it rises on each, also on one that was cleared and is there again, and
    topics that come and go leave nothing behind.

    Args:
        boot: identifies this life of the daemon.
    """

    def __init__(self, boot: str) -> None:
        self._boot = boot
        self._seq = 0

    def seal(self, message: Message, seq: int | None = None) -> bytes:
        """The payload of a message; empty for one that clears its topic.

        Args:
            message: what is told.
            seq: its number where that is given from outside, as the journal gives one to each event.

        Raises:
            TypeError, ValueError: it can't be published: no JSON data, no topic, or longer than brokers take.
        """
        if any(character in message.topic for character in "+#\0"):
            raise ValueError("a topic can't hold +, # or NUL")
        if len(message.topic.encode()) > _TOPIC_LIMIT:
            raise ValueError("the topic is too long")
        if message.body is None:
            return b""
        if seq is None:
            self._seq += 1
            seq = self._seq
        envelope = {"schema": message.schema, "ts": rfc3339(time.time()), "boot": self._boot, "seq": seq}
        body = _finite({**envelope, **message.body})
        payload = json.dumps(body, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()
        if len(payload) > PAYLOAD_LIMIT:
            raise ValueError(f"{len(payload)} bytes are more than brokers take")
        return payload


def _finite(value: object) -> object:
    """The same JSON data with None for NaN and the infinities, which JSON doesn't know."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value
