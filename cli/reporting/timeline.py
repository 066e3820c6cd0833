"""What the devices were up to: a chart with idle gaps, and their share. Imports Matplotlib."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from cnnbo.cli.reporting import captions, style
from cnnbo.cli.reporting.context import Context, Spell
from cnnbo.cli.reporting.parts import Column, Drawing, Table
from cnnbo.scheduler.study import Study
from cnnbo.scheduler.trial import Attempt, Trial

_ROW: Final = 34.0
# Kinds are told apart without their colours too.
_HATCHES: Final = ("", "////", "....", "\\\\\\\\", "xxxx")


@dataclass(frozen=True, slots=True)
class Stint:
    """A device worked on one attempt.

    Attributes:
        device: its UUID.
        begun, ended: seconds since the epoch.
        kind: what it was for; equal kinds are drawn alike.
    """

    device: str
    begun: float
    ended: float
    kind: str


def stints(studies: Mapping[str, Iterable[Study]], until: float) -> tuple[Stint, ...]:
    """All attempts of some studies, by their begin.

    Args:
        studies: by what they were for.
        until: where attempts end that still run, in seconds since the epoch.
    """
    found = (
        _stint(attempt, kind, until) for kind, some in studies.items() for study in some for attempt in _attempts(study)
    )
    return tuple(sorted(found, key=lambda stint: (stint.begun, stint.device)))


def stints_by_outcome(study: Study, until: float) -> tuple[Stint, ...]:
    """All attempts of a study, by their begin; their kind is what became of them."""
    found = [_stint(attempt, _became(trial, attempt), until) for trial in study.trials for attempt in trial.attempts]
    return tuple(sorted(found, key=lambda stint: (stint.begun, stint.device)))


def _became(trial: Trial, attempt: Attempt) -> str:
    if trial.at_chance and attempt is trial.attempts[-1]:
        return "at chance"
    return (attempt.outcome or "running").replace("_", " ")


def _attempts(study: Study) -> Iterable[Attempt]:
    return (attempt for trial in study.trials for attempt in trial.attempts)


def _stint(attempt: Attempt, kind: str, until: float) -> Stint:
    return Stint(attempt.device, attempt.started, until if attempt.ended is None else attempt.ended, kind)


@dataclass(frozen=True, slots=True)
class Occupation:
    """How a device was used between the first begin and the last end of all.

    Attributes:
        device: its UUID.
        busy_s: seconds with an attempt on it.
        idle_s: seconds without one.
        gaps: how many spells without one there were.
        longest_gap_s: the longest of them, in seconds.
    """

    device: str
    busy_s: float
    idle_s: float
    gaps: int
    longest_gap_s: float

    @property
    def idle_share(self) -> float:
        """Share of the time without an attempt, 0 to 1."""
        whole = self.busy_s + self.idle_s
        return self.idle_s / whole if whole > 0 else 0.0


def occupation(worked: Sequence[Stint]) -> tuple[Occupation, ...]:
    """How each device was used, by UUID. A device takes one attempt at a time, so its stints don't overlap.

    >>> [o.idle_s for o in occupation((Stint("a", 0.0, 4.0, ""), Stint("b", 1.0, 2.0, ""), Stint("b", 3.0, 4.0, "")))]
    [0.0, 2.0]
    """
    begin, end = min(stint.begun for stint in worked), max(stint.ended for stint in worked)
    found = []
    for device in sorted({stint.device for stint in worked}):
        own = [stint for stint in worked if stint.device == device]
        borders = [begin, *(border for stint in own for border in (stint.begun, stint.ended)), end]
        gaps = [after - before for before, after in list(pairwise(borders))[::2] if after > before]
        busy_s = sum(stint.ended - stint.begun for stint in own)
        found.append(Occupation(device, busy_s, math.fsum(gaps), len(gaps), max(gaps, default=0.0)))
    return tuple(found)


def chart(worked: Sequence[Stint], context: Context, first_kinds: Sequence[str] = ()) -> Drawing | None:
    """The attempts on each device over time, the gaps left blank; None where nothing ran.

    Args:
        worked: the attempts.
        context: for the caption.
        first_kinds: kinds that take the first colours, in this order, as they do in other figures.
    """
    if not worked:
        return None
    begin, end = min(stint.begun for stint in worked), max(stint.ended for stint in worked)
    unit, name = _unit(end - begin)
    used = occupation(worked)
    kinds = list(dict.fromkeys([*first_kinds, *(stint.kind for stint in worked)]))

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        for row, occupied in enumerate(used):
            for index, kind in enumerate(kinds):
                own = [s for s in worked if s.device == occupied.device and s.kind == kind]
                bars = [((s.begun - begin) / unit, (s.ended - s.begun) / unit) for s in own]
                _paint_bars(axes, bars, row, index)
        axes.set_yticks(range(len(used)), [context.device_label(o.device) for o in used])
        axes.set_ylim(len(used) - 0.5, -0.5)
        axes.set_xlim(0, (end - begin) / unit or 1.0)
        axes.grid(visible=False)
        axes.set_xlabel(f"{name} since the first start")
        handles = [_sample(kind, index) for index, kind in enumerate(kinds)]
        figure.legend(handles=handles, loc="outside upper left", ncols=4, handlelength=1.4, columnspacing=1.2)

    idle = sum(o.idle_s for o in used) / (sum(o.idle_s + o.busy_s for o in used) or 1.0)
    return style.draw(
        "timeline",
        "What the devices were up to",
        f"All {captions.counted(len(worked), 'attempt')} on {captions.counted(len(used), 'device')}; blank: nothing "
        f"ran there, {idle:.1%} of the time between the first start and the last end. {captions.where(context)}",
        f"Attempts on {captions.counted(len(used), 'device')} over {(end - begin) / unit:.3g} {name}; "
        f"{idle:.1%} of the time nothing ran.",
        110 + _ROW * len(used) + 20 * ((len(kinds) - 1) // 4),
        paint,
    )


def _unit(seconds: float) -> tuple[float, str]:
    for unit, name in ((86400.0, "days"), (3600.0, "hours"), (60.0, "minutes")):
        if seconds >= 2 * unit:
            return unit, name
    return 1.0, "seconds"


def _hatch(index: int) -> str:
    return _HATCHES[index % len(_HATCHES)]


def _paint_bars(axes: Axes, bars: Sequence[tuple[float, float]], row: int, index: int) -> None:
    collection = axes.broken_barh(bars, (row - 0.34, 0.68))
    collection.set(facecolor=style.line_colour(index).light, edgecolor=style.PAPER.light, linewidth=0.0)
    collection.set_hatch(_hatch(index))


def _sample(kind: str, index: int) -> Patch:
    colour = style.line_colour(index).light
    return Patch(facecolor=colour, edgecolor=style.PAPER.light, linewidth=0.0, hatch=_hatch(index), label=kind)


def idle_table(worked: Sequence[Stint], context: Context) -> Table | None:
    """How long each device had nothing to do, and why, as far as the journal says; None where nothing ran."""
    if not worked:
        return None
    begin, end = min(stint.begun for stint in worked), max(stint.ended for stint in worked)
    rows = tuple(
        (
            context.device_label(o.device),
            o.busy_s / 3600,
            o.idle_s / 3600,
            o.idle_share,
            o.gaps,
            o.longest_gap_s,
            _reasons(context.activities, o.device, begin, end),
        )
        for o in occupation(worked)
    )
    return Table(
        "idle",
        "Busy and idle devices",
        "Between the first start and the last end of these trials. A device is busy while an attempt is on it; reasons "
        f"are those that the daemon noted, the longest first. {captions.where(context)}",
        (
            Column("device", "Device"),
            Column("busy_h", "Busy, h", ".3f"),
            Column("idle_h", "Idle, h", ".3f"),
            Column("idle_share", "Idle share", ".1%"),
            Column("gaps", "Gaps"),
            Column("longest_gap_s", "Longest gap, s", ".1f"),
            Column("reasons", "Reasons"),
        ),
        rows,
    )


def _reasons(spells: Iterable[Spell], device: str, begin: float, end: float) -> str | None:
    seconds: dict[str, float] = {}
    for spell in spells:
        if spell.device != device or spell.trial is not None:
            continue
        inside = min(end, end if spell.ended is None else spell.ended) - max(begin, spell.begun)
        if inside > 0:
            reason = spell.reason or spell.activity
            seconds[reason] = seconds.get(reason, 0.0) + inside
    longest = sorted(seconds.items(), key=lambda item: -item[1])[:3]
    return "; ".join(f"{reason} {amount:.0f} s" for reason, amount in longest) or None
