"""The `cnnbo` command: which commands there are, and how their failures become exit codes.

Commands import what they need inside their functions, so that `cnnbo --help` loads neither numpy nor TensorFlow.
"""

import errno
import re
import sys
from typing import Annotated

import typer

from cnnbo.cli.commands import (
    best,
    broker,
    compare,
    config,
    daemon,
    data,
    devices,
    doctor,
    lifecycle,
    limit,
    logs,
    report,
    retry,
    run,
    service,
    show,
    status,
    submit,
    trials,
    watch,
)

app = typer.Typer(
    name="cnnbo",
    help="Tune ConvNets, or your own training script, on your own GPU boxes.",
    no_args_is_help=True,
    add_completion=True,
    rich_markup_mode=None,  # half of the time that `cnnbo --help` takes would be Rich's
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
)

EXIT_FAILURE = 1
EXIT_CONFIGURATION = 78
EXIT_INTERRUPTED = 130


def _version(wanted: bool) -> None:
    if wanted:
        from cnnbo.commit import version_text

        typer.echo(f"cnnbo {version_text()}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print version and commit.")
    ] = False,
) -> None:
    pass


for command in (
    run.run,
    daemon.daemon,
    submit.submit,
    compare.compare,
    doctor.doctor,
    status.status,
    show.show,
    trials.trials,
    logs.logs,
    best.best,
    report.report,
    lifecycle.pause,
    lifecycle.resume,
    retry.retry,
    lifecycle.cancel,
    lifecycle.archive,
    lifecycle.delete,
    watch.watch,
    devices.devices,
    devices.drain,
    devices.return_device,
    limit.limit,
):
    # `return` is a word that no Python function can have.
    app.command("return" if command is devices.return_device else None)(command)
app.add_typer(data.app, name="data")
app.add_typer(broker.app, name="broker")
app.add_typer(config.app, name="config")
app.add_typer(service.app, name="service")


def main() -> None:
    """Run the command line; an error people can act on is a sentence on stderr, never a traceback."""
    from cnnbo.scheduler.errors import CnnboError, ConfigurationError

    try:
        app()
    except ConfigurationError as error:
        _complain(error.problems)
        sys.exit(EXIT_CONFIGURATION)
    except CnnboError as error:
        _complain([str(error)])
        sys.exit(EXIT_FAILURE)
    except KeyboardInterrupt:
        sys.exit(EXIT_INTERRUPTED)
    except BrokenPipeError:
        # `cnnbo trials svhn | head`: the reader has seen enough.
        sys.stderr.close()
        sys.exit(EXIT_FAILURE)
    except Exception as error:
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            _complain(["no space is left to write to; what was journalled is safe, free some space and try again."])
            sys.exit(EXIT_FAILURE)
        print(f"a bug in cnnbo: {error!r}; please report it with the file {_bug_report(error)}", file=sys.stderr)
        sys.exit(EXIT_FAILURE)


def _bug_report(error: Exception) -> str:
    """Write the traceback to a file of its own and return its path."""
    import tempfile
    import traceback

    from cnnbo.commit import version_text

    with tempfile.NamedTemporaryFile("w", prefix="cnnbo-bug-", suffix=".txt", delete=False) as file:
        # People send it to others: what stands before the @ of a URL may be a password.
        typed = re.sub(r"//\S*@", "//…@", " ".join(sys.argv))
        file.write(f"cnnbo {version_text()}, Python {sys.version}\n{typed}\n")
        file.write("".join(traceback.format_exception(error)))
    return file.name


def _complain(problems: "list[str] | tuple[str, ...]") -> None:
    for problem in problems:
        print(problem, file=sys.stderr)
    if len(problems) > 1:
        print(f"{len(problems)} mistakes; nothing was started.", file=sys.stderr)
