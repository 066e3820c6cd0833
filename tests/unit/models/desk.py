"""The daemon's side of the trial contract, and random images, for the tests of the models."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cnnbo.models.svhn.layout import Digits, Images

SHARED = Path(__file__).resolve().parents[4] / "shared" / "data"


def random_part(count: int, seed: int) -> tuple[Images, Digits]:
    """Random images and digits; their pixels differ everywhere, so a mix-up of axes shows."""
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (count, 32, 32, 3), np.uint8), rng.integers(0, 10, count).astype(np.uint8)


@dataclass(frozen=True, slots=True)
class Desk:
    """The daemon's side of the trial contract: what a script finds in its environment, and what it left."""

    folder: Path
    reading: int
    environment: Mapping[str, str]

    @property
    def checkpoints(self) -> Path:
        """The folder for checkpoints."""
        return self.folder / "checkpoints"

    def progress(self) -> list[dict[str, object]]:
        """The progress lines so far that were not read yet."""
        os.set_blocking(self.reading, False)
        try:
            received = os.read(self.reading, 1 << 20)
        except BlockingIOError:
            return []
        return [json.loads(line) for line in received.splitlines()]

    def await_step(self, step: int) -> dict[str, Any]:
        """Wait for the first progress line of that step or a later one, and return it."""
        os.set_blocking(self.reading, True)
        while True:
            for line in os.read(self.reading, 1 << 20).splitlines():
                told: dict[str, Any] = json.loads(line)
                if told.get("step", 0) >= step:
                    return told

    def result(self) -> dict[str, object]:
        """The result file."""
        loaded: dict[str, object] = json.loads((self.folder / "result.json").read_text())
        return loaded

    def write_trial(self, **told: object) -> None:
        """Write the file that tells a script its trial."""
        always = {"study": "digits", "trial": 7, "attempt": 2, "seed": 11, "configuration": {"learning_rate": 0.1}}
        (self.folder / "config.json").write_text(json.dumps(always | told))
