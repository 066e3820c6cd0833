"""A box with P devices on a simulated clock: asks, evaluates, tells, until the budget is spent."""

import heapq
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

import numpy as np

from cnnbo.scheduler.space import Configuration, Scalar, SearchSpace
from proposing.problems import Problem

EVALUATIONS = 80

_FAILS_AFTER = 0.3
"""A failing trial ends early: after this share of its duration."""


class Method(Protocol):
    """A proposer behind ask and tell. Trials are numbered 0, 1, … in the order asked."""

    def ask(self) -> Configuration:
        """The next configuration; what was asked and not told is pending."""

    def tell(self, number: int, value: float | None) -> None:
        """The value of a trial, to be minimised; None when it failed."""


MakeMethod = Callable[[SearchSpace, int, int, int], Method]
"""From space, seed, devices and evaluations to a method."""


@dataclass
class Row:
    """One run, as it is kept: a line of JSON.

    Attributes:
        problem, method, seed, parallel: what was run; unique together.
        versions: of the packages that took part.
        observed: value with noise of each trial in the order in which they ended, None where it failed.
        means: the same without noise.
        configurations: of each trial, in the order in which they ended.
        duplicates: trials whose configuration had been asked for before.
        ask_s: seconds of each ask, in the order asked; only comparable when the machine was otherwise idle.
        idle: whether the run was made on an otherwise idle machine, for the timing.
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

    @property
    def key(self) -> tuple[str, str, int, int]:
        """What makes the row unique."""
        return self.problem, self.method, self.seed, self.parallel

    def to_dict(self) -> dict[str, Any]:
        """JSON data; seconds to a tenth of a millisecond."""
        return asdict(self) | {"ask_s": [round(seconds, 4) for seconds in self.ask_s]}


def simulate(problem: Problem, name: str, make: MakeMethod, seed: int, parallel: int, versions: dict[str, str]) -> Row:
    """Run a method on a problem with `parallel` devices until `EVALUATIONS` trials have ended.

    The device that is free first asks next. Durations are the problem's, times a log-normal factor; noise and factor
    depend on seed and number of the trial only, so that every method meets the same luck.
    """
    method = make(problem.space, seed, parallel, EVALUATIONS)
    row = Row(problem.name, name, seed, parallel, versions)
    seen: set[tuple[Scalar, ...]] = set()
    running: list[tuple[float, int, dict[str, Scalar]]] = []
    asked, clock = 0, 0.0

    def start(asked: int, clock: float) -> None:
        begin = time.perf_counter()
        configuration = dict(method.ask())
        row.ask_s.append(time.perf_counter() - begin)
        key = tuple(configuration[name] for name in problem.space.names)
        row.duplicates += key in seen
        seen.add(key)
        heapq.heappush(running, (clock + _duration(problem, configuration, seed, asked), asked, configuration))

    while len(row.observed) < EVALUATIONS:
        while asked < EVALUATIONS and len(running) < parallel:
            start(asked, clock)
            asked += 1
        clock, number, configuration = heapq.heappop(running)
        value, mean = problem.evaluate(configuration, np.random.default_rng([seed, number]))
        method.tell(number, value)
        row.observed.append(value)
        row.means.append(mean)
        row.configurations.append(configuration)
    return row


def _duration(problem: Problem, configuration: Configuration, seed: int, number: int) -> float:
    luck = float(np.random.default_rng([seed, number, 1]).lognormal(0.0, 0.3))
    fails = _FAILS_AFTER if problem.mean(configuration) is None else 1.0
    return problem.duration(configuration) * luck * fails
