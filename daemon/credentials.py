"""Who we are to a broker, and whom we believe to be one: from files, so that neither `ps` nor a log shows a password.

The command line keeps a broker's user, password and CA in `$XDG_CONFIG_HOME/cnnbo/brokers.toml`, a table for each:

    ["mqtts://tower.lan:8883"]
    user = "viewer"
    password = "…"
    ca = "/home/me/ca.crt"
"""

import contextlib
import ipaddress
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import tomlkit

from cnnbo.daemon.document import Faults, did_you_mean, read_document, shown
from cnnbo.daemon.folders import SERVICE_STATE, user_folder
from cnnbo.daemon.mqtt import BrokerAddress
from cnnbo.daemon.secretfiles import read_password, refuse_exposed
from cnnbo.daemon.settings import MqttSettings, load_settings
from cnnbo.daemon.tls import check_authority
from cnnbo.models.files import replacing
from cnnbo.scheduler.errors import ConfigurationError

PASSWORD_VARIABLE: Final = "CNNBO_BROKER_PASSWORD"

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Entry:
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    ca: Path | None = None


def daemon_address(settings: MqttSettings) -> BrokerAddress | None:
    """The broker of a daemon's settings, with the password and the CA that they point at; None = the embedded one.

    Raises:
        ConfigurationError: the password can't be had, or the CA's file holds none.
    """
    if settings.url is None:
        return None
    address = BrokerAddress.parse(settings.url)
    if settings.ca is not None:
        check_authority(settings.ca)
    password = address.password if settings.password_file is None else read_password(settings.password_file)
    return replace(address, user=settings.user or address.user, password=password, ca=settings.ca)


def broker_address(url: str, environ: Mapping[str, str]) -> BrokerAddress:
    """The broker that a URL on the command line means, completed by what is stored about it.

    The user is the URL's, else the stored one. The password is the URL's, else CNNBO_BROKER_PASSWORD, else the one
    stored for that user. What is stored for `mqtts://` is for that alone: without TLS everybody on the way reads it.

    Args:
        url: see `BrokerAddress.parse`.
        environ: the environment.

    Raises:
        ConfigurationError: the URL or the file can't be read, others can read the file, or the variable's password
            would go over the network without TLS.
    """
    address = BrokerAddress.parse(url)
    if address.password is not None:
        _log.warning(
            "%s: a password on the command line stands in `ps` and in the shell's history; "
            "store it instead: cnnbo broker login %s",
            *(address, address),
        )
    entry = _stored(address, environ)
    user = address.user or entry.user
    password = address.password
    if password is None and user is not None:
        password = _of_variable(address, environ) or (entry.password if user == entry.user else None)
    ca = entry.ca if address.tls else None
    if ca is not None:
        check_authority(ca)
    return replace(address, user=user, password=password, ca=ca)


def broker_of_box(url: str, environ: Mapping[str, str], state: Path) -> BrokerAddress:
    """The broker that a daemon of this box publishes to.

    What is stored about it counts, see `broker_address`; where no login is, that of the daemon's settings does, if
    whoever asks may read it.

    Args:
        url: where it is, as the daemon says.
        environ: the environment.
        state: folder of the daemon.

    Raises:
        ConfigurationError: see `broker_address`.
    """
    address = broker_address(url, environ)
    if address.password is not None:
        return address
    with contextlib.suppress(ConfigurationError):
        theirs = {"STATE_DIRECTORY": str(SERVICE_STATE)} if state == SERVICE_STATE else environ
        known = daemon_address(load_settings(theirs).mqtt)
        if known is not None and str(known) == str(address) and address.user in (None, known.user):
            return known
    return address


def broker_addresses(urls: Sequence[str], environ: Mapping[str, str]) -> list[BrokerAddress]:
    """What `broker_address` says of each; CNNBO_BROKER_PASSWORD is one broker's, and given to none of several.

    Raises:
        ConfigurationError: see `broker_address`.
    """
    if len(urls) > 1:
        environ = {name: value for name, value in environ.items() if name != PASSWORD_VARIABLE}
    return [broker_address(url, environ) for url in urls]


def _of_variable(address: BrokerAddress, environ: Mapping[str, str]) -> str | None:
    password = environ.get(PASSWORD_VARIABLE)
    if password and not address.tls and not is_this_machine(address.host):
        raise ConfigurationError(
            f"{address}: without TLS {PASSWORD_VARIABLE} is sent to this machine only (localhost, 127.0.0.1); "
            "write mqtts://, or unset it."
        )
    return password


def is_this_machine(host: str) -> bool:
    """Whether a name or address can only mean this machine, so that nobody is on the way."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def credentials_file(environ: Mapping[str, str]) -> Path:
    """Where the command line keeps users and passwords of brokers, whether the file exists or not.

    Raises:
        ConfigurationError: the user has no home.
    """
    base = user_folder(environ, "XDG_CONFIG_HOME", ".config")
    if base is None:
        raise ConfigurationError("There is no home folder for brokers.toml; set XDG_CONFIG_HOME to a folder of yours.")
    return base / "cnnbo" / "brokers.toml"


def store(address: BrokerAddress, environ: Mapping[str, str]) -> Path:
    """Keep user, password and CA of a broker, in place of what was kept for it.

    Returns:
        the file they are in, readable by its owner alone.

    Raises:
        ConfigurationError: the file can't be read or written, or others can read it.
    """
    path = credentials_file(environ)
    text = ""
    if _is_there(path):
        read_document(path)  # a mistake in it is told with its line
        text = path.read_text(encoding="utf-8-sig")
    document = tomlkit.parse(text)
    entry = {"user": address.user, "password": address.password, "ca": None if address.ca is None else str(address.ca)}
    document[str(address)] = {key: value for key, value in entry.items() if value is not None}
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with replacing(path.resolve()) as file:  # made with mode 0600; a link stays one
            file.write(tomlkit.dumps(document).encode())
    except OSError as error:
        raise ConfigurationError(f"{path} can't be written ({error.strerror}); check its folder's owner.") from error
    return path


def _is_there(path: Path) -> bool:
    """Whether the file exists.

    Raises:
        ConfigurationError: others can read it.
    """
    try:
        status = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise ConfigurationError(f"{path} can't be read ({error.strerror}); check its owner.") from error
    refuse_exposed(path, status)
    return True


def _stored(address: BrokerAddress, environ: Mapping[str, str]) -> _Entry:
    try:
        path = credentials_file(environ)
    except ConfigurationError:  # nothing can be stored where there is no home
        return _Entry()
    if not _is_there(path):
        return _Entry()
    document = read_document(path)
    name = str(address)
    table = document.data.get(name, {})
    faults = Faults(document)
    if not isinstance(table, dict):
        faults.add((name,), f"{shown(name)}: must be a table of user, password and ca, not {shown(table)}.")
        table = {}
    for key, value in table.items():
        if key not in ("user", "password", "ca"):
            faults.add((name, key), f"{shown(key)} is no key of a broker; {did_you_mean(key, _Entry.__slots__)}")
        elif not isinstance(value, str):
            faults.add((name, key), f"{key}: must be a text.")  # not shown: it may be the password
    faults.raise_any()
    ca = table.get("ca")
    return _Entry(table.get("user"), table.get("password"), None if ca is None else Path(ca))
