"""The long tables: every trial, every trace, and what failed and how long it took."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from cnnbo.cli.reporting import captions
from cnnbo.cli.reporting.context import Context
from cnnbo.cli.reporting.costs import device_seconds
from cnnbo.cli.reporting.parts import Cell, Column, Table
from cnnbo.cli.reporting.traces import best_seen, counted
from cnnbo.daemon.launch import trial_seed
from cnnbo.daemon.messages import rfc3339
from cnnbo.scheduler.spec import to_objective
from cnnbo.scheduler.study import Study
from cnnbo.scheduler.trial import Failure, Trial

_SECONDS_PER_HOUR = 3600.0
_JOULES_PER_KWH = 3.6e6


def trials_table(studies: Sequence[Study], context: Context) -> Table:
    """Every trial of some studies, each with its configuration."""
    names = list(dict.fromkeys(name for study in studies for name in study.spec.space.names))
    return Table(
        "trials",
        "All trials",
        "One row for each trial; the times are those of its last attempt, energy and device time those of all. Chance: "
        "the best value that luck explains, where the trial or the study file says it; a value that is no better is at "
        "chance.",
        (
            Column("study", "Study"),
            Column("stage", "Stage"),
            Column("method", "Method"),
            Column("run", "Run"),
            Column("trial", "Trial"),
            Column("seed", "Seed"),
            Column("state", "State"),
            Column("source", "Source"),
            Column("value", "Value", ".6g"),
            Column("chance", "Chance", ".6g"),
            Column("at_chance", "At chance"),
            Column("failure", "Failure"),
            Column("duration_s", "Duration, s", ".1f"),
            Column("device_s", "Device time, s", ".1f"),
            Column("energy_j", "Energy, J", ".1f"),
            Column("attempts", "Attempts"),
            Column("device", "Device"),
            Column("started", "Started"),
            Column("ended", "Ended"),
            *(Column(name, name) for name in names),
        ),
        tuple(_trial_row(study, trial, names, context) for study in studies for trial in study.trials),
        is_long=True,
    )


def _trial_row(study: Study, trial: Trial, names: Sequence[str], context: Context) -> tuple[Cell, ...]:
    part = study.spec.part
    last = trial.attempts[-1] if trial.attempts else None
    return (
        study.name,
        None if part is None else str(part.stage),
        (part.method or None) if part is not None else study.spec.optimizer,
        None if part is None or not part.run else part.run,
        trial.id,
        trial_seed(study.spec.seed, trial.id),
        str(trial.state),
        str(trial.source),
        trial.value,
        trial.chance,
        None if trial.chance is None else str(trial.at_chance).lower(),
        None if trial.failure is None else str(trial.failure),
        trial.duration_s,
        device_seconds(trial),
        trial.energy_j,
        len(trial.attempts),
        None if last is None else context.device_label(last.device),
        None if last is None else rfc3339(last.started),
        None if last is None else rfc3339(last.ended),
        *(_cell(trial.configuration.get(name)) for name in names),
    )


def _cell(value: object) -> Cell:
    """A parameter's value; truth values as study files write them."""
    if isinstance(value, bool):
        return str(value).lower()
    return value if isinstance(value, str | int | float) else None


def traces_table(studies: Iterable[Study]) -> Table:
    """The best value after each evaluation of each run."""
    rows: list[tuple[Cell, ...]] = []
    for study in studies:
        part = study.spec.part
        name: tuple[Cell, Cell] = (study.spec.optimizer, None) if part is None else (part.method, part.run)
        for number, (trial, best) in enumerate(zip(counted(study), best_seen(study), strict=True), 1):
            value = to_objective(float(best), study.spec.direction) if np.isfinite(best) else None
            rows.append((*name, number, trial.id, trial.value, value))
    return Table(
        "traces",
        "Best-seen traces",
        "One row for each evaluation, in the order of proposal; no best value before the first success.",
        (
            Column("method", "Method"),
            Column("run", "Run"),
            Column("evaluation", "Evaluation"),
            Column("trial", "Trial"),
            Column("value", "Value", ".6g"),
            Column("best_seen", "Best seen", ".6g"),
        ),
        tuple(rows),
        is_long=True,
    )


def failures_table(studies: Mapping[str, Sequence[Study]], context: Context) -> Table:
    """How many trials learnt nothing, how many failed, and of what, by what they were for."""
    rows: list[tuple[Cell, ...]] = []
    for kind, some in studies.items():
        trials = [trial for study in some for trial in counted(study)]
        by_class = [sum(trial.failure is failure for trial in trials) for failure in Failure]
        share = sum(by_class) / len(trials) if trials else None
        rows.append((kind, len(trials), sum(trial.at_chance for trial in trials), *by_class, share))
    return Table(
        "failures",
        "Failures by class",
        "Trials that ended, how many of them are at chance, and those that failed. At chance: complete, with a value "
        "that luck explains (of a built-in model that tunes: no better than always giving the most frequent digit), "
        f"which is no failure. Diverged: the loss or the value left the numbers. {captions.where(context)}",
        (
            Column("kind", "Of"),
            Column("trials", "Trials"),
            Column("at_chance", "At chance"),
            *(Column(str(failure), str(failure).replace("_", " ").capitalize()) for failure in Failure),
            Column("failed_share", "Failed", ".1%"),
        ),
        tuple(rows),
    )


def durations_table(studies: Mapping[str, Sequence[Study]], context: Context) -> Table:
    """How long trials took, by what they were for."""
    rows: list[tuple[Cell, ...]] = []
    for kind, some in studies.items():
        trials = [trial for study in some for trial in study.trials if trial.duration_s is not None]
        seconds = [trial.duration_s for trial in trials if trial.duration_s is not None]
        quartiles = np.quantile(seconds, [0.0, 0.25, 0.5, 0.75, 1.0]).tolist() if seconds else [None] * 5
        joules = [trial.energy_j for trial in trials]
        energy = sum(j for j in joules if j is not None) / _JOULES_PER_KWH if joules and None not in joules else None
        hours = sum(device_seconds(trial) for trial in trials) / _SECONDS_PER_HOUR
        cost = None if context.price_per_device_hour is None else hours * context.price_per_device_hour
        rows.append((kind, len(seconds), *quartiles, hours, cost, energy))
    return Table(
        "durations",
        "Durations",
        "Seconds of the last attempt at each trial that ended, failed ones too (minimum, quartiles, maximum), and "
        f"hours on a device of all attempts. {captions.where(context)}",
        (
            Column("kind", "Of"),
            Column("trials", "Trials"),
            Column("minimum_s", "Least, s", ".3g"),
            Column("lower_quartile_s", "Lower quartile", ".3g"),
            Column("median_s", "Median", ".3g"),
            Column("upper_quartile_s", "Upper quartile", ".3g"),
            Column("maximum_s", "Most, s", ".3g"),
            Column("device_h", "Device-hours", ".3g"),
            Column("cost", "Cost", ".3g"),
            Column("energy_kwh", "Energy, kWh", ".3g"),
        ),
        tuple(rows),
    )
