"""What can be asked of a daemon, by verb: the arguments of each request, checked where they enter.

On the control socket they stand in `args`; on MQTT beside `transaction`, in one flat object.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field

StudyName = Annotated[str, Field(pattern="^[a-z0-9-]{1,40}$", description="Name of the study.")]
DeviceName = Annotated[
    str, Field(min_length=1, max_length=100, description="An index, like 0 or gpu0, or (the start of) a UUID.")
]
Transaction = Annotated[
    str | int | None,
    Field(description="Chosen by whoever asks, echoed in the response; a second request with the same one does nothing"
          " and is answered like the first."),
]  # fmt: skip


class Request(BaseModel):
    """Arguments of a request; a key that it doesn't know is a mistake."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class Ping(Request):
    """Whether somebody is there who answers requests."""


class Status(Request):
    """The daemon, its devices and studies: the object of `cnnbo status --json`."""


class Show(Request):
    """A study with all its trials: the object of `cnnbo show NAME --json`."""

    study: StudyName


class Best(Request):
    """The best configuration so far: the object of `cnnbo best NAME --json`."""

    study: StudyName


class Pause(Request):
    """Start nothing new; running trials go on to their end."""

    study: StudyName
    now: Annotated[bool, Field(description="Stop running trials too; they run again after `resume`.")] = False


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

    devices: Annotated[int | None, Field(ge=0, le=10_000, description="How many devices; null = all of them.")]
    study: Annotated[StudyName | None, Field(description="Limits this study; without it the whole box.")] = None


class Drain(Request):
    """Start no more trials on a device; what runs there goes on to its end."""

    device: DeviceName


class Return(Request):
    """Use a drained or quarantined device again."""

    device: DeviceName


class Submit(Request):
    """Begin a study of a built-in model, or go on with the one of that name."""

    study: Annotated[dict[str, Any], Field(description="What a study file holds; `command` is refused.")]


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
