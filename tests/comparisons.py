"""A whole small comparison, played through real studies on two devices: for tests of what is made of it."""

import heapq
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import numpy as np

from cnnbo.models.registry import SVHN_CNN
from cnnbo.scheduler import IntParameter, SearchSpace, Study
from cnnbo.scheduler.comparison import Members, due, fixed_spec, search_spec
from cnnbo.scheduler.events import (
    AskOptimizer,
    Event,
    PointsSuggested,
    StudyCreated,
    TrialCompleted,
    TrialFailed,
    TrialsRequested,
    TrialStarted,
)
from cnnbo.scheduler.optimizers.base import Source
from cnnbo.scheduler.spec import Direction, Plan, Stage, StudySpec, Task, TrialSettings
from cnnbo.scheduler.trial import Failure, Trial

BEGIN = 1_767_225_600.0
"""2026-01-01, 00:00:00 UTC, in seconds since the epoch: when everything played begins."""

DEVICES = ("cpu-0", "cpu-1")


@dataclass(frozen=True)
class Outcome:
    """What became of a training: a value with what luck explains, or a failure, with what else was measured."""

    value: float | None
    duration_s: float = 4.0
    failure: Failure = Failure.DIVERGED
    metrics: dict[str, float] = field(default_factory=dict)
    energy_j: float | None = None
    opened_test_set: bool = False
    chance: float | None = None


Training = Callable[[StudySpec, Trial], Outcome]


class Played:
    """A study with the events that it was built from, so that a journal can be made of them too."""

    def __init__(self, spec: StudySpec, at: float = BEGIN) -> None:
        self.study = Study(spec, at=at)
        self.events: list[Event] = [StudyCreated(at, spec)]

    def take(self, event: Event) -> list[Any]:
        """Let it happen."""
        self.study.check(event)
        self.events.append(event)
        return list(self.study.handle(event))

    def propose(self, at: float) -> None:
        """Let a point be suggested: for `trieste` near the best that is known, otherwise anywhere."""
        spec, ask = self.study.spec, self.take(TrialsRequested(at, 1))[0]
        assert isinstance(ask, AskOptimizer)
        generator = np.random.default_rng([spec.seed, ask.ask, len(spec.optimizer)])
        point = generator.uniform(size=spec.space.dimension)
        best = self.study.incumbent
        is_believed = spec.optimizer == "trieste" and best is not None and ask.ask >= 4
        if is_believed and best is not None:
            point = np.clip(best.point + 0.15 * generator.normal(size=point.shape), 0.0, 1.0)
        basis = self.study.basis()
        self.take(
            PointsSuggested(
                at,
                ask.ask,
                (spec.space.canonical(point.tolist()),),
                Source.SURROGATE if is_believed else Source.RANDOM,
                observed=basis.observed,
                failed=basis.failed,
                pending=basis.pending,
                insight=_insight(spec) if is_believed else {},
            )
        )


def _insight(spec: StudySpec) -> dict[str, object]:
    weights = {name: 0.5**rank for rank, name in enumerate(reversed(spec.space.names))}
    total = sum(weights.values())
    return {"relevance": {name: weight / total for name, weight in weights.items()}, "noise_sd": 0.01}


def play(studies: Sequence[Played], training: Training, begin: float = BEGIN) -> float:
    """Carry out all trials of some studies side by side on `DEVICES`; when the last one ended."""
    running: list[tuple[float, int, str, Played, Trial, Outcome]] = []
    free, now, order = list(DEVICES), begin, count()
    while True:
        while free and (played := _next(studies)) is not None:
            if not played.study.ready:
                played.propose(now)
            trial = played.study.ready[0]
            device = free.pop(0)
            played.take(TrialStarted(now, trial.id, len(trial.attempts) + 1, device))
            outcome = training(played.study.spec, trial)
            heapq.heappush(running, (now + outcome.duration_s, next(order), device, played, trial, outcome))
        if not running:
            return now
        now, _, device, played, trial, outcome = heapq.heappop(running)
        played.take(_end(now, trial, outcome))
        free.append(device)
        now += 0.25  # what it takes until the next one starts


def _next(studies: Sequence[Played]) -> Played | None:
    """The study with the fewest trials that can start another."""
    able = [played for played in studies if played.study.ready or played.study.requestable]
    return min(able, key=lambda played: len(played.study.trials) - len(played.study.ready), default=None)


def _end(at: float, trial: Trial, outcome: Outcome) -> Event:
    attempt = len(trial.attempts) + 1
    if outcome.value is None:
        message = f"It is {outcome.failure}."
        return TrialFailed(
            at, trial.id, attempt, outcome.failure, message, metrics=outcome.metrics, energy_j=outcome.energy_j
        )
    return TrialCompleted(
        at,
        trial.id,
        attempt,
        outcome.value,
        outcome.metrics,
        energy_j=outcome.energy_j,
        opened_test_set=outcome.opened_test_set,
        chance=outcome.chance,
    )


def train(spec: StudySpec, trial: Trial) -> Outcome:
    """What a training of the network of 2016 might come to; the same for the same study and trial."""
    generator = np.random.default_rng([spec.seed, trial.id])
    if "learning_rate" not in trial.configuration:
        value = 0.62 + 0.004 * generator.normal()
        return Outcome(value, 6.0, opened_test_set=spec.trial.task is Task.FINAL)  # the forest
    settings = {name: float(value) for name, value in trial.configuration.items()}
    rate, momentum = np.log10(settings["learning_rate"]), settings["momentum"]
    size = settings["filter1_width"] ** 2 * settings["filter1_depth"]
    duration_s = 2.0 + size / 1000
    curve = 0.86 - 0.05 * (rate + 3.2) ** 2 + 0.04 * settings["keep_probability"] - 0.02 * abs(momentum - 0.9)
    curve = max(0.2, curve + 0.006 * generator.normal())
    diverges = rate > -1.0 - 0.5 * momentum
    if spec.trial.task is Task.TRACE:
        steps = range(10, 40 if diverges and momentum > 0.8 else 110, 10)
        shares = {f"val_accuracy_at_{step}": 0.18 + (curve - 0.18) * (1 - 0.5 ** (step / 25)) for step in steps}
        return Outcome(None if len(steps) < 10 else curve, duration_s, metrics=shares)
    if diverges:
        return Outcome(None, 1.0, Failure.DIVERGED, {"val_accuracy": 0.19})
    if size > 6_000:
        return Outcome(None, 0.5, Failure.OUT_OF_MEMORY)
    if spec.trial.task is Task.FINAL:
        return Outcome(curve - 0.02, 2 * duration_s, opened_test_set=True)
    return Outcome(curve, duration_s)


def comparison(
    plan: Plan | None = None, training: Training = train, direction: Direction = Direction.MAXIMIZE
) -> list[Played]:
    """All studies of a comparison, played to its end.

    Args:
        plan: what is compared; None = BO and random search, 3 runs of 8, with twice the trials, and Figure 2.
        training: what becomes of a trial.
        direction: which way the metric gets better.
    """
    plan = plan or Plan("small", ("bo", "random"), runs=3, evaluations=8, seed=7, confirm=3, figure2=True)
    template = StudySpec(
        SVHN_CNN.space,
        model=SVHN_CNN.name,
        metric="val_accuracy",
        direction=direction,
        data_dir="/data/street_mnist",
        trial=TrialSettings(images=3000),
    )
    optimizers = {"bo": "trieste"}
    runs = range(1, plan.runs + 1)
    specs = [search_spec(template, plan, m, optimizers.get(m, m), run) for run in runs for m in plan.methods]
    specs.append(fixed_spec(template, plan, Stage.UNTUNED, [SVHN_CNN.defaults], plan.runs))
    specs.append(fixed_spec(_forest(template), plan, Stage.FOREST, [{"trees": 100}], plan.runs))
    played: list[Played] = []
    end = BEGIN
    while specs:
        new = [Played(spec, end) for spec in specs]
        played += new
        end = play(new, training, end)
        specs = due(members(played))
    return played


def _forest(template: StudySpec) -> StudySpec:
    space = SearchSpace((IntParameter("trees", 1, 1000),))
    return StudySpec(space, model="forest", metric=template.metric, direction=template.direction)


def members(played: Iterable[Played], comparison: str = "small") -> Members:
    """The studies of a comparison among those played."""
    return Members.of((each.study for each in played), comparison)
