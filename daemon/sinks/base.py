"""The port through which the world is told."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from cnnbo.scheduler.errors import CnnboError


class Delivery(StrEnum):
    """What may happen to a message that can't be delivered at once."""

    STATE = "state"  # retained; only the newest of a topic matters
    PROGRESS = "progress"  # may be dropped
    EVENT = (
        "event"  # arrives at least once, also after an outage or the daemon's death; waits in the journal until then
    )


@dataclass(frozen=True, slots=True)
class Message:
    """One piece of news.

    Attributes:
        topic: below `<base>/v1/<node>/`, like `study/svhn` or `device/GPU-…`.
        body: JSON data without the envelope; None clears a retained topic.
        schema: name and number of the body's form, like `cnnbo.study/1`.
        delivery: what may happen to it on the way.
    """

    topic: str
    body: Mapping[str, object] | None
    schema: str
    delivery: Delivery


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """An event that waits on disk, as it is to be sent.

    Attributes:
        seq: its number; rises with time, over the lives of the daemon.
        topic: below `<base>/v1/<node>/`.
        payload: the body in its envelope.
    """

    seq: int
    topic: str
    payload: bytes


class UnreadableEventsError(CnnboError):
    """Events can't be read now; they are still there."""


class EventStore(Protocol):
    """Where events wait until somebody who acknowledges them has them."""

    async def waiting_events(self, limit: int) -> list[StoredEvent]:
        """The oldest events that were not acknowledged, at most `limit` of them, oldest first.

        Raises:
            UnreadableEventsError: they can't be read now, and wait.
        """

    def acknowledge_events(self, seq: int) -> None:
        """This event and all before it have arrived and need not be kept; returns at once."""


class Sink(Protocol):
    """Is told the news. Never delays whoever tells it: `publish` returns at once and never raises."""

    def publish(self, message: Message) -> None:
        """Take a message for delivery."""

    async def run(self) -> None:
        """Deliver until cancelled; survives every outage of the other side."""
