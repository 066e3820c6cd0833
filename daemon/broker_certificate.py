"""The certificate that a broker shows: one of a CA of our own, or one that was given."""

import contextlib
import ipaddress
import re
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Final

from cnnbo.daemon import tls
from cnnbo.daemon.planned import PlannedFile, planned, read_if_there
from cnnbo.scheduler.errors import ConfigurationError

_RENEWAL: Final = timedelta(days=30)
_LABEL: Final = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?")  # RFC 1123, and what people do
_NAME_LIMIT: Final = 253
_SOMEWHERE: Final = ("192.0.2.1", 9)  # an address for documentation, RFC 5737
_GIVE_ANOTHER: Final = (
    "give another one: --cert FILE --key FILE, and --ca FILE where its CA is not one that every system trusts"
)


class Origin(StrEnum):
    """Where the broker's certificate comes from."""

    OWN = "own"
    """The CA in its folder signed it."""
    GIVEN = "given"
    """Somebody else did."""


@dataclass(frozen=True, slots=True)
class GivenCertificate:
    """Files of a certificate that somebody else signed.

    Attributes:
        certificate: PEM, the broker's own first.
        key: PEM, without a password.
        authority: PEM of the CA; None = one that every system trusts.
    """

    certificate: Path
    key: Path
    authority: Path | None


def default_hosts() -> tuple[str, ...]:
    """What this box is called, and its addresses: those that are likely to stay."""
    name, full = socket.gethostname(), socket.getfqdn()
    names = [name, f"{name.partition('.')[0]}.local", full, "localhost", "127.0.0.1", "::1"]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe, contextlib.suppress(OSError):
        probe.connect(_SOMEWHERE)  # sends nothing: it has the kernel choose the way out
        names.append(probe.getsockname()[0])
    return tuple(dict.fromkeys(filter(is_host, names)))


def is_host(text: str) -> bool:
    """Whether a text is a name or an address that a certificate can be for."""
    try:
        return "%" not in str(ipaddress.ip_address(text))  # with a scope it is an address of this box alone
    except ValueError:
        return len(text) <= _NAME_LIMIT and all(_LABEL.fullmatch(label) for label in text.split("."))


@dataclass(frozen=True, slots=True)
class PlannedCertificate:
    """What the folder will hold and no longer hold, and a sentence about it."""

    note: str
    files: tuple[PlannedFile, ...]
    leftovers: tuple[Path, ...] = ()


def planned_certificate(
    folder: Path, hosts: Sequence[str], default_hosts: Sequence[str], origin: Origin, given: GivenCertificate | None
) -> PlannedCertificate:
    """Keep, take or make `server.crt` and `server.key`, and `ca.crt` where clients need it.

    Args:
        folder: where they are kept.
        origin: of the certificate that it will hold.
        hosts: names and addresses it has to be for.
        default_hosts: those that one of our own is for too.
        given: a certificate to take over, which is not of our own; None = the one that is there.

    Raises:
        ConfigurationError: clients would refuse the certificate that was given or is there, or our own can't be made.
    """
    authority, has_key = folder / "ca.crt", (folder / "ca.key").exists()
    if given is not None:
        if has_key:
            raise ConfigurationError(
                f"{folder} holds a CA of its own; move ca.key and ca.crt away to use a certificate that is given."
            )
        return _taken(folder, hosts, given, "as given", _GIVE_ANOTHER)
    kept = GivenCertificate(folder / "server.crt", folder / "server.key", authority if authority.exists() else None)
    if origin is Origin.GIVEN:
        return _taken(folder, hosts, kept, "as given", _GIVE_ANOTHER)
    if has_key or not (authority.exists() or kept.certificate.exists()):
        return _own(folder, [*dict.fromkeys((*hosts, *default_hosts))])
    # Its names of this box may have changed meanwhile; that is no reason to keep somebody from being shut out.
    return _taken(folder, hosts, kept, "kept", f"put ca.key back into {folder} to have it made anew")


def seeming_origin(folder: Path) -> Origin:
    """Where the certificate in a folder comes from, or will come from, where nothing says so."""
    is_given = (folder / "server.crt").exists() and not (folder / "ca.key").exists()
    return Origin.GIVEN if is_given else Origin.OWN


def _taken(folder: Path, hosts: Sequence[str], given: GivenCertificate, told: str, remedy: str) -> PlannedCertificate:
    """A certificate as it is, if clients will believe it."""
    if missing := [path for path in (given.certificate, given.key) if not path.exists()]:
        raise ConfigurationError(f"{missing[0]} is not there; {remedy}.")
    if given.authority is not None:
        tls.check_authority(given.authority)
    for host in hosts or (None,):
        if fault := tls.fault_of(given.certificate, given.key, given.authority, host):
            asked = "" if host is None else f" ask for {host} and"
            raise ConfigurationError(f"{given.certificate}: clients would{asked} refuse it, {fault}; {remedy}.")
    files = [
        planned(folder / "server.key", given.key.read_bytes(), is_secret=True, is_for_broker=True),
        planned(folder / "server.crt", given.certificate.read_bytes()),
    ]
    authority, leftovers = folder / "ca.crt", []
    if given.authority is not None:
        files.append(planned(authority, given.authority.read_bytes()))
    elif authority.exists():  # of the certificate before; who trusts nobody else would refuse this one
        leftovers.append(authority)
    until = tls.end_of(given.certificate, given.key, given.authority)
    note = f"{told}; valid until {until:%Y-%m-%d}"
    if until < datetime.now(UTC) + _RENEWAL:
        note = f"{note}, which is soon: {remedy}"
    return PlannedCertificate(note, tuple(files), tuple(leftovers))


def _own(folder: Path, hosts: Sequence[str]) -> PlannedCertificate:
    try:
        from cnnbo.daemon import certificates
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            "making certificates takes the package cryptography; install it (pip install 'cnnbo[broker]'), "
            "or give a certificate: --cert FILE --key FILE."
        ) from error
    authority_files, server_files = _read_pair(folder, "ca"), _read_pair(folder, "server")
    try:
        authority = certificates.loaded(*authority_files) if authority_files else None
        server = certificates.loaded(*server_files) if server_files else None
        told = "new"
        if server is not None and (fault := _fault_of_former(folder, certificates.end_of(server.certificate), hosts)):
            hosts = [*dict.fromkeys((*hosts, *certificates.hosts_of(server.certificate)))]
            server, told = None, f"made anew ({fault})"
        elif server is not None:
            told = "kept"
        authority = authority or certificates.make_authority(f"cnnbo broker CA of {hosts[0]}")
        server = server or certificates.issue(authority, hosts)
        names, until = certificates.hosts_of(server.certificate), certificates.end_of(server.certificate)
    except ValueError as error:
        raise ConfigurationError(
            f"a certificate or key in {folder} can't be read ({error}); move it away to have it made anew."
        ) from error
    return PlannedCertificate(
        f"{told}; for {', '.join(names)}; valid until {until:%Y-%m-%d}",
        (
            planned(folder / "ca.key", authority.key, is_secret=True),
            planned(folder / "ca.crt", authority.certificate),
            planned(folder / "server.key", server.key, is_secret=True, is_for_broker=True),
            planned(folder / "server.crt", server.certificate),
        ),
    )


def _read_pair(folder: Path, name: str) -> tuple[bytes, bytes] | None:
    """Certificate and key, None unless both are there."""
    certificate, key = read_if_there(folder / f"{name}.crt"), read_if_there(folder / f"{name}.key")
    return None if certificate is None or key is None else (certificate, key)


def _fault_of_former(folder: Path, end: datetime, hosts: Sequence[str]) -> str | None:
    """Why the certificate that is there won't do, or None."""
    if not (folder / "ca.crt").exists():
        return "its CA is gone"
    if end < datetime.now(UTC) + _RENEWAL:
        return f"the former one ends on {end:%Y-%m-%d}"
    for host in hosts:
        try:
            fault = tls.fault_of(folder / "server.crt", folder / "server.key", folder / "ca.crt", host)
        except ConfigurationError:  # whoever made it anew was interrupted
            return "it did not fit its key"
        if fault is not None:
            return f"{host} is new" if fault == tls.OTHER_HOST else fault
    return None
