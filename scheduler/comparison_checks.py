"""What a comparison may be begun with, and beside which studies."""

from collections.abc import Iterable, Sequence

from cnnbo.scheduler.comparison import names, study_name
from cnnbo.scheduler.errors import ConfigurationError, RequestError
from cnnbo.scheduler.spec import Plan, StudySpec
from cnnbo.scheduler.study import Study, StudyState


def plan_of(specs: Sequence[StudySpec]) -> Plan:
    """The plan of a comparison that begins with these studies.

    Raises:
        RequestError: they are no comparison's.
    """
    first = specs[0].part
    is_sound = all(
        spec.part is not None
        and first is not None
        and spec.part.plan == first.plan
        and spec.name == study_name(spec.part)
        for spec in specs
    )
    if first is None or not is_sound:
        raise RequestError("the studies in the request are no comparison's; is this command line newer?")
    return first.plan


def check_comparison(plan: Plan, specs: Sequence[StudySpec], studies: Iterable[Study]) -> None:
    """Refuse to begin a comparison, or to go on with it, where that can't lead anywhere.

    Args:
        plan: of the comparison.
        specs: the studies it begins with.
        studies: those that are there.

    Raises:
        RequestError: it is over, or would come upon another study's name.
        ConfigurationError: it has another plan.
    """
    needed = names(plan) | {spec.name for spec in specs}
    for study in studies:
        own = study.spec.part
        if own is None or own.plan.name != plan.name:
            if study.name in needed:
                raise RequestError(
                    f"comparison {plan.name} needs the name {study.name}, which another study has; give it a new name."
                )
        elif own.plan != plan:
            raise ConfigurationError(
                f"comparison {plan.name} exists with another evaluations, seed or [compare]; "
                "give it a new name, or the old values to go on."
            )
        elif study.state is StudyState.CANCELLED or study.is_archived:
            raise RequestError(
                f"comparison {plan.name} is {'archived' if study.is_archived else 'cancelled'}; "
                f"give it a new name, or free this one: cnnbo delete {plan.name}"
            )


def plan_needing(name: str, studies: Iterable[Study]) -> Plan | None:
    """The plan of a comparison among these studies that needs this name, now or later; None where there is none."""
    plans = {study.spec.part.plan.name: study.spec.part.plan for study in studies if study.spec.part}
    return next((plan for plan in plans.values() if name in names(plan)), None)
