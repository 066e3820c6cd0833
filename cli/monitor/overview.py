"""One study in a given number of rows: what matters most is drawn whatever happens, the rest as far as it fits."""

from collections.abc import Sequence

from rich.text import Text

from cnnbo.cli.monitor.canvas import Screen
from cnnbo.cli.monitor.known import Box, Study
from cnnbo.cli.monitor.studies import (
    belief_lines,
    best_configuration,
    best_line,
    failure_lines,
    has_course,
    study_header,
    trace_lines,
    usage_lines,
)
from cnnbo.cli.monitor.trials import ended_rows, running_rows, trial_details
from cnnbo.cli.monitor.view import View

_TRACE, _TALL_TRACE = 5, 8  # rows of the plot: where rows are scarce, and where they aren't
_AXIS = 2
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

    def some(self, lines: Sequence[Text]) -> list[Text]:
        """As many of the lines as fit."""
        shown = lines if self.left is None else lines[: max(0, self.left)]
        return self.lines(shown)


def overview(study: Study, box: Box, screen: Screen, view: View, room: int | None) -> list[Text]:
    """A study in at most `room` rows; None = as many as it takes."""
    rows = _Rows(room)
    # In the order of their weight, and drawn in another one below.
    head = rows.some([study_header(study, screen)])
    best = rows.some([best_line(study)])
    running = rows.some(running_rows(study, box, screen, view))
    ended = min(len(study.ended), _TRIALS)
    ended = ended if ended and rows.fit(ended + 1) else 0
    usage = rows.lines(usage_lines(study, screen))
    trace = _TRACE if has_course(study) and rows.fit(_TRACE + _AXIS) else 0
    trial = None if view.mark is None or view.mark.trial is None else study.trials.get(view.mark.trial)
    details = rows.lines([] if trial is None else trial_details(trial, study, box, screen))
    failures = rows.lines(failure_lines(study, screen))
    beliefs = rows.lines(belief_lines(study, screen))
    configuration = rows.lines(best_configuration(study, screen))
    if trace and rows.fit(_TALL_TRACE - _TRACE):
        trace = _TALL_TRACE
    if ended:
        ended = len(study.ended[: ended + _MORE_TRIALS - _TRIALS if rows.left is None else ended + rows.left])
    return [
        *head,
        *best,
        *configuration,
        *usage,
        *failures,
        *(trace_lines(study, screen, trace) if trace else []),
        *running,
        *(ended_rows(study, box, screen, view, ended) if ended else []),
        *details,
        *beliefs,
    ]
