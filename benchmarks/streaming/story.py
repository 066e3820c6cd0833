"""What busy boxes publish: made up, in the form and at the pace of the real thing."""

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

ENDED = 60
EVALUATIONS = 200
STEPS = 600

Topic = str
Payload = bytes


@dataclass(slots=True)
class Story:
    """A box that trains on all of its devices.

    Attributes:
        node: its name.
        devices: how many it has.
        told: how many messages it has made, but for `availability`.
    """

    node: str
    devices: int
    told: int = 0

    def opening(self, now: float) -> Iterator[tuple[Topic, Payload]]:
        """Everything retained, for somebody who begins to listen at `now`, in seconds since the epoch."""
        yield f"cnnbo/v1/{self.node}/availability", b"online"
        yield self._sealed("info", {"version": "0", "started": _rfc3339(now - 90_000)}, now)
        yield self._study(now)
        for trial in range(1, ENDED + 1):
            yield self._trial(trial, now, "complete", _accuracy(trial, 1.0))
        for slot in range(self.devices):
            yield self._trial(ENDED + 1 + slot, now, "running", None)

    def second(self, second: int, now: float) -> Iterator[tuple[Topic, Payload]]:
        """One second's news: two messages for each device, its figures and the progress of its trial."""
        for slot in range(self.devices):
            trial = ENDED + 1 + slot
            yield self._sealed(f"device/GPU-{slot}", _device(slot, trial, second), now)
            yield self._sealed(f"study/svhn/trial/{trial}/progress", _progress(slot, trial, second), now)

    def _study(self, now: float) -> tuple[Topic, Payload]:
        best = {"trial": 41, "value": 0.9114, "configuration": _configuration(41)}
        body = {
            "name": "svhn", "state": "running", "reason": None, "evaluations": EVALUATIONS, "finished": ENDED,
            "running": self.devices, "failed": 3, "failures": {"diverged": 2, "out_of_memory": 1}, "best": best,
            "energy_kwh": 3.2, "cost": 17.4, "eta_s": 5400.0, "spent_s": 7200.0, "metric": "val_accuracy",
            "direction": "maximize", "space": list(_configuration(1)), "owner": "me", "budget_cost": 100.0,
            "spent_wall_clock_s": 7200.0, "budget_wall_clock_s": 86_400.0,
        }  # fmt: skip
        return self._sealed("study/svhn", body, now)

    def _trial(self, trial: int, now: float, state: str, value: float | None) -> tuple[Topic, Payload]:
        began = now - (30.0 if value is None else 60.0 * (ENDED - trial + 2))
        attempt = {"n": 1, "device": f"GPU-{(trial - ENDED - 1) % self.devices}", "started": _rfc3339(began)}
        attempt |= {"ended": None if value is None else _rfc3339(began + 55), "outcome": value and "complete"}
        body = {
            "id": trial, "state": state, "configuration": _configuration(trial), "value": value, "failure": None,
            "source": "surrogate", "duration_s": None if value is None else 55.0, "attempts": [attempt],
        }  # fmt: skip
        return self._sealed(f"study/svhn/trial/{trial}", body, now)

    def _sealed(self, topic: str, body: Mapping[str, object], now: float) -> tuple[Topic, Payload]:
        self.told += 1
        envelope = {"schema": "cnnbo.story/1", "ts": _rfc3339(now), "boot": "story", "seq": self.told}
        return f"cnnbo/v1/{self.node}/{topic}", json.dumps({**envelope, **body}, separators=(",", ":")).encode()


def _rfc3339(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _device(slot: int, trial: int, second: int) -> dict[str, object]:
    wave = math.sin(second / 7 + slot)
    return {
        "uuid": f"GPU-{slot}", "index": slot, "name": "NVIDIA GeForce RTX 4090", "state": "busy", "reason": None,
        "since": None, "memory_used_mib": 11_468.8 + 400 * wave, "memory_total_mib": 24_576.0,
        "utilisation_percent": round(92 + 6 * wave), "temperature_c": round(68 + 3 * wave),
        "power_w": round(390 + 15 * wave, 1), "study": "svhn", "trial": trial, "phase": "training",
    }  # fmt: skip


def _progress(slot: int, trial: int, second: int) -> dict[str, object]:
    step = (second * 5 + 60 * slot) % STEPS
    metrics = {"val_accuracy": _accuracy(trial, step / STEPS), "loss": round(2.3 * math.exp(-step / STEPS), 4)}
    return {
        "trial": trial, "device": f"GPU-{slot}", "step": step, "steps": STEPS, "epoch": 1, "epochs": 1,
        "metrics": metrics,
    }  # fmt: skip


def _accuracy(trial: int, share: float) -> float:
    return round((0.86 + 0.05 * (trial * 7919 % 97) / 97) * (1 - math.exp(-4 * share - 0.1)), 4)


def _configuration(trial: int) -> dict[str, object]:
    return {
        "filter1_width": 3 + trial % 8,
        "filter1_depth": 10 + 7 * trial % 55,
        "filter2_width": 3 + 3 * trial % 8,
        "filter2_depth": 10 + 11 * trial % 55,
        "keep_probability": round(0.2 + 0.05 * (trial % 16), 3),
        "learning_rate": float(f"{10 ** (-1 - trial % 4) * (1 + trial % 7):.3g}"),
        "momentum": round(0.5 + 0.01 * (trial % 50), 3),
        "decay": round(0.99 - 0.013 * (trial % 30), 3),
    }
