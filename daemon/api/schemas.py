"""JSON Schemas of everything on a topic, made of the types in `objects` and `requests`.

They say what is there, not that there is nothing else: keys may be added under the same number. Of JSON Schema only
what draft 7 knows is used, the dialect of AsyncAPI, and every schema stands alone, without references.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema

from cnnbo.daemon.api.objects import EnvelopeKeys, RefusalObject, ResponseObject
from cnnbo.daemon.api.requests import MQTT_REQUESTS, Transaction
from cnnbo.daemon.api.topics import TOPICS, Topic
from cnnbo.daemon.messages import RESPONSE_SCHEMA

Schema = dict[str, Any]
"""A JSON Schema as JSON data."""

DIALECT: Final = "http://json-schema.org/draft-07/schema#"


def schema_of(kind: Any) -> Schema:
    """The schema of a type: an object of `objects`, or a request."""
    made = TypeAdapter(kind).json_schema(mode="serialization", schema_generator=_Untitled)
    return _simplified(made, made.pop("$defs", {}))


def message_schema(topic: Topic) -> Schema:
    """The schema of a topic's payload: the envelope's keys, then the object's."""
    return {"title": topic.schema, **_enveloped(schema_of(topic.body), topic.schema)}


def request_schema(verb: str) -> Schema:
    """The schema of a request's payload: its arguments beside `transaction`, flat."""
    schema = schema_of(MQTT_REQUESTS[verb])
    properties = {"transaction": schema_of(Transaction), **schema.get("properties", {})}
    return {"title": f"cnnbo request {verb}", **schema, "properties": properties}


def response_schema(kinds: Sequence[Schema]) -> Schema:
    """The schema of a response's payload.

    Args:
        kinds: what `data` may be, for readers: that of an answer, or of an error.
    """
    schema = _enveloped(schema_of(ResponseObject), RESPONSE_SCHEMA)
    data = schema["properties"]["data"]
    described = {"description": data.pop("description")}
    schema["properties"]["data"] = {"anyOf": [*kinds, data], **described}
    return {"title": RESPONSE_SCHEMA, **schema}


def published() -> Mapping[str, Schema]:
    """Every schema that is published, by the name of its file."""
    schemas = {file_name(topic.schema): message_schema(topic) for topic in TOPICS}
    schemas[file_name(RESPONSE_SCHEMA)] = response_schema([schema_of(RefusalObject)])
    schemas |= {f"request.{verb}.json": request_schema(verb) for verb in MQTT_REQUESTS}
    return {name: {"$schema": DIALECT, **schema} for name, schema in schemas.items()}


def file_name(schema: str) -> str:
    """The file below `docs/schemas` of a schema: `cnnbo.study-1.json` for `cnnbo.study/1`."""
    return schema.replace("/", "-") + ".json"


class _Untitled(GenerateJsonSchema):
    """Leaves out the titles that pydantic makes of the names of keys."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False


def _enveloped(schema: Schema, name: str) -> Schema:
    if "anyOf" in schema:
        return {**schema, "anyOf": [_enveloped(option, name) for option in schema["anyOf"]]}
    envelope = schema_of(EnvelopeKeys)
    envelope["properties"]["schema"]["const"] = name
    return {
        **schema,
        "properties": envelope["properties"] | schema["properties"],
        "required": [*envelope["required"], *schema["required"]],
    }


def _simplified(schema: Schema, definitions: Mapping[str, Schema]) -> Schema:
    """The same schema with what it refers to in place, and null as one more type of a key instead of an alternative."""
    if (reference := schema.get("$ref")) is not None:
        here = {key: value for key, value in schema.items() if key != "$ref"}
        return _simplified(definitions[reference.rpartition("/")[2]] | here, definitions)
    simple: Schema = {}
    for key, value in schema.items():
        match key:
            case "title":
                pass
            case "description":
                simple[key] = re.sub(r"\s+", " ", value)
            case "properties":
                simple[key] = {name: _simplified(item, definitions) for name, item in value.items()}
            case "anyOf":
                simple |= _united([_simplified(option, definitions) for option in value])
            case "items" | "additionalProperties" | "propertyNames" if isinstance(value, dict):
                simple[key] = _simplified(value, definitions)
            case _:
                simple[key] = value
    return simple


def _united(options: list[Schema]) -> Schema:
    if all(option.keys() == {"type"} for option in options):
        return {"type": [option["type"] for option in options]}
    others = [option for option in options if option != {"type": "null"}]
    if len(others) == 1 and isinstance(others[0].get("type"), str):
        [only] = others
        nullable = {"enum": [*only["enum"], None]} if "enum" in only else {}
        return {**only, **nullable, "type": [only["type"], "null"]}
    return {"anyOf": options}
