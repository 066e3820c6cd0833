"""A subscriber that remembers what came, and can be waited for."""

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

from cnnbo.daemon.mqtt import BrokerAddress, connected

WAIT_S = 30.0  # for what is bound to happen; a test that is well never waits this long


@dataclass(frozen=True, slots=True)
class Received:
    topic: str
    payload: bytes
    is_retained: bool


@dataclass(slots=True)
class Subscriber:
    messages: list[Received] = field(default_factory=list)
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    def take(self, message: Received) -> None:
        self.messages.append(message)
        self._news.set()

    @property
    def topics(self) -> list[str]:
        return [message.topic for message in self.messages]

    @property
    def payloads(self) -> list[bytes]:
        return [message.payload for message in self.messages]

    async def until(self, is_enough: Callable[[], bool]) -> None:
        async with asyncio.timeout(WAIT_S):
            while not is_enough():
                self._news.clear()
                await self._news.wait()

    async def payload(self, payload: bytes) -> None:
        """Wait for a message of this payload."""
        await self.until(lambda: payload in self.payloads)


@contextlib.asynccontextmanager
async def subscribed(address: BrokerAddress, *filters: str, qos: int = 1) -> AsyncIterator[Subscriber]:
    """Subscribe for the time of the block."""
    subscriber = Subscriber()
    async with connected(address.client(f"subscriber-{secrets.token_hex(4)}", queue_limit=10_000)) as client:
        for topic_filter in filters:
            await client.subscribe(topic_filter, qos=qos)

        async def collect() -> None:
            async for message in client.messages:
                assert isinstance(message.payload, bytes)
                subscriber.take(Received(message.topic.value, message.payload, message.retain))

        task = asyncio.create_task(collect())
        try:
            yield subscriber
        finally:
            task.cancel()
            await asyncio.wait([task], timeout=WAIT_S)


async def publish(address: BrokerAddress, topic: str, payload: bytes, *, retain: bool = False, qos: int = 1) -> None:
    """Publish one message and wait until the broker has acknowledged it, which it does whether it is allowed or not."""
    async with connected(address.client(f"publisher-{secrets.token_hex(4)}")) as client:
        await client.publish(topic, payload, qos=qos, retain=retain)
