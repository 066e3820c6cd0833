"""Every finding that isn't good says what to do."""

import pytest

from cnnbo.cli.doctor.finding import Finding, Level, from_error, ok, warn
from cnnbo.cli.doctor.screen import as_object, show, summary
from cnnbo.scheduler.errors import ConfigurationError, RequestError


@pytest.mark.parametrize(("level", "fix"), [(Level.OK, "do"), (Level.WARN, None), (Level.FAIL, None)])
def test_a_fix_stands_under_what_is_not_ok_and_nowhere_else(level: Level, fix: str | None) -> None:
    """A warning without a remedy only worries people."""
    with pytest.raises(ValueError, match="disk"):
        Finding("disk", level, "so it is", fix)


def test_errors_become_findings_with_their_remedy() -> None:
    """Sentences of the daemon's parts end with what to do."""
    error = ConfigurationError(["a is wrong (b; c); write d.", "There is nothing here."])
    first, second = from_error("x", error)
    assert (first.text, first.fix) == ("a is wrong (b; c)", "write d")
    assert second.text == "There is nothing here" and second.fix
    [alone] = from_error("x", RequestError("it is another's; ask them."), Level.WARN)
    assert (alone.level, alone.fix) == (Level.WARN, "ask them")


def test_lines_are_ascii_whatever_others_wrote(capsys: pytest.CaptureFixture[str]) -> None:
    """A colleague's command line is shown on whatever terminal the administrator has."""
    show(warn("devices", "gpu0 in use by zoë: train…\x1b[31m", "ask zoë"))
    printed = capsys.readouterr().out
    assert printed == "warn  gpu0 in use by zo\\xeb: train... [31m\n      fix: ask zo\\xeb\n"


def test_scripts_get_the_same_facts() -> None:
    """Ansible goes by check and level."""
    found = [ok("driver", "fine"), warn("disk", "nearly full", "free some"), warn("disk", "many files", "remove some")]
    told = as_object(found)
    assert {key: told[key] for key in ("checks", "ok", "warnings", "failures")} == {
        "checks": 3,
        "ok": 1,
        "warnings": 2,
        "failures": 0,
    }
    assert told["findings"] == [
        {"check": "driver", "level": "ok", "text": "fine", "fix": None},
        {"check": "disk", "level": "warn", "text": "nearly full", "fix": "free some"},
        {"check": "disk", "level": "warn", "text": "many files", "fix": "remove some"},
    ]
    assert summary(found) == "3 checks, 1 ok, 2 warnings, 0 failures"
