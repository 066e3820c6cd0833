"""A comparison of methods: ordinary studies that know which part of it they are, and which of them come next.

```
search: each method's runs ─┬─▶ confirm ──▶ final, untuned-final, forest-final
untuned, forest             └─▶ figure2
```

Nobody keeps a comparison beside its studies: what is due follows from those that are there. So after any crash the same
question gets the same answer.
"""

import hashlib
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from cnnbo.scheduler.space import Configuration, FloatParameter, Point, Scale, SearchSpace
from cnnbo.scheduler.spec import Direction, Part, Plan, Stage, StudySpec, Task, to_objective
from cnnbo.scheduler.study import Study, StudyState
from cnnbo.scheduler.trial import Trial, TrialState

FINALISTS: Final = 3
"""So many of a run's best configurations are trained again with fresh seeds."""

FIGURE2: Final[Mapping[str, tuple[float, ...]]] = {
    "learning_rate": (0.016, 0.1, 0.6),
    "momentum": (0.2, 0.6, 0.93),
    "decay": (0.01, 0.5, 0.93),
}
"""The values of RMSProp's parameters whose progressions Figure 2 shows, as in the post of 2016."""


def derived_seed(seed: int, label: str) -> int:
    """The seed of a part of a comparison, in 0..2**31 - 1: all its randomness comes from the comparison's seed.

    Runs of the same number share theirs, whatever their method: trial k of one is trained with the seed of trial k of
    the other, so that methods are compared in pairs.
    """
    digest = hashlib.sha256(f"{seed}/{label}".encode()).digest()
    return int.from_bytes(digest[:4], "big") >> 1


def study_name(part: Part) -> str:
    """Name of the study that is this part of its comparison."""
    if part.stage is Stage.SEARCH:
        return f"{part.plan.name}-{part.method}-{part.run}"
    return f"{part.plan.name}-{part.stage}"


def names(plan: Plan) -> frozenset[str]:
    """All names that a comparison needs, now or at a later stage: its own and those of its studies."""
    runs = (Part(plan, Stage.SEARCH, method, run) for method in plan.methods for run in range(1, plan.runs + 1))
    others = (Part(plan, stage) for stage in Stage if stage is not Stage.SEARCH)
    return frozenset({plan.name, *map(study_name, runs), *map(study_name, others)})


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the figures and tables: a method with so many trials in each run.

    Attributes:
        method: one of the plan's.
        evaluations: how many trials of each of its runs count, the first ones.
        is_twice: whether it is random search that went on to twice the trials.
    """

    method: str
    evaluations: int
    is_twice: bool = False

    @property
    def label(self) -> str:
        """How people call it."""
        return f"{self.method}, twice the trials" if self.is_twice else self.method


def lines(plan: Plan) -> tuple[Line, ...]:
    """The lines of a comparison: each method, and random search with twice the trials where it is wanted.

    The further line is no further experiment: its runs are those of random search, gone on with.
    """
    plain = tuple(Line(method, plan.evaluations) for method in plan.methods)
    twice = tuple(Line(method, 2 * plan.evaluations, True) for method in plan.methods if is_doubled(plan, method))
    return plain + twice


def is_doubled(plan: Plan, method: str) -> bool:
    """Whether the runs of this method go on to twice the trials."""
    return plan.twice and method == "random"


def run_evaluations(plan: Plan, method: str) -> int:
    """How many trials a run of this method has, >= 1."""
    return plan.evaluations * (2 if is_doubled(plan, method) else 1)


def search_spec(template: StudySpec, plan: Plan, method: str, optimizer: str, run: int) -> StudySpec:
    """One run of one method.

    Args:
        template: what every run has in common.
        plan: of the comparison.
        method: one of the plan's.
        optimizer: its name in the registry.
        run: 1 to the plan's number of runs.
    """
    part = Part(plan, Stage.SEARCH, method, run)
    return replace(
        template,
        name=study_name(part),
        optimizer=optimizer,
        evaluations=run_evaluations(plan, method),
        seed=derived_seed(plan.seed, f"run {run}"),
        start=(),
        part=part,
    )


def fixed_spec(
    template: StudySpec, plan: Plan, stage: Stage, start: Sequence[Configuration], repeats: int
) -> StudySpec:
    """A study of known configurations, each trained so many times, with seeds of its own.

    Configurations that are one point of the space are one configuration.
    """
    part = Part(plan, stage)
    distinct: dict[Point, Configuration] = {}
    for configuration in start:
        distinct.setdefault(template.space.encode(configuration), configuration)
    return replace(
        template,
        name=study_name(part),
        optimizer="random",  # which is never asked
        evaluations=len(distinct) * repeats,
        initial=0,
        seed=derived_seed(plan.seed, stage),
        start=tuple(distinct.values()),
        repeats=repeats,
        part=part,
    )


_CHOSEN_FROM: Final[Mapping[Stage, tuple[Stage, ...]]] = {
    Stage.SEARCH: (Stage.CONFIRM, Stage.FIGURE2, Stage.FINAL),
    Stage.CONFIRM: (Stage.FINAL,),
}
"""What the later stages are made of."""


@dataclass(frozen=True, slots=True)
class Members:
    """The studies of one comparison that are there.

    Attributes:
        search: by method and run.
        others: by stage.
    """

    search: Mapping[tuple[str, int], Study]
    others: Mapping[Stage, Study]

    @classmethod
    def of(cls, studies: Iterable[Study], comparison: str) -> "Members":
        """Those among some studies that are part of a comparison."""
        search: dict[tuple[str, int], Study] = {}
        others: dict[Stage, Study] = {}
        for study in studies:
            part = study.spec.part
            if part is None or part.plan.name != comparison:
                continue
            if part.stage is Stage.SEARCH:
                search[part.method, part.run] = study
            else:
                others[part.stage] = study
        return cls(search, others)

    @property
    def studies(self) -> tuple[Study, ...]:
        """All of them, oldest first."""
        return tuple(sorted((*self.search.values(), *self.others.values()), key=lambda study: study.created_at))

    @property
    def plan(self) -> Plan | None:
        """The comparison's plan; None where none of its studies is there."""
        part = self.studies[0].spec.part if self.studies else None
        return None if part is None else part.plan

    @property
    def state(self) -> StudyState:
        """The state of the whole: running until all that is due has ended, paused where nothing goes on by itself."""
        states = [study.state for study in self.studies]
        if StudyState.RUNNING in states or due(self):
            return StudyState.RUNNING
        if StudyState.CANCELLED in states and StudyState.PAUSED not in states:
            return StudyState.CANCELLED
        if StudyState.PAUSED in states or not self.is_complete:
            return StudyState.PAUSED
        is_failed = all(study.state is StudyState.FAILED for study in self.search.values())
        return StudyState.FAILED if is_failed else StudyState.FINISHED

    @property
    def is_complete(self) -> bool:
        """Whether every run of every method is there; one that isn't is created by the same command again."""
        plan = self.plan
        return plan is not None and len(self.search) == len(plan.methods) * plan.runs

    def runs(self, method: str) -> tuple[Study, ...]:
        """The runs of a method that are there, by number."""
        return tuple(self.search[key] for key in sorted(self.search) if key[0] == method)

    def has_ended(self, stage: Stage) -> bool:
        """Whether everything of a stage is there and has ended."""
        if stage is not Stage.SEARCH:
            return stage in self.others and self.others[stage].state.is_ended
        return self.is_complete and all(study.state.is_ended for study in self.search.values())

    def was_used(self, stage: Stage) -> bool:
        """Whether something was chosen from the results of a stage already, which they had better stay for."""
        return any(later in self.others for later in _CHOSEN_FROM.get(stage, ()))


@dataclass(frozen=True, slots=True)
class Finalist:
    """One of a run's best configurations.

    Attributes:
        trial: which found it.
        values: what it came to with fresh seeds, as the metric is reported; empty where nothing was confirmed (yet).
        failures: how many trainings with fresh seeds failed.
        at_chance: how many of the values are no better than chance.
    """

    trial: Trial
    values: tuple[float, ...] = ()
    failures: int = 0
    at_chance: int = 0

    @property
    def mean(self) -> float:
        """Mean of its values; NaN where there are none."""
        return statistics.fmean(self.values) if self.values else float("nan")


def finalists(study: Study, evaluations: int, confirm: Study | None = None) -> tuple[Finalist, ...]:
    """A run's best configurations by what was measured in it, best first, the earlier of equals.

    None of them is at chance, unless all of the run's are: then it is one alone, for luck put them in their order.

    Args:
        study: the run.
        evaluations: so many of its trials count, the first ones.
        confirm: the study that trained them again, if there is one.
    """
    complete = [t for t in study.trials if t.state is TrialState.COMPLETE and t.id <= evaluations]
    best = sorted(complete, key=lambda trial: (trial.at_chance, objective(trial, study.spec.direction)))
    learnt = [trial for trial in best if not trial.at_chance][:FINALISTS]
    return tuple(_confirmed(trial, confirm) for trial in learnt or best[:1])


def objective(trial: Trial, direction: Direction) -> float:
    """What a complete trial's value is to the core: lower is better."""
    assert trial.value is not None
    return to_objective(trial.value, direction)


def _confirmed(trial: Trial, confirm: Study | None) -> Finalist:
    again = [] if confirm is None else [t for t in confirm.trials if t.configuration == trial.configuration]
    values = tuple(t.value for t in again if t.value is not None)
    failures = sum(t.state is TrialState.FAILED for t in again)
    return Finalist(trial, values, failures, sum(t.at_chance for t in again))


def confirmed(candidates: Sequence[Finalist], direction: Direction) -> Finalist | None:
    """The finalist to be trusted: fewest failures with fresh seeds, then the best mean, then the better searched.

    None where nothing was confirmed.
    """
    measured = [finalist for finalist in candidates if finalist.values]
    return min(measured, key=lambda f: (f.failures, to_objective(f.mean, direction)), default=None)


def due(members: Members) -> list[StudySpec]:
    """The studies of a comparison that are to be created now: those whose forerunners have ended.

    Once a part was cancelled or archived, nothing more is due.
    """
    is_given_up = any(study.state is StudyState.CANCELLED or study.is_archived for study in members.studies)
    if members.plan is None or is_given_up or not members.has_ended(Stage.SEARCH):
        return []
    return list(_due(members, members.plan))


def _due(members: Members, plan: Plan) -> Iterator[StudySpec]:
    template = members.search[plan.methods[0], 1].spec
    top = _union(
        finalist for line, study in _line_runs(members, plan) for finalist in finalists(study, line.evaluations)
    )
    if not top:
        return  # no run has a single value: there is nothing to confirm
    if plan.confirm and Stage.CONFIRM not in members.others:
        yield fixed_spec(template, plan, Stage.CONFIRM, top, plan.confirm)
    if plan.figure2 and Stage.FIGURE2 not in members.others:
        yield _figure2_spec(template, plan, _best(members))
    if template.model is not None and (not plan.confirm or members.has_ended(Stage.CONFIRM)):
        yield from _final_specs(members, plan, template)


def _line_runs(members: Members, plan: Plan) -> Iterator[tuple[Line, Study]]:
    return ((line, study) for line in lines(plan) for study in members.runs(line.method))


def _union(chosen: Iterable[Finalist]) -> list[Configuration]:
    """Their configurations, each once, in order."""
    unique: list[Configuration] = []
    for finalist in chosen:
        if finalist.trial.configuration not in unique:
            unique.append(finalist.trial.configuration)
    return unique


def _best(members: Members) -> Configuration:
    """The best configuration of all runs."""
    incumbents = [study.incumbent for study in members.search.values() if study.incumbent is not None]
    direction = members.studies[0].spec.direction
    return min(incumbents, key=lambda trial: (trial.at_chance, objective(trial, direction))).configuration


def _figure2_spec(template: StudySpec, plan: Plan, base: Configuration) -> StudySpec:
    wide = {name: _widened(template.space, name, values) for name, values in FIGURE2.items()}
    others = tuple(parameter for parameter in template.space.parameters if parameter.name not in wide)
    start = [{**base, name: value} for name, values in FIGURE2.items() for value in values]
    traced = replace(
        template, space=SearchSpace((*others, *wide.values())), trial=replace(template.trial, task=Task.TRACE)
    )
    return fixed_spec(traced, plan, Stage.FIGURE2, start, 1)


def _widened(space: SearchSpace, name: str, values: Sequence[float]) -> FloatParameter:
    """A parameter of the space with room for other values as well."""
    [own] = [parameter for parameter in space.parameters if parameter.name == name]
    assert isinstance(own, FloatParameter)  # the study file was asked
    scale: Scale = "log" if own.scale == "log" else "linear"  # the reverse-log scale ends below 1
    return FloatParameter(name, min(own.low, *values), max(own.high, *values), scale)


def choices(members: Members, line: Line) -> tuple[tuple[Finalist | None, Finalist | None], ...]:
    """What each run of a line chose, by run: the best found, and the confirmed one; None where it has none."""
    confirm = members.others.get(Stage.CONFIRM)
    found = [finalists(study, line.evaluations, confirm) for study in members.runs(line.method)]
    direction = members.studies[0].spec.direction
    return tuple((best[0] if best else None, confirmed(best, direction)) for best in found)


def _final_specs(members: Members, plan: Plan, template: StudySpec) -> Iterator[StudySpec]:
    if Stage.FINAL not in members.others:
        chosen = (f for line in lines(plan) for pair in choices(members, line) for f in pair if f is not None)
        yield fixed_spec(final_form(template), plan, Stage.FINAL, _union(chosen), 1)
    for stage, final in ((Stage.UNTUNED, Stage.UNTUNED_FINAL), (Stage.FOREST, Stage.FOREST_FINAL)):
        baseline = members.others.get(stage)
        if baseline is not None and final not in members.others:
            yield fixed_spec(final_form(baseline.spec), plan, final, baseline.spec.start, plan.runs)


def final_form(spec: StudySpec) -> StudySpec:
    """What a study's configurations are trained with at last: all tuning data, to the end, for the test set's score."""
    trial = replace(spec.trial, task=Task.FINAL, images=None, stop_at_chance=False, timeout_s=None)
    return replace(spec, metric="test_accuracy", trial=trial)
