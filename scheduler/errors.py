"""Every exception of cnnbo, one class per reaction of the caller.

```
CnnboError
├── ConfigurationError      something the user wrote or pointed at is wrong: fix it, nothing was started (exit 78)
│   └── NotReadyError       the box isn't ready to start on yet: whoever can wait tries again, others end as above
├── RequestError            the request can't be carried out now: the sentence says what to do (exit 1)
├── InvalidTransitionError  an event that contradicts the state of a study: a bug or a late message
├── SurrogateFitError       no surrogate could be fitted: fall back to Sobol
└── SpaceExhaustedError     every configuration of a finite space has been proposed
```

Expected failures of a trial (out of memory, NaN, non-zero exit) are events, not exceptions.
"""

from collections.abc import Sequence


class CnnboError(Exception):
    """Root of all errors cnnbo raises on purpose; its text is one sentence for the user: what, where, what to do."""


class ConfigurationError(CnnboError):
    """Wrong input, found before anything was started; leads to exit status 78.

    Attributes:
        problems: one sentence per mistake, each naming place, culprit and remedy; at least one.
    """

    def __init__(self, problems: str | Sequence[str]) -> None:
        self.problems: tuple[str, ...] = (problems,) if isinstance(problems, str) else tuple(problems)
        super().__init__("\n".join(self.problems))


class NotReadyError(ConfigurationError):
    """The box can't be started on now and may heal by itself: a full disk, a driver that isn't loaded yet."""


class RequestError(CnnboError):
    """A well-formed request that can't be carried out now; leads to exit status 1."""


class InvalidTransitionError(CnnboError):
    """An event that contradicts the state of the study.

    Attributes:
        study: name of the study.
        trial: id of the trial, or None for an event about the study itself.
        state: the state the event met.
        event: the event's class name.
        history: the last events of that trial, oldest first, for the log.
    """

    def __init__(self, study: str, trial: int | None, state: str, event: str, history: Sequence[str] = ()) -> None:
        self.study = study
        self.trial = trial
        self.state = state
        self.event = event
        self.history = tuple(history)
        where = f"study {study}" if trial is None else f"trial {trial} of study {study}"
        super().__init__(
            f"{event} does not fit {where}, which is {state} (last events: {', '.join(history) or 'none'})."
        )


class SurrogateFitError(CnnboError):
    """No surrogate model could be fitted; the caller takes the next Sobol point and logs it."""


class SpaceExhaustedError(CnnboError):
    """Every configuration of a finite search space has been proposed already."""
