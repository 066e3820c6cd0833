"""The figure of the soak: memory, descriptors and threads, files, processor time over trials."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from living.samples import PROCESSES, Sample, column

matplotlib.use("Agg")  # no display is needed

_DASHES = ("-", (0, (5.0, 1.6)), (0, (1.0, 1.2)))  # tell the runs apart where ink is black
_COLOURS = ("#D55E00", "#0072B2", "#009E73")
_PANELS = {
    "Resident memory, MiB": {name: f"{name}_rss_mib" for name in PROCESSES},
    "The daemon's descriptors and threads": {"descriptors": "daemon_descriptors", "threads": "daemon_threads"},
    "Files, MiB": {"journal": "journal_kib", "its WAL": "wal_kib", "log of the daemon": "daemon_log_kib"},
    "Processor time of the daemon, s": {"daemon": "daemon_cpu_s"},
}
"""Title of each panel, with its lines: label and column of the rows."""


def draw(runs: Mapping[str, Sequence[Sample]], path: Path) -> None:
    """Draw every run into every panel; the same rows give the same SVG."""
    with plt.rc_context({"svg.hashsalt": "cnnbo", "axes.grid": True, "grid.color": "#E4E4E4"}):
        figure, axes = plt.subplots(2, 2, figsize=(11, 7), layout="constrained", sharex=True)
        for panel, (title, lines) in zip(axes.flat, _PANELS.items(), strict=True):
            _draw_panel(panel, title, lines, runs)
        figure.savefig(path, metadata={"Date": None})
        plt.close(figure)


def _draw_panel(panel: Axes, title: str, lines: Mapping[str, str], runs: Mapping[str, Sequence[Sample]]) -> None:
    for dashes, (run, samples) in zip(_DASHES, runs.items(), strict=False):
        for colour, (label, name) in zip(_COLOURS, lines.items(), strict=False):
            scale = 1024 if name.endswith("_kib") else 1
            values = [value / scale for value in column(samples, name)]
            panel.plot(column(samples, "trials"), values, color=colour, linestyle=dashes, label=f"{label}, {run}")
    panel.set_title(title, loc="left")
    panel.set_xlabel("trials finished")
    panel.set_ylim(bottom=0)
    panel.legend(frameon=False, fontsize=8)
