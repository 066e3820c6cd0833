"""The keys of the monitor: read from a terminal's bytes, and told to people."""

_NAMES = {
    b"\t": "tab",
    b"\r": "enter",
    b"\n": "enter",
    b"\x0c": "redraw",
    b"\x1b[A": "up",
    b"\x1bOA": "up",
    b"\x1b[B": "down",
    b"\x1bOB": "down",
    b"\x1b[Z": "shift-tab",
    b"\x1b[5~": "page-up",
    b"\x1b[6~": "page-down",
}
_ESCAPE = b"\x1b"
_SEQUENCE_STARTS = (b"\x1b[", b"\x1bO")

HELP = (
    ("Tab, Shift-Tab", "the next box, the one before"),
    ("s", "the next study of this box"),
    ("arrow keys, j k", "mark a trial or a device; Page Up and Page Down go ten rows"),
    ("Esc", "back; then take the mark away"),
    ("Enter", "all about the marked trial"),
    ("l", "the log of the marked trial, as it grows"),
    ("p", "pause the study, or go on with it; running trials go on to their end"),
    ("d", "drain the marked device, so that no more trials start there, or use it again"),
    ("Ctrl-L", "draw everything anew, after something else wrote to the terminal"),
    ("?", "this page"),
    ("q, Ctrl-C", "end; the daemon goes on"),
)
"""Each key with what it does."""


class Keyboard:
    """Turns bytes into keys: characters as they are, and names for the others."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[str]:
        r"""The keys that `data` completes; a sequence that is cut off waits for its end.

        Example:
            >>> keyboard = Keyboard()
            >>> keyboard.feed(b"l\x1b["), keyboard.feed(b"A\t\x1b")
            (['l'], ['up', 'tab', 'escape'])
        """
        self._rest += data
        keys = []
        while (token := self._token()) is not None:
            self._rest = self._rest[len(token) :]
            if (name := self._name(token)) is not None:
                keys.append(name)
        return keys

    def _token(self) -> bytes | None:
        """The bytes of the next key; None when there is no whole one."""
        if not self._rest.startswith(_SEQUENCE_STARTS):
            return self._rest[:1] or None
        for length, byte in enumerate(self._rest[2:], start=3):
            if 0x40 <= byte <= 0x7E:  # the final byte of a sequence, by ECMA-48
                return self._rest[:length]
        return None

    def _name(self, token: bytes) -> str | None:
        if token == _ESCAPE:
            return "escape"
        if token in _NAMES:
            return _NAMES[token]
        is_character = len(token) == 1 and token.isascii() and (token.isalnum() or token == b"?")
        return token.decode() if is_character else None
