"""`cnnbo compare`: methods against each other, in independent runs, on one's own devices."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cnnbo.cli import options

if TYPE_CHECKING:
    from cnnbo.cli.comparing import Course
    from cnnbo.daemon.settings import Settings
    from cnnbo.scheduler.spec import StudySpec


def compare(
    study: options.StudyFile,
    devices: options.Devices = None,
    data: options.Data = None,
    state: options.State = None,
    node: options.Node = None,
    no_mqtt: options.NoMqtt = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check everything, print the plan with its time and price, start nothing.")
    ] = False,
    detach: Annotated[
        bool, typer.Option("-d", "--detach", help="Hand the comparison to the daemon and return.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print nothing but the final `show` object on stdout.")] = False,
) -> None:
    """Compare optimizers as the study file's [compare] says. Run it again to go on after Ctrl-C or a crash."""
    import asyncio

    from cnnbo.cli.intake import read_comparison

    settings = options.settings(state, node, no_mqtt)
    specs = read_comparison(study, data)
    if dry_run:
        _print_plan(specs, settings, devices)
        return
    errand = ComparisonErrand(specs, settings.state)
    if detach:
        _hand_over(errand, settings, json)
        return
    from cnnbo.cli.foreground import Foreground

    raise typer.Exit(asyncio.run(Foreground(errand, settings, devices, json).run()))


class ComparisonErrand:
    """A comparison, handed to the daemon and followed to its end.

    Args:
        specs: the studies it begins with.
        state: state folder of the daemon.
    """

    def __init__(self, specs: "Sequence[StudySpec]", state: Path) -> None:
        self._specs = specs
        self._state = state
        part = specs[0].part
        assert part is not None
        self.name = part.plan.name

    def request(self) -> tuple[str, dict[str, Any]]:
        """See `Errand.request`."""
        from cnnbo.scheduler.codec import encode_value

        return "compare", {"specs": [encode_value(spec) for spec in self._specs]}

    def is_own(self, study: Mapping[str, Any]) -> bool:
        """See `Errand.is_own`."""
        return bool(study["comparison"] == self.name)

    def narrator(self, shown: Mapping[str, Any], devices: list[dict[str, Any]], say: Callable[[str], None]) -> "Course":
        """See `Errand.narrator`."""
        from cnnbo.cli.comparing import Course

        return Course(shown, devices, say, flag=options.state_flag(self._state))


def _hand_over(errand: ComparisonErrand, settings: "Settings", json: bool) -> None:
    from cnnbo.cli.output import print_json, run_again
    from cnnbo.daemon.client import ask

    verb, args = errand.request()
    answer = ask(settings.state, verb, **args)
    if json:
        print_json(answer)
        return
    print(f"{errand.name}: {answer['outcome']}, {answer['finished']} of {answer['evaluations']} finished")
    for name, trials in (answer.get("retried") or {}).items():
        print(f"{name}: {run_again(trials)}")
    print(f"next: cnnbo watch, or cnnbo show {errand.name}")


def _print_plan(specs: "Sequence[StudySpec]", settings: "Settings", devices: str | None) -> None:
    import asyncio

    from cnnbo.cli.comparing import median_duration_s, plan_lines
    from cnnbo.daemon.devices.select import open_devices
    from cnnbo.daemon.journal import read_journal
    from cnnbo.daemon.preparing import prepare_comparison_data

    asyncio.run(prepare_comparison_data(specs[0]))
    selection = open_devices(devices or "auto")
    try:
        count = max(1, len(selection.backend.discover()))
    finally:
        selection.backend.close()
    stored, _ = read_journal(settings.state)
    part = specs[0].part
    assert part is not None
    median_s = median_duration_s((known.study for known in stored), specs[0])
    for line in plan_lines(part.plan, specs, count, median_s):
        print(line)
    print(selection.note)
    _print_differences(specs)
    print("Nothing was started.")


def _print_differences(specs: "Sequence[StudySpec]") -> None:
    from cnnbo.cli.reporting.deviations import SAME, differences
    from cnnbo.cli.reporting.read import planned_record

    table = differences(planned_record(specs))
    if table is None:
        return
    print("What differs from 2016 (why it matters stands in the report):")
    for aspect, in_2016, here, _ in table.rows:
        if here != SAME:
            print(f"  {aspect}: {in_2016}\n    here: {here}")
