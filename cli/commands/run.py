"""`cnnbo run`: tune in the foreground, as one's own daemon or by following the one that is there."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cnnbo.cli import options

if TYPE_CHECKING:
    from cnnbo.cli.report import Report
    from cnnbo.daemon.settings import Settings
    from cnnbo.scheduler.spec import StudySpec


def run(
    study: options.StudyFile,
    devices: options.Devices = None,
    data: options.Data = None,
    state: options.State = None,
    node: options.Node = None,
    no_mqtt: options.NoMqtt = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check everything, print the plan, start nothing.")
    ] = False,
    detach: Annotated[bool, typer.Option("-d", "--detach", help="Hand the study to the daemon and return.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print nothing but the final `show` object on stdout.")] = False,
) -> None:
    """Tune in the foreground until the study ends. Run it again to go on after Ctrl-C or a crash."""
    from cnnbo.cli.intake import read_study

    settings = options.settings(state, node, no_mqtt)
    spec = read_study(study, data)
    if dry_run:
        import asyncio

        from cnnbo.daemon.preparing import prepare_data

        asyncio.run(prepare_data(spec))
        _print_plan(spec, settings, devices)
        return
    if detach:
        from cnnbo.cli.commands.submit import submit_spec

        submit_spec(spec, settings.state, json)
        return
    raise typer.Exit(tune_in_foreground(spec, settings, devices, json))


def tune_in_foreground(spec: "StudySpec", settings: "Settings", devices: str | None, json: bool) -> int:
    """Run a study to its end or to a signal, and tell its course on stdout (on stderr with `json`).

    Args:
        spec: the study; one that is there already goes on.
        settings: of the instance; its daemon is followed where there is one, else this process is it meanwhile.
        devices: what `--devices` says.
        json: whether to print the final `show` object on stdout.

    Returns:
        the exit code.
    """
    import asyncio

    from cnnbo.cli.foreground import Foreground

    return asyncio.run(Foreground(StudyErrand(spec, settings.state), settings, devices, json).run())


def _print_plan(spec: "StudySpec", settings: "Settings", devices: str | None) -> None:
    from cnnbo.cli import output
    from cnnbo.daemon.devices.select import open_devices
    from cnnbo.scheduler.space import describe

    selection = open_devices(devices or "auto")
    selection.backend.close()
    what = f"model {spec.model}" if spec.model else f"command {' '.join(spec.command)} ({spec.origin.python})"
    print(f"study {spec.name}: {spec.evaluations} trials of {what}, {spec.optimizer}, seed {spec.seed}")
    print(f"metric {spec.metric} ({spec.direction}), data {spec.data_dir or '-'}, state {settings.state}")
    print(selection.note)
    for parameter in spec.space.parameters:
        print(f"  {describe(parameter)}")
    for configuration in spec.start:
        print(f"first: {output.configuration(configuration)}")
    print("Nothing was started.")


class StudyErrand:
    """A study, handed to the daemon and followed to its end.

    Args:
        spec: the study.
        state: state folder of the daemon.
    """

    def __init__(self, spec: "StudySpec", state: Path) -> None:
        self._spec = spec
        self._state = state
        self.name = spec.name

    def request(self) -> tuple[str, dict[str, Any]]:
        """See `Errand.request`."""
        from cnnbo.cli.intake import submission

        return "submit", submission(self._spec)

    def is_own(self, study: Mapping[str, Any]) -> bool:
        """See `Errand.is_own`."""
        return bool(study["name"] == self.name)

    def narrator(self, shown: Mapping[str, Any], devices: list[dict[str, Any]], say: Callable[[str], None]) -> "Report":
        """See `Errand.narrator`."""
        from cnnbo.cli.report import Report

        if self._spec.model is None:
            say(f"trials run in {self._spec.origin.cwd}, python is {self._spec.origin.python}")
        flag = options.state_flag(self._state)
        return Report(shown, devices, say, self._spec.data_dir, self._state, flag=flag)
