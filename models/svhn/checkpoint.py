"""What a training needs to go on where it was, in one file of the trial's checkpoint folder.

One file is enough, since its successor takes its place only once that is on the disk as a whole. What it rests on is
written into it: a checkpoint of another training, of another version, or damaged by the disk is left aside with a line
in the trial's log, and the training starts anew. A training whose checkpoint can't be written goes on without.

The file is a SHA-256 digest of what follows, then NumPy's npz: the trained arrays, and a JSON object with the rest.
"""

import hashlib
import io
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from cnnbo.models.files import replacing
from cnnbo.models.svhn.chance import Score

FILE_NAME: Final = "training.checkpoint"
_FORMAT: Final = 1  # to be raised when network, optimizer or this file change: an older checkpoint is then left aside
_DIGEST_BYTES: Final = hashlib.sha256().digest_size


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A training between two steps; all its randomness is a function of seed and step, so there is no more to it.

    Attributes:
        step: updates done, >= 0.
        checks: the scores of the checks so far, oldest first.
        arrays: weights, optimizer slots and whatever else the updates change, as `Trainer.state` gives them.
    """

    step: int
    checks: Sequence[Score]
    arrays: Sequence[npt.NDArray[np.generic]]


class _UnusableError(Exception):
    """Why a checkpoint is left aside, to be read after "the checkpoint"."""


class CheckpointFile:
    """The checkpoint of one training.

    Args:
        folder: where it lies, kept across attempts.
        basis: what the training rests on, as JSON data; a checkpoint that rests on anything else isn't used.
    """

    def __init__(self, folder: Path, basis: Mapping[str, object]) -> None:
        self._path = folder / FILE_NAME
        self._basis = json.loads(json.dumps({"format": _FORMAT, **basis}))  # as it will be read

    def write(self, checkpoint: Checkpoint) -> None:
        """Replace the checkpoint; if that fails, the log says so and the earlier one stands."""
        facts = {
            "basis": self._basis,
            "step": checkpoint.step,
            "checks": [asdict(check) for check in checkpoint.checks],
        }
        buffer = io.BytesIO()
        np.savez(buffer, np.frombuffer(json.dumps(facts).encode(), np.uint8), *checkpoint.arrays)
        content = buffer.getbuffer()
        try:
            self._remove_torn()
            with replacing(self._path) as file:
                file.write(hashlib.sha256(content).digest())
                file.write(content)
        except OSError as error:
            _log(f"{self._path}: the checkpoint of step {checkpoint.step} was not written ({error.strerror}).")

    def read(self) -> Checkpoint | None:
        """The checkpoint; None if there is none, and None with a line in the log if it can't be used."""
        try:
            return self._parse(self._path.read_bytes())
        except FileNotFoundError:
            return None
        except OSError as error:
            why = f"can't be read ({error.strerror})"
        except _UnusableError as error:
            why = str(error)
        _log(f"{self._path}: the checkpoint {why}; the training starts anew.")
        return None

    def _parse(self, content: bytes) -> Checkpoint:
        # Checked before it is parsed: NumPy promises nothing of what it does with a damaged file.
        if hashlib.sha256(content[_DIGEST_BYTES:]).digest() != content[:_DIGEST_BYTES]:
            raise _UnusableError("is damaged")
        with np.load(io.BytesIO(content[_DIGEST_BYTES:]), allow_pickle=False) as archive:
            facts, *arrays = archive.values()
        told: dict[str, Any] = json.loads(facts.tobytes())
        if others := self._differences(told["basis"]):
            raise _UnusableError(f"is of another training (its {', '.join(others)} differ)")
        return Checkpoint(told["step"], [Score(**check) for check in told["checks"]], arrays)

    def _differences(self, basis: Mapping[str, object]) -> list[str]:
        return sorted(key for key in {*basis, *self._basis} if basis.get(key) != self._basis.get(key))

    def remove(self) -> None:
        """Free the disk: the training came to its end, and nothing goes on from here."""
        self._path.unlink(missing_ok=True)
        self._remove_torn()

    def _remove_torn(self) -> None:
        for torn in self._path.parent.glob(f".{FILE_NAME}-*"):
            torn.unlink()  # of an attempt that was killed while it wrote


def _log(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
