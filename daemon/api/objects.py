"""What is told of boxes, devices, studies and trials: the objects of topics, responses and `--json`, key by key.

Producers name these types for mypy alone, so that a daemon never imports this module; `schemas` makes of it what is
published, with the text below each key as its description, and `cnnbo.daemon.remote` checks with it what another box
told. DESIGN: times are RFC 3339 UTC, unknown is null, numbers are numbers with their unit in the name; keys are only
ever added, and may be null, which is what a reader takes an older daemon to say that doesn't tell them.
"""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field, with_config
from typing_extensions import TypedDict  # pydantic can't read typing's own below Python 3.12

from cnnbo.daemon.executors.base import Phase
from cnnbo.scheduler.events import Reason
from cnnbo.scheduler.fleet import DeviceState
from cnnbo.scheduler.optimizers.base import Source
from cnnbo.scheduler.space import Scalar
from cnnbo.scheduler.spec import Direction
from cnnbo.scheduler.study import StudyState
from cnnbo.scheduler.trial import Failure, TrialState

Time = Annotated[
    str,
    Field(
        pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$",
        json_schema_extra={"format": "date-time"},
        examples=["2026-11-24T14:36:02.114Z"],
    ),
]
"""RFC 3339 in UTC with milliseconds."""

Count = Annotated[int, Field(ge=0)]
Number = Annotated[int, Field(ge=1)]
"""An id or the number of an attempt: they count from 1."""
Amount = Annotated[float, Field(ge=0)]
"""Something that can't be negative."""

Outcome = Literal[
    "complete", "cancelled", "diverged", "out_of_memory", "timeout", "crashed", "device_lost", "interrupted"
]
"""How an attempt ended: `complete`, `cancelled` or a failure class."""


@with_config(ConfigDict(use_attribute_docstrings=True, allow_inf_nan=False))
class Told(TypedDict):
    """Has its keys described by the text below each."""


class EnvelopeKeys(Told):
    """What every JSON object on a topic begins with."""

    schema: str
    """Name and number of the object's form; keys may be added to it, a breaking change counts up."""
    ts: Time
    """When it was told; a copy that is sent again carries the same time."""
    boot: str
    """Identifies a life of the daemon."""
    seq: Number
    """Rises from message to message of a topic; the same `boot` and `seq` on a topic again are a copy."""


class InfoObject(Told):
    """The daemon behind the topics."""

    version: str
    """Version of cnnbo."""
    node: str
    """Name of the box, the level of the topics before this one."""
    started: Time
    """When the daemon started."""
    devices: str
    """A sentence for people about the devices it found; each device has its own topic."""
    pid: Number
    """Its process on the box."""
    state: str
    """Its state folder on the box."""
    limit: Count | None
    """At most so many devices are used at a time, as somebody said last (`limit`); null = all of them."""
    requests: bool
    """Whether it takes requests over MQTT."""


class DeviceObject(Told):
    """A device and what it is doing."""

    uuid: str
    """What identifies it for good: NVML's UUID, `cpu-0` for a CPU slot."""
    index: Count
    """Its number on this box; may change over a reboot."""
    name: str
    """The maker's name for it."""
    state: DeviceState
    """`busy` with a trial, `foreign` (used by somebody else), `drained` by an operator, `quarantined` with a fault."""
    reason: str | None
    """Why it is out of use, or gets no trial, as a sentence."""
    since: Time | None
    """When the daemon first saw it in this state."""
    memory_used_mib: Amount | None
    """Device memory in use by anybody, in MiB."""
    memory_total_mib: Amount | None
    """Device memory in all, in MiB."""
    utilisation_percent: Annotated[float, Field(ge=0, le=100)] | None
    """Share of the last moments in which it worked, in percent."""
    temperature_c: float | None
    """Degrees Celsius."""
    power_w: Amount | None
    """Watts drawn now."""
    study: str | None
    """Name of the study whose trial runs there."""
    trial: Number | None
    """Id of that trial."""
    phase: Phase | None
    """What that trial is doing."""


class AttemptObject(Told):
    """One run of a trial's command on one device."""

    n: Number
    """Number of the attempt."""
    device: str
    """UUID of the device."""
    started: Time
    """When it started."""
    ended: Time | None
    """When it ended; null while it runs."""
    outcome: Outcome | None
    """How it ended; null while it runs."""
    resumed: bool
    """Whether it went on from a checkpoint, as it said at its end."""
    energy_j: Amount | None
    """What its device used meanwhile, in joules; null while it runs and where it isn't measured."""


class TrialObject(Told):
    """One evaluation of one configuration."""

    id: Number
    """Counts from 1 within the study."""
    state: TrialState
    """How it stands; a lost attempt leads back to `pending`."""
    configuration: dict[str, Scalar]
    """Parameters with their values."""
    value: float | None
    """The metric as reported; null unless `complete`."""
    chance: float | None
    """The best value that luck explains; null if nobody said, and unless `complete`."""
    at_chance: bool | None
    """Whether the value is no better than `chance`: the trial is complete, and learnt nothing."""
    failure: Failure | None
    """Why it failed; null unless `failed`."""
    source: Source
    """Where its point came from; `space_filling`: far from the others, while there is nothing to learn from."""
    duration_s: Amount | None
    """Seconds of its last attempt; null while that runs."""
    energy_j: Amount | None
    """Joules of all its attempts, as far as they were measured."""
    cost: Amount | None
    """What its attempts have cost so far, in the unit of the study's `price_per_device_hour`; null without a price."""
    attempts: list[AttemptObject]
    """All attempts, oldest first."""
    message: str | None
    """A sentence about the end of its last attempt."""
    note: str | None
    """Why its point is a fallback of the optimizer."""
    metrics: dict[str, float | None]
    """Further figures that it reported with its end."""
    resumed: bool
    """Whether its last attempt went on from a checkpoint: then its seconds are not those of the whole training."""
    braked: bool | None
    """Whether it crashed like those that paused the study: held against the script, not against its configuration."""


class BestObject(Told):
    """The best completed trial."""

    trial: Number
    """Its id."""
    value: float
    """Its value."""
    configuration: dict[str, Scalar]
    """Its parameters with their values."""


class InsightObject(Told):
    """What the surrogate believed at its last ask, in the direction of the metric."""

    relevance: dict[str, Annotated[float, Field(ge=0, le=1)]]
    """The most relevant parameters, at most 20, with their shares; those of all parameters sum to 1."""
    best_mean: float | None
    """Value believed of the best configuration tried."""
    best_sd: Amount | None
    """Standard deviation of that belief, in units of the value."""
    noise_sd: Amount | None
    """By how much repeated trials of one configuration differ: a standard deviation, in units of the value."""
    expected_improvement: Amount | None
    """Gain over `best_mean` expected of the newest proposal if its trial finishes, in units of the value."""
    feasible_probability: Annotated[float, Field(ge=0, le=1)] | None
    """The chance that it finishes."""
    expected_gain: Amount | None
    """`expected_improvement` times `feasible_probability`, in units of the value."""
    observations: Count | None
    """How many observations the surrogate was fitted to."""
    observed: Count | None
    """How many there were."""
    asks_below_noise: Count
    """How many asks in a row had an `expected_gain` below `noise_sd`."""
    stop_advised: bool
    """Whether stopping is reasonable: five such asks in a row, while the study is running. Nothing acts on it."""


class StudyObject(Told):
    """How a study stands.

    Figures that run with the clock are those of the last change.
    """

    name: str
    """Its name, [a-z0-9-]{1,40}."""
    state: StudyState
    """What it is doing; one is `failed` that ended without a completed trial."""
    reason: Reason | None
    """Why it is in that state; null while nothing stopped it."""
    archived: bool
    """Whether it is hidden; an archived study has no topic."""
    evaluations: Number
    """How many trials are to be finished."""
    finished: Count
    """How many are: complete or failed."""
    running: Count
    """Trials that run now."""
    failed: Count
    """Trials that failed, undecided ones too."""
    at_chance: Count | None
    """Complete trials whose value is no better than chance; they count as finished, not as failed."""
    cancelled: Count
    """Trials that were cancelled."""
    best: BestObject | None
    """The best completed trial; one at chance only as long as there is no other."""
    best_trial: Number | None
    """Its id once more, for readers of flat objects."""
    best_value: float | None
    """Its value once more."""
    energy_kwh: Amount | None
    """What the devices used for it, in kWh; null where it isn't measured."""
    cost: Amount | None
    """What it has cost so far, in the unit of `price_per_device_hour`."""
    eta_s: Amount | None
    """Seconds until the last evaluation, as far as can be told; 0 once it has ended."""
    metric: str
    """Name of the value."""
    direction: Direction
    """Which values are better."""
    optimizer: str
    """What proposes its points."""
    model: str | None
    """The built-in model; null for a command of one's own."""
    seed: int
    """Seed of the optimizer."""
    space: list[str]
    """Names of the parameters."""
    owner: str | None
    """Who submitted it."""
    python: str | None
    """The interpreter of a command's trials; null for a built-in model."""
    started: Time
    """When it was submitted."""
    ended: Time | None
    """When it ended."""
    spent_s: Amount
    """Seconds in which at least one of its trials ran."""
    spent_wall_clock_s: Amount | None
    """Seconds in which it was running with the daemon up; counted only where `budget_wall_clock_s` limits them."""
    budget_wall_clock_s: Amount | None
    """Its limit of such seconds; null without one."""
    budget_cost: Amount | None
    """Its limit of `cost`; null without one."""
    budget_energy_kwh: Amount | None
    """Its limit of `energy_kwh`; null without one."""
    failures: dict[Failure, Number]
    """How many trials failed, by class; only classes that occurred."""
    test_set_openings: Count | None
    """How many attempts opened the test set: built-in models note it, scripts by `report.test_set_opened()`."""
    insight: InsightObject | None
    """What its surrogate believes; null before its first ask, and for `random` and `sobol` always."""
    comparison: str | None
    """Name of the comparison that it is a part of; null for a study of its own."""
    advice: str | None
    """What to look at first, where it ended with every value at chance, or with none though the study file says what
    luck explains; else null."""
    undecided: list[Number] | None
    """Trials whose equal crashes paused it, until somebody decides: `submit` runs them again, `resume` goes on without
    them."""


class ShowObject(StudyObject):
    """A study with all its trials: `cnnbo show NAME --json`."""

    trials: list[TrialObject]
    """Its trials by id."""


class ComparisonObject(Told):
    """How a comparison stands: `cnnbo show NAME --json` of its name."""

    comparison: str
    """Its name, [a-z0-9-]{1,25}."""
    state: StudyState
    """`running` until all that is due has ended; `paused` where something of it is and nothing runs."""
    methods: list[str]
    """What is compared."""
    runs: Number
    """How many independent runs each method has."""
    evaluations: Number
    """How many trials the studies that are there have in all; confirmation and final trainings come later."""
    finished: Count
    """How many of them are: complete or failed."""
    running: Count
    """Trials that run now."""
    failed: Count
    """Trials that failed, undecided ones too."""
    at_chance: Count | None
    """Complete trials whose value is no better than chance."""
    cancelled: Count
    """Trials that were cancelled."""
    energy_kwh: Amount | None
    """What the devices used for it, in kWh; null where it isn't measured."""
    cost: Amount | None
    """What it has cost so far; null without a price."""
    test_set_openings: Count
    """How often one of its attempts opened the test set."""
    studies: list[StudyObject]
    """Its parts, oldest first; the names say which: run 3 of `bo` is `NAME-bo-3`."""


class ProgressObject(Told):
    """How far a running trial has come; null where the trial doesn't tell."""

    trial: Number
    """Its id."""
    device: str
    """UUID of its device."""
    step: Count | None
    """Steps done."""
    steps: Count | None
    """Steps in all."""
    epoch: Count | None
    """Epochs begun."""
    epochs: Count | None
    """Epochs in all."""
    metrics: dict[str, float | None]
    """Names with their newest figures."""


StudyEventName = Literal[
    "study_created", "study_running", "study_paused", "study_finished", "study_failed", "study_cancelled",
    "study_archived", "study_deleted",
]  # fmt: skip


class StudyEvent(Told):
    """Something happened to a study."""

    event: StudyEventName
    """What happened; `study_running` follows a `study_paused` or an end."""
    study: str
    """Name of the study."""
    reason: Reason | None
    """Why it ended or paused."""


TrialEventName = Literal[
    "trial_started", "trial_complete", "trial_failed", "trial_cancelled", "trial_interrupted", "trial_device_lost",
    "trial_retried",
]  # fmt: skip


class TrialEvent(Told):
    """An attempt at a trial began or ended, or the user withdrew what it came to."""

    event: TrialEventName
    """What happened; after `trial_interrupted` and `trial_device_lost` the trial waits for its next attempt."""
    study: str
    """Name of the study."""
    trial: Number
    """Id of the trial."""
    attempt: Number
    """Number of its last attempt."""
    device: str
    """UUID of the device of that attempt."""
    value: float | None
    """The metric as reported; null unless complete."""
    at_chance: bool | None
    """Whether it is complete with a value no better than chance."""
    failure: Failure | None
    """Why the trial failed; null unless it did."""
    message: str | None
    """A sentence about the end of the attempt."""
    source: Source
    """Where its point came from; `space_filling`: far from the others, while there is nothing to learn from."""
    note: str | None
    """Why its point is a fallback of the optimizer."""
    duration_s: Amount | None
    """Seconds of the attempt; null while it runs."""
    best_trial: Number | None
    """Id of the best completed trial of the study from now on."""
    best_value: float | None
    """Its value."""
    configuration: dict[str, Scalar]
    """Parameters of the trial with their values."""


class DeviceEvent(Told):
    """A device went out of use, or came back."""

    event: Literal["device_quarantined", "device_drained", "device_returned"]
    """What happened."""
    device: str
    """UUID of the device."""
    reason: str | None
    """Why, as a sentence."""
    xid: int | None
    """NVIDIA's number of the error that quarantined it."""


class LimitEvent(Told):
    """Somebody limited how many devices the box uses, or lifted the limit."""

    event: Literal["devices_limited"]
    """What happened."""
    devices: Count | None
    """At most so many at a time; null = all of them."""
    reason: str | None
    """Who said so, as a sentence."""


EventObject = StudyEvent | TrialEvent | DeviceEvent | LimitEvent
"""One entry of the event topic."""


class DaemonObject(Told):
    """The daemon that answers."""

    version: str
    """Version of cnnbo."""
    commit: str | None
    """Hash of the source it was started from, `-dirty` behind it where files differ; null if unknown, or for who asks
    through the broker."""
    pid: Number
    """Its process id."""
    boot: str
    """Identifies this life of it."""
    started: Time
    """When it started."""
    state: str
    """Its state folder."""
    devices_note: str
    """A sentence about the devices it found."""
    mqtt_reason: str | None
    """Why there is no broker at the moment, or what is wrong there; null if nothing is."""
    mqtt_starting: bool
    """Whether its broker is being started, in a daemon's first second: a `mqtt` of null is not its last word then."""
    mqtt_dropped_events: Count | None
    """Events dropped since its start because too many waited for the broker; null for who asks through that broker."""


class FactsObject(Told):
    """What a daemon says of itself."""

    daemon: DaemonObject | None
    """The daemon that answers; null where none does."""
    mqtt: str | None
    """Where its news are, `mqtt://host:port`; null without a broker."""


class StatusObject(FactsObject):
    """The daemon, its devices and studies: `cnnbo status --json`."""

    limit: Count | None
    """At most so many devices are used at a time, as somebody said last (`limit`); null = all of them."""
    devices: list[DeviceObject]
    """The devices by index."""
    studies: list[StudyObject]
    """The studies that aren't archived, oldest first."""


SubmitOutcome = Literal["created", "resumed", "going on", "finished"]


class SubmittedObject(StudyObject):
    """A study after `submit`."""

    outcome: SubmitOutcome
    """Whether it was begun, resumed after a pause, was running already, or has ended."""
    retried: list[Number] | None
    """Trials that run again by this, since their equal crashes had paused it; null where that isn't known any more."""


class ComparedObject(ComparisonObject):
    """A comparison after `compare`."""

    outcome: SubmitOutcome
    """Whether it was begun, resumed after a pause, was running already, or has ended."""
    retried: dict[str, list[Number]] | None
    """Trials of its studies that run again by this, because their equal crashes had paused these."""


class LimitObject(Told):
    """The limit of the box."""

    limit: Count | None
    """How many devices are used at a time; null for all of them."""


class NothingObject(Told):
    """An object without keys."""


class RefusalObject(Told):
    """The data of a response whose status is `error`."""

    configuration: bool
    """Whether a study or a setting is wrong as it is written; then each line of `error` is a mistake in it."""


class ResponseObject(Told):
    """The answer to a request."""

    transaction: str | int | None
    """That of the request."""
    status: Literal["ok", "error"]
    """Whether the request was carried out."""
    data: dict[str, object] | None
    """What was asked for, or how things stand now; after an error what kind of error it is."""
    error: str | None
    """What is wrong and what to do, in a sentence; null if nothing is."""
