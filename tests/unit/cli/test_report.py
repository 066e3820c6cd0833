"""What `cnnbo run` prints, from the news it is told."""

from pathlib import Path
from typing import Any

import pytest

from cnnbo.cli.report import QUIET_S, Report, crash_report

STUDY: dict[str, Any] = {
    "name": "svhn", "state": "running", "reason": None, "evaluations": 80, "finished": 38, "running": 3, "failed": 4,
    "best": None, "best_trial": None, "best_value": None, "cost": None, "eta_s": 2220.0, "metric": "val_accuracy",
    "optimizer": "trieste", "seed": 0, "spent_s": 4320.0, "energy_kwh": 1.44,
}  # fmt: skip
DEVICES = [{"uuid": "GPU-8f6e", "index": 0}, {"uuid": "cpu-1", "index": 1}]


class Clock:
    """A clock that goes on when told."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


NOWHERE = Path("/nowhere")


def news(kind: str, **changes: object) -> dict[str, Any]:
    body = {
        "event": f"trial_{kind}", "study": "svhn", "trial": 7, "attempt": 1, "device": "GPU-8f6e", "value": None,
        "failure": None, "message": None, "source": "surrogate", "note": None, "duration_s": 161.0, "best_trial": None,
        "best_value": None, "configuration": {"momentum": 0.9, "width": 5},
    }  # fmt: skip
    return body | changes


def told(*bodies: dict[str, Any]) -> list[str]:
    """The lines printed for some news, without their times."""
    lines: list[str] = []
    report = Report(STUDY, DEVICES, lines.append, None, NOWHERE, Clock())
    for body in bodies:
        report.take("event", body)
    return [line.split(" ", 1)[1] if line[:1].isdigit() else line.strip() for line in lines]


def test_a_new_best_is_told_with_its_configuration() -> None:
    """The line people wait for."""
    lines = told(news("complete", value=0.9131, best_trial=7, best_value=0.9131))
    assert lines == ["#7   gpu0    2m41s  val_accuracy 0.9131  BEST", "momentum=0.9 width=5"]


@pytest.mark.parametrize("best", [7, 3])
def test_a_trial_at_chance_is_never_called_the_best(best: int) -> None:
    """Even as long as it is: that would be a promise."""
    [line] = told(news("complete", value=0.105, at_chance=True, best_trial=best, best_value=0.105, source="start"))
    assert line == "#7   gpu0    2m41s  val_accuracy 0.105, no better than chance  your defaults"


def test_a_failure_is_told_with_its_class_its_reason_and_the_best() -> None:
    """A failed trial must not look like a result."""
    [line] = told(news("failed", failure="diverged", message="NaN", best_trial=1, best_value=0.8714, device="cpu-1"))
    assert line == "#7   cpu-1   2m41s  diverged: NaN   best 0.8714 #1"


def test_a_lost_attempt_says_that_it_runs_again() -> None:
    """Nobody should wonder whether a trial was lost with its device."""
    [line] = told(news("interrupted", message="The daemon died while it ran."))
    assert line.endswith("interrupted: The daemon died while it ran. (runs again)")


def test_a_retry_is_not_taken_for_an_end() -> None:
    """It withdraws a result; the line of the result stands above it."""
    assert told(news("retried")) == ["#7   runs again: what it came to was withdrawn"]


def test_equal_crashes_are_told_with_their_log_and_what_to_type(tmp_path: Path) -> None:
    """Last words, interpreter, and that the same command takes the crashes back; others are another matter."""
    log = tmp_path / "studies/svhn/trials/3/1/log"
    log.parent.mkdir(parents=True)
    log.write_text("Traceback\nModuleNotFoundError: No module named 'torch'\n")
    trials = [
        {"id": k, "failure": "crashed", "message": "exit status 1", "attempts": [{"ended": f"2026-01-01T00:00:0{k}Z"}]}
        for k in (1, 2, 3)
    ]
    trials.append(trials[0] | {"id": 4, "message": "KeyError"})
    shown = STUDY | {"trials": trials, "undecided": [1, 2, 3], "python": "/opt/cnnbo/bin/python"}
    assert crash_report(shown, tmp_path, " --state /tower") == [
        "svhn paused: 3 trials crashed the same way (exit status 1)",
        "  | Traceback",
        "  | ModuleNotFoundError: No module named 'torch'",
        "They ran with /opt/cnnbo/bin/python.",
        "Mend the cause, then give the same command: they run again, and are held against no configuration.",
        "Whole log: cnnbo logs svhn 3 --state /tower",
    ]


def test_a_fallback_is_visible() -> None:
    """A point that the proposer did not make must not pass for one it did."""
    [line] = told(news("started", note="the deadline of 30 s passed"), news("started"))
    assert line.endswith("takes a Sobol point in place of a proposal: the deadline of 30 s passed")


def test_a_heartbeat_comes_after_quiet_minutes_and_not_before() -> None:
    """A log without lines for an hour makes people kill healthy runs."""
    lines: list[str] = []
    clock = Clock()
    report = Report(STUDY, DEVICES, lines.append, None, NOWHERE, clock)
    clock.now = QUIET_S - 1
    report.beat()
    assert lines == []
    clock.now = QUIET_S
    report.beat()
    report.beat()
    assert [line.split(" ", 1)[1] for line in lines] == ["38 of 80 finished, 3 running, about 37m00s left"]


def test_the_hint_to_stop_is_given_once() -> None:
    """A log that repeats an advice with every trial is not read any more."""
    lines: list[str] = []
    report = Report(STUDY, DEVICES, lines.append, None, NOWHERE, Clock())
    told = {"noise_sd": 0.004, "expected_improvement": 0.001, "asks_below_noise": 5}
    for count, is_advised in ((4, False), (5, True), (0, False), (5, True)):
        body = STUDY | {"insight": told | {"asks_below_noise": count, "stop_advised": is_advised}}
        report.take("study/svhn", body)
    [line] = [line.split(" ", 1)[1] for line in lines]
    assert line == (
        "hint: the last 5 proposals promised less than the noise of one trial; stopping is reasonable: cnnbo pause svhn"
    )


def test_the_farewell_names_the_next_command() -> None:
    """What to type next depends on whether there is a best configuration."""
    for best, expected in ((None, "cnnbo trials svhn --failed"), ({"trial": 7}, "cnnbo best svhn --format flags")):
        lines: list[str] = []
        study = STUDY | {"state": "finished", "best": best, "best_trial": 7, "best_value": 0.9}
        Report(study, DEVICES, lines.append, None, NOWHERE, Clock()).goodbye(study)
        assert lines[-1].endswith(expected)


def farewell(**changes: object) -> list[str]:
    """The lines at the end of a study, without their times."""
    lines: list[str] = []
    study = STUDY | {"state": "finished", "finished": 40, "failed": 1, "best": {"trial": 7}, "best_trial": 7}
    study |= {"best_value": 0.9} | changes
    assert Report(study, DEVICES, lines.append, None, NOWHERE, Clock()).goodbye(study) == 0
    return [line.split(" ", 1)[1] if line[:1].isdigit() else line.strip() for line in lines]


def test_the_farewell_counts_luck_apart_from_failures() -> None:
    """Thirty failures of forty would look like a broken script."""
    assert farewell(at_chance=30)[0] == (
        "finished: best 0.9 (#7), 40 trials: 9 with a value, 30 at chance, 1 failed, 1h12m, 1.44 kWh"
    )
    assert farewell(at_chance=0)[0] == "finished: best 0.9 (#7), 40 trials, 1 failed, 1h12m, 1.44 kWh"


def test_the_farewell_of_nothing_but_luck_says_what_to_look_at() -> None:
    """The study finished, and its best is none."""
    lines = farewell(
        at_chance=39, best_value=0.1, advice="no trial is better than chance: look first at the range of lr"
    )
    assert lines[:2] == [
        "finished: best 0.1 (#7), no better than chance, "
        "40 trials: 0 with a value, 39 at chance, 1 failed, 1h12m, 1.44 kWh",
        "no trial is better than chance: look first at the range of lr",
    ]
    assert lines[-1] == "next: cnnbo trials svhn --at-chance"
