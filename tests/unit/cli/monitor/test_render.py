"""The monitor's screen: what it says of a box."""

from collections.abc import Callable
from datetime import UTC
from typing import Any

import pytest
from tests.unit.cli.monitor.conftest import insight
from tests.unit.cli.monitor.pictures import compare, picture

from cnnbo.cli.monitor.canvas import ASCII, Screen
from cnnbo.cli.monitor.render import render
from cnnbo.cli.monitor.state import MonitorState

_BROKER = "mqtt://127.0.0.1:1883"


@pytest.mark.parametrize("width", [80, 100, 160])
def test_a_box_at_work(tower: Any, width: int) -> None:
    """What people look at for hours must not change by accident."""
    compare(f"at_work_{width}", picture(tower.state, tower.now, width))


def test_a_box_at_work_without_unicode(tower: Any) -> None:
    """The ASCII form must read as well, and hold nothing else."""
    shown = picture(tower.state, tower.now, glyphs=ASCII)
    assert shown.isascii()
    compare("at_work_ascii", shown)


@pytest.mark.parametrize("width", [80, 100, 160])
def test_the_hint_to_stop_is_dim_and_names_its_command(tower: Any, width: int) -> None:
    """A hint only: it must not shout, and must say what to type, on one line of any width."""
    tower.study(insight=insight() | {"asks_below_noise": 6, "stop_advised": True})
    lines = render(tower.state, Screen(width, None, tower.now, zone=UTC))
    [hint] = [line for line in lines if "hint" in line.plain]
    assert hint.plain == " hint: gains stay below the noise; stopping is reasonable: cnnbo pause svhn"
    assert all(span.style == "dim" for span in hint.spans)
    tower.study(insight=insight())
    assert "hint" not in picture(tower.state, tower.now, width)


@pytest.mark.parametrize(
    "told", [None, {}, 3, {"relevance": 5, "best_mean": "high"}, {"pid": 77}, {"best_mean": None, "noise_sd": 0.1}]
)
def test_without_beliefs_nothing_is_said_of_them(told: object, tower: Any) -> None:
    """Random search believes nothing, and a daemon of another version may tell something else."""
    tower.study(insight=told)
    shown = picture(tower.state, tower.now)
    assert not [word for word in ("matters", "believed", "expected gain", "hint", "None") if word in shown]


def test_an_ended_study_has_no_next_trial(tower: Any) -> None:
    """What was believed stays worth reading; a promise about a trial that never comes does not."""
    tower.study(state="finished", reason="evaluations", running=0)
    shown = picture(tower.state, tower.now)
    assert "last proposal: expected gain 0.0021 (noise 0.0038)" in shown
    assert "next trial" not in shown


def test_two_boxes_and_several_studies(tower: Any, new_daemon: Callable[..., Any]) -> None:
    """All boxes on one screen is what no other monitor gives; what has ended takes one line."""
    tower.study("mnist-old", state="finished", reason="evaluations", finished=80, running=0, best=None)
    attic = new_daemon(node="attic")
    attic.raw("availability", b"online")
    attic.say("device/cpu-0", {"uuid": "cpu-0", "index": 0, "name": "CPU slot", "state": "idle", "reason": None})
    compare("two_boxes", picture(tower.state, tower.now))


def test_a_dead_box_shows_its_last_values_and_their_age(tower: Any) -> None:
    """Figures that look fresh and are not are worse than none."""
    tower.raw("availability", b"offline")
    compare("dead_box", picture(tower.state, tower.now + 132))


def test_a_lost_broker_is_said(tower: Any) -> None:
    """With the broker gone nothing can be known, and the screen must not pretend."""
    tower.state.brokers[_BROKER] = f"no connection to {_BROKER}: Connection refused"
    first, second, *_ = picture(tower.state, tower.now).splitlines()
    assert first == " no connection to mqtt://127.0.0.1:1883: Connection refused (trying again)"
    assert "mqtt lost" in second and "training" not in second
    assert "tower: out of reach. Last values below, from 14:36:07" in picture(tower.state, tower.now)


def test_a_box_without_a_study_says_what_to_type(daemon: Any) -> None:
    """An empty screen leaves people wondering what broke."""
    daemon.raw("availability", b"online")
    assert "No study on tower. Start one: cnnbo run study.toml" in picture(daemon.state, daemon.now)


@pytest.mark.parametrize(
    ("brokers", "sentence"),
    [
        ({}, "Connecting"),
        ({_BROKER: None}, "Connected to mqtt://127.0.0.1:1883, but no box has published there yet."),
        ({_BROKER: "no connection to mqtt://x: no answer"}, "no connection to mqtt://x: no answer (trying again)"),
    ],
)
def test_no_box_at_all_is_explained(brokers: dict[str, str | None], sentence: str) -> None:
    """Never empty without saying why."""
    state = MonitorState()
    state.brokers.update(brokers)
    assert sentence in picture(state, 0.0)


def test_a_mistyped_box_is_told_from_those_there_are() -> None:
    """The names that could be meant, in lines that fit."""
    state = MonitorState(node="nix")
    state.brokers[_BROKER] = None
    for node in ("attic", "tower"):
        state.apply(f"cnnbo/v1/{node}/availability", b"online", 0.0, _BROKER)
    assert picture(state, 0.0, 60) == " There is no box 'nix'; the boxes are: attic, tower.\n"
    state.apply("cnnbo/v1/tower/availability", b"", 0.0, _BROKER)
    assert picture(state, 0.0, 60) == " There is no box 'nix'; the boxes are: attic.\n"


@pytest.mark.parametrize("height", [1, 8, 24, 30, 50])
@pytest.mark.parametrize("width", [60, 80, 100, 200])
def test_a_screen_fits_and_keeps_the_devices(tower: Any, width: int, height: int) -> None:
    """A line too many scrolls the header away; rows of devices are the last to go."""
    lines = picture(tower.state, tower.now, width, height).splitlines()
    assert len(lines) <= height
    assert all(len(line) <= width for line in lines)
    if height >= 8:
        assert [word in "\n".join(lines) for word in ("svhn #39", "svhn #40", "svhn #41", "alice:")] == [True] * 4


def test_names_cannot_steer_the_terminal(daemon: Any) -> None:
    """Anybody who may publish could else clear the screen of everybody who watches, or worse."""
    daemon.raw("availability", b"online")
    daemon.study("evil\x1b[2J", state="\x9bboo\x07")
    daemon.device(0, state="foreign", reason="mallory\x1b]0;title\x07", study=None)
    shown = picture(daemon.state, daemon.now)
    assert "evil?[2J" in shown
    assert all(character.isprintable() for line in shown.splitlines() for character in line)


def test_a_device_without_figures_has_no_empty_columns(daemon: Any) -> None:
    """A CPU slot has no temperature; a column of dashes would only take room."""
    daemon.raw("availability", b"online")
    daemon.say("device/cpu-0", {"uuid": "cpu-0", "index": 0, "name": "CPU slot", "state": "idle"})
    rows = [line.split() for line in picture(daemon.state, daemon.now).splitlines()[2:4]]
    assert rows == [["dev", "name", "doing"], ["0", "CPU", "slot", "idle:", "no", "study", "runs"]]


def test_a_trial_that_never_reports_is_starting(tower: Any) -> None:
    """A script without progress is not broken."""
    (line,) = (line for line in picture(tower.state, tower.now).splitlines() if line.startswith("   41"))
    assert "starting" in line and "1:39" in line


def test_old_progress_is_marked(tower: Any) -> None:
    """A training that hangs keeps its bar; its age gives it away."""
    (line,) = (x for x in picture(tower.state, tower.now + 45).splitlines() if x.startswith("   39"))
    assert line.endswith("silent 45s")


def test_a_study_of_failures_says_so(tower: Any) -> None:
    """Without a best value the reason is what people need."""
    tower.study(best=None, best_value=None, best_trial=None)
    assert "best    none: every trial so far has failed" in picture(tower.state, tower.now)
