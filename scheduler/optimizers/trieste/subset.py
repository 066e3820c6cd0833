"""Which observations a surrogate is fitted to when there are more than it can take in the time of an ask."""

import numpy as np
import numpy.typing as npt

from cnnbo.scheduler.optimizers.base import Points

FITTED_AT_MOST = 500
"""An ask grows with the cube of the observations; so many take about a second and a half."""


def telling(objectives: Points, limit: int = FITTED_AT_MOST) -> npt.NDArray[np.int_]:
    """Rows of the observations to fit to, rising: all of them up to `limit`.

    Beyond that, half of the limit are the best ones, for the optimum is looked for among them; the other half are
    spread evenly over the order of the rest, so that the surrogate knows where it is bad, too.

    Args:
        objectives: shape (N, 1), lower is better.
        limit: how many rows at most, >= 2.

    Example:
        >>> telling(np.array([[5.0], [1.0], [4.0], [0.0], [3.0], [2.0]]), limit=4).tolist()
        [0, 1, 3, 5]
    """
    count = len(objectives)
    if count <= limit:
        return np.arange(count)
    order = np.argsort(objectives[:, 0], kind="stable")
    best, rest = order[: limit // 2], np.sort(order[limit // 2 :])
    spread = rest[np.linspace(0, len(rest) - 1, limit - limit // 2).astype(int)]
    return np.sort(np.concatenate([best, spread]))
