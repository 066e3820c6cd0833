"""Figure 2: how accuracy grows while training, for several values of RMSProp's parameters. Imports Matplotlib."""

import re
from collections import Counter
from typing import Final

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cnnbo.cli.reporting import captions, style
from cnnbo.cli.reporting.context import Context
from cnnbo.cli.reporting.parts import Drawing
from cnnbo.scheduler.comparison import FIGURE2
from cnnbo.scheduler.study import Study
from cnnbo.scheduler.trial import Trial, TrialState

_AT: Final = re.compile(r"val_accuracy_at_(\d+)")
_TITLES: Final = {"learning_rate": "learning rate", "momentum": "momentum", "decay": "decay"}
_PANEL: Final = 215.0


def progression(trial: Trial) -> list[tuple[int, float]]:
    """Steps with the validation accuracy measured there, in the order of the steps."""
    found = [(int(match[1]), value) for name, value in trial.metrics.items() if (match := _AT.fullmatch(name))]
    return sorted(found)


def panels(study: Study) -> dict[str, list[Trial]]:
    """Each parameter's trials by its value: those that differ from the base configuration in it alone.

    The study's start configurations stand in the order in which `FIGURE2` lists parameters and values.
    """
    ordered = [(name, value) for name, values in FIGURE2.items() for value in values]
    by_point = {trial.point: trial for trial in study.trials}
    found: dict[str, list[Trial]] = {name: [] for name in FIGURE2}
    for (name, _), configuration in zip(ordered, study.spec.start, strict=False):
        trial = by_point.get(study.spec.space.encode(configuration))
        if trial is not None and trial.state in (TrialState.COMPLETE, TrialState.FAILED):
            found[name].append(trial)
    return found


def figure_2(study: Study, context: Context) -> Drawing | None:
    """Three panels, one for each parameter, with a line for each of its values; None where nothing was measured."""
    shown = panels(study)
    tracks = [progression(trial) for trials in shown.values() for trial in trials]
    if not any(tracks):
        return None
    last = max(step for track in tracks for step, _ in track)
    base = _base(study)

    def paint(figure: Figure) -> None:
        every = figure.subplots(len(shown), 1, sharex=True, sharey=True)
        for axes, (name, trials) in zip(every, shown.items(), strict=True):
            _paint_panel(axes, name, trials, last)
        style.fit(every[0], (value for track in tracks for _, value in track))
        for axes, (name, trials) in zip(every, shown.items(), strict=True):
            _label_panel(axes, name, trials, last)
        every[-1].set_xlabel("steps of training")

    return style.draw(
        "figure-2-progressions",
        "Figure 2: progressions of RMSProp",
        "Validation accuracy while training, one training a line (n = 1), with all other parameters as in the best "
        f"configuration found ({base}). A cross marks where the loss left the numbers; a line that stays at 0.1 is no "
        "better than guessing one of ten digits. "
        f"{captions.where(context)}",
        _alt(shown),
        _PANEL * len(shown),
        paint,
    )


def _paint_panel(axes: Axes, name: str, trials: list[Trial], last: int) -> None:
    for index, trial in enumerate(trials):
        track = progression(trial)
        colour = style.line_colour(index).light
        steps, values = [step for step, _ in track], [value for _, value in track]
        axes.plot(steps, values, color=colour, linestyle=style.dashes(index))
        if track and trial.state is TrialState.FAILED:
            axes.plot(steps[-1:], values[-1:], "x", color=colour, markersize=9, markeredgewidth=2.2)
    axes.set_xlim(0, last)
    style.name_values(axes, f"{_TITLES[name]}: validation accuracy")


def _label_panel(axes: Axes, name: str, trials: list[Trial], last: int) -> None:
    ends = []
    for index, trial in enumerate(trials):
        track = progression(trial)
        text = f"{float(trial.configuration[name]):g}"
        if not track:
            text += " failed"
        elif trial.state is TrialState.FAILED:
            text += f" ends at {track[-1][0]}"
        height = track[-1][1] if track else axes.get_ylim()[0]
        ends.append(style.End(height, text, style.line_colour(index)))
    style.label_ends(axes, ends, _PANEL)


def _base(study: Study) -> str:
    """The configuration from which each line departs in one value: what most of the trainings have in common."""
    start = study.spec.start
    base = {name: Counter(configuration[name] for configuration in start).most_common(1)[0][0] for name in start[0]}
    return ", ".join(f"{name} {captions.plain(float(value))}" for name, value in base.items())


def _alt(shown: dict[str, list[Trial]]) -> str:
    words = []
    for name, trials in shown.items():
        told = []
        for trial in trials:
            track = progression(trial)
            end = f"{track[-1][1]:.3f} at step {track[-1][0]}" if track else "no accuracy"
            failed = ", where it failed" if trial.state is TrialState.FAILED else ""
            told.append(f"{float(trial.configuration[name]):g}: {end}{failed}")
        words.append(f"{_TITLES[name]} {'; '.join(told)}")
    return f"Validation accuracy at the end of each training. {'. '.join(words)}."
