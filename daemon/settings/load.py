"""Gathering the settings: built-in defaults, one TOML file, the environment, the command line; the last one wins."""

import logging
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from cnnbo.daemon.document import Document, Faults, did_you_mean, dotted, read_document, shown
from cnnbo.daemon.folders import default_node, state_folder, user_folder
from cnnbo.daemon.secretfiles import is_exposed
from cnnbo.daemon.settings.keys import KEYS, TABLES
from cnnbo.daemon.settings.model import MqttSettings, ProposerSettings, Settings
from cnnbo.scheduler.errors import ConfigurationError
from cnnbo.scheduler.sharing import Sharing, Yield

_log = logging.getLogger(__name__)

SERVICE_CONFIG: Final = Path("/etc/cnnbo/cnnbo.toml")

REQUESTS_NEED: Final = (
    "mqtt.requests = true takes orders from whoever the broker lets in, so mqtt.url has to name a broker with "
    'users, like "mqtts://broker.lan:8883", and mqtt.user and mqtt.password_file say who to log in as; '
    "or leave mqtt.requests out: the news are published without it."
)


@dataclass(slots=True)
class Gathered:
    """What was set, and where.

    Attributes:
        values: by key, checked.
        places: where each of them was set: `FILE:LINE`, a variable, or a flag.
        problems: what is wrong.
    """

    values: dict[str, Any] = field(default_factory=dict)
    places: dict[str, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def take(self, name: str, value: object, place: str) -> None:
        """Set a key, or note what is wrong with its value."""
        try:
            self.values[name] = KEYS[name].check(value)
            self.places[name] = place
        except ValueError as error:
            self.problems.append(f"{place}: {error}.")


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
    gathered = gather(environ)
    flags = {"node": node, "mqtt.enabled": mqtt_enabled}
    for name, value in flags.items():
        if value is not None:
            gathered.take(name, value, place=f"--{name}")
    return settings_of(gathered, environ, state)


def gather(environ: Mapping[str, str]) -> Gathered:
    """What file and environment say."""
    gathered = Gathered()
    path = config_file(environ)
    if environ.get("CNNBO_CONFIG") or is_there(path):
        _take_file(gathered, path)
    for key in KEYS.values():
        if text := environ.get(key.variable):
            gathered.take(key.name, key.parse(text), place=key.variable)
    return gathered


def settings_of(gathered: Gathered, environ: Mapping[str, str], state: Path | None = None) -> Settings:
    """The settings that were gathered, with defaults for the rest.

    Raises:
        ConfigurationError: with what is wrong with them.
    """
    values = dict(gathered.values)
    if problems := gathered.problems or misfits(values):
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


def misfits(values: Mapping[str, Any]) -> list[str]:
    """What fits together in none of the places it may come from."""
    mqtt = _under("mqtt", values)
    url = urlsplit(mqtt.get("url") or "")
    problems = []
    if mqtt.get("ca") and url.scheme != "mqtts":
        problems.append("mqtt.ca: is for a broker with TLS; write mqtt.url as mqtts://…, or leave it out.")
    if mqtt.get("password_file") and not (mqtt.get("user") or url.username):
        problems.append("mqtt.password_file: whose password is it? Set mqtt.user too.")
    if mqtt.get("user") and not url.scheme:
        problems.append("mqtt.user: the embedded broker knows no users; set mqtt.url too, or leave it out.")
    return problems


def requests_misfit(values: Mapping[str, Any]) -> list[str]:
    """What is missing for requests over MQTT; whether the password is there, is seen when the daemon reads it."""
    mqtt = _under("mqtt", values)
    url = urlsplit(mqtt.get("url") or "")
    has_login = (mqtt.get("user") or url.username) and (mqtt.get("password_file") or url.password)
    return [] if not mqtt.get("requests") or has_login else [REQUESTS_NEED]


def _under(table: str, values: Mapping[str, Any]) -> dict[str, Any]:
    return {name.removeprefix(f"{table}."): value for name, value in values.items() if name.startswith(f"{table}.")}


def _sharing(**values: Any) -> Sharing:
    return Sharing(values.get("max"), values.get("hours"), values.get("yield", Yield.FINISH))


def config_file(environ: Mapping[str, str]) -> Path:
    """The settings file of this instance, whether it exists or not."""
    if named := environ.get("CNNBO_CONFIG"):
        return Path(named)
    if environ.get("STATE_DIRECTORY"):  # systemd sets it for the service
        return SERVICE_CONFIG
    base = user_folder(environ, "XDG_CONFIG_HOME", ".config")
    return base / "cnnbo" / "cnnbo.toml" if base else SERVICE_CONFIG


def _take_file(gathered: Gathered, path: Path) -> None:
    try:
        document = read_document(path)
    except ConfigurationError as error:
        gathered.problems.extend(error.problems)
        return
    values, problems = check_document(document)
    gathered.values |= values
    gathered.places |= {name: f"{path}:{document.line(KEYS[name].path)}" for name in values}
    gathered.problems += problems
    _warn_if_exposed(path, values.get("mqtt.url", ""))


def check_document(document: Document, besides: Collection[str] = ()) -> tuple[dict[str, Any], list[str]]:
    """The values of a settings file, and what is wrong in it.

    Args:
        document: the file.
        besides: keys that are to be passed over.
    """
    faults = Faults(document)
    values: dict[str, Any] = {}
    for key_path, value in _flat(document.data, faults):
        name = ".".join(key_path)
        if name in besides:
            continue
        try:
            values[name] = KEYS[name].check(value)
        except ValueError as error:
            faults.add(key_path, f"{dotted(key_path)}: {error}.")
    return values, faults.problems()


def _flat(data: Mapping[str, object], faults: Faults) -> list[tuple[tuple[str, ...], object]]:
    """The known keys of the file with their values; unknown ones are noted in `faults`."""
    flat: list[tuple[tuple[str, ...], object]] = []
    for key, value in data.items():
        if key not in TABLES:
            flat.append(((key,), value))
        elif isinstance(value, dict):
            flat += [((key, inner), below) for inner, below in value.items()]
        else:
            faults.add((key,), f"{key}: must be a table, not {shown(value)}; write [{key}].")
    known = {key.path for key in KEYS.values()}
    for path, _ in flat:
        if path not in known:
            place = f"of [{path[0]}]" if path[:-1] else "of the settings"
            faults.add(path, f"{shown(path[-1])} is no key {place}; {_nearest(path)}")
    return [(path, value) for path, value in flat if path in known]


def _nearest(path: tuple[str, ...]) -> str:
    fellows = [key.path[-1] for key in KEYS.values() if key.path[:-1] == path[:-1]]
    return did_you_mean(path[-1], fellows + ([] if path[:-1] else sorted(TABLES)))


def _warn_if_exposed(path: Path, url: str) -> None:
    # No refusal, as of files that are there for a password alone: it would stop every study for the broker's sake.
    if urlsplit(url).password is not None and is_exposed(path.stat()):
        _log.warning(
            "%s holds the broker's password and others can read it; type: chmod 600 %s, or move it into a "
            "file of its own: mqtt.password_file",
            *(path, path),
        )


def is_there(path: Path) -> bool:
    """Whether a settings file is to be read."""
    try:
        return path.exists()
    except (OSError, ValueError):  # a name that is too long, a folder that is closed: reading it says so
        return True
