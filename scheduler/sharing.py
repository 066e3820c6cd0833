"""How devices are shared with other people: how many, when, and what a trial does when somebody else comes."""

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Self

MINUTES_PER_DAY = 24 * 60

_HOURS = re.compile(r"([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-3]):([0-5]\d)")


class Yield(StrEnum):
    """What a trial does when somebody else's process appears on its device."""

    FINISH = "finish"  # it goes on to its end; nothing more starts there
    STOP = "stop"  # it is stopped with time for a checkpoint, and runs again later or elsewhere


@dataclass(frozen=True, slots=True)
class Hours:
    """A part of every day, in the local time of the box; one that ends before it begins goes over midnight.

    Attributes:
        begin, end: minutes since midnight, 0..1439, different; `end` is the first minute outside.

    Example:
        >>> nights = Hours.parse("20:00-08:00")
        >>> [nights.hold(minute) for minute in (19 * 60 + 59, 20 * 60, 3 * 60, 8 * 60)]
        [False, True, True, False]
    """

    begin: int
    end: int

    @classmethod
    def parse(cls, text: object) -> Self:
        """Read `20:00-08:00`.

        Raises:
            ValueError: it doesn't look like that, or begins when it ends.
        """
        match = _HOURS.fullmatch(text) if isinstance(text, str) else None
        if match is None:
            raise ValueError(f'must look like "20:00-08:00", not {text!r}')
        hours, minutes, end_hours, end_minutes = map(int, match.groups())
        begin, end = 60 * hours + minutes, 60 * end_hours + end_minutes
        if begin == end:
            raise ValueError(f"begins when it ends ({text}); leave it out for the whole day")
        return cls(begin, end)

    def hold(self, minute: int) -> bool:
        """Whether a minute of the day lies within."""
        return (minute - self.begin) % MINUTES_PER_DAY < (self.end - self.begin) % MINUTES_PER_DAY

    def __str__(self) -> str:
        return "-".join(f"{minute // 60:02}:{minute % 60:02}" for minute in (self.begin, self.end))


@dataclass(frozen=True, slots=True)
class Sharing:
    """The `[devices]` table of a box's settings; a study may have stricter wishes of its own.

    Attributes:
        max_devices: at most so many devices at a time, >= 1; None = all.
        hours: trials start only then; None = always. What runs goes on to its end.
        yields: see `Yield`; the stricter one counts.
    """

    max_devices: int | None = None
    hours: Hours | None = None
    yields: Yield = Yield.FINISH


NO_LIMITS = Sharing()
"""A box that nobody has set limits for."""
