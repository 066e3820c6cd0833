"""The last rows of the screen: the keys, a question, or what came of an order; and the page of all keys."""

from collections.abc import Iterable

from rich.text import Text

from cnnbo.cli.insight import fitting
from cnnbo.cli.monitor.canvas import Screen, wrapped
from cnnbo.cli.monitor.keys import HELP
from cnnbo.cli.monitor.known import Box
from cnnbo.cli.monitor.view import Page, View, marked_trial, shown_study


def footer(view: View, box: Box | None, count: int, screen: Screen) -> list[Text]:
    """The keys on one line, or a sentence on as many as it takes; `count` is how many boxes there are."""
    if view.question is not None:
        return _sentence([*view.question.text.split(), "  y yes", " n no"], screen)
    if view.note:
        return _sentence(view.note.split(), screen)
    return [Text(" " + fitting(_keys(view, box, count, screen), screen.width - 1), "dim")]


def _sentence(words: Iterable[str], screen: Screen) -> list[Text]:
    return [Text(line.plain, "bold") for line in wrapped(words, 1, screen, " ")]


def _keys(view: View, box: Box | None, count: int, screen: Screen) -> list[str]:
    """The keys that do something now, the most needed first."""
    if view.page is Page.HELP:
        return ["q quit", "Esc back", f"{screen.glyphs.arrows} scroll"]
    if view.page is Page.LOG:
        return ["q quit", "Esc back", f"{screen.glyphs.arrows} trial", "Page Up/Down scroll", "Enter details", "? help"]
    if view.page is not Page.OVERVIEW:
        return ["q quit", "Esc back", f"{screen.glyphs.arrows} trial", "l log", "Enter details", "? help"]
    keys = ["q quit", "? help"]
    if box is None:
        return keys
    keys += ["Tab box"] if count > 1 else []
    keys += ["s study"] if len(box.studies) > 1 else []
    keys += [f"{screen.glyphs.arrows} mark"]
    keys += ["Enter details", "l log"] if marked_trial(box, view) else ["l log"]
    study = shown_study(box, view)
    if study is not None and not study.summary.is_over and not study.summary.is_stopped_by_crashes:
        keys.append("p resume" if study.summary.state == "paused" else "p pause")
    return [*keys, "d drain device"]


def help_lines(screen: Screen) -> list[Text]:
    """All keys with what they do, and what the marks on the screen mean."""
    width = max(len(key) for key, _ in HELP)
    plot = screen.glyphs.plot
    marks = (
        (plot.level, "the best value seen so far"),
        (plot.point, f"a trial; {plot.worse[0]} or {plot.worse[1]} one far worse than these rows"),
        (plot.failure, "a trial that failed"),
        (plot.chance, "a trial at chance"),
        ("*", "the best trial"),
        ("age", "how old the figures of a device are, where no news of it came for too long"),
    )

    def explained(sign: str, what: str) -> list[Text]:
        lines = list(wrapped(what.split(), width + 6, screen, " "))
        lines[0] = Text.assemble("   ", (sign.ljust(width), "bold"), "   ", lines[0].plain.lstrip())
        return lines

    lines = [Text(" KEYS", "bold"), *(line for key in HELP for line in explained(*key))]
    return [*lines, Text(""), Text(" MARKS", "bold"), *(line for mark in marks for line in explained(*mark))]
