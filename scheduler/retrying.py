"""Whether trials may be retried now: their observations withdrawn, and run again."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, assert_never

from cnnbo.scheduler.errors import RequestError
from cnnbo.scheduler.trial import Trial, TrialState

if TYPE_CHECKING:
    from cnnbo.scheduler.study import Study


def check_retry(study: "Study", trials: Sequence[int]) -> None:
    """Refuse a retry that can't be, all its trials or none.

    Args:
        study: whose trials they are.
        trials: their ids.

    Raises:
        RequestError: the study is over for good, its budget is spent, or a trial is none or hasn't ended.
    """
    if study.state == "cancelled" or study.is_archived:
        raise RequestError(
            f"study {study.name} is {'archived' if study.is_archived else 'cancelled'}, and its trials run no more; "
            f"to try them anew, free its name and submit it again: cnnbo delete {study.name}"
        )
    refusals = [(trial, _why_not(study.trial(trial))) for trial in trials]
    if refused := [f"trial {trial} {why}" for trial, why in refusals if why is not None]:
        raise RequestError(f"study {study.name}: {'; '.join(refused)}; nothing was retried.")
    if study.budget_limit is not None:
        raise budget_refusal(study, study.budget_limit)


def budget_refusal(study: "Study", limit: str) -> RequestError:
    """Why nothing is retried once a limit of the budget is reached: withdrawn and never run again would be lost."""
    return RequestError(
        f"study {study.name} has spent its budget, so a retried trial could not run; raise budget.{limit} in its "
        "study file and submit that, then retry."
    )


def crash_budget_refusal(study: "Study", limit: str) -> RequestError:
    """Why a study that crashes paused can't go on once a limit of its budget is reached, and what can be done."""
    return RequestError(
        f"study {study.name} was paused by equal crashes and has spent its budget, so what crashed could not run "
        f"again; raise budget.{limit} in its study file and give the same command, or let it end: "
        f"cnnbo resume {study.name}"
    )


def _why_not(trial: Trial) -> str | None:
    match trial.state:
        case TrialState.COMPLETE | TrialState.FAILED:
            return None
        case TrialState.PENDING:
            return "waits to run already"
        case TrialState.RUNNING:
            return "is running, and can be retried when it has ended"
        case TrialState.CANCELLED:
            return "was cancelled with its study"
        case _ as unreachable:
            assert_never(unreachable)
