"""What makes crashes equal: their messages, but for numbers and quoted values."""

import re
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnnbo.scheduler.crashes import crash_kind

WORDS = st.text("ghklmopqrstuvwyz", min_size=1, max_size=8)  # none of them is hexadecimal, nan, inf or tmp…
NUMBERS = (
    st.integers().map(str)
    | st.floats().map(repr)
    | st.integers(0).map(hex)
    | st.integers(0).map("{:,}".format)
    | st.floats(allow_nan=False, allow_infinity=False).map("{:.3E}".format)
    | st.uuids().map(str)
)
QUOTES = st.sampled_from(["''", '""', "``", "`'", "\u2018\u2019", "“”", "„“", "«»", "「」"])
VALUES = st.text(string.ascii_letters + string.digits + " _-/.,:;#éß", max_size=20)


def written(words: list[str], values: list[str]) -> str:
    """Words with a value behind each."""
    return " ".join(f"{word} {value}" for word, value in zip(words, values, strict=True))


@st.composite
def two_of_one_kind(draw: st.DrawFn) -> tuple[str, str]:
    """Two messages of the same words with other numbers and quoted values."""
    words = draw(st.lists(WORDS, min_size=1, max_size=5))
    is_number = [draw(st.booleans()) for _ in words]

    def value(number: bool) -> str:
        if number:
            return draw(NUMBERS)
        quotes = draw(QUOTES)
        return f"{quotes[0]}{draw(VALUES)}{quotes[1]}"

    first, second = ([value(number) for number in is_number] for _ in range(2))
    return written(words, first), written(words, second)


@pytest.mark.hypothesis
@given(two_of_one_kind())
def test_other_numbers_and_quoted_values_are_the_same_kind(messages: tuple[str, str]) -> None:
    """The crashes of one broken script differ in addresses, lines, paths and keys."""
    first, second = messages
    assert crash_kind(first) == crash_kind(second)


@pytest.mark.hypothesis
@given(st.lists(WORDS, max_size=6), st.lists(WORDS, max_size=6), st.lists(NUMBERS, min_size=6, max_size=6))
def test_other_words_are_another_kind(first: list[str], second: list[str], numbers: list[str]) -> None:
    """Two errors must never be taken for one, or the optimizer would not learn from either."""
    one, other = (written(words, numbers[: len(words)]) for words in (first, second))
    assert (crash_kind(one) == crash_kind(other)) == (first == second)


@pytest.mark.hypothesis
@given(st.text() | st.text("'\"`\u2018\u2019 a1.-\\e#"))
def test_any_text_has_a_kind_on_one_line(message: str) -> None:
    """A message is whatever a script printed last."""
    kind = crash_kind(message)
    assert "\n" not in kind and kind == kind.strip()
    assert not re.search(r"\d", kind)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("KeyError: 'width_17'", "KeyError: 'width_23'"),
        ('KeyError: "can\'t"', "KeyError: 'b'"),
        ("KeyError: 'it\\'s \"x\"'", "KeyError: ''"),
        ("TypeError: b'abc' is no key", "TypeError: 'xyz' is no key"),
        ("can't open 'a'", "can't open 'b c'"),
        ("can\u2019t open \u2018a\u2019", "can\u2019t open \u2018b\u2019"),
        ("the users' file 'a' is gone", "the users' file 'b' is gone"),
        ("unknown option `--foo'", "unknown option `--bar'"),
        ("<Net object at 0x7f12ab34> failed", "<Net object at 0x7faaaaaa> failed"),
        ("device GPU-3f2504e0-4f89-11d3-9a0c-0305e82c3301", "device GPU-abcdefab-cdef-abcd-efab-cdefabcdefab"),
        ("/data/trial_17/attempt-2 is no folder", "/data/trial_3/attempt-11 is no folder"),
        ("/tmp/tmpk3j2_a9b/x is gone", "/tmp/tmpabcdefgh/x is gone"),
        ("got nan", "got -3.2e-05"),
        ("got .5", "got 12"),
        ("took 1.5s", "took 1e-05s"),
        ("took 3m", "took 12.25m"),
        ("shape (3,)", "shape (3, 4, 5)"),
        ("[1. 2.5]", "[0.1 0.2 1e-3]"),
        ("line 3", "line 12."),
        ("at 12:30:01", "at 2:03:59"),
        ("checkout 95a240f is broken", "checkout 1234567 is broken"),
        (" 37%|███▋      | 3/8 [00:01<00:02, 1.5it/s]", "100%|██████████| 8/8 [00:09<00:00,  2it/s]"),
        ("no number in: 'a long line that was cut", "no number in: 'another one"),
        ("a  b\n c", "a b c"),
    ],
)
def test_equal_crashes(one: str, other: str) -> None:
    """Messages as scripts print them; of each pair both come from one mistake."""
    assert crash_kind(one) == crash_kind(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("KeyError: 'a'", "ValueError: 'a'"),
        ("can't open it", "can't close it"),
        ("don't read 'a'", "don't write 'a'"),
        ("no conv2d layer", "no float32 layer"),
        ("nan", "nanny"),
        ("template is gone", "temple is gone"),
        ("", "crashed"),
        ("killed by signal 11 (SIGSEGV)", "killed by signal 6 (SIGABRT)"),
        ("5' of rope", "5' of wire"),
    ],
)
def test_unequal_crashes(one: str, other: str) -> None:
    """An apostrophe quotes nothing, and letters beside a number stay."""
    assert crash_kind(one) != crash_kind(other)
