"""Whether a server's certificate will be believed, by the rules and in the library that clients judge it with."""

import contextlib
import ssl
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from cnnbo.scheduler.errors import ConfigurationError

EXPIRED: Final = "its certificate has expired"
NOT_YET_VALID: Final = "its certificate is not valid yet"
UNTRUSTED: Final = "its certificate is signed by nobody trusted here"
OTHER_HOST: Final = "its certificate is for another host"

# OpenSSL's X509_V_ERR_… (x509_vfy.h); four of them say that the chain ends at nobody we know.
_REASONS: Final = {
    9: NOT_YET_VALID,
    10: EXPIRED,
    18: UNTRUSTED,
    19: UNTRUSTED,
    20: UNTRUSTED,
    21: UNTRUSTED,
    62: OTHER_HOST,
    64: OTHER_HOST,
}


def reason_of_refusal(error: ssl.SSLError) -> str:
    """Why no TLS connection came about, without OpenSSL's jargon where it is one of the usual reasons."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return _REASONS.get(error.verify_code, f"its certificate is refused ({error.verify_message})")
    if error.reason in ("WRONG_VERSION_NUMBER", "UNEXPECTED_EOF_WHILE_READING"):
        return "it does not seem to speak TLS at this port"
    return f"TLS failed ({error.reason or error})"


def check_authority(path: Path) -> None:
    """See that a file holds certificates to trust.

    Raises:
        ConfigurationError: it can't be read, or holds none.
    """
    try:
        ssl.create_default_context(cafile=path)
    except OSError as error:  # ssl.SSLError is one
        why = "no PEM certificate in it" if isinstance(error, ssl.SSLError) else error.strerror
        raise ConfigurationError(
            f"{path} is no file of a CA ({why}); name the one that the broker's certificate is signed by, "
            "ca.crt where `cnnbo broker configure` made it."
        ) from error


def fault_of(certificate: Path, key: Path, authority: Path | None, host: str | None) -> str | None:
    """Let a server with this certificate and a client shake hands in memory.

    Args:
        certificate: PEM file, the server's own first, then what leads to the CA.
        key: PEM file of its key, without a password.
        authority: PEM file of the CA that the client trusts; None = those of the system.
        host: name or address that the client asks for; None = any.

    Returns:
        why the client would refuse it, or None.

    Raises:
        ConfigurationError: key and certificate don't fit together, or a file can't be read.
    """
    try:
        _shake_hands(certificate, key, authority, host)
    except ssl.SSLError as error:
        return reason_of_refusal(error)
    return None


def end_of(certificate: Path, key: Path, authority: Path | None) -> datetime:
    """Until when a certificate is valid that `fault_of` finds no fault with; UTC.

    Args:
        certificate: see `fault_of`; so are the others.
        key: of the certificate.
        authority: who signed it.
    """
    shown = _shake_hands(certificate, key, authority, None).getpeercert()
    assert shown is not None  # it was checked, so it was shown
    return datetime.fromtimestamp(ssl.cert_time_to_seconds(str(shown["notAfter"])), UTC)


def _shake_hands(certificate: Path, key: Path, authority: Path | None, host: str | None) -> ssl.SSLObject:
    """The client's side of a connection, when the client has made up its mind.

    Raises:
        ssl.SSLError: it refuses the certificate.
        ConfigurationError: see `fault_of`.
    """
    client_side = ssl.create_default_context(cafile=authority)
    client_side.check_hostname = host is not None
    server_in, client_in = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = _server_context(certificate, key).wrap_bio(server_in, client_in, server_side=True)
    client = client_side.wrap_bio(client_in, server_in, server_hostname=host)
    # The client's hello, the server's whole flight, the client's verdict on it; TLS 1.2 takes another turn to end.
    for side in (client, server, client, server, client):
        with contextlib.suppress(ssl.SSLWantReadError):
            side.do_handshake()
    return client


def _server_context(certificate: Path, key: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(certificate, key, password=_no_password)
    except ssl.SSLError as error:
        why = "the key belongs to another certificate" if error.reason == "KEY_VALUES_MISMATCH" else "no PEM files"
        raise ConfigurationError(
            f"{certificate} and {key} don't fit together ({why}); give a certificate and its own key, both in PEM form."
        ) from error
    except OSError as error:
        raise ConfigurationError(
            f"{certificate} or {key} can't be read ({error.strerror}); check path and owner."
        ) from error
    return context


def _no_password() -> str:
    # OpenSSL would ask on the terminal, and so would the broker at every start.
    raise ConfigurationError("the key is encrypted; give one without a password, the broker starts unattended.")
