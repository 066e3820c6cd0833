"""For tests of an MQTT sink that are about other things than events."""

from cnnbo.daemon.sinks.base import StoredEvent


class NoEvents:
    """An `EventStore` in which nothing waits."""

    async def waiting_events(self, limit: int) -> list[StoredEvent]:
        return []

    def acknowledge_events(self, seq: int) -> None:
        """There was nothing to arrive."""
