"""Whatever a check does, the others are told, and nobody waits for ever."""

import threading
from collections.abc import Iterator

from cnnbo.cli.doctor.finding import Finding, Level, ok
from cnnbo.cli.doctor.runner import Check, findings
from cnnbo.cli.doctor.scope import Scope


def good(scope: Scope) -> Iterator[Finding]:
    yield ok("good", "fine")


def test_findings_come_in_the_order_of_the_checks(scope: Scope) -> None:
    """Side by side they end in any order; a screen that jumps can't be compared with yesterday's."""
    is_last_done = threading.Event()

    def first(scope: Scope) -> Iterator[Finding]:
        assert is_last_done.wait(60)
        yield ok("first", "fine")

    def last(scope: Scope) -> Iterator[Finding]:
        yield ok("last", "fine")
        is_last_done.set()

    told = findings([Check("first", first, 60, "-"), Check("last", last, 60, "-")], scope)
    assert [finding.check for finding in told] == ["first", "last"]


def test_a_check_that_crashes_is_a_finding_of_its_own(scope: Scope) -> None:
    """What it found before counts, and the others are told."""

    def broken(scope: Scope) -> Iterator[Finding]:
        yield ok("broken", "up to here")
        raise KeyError("uuid")

    found = list(findings([Check("broken", broken, 60, "-"), Check("good", good, 60, "-")], scope))
    assert [(finding.check, finding.level) for finding in found] == [
        ("broken", Level.OK),
        ("broken", Level.FAIL),
        ("good", Level.OK),
    ]
    assert "KeyError('uuid')" in found[1].text and "report" in str(found[1].fix)


def test_a_check_that_hangs_is_left_behind(scope: Scope) -> None:
    """A driver or a network disk that hangs is what people call the doctor for."""
    is_over = threading.Event()

    def hanging(scope: Scope) -> Iterator[Finding]:
        yield ok("disk", "one of two")
        is_over.wait(60)

    try:
        found = list(findings([Check("disk", hanging, 0.1, "see df"), Check("good", good, 60, "-")], scope))
    finally:
        is_over.set()
    assert [finding.check for finding in found] == ["disk", "disk", "good"]
    assert found[1].level is Level.FAIL and "0.1 s" in found[1].text and found[1].fix == "see df"
