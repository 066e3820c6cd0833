"""Which parameters matter: what the surrogates believe, and what the trials alone say. Imports Matplotlib and SciPy."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import numpy as np
from matplotlib.figure import Figure
from scipy import stats

from cnnbo.cli.reporting import style
from cnnbo.cli.reporting.parts import Cell, Column, Drawing, Table
from cnnbo.cli.reporting.spaces import Trials
from cnnbo.scheduler.study import Study

_LEAST_TRIALS: Final = 8
"""With fewer complete trials the best quarter is a trial or two, and says nothing."""


def believed_shares(studies: Iterable[Study]) -> dict[str, list[float]]:
    """Each parameter's share of the relevance at the last ask of every study whose surrogate told any."""
    shares: dict[str, list[float]] = {}
    for study in studies:
        if study.insight is not None:
            for name, share in study.insight.relevance.items():
                shares.setdefault(name, []).append(share)
    return shares


def relevance_chart(shares: Mapping[str, Sequence[float]], caption: str) -> Drawing | None:
    """How much each parameter matters to the surrogate: mean of the runs as bars, each run as a dot.

    Args:
        shares: each parameter's share in every run that tells any, 0 to 1.
        caption: of the drawing.
    """
    ranked = sorted(((float(np.mean(all_)), name) for name, all_ in shares.items() if all_))
    if len(ranked) < 2:
        return None

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        at = np.arange(len(ranked))
        axes.barh(at, [share for share, _ in ranked], height=0.6, color=style.LINES[1].light)
        for place, (_, name) in enumerate(ranked):
            if len(shares[name]) > 1:
                axes.plot(
                    shares[name], [place] * len(shares[name]), "o", markersize=5, color=style.PAPER.light,
                    markeredgecolor=style.INK.light,
                )  # fmt: skip
        axes.set_yticks(at, [name.replace("_", " ") for _, name in ranked])
        axes.set_xlim(left=0)
        axes.grid(visible=False, axis="y")
        axes.grid(visible=True, axis="x")
        axes.set_xlabel("share of the relevance")

    told = ", ".join(f"{name} {share:.0%}" for share, name in reversed(ranked))
    return style.draw(
        "relevance", "What matters to the surrogate", caption, f"Shares: {told}.", 70 + 26.0 * len(ranked), paint
    )


def relevance_table(trials: Trials, shares: Mapping[str, Sequence[float]], where: str) -> Table | None:
    """The surrogates' beliefs beside a check that uses no model; None where there is too little for either.

    Args:
        trials: for the check; best those of random search, whose points are spread evenly.
        shares: as in `relevance_chart`.
        where: on what it was measured, for the caption.
    """
    complete = trials.complete
    is_checked = len(complete) >= _LEAST_TRIALS
    if not is_checked and not shares:
        return None
    best = len(complete) // 4
    rows: list[tuple[Cell, ...]] = []
    for index, name in enumerate(trials.space.names):
        places = [trial.point[index] for trial in complete]
        found = stats.ks_2samp(places[:best], places[best:]) if is_checked else None
        believed = float(np.mean(shares[name])) if shares.get(name) else None
        checked = (None, None) if found is None else (float(found.statistic), float(found.pvalue))
        rows.append((name, believed, *checked))
    return Table(
        "relevance-check",
        "What matters, twice",
        "Share: of the relevance in the surrogate at its last ask, mean over runs. Distance: between where the best "
        f"quarter of {len(complete)} complete trials ({' and '.join(group.name for group in trials.groups)}) and the "
        "rest of them lie on the parameter's scale (Kolmogorov and Smirnov's, 0 to 1), with its p, not corrected for "
        f"the number of parameters. It uses no model, and sees no interactions. {where}",
        (
            Column("parameter", "Parameter"),
            Column("surrogate_share", "Share", ".2f"),
            Column("distance", "Distance", ".2f"),
            Column("p", "p", ".4f"),
        ),
        tuple(sorted(rows, key=lambda row: -(float(row[1] or 0.0)))),
    )
