"""What a check found."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from cnnbo.scheduler.errors import CnnboError, ConfigurationError


class Level(StrEnum):
    """How bad it is."""

    OK = "ok"
    WARN = "warn"
    """Studies run, though not as well as they could, or not for long."""
    FAIL = "fail"
    """Something that was asked for can't work."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the screen.

    Attributes:
        check: name of what was looked at, the same in every version; scripts go by it.
        level: how bad it is.
        text: what is the case, and where; without a full stop.
        fix: what to do about it; None if and only if all is well.
    """

    check: str
    level: Level
    text: str
    fix: str | None = None

    def __post_init__(self) -> None:
        if (self.level is Level.OK) != (self.fix is None):
            raise ValueError(f"{self.check}: {self.level} with the fix {self.fix!r}")


def ok(check: str, text: str) -> Finding:
    """All is well."""
    return Finding(check, Level.OK, text)


def warn(check: str, text: str, fix: str) -> Finding:
    """See `Level.WARN`."""
    return Finding(check, Level.WARN, text, fix)


def fail(check: str, text: str, fix: str) -> Finding:
    """See `Level.FAIL`."""
    return Finding(check, Level.FAIL, text, fix)


def from_error(check: str, error: CnnboError, level: Level = Level.FAIL) -> Iterator[Finding]:
    """A finding for each problem of an error, whose sentences end with the remedy.

    Example:
        >>> for finding in from_error("driver", ConfigurationError("the driver is not loaded; load it.")):
        ...     print(finding.text, "->", finding.fix)
        the driver is not loaded -> load it
    """
    for sentence in error.problems if isinstance(error, ConfigurationError) else (str(error),):
        text, _, fix = sentence.rstrip(".").rpartition("; ")
        yield Finding(check, level, text or fix, fix if text else "correct what it names, and run this again")
