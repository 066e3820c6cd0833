"""What the values of settings must be: each check returns the value as it is kept.

Each raises ValueError for what it can't be, with the rest of a sentence that begins with the key.
"""

import re
from collections.abc import Callable
from pathlib import Path

from cnnbo.daemon.broker_url import split_broker_url
from cnnbo.daemon.document import shown
from cnnbo.daemon.settings.model import LogForm
from cnnbo.scheduler.sharing import Yield


def node(value: object) -> str:
    """A box's name in topics."""
    if not isinstance(value, str) or not re.fullmatch(r"[a-z0-9-]{1,40}", value):
        raise ValueError(f'must be 1 to 40 of a-z, 0-9 and "-", not {shown(value)}; leave it out for the host name')
    return value


def folder(value: object) -> Path:
    """The whole path of a folder."""
    if not isinstance(value, str) or not value.startswith("/") or "\0" in value:
        raise ValueError(f'must be the whole path of a folder, like "/var/lib/cnnbo", not {shown(value)}')
    return Path(value)


def file(value: object) -> Path:
    """The whole path of a file."""
    if not isinstance(value, str) or not value.startswith("/") or "\0" in value:
        raise ValueError(f'must be the whole path of a file, like "/etc/cnnbo/mqtt.password", not {shown(value)}')
    return Path(value)


def url(value: object) -> str:
    """A broker's URL, as it is."""
    text = value if isinstance(value, str) else ""
    split_broker_url(text)
    return text


def user(value: object) -> str:
    """The name of a user of a broker."""
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


def flag(value: object) -> bool:
    """A truth value."""
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


def seconds(low: float, high: float) -> Callable[[object], float]:
    """A check for a number of seconds between two bounds."""

    def check(value: object) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            raise ValueError(f"must be a number of seconds from {low:g} to {high:g}, not {shown(value)}")
        return float(value)

    return check


def mebibytes(value: object) -> float:
    """An amount of memory in MiB."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 10_000_000:
        raise ValueError(f"must be a number of MiB from 0 to 10,000,000, not {shown(value)}")
    return float(value)


def count(value: object) -> int:
    """How many of something."""
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 10_000:
        raise ValueError(f"must be a whole number from 1 to 10,000, not {shown(value)}")
    return value


def yields(value: object) -> Yield:
    """What a trial does when somebody comes."""
    if not isinstance(value, str) or value not in tuple(Yield):
        raise ValueError(f'must be "finish" or "stop", not {shown(value)}')
    return Yield(value)


def log_form(value: object) -> LogForm:
    """How the log is written."""
    if not isinstance(value, str) or value not in tuple(LogForm):
        raise ValueError(f'must be "text" or "json", not {shown(value)}')
    return LogForm(value)
