"""What the surrogate believes, in the words that `cnnbo show` and the monitor share."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from cnnbo.scheduler.insight import StudyInsight

SHOWN = 5
"""Of so many parameters the relevance is shown at most."""

LEAST_SHARE = 0.03
"""A parameter with a smaller share of the relevance is not worth its columns."""

_LONGEST = 7


@dataclass(frozen=True, slots=True)
class Marks:
    """Characters beyond ASCII, or what stands for them: a bar's block, plus-minus, a separator."""

    block: str
    plus_minus: str
    dot: str


UNICODE_MARKS = Marks("▇", "±", "·")
ASCII_MARKS = Marks("#", "+-", "-")


def marks_for(encoding: str | None) -> Marks:
    """What a terminal or file of that encoding can show."""
    return UNICODE_MARKS if "utf" in (encoding or "").lower() else ASCII_MARKS


def relevances(insight: StudyInsight, marks: Marks) -> list[str]:
    """Parameters with a bar each, the most relevant first; empty where there is nothing to compare.

    >>> relevances(StudyInsight({"learning_rate": 0.6, "momentum": 0.3, "width": 0.09, "decay": 0.01}), UNICODE_MARKS)
    ['learning_rate ▇▇▇▇▇▇▇', 'momentum ▇▇▇▇', 'width ▇']
    """
    largest = max(insight.relevance.values(), default=0.0)
    if len(insight.relevance) < 2 or largest <= 0:
        return []
    shown = [(name, share) for name, share in insight.relevance.items() if share >= LEAST_SHARE][:SHOWN]
    return [f"{name} {marks.block * max(1, round(_LONGEST * share / largest))}" for name, share in shown]


def fitting(words: Sequence[str], room: int, separator: str = "  ") -> str:
    """As many of the words, from the first on, as fit into `room` columns."""
    kept = list(words)
    while kept and len(separator.join(kept)) > room:
        kept.pop()
    return separator.join(kept)


def believed_best(insight: StudyInsight, marks: Marks) -> str | None:
    """The value believed of the best configuration, with its uncertainty; None where not told.

    >>> believed_best(StudyInsight(best_mean=0.91234, best_sd=0.0041), UNICODE_MARKS)
    '0.912 ± 0.004'
    """
    mean, sd = insight.best_mean, insight.best_sd
    if mean is None:
        return None
    if sd is None or sd == 0:
        return f"{mean:.6g}"
    decimals = -math.floor(math.log10(float(f"{sd:.0e}")))  # the place of the deviation's first digit
    if 0 <= decimals <= 6:
        return f"{round(mean, decimals) + 0.0:.{decimals}f} {marks.plus_minus} {sd:.{decimals}f}"
    return f"{mean:.6g} {marks.plus_minus} {sd:.1g}"


def next_gain(insight: StudyInsight) -> str | None:
    """What the next trial is expected to bring, beside the noise that would hide it; None where not told.

    >>> next_gain(StudyInsight(expected_improvement=0.00214, noise_sd=0.004))
    'expected gain 0.0021 (noise 0.004)'
    """
    gain, noise = insight.expected_gain, insight.noise_sd
    if gain is None:
        return None
    return f"expected gain {gain:.2g}" + ("" if noise is None else f" (noise {noise:.2g})")


def fitted_to(insight: StudyInsight) -> str | None:
    """How much the surrogate has seen; None where not told.

    >>> fitted_to(StudyInsight(observations=300, observed=812)), fitted_to(StudyInsight(observations=38))
    ('fitted to 300 of 812 observations', 'fitted to 38 observations')
    """
    seen, total = insight.observations, insight.observed
    if seen is None:
        return None
    return f"fitted to {seen}{'' if total is None or total == seen else f' of {total}'} observations"


def stop_command(study: str) -> str:
    """What to type to follow the hint.

    `pause` and not `cancel`: running trials go on to their end, `best` works, and `resume` takes it back.
    """
    return f"cnnbo pause {study}"


def stop_hint(insight: StudyInsight, study: str) -> str:
    """That stopping is reasonable, why, and how."""
    count = insight.asks_below_noise
    why = f"the last {count} proposals promised less than the noise of one trial"
    return f"{why}; stopping is reasonable: {stop_command(study)}"
