"""The settings of an instance, checked."""

from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from cnnbo.scheduler.sharing import NO_LIMITS, Sharing


class LogForm(StrEnum):
    """How the daemon writes its log."""

    TEXT = "text"
    JSON = "json"


@dataclass(frozen=True, slots=True)
class MqttSettings:
    """How the news is told.

    Attributes:
        url: `mqtt://host:port` or `mqtts://…` of a broker; None = an embedded one on this box.
        user: who the daemon is to that broker, in place of a user in the URL.
        password_file: file that holds the user's password, absolute; in place of a password in the URL.
        ca: PEM file of the CA to trust with `mqtts://`, absolute; None = those of the system.
        base: first part of every topic.
        enabled: whether there is any MQTT.
        requests: whether requests are taken over MQTT; then `url` needs a user, see `serve`.
        port: where the embedded broker listens if the port is free, 1-65535.
    """

    url: str | None = field(default=None, repr=False)  # it may hold a password
    user: str | None = None
    password_file: Path | None = None
    ca: Path | None = None
    base: str = "cnnbo"
    enabled: bool = True
    requests: bool = False
    port: int = 1883


@dataclass(frozen=True, slots=True)
class ProposerSettings:
    """How proposals are made.

    Attributes:
        deadline_s: how long a free device waits for a proposal before a Sobol point is taken, in seconds.
    """

    deadline_s: float = 30.0


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings of an instance, checked.

    Attributes:
        state: folder of the journal and the trials, absolute; see `folders.state_folder`.
        node: name of this box in topics, [a-z0-9-]{1,40}.
        lease_dir: folder of the devices' lease files, shared by all instances of the box.
        mqtt: see `MqttSettings`.
        proposer: see `ProposerSettings`.
        devices: how devices are shared with other people, whatever a study wants: keys `max`, `hours` and `yield`.
        poll_s: how often devices are read, in seconds.
        idle_memory_mib: so much memory may be in use on a device that nobody computes on, in MiB; above it the device
            counts as somebody else's.
        slow_patience_s: a device that slows itself down for longer than this, because of heat or power, gets no new
            trial until it has recovered, in seconds.
        grace_s: how long a trial may take to write a checkpoint when it is asked to end, in seconds.
        log: how the daemon writes its log.
    """

    state: Path
    node: str
    lease_dir: Path = Path("/run/lock")
    mqtt: MqttSettings = field(default_factory=MqttSettings)
    proposer: ProposerSettings = field(default_factory=ProposerSettings)
    devices: Sharing = NO_LIMITS
    poll_s: float = 2.0
    idle_memory_mib: float = 1024.0
    slow_patience_s: float = 300.0
    grace_s: float = 60.0
    log: LogForm = LogForm.TEXT
