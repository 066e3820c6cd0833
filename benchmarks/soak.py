"""Let a real daemon run a thousand trials and watch what it holds. `python benchmarks/soak.py --help`."""

import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated

import typer
from living.daemon import Daemon
from living.samples import Sample, judge, read, write

_HERE = Path(__file__).parent
ROWS = _HERE / "rows" / "soak"
"""Where the raw rows are kept, one file a run."""

FIGURE = _HERE.parent / "docs" / "soak.svg"

_SCRIPT = """\
import sys, time
time.sleep(float(sys.argv[1]))
print("value: 0.5", flush=True)
"""

_STUDY = """\
name = "{name}"
command = ["python", "-S", "train.py", "{seconds}", "{{args}}"]
evaluations = {trials}
optimizer = "sobol"
metric = "value"
[report]
pattern = "value: ([0-9.]+)"
[space]
x = {{ type = "float", low = 0, high = 1 }}
y = {{ type = "float", low = 0, high = 1 }}
[trial]
python = "{python}"
"""

app = typer.Typer(no_args_is_help=True, add_completion=False)


@app.callback()
def main() -> None:
    """Let a real daemon run a thousand trials and watch what it holds."""


@app.command()
def run(
    name: Annotated[str, typer.Argument(help="Name of the run; its rows go to rows/soak/NAME.csv.")],
    trials: Annotated[int, typer.Option(help="Trials in all.")] = 1000,
    studies: Annotated[int, typer.Option(help="Studies they are spread over, each deleted before the next.")] = 1,
    seconds: Annotated[float, typer.Option(help="How long a trial takes.")] = 1.0,
    slots: Annotated[int, typer.Option(help="CPU slots.")] = 4,
    period: Annotated[float, typer.Option(help="Seconds between two rows.")] = 3.0,
) -> None:
    """Run trials to their end and write down what daemon, proposer and broker hold meanwhile."""
    samples: list[Sample] = []
    with tempfile.TemporaryDirectory(prefix="soak-") as folder:
        daemon = Daemon(Path(folder), f"cpu:{slots}")
        (daemon.folder / "train.py").write_text(_SCRIPT)
        daemon.start()
        try:
            began = time.monotonic()
            for number in range(1, studies + 1):
                _submit(daemon, number, trials // studies, seconds)
                _watch(daemon, number * (trials // studies), began, period, samples)
                if number < studies:
                    daemon.tell("delete", f"soak-{number}", "--yes")
        finally:
            daemon.stop()
            if samples:
                write(ROWS / f"{name}.csv", samples)


def _submit(daemon: Daemon, number: int, trials: int, seconds: float) -> None:
    study = daemon.folder / "study.toml"
    study.write_text(_STUDY.format(name=f"soak-{number}", trials=trials, seconds=seconds, python=sys.executable))
    daemon.tell("submit", study)


def _watch(daemon: Daemon, until: int, began: float, period: float, samples: list[Sample]) -> None:
    """Take rows until so many trials have finished, and one more."""
    while not samples or samples[-1].trials < until:
        time.sleep(period)
        samples.append(Sample.take(daemon, time.monotonic() - began))
        typer.echo(f"{samples[-1].elapsed_s:.0f} s, {samples[-1].trials} trials: {samples[-1].daemon_rss_mib} MiB")


@app.command()
def report(
    figure: Annotated[Path, typer.Option(help="The figure to write.")] = FIGURE,
) -> None:
    """Judge every run that has rows, and draw them; needs matplotlib."""
    from living.plots import draw  # loaded here: taking rows needs no matplotlib

    runs = {path.stem: read(path) for path in sorted(ROWS.glob("*.csv"))}
    for name, samples in runs.items():
        found = judge(samples)
        typer.echo(f"{name}: {'stable' if found.is_stable else 'NOT stable'}, {samples[-1].trials} trials")
        for process, slope in found.slope_mib.items():
            typer.echo(f"  {process}: {slope:+.2f} MiB per 1,000 trials after the warm-up")
        typer.echo(f"  the daemon's resident memory from half to the end: {found.growth:+.1%}")
        for name in ("descriptors", "threads"):
            (first, last), most = getattr(found, name), getattr(found, f"most_{name}")
            typer.echo(f"  {name}: median {first:g}, then {last:g}; at most {most[0]:g}, then {most[1]:g}")
        typer.echo(f"  processor time per trial {found.cpu_ms[0]:.1f} ms, then {found.cpu_ms[1]:.1f} ms")
    draw(runs, figure)


if __name__ == "__main__":
    app()
