"""The tables of `docs/mqtt.md`: topics, keys of their objects, requests."""

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from cnnbo.daemon.api.objects import EnvelopeKeys, RefusalObject, ResponseObject
from cnnbo.daemon.api.requests import MQTT_REQUESTS
from cnnbo.daemon.api.schemas import Schema, file_name, schema_of
from cnnbo.daemon.api.topics import ANSWERS, TOPICS
from cnnbo.daemon.messages import RESPONSE_SCHEMA

_SYMBOLS: Final = {"minimum": "≥", "maximum": "≤"}


def with_tables(page: str) -> str:
    """The page with what stands between `<!-- table NAME -->` and `<!-- end -->` written anew.

    Raises:
        ValueError: a table has no place on the page, or a place no table.
    """
    tables = _tables()
    places = re.findall(r"<!-- table (\w+) -->", page)
    if sorted(places) != sorted(tables):
        raise ValueError(f"the page has places for {sorted(places)}, and the tables are {sorted(tables)}")
    for name, table in tables.items():
        page = _with_table(page, f"<!-- table {name} -->\n", table)
    return page


def _with_table(page: str, beginning: str, table: str) -> str:
    before, _, rest = page.partition(beginning)
    _, end, after = rest.partition("<!-- end -->")
    return f"{before}{beginning}\n{table}\n{end}{after}"


def _tables() -> Mapping[str, str]:
    tables = {"topics": _topics(), "envelope": _keys(schema_of(EnvelopeKeys)), "requests": _requests()}
    for topic in TOPICS:
        schema = schema_of(topic.body)
        if "anyOf" in schema:
            tables[topic.name] = "\n".join(f"{kind['description']}\n\n{_keys(kind)}" for kind in schema["anyOf"])
        else:
            tables[topic.name] = _keys(schema)
    tables["response"] = _keys(schema_of(ResponseObject))
    tables["refusal"] = _keys(schema_of(RefusalObject))
    return tables


def _topics() -> str:
    rows = [("`availability`", "plain text", "1", "yes", "`online` or `offline`; the last will")]
    for topic in TOPICS:
        address = re.sub(r"\{(\w+)\}", r"<\1>", topic.address)
        retained = "yes" if topic.is_retained else "no"
        rows.append((f"`{address}`", _link(topic.schema), str(topic.qos), retained, topic.about))
    rows.append(("`request/<verb>`", "[below](#requests)", "1", "never", "A question or an order, to the daemon."))
    rows.append(("`response/<verb>`", _link(RESPONSE_SCHEMA), "1", "no", "Its answer."))
    return _table(("topic", "payload", "QoS", "retained", "what"), rows)


def _link(schema: str) -> str:
    return f"[{schema}](schemas/{file_name(schema)})"


def _requests() -> str:
    rows = []
    for verb, kind in MQTT_REQUESTS.items():
        schema = schema_of(kind)
        required = schema.get("required", [])
        keys = [f"`{key}`" if key in required else f"[`{key}`]" for key in schema.get("properties", {})]
        name = f"[`{verb}`](schemas/request.{verb}.json)"
        answers = [schema_of(kind)["description"] for kind in ANSWERS[verb]]
        rows.append((name, ", ".join(keys), schema["description"], " Or: ".join(answers)))
    return _table(("verb", "keys", "what", "`data`"), rows)


def _keys(schema: Schema) -> str:
    return _table(("key", "type", "what"), _rows(schema, ""))


def _rows(schema: Schema, prefix: str) -> Iterable[tuple[str, ...]]:
    for key, value in schema["properties"].items():
        yield f"`{prefix}{key}`", _type(value), _cell(value.get("description", ""))
        if "properties" in value:
            yield from _rows(value, f"{prefix}{key}.")
        elif "properties" in value.get("items", {}):
            yield from _rows(value["items"], f"{prefix}{key}[].")


def _type(schema: Schema) -> str:
    """A type in words: its names, the range of a number, what else is known of a text or an array."""
    if "anyOf" in schema:
        return " or ".join(_type(option) for option in schema["anyOf"])
    if "const" in schema:
        return f"`{schema['const']}`"
    if "enum" in schema:
        values = ", ".join(f"`{value}`" for value in schema["enum"] if value is not None)
        return f"{values} or null" if None in schema["enum"] else values
    kinds: Any = schema["type"]
    words = [kinds] if isinstance(kinds, str) else list(kinds)
    if schema.get("format") == "date-time":
        words[0] = "time"
    if "items" in schema:
        words[0] = f"array of {_type(schema['items'])}s"
    bounds = [f"{symbol} {schema[bound]:g}" for bound, symbol in _SYMBOLS.items() if bound in schema]
    return ", ".join([" or ".join(words), *bounds])


def _cell(text: str) -> str:
    return text.replace("|", r"\|")


def _table(heads: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [heads, ("---",) * len(heads), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
