"""The settings of an instance: built-in defaults, one TOML file, the environment, the command line; the last one wins.

The file is named by CNNBO_CONFIG; else it is /etc/cnnbo/cnnbo.toml for a service, and $XDG_CONFIG_HOME/cnnbo/cnnbo.toml
for a user, where it may be missing. A key `mqtt.port` is CNNBO_MQTT_PORT in the environment.
"""

from cnnbo.daemon.settings.checks import checked_base, checked_port
from cnnbo.daemon.settings.keys import KEYS, Key
from cnnbo.daemon.settings.load import REQUESTS_NEED, SERVICE_CONFIG, config_file, load_settings
from cnnbo.daemon.settings.model import LogForm, MqttSettings, ProposerSettings, Settings
from cnnbo.daemon.settings.reload import Reload, reloaded

__all__ = [
    "KEYS",
    "REQUESTS_NEED",
    "SERVICE_CONFIG",
    "Key",
    "LogForm",
    "MqttSettings",
    "ProposerSettings",
    "Reload",
    "Settings",
    "checked_base",
    "checked_port",
    "config_file",
    "load_settings",
    "reloaded",
]
