"""The log of a trial of this machine, read and drawn."""

from collections.abc import Sequence
from pathlib import Path

from rich.cells import chop_cells
from rich.text import Text

from cnnbo.cli.monitor.canvas import Screen, counted
from cnnbo.cli.monitor.view import LogTail
from cnnbo.daemon import client
from cnnbo.scheduler.errors import CnnboError

LINES = 1000
"""Of a log so many lines are read; more is a matter for `cnnbo logs`."""


def read_log(state: Path, study: str, trial: int, attempt: int) -> LogTail:
    """The end of an attempt's log, or why there is none.

    Args:
        state: the state folder.
        study: whose log.
        trial: whose log.
        attempt: which one, counting from 1; 0 = none was started.
    """
    try:
        part = client.read_log(state, study, trial, attempt, LINES).part if attempt else None
    except OSError as error:
        return LogTail(
            study, trial, excuse=f"The log can't be read ({error.strerror or error}); ask whose daemon it is."
        )
    except CnnboError as error:
        return LogTail(study, trial, excuse=str(error))
    if part is None or part.mark is None:
        return LogTail(study, trial, excuse=f"Trial {trial} has no log yet.")
    return LogTail(study, trial, part.lines, "" if part.lines else "Nothing was printed so far.")


def elsewhere(node: str, study: str, trial: int) -> LogTail:
    """For a box that is another machine: where its logs are."""
    command = f"cnnbo logs {study} {trial} -f"
    return LogTail(study, trial, excuse=f"Logs stay on their box. From here: ssh {node} {command}")


def log_lines(log: LogTail | None, details: Sequence[Text], screen: Screen, room: int, scrolled: int = 0) -> list[Text]:
    """The newest lines that fit, or those `scrolled` rows further up, below the head of the trial's details."""
    head = [*details[:1], *screen.rules()]
    if log is None:
        return [*head, Text(" Reading ...", "dim")]
    last = [Text(f" {log.excuse}")] if log.excuse else []
    rows = [row for line in log.lines for row in chop_cells(line.expandtabs(4), screen.width - 1) or [""]]
    count, below = max(0, room - len(head) - len(last)), 0
    if scrolled and len(rows) > count > 1:
        count -= 1
        below = min(scrolled, len(rows) - count)
        last = [Text(f" {counted(below, 'row')} below: Page Down", "dim")]
    end = len(rows) - below
    return [*head, *(Text(f" {row}") for row in rows[max(0, end - count) : end]), *last]
