"""`cnnbo data`: get, check, describe or draw the images of house numbers."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cnnbo.scheduler.errors import ConfigurationError, RequestError

if TYPE_CHECKING:
    from rich.console import Console

app = typer.Typer(help="Get, check, describe or draw the images of house numbers.", no_args_is_help=True)

Folder = Annotated[Path, typer.Argument(metavar="DIR", help="Folder with the three .mat files.")]


@app.command()
def fetch(
    folder: Folder,
    source: Annotated[Path | None, typer.Option("--from", metavar="DIR", help="Copy from a folder instead.")] = None,
    mirror: Annotated[str | None, typer.Option(metavar="URL", help="Download from this address instead.")] = None,
) -> None:
    """Download the real SVHN (about 1.6 GB). Goes on where it was interrupted."""
    from rich.console import Console

    from cnnbo.models.svhn import fetch as svhn

    if source is not None and mirror is not None:
        raise RequestError("--from and --mirror exclude each other; give one of them.")
    console = Console(stderr=True)
    console.print(svhn.TERMS, highlight=False)
    if source is not None:
        svhn.copy(source, folder)
    else:
        _download(folder, mirror or svhn.HOME, console)
    typer.echo(f"SVHN is in {folder}, complete and checked.")


def _download(folder: Path, address: str, console: "Console") -> None:
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    from cnnbo.models.svhn.fetch import fetch as fetch_all
    from cnnbo.models.svhn.layout import FILES

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as bars:
        tasks = {name: bars.add_task(name, total=None, start=False, visible=False) for name in FILES.values()}

        def show(name: str, done: int, total: int | None) -> None:
            bars.start_task(tasks[name])
            bars.update(tasks[name], completed=done, total=total, visible=True)

        fetch_all(folder, address, show)


@app.command()
def verify(folder: Folder) -> None:
    """Read every file to the end, and check what it holds. Layout, types, labels, and whether it is the real SVHN."""
    from cnnbo.models.svhn.fetch import is_official
    from cnnbo.models.svhn.layout import FILES, part_path, read_part

    problems: list[str] = []
    for part in FILES:
        try:
            path = part_path(folder, part)
            images, _ = read_part(path)
        except ConfigurationError as error:
            problems += error.problems
        else:
            origin = "the official file" if is_official(path) else "good, but not the official SVHN"
            typer.echo(f"{path.name}  {len(images):,} images  {origin}")
    if problems:
        raise ConfigurationError(list(dict.fromkeys(problems)))


@app.command()
def info(
    folder: Folder,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Count the images, and the digits of those that tuning sees. No image or label of the test set is read."""
    facts = _facts(folder)
    if as_json:
        typer.echo(json.dumps(facts))
        return
    for part, count in facts["images"].items():
        typer.echo(f"{part:<10}  {count:>9,} images")
    typer.echo(f"{'training':<10}  {facts['training']:>9,} of train + extra, every trial's")
    typer.echo(
        f"{'validation':<10}  {facts['validation']:>9,} of train + extra; always answering the most frequent digit, "
        f"{facts['majority_digit']}, scores {facts['majority_share']:.4f}"
    )


def _facts(folder: Path) -> dict[str, Any]:
    import numpy as np

    from cnnbo.models.svhn.data import open_fold
    from cnnbo.models.svhn.layout import CLASSES, FILES, count_images, part_path

    fold = open_fold(folder)
    counts = np.bincount(fold.validation_digits(), minlength=CLASSES)
    return {
        "images": {part: count_images(part_path(folder, part)) for part in FILES},
        "training": fold.train,
        "validation": fold.validation,
        "validation_digits": counts.tolist(),
        "majority_digit": int(counts.argmax()),
        "majority_share": float(counts.max() / fold.validation),
    }


@app.command()
def synth(
    folder: Folder,
    train: Annotated[int, typer.Option(min=1, metavar="N", help="Images in train_32x32.mat.")] = 5000,
    extra: Annotated[int, typer.Option(min=1, metavar="N", help="Images in extra_32x32.mat.")] = 3000,
    test: Annotated[int, typer.Option(min=1, metavar="N", help="Images in test_32x32.mat.")] = 2000,
    seed: Annotated[int, typer.Option(min=0, help="The same seed draws the same images.")] = 0,
) -> None:
    """Draw house-number digits. A data set of any size without any network."""
    from cnnbo.models.svhn.layout import FILES

    present = [name for name in FILES.values() if (folder / name).exists()]
    if present:
        raise RequestError(f"{folder} holds {', '.join(present)} already; name another folder, or delete them first.")
    from cnnbo.models.svhn.synth import write_dataset

    write_dataset(folder, {"train": train, "extra": extra, "test": test}, seed)
    typer.echo(f"{train + extra + test:,} drawn digits are in {folder} (seed {seed}; drawn, not SVHN).")
