"""What arguments a request takes, and what is said of all others."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.fuzz.mutations import mutated, odd_values

from cnnbo.daemon.api.requests import (
    MQTT_REQUESTS,
    SOCKET_REQUESTS,
    Delete,
    Devices,
    Limit,
    Pause,
    Retry,
    Show,
    Submit,
    SubmitSpec,
    read_request,
)
from cnnbo.scheduler.errors import RequestError

ARGUMENTS: dict[str, dict[str, Any]] = {
    "ping": {},
    "status": {},
    "show": {"study": "svhn"},
    "best": {"study": "svhn"},
    "pause": {"study": "svhn", "now": True},
    "resume": {"study": "svhn"},
    "cancel": {"study": "svhn"},
    "archive": {"study": "svhn"},
    "limit": {"study": "svhn", "devices": 2},
    "drain": {"device": "gpu0"},
    "return": {"device": "GPU-1"},
    "submit": {"spec": {}},
    "compare": {"specs": [{}]},
    "devices": {},
    "retry": {"study": "svhn", "trials": [1, 2], "crashed": False},
    "delete": {"study": "svhn"},
    "logs": {"study": "svhn", "trial": 3, "attempt": 1, "lines": 20, "mark": "7:512"},
    "follow": {"study": "svhn"},
}


@pytest.mark.parametrize("verb", SOCKET_REQUESTS)
def test_every_request_takes_its_arguments(verb: str) -> None:
    """A door that refuses what the documents show would be no door."""
    request = read_request(SOCKET_REQUESTS[verb], verb, ARGUMENTS[verb])
    assert {name: getattr(request, name) for name in ARGUMENTS[verb]} == ARGUMENTS[verb]


def test_what_may_be_left_out_means_what_the_command_line_means() -> None:
    """A script that leaves a flag out gets what a person who leaves it out gets."""
    assert read_request(Pause, "pause", {"study": "svhn"}) == Pause(study="svhn", now=False)
    assert read_request(Limit, "limit", {"devices": None}) == Limit(devices=None, study=None)
    assert read_request(Retry, "retry", {"study": "svhn"}) == Retry(study="svhn", trials=[], crashed=False)


def test_other_boxes_ask_for_less() -> None:
    """Removing files and running commands is for people on the box."""
    assert SOCKET_REQUESTS["submit"] is SubmitSpec and MQTT_REQUESTS["submit"] is Submit
    assert not {Delete, Devices, Retry, SubmitSpec} & set(MQTT_REQUESTS.values())


@pytest.mark.parametrize(
    ("verb", "args", "sentence"),
    [
        ("show", {}, 'the request names no study; show takes "study", the name of a study'),
        ("show", {"study": 5}, 'study must be the name of a study, 1 to 40 of a-z, 0-9 and "-", not 5.'),
        ("show", {"study": "../../etc"}, 'not "../../etc".'),
        ("show", {"study": "svhn\n"}, "study must be"),
        ("show", {"study": "\ud800"}, "study must be"),
        ("drain", {"device": ""}, "device must be an index, gpu0 or (the start of) a UUID, as text"),
        (
            "limit",
            {"devices": True},
            "devices must be a whole number from 0 to 10,000, or null for all of them, not true.",
        ),
        ("limit", {"devices": 2.0}, "devices must be a whole number"),
        ("limit", {"devices": -1}, "not -1."),
        ("limit", {"study": "svhn"}, "the request names no devices"),
        ("retry", {"study": "svhn", "trials": [True]}, "a list of whole numbers, not one with something else in it."),
        ("pause", {"study": "svhn", "nwo": True}, '"nwo" is no argument of pause; known are study, now.'),
        ("pause", {"study": "svhn", "nows": True}, 'did you mean "now"?'),
        ("ping", {"study": "svhn"}, '"study" is no argument of ping; it takes none.'),
        ("ping", {"\ud800": 1}, '"\ud800" is no argument of ping; it takes none.'),
        ("show", {"study": "svhn", "\ud800": 1}, '"\ud800" is no argument of show;'),
    ],
)
def test_a_mistake_is_told_in_a_sentence_with_the_remedy(verb: str, args: dict[str, Any], sentence: str) -> None:
    """Scripts are written by trial and error; the error has to teach."""
    with pytest.raises(RequestError) as caught:
        read_request(SOCKET_REQUESTS[verb], verb, args)
    assert sentence in str(caught.value)


def test_all_mistakes_are_told_at_once() -> None:
    """Or whoever writes the script has to come back for each of them."""
    with pytest.raises(RequestError, match=r"now must be .* \"x\" is no argument") as caught:
        read_request(Pause, "pause", {"now": 1, "x": 1})
    assert "names no study" in str(caught.value)


@given(drawn=st.sampled_from(sorted(ARGUMENTS)).flatmap(lambda v: st.tuples(st.just(v), mutated(ARGUMENTS[v]))))
def test_whatever_stands_there_is_understood_or_explained(drawn: tuple[str, Any]) -> None:
    """Arguments are other people's, and pydantic's own prose is for its own users."""
    verb, args = drawn
    if not isinstance(args, dict):
        return
    try:
        request = read_request(SOCKET_REQUESTS[verb], verb, args)
    except RequestError as error:
        assert str(error).strip().endswith((".", "?"))
        assert "pydantic" not in str(error) and "Input should" not in str(error)
    else:
        assert isinstance(request, SOCKET_REQUESTS[verb])


@given(name=odd_values)
def test_a_study_has_a_name_that_is_safe_in_paths_and_topics(name: Any) -> None:
    """It becomes a folder and a topic."""
    try:
        request = read_request(Show, "show", {"study": name})
    except RequestError:
        return
    assert isinstance(request, Show) and set(request.study) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")
