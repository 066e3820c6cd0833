"""The monitor's screen in the sizes and states that people meet, as pictures."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
from tests.unit.cli.monitor.conftest import BROKER, NOW, rfc3339
from tests.unit.cli.monitor.pictures import compare, picture

from cnnbo.cli.monitor.canvas import ASCII
from cnnbo.cli.monitor.view import LogTail, Mark, Order, Page, Question, View, press

_MARKED = View(mark=Mark(trial=37))
_LOG = LogTail("svhn", 39, [f"step {100 * k} loss {1 / k:.4f}" for k in range(1, 40)])


@pytest.fixture
def boxes(tower: Any, new_daemon: Callable[..., Any]) -> Any:
    """Three boxes: one with devices in every state, one that died, and the tower; returns the tower's daemon."""
    attic = new_daemon(node="attic")
    attic.raw("availability", b"online")
    for index in range(5):
        attic.device(index, study="mnist", trial=5 + index, phase="training")
    free = {"study": None, "trial": None}
    attic.device(5, state="idle", reason="trials start from 20:00-08:00 only", **free)
    attic.device(6, state="drained", reason="drained by bob", since=rfc3339(NOW - 90_000), **free)
    attic.device(
        7, state="quarantined", reason="the GPU has fallen off the bus (XID 79)", since=rfc3339(NOW - 900), **free
    )
    attic.study("mnist", owner="bob", failures={}, failed=0, best_trial=None, best=None, finished=0, eta_s=None)
    cellar = new_daemon(node="cellar", now=NOW - 400)
    cellar.raw("availability", b"offline")
    for index in range(2):
        cellar.device(index)
    cellar.study("svhn")
    return tower


@pytest.mark.parametrize(("width", "height"), [(80, 24), (100, 40), (160, 50), (100, 75)])
def test_three_boxes(width: int, height: int, boxes: Any) -> None:
    """Where rows are scarce the marked box is whole and the others are a line each; the higher, the more of them."""
    view = View(box=(BROKER, "attic"))
    compare(f"three_boxes_{width}x{height}", picture(boxes.state, boxes.now, width, height, view=view))


def test_no_row_stays_blank_while_a_study_is_not_shown(daemon: Any) -> None:
    """People look for the study they started, and find the screen half empty."""
    daemon.raw("availability", b"online")
    daemon.device(0)
    for name in "abcdefgh":
        daemon.study(name)
    shown = picture(daemon.state, daemon.now, 80, 24)
    assert [f"STUDY {name} " in shown for name in "abcdefgh"] == [True] * 5 + [False] * 3
    assert "and 3 more (s)" in shown


def test_a_box_in_the_table_says_why_it_doesnt_train(tower: Any, new_daemon: Callable[..., Any]) -> None:
    """That none of three devices trains worries people, unless they read that somebody holds them."""
    attic = new_daemon(node="attic")
    attic.raw("availability", b"online")
    for index, state in enumerate(("foreign", "foreign", "drained")):
        attic.device(index, state=state, study=None, trial=None)
    assert "0 of 3 training, 2 held, 1 drained" in picture(tower.state, tower.now, 80, 12)
    attic.raw("availability", b"offline")
    shown = picture(tower.state, tower.now, 80, 12)
    assert "▸attic     3 devices " in shown and "0 of 3" not in shown


def test_boxes_of_the_same_name_are_told_apart(tower: Any) -> None:
    """Two labs may both have a box called tower."""
    tower.state.apply("cnnbo/v1/tower/availability", b"online", NOW, "mqtt://lab-2.lan:1883")
    tower.state.brokers["mqtt://lab-2.lan:1883"] = None
    shown = picture(tower.state, tower.now, 80, 12)
    assert "▸tower at 127.0.0.1:1883" in shown and " tower at lab-2.lan:1883" in shown


def test_many_boxes_dont_push_the_marked_one_out(new_daemon: Callable[..., Any], tower: Any) -> None:
    """A lab has more boxes than a laptop has rows."""
    for number in range(30):
        new_daemon(node=f"box-{number:02d}").raw("availability", b"online")
    shown = picture(tower.state, tower.now, 80, 30, view=View(box=(BROKER, "tower")))
    assert "and 22 boxes more" in shown and "svhn #39" in shown and "STUDY svhn" in shown
    assert [line for line in shown.splitlines() if line.startswith("▸tower")]


@pytest.mark.parametrize(("width", "height"), [(60, 24), (80, 10), (80, 24), (100, 30), (100, 60)])
def test_one_box(width: int, height: int, tower: Any) -> None:
    """From a phone's SSH client to a wall screen."""
    compare(f"one_box_{width}x{height}", picture(tower.state, tower.now, width, height))


_VIEWS: Mapping[str, View] = {
    "marked": _MARKED,
    "details": replace(_MARKED, page=Page.DETAILS),
    "log": View(mark=Mark(trial=39), page=Page.LOG, log=_LOG),
    "help": View(page=Page.HELP),
    "question": View(question=Question("Pause svhn on tower?", Order((BROKER, "tower"), "pause"))),
    "note": View(note="svhn is paused; 3 trials go on to the end."),
}


@pytest.mark.parametrize("is_over", [False, True])
def test_trials_at_chance(tower: Any, is_over: bool) -> None:
    """They are neither failures nor anything to be glad of; where there is nothing else, that is said with a remedy."""
    for number in range(1, 39):
        if number not in (17, 35, 37):
            tower.trial(number, value=0.1 + number / 1000, chance=0.2, at_chance=True)
    tower.study(at_chance=35)
    if is_over:
        tower.trial(35, value=0.19, chance=0.2, at_chance=True)
        tower.study(
            **{"at_chance": 36, "state": "finished", "reason": "budget", "running": 0, "eta_s": 0.0, "insight": None},
            best={"trial": 35, "value": 0.19, "configuration": {"learning_rate": 0.5}},
            advice="no trial is better than chance: look first at the range of learning_rate",
        )
        for number in (39, 40, 41):
            tower.trial(number, state="cancelled", value=None)
    name = "only_chance" if is_over else "mostly_chance"
    compare(name, picture(tower.state, tower.now, 80, 40))


@pytest.mark.parametrize("name", _VIEWS)
def test_a_page(name: str, tower: Any) -> None:
    """What keys lead to."""
    tower.trial(37, state="failed", value=None, failure="diverged", message="Loss was NaN at step 212.", energy_j=5_400)
    compare(f"page_{name}", picture(tower.state, tower.now, 80, 40, view=_VIEWS[name]))


def test_the_help_can_be_read_in_ten_rows(tower: Any) -> None:
    """All of it, by scrolling."""
    pages = [picture(tower.state, tower.now, 60, 10, view=View(page=Page.HELP, scrolled=n)) for n in range(41)]
    assert "q, Ctrl-C" not in pages[0]
    assert any("q, Ctrl-C" in page for page in pages) and "the figures of a device" in pages[40]


def test_a_log_is_wrapped_and_scrolled(tower: Any) -> None:
    """The end of a traceback's line says what was wrong, and its beginning stands further up."""
    log = LogTail("svhn", 39, ["first", *("x" * 99 for _ in range(40)), "last"])
    view = View(mark=Mark(trial=39), page=Page.LOG, log=log)
    lines = picture(tower.state, tower.now, 80, 24, view=view).splitlines()
    assert lines[-3:-2] == [" last"] and " " + "x" * 20 in lines
    up = picture(tower.state, tower.now, 80, 24, view=replace(view, scrolled=1000))
    assert " first\n" in up and "rows below: Page Down" in up and "last" not in up


def test_a_long_refusal_is_shown_to_its_end(tower: Any) -> None:
    """What is to be done stands at the end of such sentences."""
    note = "attic takes no orders over MQTT; set mqtt.requests = true there and restart its daemon. " * 2
    lines = picture(tower.state, tower.now, 80, 24, view=View(note=note)).splitlines()
    assert len(lines) == 24
    assert " ".join(lines[-3:]).split() == note.split()


def test_the_keys_without_unicode(tower: Any) -> None:
    """A terminal without arrows has arrow keys all the same."""
    view = replace(_MARKED, page=Page.HELP)
    assert picture(tower.state, tower.now, 80, 24, ASCII, view).isascii()
    assert "up/down mark" in picture(tower.state, tower.now, 100, 24, ASCII, _MARKED)


def test_a_box_that_says_nothing_is_said_to_be_silent(tower: Any) -> None:
    """A daemon that hangs keeps its connection for a while; its figures are old all the same."""
    at_rest = picture(tower.state, tower.now + 29)
    assert "silent" not in at_rest and "age" not in at_rest
    silent = picture(tower.state, tower.now + 31)
    assert "tower: silent. Last values below, from 14:36:07, 31s old." in silent
    assert "daemon up" in at_rest and "daemon up" not in silent
    assert [" 31s  svhn #39 " in line for line in silent.splitlines() if "svhn #39" in line] == [True]


def test_a_box_of_which_all_was_kept_is_silent_at_once(new_daemon: Callable[..., Any]) -> None:
    """The last words of a daemon that died with its broker stay there for weeks; they are no news."""
    daemon = new_daemon(now=NOW - 31)
    daemon.is_kept = True
    daemon.raw("availability", b"online")
    daemon.device(0)
    daemon.study()
    assert "tower: silent. Last values below, from 14:35:36, 31s old." in picture(daemon.state, NOW)


@pytest.mark.parametrize("slow_s", [-600.0, 600.0])
def test_a_box_with_a_wrong_clock_is_not_taken_for_silent(slow_s: float, tower: Any) -> None:
    """Boxes without a time server are minutes off, and all of their times are by their own clock."""
    fresh = picture(tower.state, tower.now)
    tower.slow_s = slow_s
    tower.device(0)
    assert picture(tower.state, tower.now + slow_s).splitlines()[1:] == fresh.splitlines()[1:]
    assert "tower: silent. Last values below" in picture(tower.state, tower.now + slow_s + 31)


def test_a_box_without_a_running_study_may_be_silent_for_longer(tower: Any) -> None:
    """Idle devices are read every half minute only, so that nothing wakes them."""
    tower.study(state="finished")
    assert "tower: silent" not in picture(tower.state, tower.now + 89)
    assert "tower: silent" in picture(tower.state, tower.now + 91)


@pytest.mark.parametrize(
    ("study", "reason"),
    [
        ({"state": "running"}, "idle: waits for its next trial"),
        ({"state": "paused"}, "idle: svhn is paused"),
        ({"state": "finished"}, "idle: no study runs"),
    ],
)
def test_an_idle_device_says_why(study: dict[str, str], reason: str, daemon: Any) -> None:
    """An idle device costs as much as a busy one."""
    daemon.raw("availability", b"online")
    daemon.device(0, state="idle", study=None, trial=None)
    daemon.study(**study)
    assert reason in picture(daemon.state, daemon.now)


@pytest.mark.parametrize(
    ("states", "reason"),
    [
        (["foreign", "foreign"], "waits for a device: both are held"),
        (["drained"], "waits for a device: it is drained"),
        (["foreign", "drained", "quarantined"], "waits for a device: 1 held, 1 drained, 1 quarantined"),
        (["foreign", "idle"], "no trial has finished yet"),
    ],
)
def test_a_study_that_gets_no_device_says_so(states: Sequence[str], reason: str, daemon: Any) -> None:
    """That no trial has finished yet is no reason when none can start."""
    daemon.raw("availability", b"online")
    for index, state in enumerate(states):
        daemon.device(index, state=state, study=None, trial=None)
    daemon.study(best=None, finished=0, running=0, failed=0, failures={})
    assert f"best    none: {reason}\n" in picture(daemon.state, daemon.now).replace(" \n", "\n")


def test_a_study_stopped_by_crashes_says_why_and_what_to_do(tower: Any) -> None:
    """People come back in the morning to a study that stands still; resuming it would only crash again."""
    tower.study(state="paused", reason="crashes", running=0, failures={"crashed": 3})
    for number in (36, 37, 38):
        tower.trial(number, state="failed", value=None, failure="crashed", message=f"ImportError {number}")
    for number in (39, 40, 41):
        tower.trial(number, state="cancelled")
    shown = picture(tower.state, tower.now, 80, 24)
    assert "         #38: ImportError 38\n" in shown.replace(" \n", "\n")
    assert "cnnbo retry svhn --crashed" in shown
    assert "p resume" not in shown
    assert "p resume" not in picture(tower.state, tower.now, 120, 40)
    view, _ = press(View(), "p", tower.state)
    assert view.question is not None and "cnnbo retry svhn --crashed" in view.question.text


def test_what_crashed_with_its_study_is_counted_apart(tower: Any) -> None:
    """One that crashed in another way meanwhile is a failure, and not the reason."""
    tower.study(state="paused", reason="crashes", running=0, failed=4, failures={"crashed": 4}, undecided=[35, 36, 37])
    for number in (35, 36, 37, 38):
        message = "KeyError" if number == 38 else f"ImportError {number}"
        tower.trial(number, state="failed", value=None, failure="crashed", message=message)
    shown = picture(tower.state, tower.now, 100, 40)
    assert "  1 failed  3 undecided" in shown
    lines = [line.strip() for line in shown.splitlines()]
    assert lines[lines.index("failed  1 crashed") + 1] == "#37: ImportError 37"


def test_the_limit_of_a_box_is_told(tower: Any) -> None:
    """Devices that idle for a limit nobody remembers look like a scheduler that hangs."""
    tower.say("info", {"limit": 2})
    assert " 4 devices: 3 training · 1 held, at most 2 used" in picture(tower.state, tower.now)
    tower.say("info", {"limit": None})
    assert "at most" not in picture(tower.state, tower.now)


def test_a_name_gives_way_to_a_reason(daemon: Any) -> None:
    """Of three equal slots the name says nothing, and the end of a reason what to do."""
    daemon.raw("availability", b"online")
    reason = "the disk of the state folder is full; free 1.2 GiB on /srv/state"
    free = {"reason": reason, "name": "CPU slot", "study": None, "trial": None}
    daemon.say("device/cpu-0", {"index": 0, "state": "idle", **free})
    assert f"idle: {reason}" in picture(daemon.state, daemon.now, 80)
    assert "CPU slot" not in picture(daemon.state, daemon.now, 80)
    assert "CPU slot" in picture(daemon.state, daemon.now, 100)


def test_columns_of_running_trials_stay(tower: Any) -> None:
    """Each trial begins without any figure, and everything would jump whenever one does."""

    def titles() -> str:
        return next(x for x in picture(tower.state, tower.now).splitlines() if "progress" in x)

    before = titles()
    for number in (39, 40):
        tower.trial(number, state="cancelled")
    assert titles() == before


def test_what_a_script_doesnt_tell_is_blank(tower: Any) -> None:
    """A dash in each row of two columns would be of no use to anybody."""
    tower.study("quiet")
    tower.trial(1, study="quiet", state="running", value=None, duration_s=None)
    tower.say("study/quiet/trial/1/progress", {"trial": 1, "metrics": {"loss": 0.5}})
    shown = picture(tower.state, tower.now, 100, 40, view=View(study="quiet"))
    titles, row = shown[shown.index("progress") - 20 :].splitlines()[0:2]
    assert "rate" not in titles and "left" not in titles and " - " not in row


def test_a_metric_to_be_minimised_is_marked(tower: Any) -> None:
    """A best value above the others looks like a mistake to whoever doesn't know."""
    assert "better" not in picture(tower.state, tower.now)
    tower.study(direction="minimize", metric="val_loss")
    assert " val_loss (lower is better)" in picture(tower.state, tower.now)


def test_a_script_that_tells_no_progress_shows_its_phase(tower: Any) -> None:
    """Most scripts know nothing of us; what the daemon knows is shown, and nothing made up."""
    tower.device(2, trial=41, phase="training")
    (line,) = (line for line in picture(tower.state, tower.now).splitlines() if line.startswith("   41"))
    assert line.split() == ["41", "2", "training", "1:39"]


@pytest.mark.parametrize(
    ("study", "end"),
    [
        ({}, "about 37 min left, 15:13"),
        ({"eta_s": None}, ""),
        ({"spent_wall_clock_s": 28_000.0}, "13 min left, 14:49 (time used up)"),
        ({"cost": 80.0, "spent_s": 2400.0}, "10 min left, 14:46 (cost used up)"),
        ({"eta_s": 90_000.0, "spent_wall_clock_s": None, "cost": None}, "about 1d 01h left, Tue 15:36"),
        ({"state": "paused"}, ""),
        ({"state": "finished"}, "took 34 min"),
    ],
)
def test_the_end_is_forecast(study: dict[str, Any], end: str, tower: Any) -> None:
    """Whichever limit comes first ends the study, and its end is a time of day: people plan by the clock."""
    tower.study(**study)
    (line,) = (line for line in picture(tower.state, tower.now).splitlines() if line.startswith(" STUDY"))
    assert line.rstrip().endswith(f"  {end}" if end else "2 failed")


def test_a_forecast_runs_with_the_clock(tower: Any) -> None:
    """A study's topic is told when something happens, which may be an hour ago."""
    assert "about 7 min left, 15:13" in picture(tower.state, tower.now + 1800)


@pytest.mark.parametrize("width", [80, 100])
def test_two_devices_leave_room_for_the_plot(width: int, new_daemon: Callable[..., Any]) -> None:
    """The usual terminal has 24 rows; the plot stays as it is whatever starts and ends beside it."""
    daemon = new_daemon()
    daemon.raw("availability", b"online")
    for index in range(2):
        daemon.device(index)
    daemon.study()
    for number in range(1, 39):
        daemon.trial(number)
    plots = set()
    for running in ((39, 40), (39,), (), (41, 42)):
        for number in range(39, 43):
            daemon.trial(number, state="running" if number in running else "pending", value=None)
        shown = picture(daemon.state, daemon.now, width, 24)
        plots.add(sum("┤" in line for line in shown.splitlines()))
        assert " used " in shown and " state " in shown
    assert plots == {4}


@pytest.mark.parametrize(("width", "height"), [(60, 10), (80, 24)])
def test_the_marked_row_is_always_shown(width: int, height: int, boxes: Any) -> None:
    """Keys act on it, and what people can't see they drain by mistake."""
    for box in ((BROKER, "attic"), (BROKER, "tower")):
        view = View(box=box, mark=Mark(device="GPU-0"))
        seen = set()
        for _ in range(20):
            lines = picture(boxes.state, boxes.now, width, height, view=view).splitlines()
            marked = [line for line in lines if line.startswith("▸") and not line[1:].startswith(box[1])]
            assert len(marked) == 1, "\n".join(lines)
            seen.add(marked[0])
            view, _ = press(view, "down", boxes.state)
        assert len(seen) > 7


@pytest.mark.parametrize(
    ("marked", "shown"), [(None, [38, 37, 35]), (36, [38, 37, 36]), (30, [32, 31, 30]), (1, [3, 2, 1])]
)
def test_the_table_follows_the_mark(marked: int | None, shown: Sequence[int], tower: Any) -> None:
    """Any trial can be reached, and where nothing is marked the best one is among them."""
    lines = picture(tower.state, tower.now, 80, 28, view=View(mark=Mark(trial=marked))).splitlines()
    first = next(k for k, line in enumerate(lines) if " state " in line)
    assert [int(line.lstrip(" ▸").split()[0]) for line in lines[first + 1 : first + 4]] == shown
