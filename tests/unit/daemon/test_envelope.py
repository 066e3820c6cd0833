"""What is added to every JSON object on a topic."""

import json

from cnnbo.daemon.envelope import Envelope
from cnnbo.daemon.sinks.base import Delivery, Message


def _state(topic: str, body: dict[str, object] | None) -> Message:
    return Message(topic, body, "cnnbo.test/1", Delivery.STATE)


def test_a_number_rises_on_each_topic_though_it_was_cleared_meanwhile() -> None:
    """A subscriber drops what isn't newer than the last: a study that is deleted and submitted again must not be."""
    envelope = Envelope("7f3a")
    bodies: list[dict[str, object] | None] = [{}, None, {}, {}]
    payloads = [[envelope.seal(_state(topic, body)) for topic in ("study/a", "study/b")] for body in bodies]
    for of_topic in zip(*payloads, strict=True):
        seqs = [json.loads(payload)["seq"] for payload in of_topic if payload]
        assert len(seqs) == 3 and seqs == sorted(set(seqs))


def test_a_number_that_is_given_is_kept_and_counts_for_nothing_else() -> None:
    """The journal numbers events over all lives of the daemon; a gap there is an event that was missed."""
    envelope = Envelope("7f3a")
    assert json.loads(envelope.seal(_state("event", {}), seq=40))["seq"] == 40
    assert json.loads(envelope.seal(_state("study/a", {})))["seq"] == 1
