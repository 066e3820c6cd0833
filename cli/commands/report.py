"""`cnnbo report`: a study or a comparison as a page with figures and tables, and as a bundle that others can check."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cnnbo.cli import completion, options

if TYPE_CHECKING:
    from cnnbo.cli.reporting.read import Record


def report(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="Name of a study or a comparison.", autocompletion=completion.studies)
    ],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="Folder of the report.")],
    bundle: Annotated[
        Path | None, typer.Option("--bundle", metavar="FILE.zip", help="Write what others need to check it, too.")
    ] = None,
    devices: Annotated[
        str, typer.Option("--devices-projected", metavar="N,N,…", help="Numbers of devices to project costs to.")
    ] = "1,4,50",
    state: options.State = None,
    json: options.Json = False,
) -> None:
    """A page with all figures and tables of a study or comparison. Starts no trial."""
    from cnnbo.cli.output import print_json

    n_devices = _numbers(devices)
    _check_extra()
    from cnnbo.cli.reporting.bundle import check_bundle, write_bundle
    from cnnbo.cli.reporting.folder import check_folder, write_report
    from cnnbo.cli.reporting.read import read_record
    from cnnbo.cli.reporting.report import make_report

    check_folder(output, name)
    if bundle is not None:
        check_bundle(bundle, name)
    record = read_record(options.state_folder(state), name, n_devices, time.time())
    files = write_report(make_report(record), output, record.context.written_at)
    if bundle is not None:
        write_bundle(record, bundle)
    if json:
        print_json(_object(record, files, bundle))
    else:
        _print(record, files, bundle)


def _numbers(text: str) -> tuple[int, ...]:
    """The numbers of devices to project to, at least one, each at least 1."""
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and part.isascii() and 0 < int(part) <= 100_000 for part in parts):
        raise typer.BadParameter(
            f"{text!r} is no list of numbers from 1 to 100,000, like 1,4,50.", param_hint="--devices-projected"
        )
    return tuple(dict.fromkeys(int(part) for part in parts))


def _check_extra() -> None:
    from importlib.util import find_spec

    from cnnbo.scheduler.errors import ConfigurationError

    missing = [module for module in ("matplotlib", "jinja2") if find_spec(module) is None]
    if missing:
        raise ConfigurationError(
            f"a report needs {' and '.join(missing)}, not installed here: pip install 'cnnbo[report]'"
        )


def _object(record: "Record", files: tuple[Path, ...], bundle: Path | None) -> dict[str, object]:
    return {
        "name": record.name,
        "kind": "study" if record.members is None else "comparison",
        "page": str(files[0]),
        "figures": [str(path) for path in files if path.suffix in (".svg", ".png")],
        "tables": [str(path) for path in files if path.suffix in (".csv", ".tex")],
        "bundle": None if bundle is None else str(bundle),
    }


def _print(record: "Record", files: tuple[Path, ...], bundle: Path | None) -> None:
    figures = sum(path.suffix == ".svg" for path in files)
    tables = sum(path.suffix == ".csv" for path in files)
    kind = "study" if record.members is None else "comparison"
    print(f"{kind} {record.name}: {files[0]} ({figures} figures, {tables} tables)")
    if bundle is not None:
        print(f"bundle: {bundle}; its README.md says how to check it, and what was left out")
        if record.spec.model is None:
            print("        look through its command line and messages of failed trials before you publish it")
