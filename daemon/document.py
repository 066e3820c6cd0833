"""TOML files that people write: read with care, every mistake pointed at with its file and line."""

import difflib
import json
import math
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cnnbo.daemon.locate import KeyPath, locate_keys
from cnnbo.scheduler.errors import ConfigurationError

MAX_BYTES: Final = 256 * 1024
MAX_PROBLEMS: Final = 100
_LARGEST_INTEGER: Final = 2**53  # what JSON readers keep exactly
_LARGEST_FLOAT: Final = 1e300  # beyond, differences and logarithms of bounds overflow
_SMALLEST_FLOAT: Final = 1e-300

_SYNTAX_REMEDIES: Final = {  # beginnings of tomllib's messages
    "Invalid value": 'text needs quotes, like "text"; true and false are lower case.',
    "Expected '=' after a key": 'write key = value, one a line; text needs quotes, like "text".',
    "Invalid statement": "a line is a [table], key = value or a # comment.",
    "Cannot overwrite a value": "the key stands here a second time; keep one.",
    "Cannot declare": "the table stands here a second time; keep one.",
    "Duplicate inline table key": "the key stands here a second time; keep one.",
    "Unclosed array": "a list ends with ].",
    "Unclosed inline table": "a table in braces ends with }.",
    "Expected newline or end of document after a statement": "one key = value a line; text needs quotes.",
    "Unterminated string": "text ends with the quote it began with.",
    "Illegal character": "remove it; text in quotes ends on its own line.",
}


@dataclass(frozen=True, slots=True)
class Document:
    """A parsed TOML text, or data that was handed over as such.

    Attributes:
        source: what messages call it, usually the path as the user typed it.
        data: the outermost table.
        lines: line of every key, counted from 1; None where there was no text.
    """

    source: str
    data: Mapping[str, object]
    lines: Mapping[KeyPath, int] | None = None

    def line(self, path: KeyPath) -> int:
        """The line of a key; of the table around it where the key isn't there."""
        lines = self.lines or {}
        while path and path not in lines:
            path = path[:-1]
        return lines.get(path, 1)

    def place(self, line: int) -> str:
        """What a sentence about something in a line begins with."""
        return f"{self.source}: " if self.lines is None else f"{self.source}:{line}  "


class Faults:
    """Collects the mistakes of a document, so that all of them are told at once."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._found: dict[tuple[KeyPath, str], None] = {}  # a dict, not a list: in a hostile file there are thousands
        self._culprits: set[KeyPath] = set()
        self._around: set[KeyPath] = set()

    def add(self, path: KeyPath, sentence: str) -> None:
        """Note a mistake at a key, or at the table where the key should be; the same sentence is noted once."""
        self._found[path, sentence] = None
        self._culprits.add(path)
        self._around.update(path[:length] for length in range(len(path) + 1))

    def has(self, path: KeyPath) -> bool:
        """Whether a mistake was noted at this key, below it, or at a table around it (but the outermost)."""
        return path in self._around or any(path[:length] in self._culprits for length in range(1, len(path)))

    def problems(self) -> list[str]:
        """The mistakes as `source:line  sentence`, from the top of the file to its end; a hundred at most."""
        placed = sorted(
            (self._document.line(path), order, sentence) for order, (path, sentence) in enumerate(self._found)
        )
        told = [f"{self._document.place(line)}{sentence}" for line, _, sentence in placed[:MAX_PROBLEMS]]
        if len(placed) > MAX_PROBLEMS:
            line, left = placed[MAX_PROBLEMS][0], len(placed) - MAX_PROBLEMS
            place = self._document.place(line)
            told.append(f"{place}from here on there are {left} more mistakes; correct those above first.")
        return told

    def raise_any(self) -> None:
        """Raise what was found, if anything was.

        Raises:
            ConfigurationError: with the mistakes.
        """
        if self._found:
            raise ConfigurationError(self.problems())


def read_text(path: Path) -> str:
    """The text of a file that should be short and UTF-8.

    Raises:
        ConfigurationError: it can't be read, is a folder, is larger than `MAX_BYTES`, or isn't text.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:  # ValueError: a null character in the path
        raise ConfigurationError(_unreadable(path, error)) from error
    if len(raw) > MAX_BYTES:
        raise ConfigurationError(
            f"{path} is larger than {MAX_BYTES // 1024} KiB; name a study or settings file in TOML."
        )
    try:
        return raw.decode("utf-8-sig")  # Windows editors put a byte order mark in front
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        sentence = f"{path}:{line}  is not UTF-8 text (byte 0x{raw[error.start]:02x}); save the file as UTF-8."
        raise ConfigurationError(sentence) from error


def _unreadable(path: Path, error: OSError | ValueError) -> str:
    match error:
        case FileNotFoundError():
            return f"{path} does not exist; check the path."
        case IsADirectoryError():
            return f"{path} is a folder; name the TOML file in it."
        case PermissionError():
            return f"{path} may not be read by this user; change its owner or mode."
        case OSError():
            return f"{path} can't be read ({error.strerror}); check the path."
        case _:
            return f"{str(path)!r} is no path of a file; check the path."


def read_document(path: Path) -> Document:
    """Read and parse a TOML file.

    Raises:
        ConfigurationError: see `read_text` and `parse_document`.
    """
    return parse_document(read_text(path), str(path))


def parse_document(text: str, source: str) -> Document:
    """Parse a TOML text.

    Args:
        text: the text.
        source: what messages call it.

    Raises:
        ConfigurationError: it is no TOML, or holds a value nothing could use (a null character in a text, a number
            beyond all bounds).
    """
    if len(text) > MAX_BYTES:
        raise ConfigurationError(f"{source} is longer than {MAX_BYTES // 1024} KiB; name a study or settings file.")
    if "\0" in text:
        line = text[: text.index("\0")].count("\n") + 1
        raise ConfigurationError(f"{source}:{line}  holds a null character, so it is no text file; check the path.")
    try:
        data = tomllib.loads(text)
        document = Document(source, data, locate_keys(text))
    except RecursionError as error:
        raise ConfigurationError(f"{source} is nested too deeply; name a study or settings file.") from error
    except ValueError as error:  # tomllib.TOMLDecodeError, and int() refusing thousands of digits
        raise ConfigurationError(_syntax_problem(str(error), source, text)) from error
    _check_values(document)
    return document


def check_data(data: Mapping[str, object], source: str) -> Document:
    """Take data that somebody read from JSON as if it were a TOML file.

    Args:
        data: the outermost table.
        source: what messages call it.

    Raises:
        ConfigurationError: it holds a value nothing could use: see `parse_document`, and null, which TOML doesn't know.
    """
    document = Document(source, data)
    _check_values(document)
    return document


def _check_values(document: Document) -> None:
    faults = Faults(document)
    for path, value in _leaves(document.data):
        if reason := _unusable(value):
            faults.add(path, f"{dotted(path)}: {reason}")
    faults.raise_any()


def _syntax_problem(message: str, source: str, text: str) -> str:
    found = re.search(r" \(at (?:line (\d+), column (\d+)|end of document)\)$", message)
    reason = message[: found.start()] if found else "a value can't be read"
    line, column = (found[1], found[2]) if found else ("1", None)
    remedy = next((remedy for start, remedy in _SYNTAX_REMEDIES.items() if reason.startswith(start)), None)
    place = f"{source}:{line or text.rstrip().count(chr(10)) + 1}"
    at = f" at column {column}" if column else ""
    return f"{place}  no valid TOML{at}: {reason}; {remedy or 'see toml.io for the rules.'}"


def _leaves(data: Mapping[str, object]) -> Iterator[tuple[KeyPath, object]]:
    """Every key and every value that is neither table nor list, with its path."""
    stack: list[tuple[KeyPath, object]] = [((), data)]
    while stack:
        path, value = stack.pop()
        if isinstance(value, dict):
            yield from (((*path, key), key) for key in value)
            stack.extend(((*path, key), child) for key, child in value.items())
        elif isinstance(value, list):
            stack.extend(((*path, index), child) for index, child in enumerate(value))
        else:
            yield path, value


def _unusable(value: object) -> str | None:
    match value:
        case bool():
            return None
        case None:
            return "must not be null; leave it out, or write a value."
        case str() if "\0" in value:
            return "holds a null character, which no program can be handed; remove it."
        case str() if any("\ud800" <= character <= "\udfff" for character in value):
            return "holds half a surrogate pair, which is no character; remove it."
        case int() if abs(value) > _LARGEST_INTEGER:
            return "is a whole number beyond 2**53; use a smaller one."
        case float() if not math.isfinite(value):
            return f"must be finite, not {value}; write a number."
        case float() if abs(value) > _LARGEST_FLOAT or 0 < abs(value) < _SMALLEST_FLOAT:
            return f"{value:g} is beyond what can be calculated with; stay between 1e-300 and 1e300."
        case _:
            return None


def dotted(path: KeyPath) -> str:
    """A key path for people; places in a list count from 1.

    Example:
        >>> dotted(("start", 0, "learning_rate"))
        'start no. 1.learning_rate'
    """
    text = ""
    for part in path:
        text += f" no. {part + 1}" if isinstance(part, int) else f".{_plain(part)}" if text else _plain(part)
    return text


def _plain(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_-]{1,60}", key) else shown(key)


def shown(value: object) -> str:
    """A value as TOML writes it, short and without control characters, for a message.

    Example:
        >>> shown("a"), shown(True), shown([1])
        ('"a"', 'true', 'a list')
    """
    match value:
        case None:
            return "null"
        case dict():
            return "a table"
        case list():
            return "a list"
        case str() | bool() | int() | float():
            text = json.dumps(value, ensure_ascii=False)
        case _:
            text = str(value)
    return text if len(text) <= 60 else f"{text[:56]}…"


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """The remedy for a word that isn't known: the nearest one that is, else all of them.

    Example:
        >>> did_you_mean("evalutions", ["evaluations", "seed"])
        'did you mean "evaluations"?'
    """
    known = list(known)
    close = difflib.get_close_matches(word.lower(), known, n=1, cutoff=0.7)
    if close:
        return f'did you mean "{close[0]}"?'
    return f"known are {', '.join(known)}."
