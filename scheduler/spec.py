"""What a study is told to do: the validated form of a study file, plain frozen data."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

from cnnbo.scheduler.sharing import Hours, Yield
from cnnbo.scheduler.space import Configuration, SearchSpace


class Direction(StrEnum):
    """Which way the metric gets better."""

    MAXIMIZE = "maximize"
    MINIMIZE = "minimize"


def to_objective(value: float, direction: Direction) -> float:
    """The objective of a value: what the core minimises. Its own inverse."""
    return -value if direction is Direction.MAXIMIZE else value


def is_explained_by_luck(value: float, chance: float | None, direction: Direction) -> bool:
    """Whether a value is no better than the best one that luck explains; never without such a bound.

    Example:
        >>> is_explained_by_luck(0.14, 0.14, Direction.MAXIMIZE)
        True
        >>> is_explained_by_luck(2.1, 2.25, Direction.MINIMIZE)
        False
    """
    return chance is not None and to_objective(value, direction) >= to_objective(chance, direction)


class Task(StrEnum):
    """What a trial of a built-in model trains for; a study file can only say the first."""

    TUNE = "tune"
    """Train on the training side of the fold, score the validation side."""

    TRACE = "trace"
    """The same, with scores on the way (`metrics`), and to the end whatever they are: for a figure."""

    FINAL = "final"
    """Train on all tuning data, keep the weights, score the test set once."""


@dataclass(frozen=True, slots=True)
class TrialSettings:
    """The `[trial]` table.

    Attributes:
        epochs: passes over the training data, >= 1 (built-in models).
        batch_size: images per step, >= 1 (built-in models).
        timeout_s: wall-clock limit of a trial in seconds; None = derived from the first trials, see `Study.timeout_s`.
        memory_mib: host memory of the trial's whole process tree in MiB; None = no limit.
        stop_at_chance: whether a built-in model ends early at the majority class.
        python: interpreter for a command's `python`, as written; None = as found at submit time.
        images: how many images of the training side are trained on, >= 1 (built-in models); None = all of it.
        task: what a built-in model is trained for.
    """

    epochs: int = 1
    batch_size: int = 100
    timeout_s: float | None = None
    memory_mib: float | None = None
    stop_at_chance: bool = True
    python: str | None = None
    images: int | None = None
    task: Task = Task.TUNE


@dataclass(frozen=True, slots=True)
class ReportSettings:
    """The `[report]` table: how a value is read from the output of a script nobody may edit, and what it means.

    Attributes:
        pattern: regular expression whose first group is the value; None = the script writes a result file.
        use: which match counts.
        chance: the best value that luck explains, in the user's direction, finite; None = what the script says, if it
            says anything.
    """

    pattern: str | None = None
    use: Literal["last", "best", "mean"] = "last"
    chance: float | None = None


@dataclass(frozen=True, slots=True)
class Budget:
    """The `[budget]` table; whichever limit comes first ends the study. None = no limit.

    Attributes:
        wall_clock_s: seconds the study may be running with the daemon up.
        cost: in the user's currency, device time times price.
        energy_kwh: energy of the devices.
        price_per_device_hour: 0 hides costs.
    """

    wall_clock_s: float | None = None
    cost: float | None = None
    energy_kwh: float | None = None
    price_per_device_hour: float = 0.0


@dataclass(frozen=True, slots=True)
class Origin:
    """Where and by whom the study was submitted: fixed at submit time, not part of the comparison at a resubmission.

    A submission that runs again what a broken environment has crashed brings its own.

    Attributes:
        cwd: working directory of the command.
        environment: the caller's environment.
        python: interpreter that `python` in a command means.
        owner: name of the user.
    """

    cwd: str = "/"
    environment: Mapping[str, str] = field(default_factory=dict)
    python: str = ""
    owner: str = ""


@dataclass(frozen=True, slots=True)
class Plan:
    """The `[compare]` table of a study file, completed: what is compared, and how often.

    Attributes:
        name: of the comparison, [a-z0-9-]{1,25}; the names of its studies begin with it.
        methods: optimizers as the file calls them, at least one, none twice.
        runs: independent runs of each method, >= 1.
        evaluations: trials of each run, >= 1.
        seed: all seeds of the comparison come from it, see `derived_seed`.
        confirm: how often each of a run's finalists is trained again, with fresh seeds; 0 = there is no confirmation.
        twice: whether random search goes on to twice the trials, as a further line.
        figure2: whether RMSProp's progressions are trained for Figure 2.
    """

    name: str
    methods: tuple[str, ...]
    runs: int
    evaluations: int
    seed: int = 0
    confirm: int = 3
    twice: bool = True
    figure2: bool = False


class Stage(StrEnum):
    """What a study is there for in its comparison; the stages' order is that of the comparison."""

    SEARCH = "search"
    """One run of one method."""

    UNTUNED = "untuned"
    """The untuned configuration, as often as there are runs."""

    FOREST = "forest"
    """A random forest with scikit-learn's defaults, as often as there are runs."""

    CONFIRM = "confirm"
    """Every run's finalists with fresh seeds."""

    FIGURE2 = "figure2"
    """Progressions with other values of RMSProp's parameters, all else as in the best configuration found."""

    FINAL = "final"
    """What the runs chose, trained on all tuning data and scored on the test set."""

    UNTUNED_FINAL = "untuned-final"
    """The same of the untuned configuration."""

    FOREST_FINAL = "forest-final"
    """The same of the random forest."""


@dataclass(frozen=True, slots=True)
class Part:
    """Which part of which comparison a study is.

    Attributes:
        plan: of the whole comparison; equal in all of its studies.
        stage: what the study is there for.
        method: at the stage `search`: one of the plan's.
        run: at the stage `search`: counts from 1.
    """

    plan: Plan
    stage: Stage
    method: str = ""
    run: int = 0


@dataclass(frozen=True, slots=True)
class StudySpec:
    """A study file, validated and completed.

    Attributes:
        space: what is searched.
        name: [a-z0-9-]{1,40}.
        model: name of a built-in model, or None for a command.
        command: program and arguments with placeholders; empty for a built-in model.
        evaluations: trials to finish, >= 1; failed ones count.
        optimizer: name in the registry.
        initial: points asked for before the surrogate takes over, start configurations included, >= 0; None = not
            written: the daemon puts max(D + 1, devices) there before the study begins.
        seed: of everything random in the study.
        metric: name of the value.
        direction: which way it gets better.
        start: configurations to try first, complete ones of `space`.
        repeats: how often each of them is tried, each time with another seed; >= 1.
        data_dir: absolute path of the data folder, or None.
        trial, report, budget: the tables of that name.
        max_devices: how many devices the study may use at a time; None = all.
        hours: its trials start only then; None = always.
        yields: what its trials do when somebody else's process appears beside them.
        origin: where it came from.
        part: which part of a comparison it is; None for a study of its own.
    """

    space: SearchSpace
    name: str = "notebook"
    model: str | None = None
    command: tuple[str, ...] = ()
    evaluations: int = 80
    optimizer: str = "trieste"
    initial: int | None = None
    seed: int = 0
    metric: str = "value"
    direction: Direction = Direction.MAXIMIZE
    start: tuple[Configuration, ...] = ()
    repeats: int = 1
    data_dir: str | None = None
    trial: TrialSettings = field(default_factory=TrialSettings)
    report: ReportSettings = field(default_factory=ReportSettings)
    budget: Budget = field(default_factory=Budget)
    max_devices: int | None = None
    hours: Hours | None = None
    yields: Yield = Yield.FINISH
    origin: Origin = field(default_factory=Origin)
    part: Part | None = None

    @property
    def initial_points(self) -> int:
        """`initial`, or its default for a single device."""
        return self.space.dimension + 1 if self.initial is None else self.initial


def fixed_differences(old: StudySpec, new: StudySpec) -> list[str]:
    """Keys of the study file in which `new` departs from `old` though a running study can't change them.

    `evaluations`, `budget`, `trial.timeout` and `devices` may change; where the caller stood is not compared; an
    `initial` that isn't written stays what it was.
    """
    fixed = ("model", "command", "optimizer", "seed", "metric", "direction", "space", "start", "repeats", "report")
    differing = [key for key in fixed if getattr(old, key) != getattr(new, key)]
    if new.initial is not None and new.initial != old.initial:
        differing.append("initial")
    if old.data_dir != new.data_dir:
        differing.append("data.dir")
    trial_keys = {"epochs": "epochs", "batch_size": "batch_size", "memory_mib": "memory", "python": "python"}
    trial_keys |= {key: key for key in ("stop_at_chance", "images", "task")}
    differing += [f"trial.{key}" for at, key in trial_keys.items() if getattr(old.trial, at) != getattr(new.trial, at)]
    if old.part != new.part:
        differing.append("compare")
    return differing
