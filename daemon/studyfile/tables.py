"""What may stand in a study file, and a sentence for everything else that does.

Every key may be missing here: what must be there depends on other keys and is asked for in `build`.
"""

import copy
import re
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainValidator, ValidationError
from pydantic_core import ErrorDetails

from cnnbo.daemon.document import Document, Faults, did_you_mean, dotted, shown
from cnnbo.daemon.locate import KeyPath
from cnnbo.daemon.studyfile.words import foreign_key, foreign_value
from cnnbo.scheduler.sharing import Hours
from cnnbo.scheduler.space import Scalar

_SECONDS: Final = {"s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_BYTES: Final = {"MB": 1e6, "GB": 1e9, "TB": 1e12, "MiB": 2.0**20, "GiB": 2.0**30, "TiB": 2.0**40}


def parse_duration(text: object) -> float:
    """Seconds of a duration like "90s", "30m", "2h", "1d" or "1h30m"; above 0.

    Example:
        >>> parse_duration("1h30m")
        5400.0

    Raises:
        ValueError: it is no duration; the text says what one looks like.
    """
    part = r"(\d+(?:\.\d+)?) ?(s|min|m|h|d)"
    if not isinstance(text, str) or not re.fullmatch(rf"(?:{part} ?)+", text, re.ASCII):
        raise ValueError(f'must be a time with its unit, like "90s", "30m", "2h" or "1d", not {shown(text)}')
    seconds = sum(float(number) * _SECONDS[unit] for number, unit in re.findall(part, text))
    if not 0 < seconds < 1e10:
        raise ValueError(f"must be a time above zero and below 300 years, not {shown(text)}")
    return seconds


def parse_memory(text: object) -> float:
    """MiB of an amount like "16GB" or "512MB" (powers of 1000, as on a data sheet) or "16GiB" (powers of 1024).

    Example:
        >>> parse_memory("16GiB"), round(parse_memory("16GB"))
        (16384.0, 15259)

    Raises:
        ValueError: it is no amount of memory; the text says what one looks like.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?) ?([MGT]i?B)", text, re.ASCII) if isinstance(text, str) else None
    if match is None:
        raise ValueError(f'must be an amount with its unit, like "512MB", "16GB" or "16GiB", not {shown(text)}')
    mebibytes = float(match[1]) * _BYTES[match[2]] / 2**20
    if not 1 <= mebibytes < 1e10:
        raise ValueError(f"must be an amount from 1MiB on that a machine can have, not {shown(text)}")
    return mebibytes


def _scalar(value: object) -> Scalar:
    if not isinstance(value, bool | int | float | str):
        raise ValueError(f"must be a number, a text in quotes, true or false, not {shown(value)}")
    return value


def _number(value: object) -> int | float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"must be a number, not {shown(value)}")
    return value


def _name(value: object) -> object:
    if isinstance(value, str) and not re.fullmatch(r"[a-z0-9-]{1,40}", value):
        slug = re.sub(r"[^a-z0-9]+", "-", value.lower()).strip("-")[:40] or "svhn"
        raise ValueError(f'must be 1 to 40 of a-z, 0-9 and "-", not {shown(value)}; try "{slug}"')
    return value


def _command(value: object) -> object:
    if isinstance(value, str):
        words = ", ".join(shown(word) for word in value.split()) or '"python", "train.py"'
        raise ValueError(f"must be a list of words, not one text; write [{words}]")
    return value


def _metric(value: object) -> object:
    if isinstance(value, dict):
        raise ValueError('must be a name, like metric = "val_accuracy"; the goal is the key "direction"')
    return value


_Duration = Annotated[float, PlainValidator(parse_duration)]
_Memory = Annotated[float, PlainValidator(parse_memory)]
_Scalar = Annotated[Scalar, PlainValidator(_scalar)]
_Number = Annotated[int | float, PlainValidator(_number)]
_Text = Annotated[str, Field(min_length=1, max_length=1000)]
_Amount = Annotated[float, Field(gt=0)]


class _Table(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class ParameterTable(_Table):
    """One parameter of `[space]`."""

    type: Literal["float", "int", "categorical"] | None = None
    low: _Number | None = None
    high: _Number | None = None
    scale: Literal["linear", "log", "reverse-log"] | None = None
    choices: list[_Scalar] | None = None


class DataTable(_Table):
    """`[data]`."""

    dir: _Text | None = None


class TrialTable(_Table):
    """`[trial]`."""

    epochs: int | None = Field(default=None, ge=1, le=1_000_000)
    batch_size: int | None = Field(default=None, ge=1, le=10_000_000)
    timeout: _Duration | None = None
    memory: _Memory | None = None
    stop_at_chance: bool = True
    python: _Text | None = None
    images: int | None = Field(default=None, ge=1, le=1_000_000_000)


class ReportTable(_Table):
    """`[report]`."""

    pattern: _Text | None = None
    use: Literal["last", "best", "mean"] = "last"
    chance: float | None = None


class BudgetTable(_Table):
    """`[budget]`."""

    wall_clock: _Duration | None = None
    cost: _Amount | None = None
    energy_kwh: _Amount | None = None
    price_per_device_hour: float = Field(default=0.0, ge=0)


class DevicesTable(_Table):
    """`[devices]`."""

    max: int | None = Field(default=None, ge=1, le=10_000)
    hours: Annotated[Hours, PlainValidator(Hours.parse)] | None = None
    yields: Literal["finish", "stop"] = Field(default="finish", alias="yield")  # a word of Python's own


class CompareTable(_Table):
    """`[compare]`."""

    methods: list[_Text] = Field(default=["bo", "random"], min_length=1, max_length=20)
    runs: int = Field(default=5, ge=1, le=1000)
    confirm: int = Field(default=3, ge=0, le=1000)
    twice: bool = True
    figure2: bool = False


class StudyTable(_Table):
    """The whole file."""

    name: Annotated[_Text, BeforeValidator(_name)] | None = None
    model: _Text | None = None
    command: Annotated[list[str], BeforeValidator(_command)] | None = None
    evaluations: int = Field(default=80, ge=1, le=1_000_000)
    optimizer: _Text = "trieste"
    initial: int | None = Field(default=None, ge=0)
    seed: int = Field(default=0, ge=0, le=2**32 - 1)
    metric: Annotated[str, Field(min_length=1, max_length=100), BeforeValidator(_metric)] | None = None
    direction: Literal["maximize", "minimize"] | None = None
    space: dict[str, ParameterTable] | None = None
    start: list[dict[str, _Scalar]] | None = None
    data: DataTable = DataTable()
    trial: TrialTable = TrialTable()
    report: ReportTable = ReportTable()
    budget: BudgetTable = BudgetTable()
    devices: DevicesTable = DevicesTable()
    compare: CompareTable | None = None


_TABLES: Final[Mapping[str, type[_Table]]] = {
    "data": DataTable,
    "trial": TrialTable,
    "report": ReportTable,
    "budget": BudgetTable,
    "devices": DevicesTable,
    "compare": CompareTable,
}

_WANTED: Final = {  # pydantic's error types
    "int_type": "a whole number",
    "float_type": "a number",
    "string_type": "text in quotes",
    "bool_type": "true or false",
    "list_type": "a list in [ ]",
}


def read_tables(document: Document, faults: Faults) -> StudyTable:
    """Read what can be read of a study file; every key that can't is noted in `faults` and left out.

    So the rest is checked too, and all mistakes can be told at once.
    """
    data: dict[str, Any] = copy.deepcopy(dict(document.data))
    while True:
        try:
            return StudyTable.model_validate(data)
        except ValidationError as error:
            # Each round removes at least one key, and an empty table is valid: this ends.
            for details in error.errors(include_url=False):
                path: KeyPath = details["loc"]
                faults.add(path, _sentence(path, details))
                _remove(data, path)


def _remove(data: dict[str, Any], path: KeyPath) -> None:
    """Take out the innermost key that leads to `path`; taking out an entry of a list would move its fellows."""
    while isinstance(path[-1], int):
        path = path[:-1]
    table: Any = data
    for part in path[:-1]:
        try:
            table = table[part]
        except KeyError:  # gone already, with an earlier mistake
            return
    table.pop(path[-1], None)


def _sentence(path: KeyPath, details: ErrorDetails) -> str:
    kind, value, limits = details["type"], details["input"], details.get("ctx", {})
    where = dotted(path)
    match kind:
        case "extra_forbidden":
            return _unknown_key(path)
        case "list_type" if path == ("start",):
            return "start: each configuration is a table of its own; write [[start]] with two brackets."
        case "value_error":
            return f"{where}: {limits['error']}."
        case "literal_error":
            return _unknown_choice(path, value, limits["expected"])
        case "model_type" | "model_attributes_type" | "dict_type":
            return _no_table(path, value)
        case "greater_than_equal" | "greater_than" | "less_than_equal":
            side = {"greater_than_equal": "at least", "greater_than": "above", "less_than_equal": "at most"}[kind]
            (limit,) = limits.values()
            return f"{where}: must be {side} {limit}, not {shown(value)}."
        case "string_too_short":
            return f"{where}: must not be empty; leave the line out or write a text."
        case "string_too_long":
            return f"{where}: must be at most {limits['max_length']} characters."
        case _ if kind in _WANTED:
            return f"{where}: must be {_WANTED[kind]}, not {shown(value)}."
        case _:
            return f"{where}: {details['msg']}."


def _known_keys(table: KeyPath) -> list[str]:
    match table:
        case ():
            return _keys(StudyTable)
        case ("space", _):
            return _keys(ParameterTable)
        case (name,):
            return _keys(_TABLES[str(name)])
        case _:
            return []


def _keys(table: type[_Table]) -> list[str]:
    return [field.alias or name for name, field in table.model_fields.items()]


def _unknown_key(path: KeyPath) -> str:
    table, key = path[:-1], str(path[-1])
    in_parameter = table[:1] == ("space",)
    known = _known_keys(table)
    place = f"of {dotted(table)}" if table else "of a study file"
    if sentence := foreign_key(key, in_parameter=in_parameter):
        return sentence if not table else f"{dotted(table)}: {sentence}"
    if table and not in_parameter and key in StudyTable.model_fields:
        return f'"{key}" stands in [{dotted(table)}]; move it above the first [table] of the file.'
    homes = [name for name, model in _TABLES.items() if key in _keys(model) and not in_parameter]
    if homes:
        return f"{shown(key)} is no key {place}; it belongs into the table [{homes[0]}]."
    return f"{shown(key)} is no key {place}; {did_you_mean(key, known)}"


def _unknown_choice(path: KeyPath, value: object, expected: str) -> str:
    choices = re.findall(r"'([^']*)'", expected)
    if meant := foreign_value(str(path[-1]), value):
        return f'{dotted(path)}: {shown(value)} is "{meant}" here.'
    remedy = did_you_mean(value, choices) if isinstance(value, str) else f"known are {', '.join(choices)}."
    return f"{dotted(path)}: {shown(value)} is not known; {remedy}"


def _no_table(path: KeyPath, value: object) -> str:
    if path[0] == "space" and len(path) == 2:
        if path[1] in StudyTable.model_fields:
            return f'"{path[1]}" stands in [space]; move it above the first [table] of the file.'
        example = '{ type = "float", low = 0.1, high = 1.0 }'
        return f"{dotted(path)}: must be a table like {example}, not {shown(value)}."
    return f"{dotted(path)}: must be a table, not {shown(value)}."
