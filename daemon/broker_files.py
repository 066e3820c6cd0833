"""The folder that makes a mosquitto cnnbo's broker: configuration, certificates, passwords and rights.

`broker.toml` in it says what the folder was made from. What is there is kept, what is missing is made: see `plan`.
"""

import os
import pwd
import re
import secrets
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import tomlkit

from cnnbo.daemon.broker_certificate import GivenCertificate, Origin, is_host, planned_certificate, seeming_origin
from cnnbo.daemon.document import Faults, did_you_mean, dotted, parse_document, read_text, shown
from cnnbo.daemon.mosquitto import Role, access_list, configuration, password_line
from cnnbo.daemon.planned import PlannedFile, planned, read_if_there
from cnnbo.daemon.settings import checked_base, checked_port
from cnnbo.scheduler.errors import ConfigurationError

_DEFAULT_PORT: Final = 8883
_PASSWORD_LIMIT: Final = 200

_NEW_FILE = """\
# What `cnnbo broker configure` makes this folder from. Change it here or by its options, then run it again and have
# mosquitto read it (systemctl reload mosquitto): then a user whose line is gone is shut out, and not before.
# Roles: viewer, operator, node (the daemon of the node of that name). The certificate is "own" (signed by the CA here)
# or "given".
"""


@dataclass(frozen=True, slots=True)
class Wishes:
    """What is asked of the broker, beside what its folder says already.

    Attributes:
        folder: absolute.
        port: of the TLS listener; None = as it is, at first 8883.
        base: first part of every topic; None = as it is, at first `default_base`.
        users: roles of users to add, or to change.
        renewed: users who get a new password.
        hosts: names and addresses the broker is asked for by, beside `default_hosts`; the first one is what clients
            are told to use.
        given: a certificate to use instead of one of our own.
        node: this box's name; a folder that is new gets it as a user, and `viewer` and `operator`.
        default_base: see `base`.
        default_hosts: of this box; an own certificate is for them too.
    """

    folder: Path
    node: str
    default_hosts: tuple[str, ...]
    default_base: str = "cnnbo"
    port: int | None = None
    base: str | None = None
    users: Mapping[str, Role] = field(default_factory=dict)
    renewed: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    given: GivenCertificate | None = None


@dataclass(frozen=True, slots=True)
class Description:
    """What the broker shall be.

    Attributes:
        host: what clients are told to use: the first name it was given.
        port: where it listens, with TLS.
        base: first part of every topic.
        certificate: where it comes from.
        users: everybody who may come in, with roles.
    """

    host: str
    port: int
    base: str
    certificate: Origin
    users: Mapping[str, Role]


@dataclass(frozen=True, slots=True)
class Plan:
    """What the folder will hold.

    Attributes:
        folder: see `Wishes`.
        broker: what the files make of it.
        certificate: what became of the broker's certificate, for whom it is and until when.
        files: in the order in which they are written.
        leftovers: files that are removed after that: passwords of nobody, the CA of a former certificate.
    """

    folder: Path
    broker: Description
    certificate: str
    files: tuple[PlannedFile, ...]
    leftovers: tuple[Path, ...]

    @property
    def has_authority(self) -> bool:
        """Whether clients need `ca.crt` to believe the certificate."""
        return any(file.path.name == "ca.crt" for file in self.files)

    @property
    def broker_has_to(self) -> str | None:
        """What a broker that runs by this folder has to do about it: `restart`, `reload`, or None.

        As mosquitto 2.0.11 does it: at SIGHUP it reads passwords, rights and certificate again, but adds no listener.
        """
        changed = {file.path.name for file in self.files if file.change != "kept"}
        if "cnnbo.conf" in changed:
            return "restart"
        return "reload" if changed & {"passwd", "acl", "server.crt", "server.key"} else None

    def write(self) -> None:
        """Make the folder what was planned.

        Raises:
            ConfigurationError: it can't be written; what was written before is whole.
        """
        broker = _broker_account()
        try:
            if not self.folder.exists():
                self.folder.mkdir(parents=True)
                self.folder.chmod(0o755)  # whatever root's umask is, the broker has to get in
            (self.folder / "passwords").mkdir(mode=0o700, exist_ok=True)
            for file in self.files:
                file.write(broker)
            for path in self.leftovers:
                path.unlink()
        except OSError as error:
            raise ConfigurationError(
                f"{error.filename or self.folder} can't be written ({error.strerror}); name another folder, "
                "or run it as who may write there."
            ) from error


def _broker_account() -> tuple[int, int] | None:
    """Whom mosquitto turns into when root starts it; None where that doesn't happen."""
    if os.getuid() != 0:
        return None
    try:
        account = pwd.getpwnam("mosquitto")
    except KeyError:
        return None
    return account.pw_uid, account.pw_gid


def plan(wishes: Wishes, new_password: Callable[[str], str | None]) -> Plan:
    """Work out what the folder should hold; reads it, and changes nothing.

    Args:
        wishes: what is asked for.
        new_password: called with each user who has no password yet, or gets a new one; returns it, or None to have one
            made up, which is kept in `passwords/` to be handed on.

    Raises:
        ConfigurationError: something asked for or found there can't be used.
    """
    _check(wishes)
    folder = wishes.folder
    description, text = _described(wishes)
    certificate = planned_certificate(folder, wishes.hosts, wishes.default_hosts, description.certificate, wishes.given)
    passwords = _password_files(folder, description.users, wishes.renewed, new_password)
    rights = access_list(description.users, description.base)
    files = (
        planned(folder / "broker.toml", text),
        *certificate.files,
        *passwords,
        planned(folder / "acl", rights, is_private=True, is_for_broker=True),
        planned(folder / "cnnbo.conf", configuration(folder, description.port)),
    )
    leftovers = (*certificate.leftovers, *_notes_of_nobody(folder, passwords))
    return Plan(folder, description, certificate.note, files, leftovers)


def _check(wishes: Wishes) -> None:
    problems: list[str] = []
    if any(character in str(wishes.folder) for character in "\n\r\0"):
        problems.append(f"{str(wishes.folder)!r} can't stand in mosquitto's configuration; name another folder.")
    problems += [f"--user {shown(user)}: {fault}." for user in wishes.users if (fault := _user_fault(user))]
    problems += [
        f"--host {shown(host)}: must be a host name or an address, without a port."
        for host in wishes.hosts
        if not is_host(host)
    ]
    if problems:
        raise ConfigurationError(problems)


def _user_fault(user: str) -> str | None:
    """Why nobody can be called this, or None: the name stands in two of mosquitto's files, and names one of ours."""
    if re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}", user):
        return None
    return 'a name is 1 to 64 of A-Z, a-z, 0-9, "_", "." and "-"'


def _described(wishes: Wishes) -> tuple[Description, str]:
    """What the broker shall be, by `broker.toml` and the wishes, and the new text of that file."""
    path = wishes.folder / "broker.toml"
    is_new = read_if_there(path) is None
    text = _NEW_FILE if is_new else read_text(path)
    before = _read_description(text, str(path))
    users = before.get("users", {})
    if is_new:
        users = {wishes.node: Role.NODE, "viewer": Role.VIEWER, "operator": Role.OPERATOR}
    description = Description(
        before.get("host", (*wishes.hosts, *wishes.default_hosts)[0]),
        wishes.port or before.get("port", _DEFAULT_PORT),
        wishes.base or before.get("base", wishes.default_base),
        Origin.GIVEN if wishes.given else before.get("certificate", seeming_origin(wishes.folder)),
        {**users, **wishes.users},
    )
    if strangers := [user for user in wishes.renewed if user not in description.users]:
        raise ConfigurationError(
            f"--new-password {shown(strangers[0])}: is no user of this broker; name one of "
            f"{', '.join(description.users)}, or add one: --user NAME:ROLE."
        )
    return description, _rewritten(text, description)


def _rewritten(text: str, description: Description) -> str:
    """The text with the new values, and everything that people wrote beside them."""
    document = tomlkit.parse(text)
    values = {
        "host": description.host,
        "port": description.port,
        "base": description.base,
        "certificate": description.certificate.value,
    }
    for key, value in values.items():
        if document.get(key) != value:
            document[key] = value
    table = document.setdefault("users", tomlkit.table())
    for user, role in description.users.items():
        if table.get(user) != role:
            table[user] = role.value
    return tomlkit.dumps(document)


def _read_description(text: str, source: str) -> dict[str, Any]:
    document = parse_document(text, source)
    faults = Faults(document)
    values: dict[str, Any] = {}
    for key, value in document.data.items():
        if key not in _CHECKS:
            faults.add((key,), f"{shown(key)} is no key here; {did_you_mean(key, _CHECKS)}")
            continue
        try:
            values[key] = _CHECKS[key](value)
        except ValueError as error:
            faults.add((key,), f"{dotted((key,))}: {error}.")
    faults.raise_any()
    return values


def _roles(value: object) -> dict[str, Role]:
    if not isinstance(value, dict):
        raise ValueError(f"must be a table, not {shown(value)}")
    for user, role in value.items():
        if fault := _user_fault(user):
            raise ValueError(f"{shown(user)}: {fault}")
        if role not in tuple(Role):
            raise ValueError(f"{user} must be one of {', '.join(Role)}, not {shown(role)}")
    return {user: Role(role) for user, role in value.items()}


def _origin(value: object) -> Origin:
    if not isinstance(value, str) or value not in tuple(Origin):
        raise ValueError(f"must be one of {', '.join(Origin)}, not {shown(value)}")
    return Origin(value)


def _host(value: object) -> str:
    if not isinstance(value, str) or not is_host(value):
        raise ValueError(f"must be a host name or an address, without a port, not {shown(value)}")
    return value


_CHECKS: Final[Mapping[str, Callable[[object], object]]] = {
    "host": _host,
    "port": checked_port,
    "base": checked_base,
    "certificate": _origin,
    "users": _roles,
}


def _password_files(
    folder: Path, users: Mapping[str, Role], renewed: Collection[str], new_password: Callable[[str], str | None]
) -> list[PlannedFile]:
    stored = (read_if_there(folder / "passwd") or b"").decode(errors="replace").splitlines()
    lines = {line.partition(":")[0]: line for line in stored}
    notes: list[PlannedFile] = []
    for user in users:
        note = folder / "passwords" / user
        kept = None if user in renewed else read_if_there(note)
        if user in renewed or user not in lines:
            password = kept.decode(errors="replace").strip() if kept else _checked(new_password(user))
            if password is None:
                password = secrets.token_urlsafe(24)
                kept = f"{password}\n".encode()
            lines[user] = password_line(user, password, secrets.token_bytes(12))
        if kept is not None:
            notes.append(planned(note, kept, is_secret=True))
    hashes = "".join(f"{lines[user]}\n" for user in users)
    return [*notes, planned(folder / "passwd", hashes, is_secret=True, is_for_broker=True)]


def _notes_of_nobody(folder: Path, passwords: Collection[PlannedFile]) -> tuple[Path, ...]:
    """Notes that hold nobody's password any more; who is added again under an old name must not get the old one."""
    current = {file.path for file in passwords}
    there = sorted((folder / "passwords").glob("*"))
    return tuple(path for path in there if path not in current and _user_fault(path.name) is None)


def _checked(password: str | None) -> str | None:
    if password is not None and not (0 < len(password) <= _PASSWORD_LIMIT and password.isprintable()):
        raise ConfigurationError(f"a password has 1 to {_PASSWORD_LIMIT} printable characters; choose another one.")
    return password
