"""What keys make of the monitor's view."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from cnnbo.cli.monitor.notes import Fading
from cnnbo.cli.monitor.state import MonitorState
from cnnbo.cli.monitor.view import LogTail, Mark, Order, Page, View, marked_trial, press, shown_box, shown_study

_BROKER = "mqtt://127.0.0.1:1883"
_TOWER = (_BROKER, "tower")


def _after(keys: Sequence[str], state: MonitorState, view: View | None = None) -> View:
    """The view after some keys, none of which orders anything."""
    view = view or View()
    for key in keys:
        view, order = press(view, key, state)
        assert order is None
    return view


@pytest.mark.parametrize(
    ("keys", "node"), [(["tab"], "tower"), (["tab", "tab"], "attic"), (["shift-tab"], "tower"), ([], "attic")]
)
def test_tab_goes_around_the_boxes(keys: list[str], node: str, tower: Any, new_daemon: Callable[..., Any]) -> None:
    """Several boxes on one screen are of use only if each can be looked at."""
    new_daemon(node="attic").raw("availability", b"online")
    box = shown_box(tower.state, _after(keys, tower.state))
    assert box is not None and box.node == node


def test_s_goes_around_the_studies_and_forgets_the_mark(tower: Any) -> None:
    """The number of a trial means another one in another study."""
    tower.study("mnist", state="paused")
    view = _after(["down", "s"], tower.state)
    box = shown_box(tower.state, view)
    assert box is not None
    shown = shown_study(box, view)
    assert shown is not None and (shown.name, view.mark) == ("mnist", None)
    shown = shown_study(box, _after(["s"], tower.state, view))
    assert shown is not None and shown.name == "svhn"


@pytest.mark.parametrize(
    ("keys", "mark"),
    [
        (["down"], Mark(trial=39)),
        (["up"], Mark(trial=39)),
        (["down", "down"], Mark(trial=40)),
        (["down", "j", "j", "j"], Mark(trial=38)),
        (["down", "page-down"], Mark(trial=31)),
        (["down", "up"], Mark(device="GPU-3")),
        (["down", *["k"] * 9], Mark(device="GPU-0")),
        (["down", "escape"], None),
    ],
)
def test_arrows_walk_over_trials_and_up_to_devices(keys: list[str], mark: Mark | None, tower: Any) -> None:
    """In the order in which the rows stand on the screen, running trials first, and never beyond its ends."""
    assert _after(keys, tower.state).mark == mark


def test_a_mark_stays_on_its_trial_when_that_ends(tower: Any) -> None:
    """A mark that jumps to whatever is on that row now would have people read the log of another trial."""
    view = _after(["down"], tower.state)
    tower.trial(39)
    assert view.mark == Mark(trial=39)
    assert _after(["down"], tower.state, view).mark == Mark(trial=38)


@pytest.mark.parametrize(("key", "page"), [("l", Page.LOG), ("enter", Page.DETAILS), ("?", Page.HELP)])
def test_pages_are_turned_to_and_back_from(key: str, page: Page, tower: Any) -> None:
    """The same key and Esc lead back; without a mark the first trial is meant."""
    view = _after([key], tower.state)
    assert view.page is page
    assert page is Page.HELP or view.mark == Mark(trial=39)
    assert [_after([back], tower.state, view).page for back in (key, "escape")] == [Page.OVERVIEW] * 2


def test_on_a_page_about_a_trial_arrows_go_to_other_trials(tower: Any) -> None:
    """Reading one log after the other is what people do with failures."""
    view = _after(["down", "l", "up"], tower.state)
    assert (view.page, view.mark) == (Page.LOG, Mark(trial=39))
    assert _after(["down"], tower.state, view).mark == Mark(trial=40)


def test_a_marked_device_stands_for_its_trial(tower: Any) -> None:
    """People see a busy device and want to know what its trial prints."""
    view = _after(["down", "up", "up", "up", "l"], tower.state)
    box = shown_box(tower.state, view)
    assert box is not None and marked_trial(box, view) == ("svhn", 40)


def test_a_device_without_a_trial_has_no_log(tower: Any) -> None:
    """A sentence instead of a page without anything."""
    view = _after(["down", "up", "l"], tower.state)
    assert (view.page, view.note) == (Page.OVERVIEW, "There is no trial on this device.")


@pytest.mark.parametrize(
    ("state", "verb", "text"),
    [
        ("running", "pause", "Pause svhn on tower? Running trials go on to their end."),
        ("paused", "resume", "Resume svhn on tower?"),
    ],
)
def test_p_asks_before_it_orders(state: str, verb: str, text: str, tower: Any) -> None:
    """One key must not stop a night's work; what a yes does, the question says."""
    tower.study(state=state)
    asked = _after(["p"], tower.state)
    assert asked.question is not None and asked.question.text == text
    view, order = press(asked, "y", tower.state)
    assert order == Order(_TOWER, verb, {"study": "svhn"}) and view.question is None


@pytest.mark.parametrize("key", ["n", "escape", "p", "enter", "down"])
def test_only_a_yes_is_a_yes(key: str, tower: Any) -> None:
    """Whoever thinks better of it may press anything."""
    view = _after(["p", key], tower.state)
    assert (view.question, view.note) == (None, "Nothing was done.")
    assert _after(["j"], tower.state, view).note == ""


@pytest.mark.parametrize(
    ("keys", "device", "verb", "text"),
    [
        (["down"], "GPU-0", "drain", "Start no more trials on device 0 of tower? Its trial goes on to its end."),
        (["down", "up"], "GPU-3", "drain", "Start no more trials on device 3 of tower?"),
        (["down", "up", "up"], "GPU-2", "return", "Use device 2 of tower again?"),
    ],
)
def test_d_drains_the_marked_device_or_the_one_of_the_marked_trial(
    keys: list[str], device: str, verb: str, text: str, tower: Any
) -> None:
    """What is drained already, or quarantined, is returned."""
    tower.device(2, state="quarantined", reason="XID 79", study=None, trial=None)
    asked = _after([*keys, "d"], tower.state)
    assert asked.question is not None and asked.question.text == text
    assert asked.question.order == Order(_TOWER, verb, {"device": device})


@pytest.mark.parametrize(
    ("keys", "note"),
    [
        (["d"], "Mark a device, or a trial that runs on one, with the arrow keys first."),
        (["down", "page-down", "d"], "Mark a device, or a trial that runs on one, with the arrow keys first."),
        (["s"], "There is no other study on tower."),
    ],
)
def test_keys_that_can_do_nothing_say_why(keys: list[str], note: str, tower: Any) -> None:
    """A key without any answer looks like a monitor that hangs."""
    assert _after(keys, tower.state).note == note


def test_a_note_goes_after_a_while() -> None:
    """What came of an order an hour ago reads as if it were now, and hides the keys."""
    fading, view = Fading(), View(note="svhn goes on.")
    assert [bool(fading.faded(view, now).note) for now in (5.0, 14.9, 15.0, 16.0)] == [True, True, False, False]
    assert fading.faded(View(note="svhn is paused."), 17.0).note


def test_an_ended_study_is_not_paused(tower: Any) -> None:
    """The daemon would refuse it; better said at once."""
    tower.study(state="finished")
    assert _after(["p"], tower.state).note == "svhn has ended (finished); it can't be paused."


@pytest.mark.parametrize("key", ["tab", "s", "up", "enter", "l", "p", "d", "?", "escape", "x", "redraw"])
def test_any_key_is_survived_with_nothing_to_see(key: str, daemon: Any) -> None:
    """People press keys while it still connects, and on a box without anything."""
    _after([key, key], MonitorState())
    daemon.raw("availability", b"online")
    _after([key, key], daemon.state)


def test_nothing_is_done_underneath_the_help(tower: Any) -> None:
    """People read what a key does and try it, with all that it would act on out of sight."""
    tower.study("mnist")
    help_page = _after(["down", "?"], tower.state)
    for key in ("p", "d", "s", "l", "enter", "tab"):
        assert _after([key], tower.state, help_page) == help_page


def test_the_help_and_a_log_are_scrolled(tower: Any) -> None:
    """The help is longer than ten rows, and what led to a crash further up than a screen."""
    assert _after(["?", "down", "page-down", "up"], tower.state).scrolled == 10
    log = replace(_after(["down", "l"], tower.state), log=LogTail("svhn", 39, ["x"] * 50))
    assert [_after(["page-up"] * n, tower.state, log).scrolled for n in (1, 9)] == [10, 50]
    assert _after(["page-up", "page-down", "page-down"], tower.state, log).scrolled == 0
    assert _after(["page-up", "down"], tower.state, log).scrolled == 0
