"""How findings are told: lines for people, one JSON object for scripts."""

import os
import sys
from collections import Counter
from collections.abc import Sequence

import typer

from cnnbo.cli.doctor.finding import Finding, Level

_COLOURS = {Level.OK: "green", Level.WARN: "yellow", Level.FAIL: "red"}


def show(finding: Finding) -> None:
    """Print a finding, in ASCII; in colour on a terminal."""
    level = f"{finding.level:<4}"
    if sys.stdout.isatty() and not os.environ.get("NO_COLOR"):
        level = typer.style(level, fg=_COLOURS[finding.level])
    print(f"{level}  {_ascii(finding.text)}", flush=True)  # the next one may take a minute
    if finding.fix is not None:
        print(f"      fix: {_ascii(finding.fix)}", flush=True)


def _ascii(text: str) -> str:
    """What a terminal in any locale can show; command lines and names of others may hold anything."""
    plain = "".join(character if character.isprintable() else " " for character in text.replace("…", "..."))
    return plain.encode("ascii", "backslashreplace").decode()


def summary(findings: Sequence[Finding]) -> str:
    """The last line.

    Example:
        >>> summary([Finding("driver", Level.OK, "fine"), Finding("disk", Level.WARN, "full", "free some")])
        '2 checks, 1 ok, 1 warning, 0 failures'
    """
    counts = Counter(finding.level for finding in findings)
    parts = [_counted(len(findings), "check"), f"{counts[Level.OK]} ok"]
    parts += [_counted(counts[Level.WARN], "warning"), _counted(counts[Level.FAIL], "failure")]
    return ", ".join(parts)


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def as_object(findings: Sequence[Finding]) -> dict[str, object]:
    """What `--json` prints."""
    counts = Counter(finding.level for finding in findings)
    return {
        "checks": len(findings),
        "ok": counts[Level.OK],
        "warnings": counts[Level.WARN],
        "failures": counts[Level.FAIL],
        "findings": [
            {"check": finding.check, "level": str(finding.level), "text": finding.text, "fix": finding.fix}
            for finding in findings
        ],
    }
