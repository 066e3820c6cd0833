"""The published API as tests read it: `docs/asyncapi.yaml` and `docs/schemas`."""

import json
import os
import re
import sys
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import yaml
from jsonschema import Draft7Validator, FormatChecker

DOCS: Final = Path(__file__).parent.parent / "docs"
ASYNCAPI: Final[dict[str, Any]] = yaml.safe_load((DOCS / "asyncapi.yaml").read_text())

_formats = FormatChecker(formats=())


@_formats.checks("date-time", raises=ValueError)
def _is_time(text: object) -> bool:
    return not isinstance(text, str) or datetime.fromisoformat(text).tzinfo is not None


def schema_named(name: str) -> dict[str, Any]:
    """The published schema that a payload names, like `cnnbo.study/1`."""
    schema = json.loads((DOCS / "schemas" / f"{name.replace('/', '-')}.json").read_text())
    assert isinstance(schema, dict)
    return schema


def faults(body: object, schema: dict[str, Any]) -> list[str]:
    """What is wrong with a payload; a key that the schema doesn't name is, too."""
    validator = Draft7Validator(_closed(schema), format_checker=_formats)
    return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(body)]


def _closed(schema: Any) -> Any:
    """The same schema where nothing may stand in an object but what it names."""
    if isinstance(schema, list):
        return [_closed(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {key: _closed(value) for key, value in schema.items()}
    if isinstance(schema.get("properties"), dict):
        closed["additionalProperties"] = False
    return closed


def resolved(reference: str) -> Any:
    """What a `$ref` of the AsyncAPI document leads to."""
    node: Any = ASYNCAPI
    for step in reference.removeprefix("#/").split("/"):
        node = node[step]
    return node


def channels_of(topic: str) -> list[str]:
    """Names of the AsyncAPI channels that a topic belongs to."""
    found = []
    for name, channel in ASYNCAPI["channels"].items():
        levels = [r"[^/]+" if level.startswith("{") else re.escape(level) for level in channel["address"].split("/")]
        if re.fullmatch("/".join(levels), topic):
            found.append(name)
    return found


def payload_of(channel: str) -> dict[str, Any]:
    """The schema of a channel's payload, with what it refers to in place."""
    [message] = ASYNCAPI["channels"][channel]["messages"].values()
    payload = resolved(message["$ref"])["payload"]
    return dict(resolved(payload["$ref"]) if "$ref" in payload else payload)


def event_names() -> set[str]:
    """What `event` can be on the event topic."""
    kinds = [kind["properties"]["event"] for kind in payload_of("event")["anyOf"]]
    return {name for kind in kinds for name in kind.get("enum", [kind.get("const")])}


def sending(channel: str) -> dict[str, Any]:
    """MQTT's binding of the operation that sends on a channel."""
    [operation] = [
        operation
        for operation in ASYNCAPI["operations"].values()
        if operation["action"] == "send" and operation["channel"]["$ref"] == f"#/channels/{channel}"
    ]
    return dict(operation["bindings"]["mqtt"])


def shell_blocks() -> list[str]:
    """The shell commands of `docs/mqtt.md`, block by block."""
    return re.findall(r"```sh\n(.*?)```", (DOCS / "mqtt.md").read_text(), re.DOTALL)


def shell_block(part: str) -> str:
    """The one block that holds a piece of text."""
    [block] = [block for block in shell_blocks() if part in block]
    return block


def mosquitto_options(home: Path, options: str) -> dict[str, str]:
    """The environment in which mosquitto's clients find these options, as the page says."""
    for client in ("mosquitto_sub", "mosquitto_pub"):
        (home / client).write_text(options)
    return {**os.environ, "XDG_CONFIG_HOME": str(home), "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
