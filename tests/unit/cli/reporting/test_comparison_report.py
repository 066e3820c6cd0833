import re
from dataclasses import replace
from typing import NamedTuple
from xml.etree import ElementTree

import pytest
from scipy import stats
from tests.comparisons import BEGIN, Outcome, Played, comparison, members, play, train

from cnnbo.cli.reporting.comparison_report import headline, sections_of_comparison
from cnnbo.cli.reporting.context import Context, Spell
from cnnbo.cli.reporting.contrasts import contrast_table
from cnnbo.cli.reporting.costs import table_2
from cnnbo.cli.reporting.figure_3 import figure_3
from cnnbo.cli.reporting.held_out import table_1
from cnnbo.cli.reporting.parts import Drawing, Note, Section, Table
from cnnbo.cli.reporting.tables import csv_of, latex_of
from cnnbo.cli.reporting.timeline import Stint, chart, idle_table, stints
from cnnbo.scheduler.comparison import Members
from cnnbo.scheduler.spec import Direction, Plan, Stage, StudySpec
from cnnbo.scheduler.trial import Trial

_CONTEXT = Context(
    "street_mnist",
    False,
    ("a CPU slot",),
    BEGIN + 86_400.0,
    price_per_device_hour=2.6,
    n_devices=(1, 4),
    test_images=2000,
)


class Report(NamedTuple):
    members: Members
    sections: tuple[Section, ...]

    def drawing(self, key: str) -> Drawing:
        return next(part for part in self._all if isinstance(part, Drawing) and part.key == key)

    def table(self, key: str) -> Table:
        return next(part for part in self._all if isinstance(part, Table) and part.key == key)

    @property
    def _all(self) -> list[Drawing | Table | Note]:
        return [part for section in self.sections for part in section.parts]

    @property
    def drawings(self) -> list[Drawing]:
        return [part for part in self._all if isinstance(part, Drawing)]

    @property
    def tables(self) -> list[Table]:
        return [part for part in self._all if isinstance(part, Table)]


@pytest.fixture(scope="module")
def report() -> Report:
    """The report of a whole small comparison; drawing takes seconds, so it is drawn once."""
    found = members(comparison())
    return Report(found, sections_of_comparison(found, _CONTEXT))


def rows(table: Table) -> list[dict[str, object]]:
    return [dict(zip((column.key for column in table.columns), row, strict=True)) for row in table.rows]


def test_everything_that_the_post_showed_is_there(report: Report) -> None:
    """Figures 1 to 3, Tables 1 and 2 and Algorithm 1 are what the re-run is for."""
    keys = {drawing.key for drawing in report.drawings} | {table.key for table in report.tables}
    figures = {"figure-1-topology", "figure-2-progressions", "figure-3-best-seen"}
    assert figures | {"table-1-held-out", "table-2-cost", "contrasts", "confirmed"} <= keys
    notes = [text for part in report._all if isinstance(part, Note) for text in part.paragraphs]
    assert any(text.startswith("Algorithm 1") for text in notes)


def test_drawings_stand_on_one_page_without_meddling_with_each_other(report: Report) -> None:
    """Inline SVG shares one space of ids; a double one would show another figure's marks."""
    ids = [name for drawing in report.drawings for name in re.findall(r' id="([^"]*)"', drawing.svg)]
    assert len(ids) == len(set(ids))
    for drawing in report.drawings:
        element = ElementTree.fromstring(drawing.svg)
        assert element.get("role") == "img" and element.get("aria-label") == drawing.alt
        assert element.get("width") is None and element.get("viewBox", "").startswith("0 0 540 ")
        referred = {
            name for pair in re.findall(r'url\(#([^)]*)\)|href="#([^"]*)"', drawing.svg) for name in pair if name
        }
        assert referred <= set(re.findall(r' id="([^"]*)"', drawing.svg))


def test_drawings_follow_the_theme_of_their_page(report: Report) -> None:
    """A colour that is written out would be dark on dark."""
    for drawing in report.drawings:
        fixed = re.findall(r"(?<!, )#[0-9a-f]{6}", drawing.svg)
        assert not fixed, drawing.key
        assert "<text" in drawing.svg and "var(--ink" in drawing.svg


def test_the_same_studies_are_drawn_alike(report: Report) -> None:
    """A report that is committed must not differ each time it is made."""
    plan = report.members.plan
    assert plan is not None
    assert figure_3(report.members, plan, _CONTEXT) == report.drawing("figure-3-best-seen")


def test_table_1_holds_means_and_intervals_of_the_runs(report: Report) -> None:
    """Recomputed here from the studies alone, with SciPy's interval."""
    found = {(row["method"], row["chosen"]): row for row in rows(report.table("table-1-held-out"))}
    best = [study.incumbent for study in report.members.runs("bo")]
    final = {str(t.configuration): t.value or 0.0 for t in report.members.others[Stage.FINAL].trials}
    tests = [final[str(trial.configuration)] for trial in best if trial is not None]
    row = found["bo", "best found"]
    interval = stats.ttest_1samp(tests, 0.0).confidence_interval()
    assert (row["validation_n"], row["test_n"]) == (3, 3)
    assert row["test"] == pytest.approx(sum(tests) / 3)
    assert row["test_half_width"] == pytest.approx((interval.high - interval.low) / 2)
    assert row["validation"] == pytest.approx(sum(t.value or 0 for t in best if t) / 3)
    assert ("random forest", "not tuned") in found and ("untuned network", "not tuned") in found


def test_table_2_counts_evaluations_until_an_accuracy_is_there(report: Report) -> None:
    """The post's unit counts failed evaluations too, and a run that never got there is worse than any that did."""
    for row in rows(report.table("table-2-cost")):
        method, _, twice = str(row["method"]).partition(", ")
        needed = []
        for study in report.members.runs(method):
            hits = [t.id for t in study.trials if t.value is not None and t.value >= float(str(row["accuracy"]))]
            needed.append(min((i for i in hits if i <= (16 if twice else 8)), default=None))
        there = sorted(number for number in needed if number is not None)
        assert row["runs_reached"] == len(there)
        assert row["evaluations"] == (there[1] if len(there) >= 2 else None)
        if row["evaluations"] is not None:
            assert row["post_cost_usd"] == pytest.approx(2.6 * float(str(row["evaluations"])))
            assert row["energy_kwh"] is None, "a CPU slot tells no energy"


def test_a_simulated_schedule_never_beats_perfect_scaling_by_much(report: Report) -> None:
    """On one device both are the time measured; on more, waiting for the last trial costs something."""
    for row in rows(report.table("table-2-projected")):
        if row["perfect_1_min"] is not None:
            assert row["scheduled_1_min"] == pytest.approx(row["perfect_1_min"])


def test_contrasts_agree_with_scipy(report: Report) -> None:
    """Ranks of the best found values, taken from the studies here."""
    found = next(
        row
        for row in rows(report.table("contrasts"))
        if row["measure"] == "best found, validation" and row["against"] == "random"
    )
    groups = [
        [
            max(t.value for t in study.trials if t.value is not None and t.id <= 8)
            for study in report.members.runs(method)
        ]
        for method in ("bo", "random")
    ]
    expected = stats.mannwhitneyu(groups[0], groups[1], method="exact")
    assert (found["u"], found["p"]) == pytest.approx((expected.statistic, expected.pvalue))


def test_the_first_screen_says_what_was_measured_and_what_it_means(report: Report) -> None:
    """Nobody may take street_mnist for SVHN, or a good run for a proof."""
    text = " ".join(headline(report.members, _CONTEXT))
    assert "street_mnist (not SVHN)" in text and "a CPU slot" in text
    assert "claim of 2016" in text and "p = " in text and "3 runs of bo" in text
    real = " ".join(headline(report.members, replace(_CONTEXT, data_name="svhn", is_svhn=True)))
    assert "SVHN (svhn)" in real and "not SVHN" not in real


def test_every_table_can_be_written_for_programs_and_papers(report: Report) -> None:
    """CSV holds as many fields in each line; LaTeX has no character that it would stumble over."""
    for table in report.tables:
        lines = csv_of(table).splitlines()
        assert len(lines) == len(table.rows) + 1
        latex = latex_of(table)
        body = latex.split(r"\hline", 1)[1]
        assert latex.isascii() and body.count("&") % (len(table.columns) - 1) == 0


def test_every_trial_can_be_found_again_with_its_seed(report: Report) -> None:
    """Whoever checks a figure starts from these rows; pairs of runs train trial k with the same seed."""
    found = rows(report.table("trials"))
    assert len(found) == sum(len(study.trials) for study in report.members.studies)
    wanted = {"method", "run", "trial", "seed", "value", "failure", "duration_s", "energy_j", "device", "started"}
    assert wanted | {"learning_rate", "trees"} <= set(found[0])
    seeds = {(row["method"], row["run"], row["trial"]): row["seed"] for row in found}
    assert seeds["bo", 2, 5] == seeds["random", 2, 5] != seeds["bo", 1, 5]
    best = [row["best_seen"] for row in rows(report.table("traces")) if (row["method"], row["run"]) == ("random", 1)]
    incumbent = report.members.search["random", 1].incumbent
    assert incumbent is not None and len(best) == 16 and best[-1] == incumbent.value


def test_idle_time_is_explained_by_the_journal(report: Report) -> None:
    """A gap of which the daemon noted the reason is told with it."""
    spell = Spell("cpu-0", BEGIN + 2.0, BEGIN + 7.0, "idle", "waits for a proposal")
    worked = stints({"all": report.members.studies}, BEGIN)
    idle = idle_table(worked, replace(_CONTEXT, activities=(spell,)))
    assert idle is not None
    assert [row["reasons"] for row in rows(idle)] == ["waits for a proposal 5 s", None]


def test_a_comparison_that_runs_concludes_nothing() -> None:
    """Half-time results read like a victory to whoever opens the page too early."""
    plan = Plan("small", ("bo", "random"), runs=2, evaluations=4, seed=7)
    whole = comparison(plan)
    part = [Played(each.study.spec) for each in whole if each.study.spec.name == "small-bo-1"]
    play(part, train)
    early = members(part)
    told = headline(early, _CONTEXT)
    assert "has not ended" in told[-1] and not any("claim" in text for text in told)
    assert sections_of_comparison(early, _CONTEXT)[0].parts[0] == Note((told[-1],), "warning")


def test_a_comparison_in_which_all_fails_still_has_a_page() -> None:
    """It is then that people need to see why."""
    plan = Plan("small", ("bo", "random"), runs=2, evaluations=3, seed=7)
    failed = members(comparison(plan, lambda _, __: Outcome(None, 1.0)))
    sections = Report(failed, sections_of_comparison(failed, _CONTEXT))
    assert all(row["failed_share"] == 1.0 for row in rows(sections.table("failures")) if row["trials"])
    assert len(headline(failed, _CONTEXT)) >= 1


def test_a_single_method_is_compared_with_nothing() -> None:
    """A plan may ask for one method, one run and no confirmation; then there is no claim and no p-value."""
    plan = Plan("small", ("sobol",), runs=1, evaluations=4, seed=7, confirm=0, twice=False)
    found = members(comparison(plan))
    assert contrast_table(found, plan, _CONTEXT) is None
    told = headline(found, _CONTEXT)
    assert "1 run of sobol" in told[0] and not any("claim" in text or "p =" in text for text in told)
    assert "fresh seeds" not in table_1(found, plan, _CONTEXT).caption


def test_lower_is_better_where_the_metric_is_minimised() -> None:
    """The same comparison upside down gives the same claims, with the sign of the values turned."""

    def upside_down(spec: StudySpec, trial: Trial) -> Outcome:
        outcome = train(spec, trial)
        return replace(outcome, value=None if outcome.value is None else -outcome.value)

    plan = Plan("small", ("bo", "random"), runs=3, evaluations=8, seed=7, twice=False)
    up, down = members(comparison(plan)), members(comparison(plan, upside_down, Direction.MINIMIZE))
    for write in (table_2, contrast_table):
        one, other = write(up, plan, _CONTEXT), write(down, plan, _CONTEXT)
        assert one is not None and other is not None
        for upright, turned in zip(rows(one), rows(other), strict=True):
            if upright.get("measure") != "area under the trace":  # where a guess has no sign
                for column in ("evaluations", "runs_reached", "superiority", "p", "pairs_won"):
                    assert upright.get(column) == turned.get(column)


def test_a_run_that_found_nothing_counts_as_the_worst() -> None:
    """Left out, it would flatter its method."""
    plan = Plan("small", ("bo", "random"), runs=3, evaluations=4, confirm=1, twice=False)

    def training(spec: StudySpec, trial: Trial) -> Outcome:
        is_unlucky = spec.part is not None and (spec.part.method, spec.part.run) == ("random", 2)
        return Outcome(None) if is_unlucky else Outcome(0.5 + trial.id / 100)

    found = members(comparison(plan, training))
    table = contrast_table(found, plan, _CONTEXT)
    assert table is not None
    rows = [dict(zip((column.key for column in table.columns), row, strict=True)) for row in table.rows]
    [best] = [row for row in rows if row["measure"] == "best found, validation"]
    assert (best["n_first"], best["n_second"], best["u"]) == (3, 3, 3 * 2 / 2 + 3)


def test_luck_is_counted_apart_from_failures() -> None:
    """Nine configurations in ten may learn nothing: as failures they would look like a broken program."""
    plan = Plan("small", ("bo", "random"), runs=2, evaluations=4, confirm=2, twice=False)

    def training(spec: StudySpec, trial: Trial) -> Outcome:
        is_unlucky = spec.part is not None and (spec.part.method, spec.part.run) == ("random", 2)
        if spec.part is not None and spec.part.stage is Stage.CONFIRM:
            return Outcome(0.15 if trial.id <= 4 else 0.5, chance=0.2)
        if trial.id == 4 and not is_unlucky:
            return Outcome(None)
        return Outcome(0.5 + trial.id / 100 if trial.id == 2 and not is_unlucky else 0.1 + trial.id / 100, chance=0.2)

    found = members(comparison(plan, training))
    report = Report(found, sections_of_comparison(found, _CONTEXT))
    [said] = [text for text in headline(found, _CONTEXT) if "at chance" in text]
    assert said == (
        "Of the evaluations 4 of 8 by bo were at chance, 2 failed; "
        "6 of 8 by random were at chance (1 run with nothing else), 1 failed."
    )
    failures = {row["kind"]: row for row in rows(report.table("failures"))}
    assert (failures["random"]["at_chance"], failures["random"]["diverged"]) == (6, 1)
    luck = [row["at_chance"] for row in rows(report.table("confirmations"))]
    assert luck == [1, 1, 1, 1]
    [best] = [row for row in rows(report.table("contrasts")) if row["measure"] == "best found, validation"]
    assert (best["n_second"], best["median_second"]) == (2, pytest.approx((0.52 + 0.14) / 2))


def test_methods_have_the_same_colours_on_the_timeline_whichever_began() -> None:
    """Whoever has learnt from Figure 3 which is which reads the other figures by it."""
    worked = (Stint("cpu-0", 0.0, 1.0, "random"), Stint("cpu-0", 1.0, 2.0, "bo"), Stint("cpu-0", 2.0, 3.0, "held-out"))
    drawn = chart(worked, _CONTEXT, ("bo", "random"))
    assert drawn is not None
    places = [drawn.svg.index(f">{kind}<") for kind in ("bo", "random", "held-out")]
    assert places == sorted(places)
