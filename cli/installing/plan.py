"""Working out what an install would change: files, user, group, linger, commands. Changes nothing itself."""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cnnbo.cli.installing.accounts import exists, is_closed_to_service
from cnnbo.cli.installing.manifest import Manifest
from cnnbo.cli.installing.place import ACCOUNT, OWN_LEASES, Place
from cnnbo.cli.installing.systemctl import Command, Systemctl
from cnnbo.cli.installing.templates import config_text, mosquitto_drop_in, tmpfiles_text
from cnnbo.cli.installing.units import SYSTEM_UNIT, USER_UNIT, unit_text
from cnnbo.daemon.planned import PlannedFile, planned, read_if_there

DEVICE_GROUPS: Final = ("video", "render")
"""To whom distributions give the nodes of graphics devices."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What a plan rests on beside the files.

    Attributes:
        python: the interpreter that has cnnbo, absolute.
        accounts: what exists of the name `cnnbo`: `user`, `group`.
        device_groups: those of `DEVICE_GROUPS` that exist.
        is_enabled: whether systemd starts the unit by itself.
        needs_reload: whether systemd knows another text of the unit than the files hold.
    """

    python: Path
    accounts: Collection[str] = ()
    device_groups: tuple[str, ...] = ()
    is_enabled: bool = False
    needs_reload: bool = False


@dataclass(frozen=True, slots=True)
class InstallPlan:
    """What an install changes.

    Attributes:
        place: where.
        manifest: what it will have made; written first, so that what was interrupted can be taken back.
        before: commands before the files are written: they make group, user and linger.
        files: in the order in which they are written.
        saved: files that somebody changed, each with the name under which it is kept before it is replaced.
        after: commands after the files are written.
        notes: sentences for whoever installs.
    """

    place: Place
    manifest: PlannedFile
    before: tuple[Command, ...]
    files: tuple[PlannedFile, ...]
    saved: tuple[tuple[Path, Path], ...]
    after: tuple[Command, ...]
    notes: tuple[str, ...]

    @property
    def changed(self) -> tuple[PlannedFile, ...]:
        """The files that aren't as they should be."""
        return tuple(file for file in self.files if file.change != "kept")

    @property
    def is_done(self) -> bool:
        """Whether everything is as it should be."""
        return not (self.changed or self.before or self.after)


def plan_install(place: Place, facts: Facts, systemctl: Systemctl) -> InstallPlan:
    """Compare a box with what an install makes of it.

    Raises:
        ConfigurationError: something there can't be read.
    """
    manifest = Manifest.read(place.manifest)
    wanted = _wanted(place, facts)
    kept = [path for path in wanted if path == place.config and _is_of_others(path, wanted[path], manifest)]
    files = tuple(planned(path, text) for path, text in wanted.items() if path not in kept)
    saved = tuple(
        (file.path, file.path.with_name(f"{file.path.name}.save"))
        for file in files
        if file.change == "changed" and not manifest.is_own(file.before)
    )
    commands, made = _accounts(place, facts)
    made += [str(folder) for folder in _new_folders(files)]
    manifest = manifest.adding(made, (file.content for file in files))
    after = _after(place, facts, systemctl, frozenset(file.path for file in files if file.change != "kept"))
    notes = _notes(place, kept)
    notes += [f"{path} was changed by somebody: kept as {copy}." for path, copy in saved]
    if any(file.path == place.mosquitto_drop_in and file.change != "kept" for file in files):
        notes.append("mosquitto goes by its drop-in after: systemctl restart mosquitto")
    return InstallPlan(place, planned(place.manifest, manifest.text()), commands, files, saved, after, tuple(notes))


def _wanted(place: Place, facts: Facts) -> dict[Path, bytes]:
    """Every file with its text."""
    unit = USER_UNIT if place.is_user else SYSTEM_UNIT
    wanted = {
        place.config: config_text(place),
        place.unit: unit_text(unit, facts.python, () if place.is_user else facts.device_groups),
    }
    if not place.is_user:
        if place.at("/etc/mosquitto/cnnbo").exists():
            wanted[place.mosquitto_drop_in] = mosquitto_drop_in()
        if place.lease_dir == OWN_LEASES:
            wanted[place.tmpfiles] = tmpfiles_text()
    return {path: text.encode() for path, text in wanted.items()}


def _is_of_others(path: Path, wanted: bytes, manifest: Manifest) -> bool:
    """Whether a file is there that no install wrote."""
    there = read_if_there(path)
    return there is not None and there != wanted and not manifest.is_own(there)


def _accounts(place: Place, facts: Facts) -> tuple[tuple[Command, ...], list[str]]:
    """Commands that make what is missing of group, user and linger, and what they make."""
    commands: list[Command] = []
    made = []
    if place.is_user:
        if place.linger is not None and not place.linger.exists():
            commands.append(("loginctl", "enable-linger", place.account))
            made.append("linger")
        return tuple(commands), made
    if "group" not in facts.accounts:
        commands.append(("groupadd", "--system", ACCOUNT))
        made.append("group")
    if "user" not in facts.accounts:
        options = ("--system", "--gid", ACCOUNT, "--no-create-home", "--shell", "/usr/sbin/nologin")
        commands.append(("useradd", *options, "--home-dir", str(place.default_state), ACCOUNT))
        made.append("user")
    return tuple(commands), made


def _new_folders(files: tuple[PlannedFile, ...]) -> list[Path]:
    """Folders that have to be made, the innermost first."""
    new: list[Path] = []
    for file in files:
        new += [folder for folder in file.path.parents if not folder.exists() and folder not in new]
    return sorted(new, key=lambda folder: -len(folder.parts))


def _after(place: Place, facts: Facts, systemctl: Systemctl, changed: frozenset[Path]) -> tuple[Command, ...]:
    commands: list[Command] = []
    if place.tmpfiles in changed:
        commands.append(("systemd-tmpfiles", "--create", str(place.tmpfiles)))
    if changed & {place.unit, place.mosquitto_drop_in} or facts.needs_reload:
        commands.append(systemctl.command("daemon-reload"))
    for path in () if place.is_user else (place.config, place.password):
        if path not in changed and path.exists() and is_closed_to_service(path):
            commands += [("chown", f"root:{ACCOUNT}", str(path)), ("chmod", "0640", str(path))]
    if not facts.is_enabled:
        commands.append(systemctl.command("enable", place.unit.name))
    return tuple(commands)


def _notes(place: Place, kept: Collection[Path]) -> list[str]:
    notes = [f"kept, since it isn't as an install wrote it: {path}" for path in kept]
    if place.drop_ins.is_dir() and any(place.drop_ins.iterdir()):
        notes.append(f"drop-ins stay in force: {place.drop_ins}")
    if place.lease_dir == OWN_LEASES:
        notes.append(
            f"/run/lock is closed to users here, so leases are in {OWN_LEASES}; instances of other users need "
            f'lease_dir = "{OWN_LEASES}" in their settings, too'
        )
    return notes


def gather_facts(python: Path, systemctl: Systemctl) -> Facts:
    """Look at this box."""
    told = systemctl.show("UnitFileState", "NeedDaemonReload")
    return Facts(
        python,
        accounts=tuple(kind for kind in ("user", "group") if exists(kind)),
        device_groups=tuple(group for group in DEVICE_GROUPS if exists("group", group)),
        is_enabled=told["UnitFileState"] == "enabled",
        needs_reload=told["NeedDaemonReload"] == "yes",
    )
