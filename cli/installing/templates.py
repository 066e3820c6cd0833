"""The texts of the other files that travel with the package, filled in for a box."""

import json
from importlib.resources import files
from pathlib import Path

from cnnbo.cli.installing.place import OWN_LEASES, RUN_LOCK, Place


def config_text(place: Place) -> str:
    """A new settings file: every key as a comment, but for what this box or this user needs."""
    text = (files("cnnbo") / "systemd" / "cnnbo.toml").read_text(encoding="utf-8")
    if place.is_user:
        # Without it a member of the group `cnnbo` would mean the service of the box.
        text = _set(text, "state", place.default_state).replace("systemctl reload", "systemctl --user reload")
    return text if place.lease_dir == RUN_LOCK else _set(text, "lease_dir", place.lease_dir)


def mosquitto_drop_in() -> str:
    """Starts a mosquitto that `cnnbo broker configure` set up before cnnbo, and hardens it."""
    return (files("cnnbo") / "systemd" / "mosquitto.service.d" / "cnnbo.conf").read_text(encoding="utf-8")


def tmpfiles_text() -> str:
    """Makes the folder of the leases at each boot: everybody may add one, nobody may remove another's."""
    return f"""\
# Leases of devices, shared by all users of this box; /run/lock itself is closed to them.
d {OWN_LEASES} 1777 root root -
"""


def _set(text: str, key: str, value: Path) -> str:
    lines = text.splitlines(keepends=True)
    return "".join(f"{key} = {json.dumps(str(value))}\n" if line.startswith(f"# {key} = ") else line for line in lines)
