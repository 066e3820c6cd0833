"""Where a service has its files: that of the box, or that of one user."""

import os
import pwd
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cnnbo.daemon.folders import SERVICE_SOCKET, SERVICE_STATE, default_node, user_folder
from cnnbo.daemon.settings import SERVICE_CONFIG, load_settings
from cnnbo.scheduler.errors import ConfigurationError

UNIT: Final = "cnnbo.service"
ACCOUNT: Final = "cnnbo"
"""User and group of the service of a box."""

RUN_LOCK: Final = Path("/run/lock")
OWN_LEASES: Final = RUN_LOCK / "cnnbo"
"""Where leases are on a box whose /run/lock is closed to users, as Fedora's is."""

_ROOT: Final = Path("/")


@dataclass(frozen=True, slots=True)
class Place:
    """The files of a service.

    Attributes:
        is_user: whether it is a user's own service.
        account: name of the user it runs as.
        units: folder of its unit.
        config: its settings file.
        default_state: its state folder, unless the settings name another one.
        logs: folder of its logs; None where it has none of its own.
        runtime: folder of its sockets; None where it has none of its own.
        linger: the file by which systemd knows a user whose services run without a login; None for the box's.
        root: what stands before every path of the box outside of tests: nothing.
    """

    is_user: bool
    account: str
    units: Path
    config: Path
    default_state: Path
    logs: Path | None = None
    runtime: Path | None = None
    linger: Path | None = None
    root: Path = _ROOT

    @property
    def unit(self) -> Path:
        """The unit's file."""
        return self.units / UNIT

    @property
    def manifest(self) -> Path:
        """What was installed; see `Manifest`."""
        return self.config.with_name("installed.json")

    @property
    def password(self) -> Path:
        """Where `cnnbo config set mqtt.url URL --user NAME` keeps a broker's password."""
        return self.config.with_name("mqtt.password")

    @property
    def drop_ins(self) -> Path:
        """Folder of what an administrator added to the unit."""
        return self.units / f"{UNIT}.d"

    @property
    def wanted(self) -> Path:
        """The link by which an enabled unit is started."""
        return self.units / f"{'default' if self.is_user else 'multi-user'}.target.wants" / UNIT

    @property
    def mosquitto_drop_in(self) -> Path:
        """What lets a mosquitto of this box read what `cnnbo broker configure` wrote."""
        return self.units / "mosquitto.service.d" / "cnnbo.conf"

    @property
    def tmpfiles(self) -> Path:
        """What makes the folder of the leases at each boot, where /run/lock is closed to users."""
        return self.at("/etc/tmpfiles.d/cnnbo.conf")

    def at(self, path: Path | str) -> Path:
        """A path of the box."""
        return self.root / Path(path).relative_to("/")

    @property
    def lease_dir(self) -> Path:
        """Where leases are unless the settings say otherwise: /run/lock where every user may write, else below it."""
        return RUN_LOCK if _is_shared(self.at(RUN_LOCK)) else OWN_LEASES

    def state(self) -> Path:
        """The state folder by the settings file.

        Raises:
            ConfigurationError: with every mistake in that file.
        """
        if not self.config.exists():
            return self.default_state
        return load_settings({"CNNBO_CONFIG": str(self.config), "STATE_DIRECTORY": str(self.default_state)}).state

    def state_or_default(self) -> Path:
        """The state folder; where the settings can't be read, the one it would be without them."""
        try:
            return self.state()
        except ConfigurationError:
            return self.default_state

    def socket(self) -> Path:
        """Where its daemon takes requests."""
        in_runtime = self.at(SERVICE_SOCKET)
        return in_runtime if not self.is_user and in_runtime.exists() else self.state_or_default() / "control.sock"


def system_place(root: Path = _ROOT) -> Place:
    """The service of a box."""

    def at(path: Path | str) -> Path:
        return root / Path(path).relative_to("/")

    return Place(
        is_user=False,
        account=ACCOUNT,
        units=at("/etc/systemd/system"),
        config=at(SERVICE_CONFIG),
        default_state=at(SERVICE_STATE),
        logs=at("/var/log/cnnbo"),
        runtime=at(SERVICE_SOCKET.parent),
        root=root,
    )


def user_place(environ: Mapping[str, str], root: Path = _ROOT) -> Place:
    """The service of the user who types this.

    Raises:
        ConfigurationError: the user has no home.
    """
    config, state = (
        user_folder(environ, "XDG_CONFIG_HOME", ".config"),
        user_folder(environ, "XDG_STATE_HOME", ".local/state"),
    )
    if config is None or state is None:
        raise ConfigurationError("a service of your own lies in your home folder, and you have none; set HOME.")
    name = pwd.getpwuid(os.getuid()).pw_name
    return Place(
        is_user=True,
        account=name,
        units=config / "systemd/user",
        config=config / "cnnbo" / "cnnbo.toml",
        default_state=state / "cnnbo" / default_node(),
        linger=root / "var/lib/systemd/linger" / name,
        root=root,
    )


def _is_shared(folder: Path) -> bool:
    try:
        return bool(folder.stat().st_mode & 0o002)
    except OSError:
        return False
