"""Every topic, and what stands on it: the map from which schemas, AsyncAPI document and tables are made."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from cnnbo.daemon import messages
from cnnbo.daemon.api import objects
from cnnbo.daemon.sinks.base import Delivery

PREFIX: Final = "cnnbo/v1/{node}"
"""Where a box's topics begin; `cnnbo` is the setting `mqtt.base`."""


@dataclass(frozen=True, slots=True)
class Topic:
    """A kind of topic.

    Attributes:
        name: what the AsyncAPI document calls its channel.
        address: the levels below `PREFIX`; those in braces differ from topic to topic.
        schema: name and number of the form of its objects.
        body: type of its objects, without the envelope.
        delivery: what may happen to a message on its way; see `Delivery`.
        about: what it tells, and when, in a sentence.
    """

    name: str
    address: str
    schema: str
    body: Any
    delivery: Delivery
    about: str

    @property
    def qos(self) -> int:
        """MQTT's quality of service: 0 for progress, else 1."""
        return 0 if self.delivery is Delivery.PROGRESS else 1

    @property
    def is_retained(self) -> bool:
        """Whether a broker keeps its last message for those who come later."""
        return self.delivery is Delivery.STATE


TOPICS: Final = (
    Topic(
        "info", "info", messages.INFO_SCHEMA, objects.InfoObject, Delivery.STATE,
        "The daemon behind the topics, at each start and when `limit` changes.",
    ),
    Topic(
        "device", "device/{device}", messages.DEVICE_SCHEMA, objects.DeviceObject, Delivery.STATE,
        "A device and what it is doing, when something changes; else at its first reading after 10 s.",
    ),
    Topic(
        "study", "study/{study}", messages.STUDY_SCHEMA, objects.StudyObject, Delivery.STATE,
        "How a study stands, when something changes; under 8 KiB with up to 60 parameters of 30 letters.",
    ),
    Topic(
        "trial", "study/{study}/trial/{trial}", messages.TRIAL_SCHEMA, objects.TrialObject, Delivery.STATE,
        "A trial, when something changes.",
    ),
    Topic(
        "progress", "study/{study}/trial/{trial}/progress", messages.PROGRESS_SCHEMA, objects.ProgressObject,
        Delivery.PROGRESS, "How far a running trial has come, at most once a second.",
    ),
    Topic(
        "event", "event", messages.EVENT_SCHEMA, objects.EventObject, Delivery.EVENT,
        "What happened, once for each time it did.",
    ),
)  # fmt: skip
"""All that carry JSON and are told unasked; `availability` beside them is plain text."""

LEVELS: Final[Mapping[str, tuple[str, str]]] = {
    "node": ("Name of the box: `--node`, or else its host name.", "tower"),
    "device": ("What identifies the device: NVML's UUID, `cpu-0` for a CPU slot.", "cpu-0"),
    "study": ("Name of the study.", "svhn"),
    "trial": ("Id of the trial, from 1.", "17"),
}  # fmt: skip
"""What stands in a level in braces, with an example."""

ANSWERS: Final[Mapping[str, tuple[type, ...]]] = {
    "submit": (objects.SubmittedObject,),
    "status": (objects.StatusObject,),
    "show": (objects.ShowObject, objects.ComparisonObject),
    "best": (objects.BestObject,),
    "pause": (objects.StudyObject, objects.ComparisonObject),
    "resume": (objects.StudyObject, objects.ComparisonObject),
    "cancel": (objects.StudyObject, objects.ComparisonObject),
    "archive": (objects.StudyObject, objects.ComparisonObject),
    "limit": (objects.LimitObject, objects.StudyObject),
    "drain": (objects.DeviceObject,),
    "return": (objects.DeviceObject,),
    "ping": (objects.NothingObject,),
}
"""What the `data` of a response may be whose status is ok, by verb."""
