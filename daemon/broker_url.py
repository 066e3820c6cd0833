"""The URL of a broker, as people write it into settings and command lines."""

from typing import Final
from urllib.parse import SplitResult, urlsplit

DEFAULT_PORTS: Final = {"mqtt": 1883, "mqtts": 8883}

_REMEDY: Final = (
    'must look like "mqtt://host:1883" or "mqtts://user@host:8883"; in user and password "/" is written as %2F, '
    '"?" as %3F, "#" as %23, "@" as %40 and ":" as %3A'
)


def split_broker_url(url: str) -> SplitResult:
    """Split `mqtt[s]://[user:password@]host[:port]`.

    Returns:
        its parts, with a host, and with a port that is None or 1-65535; user and password as they were written.

    Raises:
        ValueError: it is no such URL. The text is the rest of a sentence and shows nothing of the URL: wherever it is
            cut, a piece of a password may stand there, and so it may in urllib's own texts.
    """
    try:
        parts = urlsplit(url)
        is_address = parts.scheme in DEFAULT_PORTS and parts.hostname and parts.port != 0
    except ValueError:  # a port that is no number, or a bracket without its fellow
        is_address = False
    # What follows the address may be the rest of a password with such a character, and the host then a user.
    if not is_address or parts.path.strip("/") or parts.query or parts.fragment:
        raise ValueError(_REMEDY)
    return parts


def masked_url(url: str) -> str:
    """A broker's URL without the password that may stand in it, for people.

    Example:
        >>> masked_url("mqtts://tower:s%40crecy@broker.lan")
        'mqtts://tower:…@broker.lan'
    """
    scheme, separator, rest = url.partition("://")
    user_and_password, at, host = rest.rpartition("@")
    user, colon, _ = user_and_password.partition(":")
    return f"{scheme}{separator}{user}:…@{host}" if at and colon else url
