"""cnnbo's own optimizers, through the study that a notebook would use."""

import math
from dataclasses import replace

from cnnbo.scheduler import Study, StudySpec, create_optimizer
from cnnbo.scheduler.space import Configuration
from cnnbo.scheduler.spec import Direction, ReportSettings
from proposing.simulation import Terms


class StudyMethod:
    """A study with an optimizer called inline: the code path of the daemon without the daemon."""

    def __init__(self, optimizer: str, terms: Terms) -> None:
        spec = StudySpec(
            terms.space,
            evaluations=terms.evaluations,
            optimizer=optimizer,
            seed=terms.seed,
            initial=max(terms.space.dimension + 1, terms.parallel),  # what the daemon fills in
            direction=Direction.MINIMIZE,
            report=ReportSettings(chance=terms.chance if math.isfinite(terms.chance) else None),
        )
        self._study = Study(spec, create_optimizer(optimizer, terms.space, terms.seed))
        self._ids: list[int] = []

    def ask(self) -> Configuration:
        """See `Method.ask`."""
        trial = self._study.ask()
        self._ids.append(trial.id)
        return self._study.spec.space.decode(trial.point)

    def tell(self, number: int, value: float | None) -> None:
        """See `Method.tell`."""
        self._study.tell(self._ids[number], value, failure="out_of_memory" if value is None else None)


class ConstantMethod:
    """The baseline of one line: cnnbo, to which whatever is at chance has one and the same value, the bound.

    The study knows of no chance, so that these are values like any others to its surrogate.
    """

    def __init__(self, terms: Terms) -> None:
        self._study = StudyMethod("trieste", replace(terms, chance=math.inf))
        self._chance = terms.chance

    def ask(self) -> Configuration:
        """See `Method.ask`."""
        return self._study.ask()

    def tell(self, number: int, value: float | None) -> None:
        """See `Method.tell`."""
        self._study.tell(number, None if value is None else min(value, self._chance))


def make_cnnbo(terms: Terms) -> StudyMethod:
    """The default of cnnbo: Bayesian optimisation with Trieste and GPflow."""
    return StudyMethod("trieste", terms)


def make_constant(terms: Terms) -> ConstantMethod:
    """The same where chance is one constant value."""
    return ConstantMethod(terms)


def make_random(terms: Terms) -> StudyMethod:
    """Random search."""
    return StudyMethod("random", terms)
