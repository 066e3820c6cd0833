"""What the report of a comparison consists of, and what it found, in sentences."""

from collections.abc import Iterator
from itertools import chain
from typing import Final

from cnnbo.cli.reporting import captions
from cnnbo.cli.reporting.algorithm import ALGORITHM_1
from cnnbo.cli.reporting.context import Context
from cnnbo.cli.reporting.contrasts import BEST, HELD_OUT, Contrast, contrast_table, contrasts, limits
from cnnbo.cli.reporting.costs import POST_SAVING, Claim, claims, projection_table, table_2
from cnnbo.cli.reporting.figure_2 import figure_2
from cnnbo.cli.reporting.figure_3 import figure_3
from cnnbo.cli.reporting.held_out import (
    BASELINES,
    CONFIRMED,
    FOUND,
    chosen,
    confirmations_table,
    confirmed_table,
    finals_table,
    table_1,
    values_of,
)
from cnnbo.cli.reporting.parts import Drawing, Note, Section
from cnnbo.cli.reporting.records import durations_table, failures_table, traces_table, trials_table
from cnnbo.cli.reporting.relevance import believed_shares, relevance_chart, relevance_table
from cnnbo.cli.reporting.spaces import Group, Trials, parallel_coordinates, slices
from cnnbo.cli.reporting.statistics import Interval, mean_interval
from cnnbo.cli.reporting.study_report import Parts, sections_of
from cnnbo.cli.reporting.timeline import chart, idle_table, stints
from cnnbo.cli.reporting.topology import Network, figure_1
from cnnbo.cli.reporting.traces import counted
from cnnbo.models.registry import SVHN_CNN
from cnnbo.scheduler.comparison import Finalist, Members, choices, lines, objective
from cnnbo.scheduler.spec import Plan, Stage, to_objective
from cnnbo.scheduler.study import Study
from cnnbo.scheduler.trial import Trial


def sections_of_comparison(members: Members, context: Context) -> tuple[Section, ...]:
    """The report of a comparison, as far as it has got; nothing where none of its studies is there."""
    plan = members.plan
    if plan is None:
        return ()
    return sections_of(
        ("result", "What was found", _result(members, plan, context)),
        ("held-out", "Held-out accuracy", _held_out(members, plan, context)),
        ("cost", "Cost", _cost(members, plan, context)),
        ("network", "The network", _network(members, plan, context)),
        ("space", "Where the trials lie", _space(members, plan, context)),
        ("trials", "How the trials went", _trials(members, plan, context)),
        ("data", "All numbers", _data(members, plan, context)),
    )


def _result(members: Members, plan: Plan, context: Context) -> Parts:
    if not members.has_ended(Stage.SEARCH):
        yield Note((_progress(members, plan),), "warning")
    yield figure_3(members, plan, context)
    if (compared := contrast_table(members, plan, context)) is not None:
        yield compared
        yield Note((limits(plan.runs),))


def _held_out(members: Members, plan: Plan, context: Context) -> Parts:
    yield table_1(members, plan, context)
    yield confirmed_table(members, plan, context)
    yield finals_table(members, plan, context)


def _cost(members: Members, plan: Plan, context: Context) -> Parts:
    yield table_2(members, plan, context)
    yield projection_table(members, plan, context)


def _network(members: Members, plan: Plan, context: Context) -> Parts:
    if members.studies[0].spec.model == SVHN_CNN.name:
        yield _topology(members, plan, context)
        if (study := members.others.get(Stage.FIGURE2)) is not None:
            yield figure_2(study, context)
        yield ALGORITHM_1


def _topology(members: Members, plan: Plan, context: Context) -> Drawing | None:
    best = _best(members, plan)
    if best is None:
        return None
    method, run, finalist, is_confirmed = best
    how = (
        f"mean {captions.plain(finalist.mean)} of {len(finalist.values)} fresh seeds"
        if is_confirmed
        else f"{captions.plain(finalist.trial.value)}, not confirmed"
    )
    tuned = Network(
        f"Tuned: {method}, run {run}, trial {finalist.trial.id} ({how})",
        {**SVHN_CNN.defaults, **finalist.trial.configuration},
    )
    untuned = Network("Untuned: the model's defaults", SVHN_CNN.defaults)
    return figure_1((tuned, untuned), context, "Figure 1: the tuned network, drawn to scale")


def _best(members: Members, plan: Plan) -> tuple[str, int, Finalist, bool] | None:
    """The best configuration of all runs: of the confirmed ones if there are any, else of those found."""
    direction = members.studies[0].spec.direction
    found: list[tuple[tuple[bool, float], str, int, Finalist]] = []
    confirmed: list[tuple[tuple[bool, float], str, int, Finalist]] = []
    for line in lines(plan):
        for study, (best, sure) in zip(members.runs(line.method), choices(members, line), strict=True):
            assert study.spec.part is not None
            run = study.spec.part.run
            if best is not None:
                found.append(((best.trial.at_chance, objective(best.trial, direction)), line.method, run, best))
            if sure is not None:
                measured = to_objective(sure.mean, direction)
                confirmed.append(((sure.trial.at_chance, measured), line.method, run, sure))
    if not found:
        return None
    _, method, run, finalist = min(confirmed or found, key=lambda item: item[0])
    return method, run, finalist, bool(confirmed)


def _space(members: Members, plan: Plan, context: Context) -> Parts:
    spec = members.studies[0].spec
    groups = {method: _trials_of(members.runs(method)) for method in plan.methods}
    search = next(iter(members.search.values()), None)
    if search is None:
        return
    space = search.spec.space
    every = Trials(space, spec.metric, spec.direction, tuple(Group(name, ts) for name, ts in groups.items()))
    yield slices(every, context)
    yield parallel_coordinates(every, context)
    shares = believed_shares(members.search.values())
    told = sum(study.insight is not None for study in members.search.values())
    where = captions.where(context)
    yield relevance_chart(
        shares,
        "Shares of the relevance in the surrogate at the last ask of each run, and their mean; n = "
        f"{captions.counted(told, 'run')}. {where}",
    )
    spread = next((method for method in ("random", "sobol") if method in groups), plan.methods[0])
    even = Trials(space, spec.metric, spec.direction, (Group(spread, groups[spread]),))
    yield relevance_table(even, shares, where)


def _trials_of(studies: tuple[Study, ...]) -> tuple[Trial, ...]:
    return tuple(chain.from_iterable(counted(study) for study in studies))


def _kinds(members: Members, plan: Plan) -> dict[str, list[Study]]:
    """All studies by what they were for, in words."""
    words = {
        Stage.UNTUNED: "baselines",
        Stage.FOREST: "baselines",
        Stage.CONFIRM: "confirmation",
        Stage.FIGURE2: "Figure 2",
        Stage.FINAL: "held-out",
        Stage.UNTUNED_FINAL: "held-out",
        Stage.FOREST_FINAL: "held-out",
    }
    kinds = {method: list(members.runs(method)) for method in plan.methods}
    for stage, word in words.items():
        if stage in members.others:
            kinds.setdefault(word, []).append(members.others[stage])
    return kinds


def _trials(members: Members, plan: Plan, context: Context) -> Parts:
    kinds = _kinds(members, plan)
    yield failures_table(kinds, context)
    yield durations_table(kinds, context)
    worked = stints(kinds, context.written_at)
    yield chart(worked, context, plan.methods)
    yield idle_table(worked, context)


def _data(members: Members, plan: Plan, context: Context) -> Parts:
    yield trials_table(members.studies, context)
    yield traces_table(study for _, study in sorted(members.search.items()))
    yield confirmations_table(members, plan)


# -- the first screen -------------------------------------------------------------------------------------------------


def headline(members: Members, context: Context) -> tuple[str, ...]:
    """What was measured and whether the claim of 2016 held here, in a few sentences; none without studies."""
    plan = members.plan
    if plan is None:
        return ()
    return tuple(_headline(members, plan, context))


def _headline(members: Members, plan: Plan, context: Context) -> Iterator[str]:
    yield _measured(members, plan, context)
    if not members.has_ended(Stage.SEARCH):
        yield _progress(members, plan)
        return
    yield from _luck(members, plan)
    found = claims(members, plan)
    metric = members.studies[0].spec.metric
    yield from (_verdict(claim, metric) for claim in found)
    every = contrasts(members, plan)
    for claim in found:
        for measure in (BEST, *HELD_OUT.values()):
            own = [
                c for c in every
                if c.line.method == claim.method and c.other == claim.reference and c.measure == measure
            ]  # fmt: skip
            yield from (_compared(contrast) for contrast in own)
    for rule in HELD_OUT:
        yield from _held_out_words(members, plan, rule)


def _measured(members: Members, plan: Plan, context: Context) -> str:
    is_other = members.studies[0].spec.model == SVHN_CNN.name and not context.is_svhn
    data = f" on {captions.data_name(context)}{' (not SVHN)' if is_other else ''}" if context.data_name else ""
    devices = f", on {', '.join(context.devices)}" if context.devices else ""
    counts = " and ".join(f"{captions.counted(plan.runs, 'run')} of {method}" for method in plan.methods)
    trained = sum(len(counted(study)) for study in members.studies)
    return (
        f"Measured{data}{devices}: {counts}, {captions.counted(plan.evaluations, 'evaluation')} each; "
        f"{captions.counted(trained, 'training')} in all."
    )


def _luck(members: Members, plan: Plan) -> Iterator[str]:
    """How many evaluations learnt nothing, and which runs have nothing else; nothing where none did."""
    told = []
    for method in plan.methods:
        trials = _trials_of(members.runs(method))
        lucky, failed = sum(t.at_chance for t in trials), sum(t.value is None for t in trials)
        runs = sum(study.incumbent is not None and study.incumbent.at_chance for study in members.runs(method))
        alone = f" ({captions.counted(runs, 'run')} with nothing else)" if runs else ""
        if lucky:
            told.append(f"{lucky} of {len(trials)} by {method} were at chance{alone}, {failed} failed")
    if told:
        yield f"Of the evaluations {'; '.join(told)}."


def _progress(members: Members, plan: Plan) -> str:
    ended = sum(len(counted(study)) for study in members.search.values())
    wanted = sum(study.spec.evaluations for study in members.search.values())
    return (
        f"The search has not ended: {ended} of {wanted} evaluations of {len(members.search)} runs are done. "
        "All numbers are of what has been measured so far, and nothing is concluded from them."
    )


def _verdict(claim: Claim, metric: str) -> str:
    aim = (
        f"{claim.reference.method}'s median best of {claim.reference.evaluations} evaluations "
        f"({metric} {captions.plain(claim.target)})"
    )
    there = f"{claim.runs_reached} of its {captions.counted(claim.runs, 'run')} did"
    if claim.evaluations is None or claim.saving is None:
        return (
            f"{claim.method} did not reach {aim} in half of its runs ({there}): "
            "the claim of 2016, the same accuracy for 80 % less, was not borne out here."
        )
    own = ""
    if claim.own_evaluations is not None and claim.own_saving is not None:
        own = (
            f"; {claim.reference.method} itself was there after {claim.own_evaluations} (median), "
            f"to which that is {_fewer(claim.own_saving)}"
        )
    return (
        f"{claim.method} reached {aim} after {captions.counted(claim.evaluations, 'evaluation')} (median over runs; "
        f"{there}): {_fewer(claim.saving)}{own}. The claim of 2016, 80 % fewer, {_held(claim.saving)}."
    )


def _fewer(saving: float) -> str:
    return f"{saving:.0%} fewer" if saving >= 0 else f"{-saving:.0%} more"


def _held(saving: float) -> str:
    if saving >= POST_SAVING:
        return "held here"
    return "held here only in part" if saving > 0 else "did not hold here"


_RULES: Final = {FOUND: "best found", CONFIRMED: "confirmed configuration"}


def _tells(superiority: Interval) -> bool:
    """Whether the interval of a probability of superiority leaves "no difference" out."""
    low, high = superiority.low, superiority.high
    return low is not None and high is not None and not low <= 0.5 <= high


def _compared(contrast: Contrast) -> str:
    test = contrast.test
    superior = captions.interval_text(test.superiority, ".2f")
    return (
        f"In {contrast.measure}, a run of {contrast.line.label} is better than one of {contrast.other.label} with "
        f"probability {superior} (95 % interval); Mann-Whitney p = {test.p:.4f}, n = {len(contrast.first)} and "
        f"{len(contrast.second)}{'' if _tells(test.superiority) else ': which is better, this does not tell'}."
    )


def _held_out_words(members: Members, plan: Plan, rule: str) -> Iterator[str]:
    told = []
    for line in lines(plan):
        tests = [c.test for c in chosen(members, line) if c.rule == rule and c.test is not None]
        if tests:
            told.append(f"{line.label} {captions.interval_text(mean_interval(tests))}")
    for name, _, final in BASELINES if told else ():
        if tests := values_of(members.others.get(final)):
            told.append(f"{name} {captions.interval_text(mean_interval(tests))}")
    if told:
        head = f"Mean accuracy on the held-out test set, of each run's {_RULES[rule]} (95 % interval over runs)"
        yield f"{head}: {'; '.join(told)}."
