"""Which study gets the free device: a pure function of idle devices and what the studies want."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from cnnbo.scheduler.study import Study
from cnnbo.scheduler.trial import Failure, Trial


@dataclass(frozen=True, slots=True)
class StartTrial:
    """Put this trial on this device."""

    study: str
    trial: int
    device: str


@dataclass(frozen=True, slots=True)
class RequestTrials:
    """`count` idle devices wait for points of this study: ask for them."""

    study: str
    count: int


Allocation = StartTrial | RequestTrials


@dataclass(slots=True)
class _Claim:
    """What one study may still take in this round, used up device by device."""

    study: Study
    returned: Mapping[str, float]
    ready: list[Trial]
    in_flight: int
    asked: int  # points on their way, each of which will want a device
    requestable: int
    progress: float  # share of its trials that have begun, or for which a device is taken
    requested: int = field(default=0)

    @classmethod
    def of(cls, study: Study, returned: Mapping[str, float]) -> "_Claim":
        return cls(
            study,
            returned,
            ready=list(study.ready),
            in_flight=len(study.running),
            asked=sum(study.outstanding_asks.values()),
            requestable=study.requestable,
            progress=sum(1 for trial in study.trials if trial.attempts) / study.spec.evaluations,
        )

    def has_slot(self, in_use: int) -> bool:
        """Whether it may take one more device, where it and those that count as one with it have so many."""
        # Lowered evaluations may be fewer than the trials that wait: those beyond them would run for nothing.
        is_wanted = self.in_flight < self.study.spec.evaluations - self.study.finished
        return is_wanted and (self.study.spec.max_devices is None or in_use < self.study.spec.max_devices)

    def take(self, device: str, in_use: int) -> StartTrial | bool | None:
        """Claim a device: a trial to start on it, None if it is kept for a point to come, False if not wanted."""
        if not self.has_slot(in_use):
            return False
        trial = next((trial for trial in self.ready if self._may_run_on(trial, device)), None)
        if trial is not None:
            self.ready.remove(trial)
        elif self.asked > 0:
            self.asked -= 1
        elif self.requestable > 0:
            self.requestable -= 1
            self.requested += 1
        else:
            return False
        self.in_flight += 1
        self.progress += 1 / self.study.spec.evaluations
        return None if trial is None else StartTrial(self.study.name, trial.id, device)

    def _may_run_on(self, trial: Trial, device: str) -> bool:
        """A trial that lost its device waits for another one, or for somebody's word that this one is well again.

        Given before the lost attempt was over at last, it counts too: until then the quarantine kept the trial away.
        """
        last = trial.attempts[-1] if trial.attempts else None
        if last is None or last.outcome != Failure.DEVICE_LOST or last.device != device:
            return True
        return self.returned.get(device, 0.0) > last.started


def _is_open(study: Study, minute: int) -> bool:
    return study.spec.hours is None or study.spec.hours.hold(minute)


def allocate(
    idle: Sequence[str],
    studies: Sequence[Study],
    minute: int = 0,
    returned: Mapping[str, float] = MappingProxyType({}),
) -> list[Allocation]:
    """Share out idle devices.

    Each device goes to the study with the fewest trials in flight (running, or about to start in this round), among
    equals to the oldest. A comparison counts as one study; within it the device goes to the part that has begun the
    smallest share of its trials: so all methods and runs go forward side by side, none has the quiet night to itself,
    and the trials of one run are spread as far apart as they can be, whatever its method. A device that waits for a
    point on its way counts as taken, so calling this again before the point arrives asks for nothing twice.

    Args:
        idle: UUIDs of devices that may start a trial, in the order of preference.
        studies: all studies; paused and ended ones, and those outside of their hours, want nothing.
        minute: minutes since midnight, in the local time of the box.
        returned: when somebody last returned a device after it was out of use, in seconds since the epoch.

    Returns:
        what to start, and what to ask for, at most one request a study.
    """
    claims = [
        _Claim.of(study, returned)
        for study in studies
        if study.state == "running" and study.budget_limit is None and _is_open(study, minute)
    ]
    starts: list[Allocation] = []
    for device in idle:
        in_flight = _in_flight(claims)
        for claim in _in_turn(claims, in_flight):
            taken = claim.take(device, in_flight[_group(claim.study)])
            if taken is not False:
                starts += [taken] if isinstance(taken, StartTrial) else []
                break
    return starts + [RequestTrials(claim.study.name, claim.requested) for claim in claims if claim.requested]


def _in_flight(claims: Sequence[_Claim]) -> Counter[str]:
    """How many trials are in flight, by what counts as one."""
    in_flight: Counter[str] = Counter()
    for claim in claims:
        in_flight[_group(claim.study)] += claim.in_flight
    return in_flight


def _in_turn(claims: Sequence[_Claim], in_flight: Mapping[str, int]) -> list[_Claim]:
    """The claims, whose turn it is first."""
    created_at: dict[str, float] = {}
    for claim in claims:
        group = _group(claim.study)
        created_at[group] = min(claim.study.created_at, created_at.get(group, math.inf))

    def turn(claim: _Claim) -> tuple[float, ...]:
        group = _group(claim.study)
        return in_flight[group], created_at[group], claim.progress, claim.in_flight, claim.study.created_at

    return sorted(claims, key=turn)


def _group(study: Study) -> str:
    """What counts as one in the sharing: a comparison, or a study that is part of none."""
    return f"study {study.name}" if study.spec.part is None else f"comparison {study.spec.part.plan.name}"
