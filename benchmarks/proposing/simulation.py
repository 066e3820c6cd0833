"""A box with P devices on a simulated clock: asks, evaluates, tells, until the budget is spent."""

import heapq
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple, Protocol

import numpy as np

from cnnbo.scheduler.space import Configuration, Scalar, SearchSpace
from proposing.problems import Evaluable

EVALUATIONS = 80
"""Trials of a run where nothing else is said, and of the main comparison."""

_ENDS_EARLY = 0.3
"""Share of its duration after which a trial ends that fails, or that is at chance as a stuck network is."""


@dataclass(frozen=True)
class Terms:
    """What a method knows before its first ask.

    Attributes:
        space: the search space, of dimension D.
        seed: of everything random in the method, >= 0.
        parallel: devices, >= 1.
        evaluations: trials that the run ends after, >= 1.
        chance: the best value that luck explains, as a user would tell it; infinite where no value is luck.
    """

    space: SearchSpace
    seed: int
    parallel: int
    evaluations: int = EVALUATIONS
    chance: float = math.inf


class Method(Protocol):
    """A proposer behind ask and tell. Trials are numbered 0, 1, … in the order asked."""

    def ask(self) -> Configuration:
        """The next configuration; what was asked and not told is pending."""

    def tell(self, number: int, value: float | None) -> None:
        """The value of a trial, to be minimised; None when it failed."""


MakeMethod = Callable[[Terms], Method]
"""How a method is made for one run."""


@dataclass
class Row:
    """One run, as it is kept: a line of JSON.

    Attributes:
        problem, method, seed, parallel: what was run; unique together with the number of evaluations.
        versions: of the packages that took part.
        observed: value with noise of each trial in the order in which they ended, None where it failed.
        means: the same without noise.
        configurations: of each trial, in the order in which they ended.
        duplicates: trials whose configuration had been asked for before.
        ask_s: seconds of each ask, in the order asked; only comparable when the machine was otherwise idle.
        idle: whether the run was made on an otherwise idle machine, for the timing.
        chance: the best value that luck explains; None where no value is luck, JSON has no infinity.
    """

    problem: str
    method: str
    seed: int
    parallel: int
    versions: dict[str, str]
    observed: list[float | None] = field(default_factory=list)
    means: list[float | None] = field(default_factory=list)
    configurations: list[dict[str, Scalar]] = field(default_factory=list)
    duplicates: int = 0
    ask_s: list[float] = field(default_factory=list)
    idle: bool = False
    chance: float | None = None

    @property
    def evaluations(self) -> int:
        """How many trials ended."""
        return len(self.observed)

    @property
    def at_chance(self) -> int:
        """How many values luck explains; failed trials have none."""
        return sum(_is_luck(value, self.chance) for value in self.observed)

    @property
    def key(self) -> tuple[str, str, int, int, int]:
        """What makes the row unique: a run of 40 evaluations is not the first half of one of 80."""
        return self.problem, self.method, self.seed, self.parallel, self.evaluations

    def to_dict(self) -> dict[str, Any]:
        """JSON data; seconds to a tenth of a millisecond."""
        return asdict(self) | {"ask_s": [round(seconds, 4) for seconds in self.ask_s]}


class _Trial(NamedTuple):
    """One on a device; they end in the order of their first two fields."""

    ends: float
    number: int
    configuration: dict[str, Scalar]
    value: float | None
    mean: float | None


def simulate(
    problem: Evaluable,
    name: str,
    make: MakeMethod,
    seed: int,
    parallel: int,
    versions: dict[str, str],
    evaluations: int = EVALUATIONS,
) -> Row:
    """Run a method on a problem with `parallel` devices until its number of trials has ended.

    The device that is free first asks next. Durations are the problem's, times a log-normal factor; noise and factor
    depend on seed and number of the trial only, so that every method meets the same luck. A trial is evaluated when it
    starts, for what it comes to says how long it takes, and told when it ends.
    """
    bound = problem.chance()
    row = Row(problem.name, name, seed, parallel, versions, chance=bound if math.isfinite(bound) else None)
    method = make(Terms(problem.space, seed, parallel, evaluations, bound))
    seen: set[tuple[Scalar, ...]] = set()
    running: list[_Trial] = []
    asked, clock = 0, 0.0
    while len(row.observed) < evaluations:
        while asked < evaluations and len(running) < parallel:
            configuration = _ask(method, problem.space, row, seen)
            heapq.heappush(running, _start(problem, configuration, row, asked, clock))
            asked += 1
        ended = heapq.heappop(running)
        clock = ended.ends
        method.tell(ended.number, ended.value)
        row.observed.append(ended.value)
        row.means.append(ended.mean)
        row.configurations.append(ended.configuration)
    return row


def _ask(method: Method, space: SearchSpace, row: Row, seen: set[tuple[Scalar, ...]]) -> dict[str, Scalar]:
    begin = time.perf_counter()
    configuration = dict(method.ask())
    row.ask_s.append(time.perf_counter() - begin)
    key = tuple(configuration[name] for name in space.names)
    row.duplicates += key in seen
    seen.add(key)
    return configuration


def _start(problem: Evaluable, configuration: dict[str, Scalar], row: Row, number: int, clock: float) -> _Trial:
    value, mean = problem.evaluate(configuration, np.random.default_rng([row.seed, number]))
    luck = float(np.random.default_rng([row.seed, number, 1]).lognormal(0.0, 0.3))
    is_short = value is None or _is_luck(value, row.chance)
    duration = problem.duration(configuration) * luck * (_ENDS_EARLY if is_short else 1.0)
    return _Trial(clock + duration, number, configuration, value, mean)


def _is_luck(value: float | None, chance: float | None) -> bool:
    return value is not None and chance is not None and value >= chance
