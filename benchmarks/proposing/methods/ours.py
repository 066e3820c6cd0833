"""cnnbo's own optimizers, through the study that a notebook would use."""

from cnnbo.scheduler import Study, StudySpec, create_optimizer
from cnnbo.scheduler.space import Configuration, SearchSpace
from cnnbo.scheduler.spec import Direction


class StudyMethod:
    """A study with an optimizer called inline: the code path of the daemon without the daemon."""

    def __init__(self, optimizer: str, space: SearchSpace, seed: int, parallel: int, evaluations: int) -> None:
        spec = StudySpec(
            space,
            evaluations=evaluations,
            optimizer=optimizer,
            seed=seed,
            initial=max(space.dimension + 1, parallel),  # what the daemon fills in
            direction=Direction.MINIMIZE,
        )
        self._study = Study(spec, create_optimizer(optimizer, space, seed))
        self._ids: list[int] = []

    def ask(self) -> Configuration:
        """See `Method.ask`."""
        trial = self._study.ask()
        self._ids.append(trial.id)
        return self._study.spec.space.decode(trial.point)

    def tell(self, number: int, value: float | None) -> None:
        """See `Method.tell`."""
        self._study.tell(self._ids[number], value, failure="out_of_memory" if value is None else None)


def make_cnnbo(space: SearchSpace, seed: int, parallel: int, evaluations: int) -> StudyMethod:
    """The default of cnnbo: Bayesian optimisation with Trieste and GPflow."""
    return StudyMethod("trieste", space, seed, parallel, evaluations)


def make_random(space: SearchSpace, seed: int, parallel: int, evaluations: int) -> StudyMethod:
    """Random search."""
    return StudyMethod("random", space, seed, parallel, evaluations)
