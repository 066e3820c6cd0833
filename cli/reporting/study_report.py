"""What the report of a single study consists of."""

from collections.abc import Iterator

from cnnbo.cli.reporting import captions
from cnnbo.cli.reporting.algorithm import ALGORITHM_1
from cnnbo.cli.reporting.context import Context
from cnnbo.cli.reporting.figure_3 import study_trace
from cnnbo.cli.reporting.parts import Column, Drawing, Note, Section, Table
from cnnbo.cli.reporting.records import durations_table, failures_table, traces_table, trials_table
from cnnbo.cli.reporting.relevance import believed_shares, relevance_chart, relevance_table
from cnnbo.cli.reporting.spaces import Group, Trials, parallel_coordinates, slices
from cnnbo.cli.reporting.timeline import chart, idle_table, stints_by_outcome
from cnnbo.cli.reporting.topology import Network, figure_1
from cnnbo.cli.reporting.traces import counted
from cnnbo.models.registry import SVHN_CNN
from cnnbo.scheduler.advice import advice
from cnnbo.scheduler.spec import Direction
from cnnbo.scheduler.study import Study
from cnnbo.scheduler.trial import Trial, TrialState

Parts = Iterator[Drawing | Table | Note | None]
"""The parts of a section; None for one that there is nothing for."""


def sections_of_study(study: Study, context: Context) -> tuple[Section, ...]:
    """The report of a study in whatever state: sections that have nothing to show are left out."""
    return sections_of(
        ("result", "Result", _result(study, context)),
        ("network", "The network", _network(study, context)),
        ("space", "Where the trials lie", _space(study, context)),
        ("trials", "How the trials went", _trials(study, context)),
        ("data", "All numbers", _data(study, context)),
    )


def sections_of(*drafts: tuple[str, str, Parts]) -> tuple[Section, ...]:
    """Sections of their keys, titles and parts, without the parts and sections that there is nothing for."""
    sections = (Section(key, title, tuple(part for part in parts if part)) for key, title, parts in drafts)
    return tuple(section for section in sections if section.parts)


def _result(study: Study, context: Context) -> Parts:
    yield Note((_summary(study),))
    best = study.incumbent
    if best is None:
        return
    yield study_trace(study, context)
    yield Table(
        "best-configuration",
        "The best configuration",
        f"Of trial {best.id} with {study.spec.metric} {captions.plain(best.value)}, a single training: {_luck(best)}. "
        f"{captions.where(context)}",
        (Column("parameter", "Parameter"), Column("value", "Value", ".6g")),
        tuple(
            (name, str(value).lower() if isinstance(value, bool) else value)
            for name, value in best.configuration.items()
        ),
    )


def _luck(best: Trial) -> str:
    if best.at_chance:
        return f"no better than what luck explains ({captions.plain(best.chance)}), and so is every other"
    return "who takes the best of many noisy values takes luck with it"


def _summary(study: Study) -> str:
    head = (
        f"Study {study.name} is {study.state}: {study.finished} of "
        f"{captions.counted(study.spec.evaluations, 'evaluation')} ended, {_without_value(study)}, "
        f"by the optimizer {study.spec.optimizer}."
    )
    best = study.incumbent
    if best is None:
        return f"{head} No trial has a value{'' if study.state.is_ended else ' yet'}."
    if best.at_chance:
        head = f"{head} No trial is better than chance{_remedy(study)}."
    goal = {Direction.MAXIMIZE: "highest", Direction.MINIMIZE: "lowest"}[study.spec.direction]
    return f"{head} The best {study.spec.metric} (the {goal}) is {captions.plain(best.value)}, of trial {best.id}."


def _without_value(study: Study) -> str:
    """How many of the evaluations learnt nothing or failed; crashes that nobody has decided about are no failures."""
    undecided = len(study.undecided)
    failed = sum(trial.state is TrialState.FAILED for trial in study.trials) - undecided
    held = f", {undecided} undecided (equal crashes, held against no configuration)" if undecided else ""
    lucky = f"{study.at_chance} of them at chance, {failed} failed" if study.at_chance else f"{failed} of them failed"
    return lucky + held


def _remedy(study: Study) -> str:
    """What to look at, in the words of the other screens, which begin with what was said already."""
    said = advice(study)
    return "" if said is None else f":{said.partition(':')[2]}"


def _network(study: Study, context: Context) -> Parts:
    best = study.incumbent
    if study.spec.model != SVHN_CNN.name or best is None:
        return
    tuned = Network(f"Tuned: trial {best.id}", {**SVHN_CNN.defaults, **best.configuration})
    untuned = Network("Untuned: the model's defaults", SVHN_CNN.defaults)
    yield figure_1((tuned, untuned), context, "The tuned network, drawn to scale")
    yield ALGORITHM_1


def _space(study: Study, context: Context) -> Parts:
    trials = Trials(study.spec.space, study.spec.metric, study.spec.direction, (Group("this study", counted(study)),))
    yield slices(trials, context)
    yield parallel_coordinates(trials, context)
    shares = believed_shares([study])
    where = captions.where(context)
    yield relevance_chart(shares, f"Shares of the relevance in the surrogate at its last ask. {where}")
    yield relevance_table(trials, shares, where)


def _trials(study: Study, context: Context) -> Parts:
    by_kind = {"this study": [study]}
    if study.finished:
        yield failures_table(by_kind, context)
        yield durations_table(by_kind, context)
    worked = stints_by_outcome(study, context.written_at)
    yield chart(worked, context)
    yield idle_table(worked, context)


def _data(study: Study, context: Context) -> Parts:
    yield trials_table([study], context)
    yield traces_table([study])
