"""The MQTT sink without a broker: addresses, and what it keeps for sending."""

import socket
import tracemalloc
from collections.abc import Iterator

import pytest
from tests.contracts.sink import SinkContract
from tests.events import NoEvents

from cnnbo.daemon.sinks.base import StoredEvent
from cnnbo.daemon.sinks.mqtt import MqttSink, SendQueue
from cnnbo.scheduler.errors import ConfigurationError


class TestMqttSink(SinkContract):
    @pytest.fixture
    def sink(self) -> Iterator[MqttSink]:
        with socket.socket() as silent:  # bound and not listening: every connection is refused
            silent.bind(("127.0.0.1", 0))
            yield MqttSink(f"mqtt://127.0.0.1:{silent.getsockname()[1]}", "tower", boot="7f3a", events=NoEvents())


@pytest.mark.parametrize(("node", "base"), [("a/b", "cnnbo"), ("", "cnnbo"), ("tower", "#"), ("tower", "/lead")])
def test_names_that_would_break_topics_are_refused(node: str, base: str) -> None:
    """A wildcard in a topic makes brokers hang up, for ever."""
    with pytest.raises(ConfigurationError):
        MqttSink("mqtt://h", node, boot="b", events=NoEvents(), base=base)


def _topics(queue: SendQueue, now: float = 0.0) -> list[tuple[str, bytes]]:
    packets = queue.take(now)
    queue.sent(packets)
    return [(packet.topic, packet.payload) for packet in packets]


def test_of_a_state_only_the_newest_is_sent() -> None:
    """After an hour without a broker nobody wants an hour of device readings."""
    queue = SendQueue()
    for k in range(5):
        queue.put_state("device/0", b"%d" % k)
    queue.put_state("device/1", b"x")
    assert _topics(queue) == [("device/0", b"4"), ("device/1", b"x")]
    assert _topics(queue) == []


def test_renewing_sends_all_state_again() -> None:
    """A broker that was started anew knows nothing."""
    queue = SendQueue()
    queue.put_state("a", b"1")
    queue.put_state("b", b"2")
    assert _topics(queue)
    queue.renew()
    assert _topics(queue) == [("a", b"1"), ("b", b"2")]


def test_a_cleared_topic_is_forgotten_once_the_broker_knows() -> None:
    """Cleared while the broker was away it must be cleared later; once it is, it must not cost memory."""
    queue = SendQueue()
    queue.put_state("a", b"1")
    queue.put_state("a", b"")
    assert queue.take(0.0)  # and the connection is lost
    queue.renew()
    assert _topics(queue) == [("a", b"")]
    queue.renew()
    assert _topics(queue) == []


def test_a_topic_set_again_while_its_clearing_is_under_way_stays() -> None:
    """The broker's answer to the old message must not delete the new one."""
    queue = SendQueue()
    queue.put_state("a", b"")
    clearing = queue.take(0.0)
    queue.put_state("a", b"new")
    queue.sent(clearing)
    assert _topics(queue) == [("a", b"new")]


def test_a_topic_cleared_again_while_its_clearing_is_under_way_is_cleared_twice() -> None:
    """An archived study is deleted while the broker stalls: the second clearing must not find the topic forgotten."""
    queue = SendQueue()
    queue.put_state("a", b"")
    clearing = queue.take(0.0)
    queue.put_state("a", b"")
    queue.sent(clearing)
    assert _topics(queue) == [("a", b"")]
    queue.renew()
    assert _topics(queue) == []


def test_progress_is_thinned_out_and_the_newest_wins() -> None:
    """Training codes report fifty times a second; subscribers are promised at most one."""
    queue = SendQueue(progress_interval_s=1.0)
    queue.put_progress("p", b"1")
    assert _topics(queue, 10.0) == [("p", b"1")]
    queue.put_progress("p", b"2")
    queue.put_progress("p", b"3")
    queue.put_progress("other", b"1")
    assert _topics(queue, 10.2) == [("other", b"1")]
    assert queue.wait_s(10.2) == pytest.approx(0.8)
    assert _topics(queue, 11.0) == [("p", b"3")]
    assert queue.wait_s(11.0) is None


def test_an_event_comes_after_the_state_it_led_to() -> None:
    """Whoever hears that a study has ended, and looks at its topic then, must find it ended."""
    queue = SendQueue()
    assert queue.wants_events
    queue.put_events("cnnbo", [StoredEvent(1, "event", b"first"), StoredEvent(2, "event", b"second")])
    assert not queue.wants_events
    queue.put_state("study/s", b"finished")
    assert _topics(queue) == [("study/s", b"finished"), ("cnnbo/event", b"first"), ("cnnbo/event", b"second")]
    assert queue.wants_events


def test_at_a_new_connection_events_are_read_from_the_disk_again() -> None:
    """The first of those in memory went down with the last connection: those after it must not overtake it."""
    queue = SendQueue()
    queue.put_events("cnnbo", [StoredEvent(k, "event", b"x") for k in range(20)])
    assert len(queue.take(0.0)) == 16
    queue.renew()
    assert queue.wants_events
    assert _topics(queue) == []


def test_progress_of_many_trials_is_bounded() -> None:
    """A broker that accepts and never answers must not make us keep a topic per trial."""
    queue = SendQueue()
    for k in range(5000):
        queue.put_progress(f"trial/{k}/progress", b"x")
    sent = 0
    while packets := queue.take(0.0):
        sent += len(packets)
    assert 0 < sent <= 1000


def test_a_million_reports_of_progress_cost_no_memory() -> None:
    """Scripts that report every step, beside a broker that takes one a second."""
    queue = SendQueue()
    topics = [f"trial/{k}/progress" for k in range(50)]

    def report(numbers: range) -> None:
        for k in numbers:
            queue.put_progress(topics[k % len(topics)], b"%d" % k)
            if k % 1000 == 0:
                _topics(queue, k / 10_000)

    report(range(1000))
    tracemalloc.start()
    try:
        report(range(1000, 1_000_000))
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 1_000_000
