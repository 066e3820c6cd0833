"""From a study file on this machine to the request that submits it."""

import os
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from cnnbo.scheduler.errors import ConfigurationError
from cnnbo.scheduler.spec import Origin, StudySpec


def read_study(path: Path, data: str | None) -> StudySpec:
    """Read and check a study file, and fix where it was submitted: folder, environment, interpreter.

    Raises:
        ConfigurationError: with every mistake in it.
    """
    from cnnbo.daemon.studyfile import load_study

    return _of_here(load_study(path, cwd=Path.cwd(), data_override=data), path)


def read_comparison(path: Path, data: str | None) -> tuple[StudySpec, ...]:
    """Read and check a study file with a `[compare]` table: the studies that the comparison begins with.

    Raises:
        ConfigurationError: with every mistake in it.
    """
    from cnnbo.daemon.studyfile import load_comparison

    return tuple(_of_here(spec, path) for spec in load_comparison(path, cwd=Path.cwd(), data_override=data))


def _of_here(spec: StudySpec, path: Path) -> StudySpec:
    """The study with where it was submitted: folder, environment, interpreter."""
    cwd = Path.cwd()
    # Ours are for this command alone; no trial gets them, and there may be a broker's password among them.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("CNNBO_")}
    origin = Origin(cwd=str(cwd), environment=environment, python=_interpreter(spec, cwd))
    spec = replace(spec, origin=origin)
    _check_program(spec, path)
    return spec


def _check_program(spec: StudySpec, path: Path) -> None:
    """Find the program of a command now; at midnight nobody is there to read that it isn't."""
    if not spec.command or "{" in spec.command[0]:
        return
    program = spec.origin.python if spec.command[0] in ("python", "python3") else spec.command[0]
    if shutil.which(program if "/" not in program else str(Path(spec.origin.cwd) / program)) is None:
        raise ConfigurationError(f"{path}: there is no program {program!r}; check command and trial.python.")


def _interpreter(spec: StudySpec, cwd: Path) -> str:
    """What `python` means to the trials: as written, else as the caller's shell would find it."""
    if spec.model is not None:
        return sys.executable
    if spec.trial.python is not None:
        return str(cwd / Path(spec.trial.python).expanduser())
    return shutil.which("python") or shutil.which("python3") or sys.executable


def remote_submission(path: Path, data: str | None) -> dict[str, Any]:
    """The arguments of a `submit` request to another box: what the study file holds.

    Raises:
        ConfigurationError: with every mistake in it, or it can't run on another box.
    """
    from cnnbo.daemon.document import read_document
    from cnnbo.daemon.studyfile import load_study

    load_study(path, cwd=Path.cwd(), data_override=data)  # here a mistake has a line
    study = dict(read_document(path).data)
    if data is not None:
        study["data"] = {"dir": data}
    return {"study": study}


def submission(spec: StudySpec) -> dict[str, Any]:
    """The arguments of a `submit` request."""
    from cnnbo.scheduler.codec import encode_value

    return {"spec": encode_value(spec)}
