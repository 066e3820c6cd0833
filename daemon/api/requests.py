"""What can be asked of a daemon, by verb: the arguments of each request, checked where they enter.

On the control socket they stand in `args`; on MQTT beside `transaction`, in one flat object.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from cnnbo.daemon.document import did_you_mean, shown
from cnnbo.scheduler.errors import RequestError


@dataclass(frozen=True, slots=True)
class MustBe:
    """What the value of an argument must be, as sentences about a wrong or missing one say it."""

    what: str


_NAME = MustBe('the name of a study, 1 to 40 of a-z, 0-9 and "-"')
_FLAG = MustBe("true or false")

StudyName = Annotated[str, Field(pattern="^[a-z0-9-]{1,40}$", description="Name of the study."), _NAME]
DeviceName = Annotated[
    str,
    Field(min_length=1, max_length=100, description="An index, like 0 or gpu0, or (the start of) a UUID."),
    MustBe("an index, gpu0 or (the start of) a UUID, as text"),
]
Transaction = Annotated[
    Annotated[str, Field(max_length=200)] | Annotated[int, Field(ge=-(2**53), le=2**53)] | None,
    Field(description="Chosen by whoever asks, echoed in the response; an order that comes again with the same one"
          " isn't carried out again."),
]  # fmt: skip


class Request(BaseModel):
    """Arguments of a request; a key that it doesn't know is a mistake."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class Ping(Request):
    """Whether somebody is there who answers requests."""


class Status(Request):
    """The daemon, its devices and studies: the object of `cnnbo status --json`."""


class Show(Request):
    """A study with all its trials, or a comparison with its studies: the object of `cnnbo show NAME --json`."""

    study: StudyName


class Best(Request):
    """The best configuration so far: the object of `cnnbo best NAME --json`."""

    study: StudyName


class Pause(Request):
    """Start nothing new; running trials go on to their end."""

    study: StudyName
    now: Annotated[bool, Field(description="Stop running trials too; they run again after `resume`."), _FLAG] = False


class Resume(Request):
    """Go on with a paused study."""

    study: StudyName


class Cancel(Request):
    """End a study for good; running trials are stopped, results are kept."""

    study: StudyName


class Archive(Request):
    """Hide an ended study from lists and topics; results are kept."""

    study: StudyName


class Limit(Request):
    """Use at most so many devices at a time, until the next `limit`; running trials go on to their end."""

    devices: Annotated[
        int | None,
        Field(ge=0, le=10_000, description="How many devices; null = all of them. A study takes 1 at least."),
        MustBe("a whole number from 0 to 10,000, or null for all of them"),
    ]
    study: Annotated[StudyName | None, Field(description="Limits this study; without it the whole box."), _NAME] = None


class Drain(Request):
    """Start no more trials on a device; what runs there goes on to its end."""

    device: DeviceName


class Return(Request):
    """Use a drained or quarantined device again."""

    device: DeviceName


class Submit(Request):
    """Begin a study of a built-in model, or go on with the one of that name."""

    study: Annotated[
        dict[str, Any],
        Field(description="What a study file holds; `command` is refused, and `data.dir` is a whole path on the box."),
        MustBe("an object with what a study file holds"),
    ]


class SubmitSpec(Request):
    """Begin a study, or go on with the one of that name: `submit` as the command line of the box sends it."""

    spec: Annotated[
        dict[str, Any],
        Field(description="A `StudySpec` as `scheduler.codec.encode_value` writes it."),
        MustBe("an object with an encoded study"),
    ]


class Compare(Request):
    """Begin a comparison, or go on with the one of that name."""

    specs: Annotated[
        list[dict[str, Any]],
        Field(min_length=1, max_length=10_000, description="The studies it begins with, each as in `SubmitSpec`."),
        MustBe("a list of encoded studies"),
    ]


class Devices(Request):
    """What each device does, or why it does nothing: the list of `cnnbo devices --json`."""


class Retry(Request):
    """Withdraw what ended trials came to and run them again."""

    study: StudyName
    trials: Annotated[list[int], Field(description="Ids of trials."), MustBe("a list of whole numbers")] = []
    crashed: Annotated[bool, Field(description="Also every trial that crashed."), _FLAG] = False


class Delete(Request):
    """Free the name of an ended study and remove the files of its trials."""

    study: StudyName


class Follow(Request):
    """The study or comparison as `Show` tells it, and then all news of it."""

    study: StudyName


class Logs(Request):
    """What an attempt at a trial printed: its last lines, or what it printed after a mark of an earlier answer."""

    study: StudyName
    trial: Annotated[int, Field(ge=1, description="Id of the trial."), MustBe("the number of a trial, from 1 on")]
    attempt: Annotated[int, Field(ge=1, description="Which attempt."), MustBe("the number of an attempt, from 1 on")]
    lines: Annotated[
        int,
        Field(ge=0, le=100_000, description="At most so many of the last lines, within the last MiB, without a mark."),
        MustBe("a whole number from 0 to 100,000"),
    ] = 50
    mark: Annotated[
        Annotated[str, Field(max_length=100)] | None,
        Field(description="Where the piece before this one ended."),
        MustBe("the mark of an earlier answer, as text"),
    ] = None


MQTT_REQUESTS: Final[Mapping[str, type[Request]]] = {
    "submit": Submit,
    "status": Status,
    "show": Show,
    "best": Best,
    "pause": Pause,
    "resume": Resume,
    "cancel": Cancel,
    "archive": Archive,
    "limit": Limit,
    "drain": Drain,
    "return": Return,
    "ping": Ping,
}
"""What is answered over MQTT, by verb."""

SOCKET_REQUESTS: Final[Mapping[str, type[Request]]] = {
    **MQTT_REQUESTS,
    "submit": SubmitSpec,
    "compare": Compare,
    "devices": Devices,
    "retry": Retry,
    "delete": Delete,
    "logs": Logs,
    "follow": Follow,
}
"""What is answered on the control socket, by verb."""


def read_request(kind: type[Request], verb: str, args: Mapping[str, Any]) -> Request:
    """The request of a kind that these arguments make.

    Raises:
        RequestError: with a sentence for each mistake.
    """
    try:
        return kind.model_validate(args)
    except ValidationError as error:
        mistakes = {_sentence(kind, verb, details): None for details in error.errors(include_url=False)}
        raise RequestError(" ".join(mistakes)) from None


def _sentence(kind: type[Request], verb: str, details: ErrorDetails) -> str:
    # Of a name that is half a surrogate pair pydantic says no place.
    name = str(details["loc"][0] if details["loc"] else details["input"])
    if details["type"] == "extra_forbidden" or not details["loc"]:
        known = list(kind.model_fields)
        remedy = did_you_mean(name, known) if known else "it takes none."
        return f"{shown(name)} is no argument of {verb}; {remedy}"
    must_be = _what_it_must_be(kind.model_fields[name])
    if details["type"] == "missing":
        return f'the request names no {name}; {verb} takes "{name}", {must_be}.'
    is_whole = len(details["loc"]) == 1
    return f"{name} must be {must_be}, not {shown(details['input']) if is_whole else 'one with something else in it'}."


def _what_it_must_be(field: FieldInfo) -> str:
    return next(item.what for item in field.metadata if isinstance(item, MustBe))
