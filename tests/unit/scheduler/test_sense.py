"""What a study may not say, whichever client says it."""

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.fuzz.mutations import mutated

from cnnbo.scheduler.codec import decode_value, encode_value
from cnnbo.scheduler.errors import CnnboError
from cnnbo.scheduler.sense import nonsense_in
from cnnbo.scheduler.space import FloatParameter, SearchSpace
from cnnbo.scheduler.spec import Budget, Origin, ReportSettings, StudySpec, TrialSettings

SPACE = SearchSpace((FloatParameter("x", 0.0, 1.0),))
GOOD = StudySpec(
    SPACE,
    name="s",
    command=("python", "train.py"),
    trial=TrialSettings(timeout_s=60.0, memory_mib=512.0),
    report=ReportSettings(pattern="acc: (.*)", chance=0.14),
    budget=Budget(10.0, 1.0, 1.0, 2.6),
    max_devices=2,
    origin=Origin("/home/me/caf\udce9", {"PATH": "/bin"}),  # a name in Latin-1, as Python reads it
)


def test_a_study_that_makes_sense_passes() -> None:
    """Working directories and variables need not be UTF-8."""
    assert nonsense_in(GOOD) is None
    assert nonsense_in(StudySpec(SPACE, model="svhn-cnn")) is None


@pytest.mark.parametrize(("spec", "sentence"), [
    (replace(GOOD, evaluations=10**30), "evaluations"),  # ended the daemon: more than a column of SQLite holds
    (replace(GOOD, evaluations=0), "evaluations"),
    (replace(GOOD, seed=-1), "seed"),
    (replace(GOOD, initial=-1), "initial"),
    (replace(GOOD, max_devices=0), "devices.max"),  # would never have run
    (replace(GOOD, trial=TrialSettings(epochs=0)), "trial.epochs"),
    (replace(GOOD, trial=TrialSettings(timeout_s=-1.0)), "trial.timeout"),
    (replace(GOOD, trial=TrialSettings(memory_mib=0.0)), "trial.memory"),
    (replace(GOOD, budget=Budget(cost=-1.0)), "budget.cost"),
    (replace(GOOD, budget=Budget(price_per_device_hour=-1.0)), "budget.price"),
    (replace(GOOD, command=()), "either a model or a command"),
    (replace(GOOD, model="svhn-cnn"), "either a model or a command"),
    (replace(GOOD, command=("",)), "no program"),
    (replace(GOOD, report=ReportSettings(pattern="(")), "no regular expression"),
    (replace(GOOD, report=ReportSettings(chance=math.nan)), "report.chance must be a number"),
    (replace(GOOD, report=ReportSettings(chance=-math.inf)), "report.chance must be a number"),
    (StudySpec(SPACE, model="svhn-cnn", report=ReportSettings(chance=0.1)), "report.chance is for commands"),
    (replace(GOOD, command=("python", "a\0b")), "null character"),
    (replace(GOOD, origin=Origin("/", {"A": "\ud800"})), "surrogate"),
    (replace(GOOD, origin=Origin("/", {"A=": "x"})), "has no name"),
])  # fmt: skip
def test_what_would_come_up_later_is_named_now(spec: StudySpec, sentence: str) -> None:
    """Once it is journalled nobody is there to be told, and it is replayed at every start."""
    problem = nonsense_in(spec)
    assert problem is not None and sentence in problem


@given(data=st.just(encode_value(GOOD)).flatmap(mutated))
def test_any_study_that_is_read_can_be_judged(data: object) -> None:
    """Whatever a client sends, the answer is a sentence."""
    try:
        spec = decode_value(StudySpec, data)
    except (KeyError, TypeError, ValueError, CnnboError):
        return
    problem = nonsense_in(spec)
    assert problem is None or "\n" not in problem
