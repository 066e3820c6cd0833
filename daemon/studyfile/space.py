"""The `[space]` of a study file, checked parameter by parameter."""

import re
from collections.abc import Iterable
from typing import Final, assert_never

from cnnbo.daemon.command import ARGS, variable_name
from cnnbo.daemon.document import Faults, did_you_mean, shown
from cnnbo.daemon.studyfile.tables import ParameterTable, StudyTable
from cnnbo.models.spec import ModelSpec
from cnnbo.scheduler.errors import ConfigurationError
from cnnbo.scheduler.space import (
    CategoricalParameter,
    FloatParameter,
    IntParameter,
    Parameter,
    Scalar,
    SearchSpace,
)

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,63}")


def build_space(table: StudyTable, model: ModelSpec | None, faults: Faults) -> SearchSpace | None:
    """The search space of a study: its own, else the model's.

    Parameters with a mistake are noted in `faults` and left out, so that the rest of the file can be judged.

    Returns:
        the space, or None where nothing of it can be made out.
    """
    if table.space is None:
        if model is None:
            _ask_for_space(table, faults)
        return model.space if model else None
    if not table.space and not faults.has(("space",)):
        faults.add(("space",), "space: name at least one parameter.")
    if table.command and ARGS in table.space:
        faults.add(("space", ARGS), "space.args: {args} stands for all parameters; give this one another name.")
    for problem in _shared_variables(table.space):
        faults.add(("space",), problem)
    parameters = [_read_parameter(name, written, model, faults) for name, written in table.space.items()]
    complete = tuple(parameter for parameter in parameters if parameter is not None)
    return SearchSpace(complete) if complete else None


def _ask_for_space(table: StudyTable, faults: Faults) -> None:
    renamed = any(faults.has((key,)) for key in ("space", "parameters", "param_space"))
    if table.command is not None and not renamed:
        faults.add((), "[space] is missing: name the parameters that the command is to be given.")


def _shared_variables(names: Iterable[str]) -> list[str]:
    owners: dict[str, str] = {}
    problems = []
    for name in names:
        first = owners.setdefault(variable_name(name), name)
        if first != name:
            problems.append(f"space: {first} and {name} would share the variable {variable_name(name)}; rename one.")
    return problems


def _read_parameter(name: str, written: ParameterTable, model: ModelSpec | None, faults: Faults) -> Parameter | None:
    path = ("space", name)
    if faults.has(path):  # a part was noted and left out already: what is missing now says nothing
        return None
    problems = _name_problems(name) or _key_problems(name, written) or _model_problems(name, written, model)
    try:
        return None if problems else _make_parameter(name, written)
    except ConfigurationError as error:
        problems = list(error.problems)
        return None
    finally:
        for problem in problems:
            faults.add(path, problem)


def _name_problems(name: str) -> list[str]:
    if _NAME.fullmatch(name):
        return []
    return [
        f"space: {shown(name)} can't be handed to a script; use up to 64 letters, digits and _ . -, a letter first."
    ]


def _key_problems(name: str, written: ParameterTable) -> list[str]:
    """The keys that a parameter lacks, and those that its type has no use for."""
    if written.type is None:
        likely = "categorical" if written.choices else "int" if isinstance(written.low, int) else "float"
        return [f'space.{name}: type is missing; this looks like type = "{likely}" (float, int, categorical).']
    given = written.model_fields_set - {"type"}
    wanted, allowed = ({"choices"}, set[str]()) if written.type == "categorical" else ({"low", "high"}, {"scale"})
    problems = [
        f"space.{name}: {key} is missing; type = {shown(written.type)} needs it." for key in sorted(wanted - given)
    ]
    unused = sorted(given - wanted - allowed)
    problems += [f"space.{name}: type = {shown(written.type)} has no {key}; remove it." for key in unused]
    if written.type == "int" and (isinstance(written.low, float) or isinstance(written.high, float)):
        problems.append(f'space.{name}: type = "int" needs whole numbers as low and high; or use type = "float".')
    return problems


def _model_problems(name: str, written: ParameterTable, model: ModelSpec | None) -> list[str]:
    """Why a built-in model can't take such a parameter."""
    if model is None:
        return []
    own = next((parameter for parameter in model.space.parameters if parameter.name == name), None)
    if own is None:
        return [f"space.{name}: {model.name} has no such parameter; {did_you_mean(name, model.space.names)}"]
    values = written.choices if written.choices is not None else [written.low, written.high]
    if written.type == "float" and isinstance(own, IntParameter):
        return [f'space.{name}: {model.name} takes whole numbers here; use type = "int".']
    unfit = [value for value in values if value is not None and not _is_kind_of(own, value)]
    return [f"space.{name}: {model.name} can't take {shown(value)} here; remove it." for value in unfit]


def _is_kind_of(own: Parameter, value: Scalar) -> bool:
    match own:
        case IntParameter():
            return type(value) is int
        case FloatParameter():
            return isinstance(value, int | float) and not isinstance(value, bool)
        case CategoricalParameter():
            return own.problem_with(value) is None
        case _ as unreachable:
            assert_never(unreachable)


def _make_parameter(name: str, written: ParameterTable) -> Parameter:
    if written.type == "categorical":
        return CategoricalParameter(name, tuple(written.choices or ()))
    low, high, scale = written.low or 0, written.high or 0, written.scale or "linear"
    if written.type == "int":
        return IntParameter(name, int(low), int(high), scale)
    return FloatParameter(name, float(low), float(high), scale)
