"""Every key of the settings, once: what its value must be, what it means, and whether a reload takes it in.

docs/settings.md shows this table to people; a test holds the two together.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from cnnbo.daemon.settings import checks
from cnnbo.daemon.settings.checks import checked_base, checked_port
from cnnbo.daemon.settings.model import Settings
from cnnbo.scheduler.sharing import Hours


@dataclass(frozen=True, slots=True)
class Key:
    """One key.

    Attributes:
        name: with a dot for one of a table.
        check: returns the value as it is kept; raises ValueError with the rest of a sentence.
        default: what holds where nobody set it, for people; Markdown.
        meaning: what it says, for people; Markdown, with units.
        is_text: whether its value is a text in TOML; else a number or a truth value.
        reloads: whether a running daemon takes a new value in, see `reloaded`; else it takes a restart.
    """

    name: str
    check: Callable[[object], object]
    default: str
    meaning: str
    is_text: bool = False
    reloads: bool = True

    @property
    def variable(self) -> str:
        """Its name in the environment."""
        return "CNNBO_" + self.name.upper().replace(".", "_")

    @property
    def path(self) -> tuple[str, ...]:
        """Its table, if it is in one, and its name there."""
        return tuple(self.name.split("."))

    def parse(self, text: str) -> object:
        """A text, of a variable or a command line, as the number or truth value it spells; itself where it is none."""
        if self.is_text:
            return text
        if self.check is checks.flag:
            return _SPELLINGS.get(text.lower(), text)
        for kind in (int, float):
            try:
                return kind(text)
            except ValueError:
                continue
        return text

    def value_in(self, settings: Settings) -> object:
        """What it is in some settings; None = nobody set it, and nothing stands for it."""
        if self.name.startswith("devices."):
            sharing = settings.devices
            return {"max": sharing.max_devices, "hours": sharing.hours, "yield": sharing.yields}[self.path[1]]
        value: object = settings
        for part in self.path:
            value = getattr(value, part)
        return value


_SPELLINGS: Final = {
    "true": True,
    "yes": True,
    "on": True,
    "1": True,
    "false": False,
    "no": False,
    "off": False,
    "0": False,
}

_ALL: Final = (
    Key(
        "state",
        checks.folder,
        "`/var/lib/cnnbo` for a service, `~/.local/state/cnnbo/<node>` for a user",
        "folder of the journal and of the trials' files; a local disk (`--state`)",
        is_text=True,
        reloads=False,
    ),
    Key(
        "node",
        checks.node,
        "the host name",
        "name of this box in topics, [a-z0-9-]; no two daemons of a broker may share one (`--node`)",
        is_text=True,
        reloads=False,
    ),
    Key(
        "lease_dir",
        checks.folder,
        "`/run/lock`",
        "folder of the devices' lease files, shared by all instances of the box",
        is_text=True,
        reloads=False,
    ),
    Key(
        "poll_s",
        checks.seconds(0.1, 600),
        "2",
        "how often devices are read while a study runs, in seconds; else every 30 s",
    ),
    Key(
        "idle_memory_mib",
        checks.mebibytes,
        "1024",
        "device memory that may be in use by nobody we know before a device counts as somebody else's, in MiB",
    ),
    Key(
        "slow_patience_s",
        checks.seconds(0, 86400),
        "300",
        "a device that slows itself down for longer, because of heat or power, gets no new trial",
    ),
    Key(
        "grace_s",
        checks.seconds(0, 3600),
        "60",
        "how long a trial may take for a checkpoint when it is asked to end, in seconds",
    ),
    Key(
        "log",
        checks.log_form,
        '`"text"`',
        'how `cnnbo daemon` writes its log: `"text"`, or `"json"` for a JSON object a line ([below](#the-log))',
        is_text=True,
    ),
    Key(
        "devices.max",
        checks.count,
        "all",
        "at most so many devices at a time; `cnnbo limit` says so for the moment, the stricter one counts",
    ),
    Key("devices.hours", Hours.parse, "always", 'trials start only then, like `"20:00-08:00"`', is_text=True),
    Key(
        "devices.yield",
        checks.yields,
        '`"finish"`',
        'what a trial does when somebody else\'s process appears beside it: `"finish"` or `"stop"`',
        is_text=True,
    ),
    Key(
        "proposer.deadline_s",
        checks.seconds(0.1, 3600),
        "30",
        "how long a free device waits for a proposal before it takes a Sobol point",
    ),
    Key("mqtt.enabled", checks.flag, "true", "whether there is any MQTT (`--no-mqtt`)"),
    Key(
        "mqtt.url",
        checks.url,
        "an embedded broker on 127.0.0.1",
        "`mqtt://host:1883` or `mqtts://host:8883`",
        is_text=True,
    ),
    Key("mqtt.user", checks.user, "that of the URL", "who the daemon is to that broker", is_text=True),
    Key(
        "mqtt.password_file",
        checks.file,
        "none",
        "file that holds the password, readable by its owner alone ([security.md](security.md))",
        is_text=True,
    ),
    Key(
        "mqtt.ca",
        checks.file,
        "those of the system",
        "PEM file of the CA to trust with `mqtts://`",
        is_text=True,
    ),
    Key(
        "mqtt.requests",
        checks.flag,
        "false",
        "take orders over MQTT ([mqtt.md](mqtt.md#requests)); needs a user and a password",
    ),
    Key("mqtt.base", checked_base, '`"cnnbo"`', "first part of every topic", is_text=True, reloads=False),
    Key(
        "mqtt.port",
        checked_port,
        "1883",
        "where the embedded broker listens if the port is free; else at a free one, which `cnnbo status` tells",
    ),
)

KEYS: Final[Mapping[str, Key]] = {key.name: key for key in _ALL}
"""All of them, by name, in the order in which people see them."""

TABLES: Final = frozenset(key.path[0] for key in _ALL if len(key.path) > 1)
