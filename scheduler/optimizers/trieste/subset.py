"""Which observations a surrogate is fitted to when there are more than it can take in the time of an ask."""

import numpy as np
import numpy.typing as npt

from cnnbo.scheduler.optimizers.base import Points

FITTED_AT_MOST = 500
"""An ask grows with the cube of the observations; so many take about a second and a half."""

CLASSIFIED_AT_MOST = 250
"""The same where sites have to be found for rows, failures or trials at chance: that is dearer by far."""

Rows = npt.NDArray[np.int_]


def rows_to_fit(objectives: Points, censored: int) -> tuple[Rows, Rows]:
    """Rows of the observations and of the trials at chance to fit to, rising: all of them where they are few.

    Of more observations the best and a spread over the rest are taken (`best_and_rest`), of more trials at chance a
    spread over their age (`rows_to_classify`).

    Args:
        objectives: of the observations, shape (N, 1), lower is better.
        censored: how many trials are at chance, >= 0.
    """
    if censored == 0:
        return best_and_rest(objectives, FITTED_AT_MOST), np.arange(0)
    measured, at_chance = rows_to_classify(len(objectives), censored)
    return best_and_rest(objectives, len(measured)), at_chance


def best_and_rest(objectives: Points, limit: int) -> Rows:
    """Rows of the observations to fit to, rising: all of them up to `limit`.

    Beyond that, half of the limit are the best ones, for the optimum is looked for among them; the other half are
    spread evenly over the age of the rest, so that the surrogate knows where it is bad, too.

    Args:
        objectives: shape (N, 1), lower is better.
        limit: how many rows at most, >= 2.

    Example:
        >>> best_and_rest(np.array([[5.0], [1.0], [4.0], [0.0], [3.0], [2.0]]), limit=4).tolist()
        [0, 1, 3, 5]
    """
    count = len(objectives)
    if count <= limit:
        return np.arange(count)
    order = np.argsort(objectives[:, 0], kind="stable")
    best, rest = order[: limit // 2], np.sort(order[limit // 2 :])
    return np.sort(np.concatenate([best, rest[_spread(len(rest), limit - limit // 2)]]))


def rows_to_classify(finished: int, failed: int, limit: int = CLASSIFIED_AT_MOST) -> tuple[Rows, Rows]:
    """Rows of finished and of failed trials to fit to, rising: all of them up to `limit` together.

    Beyond that each kind keeps its share, but at least a quarter of the limit where it has so many, spread evenly over
    their age, the newest included: what failed long ago would be tried again if it were forgotten.

    Args:
        finished: how many trials finished, >= 0.
        failed: how many failed, >= 0.
        limit: how many rows at most, >= 4.

    Example:
        >>> [rows.tolist() for rows in rows_to_classify(9, 2, limit=8)]
        [[0, 1, 3, 4, 6, 8], [0, 1]]
    """
    if finished + failed <= limit:
        return np.arange(finished), np.arange(failed)
    share = round(limit * failed / (finished + failed))
    kept = min(max(share, limit // 4), limit - limit // 4, failed)
    kept = max(kept, limit - finished)
    return _spread(finished, limit - kept), _spread(failed, kept)


def _spread(count: int, limit: int) -> Rows:
    return np.linspace(0, count - 1, limit).astype(int)
