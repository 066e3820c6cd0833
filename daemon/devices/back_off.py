"""When to try again what failed."""

from collections.abc import Callable


class BackOff:
    """Waits that double from one failure to the next. Not to be used by two threads at once.

    Args:
        first_s: how long to wait after the first failure, in seconds.
        longest_s: how long to wait at most.
        clock: seconds of a monotonic clock.
    """

    def __init__(self, first_s: float, longest_s: float, clock: Callable[[], float]) -> None:
        self._first_s = first_s
        self._longest_s = longest_s
        self._clock = clock
        self._next_s = first_s
        self._until: float | None = None  # None = nothing failed since the last success

    @property
    def is_waiting(self) -> bool:
        """Whether it is too early to try again."""
        return self._until is not None and self._clock() < self._until

    @property
    def is_over(self) -> bool:
        """Whether something failed and it is time to try again."""
        return self._until is not None and not self.is_waiting

    def fail(self) -> None:
        """Note a failure: a wait begins, twice as long as the one before."""
        self._until = self._clock() + self._next_s
        self._next_s = min(2 * self._next_s, self._longest_s)

    def reset(self) -> None:
        """Note a success: nothing is waited for, and the next wait is the first one again."""
        self._until = None
        self._next_s = self._first_s
