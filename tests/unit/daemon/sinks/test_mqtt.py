"""The MQTT sink without a broker: addresses, and what it keeps for sending."""

import socket
from collections.abc import Iterator

import pytest
from tests.contracts.sink import SinkContract

from cnnbo.daemon.sinks.base import Delivery
from cnnbo.daemon.sinks.mqtt import MqttSink, Outbox
from cnnbo.scheduler.errors import ConfigurationError


class TestMqttSink(SinkContract):
    @pytest.fixture
    def sink(self) -> Iterator[MqttSink]:
        with socket.socket() as silent:  # bound and not listening: every connection is refused
            silent.bind(("127.0.0.1", 0))
            yield MqttSink(f"mqtt://127.0.0.1:{silent.getsockname()[1]}", "tower", boot="7f3a")


@pytest.mark.parametrize(("node", "base"), [("a/b", "cnnbo"), ("", "cnnbo"), ("tower", "#"), ("tower", "/lead")])
def test_names_that_would_break_topics_are_refused(node: str, base: str) -> None:
    """A wildcard in a topic makes brokers hang up, for ever."""
    with pytest.raises(ConfigurationError):
        MqttSink("mqtt://h", node, boot="b", base=base)


def _topics(outbox: Outbox, now: float = 0.0) -> list[tuple[str, bytes]]:
    packets = outbox.take(now)
    outbox.sent(packets)
    return [(packet.topic, packet.payload) for packet in packets]


def test_of_a_state_only_the_newest_is_sent() -> None:
    """After an hour without a broker nobody wants an hour of device readings."""
    outbox = Outbox()
    for k in range(5):
        outbox.put("device/0", b"%d" % k, Delivery.STATE)
    outbox.put("device/1", b"x", Delivery.STATE)
    assert _topics(outbox) == [("device/0", b"4"), ("device/1", b"x")]
    assert _topics(outbox) == []


def test_renewing_sends_all_state_again() -> None:
    """A broker that was started anew knows nothing."""
    outbox = Outbox()
    outbox.put("a", b"1", Delivery.STATE)
    outbox.put("b", b"2", Delivery.STATE)
    assert _topics(outbox)
    outbox.renew()
    assert _topics(outbox) == [("a", b"1"), ("b", b"2")]


def test_a_cleared_topic_is_forgotten_once_the_broker_knows() -> None:
    """Cleared while the broker was away it must be cleared later; once it is, it must not cost memory."""
    outbox = Outbox()
    outbox.put("a", b"1", Delivery.STATE)
    outbox.put("a", b"", Delivery.STATE)
    outbox.failed(outbox.take(0.0))
    outbox.renew()
    assert _topics(outbox) == [("a", b"")]
    outbox.renew()
    assert _topics(outbox) == []


def test_a_topic_set_again_while_its_clearing_is_under_way_stays() -> None:
    """The broker's answer to the old message must not delete the new one."""
    outbox = Outbox()
    outbox.put("a", b"", Delivery.STATE)
    clearing = outbox.take(0.0)
    outbox.put("a", b"new", Delivery.STATE)
    outbox.sent(clearing)
    assert _topics(outbox) == [("a", b"new")]


def test_progress_is_thinned_out_and_the_newest_wins() -> None:
    """Training codes report fifty times a second; subscribers are promised at most one."""
    outbox = Outbox(progress_interval_s=1.0)
    outbox.put("p", b"1", Delivery.PROGRESS)
    assert _topics(outbox, 10.0) == [("p", b"1")]
    outbox.put("p", b"2", Delivery.PROGRESS)
    outbox.put("p", b"3", Delivery.PROGRESS)
    outbox.put("other", b"1", Delivery.PROGRESS)
    assert _topics(outbox, 10.2) == [("other", b"1")]
    assert outbox.wait_s(10.2) == pytest.approx(0.8)
    assert _topics(outbox, 11.0) == [("p", b"3")]
    assert outbox.wait_s(11.0) is None


def test_events_keep_their_order_over_a_failure() -> None:
    """A subscriber that sees `ended` before `started` draws wrong conclusions."""
    outbox = Outbox()
    for k in range(3):
        outbox.put("event", b"%d" % k, Delivery.EVENT)
    outbox.failed(outbox.take(0.0))
    assert [payload for _, payload in _topics(outbox)] == [b"0", b"1", b"2"]


def test_the_oldest_events_go_first_and_are_counted() -> None:
    """Without a broker for a month the daemon must not grow, and must say what it lost."""
    outbox = Outbox(event_limit=2)
    for k in range(5):
        outbox.put("event", b"%d" % k, Delivery.EVENT)
    assert outbox.take_dropped() == 3
    assert outbox.take_dropped() == 0
    assert [payload for _, payload in _topics(outbox)] == [b"3", b"4"]


def test_progress_of_many_trials_is_bounded() -> None:
    """A broker that accepts and never answers must not make us keep a topic per trial."""
    outbox = Outbox()
    for k in range(5000):
        outbox.put(f"trial/{k}/progress", b"x", Delivery.PROGRESS)
    sent = 0
    while packets := outbox.take(0.0):
        sent += len(packets)
    assert 0 < sent <= 1000
