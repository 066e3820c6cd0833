"""What happens in a round: drawn from its seed alone, so that a seed repeats a round on any machine.

Moments are told in rows of the journal ("after the 17th event"), not in seconds from the beginning: a slow machine gets
the same faults at the same points of its studies.
"""

import random
from dataclasses import dataclass, replace

from tests.nemesis.training import BEHAVIOURS

WITH_SURROGATE_EVERY = 5
"""One round in so many asks a surrogate, which takes ten times as long."""

DEVICES = 3

_ROW_OF_A_RESULT = 14
"""By then some trials of the only study have ended; cancelled before, it would prove nothing."""

FAULTS = {
    "kill_daemon": 4,
    "stop_daemon": 2,
    "freeze_daemon": 2,
    "kill_runner": 4,
    "kill_trial": 2,
    "kill_proposer": 2,
    "freeze_proposer": 2,
    "kill_broker": 2,
    "fill_disk": 2,
    "lose_device": 3,
    "report_error": 3,
    "break_driver": 2,
    "occupy_device": 2,
    "jump_clock": 2,
    "copy_journal": 2,
}
"""Names of functions in `faults`, with how often each is drawn in comparison."""

ORDERS = {
    "pause_and_resume": 2,
    "stop_and_resume": 2,
    "retry": 2,
    "cancel_one": 1,
    "extend": 2,
    "drain_and_return": 2,
    "raise_budget": 1,
}
"""The same for what users order in between."""


@dataclass(frozen=True, slots=True)
class Strike:
    """One fault or order.

    Attributes:
        fault: name of a function in `faults`.
        after_row: strikes when so many events are journalled.
        delay_s: and then so much later.
        lasts_s: how long it lasts before it is healed, where it is healed.
        pick: in [0, 1); which of several victims, or how.
    """

    fault: str
    after_row: int
    delay_s: float
    lasts_s: float
    pick: float


@dataclass(frozen=True, slots=True)
class StudyPlan:
    """One study of a round.

    Attributes:
        behaviours: what its trials do, by rising id, from the beginning again after the last (see `training`).
        pattern: whether the value is found in the output; else in the result file.
        cost: its budget, in the price of one device hour; None = none.
        max_devices: how many devices it may use; None = all.
    """

    name: str
    optimizer: str
    evaluations: int
    behaviours: tuple[str, ...]
    pattern: bool = False
    cost: float | None = None
    max_devices: int | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """A whole round.

    Attributes:
        own_broker: whether the news goes to a mosquitto of the round's own; else to the embedded broker.
    """

    seed: int
    studies: tuple[StudyPlan, ...]
    strikes: tuple[Strike, ...]
    own_broker: bool

    @property
    def uses_surrogate(self) -> bool:
        """Whether a study of it asks TensorFlow."""
        return any(study.optimizer == "trieste" for study in self.studies)

    def has(self, fault: str) -> bool:
        """Whether a fault of that name is among the strikes."""
        return any(strike.fault == fault for strike in self.strikes)


def draw_plan(seed: int) -> Plan:
    """The plan of a seed."""
    draw = random.Random(seed)
    if seed % WITH_SURROGATE_EVERY == 0:
        studies: tuple[StudyPlan, ...] = (_study(draw, "gamma", "trieste", draw.randint(8, 9)),)
    else:
        names = ("alpha", "beta")[: draw.randint(1, 2)]
        studies = tuple(_study(draw, name, "sobol", draw.randint(8, 16 // len(names))) for name in names)
    rows = 4 * sum(study.evaluations for study in studies)
    faults = [_strike(draw, FAULTS, rows) for _ in range(draw.randint(2, 4))]
    orders = [_strike(draw, ORDERS, rows) for _ in range(draw.randint(0, 2))]
    strikes = tuple(sorted(faults + orders, key=lambda strike: strike.after_row))
    if any(strike.fault == "fill_disk" for strike in strikes):
        # A full disk may cost a log some lines, and then it is no witness of the value that was found in it.
        studies = tuple(replace(study, pattern=False) for study in studies)
    return Plan(seed, studies, strikes, own_broker=draw.random() < 0.5)


def _study(draw: random.Random, name: str, optimizer: str, evaluations: int) -> StudyPlan:
    # The first trial goes well, and half of the others: a study in which nothing but trouble happens proves little.
    trouble = [name for name in BEHAVIOURS if name != "well"]
    others = ("well" if draw.random() < 0.5 else draw.choice(trouble) for _ in range(evaluations - 1))
    behaviours = ("well", *others)
    return StudyPlan(
        name,
        optimizer,
        evaluations,
        behaviours,
        pattern=draw.random() < 0.25,
        cost=draw.choice([None, None, None, draw.uniform(4.0, 12.0) / 3600]),
        max_devices=draw.choice([None, None, 1, 2]),
    )


def _strike(draw: random.Random, weights: dict[str, int], rows: int) -> Strike:
    [fault] = draw.choices(list(weights), list(weights.values()))
    return Strike(
        fault,
        after_row=draw.randint(_ROW_OF_A_RESULT if fault == "cancel_one" else 2, int(0.7 * rows)),
        delay_s=round(draw.uniform(0.0, 0.3), 3),
        lasts_s=round(draw.uniform(0.2, 1.2), 3),
        pick=round(draw.random(), 3),
    )
