"""Where each key of a TOML text stands: the line numbers that `tomllib` doesn't give.

The scanner takes a text that `tomllib` has accepted, so it need not check anything: it only has to find its way.
"""

import re
import tomllib
from bisect import bisect_right
from typing import Final

KeyPath = tuple[str | int, ...]
"""The way to a value: keys of tables, and indices (from 0) into lists and arrays of tables."""

MAX_DEPTH: Final = 32
"""Deepest path that is followed; no file that people write comes near."""

_BLANK: Final = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_SPACE: Final = re.compile(r"[ \t]*")
_BARE_KEY: Final = re.compile(r"[A-Za-z0-9_-]+")
_SCALAR: Final = re.compile(r"[^,\]}\n#]*")  # numbers, booleans, dates: everything without quotes
_STRING: Final = re.compile(
    r'"""(?:[^"\\]|\\.|"{1,2}(?!"))*"{3,5}'  # up to two quotes may stand right before the closing three
    r"|'''(?:[^']|'{1,2}(?!'))*'{3,5}"
    r'|"(?:[^"\\]|\\.)*"'
    r"|'[^']*'",
    re.DOTALL,
)


def locate_keys(text: str) -> dict[KeyPath, int]:
    r"""Find the line, counted from 1, of every key, table header and list entry of a valid TOML text.

    Example:
        >>> locate_keys("name = 'a'\n[space]\nlr = { low = 0 }\n")[("space", "lr", "low")]
        3

    Raises:
        RecursionError: something is nested more than `MAX_DEPTH` deep.
    """
    scanner = _Scanner(text)
    scanner.scan()
    return scanner.lines


class _Scanner:
    def __init__(self, text: str) -> None:
        self.lines: dict[KeyPath, int] = {}
        self._text = text
        self._at = 0
        self._newlines = [match.start() for match in re.finditer("\n", text)]
        self._elements: dict[KeyPath, int] = {}  # arrays of tables, with how many elements each has so far

    def scan(self) -> None:
        table: KeyPath = ()
        while self._next() != "":
            if self._take("[["):
                table = self._header(is_element=True)
                self._take("]]")
            elif self._take("["):
                table = self._header(is_element=False)
                self._take("]")
            else:
                self._pair(table)

    def _next(self) -> str:
        """The first character after blanks, line ends and comments; empty at the end of the text."""
        self._skip(_BLANK)
        return self._text[self._at : self._at + 1]

    def _skip(self, pattern: re.Pattern[str]) -> str:
        match = pattern.match(self._text, self._at)
        if match is None:
            return ""
        self._at = match.end()
        return match.group()

    def _take(self, token: str) -> bool:
        if not self._text.startswith(token, self._at):
            return False
        self._at += len(token)
        return True

    def _mark(self, path: KeyPath, line: int) -> None:
        if len(path) > MAX_DEPTH:
            raise RecursionError
        self.lines.setdefault(path, line)

    def _line(self) -> int:
        return bisect_right(self._newlines, self._at - 1) + 1

    def _header(self, *, is_element: bool) -> KeyPath:
        """Read the keys of a header; the path of its table, through the newest element of every array of tables."""
        line = self._line()
        path: KeyPath = ()
        keys = self._keys()
        for position, key in enumerate(keys, start=1):
            path = (*path, key)
            self._mark(path, line)
            if is_element and position == len(keys):
                self._elements[path] = self._elements.get(path, 0) + 1
            if path in self._elements:
                path = (*path, self._elements[path] - 1)
                self._mark(path, line)
        return path

    def _keys(self) -> list[str]:
        keys = []
        while True:
            self._skip(_SPACE)
            quoted = self._skip(_STRING)
            keys.append(tomllib.loads(f"key = {quoted}")["key"] if quoted else self._skip(_BARE_KEY))
            self._skip(_SPACE)
            if not self._take("."):
                return keys

    def _pair(self, table: KeyPath) -> None:
        line = self._line()
        path = table
        for key in self._keys():
            path = (*path, key)
            self._mark(path, line)
        self._take("=")
        self._skip(_SPACE)
        self._value(path)

    def _value(self, path: KeyPath) -> None:
        if self._take("{"):
            while self._next() != "}":
                self._pair(path)
                self._separator()
            self._take("}")
        elif self._take("["):
            index = 0
            while self._next() != "]":
                self._mark((*path, index), self._line())
                self._value((*path, index))
                self._separator()
                index += 1
            self._take("]")
        elif not self._skip(_STRING):
            self._skip(_SCALAR)

    def _separator(self) -> None:
        if self._next() == ",":
            self._take(",")
