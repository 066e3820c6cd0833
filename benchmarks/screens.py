"""Pictures of `cnnbo watch` for the documents, drawn from a recording of what brokers carried.

`python benchmarks/screens.py --help`
"""

import io
import sys
from dataclasses import dataclass
from datetime import UTC
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console, Group
from streaming.recording import RECORDING, read

from cnnbo.cli.monitor.canvas import Screen
from cnnbo.cli.monitor.known import Box
from cnnbo.cli.monitor.render import render
from cnnbo.cli.monitor.state import MonitorState
from cnnbo.cli.monitor.view import Mark, Page, View, shown_box, shown_study

DOCS = Path(__file__).parent.parent / "docs"
"""Where the pictures go."""

BROKER = "mqtts://lab.example.org:8883"
"""What the pictures call it."""

app = typer.Typer(add_completion=False)


@dataclass(frozen=True, slots=True)
class Picture:
    """One picture: its name, the size of the terminal, and what the viewer chose to see."""

    name: str
    width: int
    height: int
    page: Page = Page.OVERVIEW
    has_mark: bool = False


PICTURES = (
    Picture("watch", 100, 44),
    Picture("watch-narrow", 80, 30),
    Picture("watch-wide", 160, 50),
    Picture("watch-details", 100, 44, has_mark=True),
    Picture("watch-keys", 100, 24, Page.HELP),
)


@app.command()
def main(
    recording: Annotated[Path, typer.Argument(help="A recording of `stream.py record`.")] = RECORDING,
    at: Annotated[
        float | None, typer.Option(help="Moment to draw, in seconds of the recording; default: its end.")
    ] = None,
    box: Annotated[str | None, typer.Option(help="Node of the box to mark; default: the first one.")] = None,
    folder: Annotated[Path, typer.Option(help="Where to write the pictures.")] = DOCS,
) -> None:
    """Draw the pictures of the documents as SVG."""
    state = state_at(recording, at)
    for picture in PICTURES:
        path = folder / f"{picture.name}.svg"
        path.write_text(draw(state, picture, box), encoding="utf-8")
        typer.echo(path)


def state_at(recording: Path, at: float | None) -> MonitorState:
    """What a monitor knows at a moment of a recording; None = at its end."""
    state = MonitorState()
    state.brokers[BROKER] = None
    for message in read(recording):
        if at is not None and message.t > at:
            break
        # As if the broker had kept it: the seconds of a recording say nothing about the clocks of its boxes.
        state.apply(message.topic, message.payload.encode(), message.t, BROKER, is_retained=True)
    return state


def draw(state: MonitorState, picture: Picture, node: str | None) -> str:
    """A picture as SVG, with times in UTC, as of the last message."""
    key = next((key for key, box in state.boxes.items() if box.node == node), None)
    view = View(box=key, page=picture.page)
    shown = shown_box(state, view)
    if picture.has_mark and shown is not None:
        view = View(box=key, page=picture.page, mark=_first_ended(shown, view))
    now = max((box.last_told or 0.0 for box in state.boxes.values()), default=0.0)
    console = Console(
        record=True, width=picture.width, file=io.StringIO(), force_terminal=True, color_system="truecolor"
    )
    console.print(Group(*render(state, Screen(picture.width, picture.height, now, zone=UTC), view)), soft_wrap=True)
    return console.export_svg(title="cnnbo watch")


def _first_ended(box: Box, view: View) -> Mark | None:
    study = shown_study(box, view)
    return Mark(trial=study.ended[0].id) if study is not None and study.ended else None


if __name__ == "__main__":
    sys.exit(app())
