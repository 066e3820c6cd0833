"""The study that is meant to run: what it needs, and whether it may go on where it once began."""

from collections.abc import Iterator

from cnnbo.cli.doctor.finding import Finding, fail, ok
from cnnbo.cli.doctor.scope import Scope
from cnnbo.scheduler.errors import ConfigurationError
from cnnbo.scheduler.spec import StudySpec, fixed_differences


def check_study(scope: Scope) -> Iterator[Finding]:
    """The study file that was named; its mistakes were told by whoever read it."""
    study = scope.study
    if study is None:
        return
    problems = [*_missing_model(study), *_departures(scope, study)]
    yield from problems
    if not problems:
        what = (
            f"model {study.model}" if study.model else f"`{' '.join(study.command)}`, python is {study.origin.python}"
        )
        yield ok("study", f"{scope.study_file}: {study.evaluations} trials of {what}")


def _missing_model(study: StudySpec) -> Iterator[Finding]:
    from cnnbo.models.registry import missing_model_extra

    if study.model is not None and (sentence := missing_model_extra(study.model)):
        text, _, remedy = sentence.partition(": ")
        yield fail("study", text, remedy)


def _departures(scope: Scope, study: StudySpec) -> Iterator[Finding]:
    """What `run` and `submit` would refuse, as a study that has begun keeps nearly all that its file said."""
    from cnnbo.daemon.journal import read_journal

    try:
        stored, _ = read_journal(scope.settings.state)
    except ConfigurationError:  # the check of the journal tells
        return
    for known in (each.study for each in stored if each.study.name == study.name):
        if differing := fixed_differences(known.spec, study):
            keys = ", ".join(differing)
            text = f"{scope.study_file}: study {study.name} has begun with another {keys}, and would be refused"
            fix = "give the study a new name, or put the old value back"
            if "trial.python" in differing:
                fix += f"; a begun study keeps its interpreter, {known.spec.origin.python}: what is missing can be "
                fix += "installed there"
            yield fail("study", text, fix)
