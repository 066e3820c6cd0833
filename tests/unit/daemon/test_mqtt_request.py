"""What a message on a request topic asks, and what is said of one that asks nothing."""

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tests.fuzz.mutations import DEEP, odd_values, torn

from cnnbo.daemon.api.requests import MQTT_REQUESTS, Pause, Ping
from cnnbo.daemon.mqtt_request import MAX_DEPTH, MAX_REQUEST_BYTES, read_fields, read_verb, take_transaction
from cnnbo.scheduler.errors import RequestError


def test_a_request_is_one_flat_object() -> None:
    """The transaction stands beside the arguments, and is none of them."""
    fields = read_fields(b'{"transaction": "a", "study": "svhn", "now": true}')
    assert take_transaction(fields) == "a"
    assert read_verb("pause", fields) == Pause(study="svhn", now=True)


def test_an_empty_message_asks_without_arguments() -> None:
    """`mosquitto_pub -n` is the shortest way to ask for the status."""
    fields = read_fields(b"")
    assert take_transaction(fields) is None
    assert read_verb("ping", fields) == Ping()


@pytest.mark.parametrize("given", ["", "x" * 200, 0, -(2**53), 2**53, None])
def test_a_transaction_comes_back_as_it_was(given: str | int | None) -> None:
    """Scripts find their answer by it."""
    assert take_transaction({"transaction": given}) == given


@pytest.mark.parametrize("given", ["x" * 201, 2**53 + 1, 0.5, True, [], {}, "\ud800"])
def test_what_can_not_be_echoed_is_no_transaction(given: object) -> None:
    """A reader in another language would get another number back, or none."""
    with pytest.raises(RequestError, match="transaction must be a text of at most 200 characters, a whole number"):
        take_transaction({"transaction": given})


def nested(depth: int) -> bytes:
    return b'{"study": ' + b"[" * (depth - 1) + b"]" * (depth - 1) + b"}"


def test_depth_and_length_end_where_the_sentence_says() -> None:
    """The last that is taken, and the first that is not."""
    read_fields(nested(MAX_DEPTH))
    with pytest.raises(RequestError, match=f"nested too deeply; {MAX_DEPTH} levels"):
        read_fields(nested(MAX_DEPTH + 1))
    padding = b" " * (MAX_REQUEST_BYTES - 2)
    assert read_fields(b"{" + padding + b"}") == {}
    with pytest.raises(RequestError, match=f"at most 256 KiB; this one has {MAX_REQUEST_BYTES + 1} bytes"):
        read_fields(b"{ " + padding + b"}")


@pytest.mark.parametrize("number", ["NaN", "-Infinity", "1e999", "-1e999", "1" * 5000])
def test_what_is_no_number_to_everybody_is_refused(number: str) -> None:
    """Python reads more than JSON knows; it would come back in an answer that nobody else can read."""
    with pytest.raises(RequestError, match="this is no JSON: "):
        read_fields(f'{{"devices": {number}}}'.encode())


@pytest.mark.parametrize("fields", [{"\ud800": 1}, {"study": "\udfff"}, {"study": {"space": [{"x\ud800": {}}]}}])
def test_half_a_surrogate_pair_is_refused_wherever_it_stands(fields: dict[str, Any]) -> None:
    """JSON can spell it, but it is no text: neither a log nor an answer could tell it."""
    with pytest.raises(RequestError, match=r'UTF-8 text; "[\ud800\udfff]" of this one is half a surrogate pair'):
        read_fields(json.dumps(fields).encode())


@pytest.mark.parametrize("verb", ["delete", "retry", "logs", "devices", "trials", "run", "follow", "watch", "data"])
def test_what_stays_on_the_box_says_what_to_type_there(verb: str) -> None:
    """Whoever looks for it over MQTT would look for the spelling."""
    with pytest.raises(RequestError, match=f"^{verb} is not answered over MQTT; on the box type cnnbo "):
        read_verb(verb, {})


VALID = [b'{"transaction": 1, "study": "svhn", "now": true}', b'{"transaction": "a", "devices": 2, "study": null}']


@given(
    verb=st.sampled_from(sorted(MQTT_REQUESTS)) | st.text(max_size=5),
    payload=st.sampled_from(VALID).flatmap(torn) | odd_values.map(lambda value: json.dumps(value).encode()),
)
@example(verb="pause", payload=DEEP)
@example(verb="\ud800", payload=b"{}")
def test_every_message_is_understood_or_refused_in_a_sentence(verb: str, payload: bytes) -> None:
    """Whoever may publish there may publish anything."""
    try:
        fields: dict[str, Any] = read_fields(payload)
        transaction = take_transaction(fields)
        request = read_verb(verb, fields)
    except RequestError as error:
        assert str(error).strip() and "pydantic" not in str(error)
    else:
        json.dumps(transaction, ensure_ascii=False).encode()
        assert isinstance(request, MQTT_REQUESTS[verb])
