"""What daemon and proposer process say to each other: JSON objects, one a line.

Floats survive bit for bit: JSON writes the shortest text that reads back as the same double.

- `{"id": 3, "verb": "suggest", "optimizer": …, "space": […], "seed": …, "history": {…}, "ask": …, "count": …}` is
  answered `{"id": 3, "points": […], "source": …, "insight": {…}, "hint": …, "environment": {…}, "rss_mib": …}`
- `{"id": 4, "verb": "warm", "optimizer": …, "space": […], "seed": …}` is answered `{"id": 4, "rss_mib": …}`
- what went wrong is answered `{"id": …, "error": "exhausted" | "fit" | "failed", "message": …}`
"""

import base64
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from cnnbo.scheduler.optimizers.base import History, Points, Source, Suggestion
from cnnbo.scheduler.space import CategoricalParameter, FloatParameter, IntParameter, Parameter, SearchSpace

Message = dict[str, Any]
"""A JSON object on the wire."""

_PARAMETERS: dict[str, Callable[..., Parameter]] = {
    "float": FloatParameter,
    "int": IntParameter,
    "categorical": CategoricalParameter,
}


def space_to_data(space: SearchSpace) -> list[Message]:
    """A search space as JSON data."""
    kinds: dict[object, str] = {cls: kind for kind, cls in _PARAMETERS.items()}
    return [{"type": kinds[type(parameter)], **asdict(parameter)} for parameter in space.parameters]


def space_from_data(data: Sequence[Mapping[str, Any]]) -> SearchSpace:
    """The search space that `space_to_data` was given."""
    return SearchSpace(tuple(_parameter(entry) for entry in data))


def _parameter(entry: Mapping[str, Any]) -> Parameter:
    # JSON knows no tuples, and a parameter must stay hashable.
    fields = {key: tuple(value) if isinstance(value, list) else value for key, value in entry.items() if key != "type"}
    return _PARAMETERS[entry["type"]](**fields)


def history_to_data(history: History) -> Message:
    """A history as JSON data."""
    return {
        "dimension": history.observed.shape[1],
        "observed": history.observed.tolist(),
        "objectives": history.objectives.tolist(),
        "failed": history.failed.tolist(),
        "pending": history.pending.tolist(),
        "excluded": history.excluded.tolist(),
        "evaluations": history.evaluations,
        "initial": history.initial,
        "hint": bytes_to_text(history.hint),
        "censored": history.censored.tolist(),
        "bounds": history.bounds.tolist(),
        "trials": list(history.trials),
        "sources": [source.value for source in history.sources],
    }


def history_from_data(data: Mapping[str, Any]) -> History:
    """The history that `history_to_data` was given."""
    dimension = int(data["dimension"])
    return History(
        observed=_matrix(data["observed"], dimension),
        objectives=_matrix(data["objectives"], 1),
        failed=_matrix(data["failed"], dimension),
        pending=_matrix(data["pending"], dimension),
        excluded=_matrix(data["excluded"], dimension),
        evaluations=data["evaluations"],
        initial=data["initial"],
        hint=bytes_from_text(data["hint"]),
        censored=_matrix(data["censored"], dimension),
        bounds=_matrix(data["bounds"], 1),
        trials=tuple(data["trials"]),
        sources=tuple(Source(source) for source in data["sources"]),
    )


def _matrix(rows: list[list[float]], columns: int) -> Points:
    return np.array(rows, dtype=np.float64).reshape(-1, columns)  # an empty list has no columns of its own


def suggestion_to_data(suggestion: Suggestion) -> Message:
    """A suggestion as JSON data."""
    return {
        "points": suggestion.points.tolist(),
        "source": suggestion.source.value,
        "insight": dict(suggestion.insight),
        "hint": bytes_to_text(suggestion.hint),
    }


def bytes_to_text(data: bytes | None) -> str | None:
    """Any bytes as JSON text."""
    return None if data is None else base64.b64encode(data).decode("ascii")


def bytes_from_text(text: str | None) -> bytes | None:
    """The bytes that `bytes_to_text` was given."""
    return None if text is None else base64.b64decode(text)
