"""Changing the settings file as a person would: comments, order and everything else in it stay."""

import grp
import os
import pwd
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import tomlkit
from tomlkit.exceptions import TOMLKitError

from cnnbo.daemon.document import did_you_mean, parse_document, read_text, shown
from cnnbo.daemon.settings.keys import KEYS, Key
from cnnbo.daemon.settings.load import SERVICE_CONFIG, check_document, is_there, misfits, requests_misfit
from cnnbo.models.files import replacing
from cnnbo.scheduler.errors import ConfigurationError

SERVICE_GROUP: Final = "cnnbo"
"""Who may read the service's settings beside root: the group of the user that the service runs as, of the same name."""

_PRIVATE: Final = 0o600
_FOR_GROUP: Final = 0o640
_HEADER: Final = re.compile(r"\s*\[([a-z_]+)\]")


@dataclass(frozen=True, slots=True)
class Change:
    """What one edit makes of a settings file.

    Attributes:
        path: the file.
        text: what is to stand in it.
        before: by key that is changed: what stood there; None = nothing.
    """

    path: Path
    text: str
    before: Mapping[str, object]


def known_key(name: str) -> Key:
    """The key of that name.

    Raises:
        ConfigurationError: there is none; the nearest one is named.
    """
    if name not in KEYS:
        within = {key.path[-1]: key.name for key in KEYS.values()}  # "port" means mqtt.port
        nearest = did_you_mean(within.get(name, name), KEYS)
        raise ConfigurationError(f"{shown(name)} is no key of the settings; {nearest}")
    return KEYS[name]


def edited(path: Path, wanted: Mapping[str, object], environ: Mapping[str, str]) -> Change:
    """Change keys of a settings file, checked as when it is loaded; writes nothing.

    Args:
        path: the file; it need not exist.
        wanted: by key, the value as TOML has it; None = the key is to go.
        environ: the environment, in which other keys may be set.

    Raises:
        ConfigurationError: a value can't be, doesn't fit the others, or the file has mistakes elsewhere.
    """
    text = read_text(path) if is_there(path) else ""
    source = parse_document(text, str(path))
    values, problems = check_document(source, besides=wanted)
    for name, value in wanted.items():
        if value is not None:
            try:
                values[name] = KEYS[name].check(value)
            except ValueError as error:
                problems.append(f"{name}: {error}.")
    together = values | _of_environment(environ)
    problems = problems or misfits(together) or requests_misfit(together)
    if problems:
        raise ConfigurationError(problems)
    before = {name: _at(source.data, KEYS[name].path) for name in wanted}
    try:
        for name, value in wanted.items():
            text = _changed(text, KEYS[name].path, value)
        is_meant = check_document(parse_document(text, str(path))) == (values, [])
    except TOMLKitError:
        is_meant = False
    if not is_meant:
        raise ConfigurationError(f"{path}: is written in a form that can't be changed from here; edit it by hand.")
    return Change(path, text, before)


def _of_environment(environ: Mapping[str, str]) -> dict[str, Any]:
    values = {}
    for key in KEYS.values():
        if text := environ.get(key.variable):
            try:
                values[key.name] = key.check(key.parse(text))
            except ValueError:  # no business of the file's; whoever loads the settings is told
                continue
    return values


def _at(data: Mapping[str, object], path: tuple[str, ...]) -> object:
    value: Any = data
    for part in path:
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def _changed(text: str, path: tuple[str, ...], value: object) -> str:
    """The text with a key set, or removed (None), in the table that it belongs to."""
    document = tomlkit.parse(text)
    if value is not None and _at(document, path) is None:
        added = _beside_its_comment(text, path, value) or _below_its_fellows(text, path, value)
        if added is not None:
            return added
    table: Any = document
    for part in path[:-1]:
        if part not in document:
            if value is None:
                return text
            if text.strip():
                document.add(tomlkit.nl())
            document[part] = tomlkit.table()
        table = document[part]
    if value is not None:
        table[path[-1]] = value
    elif path[-1] in table:
        del table[path[-1]]
    return tomlkit.dumps(document)


def _beside_its_comment(text: str, path: tuple[str, ...], value: object) -> str | None:
    """The text with a key below the line that holds it commented out; None where there is no such line."""
    lines = text.splitlines(keepends=True)
    table: tuple[str, ...] = ()
    for number, line in enumerate(lines, start=1):
        if header := _HEADER.match(line):
            table = (header[1],)
        elif table == path[:-1] and re.match(rf"#\s*{path[-1]}\s*=", line):
            return "".join([*lines[: number - 1], *_with_line_below(line, path[-1], value), *lines[number:]])
    return None


def _below_its_fellows(text: str, path: tuple[str, ...], value: object) -> str | None:
    """The text with a key below the last one of its table; None where there is no line that it belongs below.

    tomlkit would put it at the end of its table, below comments that belong to the next one.
    """
    lines = text.splitlines(keepends=True)
    headers = {number: header[1] for number, line in enumerate(lines) if (header := _HEADER.match(line))}
    begins = [number for number, table in headers.items() if (table,) == path[:-1]] if path[:-1] else [-1]
    if not begins:
        return None
    end = next((number for number in headers if number > begins[0]), len(lines))
    while end > begins[0] + 1 and re.match(r"\s*(#|$)", lines[end - 1]):
        end -= 1
    if end == 0:
        return None
    return "".join([*lines[: end - 1], *_with_line_below(lines[end - 1], path[-1], value), *lines[end:]])


def _with_line_below(line: str, key: str, value: object) -> tuple[str, str]:
    end = "\r\n" if line.endswith("\r\n") else "\n"
    return line.rstrip("\r\n") + end, tomlkit.dumps({key: value}).strip() + end


def write(path: Path, text: str) -> None:
    """Have a settings file say this, whenever the power goes; a link stays one.

    Mode and owner are kept. A new file is its owner's alone, but one of the service can be read by its group.

    Raises:
        ConfigurationError: it can't be written.
    """
    try:
        target = path.resolve()
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o755 if path == SERVICE_CONFIG else 0o700)
        old = target.stat() if target.exists() else None
        with replacing(target) as file:
            file.write(text.encode())
            if old is not None:
                _own(file.fileno(), old.st_uid, old.st_gid, stat.S_IMODE(old.st_mode))
            elif path == SERVICE_CONFIG and (group := _service_group()) is not None:
                _own(file.fileno(), os.geteuid(), group, _FOR_GROUP)
    except OSError as error:
        raise ConfigurationError(
            f"{path} can't be written ({error.strerror}); check its owner{_as_root(path)}."
        ) from error


def _as_root(path: Path) -> str:
    return ", or type: sudo cnnbo config …" if path == SERVICE_CONFIG and os.geteuid() else ""


def _own(descriptor: int, user: int, group: int, mode: int) -> None:
    if (user, group) != (os.geteuid(), os.getegid()):
        os.fchown(descriptor, user, group)
    os.fchmod(descriptor, mode)


def _service_group() -> int | None:
    try:
        return grp.getgrnam(SERVICE_GROUP).gr_gid
    except KeyError:
        return None


def _service_user() -> tuple[int, int] | None:
    try:
        entry = pwd.getpwnam(SERVICE_GROUP)
    except KeyError:
        return None
    return entry.pw_uid, entry.pw_gid


def password_file(settings: Path) -> Path:
    """Where `write_password` keeps a broker's password, whether the file exists or not."""
    return settings.absolute().with_name("mqtt.password")


def write_password(settings: Path, password: str) -> bool:
    """Keep a broker's password in a file of its own beside the settings, for whoever runs the daemon alone.

    Returns:
        whether it is another one than before.

    Raises:
        ConfigurationError: it can't be written.
    """
    path = password_file(settings)
    text = password.encode() + b"\n"
    try:
        before = path.read_bytes() if path.exists() else None
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o755 if settings == SERVICE_CONFIG else 0o700)
        owner = _service_user() if settings == SERVICE_CONFIG else None
        with replacing(path) as file:
            file.write(text)
            if owner is not None:
                _own(file.fileno(), *owner, _PRIVATE)
    except OSError as error:
        raise ConfigurationError(
            f"{path} can't be written ({error.strerror}); check its owner{_as_root(settings)}."
        ) from error
    return text != before
