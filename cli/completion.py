"""What a shell offers at the Tab key: studies, trials and devices of the daemon that was named, and keys of settings.

Whoever presses Tab is typing: nothing here fails, writes to the terminal or keeps them waiting.
"""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, suppress
from io import StringIO
from typing import TYPE_CHECKING, Final

import typer

if TYPE_CHECKING:
    from cnnbo.daemon.client import LocalDaemon

PATIENCE_S: Final = 5.0
"""Longest wait for a daemon that is stuck, or a journal on a slow disk."""

Offers = list[tuple[str, str]]
"""Words to choose from, each with what it is; the shell keeps those that begin as the typed one."""


def studies(context: typer.Context) -> Offers:
    """Names of studies, and of the comparisons that some belong to."""
    return _offers(context, _studies)


def trials(context: typer.Context) -> Offers:
    """Numbers of the trials of the study that is named before."""
    return _offers(context, lambda daemon: _trials(daemon, context.params["name"]))


def devices(context: typer.Context) -> Offers:
    """Devices, by the names that lists show."""
    return _offers(context, _devices)


def keys() -> Offers:
    """Keys of the settings, each with what is built in."""
    from cnnbo.daemon.settings import KEYS

    return [(key.name, key.default.replace("`", "")) for key in KEYS.values()]


def _studies(daemon: "LocalDaemon") -> Offers:
    offers: dict[str, str] = {}
    for study in daemon.status()["studies"]:
        if study["comparison"] is not None:
            offers[study["comparison"]] = "comparison"
        offers[study["name"]] = f"{study['state']}, {study['finished']} of {study['evaluations']} finished"
    return list(offers.items())


def _trials(daemon: "LocalDaemon", study: str) -> Offers:
    def describe(trial: dict[str, object]) -> str:
        return f"{trial['failure'] or trial['state']} {'' if trial['value'] is None else trial['value']}".strip()

    return [(str(trial["id"]), describe(trial)) for trial in daemon.show(study)["trials"]]


def _devices(daemon: "LocalDaemon") -> Offers:
    from cnnbo.cli.output import device_label

    return [(device_label(device), f"{device['name']}, {device['state']}") for device in daemon.status()["devices"]]


def _offers(context: typer.Context, find: Callable[["LocalDaemon"], Offers]) -> Offers:
    if context.params.get("broker") is not None:
        return []  # a box on the network would have to be asked, perhaps with a password
    with suppress(Exception), redirect_stderr(StringIO()), _patience():
        from cnnbo.cli.options import state_folder
        from cnnbo.daemon.client import LocalDaemon

        return find(LocalDaemon(state_folder(context.params.get("state"))))
    return []


@contextmanager
def _patience() -> Iterator[None]:
    def give_up(*_: object) -> None:
        raise TimeoutError

    signal.signal(signal.SIGALRM, give_up)  # this process was started for the offers alone
    signal.setitimer(signal.ITIMER_REAL, PATIENCE_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
