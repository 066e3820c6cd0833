"""From the tables of a study file to a `StudySpec`: what must be there, what fits together, what is filled in."""

import os
import re
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

from cnnbo.daemon.command import command_problems, placeholders
from cnnbo.daemon.document import Document, Faults, check_data, did_you_mean, parse_document, read_text, shown
from cnnbo.daemon.studyfile.compare import comparison_plan, opening_specs
from cnnbo.daemon.studyfile.optimizers import read_optimizer
from cnnbo.daemon.studyfile.space import build_space
from cnnbo.daemon.studyfile.tables import StudyTable, read_tables
from cnnbo.models.registry import find_model
from cnnbo.models.spec import ModelSpec
from cnnbo.scheduler.errors import ConfigurationError
from cnnbo.scheduler.sharing import Yield
from cnnbo.scheduler.space import Configuration, Scalar, SearchSpace
from cnnbo.scheduler.spec import Budget, Direction, Origin, ReportSettings, StudySpec, TrialSettings


def load_study(path: Path, *, cwd: Path, data_override: str | None = None) -> StudySpec:
    """Read a study file.

    Args:
        path: the file; messages call it as given here.
        cwd: the caller's working directory, absolute: relative data folders count from it, and the command runs in it.
        data_override: `--data DIR`; wins over the file's `data.dir`.

    Returns:
        the study, complete but for `initial` (None where it isn't written) and the rest of `origin`.

    Raises:
        ConfigurationError: with every mistake of the file, each as `file:line  sentence`.
    """
    return parse_study(read_text(path), str(path), cwd=cwd, data_override=data_override)


def parse_study(text: str, source: str, *, cwd: Path, data_override: str | None = None) -> StudySpec:
    """Read the text of a study file; looks at no folder or file, so that the text may come from another box.

    Args:
        text: the study file's TOML.
        source: what messages call it.
        cwd: see `load_study`.
        data_override: see `load_study`.

    Raises:
        ConfigurationError: see `load_study`.
    """
    return _read(parse_document(text, source), cwd, data_override)


def read_study_data(data: Mapping[str, object], source: str) -> StudySpec:
    """Read what a study file holds, handed over as JSON data by somebody who isn't on this box.

    Args:
        data: the file's outermost table, not nested too deeply to be copied; `data.dir` is a whole path.
        source: what messages call it.

    Raises:
        ConfigurationError: with every mistake, each as `source: sentence`.
    """
    return _read(check_data(data, source), None, None)


def load_comparison(path: Path, *, cwd: Path, data_override: str | None = None) -> tuple[StudySpec, ...]:
    """Read a study file with a `[compare]` table.

    Args:
        path: see `load_study`.
        cwd: see `load_study`.
        data_override: see `load_study`.

    Returns:
        the studies that the comparison begins with, each complete as `load_study` has it.

    Raises:
        ConfigurationError: see `load_study`; the table is missing, or the file says what a comparison can't have.
    """
    document = parse_document(read_text(path), str(path))
    faults = Faults(document)
    table = read_tables(document, faults)
    spec = _build(table, set(document.data), faults, cwd, data_override)
    plan = comparison_plan(table, faults)
    faults.raise_any()
    assert spec is not None  # it is None only where a fault was noted
    return opening_specs(spec, plan, table.start is not None)


def _read(document: Document, cwd: Path | None, data_override: str | None) -> StudySpec:
    faults = Faults(document)
    spec = _build(read_tables(document, faults), set(document.data), faults, cwd, data_override)
    faults.raise_any()
    assert spec is not None  # it is None only where a fault was noted
    return spec


def _build(
    table: StudyTable, written: set[str], faults: Faults, cwd: Path | None, data_override: str | None
) -> StudySpec | None:
    """Build the study, noting every mistake; worth something only if there was none."""
    if table.name is None and not faults.has(("name",)):
        faults.add((), 'name is missing; give the study one, like name = "svhn".')
    model = _find_model(table, faults)
    _check_program(table, model, written, faults)
    space = build_space(table, model, faults)
    start = _start(table, model, space, faults) if space else ()
    _check_counts(table, len(start), faults)
    _check_command(table, space, faults)
    _check_report(table, model, written, faults)
    optimizer = read_optimizer(("optimizer",), table.optimizer, faults)
    data_dir = _data_dir(table, model, faults, cwd, data_override)
    if space is None:
        return None
    return StudySpec(
        space=space,
        name=table.name or "",
        model=table.model,
        command=tuple(table.command or ()),
        evaluations=table.evaluations,
        optimizer=optimizer,
        initial=table.initial,
        seed=table.seed,
        metric=table.metric or (model.metric if model else "value"),
        direction=Direction(table.direction or (model.direction if model else "maximize")),
        start=start,
        data_dir=data_dir,
        trial=_trial(table, model),
        report=ReportSettings(table.report.pattern, table.report.use, table.report.chance),
        budget=_budget(table, faults),
        max_devices=table.devices.max,
        hours=table.devices.hours,
        yields=Yield(table.devices.yields),
        origin=Origin(cwd=str(cwd or "/")),
    )


def _find_model(table: StudyTable, faults: Faults) -> ModelSpec | None:
    if table.model is None:
        return None
    try:
        return find_model(table.model)
    except ConfigurationError as error:
        faults.add(("model",), f"model: {error}")
        return None


def _check_program(table: StudyTable, model: ModelSpec | None, written: set[str], faults: Faults) -> None:
    if table.model is not None and table.command is not None:
        faults.add(("command",), "command: a study has a model or a command; remove one of the two.")
    if not {"model", "command", "program"} & written:
        examples = 'model = "svhn-cnn", or command = ["python", "train.py", "{args}"]'
        faults.add((), f"what to train is missing; add {examples}.")
    if model and table.metric not in (None, model.metric):
        faults.add(("metric",), f'metric: {model.name} reports "{model.metric}"; write that, or leave the line out.')


def _start(table: StudyTable, model: ModelSpec | None, space: SearchSpace, faults: Faults) -> tuple[Configuration, ...]:
    """The configurations to try first; what one leaves open is filled in from the model's defaults."""
    defaults = {name: value for name, value in model.defaults.items() if name in space.names} if model else {}
    if table.start is None:
        # In a space that leaves a default out, the defaults are no configuration: then there is nothing to begin with.
        return (defaults,) if defaults and not space.problems_with(defaults) else ()
    configurations = [{**defaults, **written} for written in table.start]
    for index, (configuration, written) in enumerate(zip(configurations, table.start, strict=True)):
        _check_start(space, index, configuration, written, faults)
    if not faults.has(("start",)) and not faults.has(("space",)):
        configurations = [{name: configuration[name] for name in space.names} for configuration in configurations]
        _check_repeats(space, configurations, faults)
    return tuple(configurations)


def _check_start(
    space: SearchSpace, index: int, configuration: Configuration, written: Mapping[str, Scalar], faults: Faults
) -> None:
    place = f"start no. {index + 1}"
    for name in written:
        if name not in space.names and not faults.has(("space", name)):
            is_misplaced = name in StudyTable.model_fields
            remedy = "move it above the first [table]." if is_misplaced else did_you_mean(name, space.names)
            faults.add(("start", index, name), f"{place}: {shown(name)} is no parameter of this space; {remedy}")
    known = {name: value for name, value in configuration.items() if name in space.names}
    for problem in space.problems_with(known):
        path = ("start", index, problem.split(" ", 1)[0])
        if not faults.has(path):
            faults.add(path, f"{place}: {problem}; change this configuration or the space.")


def _check_repeats(space: SearchSpace, configurations: Sequence[Configuration], faults: Faults) -> None:
    seen: dict[object, int] = {}
    for index, configuration in enumerate(configurations):
        first = seen.setdefault(space.encode(configuration), index)
        if first != index:
            sentence = f"start no. {index + 1}: is the same as no. {first + 1}, and each is tried once; remove one."
            faults.add(("start", index), sentence)


def _check_counts(table: StudyTable, starts: int, faults: Faults) -> None:
    if any(faults.has((key,)) for key in ("evaluations", "n_trials", "num_samples", "run_cap")):
        return  # how many were meant isn't known
    if table.initial is not None and table.initial > table.evaluations:
        faults.add(
            ("initial",), f"initial: {table.initial} is more than the {table.evaluations} evaluations; lower it."
        )
    if starts > table.evaluations:
        sentence = f"start: {starts} configurations don't fit into {table.evaluations} evaluations; raise evaluations."
        faults.add(("start",), sentence)


def _check_command(table: StudyTable, space: SearchSpace | None, faults: Faults) -> None:
    if table.command is None or table.model is not None:
        return
    names = list(space.names) if space else []
    if space is None or faults.has(("space",)):  # which parameters were meant isn't known: judge no name
        names += [name for argument in table.command for name in placeholders(argument)]
    for problem in command_problems(table.command, names):
        faults.add(("command",), problem)


def _check_report(table: StudyTable, model: ModelSpec | None, written: set[str], faults: Faults) -> None:
    if model and "report" in written:
        sentence = f"report: {model.name} reports by itself, what luck explains included; remove the table."
        faults.add(("report",), sentence)
    elif table.report.pattern is not None:
        if problem := _pattern_problem(table.report.pattern):
            faults.add(("report", "pattern"), f"report.pattern: {problem}")
    elif "use" in table.report.model_fields_set and not faults.has(("report", "pattern")):
        faults.add(("report", "use"), "report.use: says which match of report.pattern counts; add a pattern.")


def _pattern_problem(pattern: str) -> str | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what a later Python may read differently is valid all the same
            groups = re.compile(pattern).groups
    except (re.error, OverflowError, RecursionError) as error:
        return f"{shown(pattern)} is no regular expression ({error}); correct it."
    return None if groups else f"{shown(pattern)} has no group; put ( ) around the number, like val_acc: (\\S+)."


def _data_dir(
    table: StudyTable, model: ModelSpec | None, faults: Faults, cwd: Path | None, override: str | None
) -> str | None:
    written = table.data.dir if override is None else override
    if written is None:
        if model and model.prepare and not faults.has(("data",)):
            faults.add(("data",), f"data.dir is missing: {model.name} needs a folder of images; or give --data DIR.")
        return None
    place = "data.dir" if override is None else "--data"
    if not written or "\0" in written:
        faults.add(("data", "dir"), f"{place}: {shown(written)} is no folder; name one.")
        return None
    if written.startswith("~"):  # nor does bash expand it in --data=~/digits
        faults.add(("data", "dir"), f"{place}: the ~ of {shown(written)} is not expanded here; write the whole path.")
    elif cwd is None and not written.startswith("/"):
        sentence = f'{place}: must be a whole path on the box, like "/data/digits", not {shown(written)}.'
        faults.add(("data", "dir"), sentence)
    return os.path.normpath(
        (cwd or Path("/")) / written
    )  # `../data` and the whole path are the same data at a resubmission


def _trial(table: StudyTable, model: ModelSpec | None) -> TrialSettings:
    trial = table.trial
    return TrialSettings(
        epochs=trial.epochs or (model.epochs if model else 1),
        batch_size=trial.batch_size or (model.batch_size if model else 100),
        timeout_s=trial.timeout,
        memory_mib=trial.memory,
        stop_at_chance=trial.stop_at_chance,
        python=trial.python,
        images=trial.images,
    )


def _budget(table: StudyTable, faults: Faults) -> Budget:
    budget = table.budget
    if budget.cost is not None and budget.price_per_device_hour == 0 and not faults.has(("budget",)):
        sentence = "budget.cost: nothing costs anything without a price; add price_per_device_hour, like 2.60."
        faults.add(("budget", "cost"), sentence)
    return Budget(budget.wall_clock, budget.cost, budget.energy_kwh, budget.price_per_device_hour)
