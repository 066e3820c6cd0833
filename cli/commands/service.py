"""`cnnbo service`: make cnnbo a service of this box or of yours, and take it away again."""

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cnnbo.cli import options

if TYPE_CHECKING:
    from cnnbo.cli.installing.place import Place
    from cnnbo.cli.installing.plan import InstallPlan
    from cnnbo.cli.installing.removal import RemovalPlan
    from cnnbo.cli.installing.start import Beginning

app = typer.Typer(help="Run cnnbo under systemd, or look how it runs.", no_args_is_help=True)

User = Annotated[bool, typer.Option("--user", help="A service of your own, for scripts of your own.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show what would change, as a diff; change nothing.")]


@app.command()
def install(
    user: User = False,
    now: Annotated[bool, typer.Option("--now", help="Start it, too, and wait until it is ready.")] = False,
    dry_run: DryRun = False,
) -> None:
    """Make cnnbo a service that is there after each boot. Run it again after an upgrade."""
    from cnnbo.cli.installing.checks import check_place, check_rights, check_systemd
    from cnnbo.cli.installing.install import carry_out
    from cnnbo.cli.installing.plan import gather_facts, plan_install
    from cnnbo.cli.installing.start import beginning, start
    from cnnbo.cli.installing.systemctl import Systemctl

    systemctl = Systemctl.of(user)
    if not dry_run:
        check_rights(user, "install")
        check_systemd(systemctl)
    place = _place(user)
    facts = gather_facts(Path(sys.executable), systemctl)
    plan = plan_install(place, facts, systemctl)
    if dry_run:
        _show_install(plan, beginning(plan, systemctl) if now else None)
    check_place(place, facts, systemctl)
    if dry_run:
        check_systemd(systemctl)
        return
    carry_out(plan, systemctl, typer.echo)
    has_started = now and start(plan, systemctl, typer.echo)
    if plan.is_done and not has_started:
        typer.echo("nothing to do: everything is as it should be.")
    elif not now:
        typer.echo(f"next     {' '.join(systemctl.command('restart' if _is_active(user) else 'start', 'cnnbo'))}")


@app.command()
def uninstall(
    user: User = False,
    purge: Annotated[
        bool, typer.Option("--purge", help="Remove results, logs and every configuration, too; asks first.")
    ] = False,
    dry_run: DryRun = False,
    yes: Annotated[bool, typer.Option("-y", "--yes", help="With --purge: don't ask.")] = False,
) -> None:
    """Stop the service and take it away. Results are kept, and a later install goes on with them."""
    from cnnbo.cli.installing.checks import check_rights
    from cnnbo.cli.installing.removal import plan_removal
    from cnnbo.cli.installing.systemctl import Systemctl
    from cnnbo.cli.installing.uninstall import remove

    if not dry_run:
        check_rights(user, "uninstall")
    systemctl = Systemctl.of(user)
    plan = plan_removal(_place(user), systemctl, is_active=_is_active(user), purge=purge)
    if dry_run:
        _show_removal(plan)
        typer.echo("Nothing was changed.")
        return
    if plan.is_done:
        typer.echo("nothing to do: there is no service.")
        for sentence in plan.kept:
            typer.echo(f"kept     {sentence}")
        return
    if purge and not yes:
        _ask(plan)
    if _is_active(user):
        typer.echo("stopping; trials that run get time for a checkpoint, a minute unless grace_s says otherwise")
    remove(plan, systemctl, typer.echo)


@app.command()
def status(user: User = False, json: options.Json = False) -> None:
    """How the service is. Exit code 0 while it is active, else 1, with what to do next."""
    from cnnbo.cli.installing.checks import check_systemd
    from cnnbo.cli.installing.status import ServiceStatus
    from cnnbo.cli.installing.systemctl import Systemctl
    from cnnbo.cli.output import print_json

    systemctl = Systemctl.of(user)
    place = _place(user)
    if not place.unit.exists():
        check_systemd(systemctl)
    service = ServiceStatus.look(place, systemctl)
    if json:
        print_json(service.facts())
    else:
        for line in service.lines():
            typer.echo(line)
    if not service.running.is_active:
        raise typer.Exit(1)


def _place(user: bool) -> "Place":
    import os

    from cnnbo.cli.installing.place import system_place, user_place

    return user_place(os.environ) if user else system_place()


def _is_active(user: bool) -> bool:
    from cnnbo.cli.installing.systemctl import Systemctl

    return Systemctl.of(user).show("ActiveState")["ActiveState"] not in ("", "inactive", "failed")


def _show_install(plan: "InstallPlan", beginning: "Beginning | None") -> None:
    from cnnbo.cli.installing.diff import diff

    for file in (*plan.changed, plan.manifest):
        _echo_diff(diff(file))
    for command in (*plan.before, *plan.after):
        typer.echo(f"would run  {' '.join(command)}")
    verb = None if beginning is None else beginning.verb
    if beginning is not None and verb is not None:
        manager = "systemctl --user" if plan.place.is_user else "systemctl"
        typer.echo(f"would run  {manager} {verb} {plan.place.unit.name} ({beginning.why})")
    for note in plan.notes:
        typer.echo(f"note       {note}")
    typer.echo("Everything is as it should be." if plan.is_done and verb is None else "Nothing was changed.")


def _echo_diff(lines: Iterable[str]) -> None:
    colours: dict[str, Any] = {"+": "green", "-": "red", "@": "cyan"}
    for line in lines:
        typer.secho(line, fg=colours.get(line[:1]))  # click leaves colours out where there is no terminal


def _show_removal(plan: "RemovalPlan") -> None:
    from cnnbo.cli.installing.removal import size_text

    for command in plan.before:
        typer.echo(f"would run     {' '.join(command)}")
    for path in plan.files:
        typer.echo(f"would remove  {path}")
    for path in plan.folders:
        typer.echo(f"would remove  {path}, {size_text(path)}")
    for command in plan.after:
        typer.echo(f"would run     {' '.join(command)}")
    for sentence in plan.kept:
        typer.echo(f"would keep    {sentence}")


def _ask(plan: "RemovalPlan") -> None:
    from cnnbo.scheduler.errors import RequestError

    if not sys.stdin.isatty():
        raise RequestError("--purge removes all results, and there is no terminal to ask at; if you mean it, add -y.")
    _show_removal(plan)
    typer.confirm("All of this is removed for good. Go on?", abort=True)
