"""The AsyncAPI 3.0 document of what a daemon publishes and is asked over MQTT.

MQTT's own settings stand in bindings of version 0.2.0 (https://github.com/asyncapi/bindings/tree/master/mqtt).
"""

import re
from typing import Any

from cnnbo import __version__
from cnnbo.daemon.api.objects import RefusalObject
from cnnbo.daemon.api.requests import MQTT_REQUESTS
from cnnbo.daemon.api.schemas import message_schema, request_schema, response_schema, schema_of
from cnnbo.daemon.api.topics import ANSWERS, LEVELS, PREFIX, TOPICS, Topic

_Node = dict[str, Any]
_JSON = "application/json"
_AVAILABILITY = f"{PREFIX}/availability"

_ABOUT = """\
What a box tells over MQTT, and what it can be asked. Topics, guarantees and recipes for people: docs/mqtt.md.

`cnnbo` at the beginning of each topic is the setting `mqtt.base`. Retained topics of studies and trials are cleared
with an empty payload when the study is archived or deleted, those of a device when it is gone."""


def document() -> _Node:
    """The whole document as JSON data."""
    channels: _Node = {"availability": _availability_channel()}
    operations: _Node = {"tellAvailability": _send("availability", qos=1, retain=True)}
    for topic in TOPICS:
        channels[topic.name] = _topic_channel(topic)
        told = _send(topic.name, qos=topic.qos, retain=topic.is_retained)
        operations[f"tell{topic.name.capitalize()}"] = {**told, "summary": topic.about}
    for verb in MQTT_REQUESTS:
        channels[f"{verb}Request"] = _verb_channel("request", verb)
        channels[f"{verb}Response"] = _verb_channel("response", verb)
        operations[verb] = _receive(verb)
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "cnnbo daemon",
            "version": __version__,
            "description": _ABOUT,
            "license": {"name": "MIT"},
        },
        "defaultContentType": _JSON,
        "servers": _servers(),
        "channels": channels,
        "operations": operations,
        "components": {
            "messages": _messages(),
            "schemas": _schemas(),
            "securitySchemes": {
                "user": {"type": "userPassword", "description": "As the broker's password file says."},
            },
            "serverBindings": {"daemon": {"mqtt": _server_binding()}},
        },
    }


def _servers() -> _Node:
    bindings = {"$ref": "#/components/serverBindings/daemon"}
    embedded = {
        "host": "127.0.0.1:{port}",
        "protocol": "mqtt",
        "protocolVersion": "3.1.1",
        "description": "The embedded broker: news only, on the box itself; `cnnbo status` tells its port.",
        "variables": {"port": {"default": "1883"}},
        "bindings": bindings,
    }
    own = {
        "host": "{broker}:{port}",
        "protocol": "secure-mqtt",
        "protocolVersion": "3.1.1",
        "description": "The broker of the setting `mqtt.url`; requests are answered there with `mqtt.requests = true`.",
        "variables": {"broker": {"description": "Its host name."}, "port": {"default": "8883"}},
        "security": [{"$ref": "#/components/securitySchemes/user"}],
        "bindings": bindings,
    }
    return {"embedded": embedded, "own": own}


def _server_binding() -> _Node:
    will = {"topic": _AVAILABILITY, "qos": 1, "message": "offline", "retain": True}
    return {"cleanSession": True, "keepAlive": 30, "lastWill": will, "bindingVersion": "0.2.0"}


def _channel(address: str, message: str, servers: list[str], description: str | None = None) -> _Node:
    levels = re.findall(r"\{(\w+)\}", address)
    about = {} if description is None else {"description": description}
    return {
        "address": address,
        **about,
        "servers": [{"$ref": f"#/servers/{server}"} for server in servers],
        "messages": {message: {"$ref": f"#/components/messages/{message}"}},
        "parameters": {
            level: {"description": LEVELS[level][0], "examples": [LEVELS[level][1]]} for level in levels
        },
    }  # fmt: skip


def _availability_channel() -> _Node:
    about = "Plain text: online, or offline: said by the daemon when it stops, else by the broker as its last will."
    return _channel(_AVAILABILITY, "availability", ["embedded", "own"], about)


def _topic_channel(topic: Topic) -> _Node:
    return _channel(f"{PREFIX}/{topic.address}", topic.name, ["embedded", "own"])


def _verb_channel(kind: str, verb: str) -> _Node:
    return _channel(f"{PREFIX}/{kind}/{verb}", f"{verb}{kind.capitalize()}", ["own"])


def _binding(*, qos: int, retain: bool) -> _Node:
    return {"mqtt": {"qos": qos, "retain": retain, "bindingVersion": "0.2.0"}}


def _send(channel: str, *, qos: int, retain: bool) -> _Node:
    reference = {"$ref": f"#/channels/{channel}"}
    return {"action": "send", "channel": reference, "bindings": _binding(qos=qos, retain=retain)}


def _receive(verb: str) -> _Node:
    return {
        "action": "receive",
        "channel": {"$ref": f"#/channels/{verb}Request"},
        "summary": schema_of(MQTT_REQUESTS[verb])["description"],
        # As it should be sent: one that is retained is refused, for it would be carried out at every reconnect.
        "bindings": _binding(qos=1, retain=False),
        "reply": {"channel": {"$ref": f"#/channels/{verb}Response"}},
    }


def _messages() -> _Node:
    told: _Node = {
        "availability": {
            "contentType": "text/plain",
            "summary": "Whether the daemon is there.",
            "payload": {"type": "string", "enum": ["online", "offline"]},
        }
    }
    for topic in TOPICS:
        told[topic.name] = _message(topic.name, topic.schema)
    for verb in MQTT_REQUESTS:
        correlated = {"correlationId": {"location": "$message.payload#/transaction"}}
        told[f"{verb}Request"] = _message(f"{verb}Request", f"request {verb}") | correlated
        told[f"{verb}Response"] = _message(f"{verb}Response", f"response to {verb}") | correlated
    return told


def _message(name: str, title: str) -> _Node:
    return {"name": name, "title": title, "contentType": _JSON, "payload": {"$ref": f"#/components/schemas/{name}"}}


def _schemas() -> _Node:
    schemas: _Node = {topic.name: message_schema(topic) for topic in TOPICS}
    for verb, answers in ANSWERS.items():
        kinds = (*answers, RefusalObject)
        schemas |= {kind.__name__: schema_of(kind) for kind in kinds}  # several verbs are answered with the same
        schemas[f"{verb}Request"] = request_schema(verb)
        schemas[f"{verb}Response"] = response_schema([{"$ref": f"#/components/schemas/{k.__name__}"} for k in kinds])
    return schemas
