"""`cnnbo doctor`: what is well on this box, what isn't, and what to do about it."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cnnbo.cli import options

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cnnbo.cli.doctor.finding import Finding

StudyFile = Annotated[Path | None, typer.Argument(metavar="STUDY", help="A study file that is to run here.")]


def doctor(
    study: StudyFile = None,
    data: options.Data = None,
    state: options.State = None,
    devices: options.Devices = None,
    json: options.Json = False,
) -> None:
    """Look at drivers, devices, disks, broker and services. Says what to do, changes nothing. Exit 1: a failure."""
    from cnnbo.cli.doctor.finding import Level
    from cnnbo.cli.doctor.screen import as_object, show, summary
    from cnnbo.cli.output import print_json

    found = []
    for finding in _examine(study, data, state, devices or "auto"):
        found.append(finding)
        if not json:
            show(finding)
    if json:
        print_json(as_object(found))
    else:
        print(summary(found))
    raise typer.Exit(1 if any(finding.level is Level.FAIL for finding in found) else 0)


def _examine(study: Path | None, data: str | None, state: Path | None, devices: str) -> "Iterator[Finding]":
    import logging
    import os

    from cnnbo.cli.doctor.catalogue import CHECKS
    from cnnbo.cli.doctor.finding import from_error
    from cnnbo.cli.doctor.installation import installation
    from cnnbo.cli.doctor.runner import findings
    from cnnbo.cli.doctor.scope import Scope
    from cnnbo.cli.intake import read_study
    from cnnbo.scheduler.errors import ConfigurationError

    try:
        settings = options.settings(state)
    except ConfigurationError as error:  # where to look next stands in the settings
        yield from installation(None)
        yield from from_error("settings", error)
        return
    logging.disable(logging.WARNING)  # what the parts of the daemon would log is what the checks find
    spec = None
    if study is not None:
        try:
            spec = read_study(study, data)
        except ConfigurationError as error:
            yield from from_error("study", error)
    folder = data if spec is None else data or spec.data_dir
    yield from findings(
        CHECKS,
        Scope(settings, os.environ, devices, spec, study, None if folder is None else Path(folder).absolute()),
    )
