"""What the runs chose, on validation images and on the test set: Table 1, and what lies behind it."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from cnnbo.cli.reporting import captions
from cnnbo.cli.reporting.context import Context
from cnnbo.cli.reporting.parts import Cell, Column, Table
from cnnbo.cli.reporting.statistics import Interval, mean_interval, share_interval
from cnnbo.scheduler.comparison import Finalist, Line, Members, choices, finalists, lines
from cnnbo.scheduler.spec import Direction, Plan, Stage, StudySpec
from cnnbo.scheduler.study import Study
from cnnbo.scheduler.trial import Trial, TrialState

FOUND = "best found"
CONFIRMED = "confirmed"


@dataclass(frozen=True, slots=True)
class Choice:
    """A configuration that a run chose, and what it came to.

    Attributes:
        line, run: who chose it.
        rule: `best found` or `confirmed`.
        finalist: with the values it was chosen by.
        final: its training on all tuning data; None where there is none (yet).
    """

    line: Line
    run: int
    rule: str
    finalist: Finalist
    final: Trial | None

    @property
    def validation(self) -> float:
        """The validation value that it was chosen by: the one searched, or the mean over fresh seeds."""
        value = self.finalist.trial.value
        assert value is not None
        return self.finalist.mean if self.rule == CONFIRMED else value

    @property
    def test(self) -> float | None:
        """Its value on the test set; None where that is not known."""
        return None if self.final is None else self.final.value


def chosen(members: Members, line: Line) -> tuple[Choice, ...]:
    """What the runs of a line chose, by run, as far as they chose anything."""
    found = []
    runs = [study.spec.part.run for study in members.runs(line.method) if study.spec.part is not None]
    for run, pair in zip(runs, choices(members, line), strict=True):
        for rule, finalist in zip((FOUND, CONFIRMED), pair, strict=True):
            if finalist is not None:
                found.append(Choice(line, run, rule, finalist, _final(members, finalist)))
    return tuple(found)


def _final(members: Members, finalist: Finalist) -> Trial | None:
    study = members.others.get(Stage.FINAL)
    trained = [] if study is None else [t for t in study.trials if t.configuration == finalist.trial.configuration]
    return trained[0] if trained else None


def _is_failed(trial: Trial | None) -> bool:
    return trial is not None and trial.state is TrialState.FAILED


def values_of(study: Study | None) -> list[float]:
    """Values of a study's complete trials; none where there is no study."""
    return [] if study is None else [t.value for t in study.trials if t.value is not None]


def failures_of(study: Study | None) -> int:
    """How many of a study's trials failed."""
    return 0 if study is None else sum(trial.state is TrialState.FAILED for trial in study.trials)


BASELINES = (
    ("untuned network", Stage.UNTUNED, Stage.UNTUNED_FINAL),
    ("random forest", Stage.FOREST, Stage.FOREST_FINAL),
)


def table_1(members: Members, plan: Plan, context: Context) -> Table:
    """Mean validation and test values of what each line's runs chose, and of the baselines."""
    rows: list[tuple[Cell, ...]] = []
    for line in lines(plan):
        picked = chosen(members, line)
        for rule in (FOUND, CONFIRMED):
            own = [choice for choice in picked if choice.rule == rule]
            if own:
                tests = [choice.test for choice in own if choice.test is not None]
                failed = sum(_is_failed(choice.final) for choice in own)
                rows.append(_row(line.label, rule, [choice.validation for choice in own], tests, failed))
    for name, stage, final in BASELINES:
        tuned_on, tested = values_of(members.others.get(stage)), values_of(members.others.get(final))
        if tuned_on or tested:
            failed = failures_of(members.others.get(final))
            rows.append(_row(name, "not tuned", tuned_on, tested, failed))
    spec = members.studies[0].spec
    return Table(
        "table-1-held-out",
        "Table 1: accuracy on the held-out test set",
        f"Mean over runs, with half the width of Student's 95 % interval over them. Validation is the {spec.metric} "
        f"that a configuration was chosen by: of the best found the very value that made it the best{_again(plan)}. "
        f"Test is one training of it on all tuning data, scored once{_on_images(context)}; the baselines are trained "
        f"{captions.counted(plan.runs, 'time')}. Validation and test values are not to be compared with each other: "
        f"the images are others, and a final training takes more of them, in more updates{_more(spec, context)}. Where "
        "both rules chose the same configuration, its final training is the same; what failed is in no mean. "
        f"{captions.where(context)}",
        (
            Column("method", "Method"),
            Column("chosen", "Chosen as"),
            Column("validation_n", "n"),
            Column("validation", "Validation", ".4f"),
            Column("validation_half_width", "± 95 %", ".4f"),
            Column("test_n", "n, test"),
            Column("test", "Test", ".4f"),
            Column("test_half_width", "± 95 %", ".4f"),
            Column("test_failures", "Failed"),
        ),
        tuple(rows),
    )


def _more(spec: StudySpec, context: Context) -> str:
    """How many images and updates a final training has, and how many a trial had."""
    if context.train_images is None or context.validation_images is None:
        return ""
    tuned_on, all_images = spec.trial.images or context.train_images, context.train_images + context.validation_images
    updates = [math.ceil(images / spec.trial.batch_size) * spec.trial.epochs for images in (all_images, tuned_on)]
    return f" ({all_images:,} in {updates[0]:,}; trials had {tuned_on:,} in {updates[1]:,})"


def _again(plan: Plan) -> str:
    if not plan.confirm:
        return ""
    return f", of the confirmed one the mean over {captions.counted(plan.confirm, 'training')} with fresh seeds"


def _on_images(context: Context) -> str:
    return "" if context.test_images is None else f" on {context.test_images:,} images"


def _row(name: str, rule: str, validation: Sequence[float], test: Sequence[float], failed: int) -> tuple[Cell, ...]:
    numbers = (*_with_half_width(mean_interval(validation)), *_with_half_width(mean_interval(test)))
    return (name, rule, len(validation), *numbers[:2], len(test), *numbers[2:], failed)


def _with_half_width(interval: Interval | None) -> tuple[float | None, float | None]:
    if interval is None:
        return None, None
    return interval.value, None if interval.high is None else interval.high - interval.value


def finals_table(members: Members, plan: Plan, context: Context) -> Table:
    """Every training on all tuning data by itself, with the interval of its test value over the images."""
    rows: list[tuple[Cell, ...]] = []
    for line in lines(plan):
        for choice in chosen(members, line):
            values = (choice.finalist.trial.id, choice.validation)
            rows.append((line.label, choice.rule, choice.run, *values, *_tested(choice.final, context)))
    for name, stage, final in BASELINES:
        study = members.others.get(final)
        before = members.others.get(stage)
        for trial in () if study is None else study.trials:
            searched = next((t.value for t in before.trials if t.id == trial.id), None) if before else None
            rows.append((name, "not tuned", trial.id, None, searched, *_tested(trial, context)))
    return Table(
        "finals",
        "Every held-out score",
        "One training each on all tuning data, scored once on the test set, with Wilson's 95 % interval over its "
        f"images: how far a score is the luck of these images, not of the run. {captions.where(context)}",
        (
            Column("method", "Method"),
            Column("chosen", "Chosen as"),
            Column("run", "Run"),
            Column("trial", "Trial"),
            Column("validation", "Validation", ".4f"),
            Column("test", "Test", ".4f"),
            Column("test_low", "Low", ".4f"),
            Column("test_high", "High", ".4f"),
            Column("failure", "Failure"),
        ),
        tuple(rows),
    )


def _tested(trial: Trial | None, context: Context) -> tuple[Cell, Cell, Cell, Cell]:
    if trial is None or trial.value is None:
        return None, None, None, None if trial is None or trial.failure is None else str(trial.failure)
    if context.test_images is None or not 0 <= trial.value <= 1:
        return trial.value, None, None, None
    interval = share_interval(trial.value, context.test_images)
    return trial.value, interval.low, interval.high, None


@dataclass(frozen=True, slots=True)
class Confirmation:
    """One of a run's finalists with its rank in the run, from 1."""

    line: Line
    run: int
    rank: int
    finalist: Finalist

    def optimism(self, direction: Direction) -> float | None:
        """By how much the searched value is better than the mean over fresh seeds; None where that is not known."""
        value = self.finalist.trial.value
        if value is None or not self.finalist.values:
            return None
        gain = value - self.finalist.mean
        return gain if direction is Direction.MAXIMIZE else -gain


def confirmations(members: Members, plan: Plan) -> Iterator[Confirmation]:
    """All the finalists of all lines' runs."""
    confirm = members.others.get(Stage.CONFIRM)
    for line in lines(plan):
        for study in members.runs(line.method):
            assert study.spec.part is not None
            for rank, finalist in enumerate(finalists(study, line.evaluations, confirm), 1):
                yield Confirmation(line, study.spec.part.run, rank, finalist)


def confirmed_table(members: Members, plan: Plan, context: Context) -> Table | None:
    """How much of what was found was luck, by line; None where nothing was trained again (yet)."""
    direction = members.studies[0].spec.direction
    every = [c for c in confirmations(members, plan) if c.finalist.values]
    rows: list[tuple[Cell, ...]] = []
    for line in lines(plan):
        for kind, is_chosen in (("the best of each run", True), ("all finalists", False)):
            own = [c for c in every if c.line == line and (c.rank == 1 or not is_chosen)]
            optimism = mean_interval([gain for c in own if (gain := c.optimism(direction)) is not None])
            if optimism is not None:
                searched = mean_interval([c.finalist.trial.value for c in own if c.finalist.trial.value is not None])
                again = mean_interval([c.finalist.mean for c in own])
                assert searched is not None and again is not None
                lucky, failed = (sum(counts) for counts in zip(*_luck_and_failures(own), strict=True))
                means = (searched.value, again.value, *_with_half_width(optimism))
                rows.append((line.label, kind, len(own), *means, lucky, failed))
    if not rows:
        return None
    return Table(
        "confirmed",
        "What was found, trained again",
        f"Finalists (the best three of each run) trained again {plan.confirm} times with fresh seeds: mean of the "
        "searched values, mean of the means over fresh seeds, and the optimism between them with half the width of "
        "Student's 95 % interval. Who takes the best of many noisy values takes luck with it: that much. Trainings at "
        "chance count in the means, failed ones don't. "
        f"{captions.where(context)}",
        (
            Column("method", "Method"),
            Column("finalists", "Which"),
            Column("n", "n"),
            Column("searched", "Searched", ".4f"),
            Column("confirmed", "Fresh seeds", ".4f"),
            Column("optimism", "Optimism", ".4f"),
            Column("optimism_half_width", "± 95 %", ".4f"),
            Column("at_chance", "At chance"),
            Column("failures", "Failed trainings"),
        ),
        tuple(rows),
    )


def _luck_and_failures(own: Sequence[Confirmation]) -> list[tuple[int, int]]:
    return [(c.finalist.at_chance, c.finalist.failures) for c in own]


def confirmations_table(members: Members, plan: Plan) -> Table:
    """Every finalist by itself, for CSV."""
    direction = members.studies[0].spec.direction
    names = members.studies[0].spec.space.names
    rows = tuple(
        (
            c.line.label,
            c.run,
            c.rank,
            c.finalist.trial.id,
            c.finalist.trial.value,
            c.finalist.mean if c.finalist.values else None,
            len(c.finalist.values),
            c.finalist.at_chance,
            c.finalist.failures,
            c.optimism(direction),
            *(c.finalist.trial.configuration.get(name) for name in names),
        )
        for c in confirmations(members, plan)
    )
    return Table(
        "confirmations",
        "Every finalist",
        "The searched value and the mean over fresh seeds of each run's best configurations.",
        (
            Column("method", "Method"),
            Column("run", "Run"),
            Column("rank", "Rank"),
            Column("trial", "Trial"),
            Column("searched", "Searched", ".4f"),
            Column("confirmed", "Fresh seeds", ".4f"),
            Column("n", "n"),
            Column("at_chance", "At chance"),
            Column("failures", "Failures"),
            Column("optimism", "Optimism", ".4f"),
            *(Column(name, name) for name in names),
        ),
        rows,
        is_long=True,
    )
