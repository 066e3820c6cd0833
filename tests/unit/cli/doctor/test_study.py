"""The study that is to run."""

from dataclasses import replace
from pathlib import Path

from tests.journals import journal_study

from cnnbo.cli.doctor.finding import Level
from cnnbo.cli.doctor.scope import Scope
from cnnbo.cli.doctor.study import check_study
from cnnbo.scheduler.space import FloatParameter, SearchSpace
from cnnbo.scheduler.spec import Origin, StudySpec, TrialSettings

SPEC = StudySpec(
    SearchSpace((FloatParameter("x", 0, 1),)),
    name="thesis",
    command=("python", "train.py"),
    trial=TrialSettings(python="/opt/old/bin/python"),
    origin=Origin("/home/alice", {}, "/opt/old/bin/python"),
)


def test_a_new_study_and_one_that_goes_on_are_well(scope: Scope) -> None:
    """More evaluations are no obstacle."""
    wanted = replace(scope, study=SPEC, study_file=Path("thesis.toml"))
    [found] = check_study(wanted)
    assert found.level is Level.OK and "/opt/old/bin/python" in found.text
    journal_study(scope.settings.state, SPEC)
    [found] = check_study(replace(wanted, study=replace(SPEC, evaluations=100)))
    assert found.level is Level.OK
    assert list(check_study(scope)) == []


def test_a_begun_study_keeps_its_interpreter(scope: Scope) -> None:
    """ "Point trial.python elsewhere and retry" is refused; what works is told in its place."""
    journal_study(scope.settings.state, SPEC)
    changed = replace(SPEC, trial=TrialSettings(python="/opt/new/bin/python"))
    [found] = check_study(replace(scope, study=changed, study_file=Path("thesis.toml")))
    assert found.level is Level.FAIL and "another trial.python" in found.text
    assert "new name" in str(found.fix) and "/opt/old/bin/python" in str(found.fix)
