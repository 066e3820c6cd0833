"""The monitor's screen: from `MonitorState` to lines of text, for any size and with or without Unicode.

A screen is a list of lines, none wider than asked for, so that it can be counted, cut and compared in tests. Colour
only repeats what the words say.
"""

from rich.text import Text

from cnnbo.cli.monitor.boxes import (
    box_header,
    box_name,
    boxes_header,
    boxes_table,
    by_its_clock,
    frozen,
    outages,
    silence,
    trouble_line,
)
from cnnbo.cli.monitor.canvas import Screen, around, fitted
from cnnbo.cli.monitor.devices import device_rows
from cnnbo.cli.monitor.footer import footer, help_lines
from cnnbo.cli.monitor.known import Box, Study, sorted_devices
from cnnbo.cli.monitor.logs import log_lines
from cnnbo.cli.monitor.overview import overview
from cnnbo.cli.monitor.state import MonitorState
from cnnbo.cli.monitor.studies import study_header
from cnnbo.cli.monitor.trials import trial_details
from cnnbo.cli.monitor.view import Mark, Page, View, marked_trial, shown_box, shown_study, told_studies

_STUDY_ROWS = 18
"""So many rows a study gets, if it has so many, before other studies and boxes are shown whole."""

_MARKED_ROWS = 2
"""What a marked trial needs: the line of its study and its own."""

_OTHERS = 4
"""Of the other studies of a box so many are listed."""


def render(state: MonitorState, screen: Screen, view: View | None = None) -> list[Text]:
    """The whole screen, with as much detail as fits its height; never empty without saying why.

    Args:
        state: what is known.
        screen: what it is made for; of unlimited height it shows all boxes whole, and no keys.
        view: what the viewer chose to see.
    """
    view = view or View()
    if screen.height is None:
        return [fitted(line, screen) for line in _everything(state, screen)]
    box = shown_box(state, view)
    last = [*screen.rules(), *footer(view, box, len(state.boxes), screen)]
    room = max(0, screen.height - len(last))
    lines = _page(state, box, view, screen, room)[:room]
    lines += [Text("")] * (room - len(lines))  # the keys stay where they are
    return [fitted(line, screen) for line in [*lines, *last][-screen.height :]]


def _everything(state: MonitorState, screen: Screen) -> list[Text]:
    """All boxes, one below the other."""
    lines = outages(state)
    for key in sorted(state.boxes):
        box = state.boxes[key]
        still = frozen(box, state, screen)
        lines += [box_header(box, state, screen, "cnnbo watch   "), *trouble_line(box, state, screen), screen.rule()]
        lines += [*device_rows(box, by_its_clock(box, screen)), screen.rule()]
        lines += _all_studies(box, still)
    return lines if state.boxes else [*lines, *silence(state, screen)]


def _all_studies(box: Box, screen: Screen) -> list[Text]:
    studies = told_studies(box)
    lines: list[Text] = [] if studies else [_no_study(box)]
    for number, study in enumerate(studies):
        # What has ended takes one line as long as something else is going on.
        if number and study.summary.is_over:
            lines.append(study_header(study, screen))
        else:
            lines += [*overview(study, box, screen, View(), None), screen.rule()]
    return lines


def _no_study(box: Box) -> Text:
    return Text(f" No study on {box.node}. Start one: cnnbo run study.toml", "bold")


def _page(state: MonitorState, box: Box | None, view: View, screen: Screen, room: int) -> list[Text]:
    lines = outages(state)
    if view.page is Page.HELP:
        whole = help_lines(screen)
        return [*lines, *whole[min(view.scrolled, max(0, len(whole) + len(lines) - room)) :]]
    if box is None:
        return [*lines, *silence(state, screen)]
    lines += _boxes(state, box, view, screen, room - len(lines))
    still = frozen(box, state, screen)
    return [*lines, *_below(box, view, still, room - len(lines))]


def _boxes(state: MonitorState, marked: Box, view: View, screen: Screen, room: int) -> list[Text]:
    """The devices of all boxes where there is room, else of the marked one, the others as one line each."""
    if len(state.boxes) == 1:
        return _box(state, marked, screen, view, room, "cnnbo watch   ")
    whole = [boxes_header(state, screen), *screen.rules()]
    for key in sorted(state.boxes):
        box = state.boxes[key]
        whole += _box(state, box, screen, view if box is marked else None, None, "", box is marked)
        # For the marked one too, whose study stands below: nothing moves when another box is marked.
        whole += _short_studies(box, frozen(box, state, screen))
    if len(whole) + _study_rows(marked, view, frozen(marked, state, screen), room - len(whole)) <= room:
        return [*whole[:-1], *screen.rules(box_name(marked, state))]
    count = max(1, min(len(state.boxes), room // 3))
    head = [boxes_header(state, screen), *boxes_table(state, screen, marked, count), *screen.rules()]
    return [*head, *_box(state, marked, screen, view, room - len(head), "")]


def _study_rows(box: Box, view: View, screen: Screen, room: int) -> int:
    """So many rows the marked box's study gets; drawn to be counted only where `room` for it is scarce."""
    study = shown_study(box, view)
    if study is None:
        return 1
    if view.page is not Page.OVERVIEW or not 0 < room < _STUDY_ROWS:
        return _STUDY_ROWS
    return min(_STUDY_ROWS, len(overview(study, box, screen, view, None)))


def _short_studies(box: Box, screen: Screen) -> list[Text]:
    """A line for each study that isn't over, else for the newest one."""
    studies = told_studies(box)
    shown = [study for study in studies if not study.summary.is_over] or studies[:1]
    return [*([study_header(study, screen) for study in shown[:_OTHERS]] or [_no_study(box)]), screen.rule()]


def _box(
    state: MonitorState,
    box: Box,
    screen: Screen,
    view: View | None,
    room: int | None,
    title: str,
    is_marked: bool = False,
) -> list[Text]:
    head = [box_header(box, state, screen, title, is_marked), *trouble_line(box, state, screen)]
    head += screen.rules() if title else []
    rows = device_rows(box, by_its_clock(box, screen), view)
    mark = None if view is None else view.mark
    if room is not None:
        place = next((k for k, device in enumerate(sorted_devices(box)) if mark == Mark(device.uuid)), None)
        for_trial = _MARKED_ROWS if mark is not None and mark.trial is not None else 0
        rows = around(rows, place, room - len(head) - for_trial, titles=not screen.is_low)
    return [*head, *rows, *screen.rules()]


def _below(box: Box, view: View, screen: Screen, room: int) -> list[Text]:
    """What the marked box's page shows under the devices."""
    study, marked = shown_study(box, view), marked_trial(box, view)
    if marked is not None and view.page is not Page.OVERVIEW:
        of = box.studies.get(marked[0])
        trial = None if of is None else of.trials.get(marked[1])
        if of is not None and trial is not None:
            details = trial_details(trial, of, box, screen)
            log = view.log if view.log is not None and (view.log.study, view.log.trial) == marked else None
            return details if view.page is Page.DETAILS else log_lines(log, details, screen, room, view.scrolled)
    if study is None:
        return [_no_study(box)]
    return _overview(study, box, view, screen, room)


def _overview(study: Study, box: Box, view: View, screen: Screen, room: int) -> list[Text]:
    """The shown study, and a line for each of the others."""
    others = [study_header(other, screen) for other in told_studies(box) if other is not study]
    if not others:
        return overview(study, box, screen, view, room)
    rules = screen.rules()
    wanted = _study_rows(box, view, screen, room - len(rules) - min(_OTHERS + 1, len(others)))
    count = min(_OTHERS + 1, max(0, room - wanted - len(rules)))
    if len(others) > count > 0:
        others[count - 1 :] = [Text(f" and {len(others) - count + 1} more (s)", "dim")]
    others = others[:count]
    rules = rules if others else []
    return [*overview(study, box, screen, view, room - len(others) - len(rules)), *rules, *others]
