"""What people submit, read and made fit to be run here: whose it is, and what of theirs it may bring along."""

import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from cnnbo.scheduler.codec import decode_value
from cnnbo.scheduler.errors import CnnboError, RequestError
from cnnbo.scheduler.sense import nonsense_in
from cnnbo.scheduler.spec import Origin, StudySpec
from cnnbo.scheduler.study import Study

_NAME = re.compile(r"[a-z0-9-]{1,40}")
_FOLDERS: Final = ("STATE_DIRECTORY", "RUNTIME_DIRECTORY", "LOGS_DIRECTORY")  # a daemon's own, which finds them by that

# What tells a program whose it is and where that user's files are.
_HOMES: Final = (
    *("HOME", "USER", "LOGNAME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME"),
    *("XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS"),
)


@dataclass(frozen=True, slots=True)
class Peer:
    """Who asks.

    Attributes:
        name: the user's name; owner of the studies they submit.
        may_run_commands: whether commands of this user may run as the daemon's user. Those of others may not, and
            nothing of theirs that could run code (environment, working directory, interpreter) is taken.
        is_root_elsewhere: whether this is root, and the daemon's user isn't: trials can't enter root's folders.
    """

    name: str
    may_run_commands: bool
    is_root_elsewhere: bool = False


def spec_of_peer(spec: StudySpec, peer: Peer) -> StudySpec:
    """The study as this user may have it run.

    Raises:
        RequestError: it has a command, and theirs may not run here.
    """
    if spec.command and not peer.may_run_commands:
        raise RequestError(
            f"trials would run as the daemon's user, so commands are taken from that user or root only, not from "
            f"{peer.name}; run a daemon of your own: cnnbo run with --state DIR."
        )
    origin = spec.origin if peer.may_run_commands else _own_origin()
    if peer.is_root_elsewhere:
        own = _own_origin().environment
        kept = {name: value for name, value in origin.environment.items() if name not in _HOMES}
        origin = replace(origin, environment=kept | {name: own[name] for name in _HOMES if name in own})
    return replace(spec, origin=replace(origin, owner=peer.name))


def _own_origin() -> Origin:
    """Where trials run that were submitted by somebody who may not choose: where and as the daemon does.

    Its own settings are left out, since they may hold a password, and so is what systemd tells the daemon alone.
    """
    private = ("CNNBO_", "NOTIFY_SOCKET", "WATCHDOG_", "LISTEN_", "CREDENTIALS_DIRECTORY", *_FOLDERS)
    environment = {name: value for name, value in os.environ.items() if not name.startswith(private)}
    return Origin(cwd=str(Path.cwd()), environment=environment, python=sys.executable)


def built_in_spec(study: Mapping[str, object]) -> StudySpec:
    """The study of a built-in model, written by somebody who isn't on this box.

    Raises:
        RequestError: it has a command.
        ConfigurationError: with every mistake in it.
    """
    from cnnbo.daemon.studyfile import read_study_data  # only few daemons ever need it

    if "command" in study:
        raise RequestError(
            "study: a command is not taken over MQTT, since it would run as the daemon's user; "
            "submit it on the box (cnnbo submit STUDY), or name a built-in model."
        )
    return read_study_data(study, "study")


def decode_spec(data: object) -> StudySpec:
    """The study that a command line has encoded.

    Raises:
        RequestError: it is none, or none that could be run to its end.
    """
    try:
        spec = decode_value(StudySpec, data)
        _check_sense(spec)
    except (KeyError, TypeError, ValueError, AttributeError, CnnboError) as error:
        raise RequestError(f"the study in the request can't be read ({error}); is this command line newer?") from error
    assert isinstance(spec, StudySpec)
    if not _NAME.fullmatch(spec.name):
        # It becomes a folder and a topic; not every client reads study files with our parser.
        raise RequestError(f"{spec.name!r} is no name for a study; use [a-z0-9-], at most 40 characters.")
    return spec


def _check_sense(spec: StudySpec) -> None:
    """Refuse what our own study files can't say, but another client might.

    Raises:
        ValueError, CnnboError: the spec would fail later, when nobody is there to be told.
    """
    if problem := nonsense_in(spec):
        raise ValueError(problem)
    Study(spec)  # the start configurations belong to the space
