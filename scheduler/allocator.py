"""Which study gets the free device: a pure function of idle devices and what the studies want."""

from collections.abc import Sequence
from dataclasses import dataclass, field

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
    ready: list[Trial]
    in_flight: int
    asked: int  # points on their way, each of which will want a device
    requestable: int
    requested: int = field(default=0)

    @property
    def has_slot(self) -> bool:
        return self.study.spec.max_devices is None or self.in_flight < self.study.spec.max_devices

    def take(self, device: str) -> StartTrial | bool | None:
        """Claim a device: a trial to start on it, None if it is kept for a point to come, False if not wanted."""
        if not self.has_slot:
            return False
        trial = next((trial for trial in self.ready if _may_run_on(trial, device)), None)
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
        return None if trial is None else StartTrial(self.study.name, trial.id, device)


def _may_run_on(trial: Trial, device: str) -> bool:
    """A trial that lost its device waits for another one: the device may be the culprit."""
    last = trial.attempts[-1] if trial.attempts else None
    return last is None or last.outcome != Failure.DEVICE_LOST or last.device != device


def allocate(idle: Sequence[str], studies: Sequence[Study]) -> list[Allocation]:
    """Share out idle devices.

    Each device goes to the study with the fewest trials in flight (running, or about to start in this round), among
    equals to the oldest. A device that waits for a point on its way counts as taken, so calling this again before the
    point arrives asks for nothing twice.

    Args:
        idle: UUIDs of devices that may start a trial, in the order of preference.
        studies: the studies that may start trials now; paused and ended ones want nothing by themselves.

    Returns:
        what to start, and what to ask for, at most one request a study.
    """
    claims = [
        _Claim(study, list(study.ready), len(study.running), sum(study.outstanding_asks.values()), study.requestable)
        for study in studies
        if study.state == "running" and study.budget_limit is None
    ]
    starts: list[Allocation] = []
    for device in idle:
        for claim in sorted(claims, key=lambda claim: (claim.in_flight, claim.study.created_at)):
            taken = claim.take(device)
            if taken is not False:
                starts += [taken] if isinstance(taken, StartTrial) else []
                break
    return starts + [RequestTrials(claim.study.name, claim.requested) for claim in claims if claim.requested]
