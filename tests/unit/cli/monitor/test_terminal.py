"""What is written to a terminal."""

import io

from rich.console import Console
from rich.text import Text

from cnnbo.cli.monitor.terminal import Painter

_SIZE = (20, 4)


class Written(io.StringIO):
    """A terminal that says what was written since the last time."""

    def news(self) -> str:
        text = self.getvalue()
        self.seek(0)
        self.truncate()
        return text


def test_only_lines_that_changed_are_written() -> None:
    """Over a slow line, and all day: a screen in which one figure changed is one line."""
    written = Written()
    with Painter(Console(file=written, force_terminal=True, width=20, color_system=None)) as painter:
        painter.draw([Text("first"), Text("second"), Text("third")], _SIZE)
        assert "first" in written.news()
        painter.draw([Text("first"), Text("second"), Text("third")], _SIZE)
        assert written.news() == ""
        painter.draw([Text("first"), Text("changed"), Text("third")], _SIZE)
        assert written.news() == "\x1b[2;1Hchanged\x1b[K"
        painter.draw([Text("first"), Text("changed", "bold"), Text("third")], _SIZE)
        assert "\x1b[2;1H" in written.news()
        painter.draw([Text("first")], _SIZE)
        assert written.news() == "\x1b[2;1H\x1b[2K\x1b[3;1H\x1b[2K"


def test_a_line_that_is_too_long_is_cut() -> None:
    """In a terminal narrower than any screen is made for, a line that wraps would ruin all rows below."""
    written = Written()
    with Painter(Console(file=written, force_terminal=True, width=20, color_system=None)) as painter:
        painter.draw([Text("x" * 60), Text("second")], _SIZE)
        assert f"{'x' * 20}\x1b[2;1Hsecond" in written.news()


def test_a_new_size_draws_everything_anew() -> None:
    """A terminal that is resized has moved its lines about."""
    written = Written()
    with Painter(Console(file=written, force_terminal=True, width=20, color_system=None)) as painter:
        painter.draw([Text("first")], _SIZE)
        written.news()
        painter.draw([Text("first")], (30, 4))
        assert written.news() == "\x1b[2J\x1b[1;1Hfirst\x1b[K"


def test_a_line_up_to_the_edge_keeps_its_last_character() -> None:
    """Erasing to the end of the line begins at that character, on some terminals."""
    written = Written()
    with Painter(Console(file=written, force_terminal=True, width=20, color_system=None)) as painter:
        painter.draw([Text("x" * 20)], _SIZE)
        assert written.news().endswith("x" * 20)
