"""The `[compare]` of a study file, and the studies that a comparison begins with."""

from dataclasses import replace
from typing import Final

from cnnbo.daemon.document import Faults
from cnnbo.daemon.studyfile.optimizers import read_optimizer
from cnnbo.daemon.studyfile.tables import CompareTable, StudyTable
from cnnbo.models.registry import SVHN_CNN, SVHN_FOREST, find_model
from cnnbo.scheduler.comparison import FIGURE2, fixed_spec, search_spec
from cnnbo.scheduler.optimizers.registry import canonical_name
from cnnbo.scheduler.space import Configuration, SearchSpace
from cnnbo.scheduler.spec import Budget, Plan, Stage, StudySpec
from cnnbo.scheduler.study import FIRST_TIMEOUT_S

_LONGEST_NAME: Final = 25  # the names of its studies begin with it, and have 40 characters at most


def comparison_plan(table: StudyTable, faults: Faults) -> Plan:
    """The plan of a comparison; worth something only if no fault was noted."""
    compare = table.compare
    if compare is None:
        if not faults.has(("compare",)):
            faults.add(
                (), '[compare] is missing; add one, like [compare] with methods = ["bo", "random"] and runs = 5.'
            )
        compare = CompareTable()
    _check_methods(compare, faults)
    _check_file(table, compare, faults)
    return Plan(
        name=table.name or "",
        methods=tuple(compare.methods),
        runs=compare.runs,
        evaluations=table.evaluations,
        seed=table.seed,
        confirm=compare.confirm,
        twice=compare.twice,
        figure2=compare.figure2,
    )


def _check_methods(compare: CompareTable, faults: Faults) -> None:
    seen: dict[str, int] = {}
    for index, method in enumerate(compare.methods):
        path = ("compare", "methods", index)
        optimizer = read_optimizer(path, method, faults)
        first = seen.setdefault(optimizer, index)
        if optimizer and first != index:
            faults.add(path, f"compare.methods: no. {index + 1} is the same as no. {first + 1}; remove one.")


def _check_file(table: StudyTable, compare: CompareTable, faults: Faults) -> None:
    """What a study may have, but a comparison may not."""
    if table.name is not None and len(table.name) > _LONGEST_NAME:
        sentence = (
            f"name: a comparison's is at most {_LONGEST_NAME} characters, for its studies add theirs; shorten it."
        )
        faults.add(("name",), sentence)
    for key in ("wall_clock", "cost", "energy_kwh"):
        if getattr(table.budget, key) is not None:
            sentence = (
                f"budget.{key}: a comparison that stops half-way says nothing; lower evaluations or runs instead."
            )
            faults.add(("budget", key), sentence)
    if table.start is not None and len(table.start) > 1:
        sentence = (
            "start: the runs of a comparison begin with nothing; one configuration may stand here, the untuned one."
        )
        faults.add(("start", 1), sentence)
    if compare.figure2 and table.model != SVHN_CNN.name:
        sentence = f"compare.figure2: shows the parameters of {SVHN_CNN.name}'s optimizer; remove the line."
        faults.add(("compare", "figure2"), sentence)
    elif compare.figure2 and table.space is not None:
        written = {name: table.space[name].type if name in table.space else None for name in FIGURE2}
        if any(kind != "float" for kind in written.values()) and not faults.has(("space",)):
            sentence = (
                f"compare.figure2: varies {', '.join(FIGURE2)}; let the space have each as a float, or remove it."
            )
            faults.add(("compare", "figure2"), sentence)


def opening_specs(spec: StudySpec, plan: Plan, has_start: bool) -> tuple[StudySpec, ...]:
    """The studies that need no other's result, in the order in which they are created.

    Args:
        spec: the study file without its `[compare]`.
        plan: what the table says.
        has_start: whether the file itself names the untuned configuration.
    """
    # The limit that a study finds for itself depends on its own trials: methods would be judged by different rules.
    timeout_s = spec.trial.timeout_s or FIRST_TIMEOUT_S
    template = replace(
        spec,
        trial=replace(spec.trial, timeout_s=timeout_s),
        budget=Budget(price_per_device_hour=spec.budget.price_per_device_hour),
    )
    search = [
        search_spec(template, plan, method, canonical_name(method), run)
        for run in range(1, plan.runs + 1)
        for method in plan.methods
    ]
    return (*search, *_baselines(template, plan, has_start))


def _baselines(template: StudySpec, plan: Plan, has_start: bool) -> list[StudySpec]:
    baselines = []
    if has_start and template.start:
        baselines.append(fixed_spec(template, plan, Stage.UNTUNED, template.start[:1], plan.runs))
    elif template.model is not None:
        # In a space of the file's own the model's defaults may not lie.
        model = find_model(template.model)
        baselines.append(_baseline(template, plan, Stage.UNTUNED, model.space, model.defaults))
    if template.model == SVHN_CNN.name:
        forest = replace(template, model=SVHN_FOREST.name, metric=SVHN_FOREST.metric)
        baselines.append(_baseline(forest, plan, Stage.FOREST, SVHN_FOREST.space, SVHN_FOREST.defaults))
    return baselines


def _baseline(
    template: StudySpec, plan: Plan, stage: Stage, space: SearchSpace, configuration: Configuration
) -> StudySpec:
    return fixed_spec(replace(template, space=space), plan, stage, [configuration], plan.runs)
