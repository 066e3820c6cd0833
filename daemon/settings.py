"""The settings of an instance: built-in defaults, one TOML file, the environment, the command line; the last one wins.

The file is named by CNNBO_CONFIG; else it is /etc/cnnbo/cnnbo.toml for a service, and $XDG_CONFIG_HOME/cnnbo/cnnbo.toml
for a user, where it may be missing. A key `mqtt.port` is CNNBO_MQTT_PORT in the environment.
"""

import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from cnnbo.daemon.broker_url import split_broker_url
from cnnbo.daemon.document import Faults, did_you_mean, dotted, read_document, shown
from cnnbo.daemon.folders import default_node, state_folder, user_folder
from cnnbo.daemon.secretfiles import is_exposed
from cnnbo.scheduler.errors import ConfigurationError
from cnnbo.scheduler.sharing import NO_LIMITS, Hours, Sharing, Yield

_log = logging.getLogger(__name__)

SERVICE_CONFIG: Final = Path("/etc/cnnbo/cnnbo.toml")


@dataclass(frozen=True, slots=True)
class MqttSettings:
    """How the news is told.

    Attributes:
        url: `mqtt://host:port` or `mqtts://…` of a broker; None = an embedded one on this box.
        user: who the daemon is to that broker, in place of a user in the URL.
        password_file: file that holds the user's password, absolute; in place of a password in the URL.
        ca: PEM file of the CA to trust with `mqtts://`, absolute; None = those of the system.
        base: first part of every topic.
        enabled: whether there is any MQTT.
        requests: whether requests are taken over MQTT; then `url` needs a user, see `serve`.
        port: where the embedded broker listens if the port is free, 1-65535.
    """

    url: str | None = field(default=None, repr=False)  # it may hold a password
    user: str | None = None
    password_file: Path | None = None
    ca: Path | None = None
    base: str = "cnnbo"
    enabled: bool = True
    requests: bool = False
    port: int = 1883


@dataclass(frozen=True, slots=True)
class ProposerSettings:
    """How proposals are made.

    Attributes:
        deadline_s: how long a free device waits for a proposal before a Sobol point is taken, in seconds.
    """

    deadline_s: float = 30.0


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings of an instance, checked.

    Attributes:
        state: folder of the journal and the trials, absolute; see `folders.state_folder`.
        node: name of this box in topics, [a-z0-9-]{1,40}.
        lease_dir: folder of the devices' lease files, shared by all instances of the box.
        mqtt: see `MqttSettings`.
        proposer: see `ProposerSettings`.
        devices: how devices are shared with other people, whatever a study wants: keys `max`, `hours` and `yield`.
        poll_s: how often devices are read, in seconds.
        idle_memory_mib: so much memory may be in use on a device that nobody computes on, in MiB; above it the device
            counts as somebody else's.
        slow_patience_s: a device that slows itself down for longer than this, because of heat or power, gets no new
            trial until it has recovered, in seconds.
        grace_s: how long a trial may take to write a checkpoint when it is asked to end, in seconds.
    """

    state: Path
    node: str
    lease_dir: Path = Path("/run/lock")
    mqtt: MqttSettings = field(default_factory=MqttSettings)
    proposer: ProposerSettings = field(default_factory=ProposerSettings)
    devices: Sharing = NO_LIMITS
    poll_s: float = 2.0
    idle_memory_mib: float = 1024.0
    slow_patience_s: float = 300.0
    grace_s: float = 60.0


def load_settings(
    environ: Mapping[str, str],
    *,
    state: Path | None = None,
    node: str | None = None,
    mqtt_enabled: bool | None = None,
) -> Settings:
    """Gather the settings.

    Reads the settings file and asks whether a service is there; makes no folder (see `folders.prepare_state_folder`).

    Args:
        environ: the environment.
        state: `--state`.
        node: `--node`.
        mqtt_enabled: False for `--no-mqtt`.

    Raises:
        ConfigurationError: with every mistake of file, environment and flags; those of the file as `file:line`.
    """
    problems: list[str] = []
    values = _from_file(environ, problems)
    values |= _from_environment(environ, problems)
    flags = {"node": node, "mqtt.enabled": mqtt_enabled}
    for name, value in flags.items():
        if value is not None:
            _take(values, problems, name, value, place=f"--{name}")
    problems = problems or _broker_problems(_under("mqtt", values))
    if problems:
        raise ConfigurationError(problems)
    named_state = values.pop("state", None)
    chosen_node = values.get("node") or default_node()
    return Settings(
        state_folder(state or named_state, environ, node=chosen_node),
        chosen_node,
        mqtt=MqttSettings(**_under("mqtt", values)),
        proposer=ProposerSettings(**_under("proposer", values)),
        devices=_sharing(**_under("devices", values)),
        **{name: value for name, value in values.items() if "." not in name and name != "node"},
    )


def _under(table: str, values: Mapping[str, Any]) -> dict[str, Any]:
    return {name.removeprefix(f"{table}."): value for name, value in values.items() if name.startswith(f"{table}.")}


def _broker_problems(mqtt: Mapping[str, Any]) -> list[str]:
    """What fits together in none of the places it may come from."""
    url = urlsplit(mqtt.get("url") or "")
    problems = []
    if mqtt.get("ca") and url.scheme != "mqtts":
        problems.append("mqtt.ca: is for a broker with TLS; write mqtt.url as mqtts://…, or leave it out.")
    if mqtt.get("password_file") and not (mqtt.get("user") or url.username):
        problems.append("mqtt.password_file: whose password is it? Set mqtt.user too.")
    if mqtt.get("user") and not url.scheme:
        problems.append("mqtt.user: the embedded broker knows no users; set mqtt.url too, or leave it out.")
    return problems


def _sharing(**values: Any) -> Sharing:
    return Sharing(values.get("max"), values.get("hours"), values.get("yield", Yield.FINISH))


def _take(values: dict[str, Any], problems: list[str], name: str, value: object, place: str) -> None:
    try:
        values[name] = KEYS[name](value)
    except ValueError as error:
        problems.append(f"{place}: {error}.")


def config_file(environ: Mapping[str, str]) -> Path:
    """The settings file of this instance, whether it exists or not."""
    if named := environ.get("CNNBO_CONFIG"):
        return Path(named)
    if environ.get("STATE_DIRECTORY"):  # systemd sets it for the service
        return SERVICE_CONFIG
    base = user_folder(environ, "XDG_CONFIG_HOME", ".config")
    return base / "cnnbo" / "cnnbo.toml" if base else SERVICE_CONFIG


def _from_file(environ: Mapping[str, str], problems: list[str]) -> dict[str, Any]:
    path = config_file(environ)
    if not environ.get("CNNBO_CONFIG") and not _exists(path):
        return {}
    try:
        document = read_document(path)
    except ConfigurationError as error:
        problems.extend(error.problems)
        return {}
    faults = Faults(document)
    values: dict[str, Any] = {}
    for key_path, value in _flat(document.data, faults):
        try:
            values[".".join(key_path)] = KEYS[".".join(key_path)](value)
        except ValueError as error:
            faults.add(key_path, f"{dotted(key_path)}: {error}.")
    problems.extend(faults.problems())
    _warn_if_exposed(path, values.get("mqtt.url", ""))
    return values


def _warn_if_exposed(path: Path, url: str) -> None:
    # No refusal, as of files that are there for a password alone: it would stop every study for the broker's sake.
    if urlsplit(url).password is not None and is_exposed(path.stat()):
        _log.warning(
            "%s holds the broker's password and others can read it; type: chmod 600 %s, or move it into a "
            "file of its own: mqtt.password_file",
            *(path, path),
        )


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # a name that is too long, a folder that is closed: reading it says so
        return True


def _flat(data: Mapping[str, object], faults: Faults) -> list[tuple[tuple[str, ...], object]]:
    """The known keys of the file with their values; unknown ones are noted in `faults`."""
    flat: list[tuple[tuple[str, ...], object]] = []
    for key, value in data.items():
        if key not in _TABLES:
            flat.append(((key,), value))
        elif isinstance(value, dict):
            flat += [((key, inner), below) for inner, below in value.items()]
        else:
            faults.add((key,), f"{key}: must be a table, not {shown(value)}; write [{key}].")
    for path, _ in flat:
        if path not in _PATHS:
            fellows = [known[-1] for known in _PATHS if known[:-1] == path[:-1]]
            tables = [] if path[:-1] else sorted(_TABLES)
            place = f"of [{path[0]}]" if path[:-1] else "of the settings"
            faults.add(path, f"{shown(path[-1])} is no key {place}; {did_you_mean(path[-1], fellows + tables)}")
    return [(path, value) for path, value in flat if path in _PATHS]


def _from_environment(environ: Mapping[str, str], problems: list[str]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name in KEYS:
        variable = "CNNBO_" + name.upper().replace(".", "_")
        if text := environ.get(variable):
            _take(values, problems, name, _from_text(name, text), place=variable)
    return values


def _from_text(name: str, text: str) -> object:
    """A variable's text as the number or truth it spells; the text itself where it spells none."""
    if name in _TEXTS:
        return text
    if KEYS[name] is _flag:
        return _SPELLINGS.get(text.lower(), text)
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _node(value: object) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"[a-z0-9-]{1,40}", value):
        raise ValueError(f'must be 1 to 40 of a-z, 0-9 and "-", not {shown(value)}; leave it out for the host name')
    return value


def _folder(value: object) -> Path:
    if not isinstance(value, str) or not value.startswith("/") or "\0" in value:
        raise ValueError(f'must be the whole path of a folder, like "/var/lib/cnnbo", not {shown(value)}')
    return Path(value)


def _file(value: object) -> Path:
    if not isinstance(value, str) or not value.startswith("/") or "\0" in value:
        raise ValueError(f'must be the whole path of a file, like "/etc/cnnbo/mqtt.password", not {shown(value)}')
    return Path(value)


def _url(value: object) -> str:
    url = value if isinstance(value, str) else ""
    split_broker_url(url)
    return url


def _user(value: object) -> str:
    if not isinstance(value, str) or not value.isprintable() or not 0 < len(value.encode()) <= 1024:
        raise ValueError(f"must be the name of a user of the broker, not {shown(value)}")
    return value


def checked_base(value: object) -> str:
    """The first part of every topic, as it is.

    Raises:
        ValueError: it is none; the text is the rest of a sentence.
    """
    if not isinstance(value, str) or not re.fullmatch(r"[^+#$/\0\s][^+#\0\s]{0,99}(?<!/)", value):
        raise ValueError(f'must be the beginning of a topic, like "cnnbo" or "lab/cnnbo", not {shown(value)}')
    return value


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"must be true or false, not {shown(value)}")
    return value


def checked_port(value: object) -> int:
    """A port, as it is.

    Raises:
        ValueError: it is none; the text is the rest of a sentence.
    """
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 65535:
        raise ValueError(f"must be a port from 1 to 65535, not {shown(value)}")
    return value


def _seconds(low: float, high: float) -> Callable[[object], float]:
    def check(value: object) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            raise ValueError(f"must be a number of seconds from {low:g} to {high:g}, not {shown(value)}")
        return float(value)

    return check


def _mebibytes(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 10_000_000:
        raise ValueError(f"must be a number of MiB from 0 to 10,000,000, not {shown(value)}")
    return float(value)


def _count(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 10_000:
        raise ValueError(f"must be a whole number from 1 to 10,000, not {shown(value)}")
    return value


def _yield(value: object) -> Yield:
    if not isinstance(value, str) or value not in tuple(Yield):
        raise ValueError(f'must be "finish" or "stop", not {shown(value)}')
    return Yield(value)


# What may be set, with what each value must be; a key with a dot is one of a table.
KEYS: Final[Mapping[str, Callable[[object], object]]] = {
    "state": _folder,
    "node": _node,
    "lease_dir": _folder,
    "mqtt.url": _url,
    "mqtt.user": _user,
    "mqtt.password_file": _file,
    "mqtt.ca": _file,
    "mqtt.base": checked_base,
    "mqtt.enabled": _flag,
    "mqtt.requests": _flag,
    "mqtt.port": checked_port,
    "proposer.deadline_s": _seconds(0.1, 3600),
    "devices.max": _count,
    "devices.hours": Hours.parse,
    "devices.yield": _yield,
    "poll_s": _seconds(0.1, 600),
    "idle_memory_mib": _mebibytes,
    "slow_patience_s": _seconds(0, 86400),
    "grace_s": _seconds(0, 3600),
}
_PATHS: Final = tuple(tuple(name.split(".")) for name in KEYS)
_TABLES: Final = frozenset(path[0] for path in _PATHS if len(path) > 1)
_TEXTS: Final = frozenset(
    {
        *("state", "node", "lease_dir", "devices.hours", "devices.yield"),
        *("mqtt.url", "mqtt.user", "mqtt.password_file", "mqtt.ca", "mqtt.base"),
    }
)
_SPELLINGS: Final = {
    "true": True,
    "yes": True,
    "on": True,
    "1": True,
    "false": False,
    "no": False,
    "off": False,
    "0": False,
}
