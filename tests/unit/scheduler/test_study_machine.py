"""A study under any course of events, legal or not, beside a model of what must be true of it."""

import json
import math
import operator
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import event, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from cnnbo.scheduler.allocator import allocate
from cnnbo.scheduler.codec import decode_event, encode_event
from cnnbo.scheduler.errors import InvalidTransitionError, RequestError
from cnnbo.scheduler.events import (
    AskDropped,
    AskOptimizer,
    BudgetReached,
    Command,
    Event,
    PointsSuggested,
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
from cnnbo.scheduler.optimizers.base import Source
from cnnbo.scheduler.optimizers.distinct import grid
from cnnbo.scheduler.space import CategoricalParameter, FloatParameter, IntParameter, Point, SearchSpace
from cnnbo.scheduler.spec import Budget, Direction, StudySpec
from cnnbo.scheduler.study import Study
from cnnbo.scheduler.trial import Failure, Trial

FINITE = SearchSpace((IntParameter("n", 1, 3), CategoricalParameter("c", ("a", "b"))))
ENDLESS = SearchSpace((FloatParameter("x", 0.0, 1.0),))
POINTS = {FINITE: list(grid(FINITE)), ENDLESS: [ENDLESS.canonical((k / 40,)) for k in range(40)]}
DEVICES = ["gpu-a", "gpu-b"]
rarely = st.sampled_from([False] * 5 + [True])
# What ends a study comes rarely: else no course of events gets far.
ORDERS = ["amend"] * 3 + ["resume"] * 4 + ["pause", "spend time", "spend budget", "archive", "cancel"]
_ids, _attempts = st.integers(-1, 9), st.integers(-1, 4)
_points = st.lists(st.lists(st.floats(-0.5, 1.5), max_size=3).map(tuple), max_size=3).map(tuple)
nonsense: st.SearchStrategy[Event] = (
    st.builds(TrialStarted, st.just(2.0), _ids, _attempts, st.sampled_from(DEVICES))
    | st.builds(
        TrialCompleted,
        st.just(2.0),
        _ids,
        _attempts,
        st.just(0.5) | st.just(math.inf),
        chance=st.none() | st.just(0.0) | st.just(math.nan),
    )
    | st.builds(TrialFailed, st.just(2.0), _ids, _attempts, st.sampled_from(Failure), st.just("KeyError"))
    | st.builds(PointsSuggested, st.just(2.0), _ids, _points, st.just(Source.SOBOL), note=st.just("late"))
    | st.builds(AskDropped, st.just(2.0), _ids)
    | st.builds(TrialsRequested, st.just(2.0), _ids)
    | st.builds(TrialsRetried, st.just(2.0), st.lists(_ids, max_size=3).map(tuple))
)
"""Events without regard to what is so: most of them don't fit, some happen to."""

DEEP_STATES = {
    "paused by equal crashes",
    "went on after equal crashes",
    "paused at once",
    "failed by three losses",
    "retried after three losses",
    "retried complete",
    "retried at chance",
    "the best so far was at chance",
    "complete after a loss",
    "finished with every configuration tried",
    "finished by its budget",
    "failed without a value",
    "went on after its end",
    "cancelled with a trial running",
    "completed after it was cancelled",
    "archived",
    "a stale answer was refused",
    "a stale end was refused",
}
"""What a course must come to now and then, or the machine only scratches the surface."""


@dataclass
class Known:
    """What the model knows of a trial."""

    point: Point
    state: str = "pending"
    attempts: int = 0
    lost: int = 0  # since the last retry
    value: float | None = None
    at_chance: bool = False


@dataclass
class Model:
    """What must be true of a study, from the events that it took: plain figures, no decisions."""

    evaluations: int
    most_evaluations: int  # ever wanted
    is_better: Callable[[float, float], bool]
    trials: dict[int, Known] = field(default_factory=dict)
    asks: dict[int, int] = field(default_factory=dict)
    asked: int = 0
    seconds: float = 0.0
    crashes: list[str] = field(default_factory=list)  # in a row

    def add(self, point: Point) -> None:
        self.trials[len(self.trials) + 1] = Known(point)

    def ids(self, *states: str) -> list[int]:
        return [number for number, trial in self.trials.items() if trial.state in states]

    def allows(self, event: Event, study: Study) -> bool:
        """Whether the event fits what happened, by the words of its documentation."""
        match event:
            case StudyCreated():
                return False
            case StudyAmended():
                return study.state != "cancelled" and not study.is_archived and event.spec.seed == study.spec.seed
            case TrialsRequested():
                return 1 <= event.count <= study.requestable
            case PointsSuggested():
                taken = [trial.point for trial in self.trials.values()]
                are_new = len({*taken, *event.points}) == len(taken) + len(event.points)
                are_inside = all(0 <= u <= 1 for point in event.points for u in point)
                are_points = all(len(point) == study.spec.space.dimension for point in event.points)
                return self.asks.get(event.ask) == len(event.points) and are_new and are_inside and are_points
            case AskDropped():
                return event.ask in self.asks
            case TrialStarted():
                known = self.trials.get(event.trial)
                is_next = known is not None and known.state == "pending" and event.attempt == known.attempts + 1
                return is_next and study.state == "running"
            case TrialCompleted() | TrialFailed():
                known = self.trials.get(event.trial)
                is_running = known is not None and known.state == "running" and event.attempt == known.attempts
                is_finite = isinstance(event, TrialFailed) or math.isfinite(event.value + (event.chance or 0.0))
                return is_running and is_finite
            case TrialsRetried():
                is_over = study.state == "cancelled" or study.is_archived or study.budget_limit is not None
                ended = self.ids("complete", "failed")
                are_distinct = 0 < len(event.trials) == len(set(event.trials))
                return not is_over and are_distinct and set(event.trials) <= set(ended)
            case StudyPaused():
                return study.state == "running" or (study.state == "paused" and event.now)
            case StudyResumed():
                return study.state == "paused"
            case StudyCancelled():
                return not study.state.is_ended
            case StudyArchived():
                return study.state.is_ended
            case TimeSpent() | BudgetReached():
                return True

    def take(self, event: Event, was_cancelled: bool) -> None:
        """Learn from an event that the study took."""
        match event:
            case StudyAmended():
                self.evaluations = event.spec.evaluations
                self.most_evaluations = max(self.most_evaluations, self.evaluations)
            case TrialsRequested():
                self.asks[self.asked] = event.count
                self.asked += event.count
            case PointsSuggested():
                del self.asks[event.ask]
                for point in event.points:
                    self.add(point)
            case AskDropped():
                del self.asks[event.ask]
            case TrialStarted():
                known = self.trials[event.trial]
                known.state, known.attempts = "running", event.attempt
            case TrialCompleted():
                known = self.trials[event.trial]
                known.state, known.value = "complete", event.value
                known.at_chance = event.chance is not None and not self.is_better(event.value, event.chance)
                self.crashes.clear()
            case TrialFailed():
                self._take_failure(self.trials[event.trial], event, was_cancelled)
            case TrialsRetried():
                for number in event.trials:
                    known = self.trials[number]
                    known.state, known.value, known.at_chance, known.lost = "pending", None, False, 0
                self.asks.clear()
                self.crashes.clear()
            case StudyPaused():
                self.asks.clear()
            case StudyResumed():
                self.crashes.clear()
            case StudyCancelled():
                self.asks.clear()
                for number in self.ids("pending"):
                    self.trials[number].state = "cancelled"
            case TimeSpent():
                self.seconds += event.seconds
            case StudyCreated() | StudyArchived() | BudgetReached():
                pass

    def _take_failure(self, known: Known, event: TrialFailed, was_cancelled: bool) -> None:
        is_machines_fault = event.failure in ("device_lost", "interrupted")
        if event.failure == "crashed":
            self.crashes.append(event.message)
        elif not is_machines_fault:
            self.crashes.clear()
        if was_cancelled:
            known.state = "cancelled"
        elif is_machines_fault:
            known.lost += event.is_lost
            known.state = "failed" if known.lost == 3 else "pending"
        else:
            known.state = "failed"

    @property
    def has_equal_crashes(self) -> bool:
        return len(self.crashes) >= 3 and len(set(self.crashes[-3:])) == 1


def facts(study: Study) -> str:
    """Everything a study tells, and what it would hand to its optimizer, bit for bit."""
    history = study.history()
    told = (
        study.spec, study.state, study.reason, study.created_at, study.ended_at, study.is_archived, study.wall_clock_s,
        study.budget_limit, study.hint, study.insight, study.trials, study.ready, study.running, study.finished,
        study.incumbent, study.outstanding_asks, study.requestable, study.timeout_s, study.basis(),
        study.at_chance, study.undecided,
        [getattr(history, name).tolist() for name in ("observed", "objectives", "failed", "pending", "excluded")],
        history.censored.tolist(), history.bounds.tolist(), history.trials, history.sources,
        history.evaluations, history.initial, history.hint,
    )  # fmt: skip
    return repr(told)


class StudyMachine(RuleBasedStateMachine):
    """Feeds a study whatever may come; `reached` collects what all courses came to."""

    reached: set[str] = set()  # noqa: RUF012 - of all courses of a run, on purpose

    @initialize(
        space=st.sampled_from([FINITE, ENDLESS]),
        evaluations=st.integers(2, 12),
        starts=st.integers(0, 4),
        direction=st.sampled_from(Direction),
    )
    def create(self, space: SearchSpace, evaluations: int, starts: int, direction: Direction) -> None:
        start = tuple(space.decode(point) for point in POINTS[space][:starts])
        spec = StudySpec(space, name="s", evaluations=evaluations, direction=direction, start=start)
        self.study = Study(spec, at=1.0)
        self.model = Model(evaluations, evaluations, operator.gt if direction == "maximize" else operator.lt)
        for point in POINTS[space][: min(starts, evaluations)]:
            self.model.add(point)
        self.journal: list[Event] = [StudyCreated(1.0, spec)]
        self.offered: list[Event] = [*self.journal]
        self.replayed = 0
        self.clock = 1.0

    def feed(self, happening: Event) -> list[Command] | None:
        """Offer an event as the daemon does: check, handle on a copy, journal. Returns None if it was refused."""
        self.offered.append(happening)
        before, is_allowed = facts(self.study), self.model.allows(happening, self.study)
        try:
            self.study.check(happening)
        except (InvalidTransitionError, RequestError) as refusal:
            assert not is_allowed, f"refused: {refusal}"
            assert facts(self.study) == before
            return None
        assert is_allowed, f"{happening} was taken"
        journalled = decode_event(json.loads(json.dumps(encode_event(happening))))
        assert repr(journalled) == repr(happening)
        after = self.study.copy()
        commands = after.handle(happening)
        assert facts(self.study) == before, "the copy shares something with its original"
        self._note(happening, self.study, after)
        was_cancelled, was_running = self.study.state == "cancelled", self.study.state == "running"
        self.model.take(happening, was_cancelled)
        if isinstance(happening, TrialFailed) and happening.failure == "crashed" and was_running:
            assert (after.reason == "crashes") == self.model.has_equal_crashes
            if self.model.has_equal_crashes:
                self.model.asks.clear()
        self.study = after
        self.journal.append(journalled)
        self._check_commands(commands)
        return commands

    def _check_commands(self, commands: list[Command]) -> None:
        for command in commands:
            match command:
                case AskOptimizer():
                    assert self.model.asks[command.ask] == command.count
                case StopTrial():
                    known = self.model.trials[command.trial]
                    assert (known.state, known.attempts) == ("running", command.attempt)

    def _note(self, happening: Event, before: Study, after: Study) -> None:
        """Note the deep states that a step leads to."""
        notes: dict[str, bool] = {
            "paused by equal crashes": after.reason == "crashes" and after.state == "paused",
            "went on after equal crashes": before.reason == "crashes" and after.state == "running",
            "paused at once": isinstance(happening, StudyPaused) and happening.now and bool(before.running),
            "finished with every configuration tried": after.reason == "space_exhausted",
            "finished by its budget": after.reason == "budget",
            "failed without a value": after.state == "failed",
            "went on after its end": before.state in ("finished", "failed") and after.state == "running",
            "cancelled with a trial running": after.state == "cancelled" and bool(after.running),
            "archived": after.is_archived,
        }
        if isinstance(happening, TrialCompleted | TrialFailed):
            trial = after.trial(happening.trial)
            notes["failed by three losses"] = trial.failure in ("device_lost", "interrupted")
            notes["completed after it was cancelled"] = after.state == "cancelled" and trial.state == "complete"
            notes["complete after a loss"] = trial.state == "complete" and trial.lost_attempts > 0
            notes["the best so far was at chance"] = before.incumbent is not None and before.incumbent.at_chance
        if isinstance(happening, TrialsRetried):
            retried = [before.trial(number) for number in happening.trials]
            notes["retried complete"] = any(trial.state == "complete" for trial in retried)
            notes["retried at chance"] = any(trial.at_chance for trial in retried)
            notes["retried after three losses"] = any(trial.lost_attempts == 3 for trial in retried)
        for note, is_so in notes.items():
            if is_so:
                self.reach(note)

    def reach(self, note: str) -> None:
        self.reached.add(note)
        event(note)

    def at(self) -> float:
        self.clock += 1.0
        return self.clock

    # -- what fits ----------------------------------------------------------------------------------------------------

    @precondition(lambda self: self.study.requestable > 0)
    @rule(data=st.data())
    def request(self, data: st.DataObject) -> None:
        assert self.feed(TrialsRequested(self.at(), data.draw(st.integers(1, self.study.requestable)))) is not None

    @precondition(lambda self: self.model.asks)
    @rule(hint=st.none() | st.binary(max_size=3), gain=st.none() | st.floats(0, 1))
    def answer(self, hint: bytes | None, gain: float | None) -> None:
        [(ask, count)] = self.model.asks.items()
        points = tuple(self.fresh()[:count])
        insight = {} if gain is None else {"best_mean": 0.5, "noise_sd": 0.1, "expected_improvement": gain}
        basis = self.study.basis()
        self.feed(
            PointsSuggested(
                self.at(), ask, points, Source.SURROGATE, basis.observed, basis.failed, basis.pending, basis.excluded,
                insight=insight, hint_in=self.study.hint, hint=hint, censored=basis.censored,
            )
        )  # fmt: skip

    def fresh(self) -> list[Point]:
        taken = {trial.point for trial in self.model.trials.values()}
        return [point for point in POINTS[self.study.spec.space] if point not in taken]

    # -- whole trials at once, or no course of fifty steps would get far ----------------------------------------------

    def run_one(self, outcome: Failure | float, message: str = "", chance: float | None = None) -> None:
        """Run a trial to an end of an attempt, as far as the study wants one."""
        if self.study.requestable and not self.study.ready:
            self.feed(TrialsRequested(self.at(), 1))
            self.answer_plainly()
        if self.study.state != "running" or not self.study.ready:
            return
        trial = self.study.ready[0]
        attempt = len(trial.attempts) + 1
        self.feed(TrialStarted(self.at(), trial.id, attempt, DEVICES[attempt % 2]))
        if isinstance(outcome, Failure):
            self.feed(TrialFailed(self.at(), trial.id, attempt, outcome, message))
        else:
            self.feed(TrialCompleted(self.at(), trial.id, attempt, outcome, chance=chance))

    def answer_plainly(self) -> None:
        [(ask, count)] = self.model.asks.items()
        basis = self.study.basis()
        self.feed(PointsSuggested(self.at(), ask, tuple(self.fresh()[:count]), Source.SOBOL, basis.observed))

    @rule(times=st.sampled_from([1, 3, 8]), value=st.floats(-1, 1), chance=st.sampled_from([None, 0.0]))
    def run_well(self, times: int, value: float, chance: float | None) -> None:
        for _ in range(times):
            self.run_one(value, chance=chance)

    @rule(
        times=st.sampled_from([1, 3, 3, 4]),
        failure=st.sampled_from([Failure.CRASHED, Failure.DEVICE_LOST, Failure.CRASHED, Failure.INTERRUPTED]),
        message=st.sampled_from(["ImportError", "KeyError"]),
    )
    def run_badly(self, times: int, failure: Failure, message: str) -> None:
        for _ in range(times):
            self.run_one(failure, message)

    @precondition(lambda self: self.study.spec.space is FINITE)
    @rule()
    def try_everything(self) -> None:
        self.feed(StudyAmended(self.at(), replace(self.study.spec, evaluations=12)))
        for _ in range(self.study.spec.space.size or 0):
            self.run_one(0.5)

    @precondition(lambda self: self.study.running)
    @rule(now=st.booleans(), is_final=st.sampled_from([False, False, True]))
    def stop_while_running(self, now: bool, is_final: bool) -> None:
        self.feed(StudyCancelled(self.at()) if is_final else StudyPaused(self.at(), now))
        if now:  # the result was on its way
            trial = self.study.running[0]
            self.feed(TrialCompleted(self.at(), trial.id, len(trial.attempts), 0.5))

    @precondition(lambda self: self.model.asks)
    @rule(is_exhausted=st.sampled_from([False, False, False, True]))
    def drop(self, is_exhausted: bool) -> None:
        self.feed(AskDropped(self.at(), next(iter(self.model.asks)), is_exhausted))

    @precondition(lambda self: self.study.state == "running" and self.study.ready)
    @rule(data=st.data(), device=st.sampled_from(DEVICES))
    def start(self, data: st.DataObject, device: str) -> None:
        trial = data.draw(st.sampled_from(self.study.ready))
        assert self.feed(TrialStarted(self.at(), trial.id, len(trial.attempts) + 1, device, "token")) is not None

    @precondition(lambda self: self.study.running)
    @rule(
        data=st.data(),
        value=st.floats(-1, 1) | st.sampled_from([1e300, -1e300, -0.0]),
        chance=st.none() | st.sampled_from([0.0, 0.25, -1e300]),
    )
    def complete(self, data: st.DataObject, value: float, chance: float | None) -> None:
        trial = data.draw(st.sampled_from(self.study.running))
        happening = TrialCompleted(self.at(), trial.id, len(trial.attempts), value, {"loss": 0.5}, chance=chance)
        assert self.feed(happening) is not None

    @precondition(lambda self: self.study.running)
    @rule(
        data=st.data(),
        failure=st.sampled_from([Failure.CRASHED, Failure.CRASHED, Failure.DIVERGED, Failure.TIMEOUT]),
        message=st.sampled_from(["ImportError", "ImportError", "KeyError"]),
    )
    def fail(self, data: st.DataObject, failure: Failure, message: str) -> None:
        self.end(data.draw(st.sampled_from(self.study.running)), failure, message)

    @precondition(lambda self: self.study.running)
    @rule(
        failure=st.sampled_from([Failure.DEVICE_LOST, Failure.INTERRUPTED]),
        is_lost=st.sampled_from([True] * 3 + [False]),
    )
    def lose(self, failure: Failure, is_lost: bool) -> None:
        # The one with the most losses: three of one trial are rare enough.
        self.end(max(self.study.running, key=lambda trial: trial.lost_attempts), failure, "gone", is_lost)

    def end(self, trial: Trial, failure: Failure, message: str, is_lost: bool = True) -> None:
        happening = TrialFailed(self.at(), trial.id, len(trial.attempts), failure, message, is_lost=is_lost)
        assert self.feed(happening) is not None

    @precondition(lambda self: self.model.ids("complete", "failed"))
    @rule(data=st.data())
    def retry(self, data: st.DataObject) -> None:
        ended = st.sampled_from(self.model.ids("complete", "failed"))
        self.feed(TrialsRetried(self.at(), tuple(data.draw(st.lists(ended, min_size=1, max_size=3, unique=True)))))

    @rule(data=st.data(), order=st.sampled_from([*ORDERS]))
    def give_order(self, data: st.DataObject, order: str) -> None:
        match order:
            case "amend":
                evaluations = max(1, self.model.evaluations + data.draw(st.integers(-2, 3)))
                seed = data.draw(rarely)
                spec = replace(self.study.spec, evaluations=evaluations, seed=int(seed), budget=Budget())
                self.feed(StudyAmended(self.at(), spec))
            case "pause":
                self.feed(StudyPaused(self.at(), data.draw(st.booleans())))
            case "resume":
                self.feed(StudyResumed(self.at()))
            case "spend time":
                self.feed(TimeSpent(self.at(), data.draw(st.floats(0, 1e6))))
            case "spend budget":
                self.feed(BudgetReached(self.at(), "cost"))
            case "archive":
                self.feed(StudyArchived(self.at()))
            case "cancel":
                self.feed(StudyCancelled(self.at()))

    # -- what may not fit ---------------------------------------------------------------------------------------------

    @rule(data=st.data())
    def repeat(self, data: st.DataObject) -> None:
        """Something that was offered before comes again: the answer to an old ask, the end of an old attempt."""
        stale = data.draw(st.sampled_from(self.offered))
        is_refused = self.feed(stale) is None
        if is_refused and isinstance(stale, PointsSuggested):
            self.reach("a stale answer was refused")
        if is_refused and isinstance(stale, TrialCompleted | TrialFailed):
            self.reach("a stale end was refused")

    @rule(happening=nonsense)
    def happen(self, happening: Event) -> None:
        self.feed(happening)

    @precondition(lambda self: self.model.asks)
    @rule(how=st.sampled_from(["twice", "taken", "too many", "outside", "no number"]))
    def answer_wrongly(self, how: str) -> None:
        [(ask, count)] = self.model.asks.items()
        fresh, taken = self.fresh(), [trial.point for trial in self.model.trials.values()]
        dimension = self.study.spec.space.dimension
        points = {
            "twice": fresh[:1] * count,
            "taken": [*taken[:1], *fresh][:count],
            "too many": [*fresh[:count], (0.123,) * dimension],
            "outside": [(1.5,) * dimension, *fresh][:count],
            "no number": [(float("nan"),) * dimension, *fresh][:count],
        }[how]
        self.feed(PointsSuggested(self.at(), ask, tuple(points), Source.SURROGATE))

    # -- what must be true --------------------------------------------------------------------------------------------

    @invariant()
    def trials_are_as_told(self) -> None:
        trials = self.study.trials
        assert [trial.id for trial in trials] == [*range(1, len(trials) + 1)]
        assert [str(trial.state) for trial in trials] == [known.state for known in self.model.trials.values()]
        assert [trial.value for trial in trials] == [known.value for known in self.model.trials.values()]
        assert [trial.at_chance for trial in trials] == [known.at_chance for known in self.model.trials.values()]
        assert [trial.point for trial in trials] == [known.point for known in self.model.trials.values()]
        assert len({trial.point for trial in trials}) == len(trials)
        assert len({tuple(trial.configuration.items()) for trial in trials}) == len(trials)

    @invariant()
    def a_trial_runs_once_at_a_time(self) -> None:
        for trial, known in zip(self.study.trials, self.model.trials.values(), strict=True):
            assert [attempt.n for attempt in trial.attempts] == [*range(1, known.attempts + 1)]
            open_attempts = [attempt.n for attempt in trial.attempts if attempt.outcome is None]
            assert open_attempts == ([known.attempts] if known.state == "running" else [])
            assert (trial.value is not None) == (trial.state == "complete")
            assert trial.lost_attempts == known.lost <= 3

    @invariant()
    def counts_hold(self) -> None:
        study = self.study
        assert study.finished == len(self.model.ids("complete", "failed")) <= self.model.most_evaluations
        assert study.outstanding_asks == self.model.asks
        assert study.wall_clock_s == self.model.seconds
        told = [known for known in self.model.trials.values() if known.value is not None]
        learnt = [known for known in told if not known.at_chance]
        best = [known.value for known in learnt or told if known.value is not None]
        assert study.at_chance == len(told) - len(learnt)
        pick = max if study.spec.direction == "maximize" else min
        assert (study.incumbent.value if study.incumbent else None) == (pick(best) if best else None)
        braked = {trial.id for trial in study.trials if trial.is_braked}
        assert {*study.undecided} <= braked <= {*study.basis().excluded}  # a broken script is no evidence
        assert study.reason != "crashes" or len(study.undecided) >= 3

    @invariant()
    def the_optimizer_is_handed_every_trial_once(self) -> None:
        history = self.study.history()
        points = [self.model.trials[number].point for number in history.trials]
        assert sorted(history.trials) == [*self.model.trials]
        assert [tuple(row) for row in history.taken.tolist()] == points
        assert history.sources == tuple(self.study.trial(number).source for number in history.trials)
        assert len(history.censored) == self.study.at_chance

    @invariant()
    def an_ended_study_rests(self) -> None:
        study = self.study
        assert study.state.is_ended == (study.ended_at is not None)
        if study.state in ("finished", "failed"):
            assert not study.running and not self.model.asks
        if study.state in ("finished", "failed"):
            assert (study.state == "finished") == (study.incumbent is not None)
        if study.state == "paused":
            assert not self.model.asks

    @invariant()
    def a_running_study_goes_on(self) -> None:
        """Never a hang: with a free device something runs, is asked for, or starts."""
        study = self.study
        if study.state == "running" and not study.running and not self.model.asks:
            assert allocate(["a new device"], [study]) != []

    @invariant()
    def a_replay_knows_the_same(self) -> None:
        if len(self.journal) > self.replayed:
            assert facts(Study.replay(self.journal)) == facts(self.study)
            self.replayed = len(self.journal)


@pytest.mark.hypothesis
def test_a_study_keeps_its_promises_whatever_happens() -> None:
    """A box left alone for a month sees every order of events; the study is what decides then."""
    StudyMachine.reached.clear()
    # What is drawn depends on which modules are loaded, so that no number of courses is always enough.
    for course in range(8):
        run_state_machine_as_test(
            seed(course)(StudyMachine), settings=settings(max_examples=2 * settings().max_examples)
        )
        if StudyMachine.reached >= DEEP_STATES:
            break
    assert DEEP_STATES - StudyMachine.reached == set()
