"""The study: owns what is pending, knows the incumbent, decides what happens next.

Facts go in (`check`, then `handle`), decisions come out as commands. There is no clock, no file and no randomness in
here, so replaying the journalled events rebuilds a study exactly.

States of a trial:

```
            TrialStarted            TrialCompleted
  PENDING ───────────────▶ RUNNING ───────────────▶ COMPLETE
     ▲                        │ TrialFailed
     │  the machine's fault   ├──────────────────▶ FAILED      the configuration's fault, or three attempts lost
     ├────────────────────────┤
     │                        └──────────────────▶ CANCELLED   the study was cancelled
     │  TrialsRetried
     └──── COMPLETE, FAILED                                    the user withdraws what it came to
```
"""

import copy
import operator
import statistics
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import SupportsFloat, SupportsIndex, assert_never

import numpy as np

from cnnbo.scheduler.brake import EQUAL_CRASHES, Brake
from cnnbo.scheduler.errors import InvalidTransitionError, RequestError, SpaceExhaustedError
from cnnbo.scheduler.events import (
    AskDropped,
    AskOptimizer,
    BudgetReached,
    Command,
    Event,
    PointsSuggested,
    Reason,
    StopTrial,
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
from cnnbo.scheduler.insight import StudyInsight
from cnnbo.scheduler.optimizers.base import History, Optimizer, Points, Source
from cnnbo.scheduler.retrying import check_retry
from cnnbo.scheduler.space import Point
from cnnbo.scheduler.spec import StudySpec, fixed_differences, is_explained_by_luck, to_objective
from cnnbo.scheduler.telling import failure_class, real_number, shown, why_not_tellable
from cnnbo.scheduler.trial import CANCELLED, COMPLETE, MAX_LOST_ATTEMPTS, Attempt, Failure, Trial, TrialState

FIRST_TIMEOUT_S = 24 * 3600.0
"""Limit of a trial until enough have finished to know better, in seconds."""

SHORTEST_TIMEOUT_S = 600.0
TIMEOUT_MEDIANS = 10
TIMEOUT_SAMPLE = 5
"""After this many finished trials the limit is `TIMEOUT_MEDIANS` times their median duration."""

_EVENTS_KEPT_PER_TRIAL = 8
_RESUME = "study.handle(StudyResumed(0.0)), from cnnbo.scheduler.events"


class StudyState(StrEnum):
    """What a study is doing."""

    RUNNING = "running"
    PAUSED = "paused"
    FINISHED = "finished"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_ended(self) -> bool:
        """Whether the study starts no trial ever again (unless it is given more evaluations, or trials to retry)."""
        return self in (StudyState.FINISHED, StudyState.FAILED, StudyState.CANCELLED)


@dataclass(frozen=True, slots=True)
class Basis:
    """Ids of the trials an ask is based on, in the order in which `History` lists their points."""

    observed: tuple[int, ...]
    failed: tuple[int, ...]
    pending: tuple[int, ...]
    excluded: tuple[int, ...]
    censored: tuple[int, ...] = ()

    @property
    def taken(self) -> tuple[int, ...]:
        """All of them, in the order of `History.taken`."""
        return (*self.observed, *self.censored, *self.failed, *self.pending, *self.excluded)


class Study:
    """The search for the best configuration of one space.

    In a notebook, with the optimizer called inline:

        >>> from cnnbo.scheduler import FloatParameter, SearchSpace, Study, StudySpec, create_optimizer
        >>> space = SearchSpace((FloatParameter("x", 0.0, 1.0),))
        >>> study = Study(StudySpec(space, evaluations=4), create_optimizer("sobol", space, seed=0))
        >>> while not study.state.is_ended:
        ...     trial = study.ask()
        ...     study.tell(trial, value=-((trial.configuration["x"] - 0.3) ** 2))
        >>> study.incumbent.state
        <TrialState.COMPLETE: 'complete'>

    Args:
        spec: what to do.
        optimizer: answers `ask()`; needed for `ask()` alone, since the daemon carries out asks elsewhere.
        at: when the study was created, in seconds since the epoch.
    """

    def __init__(self, spec: StudySpec, optimizer: Optimizer | None = None, at: float = 0.0) -> None:
        self.spec = spec
        self.created_at = at
        self.ended_at: float | None = None
        self.state = StudyState.RUNNING
        self.reason: Reason | None = None
        self.is_archived = False
        self.wall_clock_s = 0.0
        self.budget_limit: str | None = None
        self.hint: bytes | None = None
        self._hint_knows: frozenset[int] = frozenset()  # trials whose ends the hint was fitted to
        self.insight: StudyInsight | None = None
        self._optimizer = optimizer
        self._trials: dict[int, Trial] = {}
        self._asks: dict[int, int] = {}  # outstanding ask -> how many points it is for
        self._asked = 0  # points asked for so far; the number of the next ask
        self._taken: set[Point] = set()
        self._is_exhausted = False
        self._brake = Brake()
        self._log: dict[int, tuple[str, ...]] = {}  # trial -> its last events, for error messages
        self._add_start_trials()

    @classmethod
    def replay(cls, events: Iterable[Event]) -> "Study":
        """Rebuild a study from its journalled events; the commands they led to are not carried out again.

        Raises:
            InvalidTransitionError: the events contradict each other.
            ValueError: the first one is not `StudyCreated`.
        """
        remaining = iter(events)
        created = next(remaining, None)
        if not isinstance(created, StudyCreated):
            raise ValueError(f"a study begins with StudyCreated, not {type(created).__name__}")
        study = cls(created.spec, at=created.at)
        for event in remaining:
            study.check(event)
            study.handle(event)
        return study

    def copy(self) -> "Study":
        """A study in the same state, on which an event can be tried without touching this one."""
        twin = copy.copy(self)
        twin._trials, twin._asks = self._trials.copy(), self._asks.copy()
        twin._taken, twin._log = self._taken.copy(), self._log.copy()
        return twin

    # -- what is known ------------------------------------------------------------------------------------------------

    @property
    def name(self) -> str:
        """The study's name."""
        return self.spec.name

    @property
    def trials(self) -> tuple[Trial, ...]:
        """All trials, by id."""
        return tuple(self._trials.values())

    def trial(self, trial_id: int) -> Trial:
        """The trial of that id.

        Raises:
            RequestError: there is none.
        """
        try:
            return self._trials[trial_id]
        except KeyError:
            raise RequestError(f"study {self.name} has no trial {trial_id}; it has {len(self._trials)}.") from None

    def _in_state(self, *states: TrialState) -> Iterator[Trial]:
        return (trial for trial in self._trials.values() if trial.state in states)

    @property
    def ready(self) -> tuple[Trial, ...]:
        """Trials that wait for a device: those that ran before first, then by id."""
        return tuple(sorted(self._in_state(TrialState.PENDING), key=lambda trial: (not trial.attempts, trial.id)))

    @property
    def running(self) -> tuple[Trial, ...]:
        """Trials that are on a device."""
        return tuple(self._in_state(TrialState.RUNNING))

    @property
    def finished(self) -> int:
        """How many trials count towards `evaluations`: complete and failed ones."""
        return sum(1 for _ in self._in_state(TrialState.COMPLETE, TrialState.FAILED))

    @property
    def at_chance(self) -> int:
        """How many complete trials are no better than chance."""
        return sum(trial.at_chance for trial in self._trials.values())

    @property
    def undecided(self) -> tuple[int, ...]:
        """Trials whose equal crashes are evidence of a broken script only, until somebody retries or resumes."""
        return self._brake.undecided

    @property
    def test_set_openings(self) -> int:
        """How many of its attempts opened the test set, those that failed or were withdrawn included."""
        return sum(attempt.opened_test_set for trial in self._trials.values() for attempt in trial.attempts)

    @property
    def incumbent(self) -> Trial | None:
        """The complete trial with the lowest objective, the earliest of equals; None before the first.

        It is one at chance only as long as there is no other.
        """
        complete = list(self._in_state(TrialState.COMPLETE))
        # A bound may differ from trial to trial, so that one at chance may have the better objective.
        return min(complete, key=lambda trial: (trial.at_chance, self._objective(trial)), default=None)

    def _objective(self, trial: Trial) -> float:
        assert trial.value is not None
        return to_objective(trial.value, self.spec.direction)

    def _bound(self, trial: Trial) -> float:
        """The best objective that luck explains."""
        assert trial.chance is not None
        return to_objective(trial.chance, self.spec.direction)

    @property
    def outstanding_asks(self) -> dict[int, int]:
        """Asks nobody has answered yet, with how many points each is for."""
        return dict(self._asks)

    @property
    def requestable(self) -> int:
        """How many more points may be asked for now; none while an ask is open, so that each ask sees the last."""
        is_open = self.state is StudyState.RUNNING and self.budget_limit is None and not self._is_exhausted
        if not is_open or self._asks:
            return 0
        return max(0, min(self.spec.evaluations - len(self._trials), self._configurations_left()))

    def _configurations_left(self) -> int:
        size = self.spec.space.size
        return self.spec.evaluations if size is None else size - len(self._taken)

    @property
    def timeout_s(self) -> float:
        """Wall-clock limit of a trial that starts now, in seconds."""
        if self.spec.trial.timeout_s is not None:
            return self.spec.trial.timeout_s
        # A training that sits at chance may end early; ten times its seconds could be too few for one that learns.
        learnt = (trial for trial in self._in_state(TrialState.COMPLETE) if not trial.at_chance)
        durations = [trial.duration_s for trial in learnt if trial.duration_s is not None]
        if len(durations) < TIMEOUT_SAMPLE:
            return FIRST_TIMEOUT_S
        return max(SHORTEST_TIMEOUT_S, TIMEOUT_MEDIANS * statistics.median(durations))

    def basis(self) -> Basis:
        """The trials an ask made now is based on."""
        ended = [trial for trial in self._trials.values() if trial.state.is_ended]
        return Basis(
            observed=tuple(t.id for t in ended if t.state is TrialState.COMPLETE and not t.at_chance),
            failed=tuple(trial.id for trial in ended if trial.is_evidence),
            pending=tuple(trial.id for trial in self._in_state(TrialState.PENDING, TrialState.RUNNING)),
            excluded=tuple(t.id for t in ended if t.state is not TrialState.COMPLETE and not t.is_evidence),
            censored=tuple(trial.id for trial in ended if trial.at_chance),
        )

    def history(self, basis: Basis | None = None, hint: bytes | None = None) -> History:
        """What the optimizer is handed: now, or at an earlier ask that is to be repeated.

        Args:
            basis: the trials of an earlier ask, from its `PointsSuggested`; None = those of now. If one of them was
                retried since, its value of then is gone: repeat the ask on a `replay` of the events before the retry.
            hint: with a basis, what was handed back at that ask (`hint_in`).

        Raises:
            RequestError: the basis observed a trial that has no value now.
        """
        if basis is None:
            basis, hint = self.basis(), self.hint
        withdrawn = [i for i in basis.observed if self._trials[i].value is None]
        withdrawn += [i for i in basis.censored if self._trials[i].chance is None]
        if withdrawn:
            raise RequestError(
                f"the value of trial {withdrawn[0]} that this ask knew was withdrawn; replay the events before that."
            )
        objectives = [self._objective(self._trials[trial_id]) for trial_id in basis.observed]
        bounds = [self._bound(self._trials[trial_id]) for trial_id in basis.censored]
        return History(
            observed=self._points(basis.observed),
            objectives=np.array(objectives, dtype=np.float64).reshape(-1, 1),
            failed=self._points(basis.failed),
            pending=self._points(basis.pending),
            excluded=self._points(basis.excluded),
            evaluations=self.spec.evaluations,
            initial=self.spec.initial_points,
            hint=hint,
            censored=self._points(basis.censored),
            bounds=np.array(bounds, dtype=np.float64).reshape(-1, 1),
            trials=basis.taken,
            sources=tuple(self._trials[trial_id].source for trial_id in basis.taken),
        )

    def _points(self, trial_ids: Sequence[int]) -> Points:
        rows = [self._trials[trial_id].point for trial_id in trial_ids]
        return np.array(rows, dtype=np.float64).reshape(-1, self.spec.space.dimension)

    # -- may this event happen? ---------------------------------------------------------------------------------------

    def check(self, event: Event) -> None:
        """Refuse an event that contradicts the state; changes nothing. What passes here never fails in `handle`.

        Raises:
            InvalidTransitionError: the event doesn't fit the state.
            RequestError: the user asked for something that can't be done now.
        """
        match event:
            case StudyCreated():
                raise self._invalid(event)
            case StudyAmended():
                self._check_amendment(event)
            case TrialsRequested():
                if not 1 <= event.count <= self.requestable:
                    raise self._invalid(event)
            case PointsSuggested():
                self._check_suggestion(event)
            case AskDropped():
                if event.ask not in self._asks:
                    raise self._invalid(event)
            case TrialStarted():
                self._check_start(event)
            case TrialCompleted() | TrialFailed():
                self._check_end(event)
            case TrialsRetried():
                if not event.trials or len(set(event.trials)) < len(event.trials):
                    raise self._invalid(event)
                check_retry(self, event.trials)
            case StudyPaused():
                if self.state is not StudyState.RUNNING and not (self.state is StudyState.PAUSED and event.now):
                    raise RequestError(f"study {self.name} is {self.state}; only a running study can be paused.")
            case StudyResumed():
                if self.state is not StudyState.PAUSED:
                    raise RequestError(f"study {self.name} is {self.state}; only a paused study can be resumed.")
            case StudyCancelled():
                if self.state.is_ended:
                    raise RequestError(f"study {self.name} is {self.state} already; there is nothing to cancel.")
            case StudyArchived():
                if not self.state.is_ended:
                    raise RequestError(f"study {self.name} is {self.state}; end it first: cnnbo cancel {self.name}")
            case TimeSpent() | BudgetReached():
                pass
            case _ as unreachable:
                assert_never(unreachable)

    def _invalid(self, event: Event, trial_id: int | None = None) -> InvalidTransitionError:
        trial = None if trial_id is None else self._trials.get(trial_id)
        state = str(self.state) if trial_id is None else "unknown" if trial is None else str(trial.state)
        past = self._log.get(trial_id, ()) if trial_id is not None else ()
        return InvalidTransitionError(self.name, trial_id, state, type(event).__name__, past)

    def _check_amendment(self, event: StudyAmended) -> None:
        if differing := fixed_differences(self.spec, event.spec):
            raise RequestError(
                f"study {self.name} exists with another {', '.join(differing)}; "
                "give the study a new name, or the old value to go on."
            )
        if self.state is StudyState.CANCELLED or self.is_archived:
            raise RequestError(
                f"study {self.name} is {'archived' if self.is_archived else 'cancelled'}; "
                f"give the study a new name, or free this one: cnnbo delete {self.name}"
            )

    def _check_suggestion(self, event: PointsSuggested) -> None:
        points = set(event.points)
        wrong_size = any(len(point) != self.spec.space.dimension for point in points)
        outside = not all(0.0 <= u <= 1.0 for point in points for u in point)  # NaN is outside too
        expected = self._asks.get(event.ask)
        is_misfit = len(points) != expected or len(event.points) != expected or wrong_size or outside
        if is_misfit or points & self._taken:
            raise self._invalid(event)

    def _check_start(self, event: TrialStarted) -> None:
        trial = self._trials.get(event.trial)
        is_next = trial is not None and event.attempt == len(trial.attempts) + 1
        if trial is None or trial.state is not TrialState.PENDING or not is_next:
            raise self._invalid(event, event.trial)
        if self.state is not StudyState.RUNNING:
            raise self._invalid(event)

    def _check_end(self, event: TrialCompleted | TrialFailed) -> None:
        trial = self._trials.get(event.trial)
        if trial is None or trial.state is not TrialState.RUNNING or event.attempt != len(trial.attempts):
            raise self._invalid(event, event.trial)
        if isinstance(event, TrialCompleted) and not np.isfinite([event.value, event.chance or 0.0]).all():
            raise self._invalid(event, event.trial)

    # -- it happened: what now? ---------------------------------------------------------------------------------------

    def handle(self, event: Event) -> list[Command]:
        """Take in a checked event and say what is to be done."""
        self._remember(event)
        commands: list[Command] = []
        match event:
            case StudyCreated():
                pass
            case StudyAmended():
                self._amend(event.spec)
            case TrialsRequested():
                commands = [self._ask(event.count)]
            case PointsSuggested():
                self._take_suggestion(event)
            case AskDropped():
                self._drop_ask(event)
            case TrialStarted():
                self._start(event)
            case TrialCompleted():
                self._complete(event)
            case TrialFailed():
                self._fail(event)
            case TrialsRetried():
                self._retry(event)
            case StudyPaused():
                self.state, self.reason = StudyState.PAUSED, self.reason or "user"
                self._asks.clear()
                commands = self._stop_running() if event.now else []
            case StudyResumed():
                self.state, self.reason = StudyState.RUNNING, None
                self._brake = self._brake.released()
            case StudyCancelled():
                commands = self._stop_running()
                self._cancel()
            case StudyArchived():
                self.is_archived = True
            case TimeSpent():
                self.wall_clock_s += event.seconds
            case BudgetReached():
                self.budget_limit = event.limit
            case _ as unreachable:
                assert_never(unreachable)
        self._end_if_done(event.at)
        return commands

    def _remember(self, event: Event) -> None:
        if isinstance(event, TrialStarted | TrialCompleted | TrialFailed):
            concerned: tuple[int, ...] = (event.trial,)
        elif isinstance(event, TrialsRetried):
            concerned = event.trials
        else:
            return
        for trial_id in concerned:
            past = (*self._log.get(trial_id, ()), type(event).__name__)
            self._log[trial_id] = past[-_EVENTS_KEPT_PER_TRIAL:]

    def _add_start_trials(self) -> None:
        points = dict.fromkeys(self.spec.space.encode(configuration) for configuration in self.spec.start)
        for point in (list(points) * self.spec.repeats)[: self.spec.evaluations]:
            self._add_trial(point, Source.START)

    def _add_trial(self, point: Point, source: Source, ask: int | None = None, note: str | None = None) -> None:
        trial_id = len(self._trials) + 1
        configuration = self.spec.space.decode(point)
        self._trials[trial_id] = Trial(trial_id, configuration, point, source, ask=ask, note=note)
        self._taken.add(point)

    def _amend(self, spec: StudySpec) -> None:
        initial = self.spec.initial if spec.initial is None else spec.initial
        self.spec = replace(spec, initial=initial)
        self.budget_limit = None
        if self.state in (StudyState.FINISHED, StudyState.FAILED):
            # More may be wanted now; `_end_if_done` ends it again if not.
            self.state, self.reason, self.ended_at = StudyState.RUNNING, None, None

    def _ask(self, count: int) -> AskOptimizer:
        ask = self._asked
        self._asks[ask] = count
        self._asked += count
        return AskOptimizer(ask, count)

    def _take_suggestion(self, event: PointsSuggested) -> None:
        del self._asks[event.ask]
        if event.hint is not None and event.hint != self.hint:
            self.hint = event.hint
            self._hint_knows = self._hint_knows.union(event.observed, event.censored, event.failed)
        # A fallback or a point of the design says nothing: what was believed before still stands.
        if (insight := StudyInsight.read(event.insight)) is not None:
            self.insight = insight.turned(self.spec.direction).following(self.insight)
        for point in event.points:
            self._add_trial(point, event.source, event.ask, event.note)

    def _drop_ask(self, event: AskDropped) -> None:
        del self._asks[event.ask]
        self._is_exhausted = self._is_exhausted or event.space_exhausted

    def _start(self, event: TrialStarted) -> None:
        trial = self._trials[event.trial]
        attempt = Attempt(event.attempt, event.device, event.at, token=event.token)
        attempts = (*trial.attempts, attempt)
        self._trials[trial.id] = replace(trial, state=TrialState.RUNNING, attempts=attempts, message="")

    def _end_attempt(
        self, trial: Trial, event: TrialCompleted | TrialFailed, outcome: str, is_lost: bool = False
    ) -> tuple[Attempt, ...]:
        last = replace(
            trial.attempts[-1],
            ended=event.at,
            outcome=outcome,
            is_lost=is_lost,
            resumed=event.resumed,
            energy_j=event.energy_j,
            opened_test_set=event.opened_test_set,
        )
        return (*trial.attempts[:-1], last)

    def _complete(self, event: TrialCompleted) -> None:
        trial = self._trials[event.trial]
        attempts = self._end_attempt(trial, event, COMPLETE)
        chance = event.chance if self.spec.report.chance is None else self.spec.report.chance
        self._brake = self._brake.ended(trial.id)
        self._trials[trial.id] = replace(
            trial,
            state=TrialState.COMPLETE,
            value=event.value,
            chance=chance,
            at_chance=is_explained_by_luck(event.value, chance, self.spec.direction),
            metrics=event.metrics,
            attempts=attempts,
            message="",
        )

    def _fail(self, event: TrialFailed) -> None:
        trial = self._trials[event.trial]
        is_cancelled = self.state is StudyState.CANCELLED
        is_lost = event.failure.is_retried and event.is_lost and not is_cancelled
        outcome = CANCELLED if is_cancelled else str(event.failure)
        attempts = self._end_attempt(trial, event, outcome, is_lost)
        trial = replace(trial, attempts=attempts, message=event.message, metrics=event.metrics)
        if is_cancelled:
            trial = replace(trial, state=TrialState.CANCELLED)
        elif event.failure.is_retried and trial.lost_attempts < MAX_LOST_ATTEMPTS:
            trial = replace(trial, state=TrialState.PENDING)
        else:
            trial = replace(trial, state=TrialState.FAILED, failure=event.failure)
        self._trials[trial.id] = trial
        if not is_cancelled:
            self._brake_at(event)

    def _brake_at(self, event: TrialFailed) -> None:
        """Pause after equal crashes in a row; other failures in between break the row, machine faults don't."""
        if event.failure.is_retried:
            self._brake = self._brake.lost(event.trial)
            return
        if event.failure is not Failure.CRASHED:
            self._brake = self._brake.ended(event.trial)
            return
        kind = event.message if event.kind is None else event.kind
        self._brake = self._brake.crashed(event.trial, kind, frozenset(trial.id for trial in self.running))
        for trial in [self._trials[trial_id] for trial_id in self._brake.undecided]:
            self._trials[trial.id] = trial if trial.is_braked else replace(trial, is_braked=True)
        self._forget_fit(self._brake.undecided)
        if self._brake.is_full and self.state is StudyState.RUNNING:
            self.state, self.reason = StudyState.PAUSED, "crashes"
            self._asks.clear()

    def _retry(self, event: TrialsRetried) -> None:
        for trial_id in event.trials:
            self._trials[trial_id] = self._trials[trial_id].withdrawn()
        # Nothing that is still to come may rest on what was withdrawn: neither the answer of an ask on its way, nor
        # the fit that the next one would start from, nor the row of equal crashes, nor the advice to stop.
        self._asks.clear()
        self._forget_fit(event.trials)
        self._brake = self._brake.retried(event.trials)
        if self.insight is not None:
            self.insight = replace(self.insight, asks_below_noise=0)
        if self.state.is_ended or self._is_braked:
            self.state, self.reason, self.ended_at = StudyState.RUNNING, None, None

    def _forget_fit(self, trials: Sequence[int]) -> None:
        """Let the next ask start from no fit that knew what is no evidence any more."""
        if self._hint_knows.intersection(trials):
            self.hint, self._hint_knows = None, frozenset()

    @property
    def _is_braked(self) -> bool:
        """Whether equal crashes paused it."""
        return self.state is StudyState.PAUSED and self.reason == "crashes"

    def _stop_running(self) -> list[Command]:
        return [StopTrial(trial.id, len(trial.attempts)) for trial in self.running]

    def _cancel(self) -> None:
        self.state, self.reason = StudyState.CANCELLED, "user"
        self._asks.clear()
        for trial in list(self._in_state(TrialState.PENDING)):
            self._trials[trial.id] = replace(trial, state=TrialState.CANCELLED)

    def _end_if_done(self, at: float) -> None:
        if self.state is StudyState.CANCELLED and self.ended_at is None:
            self.ended_at = at
        if self.state.is_ended or self.running or self._asks or self._is_braked:
            return
        reason = self._reason_to_end()
        if reason is None:
            return
        self.state = StudyState.FINISHED if self.incumbent is not None else StudyState.FAILED
        self.reason, self.ended_at = reason, at

    def _reason_to_end(self) -> Reason | None:
        if self.finished >= self.spec.evaluations:
            return "evaluations"
        if self.budget_limit is not None:
            return "budget"
        is_exhausted = self._is_exhausted or self._configurations_left() <= 0
        if is_exhausted and not self.ready:
            return "space_exhausted"
        return None

    # -- for a notebook -----------------------------------------------------------------------------------------------

    def ask(self) -> Trial:
        """The next trial to evaluate, running on the caller; tell it before asking for many more.

        Whatever is raised, no trial was added and none has changed, and the next `ask` begins anew.

        Raises:
            RequestError: the study has ended or is paused, or has no trial to give until one is told. A space of six
                configurations gives six trials; with the last of them told the study has ended.
            SurrogateFitError, SpaceExhaustedError: from the optimizer.
        """
        if self.state is not StudyState.RUNNING:
            raise RequestError(f"study {self.name} {self._why_not_running()}")
        if not self.ready:
            self._ask_inline()
        trial = self.ready[0]
        self._apply(TrialStarted(0.0, trial.id, len(trial.attempts) + 1, "notebook"))
        return self._trials[trial.id]

    def _why_not_running(self) -> str:
        if self._is_braked:
            said = self._trials[self.undecided[-1]].message or "crashed"
            again = f"study.handle(TrialsRetried(0.0, {self.undecided}))"
            return (
                f"is paused, for its last {EQUAL_CRASHES} crashes were equal ({said}), which is held against no "
                f"configuration; mend the cause, then have them run again: {again}, or go on without them: {_RESUME}"
            )
        if self.state is StudyState.PAUSED:
            return f"is paused; go on with {_RESUME}"
        whys = {
            "evaluations": f"all {self.spec.evaluations} evaluations are spent",
            "space_exhausted": f"all {len(self._trials)} configurations of its space were tried",
            "budget": "its budget is spent",
            "user": "its user ended it",
        }
        return f"is {self.state}: {whys[self.reason or 'user']}; {self._what_came_of_it()}."

    def _what_came_of_it(self) -> str:
        if self.incumbent is None:
            return "no trial gave a value"
        if self.incumbent.at_chance:
            return "no trial is better than chance"
        return "study.incumbent is the best trial"

    def _ask_inline(self) -> None:
        """Let the optimizer propose a point; if it fails, close the ask, or nothing could ever be asked for again."""
        if self._optimizer is None:
            raise RequestError("this study was made without an optimizer; hand one to Study(spec, optimizer).")
        if self.requestable < 1:
            raise RequestError(f"study {self.name} has no trial to give now: {self._why_nothing_is_left()}")
        [command] = self._apply(TrialsRequested(0.0, 1))
        assert isinstance(command, AskOptimizer)
        try:
            self._answer(command, self._optimizer)
        except BaseException as error:  # Ctrl-C too: a surrogate takes seconds, in which people change their minds
            if command.ask in self._asks:
                self._apply(AskDropped(0.0, command.ask, space_exhausted=isinstance(error, SpaceExhaustedError)))
            raise

    def _why_nothing_is_left(self) -> str:
        if self._asks:
            return "an earlier ask is still open."
        if self.budget_limit is not None:
            return "its budget is spent; tell the running trials to end it."
        running = f"{len(self.running)} running trial{'s' if len(self.running) != 1 else ''}"
        if len(self._trials) >= self.spec.evaluations:
            return f"all {self.spec.evaluations} evaluations are handed out; tell the {running}."
        return f"all {len(self._trials)} configurations of its space are handed out; tell the {running} to end it."

    def _answer(self, command: AskOptimizer, optimizer: Optimizer) -> None:
        basis = self.basis()
        suggestion = optimizer.suggest(self.history(), command.ask, command.count)
        points = tuple(tuple(float(u) for u in row) for row in suggestion.points)
        self._apply(
            PointsSuggested(
                at=0.0,
                ask=command.ask,
                points=points,
                source=suggestion.source,
                observed=basis.observed,
                failed=basis.failed,
                pending=basis.pending,
                excluded=basis.excluded,
                censored=basis.censored,
                insight=suggestion.insight,
                hint_in=self.hint,
                hint=suggestion.hint,
            )
        )

    def tell(
        self, trial: Trial | SupportsIndex, value: SupportsFloat | None = None, failure: str | None = None
    ) -> None:
        """Report what became of a trial: a value in the user's direction, or a failure class.

        Args:
            trial: what `ask` gave, or its id.
            value: one real number; scalars of NumPy, TensorFlow and the like are numbers too, texts and truth values
                are not. One that is NaN or infinite is no mistake: it is taken as the failure `diverged`.
            failure: a class of `Failure`.

        Raises:
            RequestError: the trial isn't one of this study, or isn't running (it was told already); neither a value
                nor a failure, or both; a value that is no number, or an unknown failure class. The study is as before.
        """
        told = self._told_trial(trial)
        if (value is None) == (failure is None):
            raise RequestError(
                f"trial {told.id}: tell takes either a value or a failure, like tell(trial, 0.93) or "
                "tell(trial, failure='diverged')."
            )
        if told.state is not TrialState.RUNNING:
            raise RequestError(f"trial {told.id} {why_not_tellable(told)}")
        attempt = len(told.attempts)
        if failure is not None:
            self._apply(TrialFailed(0.0, told.id, attempt, failure_class(failure)))
            return
        number = real_number(value, told.id)
        if np.isfinite(number):
            self._apply(TrialCompleted(0.0, told.id, attempt, number))
        else:
            self._apply(TrialFailed(0.0, told.id, attempt, Failure.DIVERGED, f"The value was {number}."))

    def _told_trial(self, trial: Trial | SupportsIndex) -> Trial:
        """This study's newest knowledge of a trial."""
        if isinstance(trial, Trial):
            known = self._trials.get(trial.id)
            if known is None or known.point != trial.point:
                raise RequestError(f"trial {trial.id} is of another study; tell it there, not study {self.name}.")
            return known
        try:
            number = operator.index(trial)
        except TypeError:
            number = None
        if number is None or isinstance(trial, bool):
            raise RequestError(f"tell takes a trial that ask() gave, or its number, not {shown(trial)}.")
        return self.trial(number)

    def _apply(self, event: Event) -> list[Command]:
        self.check(event)
        return self.handle(event)
