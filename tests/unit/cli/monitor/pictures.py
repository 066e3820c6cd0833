"""Pictures of the monitor's screen, compared with those kept in `snapshots/`.

After a change that is meant, run the tests once with CNNBO_UPDATE_SNAPSHOTS=1 and read the difference.
"""

import io
import os
from datetime import UTC
from pathlib import Path

from rich.console import Console, Group

from cnnbo.cli.monitor.canvas import UNICODE, Glyphs, Screen
from cnnbo.cli.monitor.render import render
from cnnbo.cli.monitor.state import MonitorState
from cnnbo.cli.monitor.view import View

_SNAPSHOTS = Path(__file__).parent / "snapshots"


def picture(
    state: MonitorState,
    now: float,
    width: int = 100,
    height: int | None = None,
    glyphs: Glyphs = UNICODE,
    view: View | None = None,
) -> str:
    """The screen as a terminal without colour shows it."""
    lines = render(state, Screen(width, height, now, glyphs, UTC), view)
    console = Console(width=width, file=io.StringIO(), force_terminal=False, legacy_windows=False)
    console.print(Group(*lines), soft_wrap=True)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def compare(name: str, shown: str) -> None:
    """The picture is the one that is kept under this name."""
    path = _SNAPSHOTS / f"{name}.txt"
    if os.environ.get("CNNBO_UPDATE_SNAPSHOTS"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(shown)
    assert shown == path.read_text()
