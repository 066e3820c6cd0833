"""What a viewer has chosen to see, and what keys make of it: pure, without terminal or network."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

from cnnbo.cli.monitor.known import Box, BoxKey, Study, sorted_devices, sorted_studies
from cnnbo.cli.monitor.objects import Device
from cnnbo.cli.monitor.state import MonitorState


class Page(StrEnum):
    """What the screen shows below the devices."""

    OVERVIEW = "overview"
    DETAILS = "details"  # of the marked trial
    LOG = "log"
    HELP = "help"


@dataclass(frozen=True, slots=True)
class Mark:
    """The row that keys are about: a device by its id, or a trial of the shown study by its number."""

    device: str | None = None
    trial: int | None = None


@dataclass(frozen=True, slots=True)
class Order:
    """Something to be done by a box: a verb of the daemon's requests with its arguments."""

    box: BoxKey
    verb: str
    args: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Question:
    """An order that waits for a yes."""

    text: str
    order: Order


@dataclass(frozen=True, slots=True)
class LogTail:
    """The end of a trial's log, oldest line first; or in one sentence why there is none."""

    study: str
    trial: int
    lines: Sequence[str] = ()
    excuse: str = ""


@dataclass(frozen=True, slots=True)
class View:
    """What is shown; None stands for the first one there is.

    Attributes:
        scrolled: rows of the log from its end, or of the help from its beginning.
        note: a sentence for the last row, until the next key or for some seconds.
    """

    box: BoxKey | None = None
    study: str | None = None
    mark: Mark | None = None
    page: Page = Page.OVERVIEW
    question: Question | None = None
    note: str = ""
    log: LogTail | None = None
    scrolled: int = 0


def shown_box(state: MonitorState, view: View) -> Box | None:
    """The marked box, else the first one."""
    key = view.box if view.box in state.boxes else min(state.boxes, default=None)
    return None if key is None else state.boxes[key]


def told_studies(box: Box) -> list[Study]:
    """Studies whose own topic was heard, in their order on the screen."""
    return [study for study in sorted_studies(box) if study.is_told]


def shown_study(box: Box, view: View) -> Study | None:
    """The chosen study of a box, else the first one."""
    studies = told_studies(box)
    return next((study for study in studies if study.name == view.study), studies[0] if studies else None)


def marked_trial(box: Box, view: View) -> tuple[str, int] | None:
    """Study and number of the marked trial, or of the one on the marked device."""
    if view.mark is None:
        return None
    if view.mark.trial is not None:
        study = shown_study(box, view)
        return None if study is None or view.mark.trial not in study.trials else (study.name, view.mark.trial)
    device = box.devices.get(view.mark.device or "")
    if device is None or device.study is None or device.trial is None:
        return None
    return device.study, device.trial


def press(view: View, key: str, state: MonitorState) -> tuple[View, Order | None]:
    """What a key makes of the view, and what is to be done.

    Args:
        view: before.
        key: a character, or a name of `keys.Keyboard`.
        state: what is known.
    """
    question = view.question
    view = replace(view, note="", question=None)
    if question is not None:
        return (view, question.order) if key in ("y", "Y") else (replace(view, note="Nothing was done."), None)
    box = shown_box(state, view)
    return _pressed(view, key, state, box), None


def _pressed(view: View, key: str, state: MonitorState, box: Box | None) -> View:
    if key in _STEPS and (view.page is Page.HELP or (view.page is Page.LOG and key.startswith("page"))):
        return _scrolled(view, key)
    if view.page is Page.HELP and key not in ("?", "h", "escape"):
        return view  # nothing is done to what can't be seen
    match key:
        case "?" | "h":
            return _turned(view, Page.HELP)
        case "escape" if view.page is not Page.OVERVIEW:
            return replace(view, page=Page.OVERVIEW, scrolled=0)
        case "escape":
            return replace(view, mark=None)
        case "tab" | "shift-tab" if box is not None:
            return View(box=_next(sorted(state.boxes), box.key, key))
        case "s" if box is not None:
            return _next_study(view, box)
        case "up" | "down" | "page-up" | "page-down" | "k" | "j" if box is not None:
            return replace(view, mark=_moved(view, key, box), scrolled=0)
        case "enter" | "l" if box is not None:
            return _about_trial(view, Page.LOG if key == "l" else Page.DETAILS, box)
        case "p" if box is not None:
            return _pause(view, box)
        case "d" if box is not None:
            return _drain(view, box)
        case _:
            return view


def _turned(view: View, page: Page) -> View:
    """To a page, or back from it."""
    return replace(view, page=Page.OVERVIEW if view.page is page else page, scrolled=0)


def _scrolled(view: View, key: str) -> View:
    """A log is read from its end, the help from its beginning."""
    step = _STEPS[key] if view.page is Page.HELP else -_STEPS[key]
    most = _HELP_ROWS
    if view.page is Page.LOG:
        most = 0 if view.log is None else sum(1 + len(line) // _LOG_COLUMNS for line in view.log.lines)
    return replace(view, scrolled=min(most, max(0, view.scrolled + step)))


def _next(keys: Sequence[BoxKey], key: BoxKey, pressed: str) -> BoxKey:
    step = 1 if pressed == "tab" else -1
    return keys[(keys.index(key) + step) % len(keys)]


def _next_study(view: View, box: Box) -> View:
    studies, shown = told_studies(box), shown_study(box, view)
    if shown is None or len(studies) < 2:
        return replace(view, note=f"There is no other study on {box.node}.")
    following = studies[(studies.index(shown) + 1) % len(studies)]
    return View(box=view.box, study=following.name)


def _rows(view: View, box: Box) -> list[Mark]:
    """What can be marked, as it stands on the screen from top to bottom."""
    study = shown_study(box, view)
    trials = [] if study is None else [Mark(trial=trial.id) for trial in (*study.running, *study.ended)]
    if view.page is not Page.OVERVIEW:
        return trials
    return [*(Mark(device=device.uuid) for device in sorted_devices(box)), *trials]


_HELP_ROWS = 40  # more than there are
_LOG_COLUMNS = 60  # that a line of a log has at least, before it goes on in the next row
_STEPS = {"up": -1, "k": -1, "down": 1, "j": 1, "page-up": -10, "page-down": 10}


def _moved(view: View, key: str, box: Box) -> Mark | None:
    """The mark after a key; the first one marks the first trial, from where devices are reached upwards."""
    rows = _rows(view, box)
    if not rows:
        return None
    if view.mark not in rows:
        return next((row for row in rows if row.trial is not None), rows[0])
    return rows[min(len(rows) - 1, max(0, rows.index(view.mark) + _STEPS[key]))]


def _about_trial(view: View, page: Page, box: Box) -> View:
    """Turn to a page about the marked trial, or the first one where nothing is marked; or back from it."""
    if view.page is page:
        return _turned(view, page)
    about = marked_trial(box, view)
    if about is None and view.mark is not None:
        return replace(view, note="There is no trial on this device.")
    if about is None:
        study = shown_study(box, view)
        trials = [] if study is None else [*study.running, *study.ended]
        if study is None or not trials:
            return replace(view, note="There is no trial yet.")
        about = study.name, trials[0].id
    return replace(view, page=page, study=about[0], mark=Mark(trial=about[1]), log=None, scrolled=0)


def _pause(view: View, box: Box) -> View:
    study = shown_study(box, view)
    if study is None:
        return replace(view, note=f"There is no study on {box.node}.")
    if study.summary.is_over:
        return replace(view, note=f"{study.name} has ended ({study.summary.state}); it can't be paused.")
    if study.summary.state == "paused":
        text, verb = f"Resume {study.name} on {box.node}?", "resume"
        if study.summary.is_stopped_by_crashes:
            text += f" It goes on without what crashed: cnnbo retry {study.name} --crashed runs that again."
    else:
        text, verb = f"Pause {study.name} on {box.node}? Running trials go on to their end.", "pause"
    return replace(view, question=Question(text, Order(box.key, verb, {"study": study.name})))


def _drain(view: View, box: Box) -> View:
    device = _marked_device(view, box)
    if device is None:
        return replace(view, note="Mark a device, or a trial that runs on one, with the arrow keys first.")
    if device.state in ("drained", "quarantined"):
        text, verb = f"Use device {device.label} of {box.node} again?", "return"
    else:
        rest = " Its trial goes on to its end." if device.trial is not None else ""
        text, verb = f"Start no more trials on device {device.label} of {box.node}?{rest}", "drain"
    return replace(view, question=Question(text, Order(box.key, verb, {"device": device.uuid})))


def _marked_device(view: View, box: Box) -> Device | None:
    """The marked device, or the one on which the marked trial runs."""
    if view.mark is None or view.mark.trial is None:
        return None if view.mark is None else box.devices.get(view.mark.device or "")
    study = shown_study(box, view)
    trial = None if study is None else study.trials.get(view.mark.trial)
    return None if trial is None or trial.is_ended else box.devices.get(trial.device or "")
