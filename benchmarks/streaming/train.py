"""Plays a training: a learning curve that bends to what a formula says of the configuration, in real seconds.

It takes no processor time worth speaking of, so that 24 of them run side by side on two cores.
"""

import argparse
import json
import math
import os
import random
import time
from pathlib import Path

_STEPS = 60


def main() -> None:
    """Play one trial as `CNNBO_TRIAL` describes it."""
    parser = argparse.ArgumentParser()
    for name in ("learning_rate", "momentum", "keep_probability", "width", "depth"):
        parser.add_argument(f"--{name}", type=float, required=True)
    chosen = parser.parse_args()
    told = json.loads(Path(os.environ["CNNBO_TRIAL"]).read_text())
    chance = random.Random(told["seed"])
    best = _accuracy(chosen) + chance.gauss(0.0, 0.003)
    step_s = 0.45 + 0.6 * chosen.width * chosen.depth / 640
    diverges = chosen.learning_rate > 0.05 and chosen.momentum > 0.9
    with os.fdopen(int(os.environ["CNNBO_PROGRESS_FD"]), "w", buffering=1) as progress:
        for step in range(1, _STEPS + 1):
            time.sleep(step_s)
            if diverges and step == 7:
                _say({"failure": "diverged", "message": f"loss was NaN at step {step * 100}"})
                return
            accuracy = 0.1 + (best - 0.1) * (1 - math.exp(-4 * step / _STEPS)) + chance.gauss(0.0, 0.006)
            metrics = {"loss": 2.3 * math.exp(-3 * step / _STEPS), "val_accuracy": accuracy}
            report = {"step": step * 100, "steps": _STEPS * 100, "epoch": 1, "epochs": 1, "metrics": metrics}
            print(json.dumps(report), file=progress)
    _say({"value": best})


def _accuracy(chosen: argparse.Namespace) -> float:
    """A smooth hill with its top near 0.92 at a learning rate of 2e-3."""
    off = (math.log10(chosen.learning_rate) + 2.7) ** 2 * 0.045
    off += (chosen.momentum - 0.9) ** 2 * 0.5 + (chosen.keep_probability - 0.65) ** 2 * 0.15
    off += (chosen.width - 5) ** 2 * 0.0015 + (chosen.depth - 48) ** 2 * 2e-5
    return float(max(0.19, 0.921 - off))


def _say(result: dict[str, object]) -> None:
    path = Path(os.environ["CNNBO_RESULT"])
    unfinished = path.with_suffix(".new")
    unfinished.write_text(json.dumps(result))
    unfinished.replace(path)


if __name__ == "__main__":
    main()
