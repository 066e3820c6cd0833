"""What to look at first in a study that ended with nothing learnt, or whose bound of luck told nothing."""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from cnnbo.scheduler.trial import TrialState

if TYPE_CHECKING:
    from cnnbo.scheduler.study import Study

_RATES: Final = ("learning_rate", "lr", "step_size", "alpha", "rate")
"""What people call a learning rate, the plainest names first."""


def advice(study: "Study") -> str | None:
    """A sentence without its full stop, or None where a study has not ended, or there is nothing to be said of luck.

    It is about a study all of whose values are at chance, and about one with `[report] chance` that none of them is.
    """
    values = [trial for trial in study.trials if trial.state is TrialState.COMPLETE]
    if not study.state.is_ended or not values:
        return None
    bound = study.spec.report.chance
    if study.at_chance == len(values):
        return f"no trial is better than chance: look first at {_suspects(study)}"
    if bound is not None and study.at_chance == 0:
        return (
            f"no trial is at chance: if that is unlikely, look at report.chance = {bound:g}, which is to be the best "
            f"value of luck where the direction is {study.spec.direction}"
        )
    return None


def _suspects(study: "Study") -> str:
    """What makes a whole study learn nothing, the likeliest first."""
    suspects = [f"the range of {_learning_rate(study.spec.space.names) or 'the learning rate'}"]
    if study.spec.report.pattern is not None:
        suspects.append("whether report.pattern finds the right number")
    if study.spec.report.chance is not None:
        suspects.append(
            f"whether report.chance = {study.spec.report.chance:g} is right where the direction is "
            f"{study.spec.direction}"
        )
    return ", then at ".join(suspects)


def _learning_rate(names: Sequence[str]) -> str | None:
    """The parameter that is most likely the learning rate, by its whole name or the end of it; None where none is.

    Example:
        >>> _learning_rate(("dropout_rate", "net.lr", "width"))
        'net.lr'
        >>> _learning_rate(("dropout_rate", "decay_rate")) is None
        True
    """
    for word in _RATES:
        for name in names:
            parts = re.split(r"[_.\-]", name.lower())
            is_named = name.lower() == word or (word != "rate" and parts[-len(word.split("_")) :] == word.split("_"))
            if is_named:
                return name
    return None
