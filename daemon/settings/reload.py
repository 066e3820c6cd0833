"""What a running daemon makes of settings that have changed; pure."""

from dataclasses import dataclass, replace

from cnnbo.daemon.settings.keys import KEYS
from cnnbo.daemon.settings.model import Settings


@dataclass(frozen=True, slots=True)
class Reload:
    """What follows from new settings.

    Attributes:
        settings: to go on with: the new ones, but for what takes a restart.
        taken: keys whose new values are in `settings`, in the order of `KEYS`.
        waiting: keys whose new values take a restart.
    """

    settings: Settings
    taken: tuple[str, ...]
    waiting: tuple[str, ...]


def reloaded(old: Settings, new: Settings) -> Reload:
    """What a daemon with `old` settings takes in of `new` ones.

    State folder, node name and base of the topics are what others know it by, and leases are held in `lease_dir`.
    """
    changed = [key for key in KEYS.values() if key.value_in(old) != key.value_in(new)]
    mqtt = replace(new.mqtt, base=old.mqtt.base)
    return Reload(
        replace(new, state=old.state, node=old.node, lease_dir=old.lease_dir, mqtt=mqtt),
        taken=tuple(key.name for key in changed if key.reloads),
        waiting=tuple(key.name for key in changed if not key.reloads),
    )
