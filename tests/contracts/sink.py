"""The law of every sink."""

import asyncio
import math

import pytest

from cnnbo.daemon.sinks.base import Delivery, Message, Sink


class SinkContract:
    """Subclass it and supply the fixture `sink`; its other side need not exist."""

    @pytest.mark.timeout(20)
    @pytest.mark.parametrize("delivery", list(Delivery))
    def test_publish_waits_for_nobody(self, sink: Sink, delivery: Delivery) -> None:
        """A sink never delays a trial: with nobody delivering, a full queue must not make the publisher wait."""
        for k in range(10_000):
            sink.publish(Message(f"study/s{k % 7}", {"finished": k}, "cnnbo.test/1", delivery))

    def test_publish_never_raises(self, sink: Sink) -> None:
        """News that can't be told must not reach the daemon's core as an exception."""
        bodies: list[dict[str, object] | None] = [None, {}, {"value": math.nan}, {"x": object()}, {"x": {"y": (3,)}}]
        for body in bodies:
            for delivery in Delivery:
                sink.publish(Message("study/svhn", body, "cnnbo.test/1", delivery))
                for topic in ("study/#", "study/\udc80", "x" * 70_000):
                    sink.publish(Message(topic, body, "cnnbo.test/1", delivery))

    async def test_run_goes_on_until_cancelled(self, sink: Sink) -> None:
        """The daemon's task group must never see a sink end by itself, and it must end when told to."""
        running = asyncio.create_task(sink.run())
        sink.publish(Message("event", {"event": "daemon_started"}, "cnnbo.test/1", Delivery.EVENT))
        done, _ = await asyncio.wait([running], timeout=0.3)
        assert not done
        running.cancel()
        await asyncio.wait([running], timeout=10)
        assert running.cancelled()
