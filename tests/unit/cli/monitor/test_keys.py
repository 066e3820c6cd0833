"""Bytes of a terminal as keys."""

import pytest

from cnnbo.cli.monitor.keys import Keyboard


@pytest.mark.parametrize(
    ("data", "keys"),
    [
        (b"q", ["q"]),
        (b"\x1b[A\x1bOB\x1b[Z\t\r", ["up", "down", "shift-tab", "tab", "enter"]),
        (b"\x1b", ["escape"]),
        (b"\x1bl", ["escape", "l"]),
        (b"\x1b[5~\x1b[6~", ["page-up", "page-down"]),
        (b"\x1b[1;5Cq", ["q"]),  # Ctrl and an arrow: nothing we know, and no letter C either
        ("ü§q".encode(), ["q"]),
    ],
)
def test_keys_are_told_by_their_names(data: bytes, keys: list[str]) -> None:
    """A sequence that isn't known must not be taken for the letters in it: one of them may pause a study."""
    assert Keyboard().feed(data) == keys


def test_a_sequence_may_come_in_pieces() -> None:
    """Over a slow line an arrow is three packets."""
    keyboard = Keyboard()
    assert [keyboard.feed(piece) for piece in (b"\x1b[", b"", b"B")] == [[], [], ["down"]]
