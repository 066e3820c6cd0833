"""What no run on CPU slots can show, held against the schemas: events of devices, a lost device, figures of a GPU."""

import json
from dataclasses import replace

import pytest
from tests.api import faults, schema_named
from tests.unit.daemon.test_messages import SPEC

from cnnbo.daemon.devices.base import Device, DeviceKind, Sample
from cnnbo.daemon.envelope import Envelope
from cnnbo.daemon.executors.base import Progress
from cnnbo.daemon.messages import DEVICE_SCHEMA, PROGRESS_SCHEMA, device_object, progress_object
from cnnbo.daemon.news import device_news, news
from cnnbo.daemon.sinks.base import Delivery, Message
from cnnbo.scheduler.events import (
    DeviceDrained,
    DeviceEvent,
    DeviceQuarantined,
    DeviceReturned,
    TrialCompleted,
    TrialFailed,
    TrialsRequested,
    TrialStarted,
)
from cnnbo.scheduler.fleet import DeviceState
from cnnbo.scheduler.study import Study
from cnnbo.scheduler.trial import Failure

GPU = Device("GPU-8f6e2f3c", 3, "NVIDIA H100", DeviceKind.NVIDIA)


def faults_of(message: Message) -> list[str]:
    return faults(json.loads(Envelope("life").seal(message)), schema_named(message.schema))


@pytest.mark.parametrize(
    "event",
    [
        DeviceQuarantined(1.0, GPU.uuid, "it fell off the bus", xid=79),
        DeviceQuarantined(1.0, GPU.uuid, "it needs a reset"),
        DeviceDrained(1.0, GPU.uuid, "drained by alice"),
        DeviceReturned(1.0, GPU.uuid),
    ],
)
def test_events_of_devices(event: DeviceEvent) -> None:
    """Each of them, with and without what it may lack."""
    assert faults_of(device_news(event)) == []


def test_a_trial_whose_device_was_lost() -> None:
    """It waits for its next attempt, and says why the last one ended."""
    before = Study(SPEC)
    before.handle(TrialsRequested(1.0, 1))
    before.handle(TrialStarted(2.0, 1, 1, GPU.uuid))
    lost = TrialFailed(3.0, 1, 1, Failure.DEVICE_LOST, "NVIDIA H100 fell off the bus.", is_lost=True, energy_j=120.5)
    after = before.copy()
    after.handle(lost)
    told = news(before, after, lost)
    assert [message.body["event"] for message in told if message.topic == "event" and message.body] == [
        "trial_device_lost"
    ]
    assert [fault for message in told for fault in faults_of(message)] == []


def test_a_trial_at_chance_and_what_is_advised_then() -> None:
    """The last one of a study that found nothing else."""
    before = Study(replace(SPEC, evaluations=1))
    before.handle(TrialStarted(2.0, 1, 1, GPU.uuid))
    ended = TrialCompleted(3.0, 1, 1, 0.1, chance=0.2)
    after = before.copy()
    after.handle(ended)
    told = news(before, after, ended)
    [study] = [message.body for message in told if message.topic == "study/s" and message.body is not None]
    assert (study["state"], study["at_chance"]) == ("finished", 1) and "no trial is better" in str(study["advice"])
    assert [fault for message in told for fault in faults_of(message)] == []


def test_figures_of_a_gpu_and_of_one_that_tells_nothing() -> None:
    """Drivers leave out what a card can't measure."""
    full = Sample(1024.5, 81559.0, 100.0, 71.0, 402.3)
    for sample in (full, Sample(), Sample(memory_used_mib=float("nan"))):
        body = device_object(GPU, sample, DeviceState.BUSY, None, ("svhn", 1), 1.0, "training")
        assert faults_of(Message(f"device/{GPU.uuid}", body, DEVICE_SCHEMA, Delivery.STATE)) == []


def test_progress_that_tells_nothing_or_infinity() -> None:
    """Numbers of scripts are no better than the scripts."""
    for progress in (Progress(), Progress(1, 2, 1, 1, {"loss": float("inf")})):
        body = progress_object(1, GPU.uuid, progress)
        assert faults_of(Message("study/s/trial/1/progress", body, PROGRESS_SCHEMA, Delivery.PROGRESS)) == []
