"""What is published of the API, and the source it is made of."""

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any, get_args

import pytest
from jsonschema import Draft7Validator
from tests.api import ASYNCAPI, DOCS, faults, resolved, schema_named
from tests.unit.daemon.test_messages import SAID, after_asks

from cnnbo.daemon.api.generate import made_files
from cnnbo.daemon.api.objects import Outcome
from cnnbo.daemon.api.requests import MQTT_REQUESTS
from cnnbo.daemon.api.schemas import published
from cnnbo.daemon.api.tables import with_tables
from cnnbo.daemon.api.topics import ANSWERS, TOPICS
from cnnbo.daemon.envelope import Envelope
from cnnbo.daemon.messages import retained
from cnnbo.scheduler.trial import CANCELLED, COMPLETE, Failure

MADE = made_files(DOCS)
PUBLISHED = published()


@pytest.mark.parametrize("name", sorted(MADE))
def test_what_is_committed_is_what_the_types_say(name: str) -> None:
    """A change of the types must not leave the published files behind: `make api` writes them."""
    path = DOCS / name
    assert path.exists() and path.read_text() == MADE[name], f"docs/{name} is out of date: make api"


def test_no_schema_is_published_that_is_made_no_longer() -> None:
    """Somebody would build on it."""
    assert {f"schemas/{path.name}" for path in (DOCS / "schemas").iterdir()} == {
        n for n in MADE if n.startswith("schemas")
    }


@pytest.mark.parametrize("name", sorted(PUBLISHED))
def test_a_schema_is_valid_and_describes_each_of_its_keys(name: str) -> None:
    """A key without meaning and unit is a riddle; validators differ in what they forgive."""
    schema = PUBLISHED[name]
    Draft7Validator.check_schema(schema)
    assert [key for key, value in _keys(schema) if not value.get("description")] == []


def _keys(schema: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    if isinstance(schema, list):
        for item in schema:
            yield from _keys(item)
    elif isinstance(schema, dict):
        yield from schema.get("properties", {}).items()
        for value in schema.values():
            yield from _keys(value)


def test_outcomes_are_those_of_the_core() -> None:
    """The core keeps an outcome as text: the list of them is written a second time, and must be the same."""
    assert set(get_args(Outcome)) == {COMPLETE, CANCELLED, *Failure}


def test_every_request_has_an_answer() -> None:
    """A verb without a type of its data would be a hole in the document."""
    assert set(ANSWERS) == set(MQTT_REQUESTS)


def test_schemas_are_found_by_the_name_in_the_payload() -> None:
    """A script that reads `schema` must find the file."""
    assert [schema_named(topic.schema)["title"] for topic in TOPICS] == [topic.schema for topic in TOPICS]


def test_a_surrogates_insight_is_what_the_schema_says() -> None:
    """No quick run of a whole daemon has a surrogate, so its figures are checked here."""
    [message] = retained(after_asks(6, SAID), [], 2.0)
    body = json.loads(Envelope("life").seal(message))
    assert body["insight"]["stop_advised"] is True
    assert faults(body, schema_named("cnnbo.study/1")) == []
    body["insight"]["noise_sd"] = "0.004"
    assert faults(body, schema_named("cnnbo.study/1")) == [
        "$.insight.noise_sd: '0.004' is not of type 'number', 'null'"
    ]


def test_the_asyncapi_document_refers_to_nothing_that_is_not_there() -> None:
    """The official parser runs in continuous integration only; this is what breaks most easily."""
    references = [node["$ref"] for node in _nodes(ASYNCAPI) if "$ref" in node]
    assert len(references) > 100
    for reference in references:
        assert isinstance(resolved(reference), dict), reference


def _nodes(node: Any) -> Iterator[dict[str, Any]]:
    if isinstance(node, dict):
        yield node
    for child in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from _nodes(child)


def test_a_page_that_lacks_a_table_is_refused() -> None:
    """A new topic without a place on the page would stay unknown."""
    with pytest.raises(ValueError, match="places"):
        with_tables("# a page\n<!-- table topics -->\n<!-- end -->\n")


def test_a_daemon_never_loads_the_types() -> None:
    """They are there for mypy and for the schemas; the start of a daemon must not pay for them."""
    code = "import sys, cnnbo.daemon.serve, cnnbo.daemon.sinks.mqtt; print('cnnbo.daemon.api.objects' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
