import tomllib

from hypothesis import given, settings
from hypothesis import strategies as st

from cnnbo.daemon.locate import KeyPath, locate_keys

TEXT = '''\
# a comment with = and [brackets]
name = "a # no comment"
a.b . "c d" = 1
[space] # all in one line
lr = { type = "float", low = 1e-5, "hi gh" = [1, { deep = 2 }] }

[space."w[0]"]
text = """
[not] = a key
\\""" still text""""
raw = \'\'\'
x = 1\'\'\'
[[start]]
lr = 1979-05-27 07:32:00
[[start]]
  list = [
    "x", # comment ]
    [1,
     2],
  ]
[start.below]
k = 'C:\\'
'''


def every_path(value: object, path: KeyPath = ()) -> list[KeyPath]:
    children: list[tuple[str | int, object]] = []
    if isinstance(value, dict):
        children = list(value.items())
    elif isinstance(value, list):
        children = list(enumerate(value))
    return [(*path, key) for key, _ in children] + [
        p for key, child in children for p in every_path(child, (*path, key))
    ]


def test_keys_of_every_form_are_found_on_their_line() -> None:
    """A wrong line sends people to the wrong place."""
    lines = locate_keys(TEXT)
    assert lines["name",] == 2
    assert lines["a", "b", "c d"] == 3
    assert lines["space", "lr", "hi gh", 1, "deep"] == 5
    assert (lines["space", "w[0]"], lines["space", "w[0]", "text"], lines["space", "w[0]", "raw"]) == (7, 8, 11)
    assert (lines["start", 0, "lr"], lines["start", 1, "list"], lines["start", 1, "list", 1, 1]) == (14, 16, 19)
    assert lines["start", 1, "below", "k"] == 22


def test_every_key_that_tomllib_reads_has_a_line() -> None:
    """The scanner must not lose its way in a text full of traps."""
    assert set(every_path(tomllib.loads(TEXT))) <= set(locate_keys(TEXT))


KEYS = st.text("ab-_ .[]#=\"'\\é\n", max_size=4)
VALUES = st.recursive(
    st.integers(-99, 99) | st.booleans() | st.text("ab,]}#='\"\\\n", max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=8,
)


def quoted(text: str) -> str:
    escapes = {"\\": "\\\\", '"': '\\"', "\n": "\\n"}
    return '"' + "".join(escapes.get(character, character) for character in text) + '"'


def as_toml(value: object) -> str:
    match value:
        case bool():
            return str(value).lower()
        case str():
            return quoted(value) if "'" in value or "\n" in value else f"'{value}'"
        case list():
            return "[ # ]\n" + ",\n".join(as_toml(item) for item in value) + "]"
        case dict():
            return "{ " + ", ".join(f"{quoted(key)} = {as_toml(item)}" for key, item in value.items()) + " }"
        case _:
            return str(value)


@settings(deadline=None, max_examples=60)
@given(st.dictionaries(KEYS, VALUES, max_size=5))
def test_the_scanner_agrees_with_tomllib(data: dict[str, object]) -> None:
    """Whatever is in the file, each key is found where its line begins and none is invented."""
    text = "".join(f"{quoted(key)} = {as_toml(value)}\n" for key, value in data.items())
    lines = locate_keys(text)
    assert set(lines) == set(every_path(tomllib.loads(text)))
    rows = text.split("\n")
    for key in data:
        assert rows[lines[key,] - 1].startswith(quoted(key))
