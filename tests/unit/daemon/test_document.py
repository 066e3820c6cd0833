from pathlib import Path

import pytest

from cnnbo.daemon.document import MAX_BYTES, MAX_PROBLEMS, Faults, did_you_mean, parse_document, read_document, shown
from cnnbo.scheduler.errors import ConfigurationError


def problem_with(path: Path) -> str:
    with pytest.raises(ConfigurationError) as caught:
        read_document(path)
    (problem,) = caught.value.problems
    return problem


def written(folder: Path, content: bytes) -> Path:
    path = folder / "study.toml"
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"a = 1\nb = text\n", ":2  no valid TOML at column 5: Invalid value; text needs quotes"),
        (
            b"a = 1\na = 2\nb = 3\n",
            ":2  no valid TOML at column 6: Cannot overwrite a value; the key stands here a second",
        ),
        (b"a = 1\n\nb = [1,\n", ":3  no valid TOML: "),
        (b"a = 1\nb = '\xff'\n", ":2  is not UTF-8 text (byte 0xff); save the file as UTF-8."),
        (b"a = 1\nb = '\0'\n", ":2  holds a null character"),
        (b"a = 1\nb = '\\u0000'\n", ""),
        (b'a = 1\nb = "\\u0000"\n', ":2  b: holds a null character, which no program can be handed"),
        (b"a = 1\nb = [1, nan]\n", ":2  b no. 2: must be finite, not nan"),
        (b"a = 1e301\n", ":1  a: 1e+301 is beyond what can be calculated with"),
        (b"a = 9007199254740993\n", ":1  a: is a whole number beyond 2**53"),
        (b"a = " + b"9" * 5000, ":1  no valid TOML: a value can't be read"),
        (b"a = " + b"[" * 5000, " is nested too deeply"),
        (b"a." * 40 + b"a = 1", " is nested too deeply"),
        (b"#" * (MAX_BYTES + 1), f" is larger than {MAX_BYTES // 1024} KiB"),
    ],
)
def test_what_is_no_usable_toml_is_refused_with_its_line(tmp_path: Path, content: bytes, expected: str) -> None:
    """Each way a file can be broken ends in one sentence, not in a traceback further on."""
    path = written(tmp_path, content)
    if not expected:  # the counter-example: in single quotes nothing is an escape
        assert read_document(path).data == {"a": 1, "b": "\\u0000"}
        return
    assert problem_with(path).startswith(f"{path}{expected}")


def test_files_that_cannot_be_read_are_told_apart(tmp_path: Path) -> None:
    """ "No such file" and "that is a folder" have different remedies."""
    assert "does not exist" in problem_with(tmp_path / "missing.toml")
    assert "is a folder" in problem_with(tmp_path)
    assert "can't be read" in problem_with(written(tmp_path, b"") / "below")
    assert "is no path" in problem_with(Path("a\0b"))


def test_a_byte_order_mark_and_windows_line_ends_are_read(tmp_path: Path) -> None:
    """Editors on Windows write both."""
    document = read_document(written(tmp_path, b"\xef\xbb\xbfa = 1\r\nb = 2\r\n"))
    assert document.data == {"a": 1, "b": 2}
    assert document.line(("b",)) == 2


def test_a_missing_key_is_placed_at_its_table() -> None:
    """There is no line of its own to point at."""
    document = parse_document("a = 1\n[space]\nlr = { low = 0 }\n", "f")
    assert document.line(("space", "lr", "high")) == 3
    assert document.line(("space", "width")) == 2
    assert document.line(("nothing",)) == 1


def test_faults_come_in_the_order_of_the_file_and_once() -> None:
    """People work through a file from the top."""
    faults = Faults(parse_document("a = 1\nb = 2\n", "f"))
    faults.raise_any()
    for key in ("b", "a", "b"):
        faults.add((key,), f"{key} is wrong.")
    assert faults.problems() == ["f:1  a is wrong.", "f:2  b is wrong."]


def test_a_fault_covers_its_key_what_is_below_and_what_is_around() -> None:
    """So that one mistake is not told twice; but one about the whole file covers nothing else."""
    faults = Faults(parse_document("[a]\nb = 1\nc = 2\n", "f"))
    faults.add((), "something is missing.")
    assert not faults.has(("a",))
    faults.add(("a", "b"), "wrong.")
    assert faults.has(("a",)) and faults.has(("a", "b", "d")) and not faults.has(("a", "c"))


def test_values_are_shown_without_control_characters() -> None:
    """A file from elsewhere must not write escape sequences to the terminal."""
    assert "\x1b" not in shown("\x1b[31m")
    assert len(shown("x" * 500)) < 60


def test_the_remedy_is_the_nearest_word_or_all_of_them() -> None:
    """A bad guess is worse than the list."""
    assert did_you_mean("sed", ["seed", "start"]) == 'did you mean "seed"?'
    assert did_you_mean("zzz", ["seed", "start"]) == "known are seed, start."


def test_a_flood_of_mistakes_is_cut_short() -> None:
    """A hundred lines are read by nobody, a hundred thousand fill the terminal."""
    faults = Faults(parse_document("a = [" + "1,\n" * 500 + "]", "f"))
    for index in range(500):
        faults.add(("a", index), f"{index} is wrong.")
    found = faults.problems()
    assert len(found) == MAX_PROBLEMS + 1
    assert found[-1] == f"f:{MAX_PROBLEMS + 1}  from here on there are 400 more mistakes; correct those above first."
