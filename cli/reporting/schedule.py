"""How long a list of trials takes on so many devices: a simulated asynchronous schedule."""

import heapq
from collections.abc import Iterable


def end_times(durations_s: Iterable[float], devices: int) -> list[float]:
    """When each trial ends if every device takes the next of the list as soon as it is free.

    Args:
        durations_s: seconds of each trial, >= 0, in the order in which they start.
        devices: how many take trials, >= 1.

    Returns:
        seconds from the start of the first trial to the end of each, in the order of the list.

    Example:
        >>> end_times([4, 1, 2, 1], devices=2)
        [4.0, 1.0, 3.0, 4.0]
        >>> max(end_times([4, 1, 2, 1], devices=2)), sum([4, 1, 2, 1]) / 2  # it never scales better than perfectly
        (4.0, 4.0)
    """
    free = [0.0] * devices
    ends = []
    for duration_s in durations_s:
        end = free[0] + duration_s
        heapq.heapreplace(free, end)
        ends.append(end)
    return ends
