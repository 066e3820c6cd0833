"""BoTorch's qLogNoisyExpectedImprovement, put together as its documentation does it."""

import warnings

import numpy as np
import torch
from botorch.acquisition.logei import qLogNoisyExpectedImprovement
from botorch.exceptions.warnings import BotorchWarning
from botorch.fit import fit_gpytorch_mll
from botorch.models import SingleTaskGP
from botorch.models.transforms import Standardize
from botorch.optim import optimize_acqf
from botorch.optim.optimize_mixed import optimize_acqf_mixed_alternating
from botorch.sampling.normal import SobolQMCNormalSampler
from botorch.utils.sampling import draw_sobol_samples
from gpytorch.mlls import ExactMarginalLogLikelihood
from torch import Tensor

from cnnbo.scheduler.optimizers.distinct import bin_centres
from cnnbo.scheduler.space import CategoricalParameter, Configuration, IntParameter, Parameter, SearchSpace
from proposing.simulation import Terms

warnings.filterwarnings("ignore", category=BotorchWarning)
warnings.filterwarnings("ignore", module="linear_operator")

_RESTARTS = 10
_RAW_SAMPLES = 256
_MC_SAMPLES = 128


class BotorchMethod:
    """SingleTaskGP at its defaults, qLogNEI with the running trials as X_pending.

    BoTorch leaves failures to its caller. Here failed points count as pending ones, which is what Ax does with
    abandoned trials: they are not proposed again, and nobody knows that they failed. A value at chance is told as it
    is.
    """

    def __init__(self, space: SearchSpace, seed: int, parallel: int) -> None:
        torch.set_num_threads(1)
        torch.manual_seed(seed)
        self._space = space
        self._columns = _columns(space)
        width = self._columns[-1][1].stop
        self._bounds = torch.tensor([[0.0] * width, [1.0] * width], dtype=torch.double)
        self._discrete = _discrete_columns(self._columns)
        for column, values in self._discrete.items():
            self._bounds[:, column] = torch.tensor([min(values), max(values)], dtype=torch.double)
        count = max(space.dimension + 1, parallel)
        unit = torch.tensor([[0.0] * space.dimension, [1.0] * space.dimension], dtype=torch.double)
        self._initial = draw_sobol_samples(unit, count, 1, seed=seed).squeeze(1).tolist()
        self._asked: list[list[float]] = []
        self._told: dict[int, float | None] = {}

    def ask(self) -> Configuration:
        """See `Method.ask`."""
        has_values = sum(value is not None for value in self._told.values()) > 1
        if len(self._asked) < len(self._initial) or not has_values:
            number = len(self._asked)
            anywhere = np.random.default_rng(number).random(self._space.dimension).tolist()
            point = self._initial[number] if number < len(self._initial) else anywhere
        else:
            point = self._best()
        canonical = list(self._space.canonical(point))
        self._asked.append(canonical)
        return self._space.decode(canonical)

    def tell(self, number: int, value: float | None) -> None:
        """See `Method.tell`."""
        self._told[number] = value

    def _best(self) -> list[float]:
        values = {number: value for number, value in self._told.items() if value is not None}
        observed = self._features([self._asked[number] for number in values])
        targets = -torch.tensor(list(values.values()), dtype=torch.double).unsqueeze(-1)
        waiting = [point for number, point in enumerate(self._asked) if number not in values]
        model = SingleTaskGP(observed, targets, outcome_transform=Standardize(m=1))
        fit_gpytorch_mll(ExactMarginalLogLikelihood(model.likelihood, model))
        acquisition = qLogNoisyExpectedImprovement(
            model,
            observed,
            sampler=SobolQMCNormalSampler(torch.Size([_MC_SAMPLES])),
            X_pending=self._features(waiting) if waiting else None,
        )
        return self._point(self._maximise(acquisition))

    def _maximise(self, acquisition: qLogNoisyExpectedImprovement) -> Tensor:
        if not self._discrete:
            best, _ = optimize_acqf(acquisition, self._bounds, 1, num_restarts=_RESTARTS, raw_samples=_RAW_SAMPLES)
            return best[0]
        best, _ = optimize_acqf_mixed_alternating(
            acquisition,
            self._bounds,
            discrete_dims=self._discrete,
            num_restarts=_RESTARTS,
            raw_samples=_RAW_SAMPLES,
        )
        return best[0]

    def _features(self, points: list[list[float]]) -> Tensor:
        """Points (n, D) with choices one-hot: (n, E)."""
        features = torch.zeros(len(points), self._bounds.shape[1], dtype=torch.double)
        for d, (parameter, columns) in enumerate(self._columns):
            for k, point in enumerate(points):
                if isinstance(parameter, CategoricalParameter):
                    count = columns.stop - columns.start
                    features[k, columns.start + min(int(point[d] * count), count - 1)] = 1
                else:
                    features[k, columns.start] = point[d]
        return features

    def _point(self, features: Tensor) -> list[float]:
        point = []
        for parameter, columns in self._columns:
            block = features[columns]
            is_choice = isinstance(parameter, CategoricalParameter)
            point.append((int(block.argmax()) + 0.5) / len(block) if is_choice else float(block[0]))
        return point


Columns = list[tuple[Parameter, slice]]
"""The parameters with their columns among the features."""


def _columns(space: SearchSpace) -> Columns:
    columns, start = [], 0
    for parameter in space.parameters:
        width = len(parameter.choices) if isinstance(parameter, CategoricalParameter) else 1
        columns.append((parameter, slice(start, start + width)))
        start += width
    return columns


def _discrete_columns(columns: Columns) -> dict[int, list[float]]:
    """Columns of whole numbers and of one-hot choices with the values they may take."""
    discrete: dict[int, list[float]] = {}
    for parameter, block in columns:
        if isinstance(parameter, CategoricalParameter):
            discrete.update({k: [0.0, 1.0] for k in range(block.start, block.stop)})
        elif isinstance(parameter, IntParameter):
            discrete[block.start] = list(bin_centres(parameter))
    return discrete


def make_qlognei(terms: Terms) -> BotorchMethod:
    """Noisy log EI by Monte Carlo over BoTorch's default SingleTaskGP."""
    return BotorchMethod(terms.space, terms.seed, terms.parallel)
