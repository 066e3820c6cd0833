"""The whole report: first screen, sections and their order."""

from collections.abc import Iterator
from datetime import UTC, datetime

from cnnbo.cli import output
from cnnbo.cli.output import times
from cnnbo.cli.reporting.captions import data_name
from cnnbo.cli.reporting.comparison_report import headline, sections_of_comparison
from cnnbo.cli.reporting.deviations import differences
from cnnbo.cli.reporting.page import Report
from cnnbo.cli.reporting.parts import Section
from cnnbo.cli.reporting.read import Record
from cnnbo.cli.reporting.study_report import sections_of_study
from cnnbo.scheduler.study import Study


def make_report(record: Record) -> Report:
    """Draw and count everything; takes some seconds. Imports Matplotlib."""
    if record.members is None:
        [study] = record.studies
        sections, sentences = sections_of_study(study, record.context), _study_headline(study)
        title = f"Study {record.name}"
    else:
        sections = sections_of_comparison(record.members, record.context)
        sentences = headline(record.members, record.context)
        title = f"Comparison {record.name}"
    table = differences(record)
    if table is not None:
        sections = (*sections, Section("differences", table.title, (table,)))
    return Report(record.name, title, tuple(_facts(record)), sentences, sections)


def _study_headline(study: Study) -> tuple[str, ...]:
    tally = f"{study.finished} of {study.spec.evaluations} trials have finished"
    tally += f", {study.at_chance} of them at chance" if study.at_chance else ""
    best = study.incumbent
    if best is None:
        return (f"No trial gave a value; {tally}.",)
    lucky = ", no better than chance, as is every other" if best.at_chance else ""
    return (f"The best {study.spec.metric} is {output.value(best.value)}, in trial {best.id}{lucky}; {tally}.",)


def _facts(record: Record) -> Iterator[tuple[str, str]]:
    yield "Measured", _measured(record)
    if record.spec.data_dir is not None:
        yield "Data", _images(record)
    yield "Device", _devices(record)
    begin, end = (datetime.fromtimestamp(at, UTC) for at in record.span)
    until = f"{end:%H:%M}" if begin.date() == end.date() else f"{end:%Y-%m-%d %H:%M}"
    yield "When", f"{begin:%Y-%m-%d %H:%M} to {until} UTC{'' if _has_ended(record) else ', and still running'}"
    software = record.facts.software
    yield "Report", f"written with cnnbo {software.cnnbo}, commit {_commit(software.commit)}"
    if record.spec.model is not None:
        yield "Test set", f"opened {times(record.test_set_openings)}"


def _commit(commit: str | None) -> str:
    """Long enough to find it; a bundle has all of it."""
    if commit is None:
        return "unknown"
    return f"{commit[:12]}{', with changes' if commit.endswith('-dirty') else ''}"


def _measured(record: Record) -> str:
    spec = record.spec
    task = f"{spec.metric} of {spec.model or 'a command'}"
    plan = None if record.members is None else record.members.plan
    if plan is None:
        return f"{task}; {spec.evaluations} evaluations by {spec.optimizer}"
    runs = "1 run" if plan.runs == 1 else f"{plan.runs} runs"
    return f"{task}; {' against '.join(plan.methods)}, {runs} of {plan.evaluations} evaluations each"


def _images(record: Record) -> str:
    data, name = record.facts.data, data_name(record.context)
    if data.sides is None:
        return name
    train, validation = data.sides
    limit = record.spec.trial.images
    used = f" (a trial takes {limit:,} of them)" if limit is not None and limit < train else ""
    test = data.images.get("test")
    scored = "no test set" if test is None else f"{test:,} to test"
    return f"{name}: {train:,} to train{used}, {validation:,} to validate, {scored}"


def _devices(record: Record) -> str:
    labels = sorted(
        {record.context.device_label(a.device) for s in record.studies for t in s.trials for a in t.attempts}
    )
    return f"{', '.join(record.context.devices)} ({', '.join(labels)})"


def _has_ended(record: Record) -> bool:
    return all(study.state.is_ended for study in record.studies)
