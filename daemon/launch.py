"""From a trial that is to start to everything its process needs: files, command, environment, limits."""

import hashlib
import json
import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

from cnnbo.daemon.command import expand_command, format_value, variable_name
from cnnbo.daemon.devices.base import Device
from cnnbo.daemon.executors.base import Launch
from cnnbo.models.registry import find_model
from cnnbo.models.spec import ModelSpec
from cnnbo.scheduler.space import Scalar
from cnnbo.scheduler.spec import Direction, StudySpec
from cnnbo.scheduler.study import Study
from cnnbo.scheduler.trial import COMPLETE, Failure, Trial

_FOREIGN_PYTHON = ("PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP")
"""Variables of the caller's Python that would lead cnnbo's own interpreter astray."""


def study_dir(state: Path, study: str) -> Path:
    """Folder of a study's files."""
    return state / "studies" / study


def attempt_dir(state: Path, study: str, trial: int, attempt: int) -> Path:
    """Folder of one attempt: config.json, result.json, exit.json, log."""
    return study_dir(state, study) / "trials" / str(trial) / str(attempt)


def attempt_key(study: str, trial: int, attempt: int) -> str:
    """What identifies an attempt in a state folder: `<study>/<trial>/<attempt>`."""
    return f"{study}/{trial}/{attempt}"


def trial_seed(seed: int, trial: int) -> int:
    """Seed of a trial's training, in 0..2**31 - 1: it depends on the study's seed and the trial's number alone."""
    digest = hashlib.sha256(f"{seed}/{trial}".encode()).digest()
    return int.from_bytes(digest[:4], "big") >> 1


def prepare_launch(
    study: Study, trial: Trial, attempt: int, device: Device, token: str, state: Path, lease: Path | None
) -> Launch:
    """Write an attempt's config.json and say how to run it.

    Args:
        study: the study, for its spec and its timeout.
        trial: what to run.
        attempt: number of the attempt that is about to start.
        device: where it runs.
        token: marks every process of the attempt.
        state: the state folder.
        lease: the device's lease file.

    Raises:
        OSError: the files can't be written.
    """
    spec = study.spec
    directory = attempt_dir(state, study.name, trial.id, attempt)
    _fresh(directory)
    checkpoints = _checkpoints(directory.parent, trial)
    model = None if spec.model is None else find_model(spec.model)
    configuration = complete_configuration(trial, model)
    _write_config(directory / "config.json", _config(spec, trial, attempt, configuration, checkpoints))
    return Launch(
        key=attempt_key(study.name, trial.id, attempt),
        token=token,
        command=_command(spec, model, configuration),
        environment=_environment(spec, configuration, device, directory),
        cwd=spec.origin.cwd if model is None else str(directory),
        directory=directory,
        lease=lease,
        cores=device.cores,
        timeout_s=study.timeout_s,
        memory_mib=spec.trial.memory_mib,
        pattern=spec.report.pattern,
        pattern_use=spec.report.use,
        metric=spec.metric,
        maximize=spec.direction is Direction.MAXIMIZE,
    )


def complete_configuration(trial: Trial, model: ModelSpec | None) -> dict[str, Scalar]:
    """The trial's configuration with a model's other parameters at their defaults."""
    return ({} if model is None else dict(model.defaults)) | dict(trial.configuration)


def _fresh(directory: Path) -> None:
    """An empty folder: what an attempt that never got journalled left behind is nobody's result."""
    if directory.exists():
        shutil.rmtree(directory)
    directory.mkdir(parents=True)


def _checkpoints(directory: Path, trial: Trial) -> Path:
    """The trial's checkpoints, which are kept across attempts; from a training that came to its end none.

    Whoever withdraws a value, or a loss of NaN, wants another training; going on from the last checkpoint would give
    the same again. They are set aside under the number of the attempt that made the last of them.
    """
    checkpoints = directory / "checkpoints"
    aside = directory / f"checkpoints~{trial.earlier_attempts}"
    withdrawn = trial.attempts[: trial.earlier_attempts][-1:]
    is_stale = any(attempt.outcome in (COMPLETE, Failure.DIVERGED) for attempt in withdrawn)
    if is_stale and checkpoints.exists() and not aside.exists():
        checkpoints.rename(aside)
    checkpoints.mkdir(exist_ok=True)
    return checkpoints


def _config(
    spec: StudySpec, trial: Trial, attempt: int, configuration: Mapping[str, Scalar], checkpoints: Path
) -> dict[str, object]:
    return {
        "study": spec.name,
        "trial": trial.id,
        "attempt": attempt,
        "seed": trial_seed(spec.seed, trial.id),
        "configuration": dict(configuration),
        "epochs": spec.trial.epochs,
        "batch_size": spec.trial.batch_size,
        "data_dir": spec.data_dir,
        "checkpoint_dir": str(checkpoints),
        "stop_at_chance": spec.trial.stop_at_chance,
        "images": spec.trial.images,
        "task": spec.trial.task,
    }


def _write_config(path: Path, config: Mapping[str, object]) -> None:
    with path.open("w") as file:
        json.dump(config, file, indent=1)
        file.flush()
        os.fsync(file.fileno())


def _command(spec: StudySpec, model: ModelSpec | None, configuration: Mapping[str, Scalar]) -> tuple[str, ...]:
    if model is not None:
        # -P: the working directory is not searched for modules.
        return (sys.executable, "-P", "-m", model.module)
    return expand_command(spec.command, configuration, spec.origin.python)


def _environment(
    spec: StudySpec, configuration: Mapping[str, Scalar], device: Device, directory: Path
) -> dict[str, str]:
    parameters = {variable_name(name): format_value(value) for name, value in configuration.items()}
    ours = {"CNNBO_TRIAL": str(directory / "config.json"), "CNNBO_RESULT": str(directory / "result.json")}
    pinned = pinned_environment(spec.origin.environment, device.environment, is_builtin=spec.model is not None)
    return pinned | parameters | ours


def pinned_environment(caller: Mapping[str, str], pinning: Mapping[str, str], *, is_builtin: bool) -> dict[str, str]:
    """The caller's environment as a process on a device gets it.

    Args:
        caller: the environment of whoever submitted the study.
        pinning: variables that pin a process to the device; they win, or a CUDA_VISIBLE_DEVICES of the caller would
            lead to another one.
        is_builtin: whether cnnbo's own interpreter runs there.
    """
    hidden = _FOREIGN_PYTHON if is_builtin else ()
    kept = {k: v for k, v in caller.items() if not k.startswith("CNNBO_") and k not in hidden}
    return kept | dict(pinning)
