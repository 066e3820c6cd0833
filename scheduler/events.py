"""Facts that go into a study (events) and decisions that come out of it (commands), as plain data.

Events are journalled before they are handled; replaying them rebuilds the study. `at` is seconds since the epoch.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from cnnbo.scheduler.optimizers.base import Source
from cnnbo.scheduler.space import Point
from cnnbo.scheduler.spec import StudySpec
from cnnbo.scheduler.trial import Failure

Reason = Literal["evaluations", "budget", "space_exhausted", "crashes", "user"]


@dataclass(frozen=True, slots=True)
class StudyCreated:
    """The first event of every study."""

    at: float
    spec: StudySpec


@dataclass(frozen=True, slots=True)
class StudyAmended:
    """The study file was submitted again with another number of evaluations, budget, timeout or device cap."""

    at: float
    spec: StudySpec


@dataclass(frozen=True, slots=True)
class TrialsRequested:
    """`count` devices are free for this study: points are to be asked for."""

    at: float
    count: int


@dataclass(frozen=True, slots=True)
class PointsSuggested:
    """The answer to an ask, with all that is needed to repeat it.

    Attributes:
        ask: the ask that is answered.
        points: canonical, distinct from everything proposed before.
        source: where they came from.
        observed, censored, failed, pending, excluded: ids of the trials the proposal was based on, in the order handed
            over. (`censored` is empty in events of journal formats before 3, which told chance as a failure.)
        note: why this is a fallback; None if it isn't.
        insight: what the surrogate believes, as it said it: plain data in units of the objective (the study turns them
            into a `StudyInsight`); empty where none took part.
        hint_in, hint: what was handed to the optimizer, and what it wants to be handed next time.
        seconds: how long the proposer took.
        environment: versions and thread count of the proposer.
    """

    at: float
    ask: int
    points: tuple[Point, ...]
    source: Source
    observed: tuple[int, ...] = ()
    failed: tuple[int, ...] = ()
    pending: tuple[int, ...] = ()
    excluded: tuple[int, ...] = ()
    note: str | None = None
    insight: Mapping[str, object] = field(default_factory=dict)
    hint_in: bytes | None = None
    hint: bytes | None = None
    seconds: float = 0.0
    environment: Mapping[str, object] = field(default_factory=dict)
    censored: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class AskDropped:
    """Nobody will answer this ask: its proposer is gone, or the space has nothing left."""

    at: float
    ask: int
    space_exhausted: bool = False


@dataclass(frozen=True, slots=True)
class TrialStarted:
    """An attempt is about to be started; journalled before the process is.

    Attributes:
        token: random text that every process of the attempt carries in its environment.
    """

    at: float
    trial: int
    attempt: int
    device: str
    token: str = ""


@dataclass(frozen=True, slots=True)
class TrialCompleted:
    """An attempt ended with a value.

    Attributes:
        value: the metric as reported, finite.
        evidence: what was seen, for people.
        resumed: whether the attempt went on from a checkpoint.
        energy_j: what its device used meanwhile, in joules, >= 0; None where it isn't measured.
        opened_test_set: whether it opened the test set.
        chance: the best value that luck explains, in the user's direction, finite, as the script reported it; None if
            it said nothing.
    """

    at: float
    trial: int
    attempt: int
    value: float
    metrics: Mapping[str, float] = field(default_factory=dict)
    evidence: Mapping[str, object] = field(default_factory=dict)
    resumed: bool = False
    energy_j: float | None = None
    opened_test_set: bool = False
    chance: float | None = None


@dataclass(frozen=True, slots=True)
class TrialFailed:
    """An attempt ended without a value.

    Attributes:
        kind: what equal crashes have in common, see `crash_kind`; None = the message, as in older journals.
        is_lost: for a failure that is retried, whether the attempt counts as lost; a pause or an orderly stop doesn't.
        evidence: what was seen, for people.
        resumed: whether the attempt went on from a checkpoint, as far as it said.
        energy_j: what its device used meanwhile, in joules, >= 0; None where it isn't measured.
        opened_test_set: whether it opened the test set, however it ended afterwards.
    """

    at: float
    trial: int
    attempt: int
    failure: Failure
    message: str = ""
    metrics: Mapping[str, float] = field(default_factory=dict)
    evidence: Mapping[str, object] = field(default_factory=dict)
    is_lost: bool = True
    resumed: bool = False
    energy_j: float | None = None
    opened_test_set: bool = False
    kind: str | None = None


@dataclass(frozen=True, slots=True)
class TrialsRetried:
    """The user withdraws what ended trials came to: as if it had never been seen, and they run again.

    Attributes:
        trials: ids, at least one, none twice.
    """

    at: float
    trials: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class StudyPaused:
    """The user wants nothing new to start; with `now`, running trials are stopped too."""

    at: float
    now: bool = False


@dataclass(frozen=True, slots=True)
class StudyResumed:
    """The user wants the study to go on."""

    at: float


@dataclass(frozen=True, slots=True)
class StudyCancelled:
    """The user ended the study for good; running trials are stopped."""

    at: float


@dataclass(frozen=True, slots=True)
class StudyArchived:
    """The user wants an ended study out of sight."""

    at: float


@dataclass(frozen=True, slots=True)
class TimeSpent:
    """The study was running, with the daemon up, for so many seconds more; counts towards the wall-clock budget."""

    at: float
    seconds: float


@dataclass(frozen=True, slots=True)
class BudgetReached:
    """One more trial would exceed the budget.

    Attributes:
        limit: key of the `[budget]` table that was reached.
    """

    at: float
    limit: str


Event = (
    StudyCreated
    | StudyAmended
    | TrialsRequested
    | PointsSuggested
    | AskDropped
    | TrialStarted
    | TrialCompleted
    | TrialFailed
    | TrialsRetried
    | StudyPaused
    | StudyResumed
    | StudyCancelled
    | StudyArchived
    | TimeSpent
    | BudgetReached
)


@dataclass(frozen=True, slots=True)
class DeviceQuarantined:
    """A device is broken: it gets no trial until somebody returns it.

    Attributes:
        device: its UUID.
        reason: what is wrong with it, as a sentence without its full stop.
        xid: the number under which its driver reported it; None if it was seen otherwise.
    """

    at: float
    device: str
    reason: str
    xid: int | None = None


@dataclass(frozen=True, slots=True)
class DeviceDrained:
    """Somebody wants a device to get no trial; what runs there goes on to its end.

    Attributes:
        device: its UUID.
        reason: by whom, for people.
    """

    at: float
    device: str
    reason: str


@dataclass(frozen=True, slots=True)
class DeviceReturned:
    """Somebody says that a drained or quarantined device may be used again.

    Attributes:
        device: its UUID.
        reason: by whom, for people.
    """

    at: float
    device: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class DevicesLimited:
    """Somebody wants at most so many devices of the box to be used at a time; what runs goes on to its end.

    Attributes:
        max_devices: >= 0; None = all of them.
        reason: by whom, for people.
    """

    at: float
    max_devices: int | None
    reason: str = ""


DeviceEvent = DeviceQuarantined | DeviceDrained | DeviceReturned | DevicesLimited
"""What is said of one device, or of all of them."""


@dataclass(frozen=True, slots=True)
class AskOptimizer:
    """Ask the optimizer for `count` points and answer with `PointsSuggested(ask, …)`."""

    ask: int
    count: int


@dataclass(frozen=True, slots=True)
class StopTrial:
    """End this attempt: time for a checkpoint, then no mercy."""

    trial: int
    attempt: int


Command = AskOptimizer | StopTrial
