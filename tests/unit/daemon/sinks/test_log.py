"""The log sink."""

import logging

import pytest
from tests.contracts.sink import SinkContract

from cnnbo.daemon.sinks.base import Delivery, Message
from cnnbo.daemon.sinks.log import LogSink


class TestLogSink(SinkContract):
    @pytest.fixture
    def sink(self) -> LogSink:
        return LogSink()

    def test_events_become_lines_and_the_rest_does_not(self, sink: LogSink, caplog: pytest.LogCaptureFixture) -> None:
        """A log of every device reading would bury the one line that matters."""
        caplog.set_level(logging.INFO)
        body = {"event": "trial_ended", "trial": 3, "value": None, "at_chance": False}
        sink.publish(Message("event", body, "x/1", Delivery.EVENT))
        sink.publish(Message("device/cpu-0", {"state": "idle"}, "x/1", Delivery.STATE))
        assert [record.getMessage() for record in caplog.records] == ["event=trial_ended trial=3"]
