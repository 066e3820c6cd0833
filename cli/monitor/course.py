"""What a running trial has said of itself so far: of bounded length, however long it runs."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from cnnbo.cli.monitor.objects import Progress

MOST_POINTS = 64
"""Of the whole course of a trial; when there are more, every other one is forgotten."""

RECENT = 10
"""The pace is that of so many of the newest reports: about as many seconds."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast a trial goes on: so many `step`s or `epoch`s per second."""

    per_second: float
    unit: str


@dataclass(slots=True)
class Course:
    """The newest report of a running trial, and what is remembered of those before.

    Attributes:
        progress: the newest report.
        values: the metric in the course of the trial, oldest first, evenly thinned out.
    """

    progress: Progress
    values: list[float] = field(default_factory=list)
    _recent: deque[Progress] = field(default_factory=lambda: deque(maxlen=RECENT))
    _start: tuple[float, float] | None = None  # time and fraction of the first report with one
    _metric: str = ""
    _every: int = 1
    _reports: int = 0

    def take(self, progress: Progress, metric: str | None) -> None:
        """Take a report in; `metric` is the name of the study's metric, if known."""
        if _is_behind(progress, self.progress):  # it began anew, from the start or from a checkpoint
            self.values.clear()
            self._recent.clear()
            self._start, self._every, self._reports = None, 1, 0
        self.progress = progress
        self._recent.append(progress)
        if self._start is None and progress.fraction is not None:
            self._start = progress.told, progress.fraction
        named = progress.shown_metric(metric)
        if named is not None:
            self._keep(*named)

    def _keep(self, name: str, value: float) -> None:
        if name != self._metric:
            self._metric, self._every, self._reports = name, 1, 0
            self.values.clear()
        if self._reports % self._every == 0:
            self.values.append(value)
        self._reports += 1
        if len(self.values) > MOST_POINTS:
            self.values = self.values[::2]
            self._every *= 2

    @property
    def figures(self) -> set[str]:
        """Which figures it tells: `metric`, `at`, `rate`, `left`."""
        progress = self.progress
        told = {
            "metric": self.values,
            "at": progress.step is not None or progress.epoch is not None,
            "rate": self.pace,
            "left": progress.fraction is not None,
        }
        return {name for name, is_told in told.items() if is_told}

    @property
    def pace(self) -> Pace | None:
        """The pace of late, by steps or else by epochs; None where it can't be told yet."""
        return _pace(self._recent, "step") or _pace(self._recent, "epoch")

    def left_s(self, started: float | None, now: float) -> float | None:
        """Seconds until the trial has done all steps, if it goes on at the pace it had so far; None where unknown.

        Args:
            started: when the attempt began, for a course that has been followed for too short a time.
            now: seconds since the epoch.
        """
        fraction, told = self.progress.fraction, self.progress.told
        if fraction is None:
            return None
        begun, done = self._start if self._start is not None and self._start[1] < fraction else (started, 0.0)
        if begun is None or fraction <= done or told <= begun:
            return None
        return max(0.0, (1.0 - fraction) * (told - begun) / (fraction - done) - (now - told))


def _is_behind(new: Progress, old: Progress) -> bool:
    return (
        new.step is not None and old.step is not None and new.step < old.step and (new.epoch or 0) <= (old.epoch or 0)
    )


def _pace(reports: Sequence[Progress], unit: str) -> Pace | None:
    if len(reports) < 2:
        return None
    first, last = reports[0], reports[-1]
    before, after = getattr(first, unit), getattr(last, unit)
    if before is None or after is None or after <= before or last.told <= first.told:
        return None
    return Pace((after - before) / (last.told - first.told), unit)
