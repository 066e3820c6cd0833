"""Notes on the last row, which are there for a while."""

from dataclasses import replace

from cnnbo.cli.monitor.view import View

NOTE_S = 10.0
"""A note is read after so long, and stands in the way of the keys."""


class Fading:
    """Takes notes away when they have been there for long enough."""

    def __init__(self) -> None:
        self._note, self._since = "", 0.0

    def faded(self, view: View, now: float) -> View:
        """The view without a note that was first seen `NOTE_S` before `now`, in seconds of any clock."""
        if view.note != self._note:
            self._note, self._since = view.note, now
        return replace(view, note="") if now - self._since >= NOTE_S else view
