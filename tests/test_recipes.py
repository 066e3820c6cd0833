"""The recipes that can't be run here name what the daemon really publishes."""

import json
import re
import tomllib
from typing import Any

import pytest
from tests.api import ASYNCAPI, DOCS, event_names, payload_of

CONSUMERS: list[dict[str, Any]] = tomllib.loads((DOCS / "recipes/telegraf.conf").read_text())["inputs"]["mqtt_consumer"]
NODES: list[dict[str, Any]] = json.loads((DOCS / "recipes/node-red.json").read_text())
FLOW = {node["id"]: node for node in NODES}


def channel_of(topic: str) -> str:
    """The one channel that a filter subscribes to, or that a topic belongs to."""
    wanted = topic.split("/")
    [name] = [n for n, channel in ASYNCAPI["channels"].items() if _fits(wanted, channel["address"].split("/"))]
    return str(name)


def _fits(wanted: list[str], address: list[str]) -> bool:
    return len(wanted) == len(address) and all(
        level == known or known.startswith("{") for level, known in zip(wanted, address, strict=True)
    )


@pytest.mark.parametrize("consumer", CONSUMERS, ids=lambda consumer: consumer["topics"][0])
def test_telegraf_reads_topics_and_keys_that_exist(consumer: dict[str, Any]) -> None:
    """A wrong path is an error at each message, and a number read as text is lost to every graph."""
    [topic], [parsing], [reader] = consumer["topics"], consumer["topic_parsing"], consumer["json_v2"]
    channel = channel_of(topic)
    address = ASYNCAPI["channels"][channel]["address"]
    properties = payload_of(channel)["properties"]
    assert parsing["topic"] == topic == re.sub(r"\{\w+\}", "+", address)
    for tag, level in zip(parsing["tags"].split("/"), address.split("/"), strict=True):
        assert tag == "_" or f"{{{tag}}}" == level
    assert reader["timestamp_path"] == "ts" and properties["ts"]["format"] == "date-time"
    kinds = {"float": "number", "int": "integer", None: "string"}
    for field in reader["field"]:
        assert kinds[field.get("type")] in properties[field["path"]]["type"]
    assert all("string" in properties[tag["path"]]["type"] for tag in reader.get("tag", []))
    assert all("object" in properties[item["path"]]["type"] for item in reader.get("object", []))


def test_node_red_subscribes_and_publishes_where_somebody_is() -> None:
    """A flow with a mistyped topic waits for ever and says nothing."""
    into = {channel_of(node["topic"]) for node in NODES if node["type"] == "mqtt in"}
    out = {channel_of(node["topic"]) for node in NODES if node["type"] == "mqtt out"}
    assert (into, out) == ({"event", "pauseResponse"}, {"pauseRequest"})
    assert all(node["datatype"] == "json" for node in NODES if node["type"] == "mqtt in")
    assert all(target in FLOW for node in NODES for port in node.get("wires", []) for target in port)
    assert all(node["broker"] in FLOW for node in NODES if node["type"].startswith("mqtt "))


def test_node_red_knows_the_keys_and_events() -> None:
    """As they are in the schemas."""
    study_keys = payload_of("event")["anyOf"][0]["properties"]
    [switch] = [node for node in NODES if node["type"] == "switch"]
    assert switch["property"] == "payload.event" and {rule["v"] for rule in switch["rules"]} <= event_names()
    [change] = [node for node in NODES if node["type"] == "change"]
    assert set(re.findall(r"payload\.(\w+)", change["rules"][0]["to"])) <= set(study_keys)
    [button] = [node for node in NODES if node["type"] == "inject"]
    assert set(re.findall(r'"(\w+)":', button["payload"])) == set(payload_of("pauseRequest")["required"]) | {
        "transaction"
    }
    [answer] = [node for node in NODES if node.get("name") == "answered"]
    assert answer["complete"].removeprefix("payload.") in payload_of("pauseResponse")["properties"]
