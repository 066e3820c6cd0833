"""What is known of boxes and their studies, gathered from many messages."""

from dataclasses import dataclass, field

from cnnbo.cli.monitor.course import Course
from cnnbo.cli.monitor.objects import Device, Trial
from cnnbo.cli.monitor.summary import Summary

BoxKey = tuple[str, str]
"""Broker and node: two labs may both have a box called tower."""


@dataclass(slots=True)
class Study:
    """Everything heard about one study; the trials may be known before the summary is.

    Attributes:
        courses: what running trials have said of themselves, by trial.
        reported: which figures trials have reported so far; see `Course.figures`.
    """

    name: str
    summary: Summary = field(default_factory=lambda: Summary.read({}))
    trials: dict[int, Trial] = field(default_factory=dict)
    courses: dict[int, Course] = field(default_factory=dict)
    reported: set[str] = field(default_factory=set)

    @property
    def running(self) -> list[Trial]:
        """By rising number."""
        return sorted((trial for trial in self.trials.values() if trial.state == "running"), key=lambda t: t.id)

    @property
    def ended(self) -> list[Trial]:
        """The newest first."""
        return sorted((trial for trial in self.trials.values() if trial.is_ended), key=lambda t: -t.id)

    @property
    def is_told(self) -> bool:
        """Whether the study's own topic has been heard, and not only some of its trials."""
        return bool(self.summary.body)


@dataclass(slots=True)
class Box:
    """Everything heard from one node at one broker.

    Attributes:
        said: the newest word of its `availability`: `online`, `offline`, or None as long as nothing was said.
        lost: the boot that was last seen going offline, until something comes fresh.
        last_told: when the daemon last said anything, by its own clock, seconds since the epoch.
        behind_s: by how much its clock is behind ours; negative if it is ahead.
        boot: identifies the daemon's life, as its newest message told.
        started: when that daemon began, if `info` told.
        limit: so many devices it uses at most at a time; None = all.
    """

    node: str
    broker: str
    said: str | None = None
    lost: str | None = None
    last_told: float | None = None
    behind_s: float = 0.0
    boot: str | None = None
    started: float | None = None
    version: str | None = None
    limit: int | None = None
    devices: dict[str, Device] = field(default_factory=dict)
    studies: dict[str, Study] = field(default_factory=dict)

    @property
    def key(self) -> BoxKey:
        """Tells it from every other box."""
        return self.broker, self.node

    @property
    def availability(self) -> str | None:
        """What it said, but for what a broker that came back with an old save says of a dead daemon."""
        return "offline" if self.lost is not None and self.lost == self.boot else self.said

    @property
    def patience_s(self) -> float:
        """For so long a daemon that is well may say nothing: three times the interval in which devices are told of."""
        is_active = any(study.summary.state == "running" for study in self.studies.values())
        return 3 * (ACTIVE_INTERVAL_S if is_active else IDLE_INTERVAL_S)


ACTIVE_INTERVAL_S, IDLE_INTERVAL_S = 10.0, 30.0
"""Devices are told of at least so often while a study runs, and while none does."""


def sorted_devices(box: Box) -> list[Device]:
    """By index; those without one come last."""
    return sorted(box.devices.values(), key=lambda d: (d.index is None, d.index or 0, d.uuid))


def sorted_studies(box: Box) -> list[Study]:
    """What is running first, then what is paused, then what has ended; among equals what changed last first."""
    order = {"running": 0, "paused": 1}
    return sorted(box.studies.values(), key=lambda s: (order.get(s.summary.state, 2), -s.summary.since, s.name))
