"""Events to plain JSON data and back, bit for bit.

One generic walk over dataclass fields and their type hints: a new event needs no code here. A member of a union of
dataclasses carries its class name under "type". Unknown keys are ignored and missing ones take their default, so that
keys may be added without a new format version. A value of another type than its field's is refused: what a damaged
line or another client says must not come up later, deep inside, where nobody can be told.
"""

import base64
import dataclasses
import math
import types
import typing
from collections.abc import Mapping
from enum import Enum
from functools import cache
from typing import Any, Literal, Union, cast, get_args, get_origin

from cnnbo.scheduler.errors import CnnboError
from cnnbo.scheduler.events import DeviceEvent, Event

FORMAT_VERSION = 3
"""Version of the journal's format, its tables and the journalled form of events alike.

It rises when an older cnnbo would refuse what a newer one writes, or read something else from it: a new kind of event
is a reason, and so is a new table. Keys that are only more to know are none.
"""


def encode_event(event: Event | DeviceEvent) -> dict[str, object]:
    """JSON data from which `decode_event`, or `decode_device_event`, makes an equal event."""
    return cast(dict[str, object], _to_plain(event, tagged=True))


def decode_event(data: Mapping[str, object]) -> Event:
    """The event that `encode_event` turned into `data`.

    Raises:
        ValueError: `data` is no event of this format version.
    """
    try:
        return cast(Event, _from_plain(Event, data))
    except (KeyError, TypeError, ValueError, CnnboError) as error:
        raise ValueError(f"no event of format {FORMAT_VERSION}: {error}") from error


def decode_device_event(data: Mapping[str, object]) -> DeviceEvent:
    """The event of a device that `encode_event` turned into `data`.

    Raises:
        ValueError: `data` is no such event of this format version.
    """
    try:
        return cast(DeviceEvent, _from_plain(DeviceEvent, data))
    except (KeyError, TypeError, ValueError, CnnboError) as error:
        raise ValueError(f"no event of a device of format {FORMAT_VERSION}: {error}") from error


def encode_value(value: object) -> Any:
    """JSON data for any frozen dataclass of this package, without a tag at the top."""
    return _to_plain(value, tagged=False)


def decode_value(kind: Any, data: object) -> Any:
    """The value of type `kind` that `encode_value` turned into `data`.

    Raises:
        KeyError, TypeError, ValueError, CnnboError: `data` is none.
    """
    return _from_plain(kind, data)


def _to_plain(value: object, tagged: bool = True) -> Any:
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii")
    if isinstance(value, tuple | list):
        return [_to_plain(item) for item in value]
    if isinstance(value, Mapping):
        return {key: _to_plain(item) for key, item in value.items()}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {f.name: _to_plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
        return {"type": type(value).__name__, **fields} if tagged else fields
    return value


@cache
def _hints(kind: type) -> dict[str, Any]:
    return typing.get_type_hints(kind)


def _from_plain(kind: Any, data: Any) -> Any:
    origin = get_origin(kind)
    if origin in (Union, types.UnionType):
        return _from_union(get_args(kind), data)
    if origin is Literal:
        return _one_of(get_args(kind), data)
    if origin is tuple:
        return tuple(_from_plain(get_args(kind)[0], item) for item in _of_type(list, data))
    if origin is not None and isinstance(origin, type) and issubclass(origin, Mapping):
        return {key: _from_plain(get_args(kind)[1], item) for key, item in _of_type(dict, data).items()}
    if kind is bytes:
        return base64.b64decode(_of_type(str, data), validate=True)
    if isinstance(kind, type) and issubclass(kind, Enum):
        return kind(data)
    if dataclasses.is_dataclass(kind):
        hints = _hints(cast(type, kind))
        fields = _of_type(dict, data)
        names = [f.name for f in dataclasses.fields(kind) if f.name in fields]
        return cast(type, kind)(**{name: _from_plain(hints[name], fields[name]) for name in names})
    return data if kind is object else _plain(kind, data)


def _from_union(members: tuple[Any, ...], data: Any) -> Any:
    if data is None and types.NoneType in members:
        return None
    tagged = {cast(type, member).__name__: member for member in members if dataclasses.is_dataclass(member)}
    if tagged:
        return _from_plain(tagged[_of_type(dict, data)["type"]], data)
    concrete = [member for member in members if member is not types.NoneType]
    if len(concrete) == 1:
        return _from_plain(concrete[0], data)
    # Several plain members (the values of a configuration): JSON already tells them apart.
    return _plain(type(data) if type(data) in concrete else concrete[0], data)


def _plain(kind: type, data: Any) -> Any:
    """A text, truth value or number; every number is finite."""
    if kind is float and type(data) is int:
        if data.bit_length() > 1023:
            raise ValueError("a whole number beyond any float")
        return float(data)  # JSON has one kind of number: 1.0 may come back as 1
    if isinstance(_of_type(kind, data), float) and not math.isfinite(data):
        raise ValueError(f"{data} is no finite number")
    return data


def _of_type(kind: type, data: Any) -> Any:
    if type(data) is not kind:
        raise TypeError(f"{type(data).__name__} where {kind.__name__} is wanted")
    return data


def _one_of(choices: tuple[Any, ...], data: Any) -> Any:
    if data not in choices:
        raise ValueError(f"{data!r} is none of {', '.join(choices)}")
    return data
