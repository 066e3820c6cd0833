"""Working out what an uninstall takes away: what an install made goes, what people made stays.

A purge leaves nothing.
"""

import contextlib
import os
import pwd
from dataclasses import dataclass
from pathlib import Path

from cnnbo.cli.installing.accounts import exists, left_by
from cnnbo.cli.installing.manifest import Manifest
from cnnbo.cli.installing.place import ACCOUNT, OWN_LEASES, Place
from cnnbo.cli.installing.systemctl import Command, Systemctl
from cnnbo.cli.installing.templates import config_text
from cnnbo.daemon.lease import Lease
from cnnbo.daemon.planned import read_if_there


@dataclass(frozen=True, slots=True)
class RemovalPlan:
    """What is taken away.

    Attributes:
        place: from where.
        before: commands that come first: they stop the service.
        files: files and links that are removed.
        folders: folders that are removed with all that is in them; a link among them is removed itself, and what it
            leads to stays.
        emptied: folders that are removed if nothing is left in them, the innermost first.
        after: commands that come last: they remove user, group and linger.
        kept: sentences about what stays.
        purge: whether results go, too.
    """

    place: Place
    before: tuple[Command, ...]
    files: tuple[Path, ...]
    folders: tuple[Path, ...]
    emptied: tuple[Path, ...]
    after: tuple[Command, ...]
    kept: tuple[str, ...]
    purge: bool

    @property
    def is_done(self) -> bool:
        """Whether there is nothing to take away."""
        return not (self.before or self.files or self.folders or self.after)


def plan_removal(place: Place, systemctl: Systemctl, is_active: bool, purge: bool) -> RemovalPlan:
    """Work out what is taken away, from whatever is there: an install may have been interrupted, or undone by hand.

    Args:
        place: of the service.
        systemctl: its manager.
        is_active: whether the service runs, or is about to.
        purge: whether results, logs and configuration go, too.

    Raises:
        ConfigurationError: the manifest is damaged; another daemon works in what a purge removes.
    """
    manifest = Manifest.read(place.manifest)
    kept: list[str] = []
    files = [path for path in (place.wanted, place.mosquitto_drop_in, place.tmpfiles) if _is_ours(path, manifest)]
    files += [path for path in (place.unit, place.manifest) if os.path.lexists(path)]
    saves = [path for path in _saves(place) if path.exists()]
    folders = [place.drop_ins] if place.drop_ins.is_dir() else []
    if _is_own_config(place, manifest) or (purge and os.path.lexists(place.config)):
        files.append(place.config)
    elif os.path.lexists(place.config):
        kept.append(f"{place.config}, which isn't as an install wrote it")
    if purge:
        files += [*saves, *_leases(place), *(path for path in (place.password,) if path.is_file())]
        folders += [path for path in (place.state_or_default(), place.logs, place.runtime) if path and _is_there(path)]
        folders = _without_chosen(place, folders, kept)
    else:
        kept += [f"{path}, by an administrator" for path in (*folders, *saves)]
        kept += [
            f"{path}, {size_text(path)}" for path in (place.state_or_default(), place.logs) if path and _is_there(path)
        ]
        folders = []
    others = [path for path in sorted(place.config.parent.glob("*")) if path not in (*files, place.config)]
    kept += [f"{path}, which no install wrote" for path in others]
    staying = [path for path in _own_paths(place) if path not in (*files, *folders)]
    before, after = _commands(place, manifest, systemctl, is_active, staying)
    chosen = place.state_or_default()
    if ("userdel", ACCOUNT) in after and chosen != place.default_state and chosen in staying:
        kept.append(
            f"{chosen} belongs to root now; before an install that goes on with it: chown -R {ACCOUNT}: {chosen}"
        )
    emptied = [
        place.at(OWN_LEASES),
        *(Path(made) for made in manifest.made if made.startswith("/")),
        place.config.parent,
    ]
    if place.is_user:
        emptied.append(place.default_state.parent)  # it holds one folder a node
    return RemovalPlan(place, before, tuple(files), tuple(folders), tuple(emptied), after, tuple(kept), purge)


def _is_ours(path: Path, manifest: Manifest) -> bool:
    if path.is_symlink():
        return True
    return manifest.is_own(read_if_there(path))


def _is_own_config(place: Place, manifest: Manifest) -> bool:
    there = read_if_there(place.config)
    return there is not None and (manifest.is_own(there) or there == config_text(place).encode())


def _is_there(path: Path) -> bool:
    return os.path.lexists(path)


def _saves(place: Place) -> list[Path]:
    """Where installs keep files that somebody changed."""
    replaced = [place.unit] if place.is_user else [place.unit, place.mosquitto_drop_in, place.tmpfiles]
    return [path.with_name(f"{path.name}.save") for path in replaced]


def _own_paths(place: Place) -> list[Path]:
    """What there is of the service: of state and logs the folders alone, which close what is in them."""
    folders = [path for path in (place.default_state, place.state_or_default(), place.logs) if path]
    return [path for path in dict.fromkeys((*folders, *place.config.parent.rglob("*"))) if _is_there(path)]


def _without_chosen(place: Place, folders: list[Path], kept: list[str]) -> list[Path]:
    """The folders without a state folder that the settings name: other things may lie in it."""
    chosen = place.state_or_default()
    if chosen == place.default_state or chosen not in folders:
        return folders
    kept.append(f"{chosen}, {size_text(chosen)}: {place.config} names it, so remove it yourself")
    return [folder for folder in folders if folder != chosen]


def _leases(place: Place) -> list[Path]:
    """Leases of the service's user, or of nobody any more, that nobody holds."""
    return [
        path for path in sorted(place.at(place.lease_dir).glob("cnnbo-*")) if _is_of(place, path) and _is_free(path)
    ]


def _is_of(place: Place, path: Path) -> bool:
    try:
        return pwd.getpwuid(path.lstat().st_uid).pw_name == place.account
    except KeyError:
        return not place.is_user


def _is_free(path: Path) -> bool:
    return path.is_file() and not path.is_symlink() and Lease.is_free(path)


def _commands(
    place: Place, manifest: Manifest, systemctl: Systemctl, is_active: bool, staying: list[Path]
) -> tuple[tuple[Command, ...], tuple[Command, ...]]:
    before: list[Command] = []
    if is_active:
        before.append(systemctl.command("stop", place.unit.name))
    if place.unit.exists() and systemctl.is_reachable:
        before.append(systemctl.command("disable", place.unit.name))
    after: list[Command] = []
    if place.is_user:
        if "linger" in manifest.made and place.linger is not None and place.linger.exists():
            after.append(("loginctl", "disable-linger", place.account))
    else:
        if "user" in manifest.made and exists("user"):
            after += _handing_over(staying)
        for kind, command in (("user", "userdel"), ("group", "groupdel")):
            if kind in manifest.made and exists(kind):
                after.append((command, ACCOUNT))
    return tuple(before), tuple(after)


def _handing_over(staying: list[Path]) -> list[Command]:
    """Give root what stays: the numbers of user and group may be given to others.

    At the next install systemd gives state and logs back, with all that is in them, and the install the rest.
    """
    of_user, of_group = left_by(staying)
    commands: list[Command] = []
    if of_user:
        commands.append(("chown", "--no-dereference", "root", *map(str, of_user)))
    if of_group:
        commands.append(("chgrp", "--no-dereference", "root", *map(str, of_group)))
    return commands


def size(folder: Path) -> int | None:
    """What a folder holds, in bytes, itself not counted; None where it is missing or closed to us. Follows no link."""
    try:
        next(folder.iterdir(), None)
    except OSError:
        return None
    total = 0
    for inner, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):  # it went away meanwhile
                total += Path(inner, name).lstat().st_size
    return total


def size_text(folder: Path) -> str:
    """What a folder holds, for people, like "1.2 GB"."""
    from rich.filesize import decimal

    held = size(folder)
    return "closed to you" if held is None else decimal(held)
