"""A daemon on another box, by way of a broker: what it tells in its retained topics, and orders through its door.

Reading needs no right but to read, and works while the box is away; orders need `mqtt.requests` there.
"""

import asyncio
import contextlib
import functools
import json
import math
import re
import secrets
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar, get_args, get_type_hints

import aiomqtt

from cnnbo.daemon.client import data_of
from cnnbo.daemon.document import shown
from cnnbo.daemon.mqtt import BrokerAddress, Failure, connected, reason_of
from cnnbo.scheduler.errors import RequestError

if TYPE_CHECKING:
    from pydantic import TypeAdapter

T = TypeVar("T")

_QUIET_S = 0.3  # without a retained message for this long, all of them have arrived
_READ_S = 30.0  # for all of them
_ANSWER_S = 10.0
_SUBMIT_S = 120.0  # before it answers, the daemon looks through the data
_PATIENCE_S = 90.0  # a device is told of every 30 s at least: after three times that its daemon is silent

_NEW_WORD = frozenset({"enum", "literal_error", "none_required"})  # what pydantic says of one, where null may stand too
_ENVELOPE = frozenset({"schema", "ts", "boot", "seq"})
_TOPICS = ("info", "device/+", "study/+")


@dataclass(slots=True)
class Box:
    """What a box has told, by topic below `<base>/v1/<node>/`."""

    node: str
    objects: dict[str, dict[str, Any]] = field(default_factory=dict)
    is_online: bool = False

    def bodies(self, kind: str, identity: str) -> list[dict[str, Any]]:
        """The objects of the topics `<kind>/<name>`, without their envelopes; they name themselves by a key."""
        return [
            _body(found)
            for topic, found in self.objects.items()
            if topic.rpartition("/")[0] == kind and topic.rpartition("/")[2] == str(found[identity])
        ]

    @property
    def info(self) -> dict[str, Any]:
        """What the daemon tells of itself."""
        return self.objects.get("info", {})

    @property
    def told(self) -> str | None:
        """When it told the newest of this, RFC 3339; None if it told nothing."""
        return max((str(found["ts"]) for found in self.objects.values()), default=None)

    def silent_s(self, now: float) -> float:
        """Seconds since then, at `now` (since the epoch); infinite if it told nothing."""
        return math.inf if self.told is None else now - datetime.fromisoformat(self.told).timestamp()


def _body(found: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in found.items() if key not in _ENVELOPE}


class RemoteDaemon:
    """The daemon of a box that publishes on a broker.

    Args:
        broker: where it publishes, and who we are there.
        node: which box, where the broker carries several; None = the only one.
        base: first part of its topics.
        is_away: told the name of a box that is offline, or has told nothing for so long that its daemon must hang; when
            it told the newest value that was read (RFC 3339); and whether the broker calls it online all the same.
    """

    def __init__(
        self,
        broker: BrokerAddress,
        node: str | None,
        base: str,
        is_away: Callable[[str, str | None, bool], None] = lambda node, told, is_online: None,
    ) -> None:
        self._address = broker
        self._node = node
        self._base = base
        self._is_away = is_away

    def status(self) -> dict[str, Any]:
        """What `status --json` prints on the box, with `daemon` null while it is offline.

        Raises:
            RequestError: the broker can't be reached, or carries no such box.
        """
        box = self._read()
        info = box.info
        daemon = {
            "version": info.get("version"),
            "commit": None,
            "pid": info.get("pid"),
            "boot": info.get("boot"),
            "started": info.get("started"),
            "state": info.get("state"),
            "devices_note": info.get("devices"),
            "mqtt_reason": None,
            "mqtt_starting": False,
            "mqtt_dropped_events": None,
        }
        return {
            "daemon": daemon if box.is_online else None,
            "mqtt": str(self._address),
            "limit": info.get("limit"),
            "devices": sorted(box.bodies("device", "uuid"), key=lambda device: (device["index"], device["uuid"])),
            "studies": sorted(box.bodies("study", "name"), key=lambda study: str(study["started"])),
        }

    def show(self, name: str) -> dict[str, Any]:
        """What `show NAME --json` prints on the box.

        Raises:
            RequestError: the broker can't be reached, or carries no such box or study.
        """
        _check_name(name, "study")
        box = self._read(f"study/{name}/trial/+")
        studies = {study["name"]: study for study in box.bodies("study", "name")}
        if parts := [part for part, study in studies.items() if study.get("comparison") == name and part != name]:
            raise RequestError(f"{name} is a comparison; its studies on {box.node} are: {', '.join(parts)}.")
        if name not in studies:
            known = ", ".join(studies) or "none"
            raise RequestError(
                f"there is no study {name!r} on {box.node}; the studies are: {known} (archived ones stay on the box)."
            )
        trials = box.bodies(f"study/{name}/trial", "id")
        return studies[name] | {"trials": sorted(trials, key=lambda trial: int(trial["id"]))}

    def ask(self, verb: str, **args: object) -> Any:
        """`request` for callers without an event loop."""
        return asyncio.run(self.request(verb, **args))

    async def request(self, verb: str, **args: object) -> Any:
        """Send an order and return the response's data.

        Raises:
            RequestError, ConfigurationError: the daemon's sentence, or why there is no answer.
        """
        return await self._reached(self._ask(verb, args))

    def _read(self, *topics: str) -> Box:
        box = asyncio.run(self._reached(self._look_in(*topics)))
        if not box.is_online or box.silent_s(time.time()) > _PATIENCE_S:
            self._is_away(box.node, box.told, box.is_online)
        return box

    async def _reached(self, work: Coroutine[Any, Any, T]) -> T:
        try:
            return await work
        except Failure as error:
            raise RequestError(f"no connection to {reason_of(error, self._address)}.") from error

    @contextlib.asynccontextmanager
    async def _connected(self) -> AsyncIterator[aiomqtt.Client]:
        if self._node is not None:
            _check_name(self._node, "box")
        # Without a limit: a study of a thousand trials is told in a thousand messages at once.
        client = self._address.client(f"cnnbo-ask-{secrets.token_hex(8)}", queue_limit=0)
        async with connected(client):
            yield client

    async def _look_in(self, *topics: str) -> Box:
        async with self._connected() as client:
            return await self._look(client, *topics)

    async def _look(self, client: aiomqtt.Client, *topics: str) -> Box:
        """Read the retained topics of the box."""
        box = self._node or "+"
        wanted = [f"{self._base}/v1/{box}/{topic}" for topic in (*_TOPICS, *topics)]
        availability = f"{self._base}/v1/+/availability"  # of all boxes, to name those there are
        # Qos 0: of messages with more, a broker keeps only so many for whoever is slow.
        await client.subscribe([(topic, 0) for topic in (*wanted, availability)])
        await client.subscribe(availability)  # its answer comes after what the first one had sent
        return self._box(await self._settled(client))

    async def _settled(self, client: aiomqtt.Client) -> dict[str, bytes]:
        """What comes until no retained message does any more, by topic; news of the moment don't prolong it.

        Raises:
            RequestError: there is no end to it.
        """
        messages: dict[str, bytes] = {}
        deadline = time.monotonic() + _READ_S
        quiet = time.monotonic() + _QUIET_S
        while time.monotonic() < deadline:
            try:
                async with asyncio.timeout(max(0.0, quiet - time.monotonic())):
                    message = await anext(client.messages)
            except TimeoutError:
                return messages
            if message.retain:
                quiet = time.monotonic() + _QUIET_S
            if isinstance(message.payload, bytes):
                messages[message.topic.value] = message.payload
        raise RequestError(f"{self._address} was still sending after {_READ_S:.0f} s; try again, or ask on the box.")

    def _box(self, messages: Mapping[str, bytes]) -> Box:
        boxes: dict[str, Box] = {}
        for topic, payload in messages.items():
            node, _, rest = topic.removeprefix(f"{self._base}/v1/").partition("/")
            box = boxes.setdefault(node, Box(node))
            if rest == "availability":
                box.is_online = payload == b"online"
            elif (found := _object(_kind_of(rest), payload)) is not None:
                box.objects[rest] = found
        return self._chosen(boxes)

    def _chosen(self, boxes: Mapping[str, Box]) -> Box:
        """The box that is meant.

        Raises:
            RequestError: there is none, or one would have to guess.
        """
        names = ", ".join(sorted(boxes))
        if not boxes:
            raise RequestError(
                f"no box tells anything below {self._base}/v1 on {self._address}, or this user may not read it; "
                "cnnbo status on the box says where it publishes."
            )
        if self._node is None and len(boxes) > 1:
            raise RequestError(f"{self._address} carries several boxes: {names}; say which: --node NAME.")
        if self._node is not None and self._node not in boxes:
            raise RequestError(f"there is no box {self._node!r} on {self._address}; the boxes are: {names}.")
        return boxes[self._node or names]

    async def _ask(self, verb: str, args: Mapping[str, object]) -> Any:
        async with self._connected() as client:
            box = await self._look(client)
            if not box.is_online:
                raise RequestError(
                    f"{box.node} is offline: its daemon is not running, or doesn't reach {self._address}; "
                    "cnnbo status --broker shows what it told last."
                )
            if box.info.get("requests") is False:
                raise RequestError(
                    f"{box.node} takes no orders over MQTT; type the command on the box, or let it take them: a broker "
                    "with users, and mqtt.requests = true in its settings."
                )
            prefix = f"{self._base}/v1/{box.node}"
            transaction = secrets.token_hex(8)
            await client.subscribe(f"{prefix}/response/{verb}", qos=1)
            await client.publish(f"{prefix}/request/{verb}", json.dumps({"transaction": transaction, **args}), qos=1)
            wait_s = _SUBMIT_S if verb == "submit" else _ANSWER_S
            try:
                async with asyncio.timeout(wait_s):
                    return data_of(await _response(client, transaction))
            except TimeoutError:
                raise RequestError(
                    f"{box.node} did not answer within {wait_s:.0f} s: this user may not be allowed to give orders (a "
                    "viewer isn't), or its daemon is busy; see cnnbo status --broker before you try again, for what "
                    "was sent may still be carried out."
                ) from None


async def _response(client: aiomqtt.Client, transaction: str) -> dict[str, Any]:
    while True:
        message = await anext(client.messages)
        found = _object("response", message.payload) if isinstance(message.payload, bytes) else None
        if found is not None and found["transaction"] == transaction:
            return found


def _check_name(name: str, what: str) -> None:
    """Refuse what would be another topic than that of one study or box.

    Raises:
        RequestError: no study and no box can have this name.
    """
    if not re.fullmatch("[a-z0-9-]{1,40}", name):
        raise RequestError(f'a {what} can\'t be called {shown(name)}; its name has 1 to 40 of a-z, 0-9 and "-".')


def _kind_of(topic: str) -> str:
    """What a topic below the node is about: "trial" of `study/svhn/trial/17`."""
    *_, around, last = ["", *topic.split("/")]
    return around or last


@functools.cache
def _types() -> "Mapping[str, TypeAdapter[Any]]":
    from pydantic import TypeAdapter  # a fifth of a second that only readers of other boxes spend

    return {name: TypeAdapter(kind) for name, kind in _kinds().items()}


@functools.cache
def _kinds() -> Mapping[str, type]:
    from cnnbo.daemon.api import objects

    return {
        "envelope": objects.EnvelopeKeys,
        "info": objects.InfoObject,
        "device": objects.DeviceObject,
        "study": objects.StudyObject,
        "trial": objects.TrialObject,
        "response": objects.ResponseObject,
    }


@functools.cache
def _nullable(kind: str) -> tuple[str, ...]:
    """The keys of an object that may be null: what an older daemon doesn't tell counts as that."""
    return tuple(key for key, of in get_type_hints(_kinds()[kind]).items() if type(None) in get_args(of))


def _object(kind: str, payload: bytes) -> dict[str, Any] | None:
    """The object that a payload holds, as an older or newer daemon tells it, too; None if it is none of ours.

    A broker carries other people's messages too, and what they left on a topic.
    """
    try:
        found = json.loads(payload)
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict):
        return None
    found = dict.fromkeys(_nullable(kind)) | found
    return found if all(_is_one(part, found) for part in ("envelope", kind)) else None


def _is_word(value: object) -> bool:
    return isinstance(value, str) and re.fullmatch(r"[a-z_]{1,40}", value) is not None


def _is_one(kind: str, found: Mapping[str, Any]) -> bool:
    """Whether an object is of a kind; words that only a newer daemon knows are no fault."""
    from pydantic import ValidationError

    try:
        _types()[kind].validate_json(json.dumps(found), strict=True)
    except ValidationError as error:
        return all(fault["type"] in _NEW_WORD and _is_word(fault["input"]) for fault in error.errors())
    except ValueError:  # a number of thousands of digits
        return False
    return True
