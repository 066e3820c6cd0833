"""Real trainings at configurations drawn uniformly, without any optimizer: what there is to be found on a live problem.

Training `number` is a function of the problem and that number, so that a table is gone on with at any time, on any
machine; the seconds are the machine's.
"""

import fcntl
import json
import math
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import numpy as np

from cnnbo.scheduler.space import Scalar
from proposing.live import LiveProblem

_SEED: Final = 99


@dataclass(frozen=True)
class Training:
    """One training, as it is kept: a line of JSON.

    Attributes:
        number: from 0; what was drawn follows from it.
        configuration: drawn uniformly from the problem's space.
        seed: of the training.
        value: 1 - validation accuracy; None where it came to no number.
        chance: the best value that luck explains.
        seconds: that it took here, next to whatever else ran.
    """

    number: int
    configuration: dict[str, Scalar]
    seed: int
    value: float | None
    chance: float
    seconds: float

    @property
    def is_useful(self) -> bool:
        """Whether the value is better than chance."""
        return self.value is not None and self.value < self.chance


def train(problem: LiveProblem, number: int) -> Training:
    """Carry out training `number` of a problem."""
    configuration, seed = draw(problem, number)
    begin = time.perf_counter()
    value = problem.network.train(configuration, seed)
    seconds = round(time.perf_counter() - begin, 3)
    return Training(number, configuration, seed, value, problem.chance(), seconds)


def draw(problem: LiveProblem, number: int) -> tuple[dict[str, Scalar], int]:
    """Configuration and seed of training `number`."""
    rng = np.random.default_rng([_SEED, number])
    configuration = problem.space.decode(rng.random(problem.space.dimension).tolist())
    return dict(configuration), int(rng.integers(2**31))


def go_on(problem: LiveProblem, count: int, path: Path) -> Iterator[Training]:
    """Carry out which of the first `count` trainings a file lacks, adding each to it as it ends."""
    done = {training.number for training in load(path)}
    for number in range(count):
        if number not in done:
            training = train(problem, number)
            append(path, training)
            yield training


def append(path: Path, training: Training) -> None:
    """Add a training at once and whole, also when several processes write the same file."""
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.write(json.dumps(asdict(training), separators=(",", ":")) + "\n")


def load(path: Path) -> list[Training]:
    """The trainings of a file; none where it does not exist.

    Raises:
        ValueError: a line is no training; it names file and line.
    """
    lines = path.read_text().splitlines() if path.exists() else []
    return [_parsed(path, number, line) for number, line in enumerate(lines, start=1)]


def _parsed(path: Path, number: int, line: str) -> Training:
    try:
        return Training(**json.loads(line))
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path}:{number} is no training of this benchmark; delete the line and run again.") from error


def summary(trainings: list[Training]) -> str:
    """A sentence: how many there are, what comes to anything, the best."""
    if not trainings:
        return "no trainings"
    useful = sum(training.is_useful for training in trainings) / len(trainings)
    failed = sum(training.value is None for training in trainings) / len(trainings)
    best = min((t.value for t in trainings if t.value is not None), default=math.nan)
    return (
        f"{len(trainings)} trainings: {useful:.0%} better than chance, {failed:.0%} without a number, best {best:.4g}"
    )
