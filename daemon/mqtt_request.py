"""What a message on `request/<verb>` asks: its JSON, its transaction, its arguments; and a sentence for all else."""

import json
import math
from collections.abc import Mapping
from typing import Any, Final, NoReturn

from pydantic import ConfigDict, TypeAdapter, ValidationError

from cnnbo.daemon.api.requests import MQTT_REQUESTS, Request, Transaction, read_request
from cnnbo.daemon.document import did_you_mean, shown
from cnnbo.scheduler.errors import RequestError

MAX_REQUEST_BYTES: Final = 256 * 1024
"""Longest request; the largest study file is no longer."""

MAX_DEPTH: Final = 20
"""Most levels of lists and objects in each other; a study has four."""

_TRANSACTION: Final[TypeAdapter[str | int | None]] = TypeAdapter(Transaction, config=ConfigDict(strict=True))

_ON_THE_BOX: Final[Mapping[str, str]] = {
    "data": "cnnbo data",
    "delete": "cnnbo delete NAME",
    "devices": "cnnbo devices, or read the topics device/+",
    "follow": "cnnbo watch, or read the topics study/NAME/#",
    "logs": "cnnbo logs NAME [TRIAL]",
    "retry": "cnnbo retry NAME",
    "run": "cnnbo run STUDY",
    "trials": "cnnbo trials NAME, or read the topics study/NAME/trial/+",
    "watch": "cnnbo watch",
}
"""What people look for over MQTT that stays on the box, with what to type there."""


def read_fields(payload: bytes) -> dict[str, Any]:
    """The JSON object of a message; an empty message asks without arguments.

    Raises:
        RequestError: it is none, too long, nested too deeply, or holds half a surrogate pair anywhere.
    """
    if len(payload) > MAX_REQUEST_BYTES:
        raise RequestError(f"a request is at most {MAX_REQUEST_BYTES // 1024} KiB; this one has {len(payload)} bytes.")
    try:
        fields = json.loads(payload.decode() or "{}", parse_constant=_refuse_number, parse_float=_finite)
    except UnicodeDecodeError as error:
        raise RequestError(f"a request is UTF-8 text; byte {error.start} of this one is not.") from None
    except ValueError as error:
        raise RequestError(
            f'a request is a JSON object, like {{"transaction": 1}}; this is no JSON: {error}.'
        ) from None
    except RecursionError:
        raise _too_deep() from None
    if not isinstance(fields, dict):
        raise RequestError(f'a request is a JSON object, like {{"transaction": 1}}, not {_kind(fields)}.')
    if _is_too_deep(fields):
        raise _too_deep()
    try:
        json.dumps(fields, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:  # JSON can spell it, UTF-8 can't: no answer could quote it
        raise RequestError(
            f"a request is UTF-8 text; {shown(error.object[error.start])} of this one is half a surrogate pair."
        ) from None
    return fields


def _too_deep() -> RequestError:
    return RequestError(f"the request is nested too deeply; {MAX_DEPTH} levels are enough for any study.")


def _refuse_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number")


def _finite(text: str) -> float:
    if not math.isfinite(number := float(text)):
        raise ValueError(f"{text[:40]} is beyond any number")
    return number


def _kind(value: object) -> str:
    return "an array" if isinstance(value, list) else shown(value)


def _is_too_deep(fields: dict[str, Any]) -> bool:
    level: list[object] = [fields]
    for _ in range(MAX_DEPTH):
        inner = [list(item.values()) if isinstance(item, dict) else item for item in level]
        level = [child for items in inner if isinstance(items, list) for child in items]
    return bool(level)


def take_transaction(fields: dict[str, Any]) -> str | int | None:
    """Take the transaction out of a message; None where it names none.

    Raises:
        RequestError: it is nothing that can be echoed.
    """
    given = fields.pop("transaction", None)
    try:
        return _TRANSACTION.validate_python(given)
    except ValidationError:
        raise RequestError(
            f"transaction must be a text of at most 200 characters, a whole number up to 2**53 or null, "
            f"not {shown(given)}."
        ) from None


def read_verb(verb: str, fields: Mapping[str, Any]) -> Request:
    """The request that a verb and its arguments make.

    Raises:
        RequestError: the verb isn't known, or not over MQTT, or the arguments are wrong.
    """
    if verb in _ON_THE_BOX:
        raise RequestError(f"{verb} is not answered over MQTT; on the box type {_ON_THE_BOX[verb]}.")
    if verb not in MQTT_REQUESTS:
        raise RequestError(f"there is no request {shown(verb)}; {did_you_mean(verb, MQTT_REQUESTS)}")
    return read_request(MQTT_REQUESTS[verb], verb, fields)
