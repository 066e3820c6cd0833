"""Optuna's samplers behind ask and tell, at their defaults for parallel trials."""

import warnings
from typing import assert_never

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from cnnbo.scheduler.space import (
    CategoricalParameter,
    Configuration,
    FloatParameter,
    IntParameter,
    Parameter,
    SearchSpace,
)
from proposing.simulation import Terms

optuna.logging.set_verbosity(optuna.logging.WARNING)
warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)


class OptunaMethod:
    """An Optuna study; trials asked for and not told are RUNNING, which both samplers take into account.

    Optuna knows no chance: such a value is told as it is, a trial without any as failed.
    """

    def __init__(self, space: SearchSpace, sampler: optuna.samplers.BaseSampler) -> None:
        self._study = optuna.create_study(sampler=sampler)
        self._parameters = space.parameters
        self._distributions = {p.name: _distribution(p) for p in space.parameters}
        self._trials: list[optuna.Trial] = []

    def ask(self) -> Configuration:
        """See `Method.ask`."""
        trial = self._study.ask(self._distributions)
        self._trials.append(trial)
        return {p.name: _value(p, trial.params[p.name]) for p in self._parameters}

    def tell(self, number: int, value: float | None) -> None:
        """See `Method.tell`."""
        if value is None:
            self._study.tell(self._trials[number], state=optuna.trial.TrialState.FAIL)
        else:
            self._study.tell(self._trials[number], value)


def _distribution(parameter: Parameter) -> BaseDistribution:
    match parameter:
        case FloatParameter(scale="reverse-log", low=low, high=high):
            return FloatDistribution(1 - high, 1 - low, log=True)  # Optuna has no such scale: search 1 - x
        case FloatParameter(scale=scale, low=low, high=high):
            return FloatDistribution(low, high, log=scale == "log")
        case IntParameter(scale=scale, low=low, high=high):
            return IntDistribution(low, high, log=scale == "log")
        case CategoricalParameter(choices=choices):
            return CategoricalDistribution(choices)
        case _ as unreachable:
            assert_never(unreachable)


def _value(parameter: Parameter, raw: float | int | str | bool) -> float | int | str | bool:
    is_reversed = isinstance(parameter, FloatParameter) and parameter.scale == "reverse-log"
    return 1 - float(raw) if is_reversed else raw


def make_tpe(terms: Terms) -> OptunaMethod:
    """Tree-structured Parzen estimator, multivariate, with the constant liar."""
    return OptunaMethod(terms.space, optuna.samplers.TPESampler(seed=terms.seed, multivariate=True, constant_liar=True))


def make_gpsampler(terms: Terms) -> OptunaMethod:
    """Gaussian process with qLogEI over running trials, Optuna's default of 10 random trials first."""
    return OptunaMethod(terms.space, optuna.samplers.GPSampler(seed=terms.seed))
