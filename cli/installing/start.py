"""Starting the service, and waiting until it is ready, fails, or says that it waits for something itself."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from cnnbo import __version__
from cnnbo.cli.installing.plan import InstallPlan
from cnnbo.cli.installing.running import Running
from cnnbo.cli.installing.systemctl import Systemctl
from cnnbo.commit import source_commit, version_text
from cnnbo.scheduler.errors import RequestError

Say = Callable[[str], None]

_POLL_S: Final = 0.2

_PATIENCE_S: Final = 5.0
"""So long a daemon may wait for a disk or a driver before that is told: a driver may be just loading."""

_LONGEST_START_S: Final = 180.0
"""The unit's own TimeoutStartSec, which a daemon that waits lengthens again and again."""


@dataclass(frozen=True, slots=True)
class Beginning:
    """How the service is brought up.

    Attributes:
        verb: of systemctl; None where it runs as it should.
        why: for whoever asks about a restart; else how it is.
    """

    verb: str | None
    why: str


def beginning(plan: InstallPlan, systemctl: Systemctl) -> Beginning:
    """Work out whether the service has to be started, or restarted where it runs by something older."""
    before = Running.look(plan.place, systemctl)
    if not before.is_active:
        # One that waits goes by the unit and the settings of its start, which may be what was mended.
        awaited = _awaited(before.state, before.status or "")
        return Beginning("restart" if awaited else "start", f"it waits: {awaited}" if awaited else "it is down")
    why = _why_restart(plan, before)
    return Beginning(None, before.status or "ready") if why is None else Beginning("restart", why)


def start(plan: InstallPlan, systemctl: Systemctl, say: Say) -> bool:
    """Bring the service up and wait until it is ready.

    Returns:
        whether there was something to do.

    Raises:
        RequestError: it doesn't get ready, with the reason and its last lines; or it waits for something.
    """
    wanted = beginning(plan, systemctl)
    if wanted.verb is None:
        say(f"runs     {wanted.why}")
        return False
    if wanted.verb == "restart":
        say(
            f"restart  {wanted.why}; trials that run get time for a checkpoint, a minute unless grace_s says "
            "otherwise, and go on afterwards"
        )
    systemctl.forget_failure()  # after a few tries systemd refuses to start it, whatever was mended
    # Blocking, it would return no sooner than a daemon that waits, which may be never.
    systemctl.run(systemctl.command(wanted.verb, "--no-block", plan.place.unit.name))
    _wait_until_ready(systemctl)
    say(f"ready    {Running.look(plan.place, systemctl).status}")
    return True


def _why_restart(plan: InstallPlan, before: Running) -> str | None:
    if any(file.path in (plan.place.unit, plan.place.config) for file in plan.changed):
        return "unit or configuration changed"
    if before.is_other_than(__version__, source_commit()):
        return f"cnnbo {before.build} runs, {version_text()} is installed"
    return None


def _wait_until_ready(systemctl: Systemctl) -> None:
    """Wait for the end of systemd's job, which stops an older daemon first.

    Raises:
        RequestError: it failed, waits for something, or takes too long.
    """
    look = f"cnnbo service status{' --user' if systemctl.is_user else ''}"
    begun: float | None = None
    waits_since: float | None = None
    while True:
        told = systemctl.show("ActiveState", "StatusText", "Job")
        now = time.monotonic()
        if told["Job"] in ("", "0"):
            if told["ActiveState"] == "active":
                return
            raise RequestError(_complaint(systemctl))
        if told["ActiveState"] == "activating":  # the time an older one takes to stop is limited by systemd
            begun = begun or now
        awaited = _awaited(told["ActiveState"], told["StatusText"])
        waits_since = (waits_since or now) if awaited else None
        if waits_since is not None and now - waits_since >= _PATIENCE_S:
            raise RequestError(
                f"the service is installed and started, but waits: {awaited}\nSee to that; it goes on waiting, and "
                f"gets ready by itself. How it is: {look}"
            )
        if begun is not None and now - begun >= _LONGEST_START_S:
            raise RequestError(
                f"the service is installed, but isn't ready after {_LONGEST_START_S:.0f} s "
                f"({told['StatusText'] or told['ActiveState']}); systemd goes on starting it. How it is: {look}"
            )
        time.sleep(_POLL_S)


def _awaited(state: str, status: str) -> str | None:
    """What a daemon that isn't ready says it waits for; None where it doesn't wait."""
    head, _, awaited = status.partition("waiting: ")
    return awaited if state == "activating" and not head and awaited else None


def _complaint(systemctl: Systemctl) -> str:
    told = systemctl.show("Result", "ExecMainStatus")
    lines = "".join(f"\n  | {line}" for line in systemctl.log_lines(8))
    return (
        f"the service is installed, but doesn't get ready ({told['Result']}, exit status {told['ExecMainStatus']}). "
        f"Its last lines:{lines}\nMend that, then run this again."
    )
