"""One study in a given number of rows: what matters most is drawn whatever happens, the rest as far as it fits."""

from collections.abc import Sequence

from rich.text import Text

from cnnbo.cli.monitor.canvas import Screen, around
from cnnbo.cli.monitor.known import Box, Study
from cnnbo.cli.monitor.studies import (
    belief_lines,
    best_configuration,
    best_line,
    failure_lines,
    has_course,
    luck_lines,
    study_header,
    trace_lines,
    usage_lines,
)
from cnnbo.cli.monitor.trials import ended_rows, running_rows, trial_details
from cnnbo.cli.monitor.view import View

_TRACE, _TALL_TRACE = 4, 8  # rows of the plot: where rows are scarce, and where they aren't
_AXIS = 2
_BESIDE_TRACE = 10  # rows that the rest of a study wants before the plot grows
_TRIALS, _MORE_TRIALS = 3, 8


class _Rows:
    """Hands out rows until none is left."""

    def __init__(self, left: int | None) -> None:
        self.left = left

    def fit(self, count: int) -> bool:
        """Whether so many more rows fit; takes them if so."""
        if self.left is None:
            return True
        if count > self.left:
            return False
        self.left -= count
        return True

    def lines(self, lines: Sequence[Text]) -> list[Text]:
        """All of the lines, or none where they don't fit."""
        return list(lines) if self.fit(len(lines)) else []

    def some(self, lines: Sequence[Text], marked: int | None = None, titles: int = 0) -> list[Text]:
        """As many of the lines as fit; see `around`."""
        return self.lines(lines if self.left is None else around(lines, marked, self.left, titles))


def overview(study: Study, box: Box, screen: Screen, view: View, room: int | None) -> list[Text]:
    """A study in at most `room` rows; None = as many as it takes."""
    rows = _Rows(room)
    # In the order of their weight, and drawn in another one below.
    trial = None if view.mark is None or view.mark.trial is None else study.trials.get(view.mark.trial)
    head = rows.some([study_header(study, screen)])
    # The marked row is there in any case: keys act on it.
    ended = 1 if trial is not None and trial.is_ended else 0
    has_titles = not ended or rows.fit(2)
    if not has_titles:
        rows.fit(1)
    place = next((k for k, running in enumerate(study.running) if running is trial), None)
    has_best = place is None or rows.left is None or rows.left > 1
    best = rows.some([best_line(study, box)] if has_best else [])
    running = rows.some(running_rows(study, box, screen, view), place, titles=1)
    # What stopped a study is more than how it went.
    why = rows.lines(failure_lines(study, screen)) if study.summary.is_stopped_by_crashes else []
    if not ended and study.ended and rows.fit(2):
        ended = 1
    trace = _trace_height(study, box, room) if ended and has_titles else 0
    trace = trace if rows.fit(trace + _AXIS * bool(trace)) else 0
    usage = rows.lines(usage_lines(study, screen))
    more = min(len(study.ended), _TRIALS) - ended
    if ended and has_titles and rows.fit(more):
        ended += more
    details = rows.lines([] if trial is None else trial_details(trial, study, box, screen))
    failures = why or rows.lines(failure_lines(study, screen))
    luck = rows.lines(luck_lines(study, screen))
    beliefs = rows.lines(belief_lines(study, screen))
    configuration = rows.lines(best_configuration(study, screen))
    if ended and has_titles:
        ended = len(study.ended[: ended + _MORE_TRIALS - _TRIALS if rows.left is None else ended + rows.left])
    return [
        *head,
        *best,
        *configuration,
        *usage,
        *luck,
        *failures,
        *(trace_lines(study, screen, trace) if trace else []),
        *running,
        *(ended_rows(study, box, screen, view, ended)[not has_titles :] if ended else []),
        *details,
        *beliefs,
    ]


def _trace_height(study: Study, box: Box, room: int | None) -> int:
    """Rows of the plot, 0 for none: by what doesn't change when a trial starts or ends, so that it stays as it is."""
    if not has_course(study):
        return 0
    if room is None:
        return _TALL_TRACE
    may_run = sum(device.state in ("busy", "idle") for device in box.devices.values()) + 1
    head, one_ended = 2, 2
    left = room - head - (0 if study.summary.is_over else may_run) - one_ended
    height = min(_TALL_TRACE, max(_TRACE, left - _AXIS - _BESIDE_TRACE))
    return height if left >= height + _AXIS else 0
