"""Words that users of Optuna, Ray and W&B type, with what they are called here."""

from collections.abc import Mapping
from typing import Final

_OPTUNA: Final = "Optuna's"
_RAY: Final = "Ray's"
_WANDB: Final = "W&B's"

# key: (whose word it is, what to write here)
_STUDY: Final[Mapping[str, tuple[str, str]]] = {
    "n_trials": (_OPTUNA, 'here it is "evaluations".'),
    "num_samples": (_RAY, 'here it is "evaluations".'),
    "run_cap": (_WANDB, 'here it is "evaluations".'),
    "study_name": (_OPTUNA, 'here it is "name".'),
    "sampler": (_OPTUNA, 'here it is "optimizer".'),
    "search_alg": (_RAY, 'here it is "optimizer".'),
    "method": (_WANDB, 'here it is "optimizer".'),
    "n_startup_trials": (_OPTUNA, 'here it is "initial".'),
    "random_search_steps": (_RAY, 'here it is "initial".'),
    "directions": (_OPTUNA, 'here it is "direction", one for the one metric.'),
    "goal": (_WANDB, 'here it is "direction".'),
    "mode": (_RAY, 'here it is "direction".'),
    "parameters": (_WANDB, "here it is the table [space]."),
    "param_space": (_RAY, "here it is the table [space]."),
    "program": (_WANDB, 'here it is "command", a list of words.'),
    "points_to_evaluate": (_RAY, "here each is a table [[start]]."),
    "n_jobs": (_OPTUNA, 'here it is "max" in the table [devices].'),
    "max_concurrent_trials": (_RAY, 'here it is "max" in the table [devices].'),
    "max_concurrent": (_RAY, 'here it is "max" in the table [devices].'),
    "time_budget_s": (_RAY, 'here it is "wall_clock" in the table [budget], like "8h".'),
    "storage": (_OPTUNA, "here the journal is kept in the state folder: leave the line out."),
    "pruner": (_OPTUNA, "here every trial runs to its end: leave the line out."),
    "scheduler": (_RAY, "here every trial runs to its end: leave the line out."),
    "early_terminate": (_WANDB, "here every trial runs to its end: leave the table out."),
}

_PARAMETER: Final[Mapping[str, tuple[str, str]]] = {
    "min": (_WANDB, 'here it is "low".'),
    "max": (_WANDB, 'here it is "high".'),
    "lower": (_RAY, 'here it is "low".'),
    "upper": (_RAY, 'here it is "high".'),
    "values": (_WANDB, 'here it is "choices".'),
    "categories": (_RAY, 'here it is "choices".'),
    "value": (_WANDB, "here a fixed value belongs into the command, not into the space."),
    "distribution": (_WANDB, 'here it is "type" (float, int, categorical) and "scale" (linear, log).'),
    "log": (_OPTUNA, 'here it is scale = "log".'),
    "step": (_OPTUNA, 'here a grid is type = "int", or "categorical" with its choices.'),
    "q": (_WANDB, 'here a grid is type = "int", or "categorical" with its choices.'),
}

# key: what may be written as its value elsewhere, with the value here
_VALUES: Final[Mapping[str, Mapping[str, str]]] = {
    "direction": dict.fromkeys(("max", "maximise", "maximum", "up"), "maximize")
    | dict.fromkeys(("min", "minimise", "minimum", "down"), "minimize"),
    "optimizer": dict.fromkeys(("bayes", "bayesian", "bayesopt", "gp", "gpsampler", "tpe", "tpesampler"), "bo")
    | dict.fromkeys(("randomsampler", "random_search"), "random")
    | dict.fromkeys(("qmc", "qmcsampler", "grid"), "sobol"),
    "type": dict.fromkeys(("double", "real", "uniform", "loguniform", "log_uniform", "log_uniform_values"), "float")
    | dict.fromkeys(("integer", "int_uniform", "randint"), "int")
    | dict.fromkeys(("choice", "enum", "str", "string", "bool", "boolean"), "categorical"),
    "scale": dict.fromkeys(("logarithmic", "log10", "ln", "loguniform"), "log") | {"uniform": "linear"},
}


def foreign_key(key: str, *, in_parameter: bool) -> str | None:
    """What a key of another tool is called here, as a sentence; None if it isn't known.

    Args:
        key: the key as written.
        in_parameter: whether it stands in the table of a parameter, not of the study.
    """
    found = (_PARAMETER if in_parameter else _STUDY).get(key.lower())
    return found and f'"{key}" is {found[0]} word; {found[1]}'


def foreign_value(key: str, value: object) -> str | None:
    """The value of `key` here that means what another tool calls `value`; None if there is none."""
    return _VALUES.get(key, {}).get(value.lower()) if isinstance(value, str) else None
