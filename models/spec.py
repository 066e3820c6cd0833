"""What the daemon knows of a built-in model: names and ranges, no code of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from cnnbo.scheduler.errors import ConfigurationError
from cnnbo.scheduler.space import Scalar, SearchSpace


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """A model that comes with cnnbo; the training code is named, not imported.

    Attributes:
        name: what a study file calls it.
        space: its own search space, used by a study without a `[space]`.
        defaults: a value of every parameter; the first trial, and what a study's own `[space]` leaves out.
        module: the training script of one trial, run as `python -m <module>` under the trial contract.
        metric: name of the value it reports.
        direction: which values of the metric are better.
        prepare: module run as `python -m <module> DIR --task TASK [--images N]` before the first trial; exits 78 with
            the data's problems on stderr, one a line. None where there is nothing to prepare.
        batch_size: examples per update, unless the study says otherwise.
        epochs: passes over the training data, unless the study says otherwise.
        needs: packages without which `module` doesn't run, as they are imported.
        extra: the extra of cnnbo that installs them.
        weights: file that a final training leaves in its attempt's folder, which Keras loads; None if it leaves none.

    Raises:
        ConfigurationError: the defaults are no configuration of the space.
    """

    name: str
    space: SearchSpace
    defaults: Mapping[str, Scalar]
    module: str
    metric: str
    direction: Literal["maximize", "minimize"]
    prepare: str | None = None
    batch_size: int = 100
    epochs: int = 1
    needs: tuple[str, ...] = ()
    extra: str = ""
    weights: str | None = None

    def __post_init__(self) -> None:
        if problems := self.space.problems_with(self.defaults):
            raise ConfigurationError([f"model {self.name}: default {problem}." for problem in problems])
