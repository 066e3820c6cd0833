"""Documents that are almost right: valid ones, of which parts were replaced, renamed, removed, doubled or retyped."""

import copy
from typing import Any

from hypothesis import strategies as st

# What readers trip over: every JSON type, numbers at the edges of doubles and beyond, half a surrogate pair, a null
# character, names that lead elsewhere.
ODD_VALUES: list[Any] = [
    None, True, False, 0, -1, 1, 0.5, -0.0, 2**53, 2**63, 10**400, 1e300, 1e-320, float("nan"), float("inf"),
    float("-inf"), "", "0", "1", "nan", "\ud800", "\x00", "../..", "x" * 300, [], [[]], {}, {"": None}, [None],
    ["a", 1],
]  # fmt: skip

_odd_names = st.sampled_from([text for text in ODD_VALUES if isinstance(text, str)])
_names = st.text(max_size=3) | _odd_names

odd_values = st.sampled_from(ODD_VALUES).map(copy.deepcopy) | st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_names, inner, max_size=3),
    max_leaves=5,
)
"""Any JSON data, the odd ones often."""


def _holders(data: Any) -> list[tuple[Any, Any]]:
    """Every place in JSON data: the list or object that holds it, and its key there."""
    if not isinstance(data, dict | list):
        return []
    places = [(data, key) for key in (list(data) if isinstance(data, dict) else range(len(data)))]
    return places + [place for holder, key in places for place in _holders(holder[key])]


def _retyped(value: Any) -> Any:
    """The same, as another type would say it."""
    match value:
        case bool() | None:
            return str(value)
        case int() | float():
            return str(value)
        case str():
            return [value]
        case list():
            return {str(index): item for index, item in enumerate(value)}
        case _:
            return list(value)


@st.composite
def mutated(draw: st.DrawFn, document: Any) -> Any:
    """JSON data like `document` with one to three changes.

    Args:
        draw: Hypothesis's.
        document: valid JSON data; not touched.
    """
    root = {"document": copy.deepcopy(document)}
    for _ in range(draw(st.integers(1, 3))):
        holder, key = draw(st.sampled_from(_holders(root)))
        match draw(st.sampled_from(["replace", "replace", "retype", "rename", "remove", "double"])):
            case "replace":
                holder[key] = draw(odd_values)
            case "retype":
                holder[key] = _retyped(holder[key])
            case "rename" if isinstance(holder, dict) and holder is not root:
                holder[draw(_odd_names)] = holder.pop(key)
            case "remove" if holder is not root:
                del holder[key]
            case "double" if isinstance(holder, list):
                holder.insert(key, copy.deepcopy(holder[key]))
    return root["document"]


@st.composite
def torn(draw: st.DrawFn, content: bytes) -> bytes:
    """Bytes like `content` in which one to four stretches were cut out or overwritten."""
    changed = bytearray(content)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(changed)))
        end = at + draw(st.integers(0, 12))
        changed[at:end] = draw(
            st.binary(max_size=6) | st.sampled_from([b"\0", b'"', b"{", b"]", b"\n", b"1e999", b"-"])
        )
    return bytes(changed)


DEEP = b"[" * 100_000
"""Nested more deeply than any reader recurses."""
