"""The training that makes the best configuration of a study a network to keep: a study of its own, of one trial."""

import hashlib
from dataclasses import replace
from typing import Final

from cnnbo.scheduler.comparison import derived_seed, final_form
from cnnbo.scheduler.spec import Budget, StudySpec
from cnnbo.scheduler.study import Study
from cnnbo.scheduler.trial import Trial

_LONGEST_NAME: Final = 40
_DIGEST: Final = 6


def final_name(study: str, trial: int) -> str:
    """Name of the study that trains a trial's configuration at last.

    A name that would be too long is cut, and a digest of it tells it from others that begin alike.

    Example:
        >>> final_name("svhn", 29)
        'svhn-best-29'
        >>> final_name("a-name-of-nearly-all-forty-characters", 7)
        'a-name-of-nearly-all-forty-66848f-best-7'
    """
    suffix = f"-best-{trial}"
    room = _LONGEST_NAME - len(suffix)
    if len(study) <= room:
        return study + suffix
    digest = hashlib.sha256(study.encode()).hexdigest()[:_DIGEST]
    return f"{study[: room - _DIGEST - 1].rstrip('-')}-{digest}{suffix}"


def final_spec(study: Study, trial: Trial) -> StudySpec:
    """The study that trains a trial's configuration on all tuning data and scores it on the test set.

    It uses the devices as the study does. The study's budget was for the search, and doesn't limit it.
    """
    spec = study.spec
    return replace(
        final_form(spec),
        name=final_name(spec.name, trial.id),
        optimizer="random",  # which is never asked
        evaluations=1,
        initial=0,
        start=(trial.configuration,),
        repeats=1,
        seed=derived_seed(spec.seed, f"best {trial.id}"),
        budget=Budget(price_per_device_hour=spec.budget.price_per_device_hour),
        part=None,
    )
