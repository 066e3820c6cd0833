"""The brake: equal crashes in a row say that the script or its environment is broken, not the configurations."""

from dataclasses import dataclass, replace

EQUAL_CRASHES = 3
"""Number of equal crashes in a row that pause a study."""


@dataclass(frozen=True, slots=True)
class Brake:
    """What the crashes of a study say so far: a pure fold over the ends of its trials.

    Attributes:
        row: the newest crashes in a row, at most `EQUAL_CRASHES`: each trial with the kind of its crash.
        kind: of the equal crashes that filled the row last; None before the first time.
        suspects: trials that were running then. A crash of that kind is the same broken script's, whenever it comes.
        undecided: trials with equal crashes of which nobody has said yet what shall become of them, by id. They are
            evidence against no configuration.
    """

    row: tuple[tuple[int, str], ...] = ()
    kind: str | None = None
    suspects: frozenset[int] = frozenset()
    undecided: tuple[int, ...] = ()

    @property
    def is_full(self) -> bool:
        """Whether the row is full of equal crashes."""
        return len(self.row) == EQUAL_CRASHES and len({kind for _, kind in self.row}) == 1

    def crashed(self, trial: int, kind: str, running: frozenset[int]) -> "Brake":
        """A trial crashed.

        Args:
            trial: its id.
            kind: equal for equal crashes.
            running: ids of the trials that run now.
        """
        after = replace(self, row=(*self.row, (trial, kind))[-EQUAL_CRASHES:], suspects=self.suspects - {trial})
        if after.is_full:
            crashed = {crashed for crashed, _ in after.row}
            return replace(after._holding(crashed), kind=kind, suspects=after.suspects | running)
        is_late = trial in self.suspects and kind == self.kind
        return after._holding({trial}) if is_late else after

    def _holding(self, trials: set[int]) -> "Brake":
        return replace(self, undecided=tuple(sorted({*self.undecided, *trials})))

    def ended(self, trial: int) -> "Brake":
        """A trial ended otherwise: by itself, or by a failure of its configuration. That ends the row."""
        return replace(self, row=(), suspects=self.suspects - {trial})

    def lost(self, trial: int) -> "Brake":
        """The machine lost an attempt, which says nothing; the next one is of the script as it is then."""
        return replace(self, suspects=self.suspects - {trial})

    def released(self) -> "Brake":
        """The user goes on without those trials."""
        return replace(self, row=(), undecided=())

    def retried(self, trials: tuple[int, ...]) -> "Brake":
        """The user has trials run again."""
        return replace(self, row=(), undecided=tuple(trial for trial in self.undecided if trial not in trials))
