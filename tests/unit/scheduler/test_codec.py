"""What is journalled must come back bit for bit."""

import json
from typing import Any, get_args

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tests.fuzz.mutations import mutated, odd_values

from cnnbo.scheduler.codec import decode_device_event, decode_event, encode_event
from cnnbo.scheduler.events import (
    AskDropped,
    BudgetReached,
    DeviceDrained,
    DeviceEvent,
    DeviceQuarantined,
    DeviceReturned,
    DevicesLimited,
    Event,
    PointsSuggested,
    StudyAmended,
    StudyArchived,
    StudyCancelled,
    StudyCreated,
    StudyPaused,
    StudyResumed,
    TimeSpent,
    TrialCompleted,
    TrialFailed,
    TrialsRequested,
    TrialsRetried,
    TrialStarted,
)
from cnnbo.scheduler.optimizers.base import Source
from cnnbo.scheduler.sharing import Hours, Yield
from cnnbo.scheduler.space import CategoricalParameter, FloatParameter, IntParameter, SearchSpace
from cnnbo.scheduler.spec import Budget, Direction, Origin, ReportSettings, StudySpec, TrialSettings
from cnnbo.scheduler.trial import Failure

SPEC = StudySpec(
    space=SearchSpace(
        (FloatParameter("x", 1e-5, 1, "log"), IntParameter("n", 1, 9), CategoricalParameter("c", ("a", 1, True, 0.5)))
    ),
    name="digits",
    command=("python", "train.py", "{args}"),
    direction=Direction.MINIMIZE,
    start=({"x": 0.1, "n": 3, "c": True},),
    trial=TrialSettings(timeout_s=7200.0, memory_mib=512.0),
    report=ReportSettings(pattern="acc: (.*)", use="best", chance=0.1 + 0.2),
    budget=Budget(cost=100.0),
    hours=Hours(1200, 480),
    yields=Yield.STOP,
    origin=Origin("/home/me", {"PATH": "/bin", "GREETING": "héllo"}, "/usr/bin/python3", "me"),
)
EVENTS: list[Event] = [
    StudyCreated(1.5, SPEC),
    StudyAmended(1.5, SPEC),
    TrialsRequested(2.0, 3),
    PointsSuggested(
        3.0, 4, ((0.1 + 0.2, 1 / 3), (5e-324, 1.0)), Source.SURROGATE, (1, 2), (3,), (), (4,), "late", {"a": [1.0]},
        b"\x00\xff", b"{}", 0.25, {"threads": "1"}, (5, 6),
    ),
    AskDropped(3.0, 4, True),
    TrialStarted(4.0, 1, 2, "GPU-1", "token"),
    TrialCompleted(5.0, 1, 2, 0.93, {"loss": 0.1}, {"exit_code": 0}, resumed=True, energy_j=1234.5, chance=1 / 3),
    TrialFailed(5.0, 1, 2, Failure.DEVICE_LOST, "gone", {}, {"xid": 79}, False, resumed=True),
    TrialsRetried(5.5, (1, 7)),
    StudyPaused(6.0, True),
    StudyResumed(6.0),
    StudyCancelled(6.0),
    StudyArchived(6.0),
    TimeSpent(7.0, 60.0),
    BudgetReached(8.0, "cost"),
]  # fmt: skip


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)
def test_events_survive_json_bit_for_bit(event: Event) -> None:
    """A replay must rebuild the very same study, floats and bytes included."""
    assert decode_event(json.loads(json.dumps(encode_event(event)))) == event


def test_every_event_is_tried_here() -> None:
    """A new event must be added to the list above, or nobody knows that it can be journalled."""
    assert {type(event) for event in EVENTS} == set(get_args(Event))


def test_added_keys_are_ignored_and_missing_ones_take_their_default() -> None:
    """Keys may be added without a new format version."""
    data = encode_event(StudyPaused(6.0)) | {"colour": "red"}
    del data["now"]
    assert decode_event(data) == StudyPaused(6.0)


@pytest.mark.parametrize(
    "data", [{}, {"type": "Nonsense"}, {"type": "TrialStarted"}, {"type": "StudyCreated", "spec": 5}]
)
def test_garbage_is_a_value_error(data: dict[str, object]) -> None:
    """A damaged line is reported as such, never as a puzzling error from deep inside."""
    with pytest.raises(ValueError, match="no event"):
        decode_event(data)


DEVICE_EVENTS: list[DeviceEvent] = [
    DeviceQuarantined(1.0, "GPU-1", "XID 79: it has fallen off the bus", 79),
    DeviceDrained(2.0, "GPU-1", "drained by bob"),
    DeviceReturned(3.0, "GPU-1", "returned by bob"),
    DevicesLimited(4.0, 2, "limited by bob"),
]


@pytest.mark.parametrize("event", DEVICE_EVENTS, ids=lambda event: type(event).__name__)
def test_an_event_of_a_device_comes_back(event: DeviceEvent) -> None:
    """What was said of a device holds after a restart."""
    assert decode_device_event(json.loads(json.dumps(encode_event(event)))) == event
    assert {type(each) for each in DEVICE_EVENTS} == set(get_args(DeviceEvent))
    with pytest.raises(ValueError, match="no event of a device"):
        decode_device_event({"type": "StudyPaused", "at": 1.0})


@example(data=None)  # was taken for an event
@example(data=encode_event(TrialsRequested(2.0, 3)) | {"count": "3"})  # was taken, and broke the study
@example(data=encode_event(TrialsRequested(2.0, 3)) | {"at": float("nan")})
@example(data=encode_event(TrialsRequested(2.0, 3)) | {"at": 10**400})  # OverflowError
@example(data=encode_event(TrialsRetried(5.5, (1, 7))) | {"trials": "17"})
@example(data=encode_event(StudyCreated(1.5, SPEC)) | {"spec": {"space": {"parameters": []}}})  # ConfigurationError
@given(data=st.sampled_from(EVENTS).flatmap(lambda event: mutated(encode_event(event))) | odd_values)
def test_a_changed_line_is_an_event_with_values_of_its_types_or_none(data: Any) -> None:
    """A damaged line, or one of another client, must not become an event that breaks the study it is for."""
    try:
        event = decode_event(data)
    except ValueError as error:
        assert str(error).startswith("no event")
        return
    encoded = json.dumps(encode_event(event))
    again = decode_event(json.loads(encoded))
    assert (type(event) in get_args(Event), repr(again)) == (True, repr(event))
