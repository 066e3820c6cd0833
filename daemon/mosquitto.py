"""What mosquitto is told: who may do what, with which password, through which door. Texts only; no files, no secrets.

Written after mosquitto.conf(5) and mosquitto_passwd(1) of mosquitto 2.0, and tried with 2.0.11.
"""

import base64
import hashlib
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Final

from cnnbo.daemon.envelope import PAYLOAD_LIMIT

_ROUNDS: Final = 10_000
"""Of PBKDF2 in a password's hash. mosquitto_passwd's own 101 are few for a password that people made up; each
connection costs the broker about 5 ms, in the one thread that serves everybody."""

_OVERHEAD: Final = 64 * 1024  # for the topic, and so that a payload at its limit isn't at the broker's too

_NEWS: Final = ("availability", "info", "device/#", "study/#", "event")


class Role(StrEnum):
    """What a user of the broker may do."""

    VIEWER = "viewer"
    """Read the news of every node, and nothing else."""
    OPERATOR = "operator"
    """Read everything, and ask every node to do something."""
    NODE = "node"
    """Be the daemon of the node that the user is called as: tell its news, read and answer its requests."""


def configuration(folder: Path, port: int) -> str:
    """The text of a configuration file with one TLS listener, to be included from the broker's own one.

    Args:
        folder: where the other files are, absolute; no white space.
        port: where it listens, on all addresses.
    """
    return f"""\
# Made by `cnnbo broker configure`, which writes it anew; settings of your own belong into another file.

# Passwords and rights hold for every listener of this broker, so that none is left open to strangers.
allow_anonymous false
password_file {folder}/passwd
acl_file {folder}/acl

listener {port}
certfile {folder}/server.crt
keyfile {folder}/server.key

# Daemons tell everything again when they connect; what is kept on the disk is the state of boxes that are off, and news
# for subscribers that are away. A broker that is killed loses what came since the last save, every minute.
persistence true
autosave_interval 60
persistent_client_expiration 14d

# Payloads of cnnbo have up to {PAYLOAD_LIMIT // 1024} KiB; whoever sends more is hung up on.
max_packet_size {PAYLOAD_LIMIT + _OVERHEAD}
# Per subscriber: all topics of large studies at once, or news for one that is away.
max_queued_messages 20000
max_queued_bytes {64 * 1024 * 1024}
"""


def access_list(users: Mapping[str, Role], base: str) -> str:
    """The text of the ACL file: what isn't listed is forbidden.

    Args:
        users: roles by user.
        base: first level or levels of every topic.
    """
    sections = ["# Made by `cnnbo broker configure` from broker.toml; change it there.\n"]
    for user, role in users.items():
        rights = "".join(f"topic {right} {topic}\n" for right, topic in _rights(user, role, f"{base}/v1"))
        sections.append(f"# {role}\nuser {user}\n{rights}")
    return "\n".join(sections)


def _rights(user: str, role: Role, root: str) -> list[tuple[str, str]]:
    match role:
        case Role.VIEWER:
            return [("read", f"{root}/+/{topic}") for topic in _NEWS]
        case Role.OPERATOR:
            return [("read", f"{root}/#"), ("write", f"{root}/+/request/+")]
        case Role.NODE:
            # It reads its own news: a late last will has to be contradicted, and topics of an earlier life cleared.
            own = [("readwrite", f"{root}/{user}/{topic}") for topic in _NEWS]
            return [*own, ("read", f"{root}/{user}/request/+"), ("write", f"{root}/{user}/response/+")]


def password_line(user: str, password: str, salt: bytes) -> str:
    """A line of the password file: `user:$7$rounds$salt$hash`, PBKDF2 with SHA-512.

    Args:
        user: no colon in it.
        password: what the user will say.
        salt: 12 random bytes.
    """
    hashed = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, _ROUNDS)
    return f"{user}:$7${_ROUNDS}${base64.b64encode(salt).decode()}${base64.b64encode(hashed).decode()}"
