"""What a notebook tells of a trial, checked: a class of failure or a real number, else a sentence that says why not."""

import math

import numpy as np

from cnnbo.scheduler.errors import RequestError
from cnnbo.scheduler.trial import Failure, Trial, TrialState


def why_not_tellable(trial: Trial) -> str:
    """Why a trial that isn't running can't be told, as the rest of a sentence that names it."""
    if trial.state is TrialState.PENDING:
        return "is not running; ask() hands it out first."
    if trial.state is TrialState.CANCELLED:
        return "was cancelled with its study; nothing more is taken of it."
    end = f"failure {trial.failure}" if trial.value is None else f"value {trial.value}"
    return f"was told already ({end}), and that stands; ask() for another trial."


def failure_class(failure: object) -> Failure:
    """The class of that name.

    Raises:
        RequestError: there is none; the ones there are, are named.
    """
    known = [str(member) for member in Failure]
    if not isinstance(failure, str) or failure not in known:
        raise RequestError(f"{shown(failure)} is no failure class; use one of {', '.join(known)}.")
    return Failure(failure)


def real_number(value: object, trial_id: int) -> float:
    """A value as a float, NaN and infinities included; never by reading a text or counting a truth value.

    Raises:
        RequestError: it is no real number.
    """
    is_refused = isinstance(value, str | bytes | bool | np.bool_ | complex | np.complexfloating)
    try:
        if not is_refused and np.ndim(value) == 0:  # type: ignore[arg-type]
            return float(value)  # type: ignore[arg-type]
    except OverflowError:  # a whole number beyond any float
        return math.inf
    except (TypeError, ValueError):
        pass  # said below
    raise RequestError(f"trial {trial_id}: a value is one real number, not {shown(value)}; nothing was told.")


def shown(value: object) -> str:
    """A value for a sentence, short, with its type where that isn't plain."""
    text = " ".join(repr(value).split())  # an array's rows stand on lines of their own
    return f"{text if len(text) <= 40 else text[:39] + '…'} ({type(value).__name__})"
