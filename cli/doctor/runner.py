"""Runs checks side by side, so that what hangs delays nobody for longer than its deadline."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from cnnbo.cli.doctor.finding import Finding, fail
from cnnbo.cli.doctor.scope import Scope


@dataclass(frozen=True, slots=True)
class Check:
    """A check, and how long it may take.

    Attributes:
        name: what a finding about the check itself is called.
        look: does the work; whatever it yields before it hangs or crashes counts.
        deadline_s: seconds from the start of all checks.
        if_it_hangs: what to do when it isn't done by then.
    """

    name: str
    look: Callable[[Scope], Iterator[Finding]]
    deadline_s: float
    if_it_hangs: str


class _Course(threading.Thread):
    """One check on its way, in a thread that the end of the program doesn't wait for."""

    def __init__(self, check: Check, scope: Scope) -> None:
        super().__init__(name=check.name, daemon=True)
        self._check = check
        self._scope = scope
        self._found: list[Finding] = []

    def run(self) -> None:
        try:
            for finding in self._check.look(self._scope):
                self._found.append(finding)
        except Exception as error:  # a check that breaks is a finding, and no reason to keep the others back
            text = f"the check {self.name} itself broke: {' '.join(repr(error).split())}"
            self._found.append(fail(self.name, text, "this is a bug in cnnbo; please report it with this line"))

    def findings(self) -> list[Finding]:
        """What it has found by now."""
        found = list(self._found)
        if self.is_alive():
            text = f"the check {self.name} did not end within {self._check.deadline_s:g} s"
            found.append(fail(self.name, text, self._check.if_it_hangs))
        return found


def findings(checks: Sequence[Check], scope: Scope) -> Iterator[Finding]:
    """Run checks side by side.

    Args:
        checks: all of them; they begin at once.
        scope: what they look at.

    Yields:
        what they find, in the order of the checks, as soon as a check and all before it have ended.
    """
    courses = [(check, _Course(check, scope)) for check in checks]
    began = time.monotonic()
    for _, course in courses:
        course.start()
    for check, course in courses:
        course.join(max(0.0, began + check.deadline_s - time.monotonic()))
        yield from course.findings()
