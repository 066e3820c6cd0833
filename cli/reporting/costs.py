"""What it costs to reach given accuracies: Table 2, and the claim of 2016 put to the test."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from cnnbo.cli.reporting import captions
from cnnbo.cli.reporting.context import Context
from cnnbo.cli.reporting.held_out import values_of
from cnnbo.cli.reporting.parts import Cell, Column, Table
from cnnbo.cli.reporting.schedule import end_times
from cnnbo.cli.reporting.statistics import mean_interval
from cnnbo.cli.reporting.traces import best_seen, counted, evaluations_to, quantile
from cnnbo.scheduler.comparison import Line, Members, lines
from cnnbo.scheduler.spec import Plan, Stage, to_objective
from cnnbo.scheduler.study import Study
from cnnbo.scheduler.trial import Trial

POST_PRICE: Final = 2.60
"""US dollars for an observation in the post of 2016."""

POST_SAVING: Final = 0.8
"""How much less BO was to cost there than random search for the same accuracy."""

_SECONDS_PER_HOUR: Final = 3600.0
_SECONDS_PER_MINUTE: Final = 60.0
_JOULES_PER_KWH: Final = 3.6e6


@dataclass(frozen=True, slots=True)
class Target:
    """An accuracy to be reached, and the rule that it comes from.

    Attributes:
        value: of the metric.
        rule: for people.
    """

    value: float
    rule: str


def reference(plan: Plan) -> Line:
    """The line that others are measured by: random search, else the first method."""
    method = "random" if "random" in plan.methods else plan.methods[0]
    return Line(method, plan.evaluations)


def found_by_reference(members: Members, plan: Plan, share: float) -> float | None:
    """A quantile over the reference's runs of the best value in all their evaluations; None before there is any.

    Args:
        members: the comparison.
        plan: of it.
        share: of the runs that found something better or as good, 0 to 1; 0.5 = the median.
    """
    line = reference(plan)
    traces = [best_seen(study, line.evaluations) for study in members.runs(line.method)]
    last = [trace[-1] for trace in traces if len(trace)]
    objective = float(quantile(np.array(last).reshape(-1, 1), share)[0]) if last else math.inf
    return to_objective(objective, members.studies[0].spec.direction) if math.isfinite(objective) else None


def targets(members: Members, plan: Plan) -> tuple[Target, ...]:
    """Accuracies by a rule that doesn't look at who wins, the easiest first.

    They are what the untuned network has on average, and the quartiles over runs of what the reference has found at
    last, as far as they are there.
    """
    line = reference(plan)
    found = []
    if (untuned := mean_interval(values_of(members.others.get(Stage.UNTUNED)))) is not None:
        found.append(Target(untuned.value, "mean of the untuned network"))
    for share, name in ((0.75, "lower quartile"), (0.5, "median"), (0.25, "upper quartile")):
        if (value := found_by_reference(members, plan, share)) is not None:
            found.append(Target(value, f"{name} of what {line.method} found in {line.evaluations}"))
    direction = members.studies[0].spec.direction
    return tuple(sorted(found, key=lambda target: -to_objective(target.value, direction)))


@dataclass(frozen=True, slots=True)
class Reached:
    """What a run needed to reach a target.

    Attributes:
        evaluations: until then, that one included.
        device_s: seconds on a device of all attempts at them.
        energy_j: joules of them; None where one was not measured.
        scheduled_s: seconds until then in a simulated schedule, by the number of devices.
    """

    evaluations: int
    device_s: float
    energy_j: float | None
    scheduled_s: dict[int, float]


def reached(study: Study, evaluations: int, target: float, devices: Sequence[int] = ()) -> Reached | None:
    """What a run needed to reach a value of the metric with its first so many trials; None where it never did."""
    wanted = to_objective(target, study.spec.direction)
    trials = counted(study, evaluations)
    needed = evaluations_to(best_seen(study, evaluations), wanted)
    if needed is None:
        return None
    durations = [device_seconds(trial) for trial in trials]
    joules = [trial.energy_j for trial in trials[:needed]]
    hits = [
        index
        for index, trial in enumerate(trials)
        if trial.value is not None and to_objective(trial.value, study.spec.direction) <= wanted
    ]
    scheduled = {}
    for count in devices:
        ends = end_times(durations, count)
        scheduled[count] = min(ends[index] for index in hits)
    energy = math.fsum(j for j in joules if j is not None) if None not in joules else None
    return Reached(needed, math.fsum(durations[:needed]), energy, scheduled)


def device_seconds(trial: Trial) -> float:
    """Seconds that all attempts at a trial held a device, those that were lost too."""
    return math.fsum(attempt.duration_s for attempt in trial.attempts if attempt.duration_s is not None)


def table_2(members: Members, plan: Plan, context: Context) -> Table | None:
    """Evaluations and costs until each target is reached, by line; None where there is no target yet."""
    aims = targets(members, plan)
    if not aims:
        return None
    rows: list[tuple[Cell, ...]] = []
    for target in aims:
        for line in lines(plan):
            runs = [reached(study, line.evaluations, target.value) for study in members.runs(line.method)]
            rows.append((target.value, target.rule, line.label, *_costs(runs, context.price_per_device_hour)))
    price = context.price_per_device_hour
    priced = "no price is set" if price is None else f"at {price:g} per device-hour"
    return Table(
        "table-2-cost",
        "Table 2: cost of reaching an accuracy",
        "Median over runs, where a run that never got there counts as worse than all that did; no number where half of "
        "the runs or more did not. The accuracies are on validation images and come from a rule that does not look at "
        f"who wins. The post's unit: {POST_PRICE:.2f} US dollars for each evaluation, failed ones too, whatever it "
        "took (with perfect scaling, more devices change the time and not the cost). Beside it what was measured: "
        f"hours on a device of all attempts, their cost ({priced}) and energy (where devices tell theirs). "
        f"{captions.where(context)}",
        (
            Column("accuracy", "Accuracy", ".4f"),
            Column("rule", "Which is the"),
            Column("method", "Method"),
            Column("runs_reached", "Runs there"),
            Column("runs", "Runs"),
            Column("evaluations", "Evaluations"),
            Column("post_cost_usd", "Post's unit, $", ".2f"),
            Column("device_h", "Device-hours", ".3g"),
            Column("cost", "Cost", ".3g"),
            Column("energy_kwh", "Energy, kWh", ".3g"),
        ),
        tuple(rows),
    )


def _costs(runs: Sequence[Reached | None], price: float | None) -> tuple[Cell, ...]:
    evaluations = _median([None if run is None else run.evaluations for run in runs])
    seconds = _median([None if run is None else run.device_s for run in runs])
    joules = [None if run is None else run.energy_j for run in runs]
    is_measured = all(run is None or run.energy_j is not None for run in runs)
    energy_j = _median(joules) if is_measured else None
    hours = None if seconds is None else seconds / _SECONDS_PER_HOUR
    return (
        sum(run is not None for run in runs),
        len(runs),
        None if evaluations is None else int(evaluations),
        None if evaluations is None else POST_PRICE * evaluations,
        hours,
        None if hours is None or price is None else hours * price,
        None if energy_j is None else energy_j / _JOULES_PER_KWH,
    )


def _median(numbers: Sequence[float | None]) -> float | None:
    """Median where None is worse than any number: it is one of them, or None; of two in the middle the worse one."""
    ordered = sorted(math.inf if number is None else number for number in numbers)
    middle = ordered[len(ordered) // 2] if ordered else math.inf
    return middle if math.isfinite(middle) else None


def projection_table(members: Members, plan: Plan, context: Context) -> Table | None:
    """Minutes until each target is reached on so many devices, by perfect scaling and by a simulated schedule."""
    aims = targets(members, plan)
    if not aims:
        return None
    rows: list[tuple[Cell, ...]] = []
    for target in aims:
        for line in lines(plan):
            runs = [
                reached(study, line.evaluations, target.value, context.n_devices) for study in members.runs(line.method)
            ]
            times: list[Cell] = []
            for count in context.n_devices:
                if not _could_learn(members, line, count):
                    times += [None, None]
                    continue
                perfect = _median([None if run is None else run.device_s / count for run in runs])
                scheduled = _median([None if run is None else run.scheduled_s[count] for run in runs])
                times += [None if s is None else s / _SECONDS_PER_MINUTE for s in (perfect, scheduled)]
            rows.append((target.value, line.label, *times))
    columns = [
        Column(f"{kind}_{count}_min", f"{captions.counted(count, 'device')}, {kind}", ".3g")
        for count in context.n_devices
        for kind in ("perfect", "scheduled")
    ]
    return Table(
        "table-2-projected",
        "Table 2, projected to more devices",
        "Minutes, median over runs as in Table 2. Perfect: measured device time divided by the number of devices, as "
        "in the post. Scheduled: the run's trials in their order with their measured durations, each taken by the "
        "first device that is free, until the first one ends that reaches the accuracy. Perfect scaling may come out "
        "shorter than a single trial. Both are kind to methods that learn: on more devices their proposals would have "
        "known fewer results, and there is no number where most of a run would start at once. "
        f"{captions.where(context)}",
        (Column("accuracy", "Accuracy", ".4f"), Column("method", "Method"), *columns),
        tuple(rows),
    )


def _could_learn(members: Members, line: Line, devices: int) -> bool:
    """Whether a run of a method that learns would still have most results before most of its proposals."""
    is_learner = any(study.spec.optimizer == "trieste" for study in members.runs(line.method))
    return not is_learner or 2 * devices <= line.evaluations


@dataclass(frozen=True, slots=True)
class Claim:
    """How soon a method had what the reference found in all of its evaluations.

    Attributes:
        method: which one.
        reference: by which it is measured.
        target: median over the reference's runs of the best value in all their evaluations.
        runs, runs_reached: how many of the method's runs there are, and how many got there.
        evaluations: median number that the method needed; None where half of the runs or more never got there.
        own_evaluations: median number that the reference itself needed; None likewise.
    """

    method: str
    reference: Line
    target: float
    runs: int
    runs_reached: int
    evaluations: int | None
    own_evaluations: int | None

    @property
    def saving(self) -> float | None:
        """Share of evaluations saved against all those of the reference, as in the post; None where unknown."""
        return None if self.evaluations is None else 1 - self.evaluations / self.reference.evaluations

    @property
    def own_saving(self) -> float | None:
        """Share saved against those after which the reference itself stood there; None where unknown."""
        if self.evaluations is None or self.own_evaluations is None:
            return None
        return 1 - self.evaluations / self.own_evaluations


def claims(members: Members, plan: Plan) -> tuple[Claim, ...]:
    """One for each method beside the reference; none before the reference found anything."""
    line = reference(plan)
    target = found_by_reference(members, plan, 0.5)
    if target is None:
        return ()
    own = [reached(study, line.evaluations, target) for study in members.runs(line.method)]
    found = []
    for method in plan.methods:
        runs = [reached(study, plan.evaluations, target) for study in members.runs(method)]
        if method != line.method and runs:
            count, own_count = (_median([None if r is None else r.evaluations for r in some]) for some in (runs, own))
            found.append(
                Claim(
                    method,
                    line,
                    target,
                    len(runs),
                    sum(run is not None for run in runs),
                    None if count is None else int(count),
                    None if own_count is None else int(own_count),
                )
            )
    return tuple(found)
