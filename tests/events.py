"""Events for tests of what carries them."""

from typing import Any

from cnnbo.daemon.messages import EVENT_SCHEMA
from cnnbo.daemon.sinks.base import Delivery, Message, StoredEvent


def some_event(name: str, body: dict[str, Any]) -> Message:
    """News of something, whatever it holds."""
    return Message("event", {"event": name, **body}, EVENT_SCHEMA, Delivery.EVENT)


class NoEvents:
    """An `EventStore` in which nothing waits."""

    async def waiting_events(self, limit: int) -> list[StoredEvent]:
        return []

    def acknowledge_events(self, seq: int) -> None:
        """There was nothing to arrive."""
