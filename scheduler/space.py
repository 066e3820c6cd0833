"""The search space: named parameters, and their encoding as points of the unit cube.

One coordinate per parameter. Numbers are placed by their scale, integers and choices at the centre of their bin, so
that a uniform point of the cube is a uniform draw on the chosen scale.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, assert_never

from cnnbo.scheduler.errors import ConfigurationError

Scalar = bool | int | float | str
Configuration = Mapping[str, Scalar]
"""Parameter names with their values, as a human reads them."""

Point = tuple[float, ...]
"""A configuration encoded in the unit cube: length D, every value in [0, 1]."""

Scale = Literal["linear", "log", "reverse-log"]
"""`log` spreads small values, `reverse-log` (the log of 1 - x) spreads values near 1."""


_LARGEST_WHOLE = 2**40
"""Bins of larger whole numbers are narrower than what a double can tell apart, on the log scale from 2**47 on: another
value would be tried than the one that was asked for."""

_FIXED = "leave a value that never changes out of the space and write it into the command."
# A constant would be a coordinate that no optimizer can learn from, in every table and among what "matters".


def _check_bounds(name: str, low: float, high: float, scale: Scale) -> None:
    if not (math.isfinite(low) and math.isfinite(high)):
        raise ConfigurationError(f"space.{name}: low and high must be finite, not {low} and {high}.")
    if not math.isfinite(high - low):
        raise ConfigurationError(f"space.{name}: low = {low} and high = {high} are too far apart to calculate with.")
    if low >= high:
        more = f"; {_FIXED}" if low == high else "."
        raise ConfigurationError(f"space.{name}: low must be below high, and low is {low}, high is {high}{more}")
    if scale == "log" and low <= 0:
        remedy = high / 1e6 if high > 0 else 1e-6
        raise ConfigurationError(
            f'space.{name}: scale = "log" needs low above 0, and low is {low}. Try low = {remedy:g}.'
        )
    if scale == "reverse-log" and high >= 1:
        raise ConfigurationError(
            f'space.{name}: scale = "reverse-log" needs high below 1, and high is {high}. Try high = 0.999.'
        )


def _warp(value: float, scale: Scale) -> float:
    """Map a value to the axis on which it is uniform; rising in `value` for every scale."""
    match scale:
        case "linear":
            return value
        case "log":
            return math.log(value)
        case "reverse-log":
            return -math.log1p(-value)
        case _ as unreachable:
            assert_never(unreachable)


def _unwarp(warped: float, scale: Scale) -> float:
    match scale:
        case "linear":
            return warped
        case "log":
            return math.exp(warped)
        case "reverse-log":
            return -math.expm1(-warped)
        case _ as unreachable:
            assert_never(unreachable)


def _readable(value: float, span: float) -> float:
    """Round to a millionth of `span`: finer than any effect, short enough to read and to paste into a command."""
    return round(value, 6 - math.floor(math.log10(span)))


def _bin(u: float, count: int) -> int:
    """Index of the bin that holds `u` when [0, 1] is cut into `count` equal ones; the last one is closed."""
    return min(int(u * count), count - 1)


@dataclass(frozen=True, slots=True)
class FloatParameter:
    """A real number in [low, high].

    Raises:
        ConfigurationError: bounds not finite, low >= high, bounds outside of what the scale can take, or too close to
            each other or too far apart to calculate with.
    """

    name: str
    low: float
    high: float
    scale: Scale = "linear"

    def __post_init__(self) -> None:
        _check_bounds(self.name, self.low, self.high, self.scale)
        try:
            for u in (0.0, 0.5, 1.0):
                self.encode(self.decode(u))
        except (ArithmeticError, ValueError) as error:  # the bounds fall together on the axis of the scale
            raise ConfigurationError(
                f"space.{self.name}: low = {self.low} and high = {self.high} are too close to tell apart; "
                "move one of them."
            ) from error

    @property
    def cardinality(self) -> int | None:
        """Number of distinct values; None where there is no end of them."""
        return None

    def encode(self, value: Scalar) -> float:
        """Place a value of [low, high] in [0, 1]."""
        low, high = _warp(self.low, self.scale), _warp(self.high, self.scale)
        return min(1.0, max(0.0, (_warp(float(value), self.scale) - low) / (high - low)))

    def decode(self, u: float) -> float:
        """The value at `u` in [0, 1], to about six significant digits."""
        low, high = _warp(self.low, self.scale), _warp(self.high, self.scale)
        value = _unwarp(low + u * (high - low), self.scale)
        match self.scale:  # the distance over which the value's effect changes
            case "linear":
                span = self.high - self.low
            case "log":
                span = value
            case "reverse-log":
                span = 1 - value
            case _ as unreachable:
                assert_never(unreachable)
        return min(self.high, max(self.low, _readable(value, span))) + 0.0  # never "-0"

    def problem_with(self, value: Scalar) -> str | None:
        """Why a value doesn't belong here, or None if it does."""
        if isinstance(value, bool | str) or not self.low <= value <= self.high:
            return f"{self.name} = {value!r} is not a number from {self.low:g} to {self.high:g}"
        return None


@dataclass(frozen=True, slots=True)
class IntParameter:
    """A whole number in low..high, both included.

    On the linear scale value `low + k` sits at the centre (k + 0.5)/n of the k-th of n equal bins; on the log scale the
    bins reach from half below to half above each value and are as wide as that is on the log axis.

    Raises:
        ConfigurationError: low >= high, a bound beyond 2**40, a log scale with low <= 0, or a reverse-log scale.
    """

    name: str
    low: int
    high: int
    scale: Scale = "linear"

    def __post_init__(self) -> None:
        if self.scale == "reverse-log":
            raise ConfigurationError(
                f'space.{self.name}: scale = "reverse-log" is for values near 1; use type = "float".'
            )
        if max(abs(self.low), abs(self.high)) > _LARGEST_WHOLE:
            raise ConfigurationError(
                f"space.{self.name}: whole numbers go up to 2**40 ({_LARGEST_WHOLE:,}); move low or high, or use "
                'type = "float".'
            )
        _check_bounds(self.name, self.low, self.high, self.scale)

    @property
    def cardinality(self) -> int | None:
        """Number of distinct values."""
        return self.high - self.low + 1

    def _log_axis(self) -> tuple[float, float]:
        return math.log(self.low - 0.5), math.log(self.high + 0.5)

    def encode(self, value: Scalar) -> float:
        """Place a value of low..high in [0, 1]."""
        if self.scale == "linear":
            return (int(value) - self.low + 0.5) / (self.high - self.low + 1)
        start, end = self._log_axis()
        return (math.log(int(value)) - start) / (end - start)

    def decode(self, u: float) -> int:
        """The value whose bin holds `u` in [0, 1]."""
        if self.scale == "linear":
            return self.low + _bin(u, self.high - self.low + 1)
        start, end = self._log_axis()
        return min(self.high, max(self.low, round(math.exp(start + u * (end - start)))))

    def problem_with(self, value: Scalar) -> str | None:
        """Why a value doesn't belong here, or None if it does."""
        whole = isinstance(value, int) and not isinstance(value, bool)
        if not whole or not self.low <= int(value) <= self.high:
            return f"{self.name} = {value!r} is not a whole number from {self.low} to {self.high}"
        return None


@dataclass(frozen=True, slots=True)
class CategoricalParameter:
    """One of a few choices without an order; choice k of n sits at (k + 0.5)/n.

    Raises:
        ConfigurationError: fewer than two choices, one that is NaN or infinite, or the same choice twice.
    """

    name: str
    choices: tuple[Scalar, ...]

    def __post_init__(self) -> None:
        if len(self.choices) < 2:
            raise ConfigurationError(
                f"space.{self.name}: choices needs at least two entries, and has {len(self.choices)}; {_FIXED}"
            )
        if any(isinstance(choice, float) and not math.isfinite(choice) for choice in self.choices):
            raise ConfigurationError(f"space.{self.name}: choices must be finite, not {list(self.choices)}.")
        distinct = {(type(choice), choice) for choice in self.choices}
        if len(distinct) < len(self.choices):
            raise ConfigurationError(f"space.{self.name}: choices holds the same entry twice: {list(self.choices)}.")

    @property
    def cardinality(self) -> int | None:
        """Number of distinct values."""
        return len(self.choices)

    def _index(self, value: Scalar) -> int:
        # 1, 1.0 and True are equal in Python but are three different choices to a user.
        return next(k for k, choice in enumerate(self.choices) if choice == value and type(choice) is type(value))

    def encode(self, value: Scalar) -> float:
        """Place a choice in [0, 1]."""
        return (self._index(value) + 0.5) / len(self.choices)

    def decode(self, u: float) -> Scalar:
        """The choice whose bin holds `u` in [0, 1]."""
        return self.choices[_bin(u, len(self.choices))]

    def problem_with(self, value: Scalar) -> str | None:
        """Why a value doesn't belong here, or None if it does."""
        if any(choice == value and type(choice) is type(value) for choice in self.choices):
            return None
        return f"{self.name} = {value!r} is none of {list(self.choices)}"


Parameter = FloatParameter | IntParameter | CategoricalParameter


def describe(parameter: Parameter) -> str:
    """A parameter on one line, for people.

    >>> describe(FloatParameter("rate", 1e-5, 1.0, "log")), describe(CategoricalParameter("pooling", ("max", "avg")))
    ('rate: 1e-05 to 1, log', 'pooling: max, avg')
    """
    if isinstance(parameter, CategoricalParameter):
        return f"{parameter.name}: {', '.join(str(choice) for choice in parameter.choices)}"
    whole = " (whole)" if isinstance(parameter, IntParameter) else ""
    return f"{parameter.name}: {parameter.low:g} to {parameter.high:g}{whole}, {parameter.scale}"


@dataclass(frozen=True, slots=True)
class SearchSpace:
    """The parameters of a study, in the order in which points list them.

    Example:
        >>> space = SearchSpace((FloatParameter("learning_rate", 1e-4, 1.0, "log"), IntParameter("width", 3, 10)))
        >>> space.decode((0.5, 0.0))
        {'learning_rate': 0.01, 'width': 3}
        >>> space.encode({"learning_rate": 0.01, "width": 3})
        (0.5, 0.0625)

    Raises:
        ConfigurationError: no parameter at all, or two of the same name.
    """

    parameters: tuple[Parameter, ...]

    def __post_init__(self) -> None:
        if not self.parameters:
            raise ConfigurationError("space: name at least one parameter.")
        names = [parameter.name for parameter in self.parameters]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ConfigurationError(f"space: {', '.join(twice)} is named twice.")

    @property
    def dimension(self) -> int:
        """D, the number of coordinates of a point."""
        return len(self.parameters)

    @property
    def names(self) -> tuple[str, ...]:
        """The parameters' names, in the order of the coordinates."""
        return tuple(parameter.name for parameter in self.parameters)

    @property
    def size(self) -> int | None:
        """Number of distinct configurations; None where a float makes it endless."""
        size = 1
        for parameter in self.parameters:
            if parameter.cardinality is None:
                return None
            size *= parameter.cardinality
        return size

    def problems_with(self, configuration: Configuration) -> list[str]:
        """Everything that keeps a configuration from belonging to this space; empty if nothing does."""
        problems = [f"{name} is no parameter of this space" for name in configuration if name not in self.names]
        for parameter in self.parameters:
            if parameter.name not in configuration:
                problems.append(f"{parameter.name} is missing")
            elif problem := parameter.problem_with(configuration[parameter.name]):
                problems.append(problem)
        return problems

    def encode(self, configuration: Configuration) -> Point:
        """Encode a configuration of this space as a point of the unit cube, length D.

        Raises:
            ConfigurationError: a parameter is missing, unknown or out of range; all of them are named.
        """
        if problems := self.problems_with(configuration):
            raise ConfigurationError([f"{problem}." for problem in problems])
        return tuple(parameter.encode(configuration[parameter.name]) for parameter in self.parameters)

    def decode(self, point: Sequence[float]) -> dict[str, Scalar]:
        """Read a point of the unit cube, length D, as a configuration."""
        return {p.name: p.decode(float(u)) for p, u in zip(self.parameters, point, strict=True)}

    def canonical(self, point: Sequence[float]) -> Point:
        """The point that stands for everything that decodes to the same configuration: `encode(decode(point))`."""
        return self.encode(self.decode(point))
