"""`cnnbo best --save`: the network of the best configuration, trained at last where that wasn't done yet."""

import contextlib
import filecmp
import os
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from cnnbo.daemon.settings import Settings
    from cnnbo.scheduler.study import Study
    from cnnbo.scheduler.trial import Trial


@dataclass(frozen=True, slots=True)
class Network:
    """A network that a final training left.

    Attributes:
        study: the study of that training.
        trial: the training.
        weights: its file in the state folder.
    """

    study: "Study"
    trial: "Trial"
    weights: Path


def save_best(name: str, target: Path, force: bool, settings: "Settings", devices: str | None) -> dict[str, Any]:
    """Save the network of a study's best configuration; trains it first, on everything, where that wasn't done yet.

    Args:
        name: of the study; one of final trainings has its networks already.
        target: the file to write.
        force: whether another file there may be replaced.
        settings: of the instance whose study it is.
        devices: where to train if no daemon is there to do it; None = `auto`.

    Returns:
        what `cnnbo best --save --json` prints.

    Raises:
        RequestError, ConfigurationError: a sentence: there is nothing to save, no place for it, or the training failed.
        typer.Exit: it was interrupted, which was told.
    """
    from cnnbo.cli import output
    from cnnbo.daemon.handler import no_best
    from cnnbo.scheduler.comparison import study_name
    from cnnbo.scheduler.errors import RequestError
    from cnnbo.scheduler.spec import Part, Stage, Task

    _check_place(target)
    study = _studies(settings.state, name)[name]
    weights = _weights_name(study)
    best = study.incumbent
    if best is None:
        raise no_best(name)
    if best.at_chance:
        print(output.luck_warning(name), file=sys.stderr)
    if study.spec.part is not None and study.spec.trial.task is not Task.FINAL:
        final = study_name(Part(study.spec.part.plan, Stage.FINAL))
        raise RequestError(
            f"{name} is part of a comparison, which opens the test set at its end and trains what its runs chose then: "
            f"cnnbo best {final} --save {target}"
        )
    if study.spec.trial.task is Task.FINAL:
        trained, chosen = study, best
    else:
        trained, chosen = _final_training(study, best, target, force, settings, devices)
    network = Network(trained, chosen, _folder(settings.state, trained.name, chosen) / weights)
    _copy(network, target, force)
    return _facts(study, best, network, target, settings.state)


def _check_place(target: Path) -> None:
    from cnnbo.scheduler.errors import RequestError

    if target.suffix != ".keras":
        raise RequestError(f"--save {target}: Keras loads files that end in .keras; try {target.with_suffix('.keras')}")
    if target.is_dir():
        raise RequestError(f"--save {target}: this is a folder; name a file.")
    if not target.parent.is_dir():
        raise RequestError(f"--save {target}: there is no folder {target.parent}; make it first.")


def _studies(state: Path, name: str) -> "Mapping[str, Study]":
    """All studies of the state folder, by name, that one among them."""
    from cnnbo.daemon.journal import read_journal
    from cnnbo.scheduler.errors import RequestError

    stored, _ = read_journal(state)
    studies = {known.study.name: known.study for known in stored}
    if name not in studies:
        known_names = ", ".join(studies) or "none"
        raise RequestError(f"there is no study {name!r} in {state}; the studies there are: {known_names}.")
    return studies


def _weights_name(study: "Study") -> str:
    from cnnbo.models.registry import find_model
    from cnnbo.scheduler.errors import RequestError

    if study.spec.model is None:
        raise RequestError(
            f"study {study.name} trains with a command, which alone knows where its weights lie; to train with the "
            f"best configuration: cnnbo best {study.name} --format flags"
        )
    model = find_model(study.spec.model)
    if model.weights is None:
        raise RequestError(f"study {study.name} is of the model {model.name}, which leaves no weights to save.")
    return model.weights


def _final_training(
    study: "Study", best: "Trial", target: Path, force: bool, settings: "Settings", devices: str | None
) -> "tuple[Study, Trial]":
    """The study that trained the best configuration at last, and its trial; runs it if it hasn't ended yet."""
    from cnnbo.scheduler.errors import RequestError
    from cnnbo.scheduler.final import final_spec
    from cnnbo.scheduler.spec import fixed_differences

    spec = final_spec(study, best)
    known = _studies(settings.state, study.name).get(spec.name)
    if known is not None and (differing := fixed_differences(known.spec, spec)):
        raise RequestError(
            f"there is a study {spec.name} already that isn't this training (another {', '.join(differing)}); "
            f"free its name first: cnnbo delete {spec.name}"
        )
    if known is None or not known.state.is_ended:
        _refuse_other_file(target, force)  # now, not after hours
        known = _train(spec, settings, devices)
    if known.incumbent is None:
        raise RequestError(_why_no_network(known))
    return known, known.incumbent


def _train(spec: Any, settings: "Settings", devices: str | None) -> "Study":
    from cnnbo.cli.commands.run import tune_in_foreground

    with contextlib.redirect_stdout(sys.stderr):  # stdout is for what came out
        code = tune_in_foreground(spec, settings, devices, json=False)
    study = _studies(settings.state, spec.name)[spec.name]
    if not study.state.is_ended:
        print("nothing is saved yet; the same command goes on, and saves once the training has ended.", file=sys.stderr)
        raise typer.Exit(code or 1)
    return study


def _why_no_network(study: "Study") -> str:
    if study.state == "cancelled":
        return f"the final training {study.name} was cancelled; to train again: cnnbo delete {study.name}, then this."
    trial = study.trials[0]
    return (
        f"the final training {study.name} failed ({trial.failure}: {trial.message.rstrip('.')}); see cnnbo logs "
        f"{study.name}, and to train again: cnnbo retry {study.name} 1"
    )


def _folder(state: Path, study: str, trial: "Trial") -> Path:
    from cnnbo.daemon.launch import attempt_dir

    return attempt_dir(state, study, trial.id, trial.attempts[-1].n)


def _refuse_other_file(target: Path, force: bool) -> None:
    from cnnbo.scheduler.errors import RequestError

    if target.exists() and not force:
        raise RequestError(f"--save {target}: there is such a file; name another one, or replace it with --force.")


def _copy(network: Network, target: Path, force: bool) -> None:
    """Copy the weights, unless they are there already."""
    from cnnbo.models.files import replacing
    from cnnbo.scheduler.errors import RequestError

    if not network.weights.is_file():
        again = f"cnnbo retry {network.study.name} {network.trial.id}"
        raise RequestError(f"{network.weights} is gone; to train it again: {again}, then this command.")
    try:
        if target.exists() and filecmp.cmp(network.weights, target, shallow=False):
            return
        _refuse_other_file(target, force)
        with network.weights.open("rb") as source, replacing(target) as file:
            os.fchmod(file.fileno(), 0o666 & ~_umask())  # as any other file that somebody makes
            shutil.copyfileobj(source, file)
    except OSError as error:
        reason = error.strerror or str(error)
        raise RequestError(
            f"--save {target}: it can't be written ({reason}); the file is {network.weights}."
        ) from error


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _facts(study: "Study", best: "Trial", network: Network, target: Path, state: Path) -> dict[str, Any]:
    data = study.spec.data_dir
    here = [known for known in _studies(state, study.name).values() if known.spec.data_dir == data]
    told = network.trial.metrics
    return {
        "file": str(target),
        "study": study.name,
        "trial": best.id,
        "metric": study.spec.metric,
        "value": best.value,
        "final_study": network.study.name,
        "final_trial": network.trial.id,
        "final_trials": sum(trial.value is not None for trial in network.study.trials),
        "test_accuracy": network.trial.value,
        "test_images": int(told["test_images"]),
        "test_correct": int(told["test_correct"]),
        "train_images": int(told["train_images"]),
        "test_set_openings": network.study.test_set_openings,
        "test_set_openings_in_all": sum(known.test_set_openings for known in here),
    }


def describe(facts: Mapping[str, Any]) -> list[str]:
    """What people read of a saved network."""
    from cnnbo.cli import output

    name, final = facts["study"], facts["final_study"]
    came = f"trial {facts['trial']} of {name}"
    if final == name and facts["final_trials"] > 1:
        came += f", the best of {facts['final_trials']} by this very score, which flatters it"
    elif final != name:
        came += f" ({facts['metric']} {output.value(facts['value'])}) trained anew as {final}"
    return [
        f"test_accuracy {output.value(facts['test_accuracy'])}: {facts['test_correct']:,} of "
        f"{facts['test_images']:,} images, after {facts['train_images']:,} to train on; {came}",
        f"test set opened {output.times(facts['test_set_openings'])} by {final}, "
        f"{output.times(facts['test_set_openings_in_all'])} by all studies here with these data",
        f"load it: import keras; model = keras.models.load_model({facts['file']!r})",
    ]
