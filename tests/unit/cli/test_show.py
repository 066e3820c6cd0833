"""What `cnnbo show` prints, from a journal as a daemon leaves it."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cnnbo.cli.app import app
from cnnbo.daemon.journal import Journal
from cnnbo.scheduler.events import (
    AskOptimizer,
    Event,
    PointsSuggested,
    StudyCancelled,
    StudyCreated,
    TrialFailed,
    TrialsRequested,
    TrialStarted,
)
from cnnbo.scheduler.optimizers.base import Source
from cnnbo.scheduler.space import FloatParameter, SearchSpace
from cnnbo.scheduler.spec import StudySpec
from cnnbo.scheduler.study import Study
from cnnbo.scheduler.trial import Failure

SPEC = StudySpec(
    SearchSpace(tuple(FloatParameter(name, 0.0, 1.0) for name in ("learning_rate", "momentum", "decay"))),
    name="svhn",
    command=("true",),
    metric="val_accuracy",
    start=({"learning_rate": 0.5, "momentum": 0.5, "decay": 0.5},),
)
SAID: Mapping[str, object] = {
    "relevance": {"momentum": 0.3, "learning_rate": 0.69, "decay": 0.01},
    "best_mean": -0.91234,
    "best_sd": 0.0041,
    "noise_sd": 0.004,
    "expected_improvement": 0.00214,
    "feasible_probability": 1.0,
}

Show = Callable[..., list[str]]


@pytest.fixture
def show(tmp_path: Path) -> Show:
    """Journals a study whose asks were answered with some insights, and prints it."""

    def lines(*said: Mapping[str, object], spec: StudySpec = SPEC, end: tuple[Event, ...] = ()) -> list[str]:
        asyncio.run(_journal(tmp_path, spec, said, end))
        done = CliRunner().invoke(app, ["show", "svhn", "--state", str(tmp_path)], catch_exceptions=False)
        assert done.exit_code == 0
        return done.stdout.splitlines()

    return lines


async def _journal(
    state: Path, spec: StudySpec, said: tuple[Mapping[str, object], ...], end: tuple[Event, ...]
) -> None:
    journal, study = Journal(state), Study(spec, at=1.0)
    await journal.open()
    key = await journal.create(StudyCreated(1.0, spec), study)

    async def feed(event: Event) -> list[object]:
        before = study.copy()
        commands = study.handle(event)
        await journal.append(key, event, before, study)
        return list(commands)

    for k, insight in enumerate(said):
        [command] = await feed(TrialsRequested(2.0, 1))
        assert isinstance(command, AskOptimizer)
        point = ((k + 1) / 100, 0.5, 0.5)
        await feed(PointsSuggested(2.0, command.ask, (point,), Source.SURROGATE, insight=insight))
    for event in end:
        await feed(event)
    await journal.close()


def test_what_the_surrogate_believes_reads_in_three_lines(show: Show) -> None:
    """People decide by it whether to go on, and on what; in the direction of their metric."""
    lines = show(SAID)
    at = lines.index("model  trieste, trials from 1 start, 1 surrogate")
    assert lines[at + 1 :] == [
        "       matters: learning_rate ▇▇▇▇▇▇▇  momentum ▇▇▇",
        "       believes: 0.912 ± 0.004 for the best configuration",
        "       next trial: expected gain 0.0021 (noise 0.004)",
    ]


def test_the_surrogate_says_how_much_it_has_seen(show: Show) -> None:
    """A fit to a part of the results must not pass for a fit to all."""
    lines = show({**SAID, "observations": 300, "observed": 812})
    assert "model  trieste, trials from 1 start, 1 surrogate; fitted to 300 of 812 observations" in lines


def test_stopping_is_advised_with_a_command_that_can_be_taken_back(show: Show) -> None:
    """`cancel` would end the study for good and throw running trials away."""
    assert show(*[SAID] * 5)[-1] == (
        "hint   the last 5 proposals promised less than the noise of one trial; "
        "stopping is reasonable: cnnbo pause svhn"
    )


def test_an_ended_study_is_not_advised(show: Show) -> None:
    """What it believed stays readable; there is no next trial and nothing to stop."""
    lines = show(*[SAID] * 5, end=(StudyCancelled(3.0),))
    assert "       at the last proposal: expected gain 0.0021 (noise 0.004)" in lines
    assert not [line for line in lines if "hint" in line or "next trial" in line]


@pytest.mark.parametrize(
    ("optimizer", "end", "last"),
    [
        ("random", (), "model  random, trials from 1 start"),
        ("trieste", (), "model  trieste, trials from 1 start; no surrogate yet"),
        ("trieste", (StudyCancelled(3.0),), "model  trieste, trials from 1 start; no surrogate was fitted"),
    ],
)
def test_without_a_surrogate_nothing_is_believed(optimizer: str, end: tuple[Event, ...], last: str, show: Show) -> None:
    """Random search believes nothing; where a surrogate is to come, one phrase says that it hasn't."""
    assert show(spec=replace(SPEC, optimizer=optimizer), end=end)[-1] == last


def test_the_model_line_says_how_often_the_test_set_was_opened(show: Show) -> None:
    """What a reader of the values wants to know first; of a script nobody knows, unless it told."""
    built_in = replace(SPEC, command=(), model="svhn-cnn", optimizer="random", evaluations=1)
    assert show(spec=built_in)[-1] == "model  random, trials from 1 start; test set opened 0 times"


@pytest.mark.parametrize(("opened", "says"), [(False, ""), (True, "; test set opened 1 time")])
def test_a_script_that_opens_the_test_set_is_told_of(show: Show, opened: bool, says: str) -> None:
    """Silence about all others: a zero would be a claim."""
    started = TrialStarted(2.0, 1, 1, "cpu-0")
    failed = TrialFailed(3.0, 1, 1, Failure.CRASHED, opened_test_set=opened)
    spec = replace(SPEC, optimizer="random", evaluations=1)
    assert show(spec=spec, end=(started, failed))[-1] == f"model  random, trials from 1 start{says}"


def test_a_terminal_without_unicode_can_read_it(show: Show, tmp_path: Path) -> None:
    """A box in a rack speaks ASCII; the text must not end in a traceback there."""
    show(*[SAID] * 5)
    runner = CliRunner(charset="ascii")
    done = runner.invoke(app, ["show", "svhn", "--state", str(tmp_path)], catch_exceptions=False)
    assert "       matters: learning_rate #######  momentum ###" in done.stdout
    assert "       believes: 0.912 +- 0.004 for the best configuration" in done.stdout
