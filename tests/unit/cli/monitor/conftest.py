"""What daemons publish, for tests of the monitor."""

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import pytest

from cnnbo.cli.monitor.state import MonitorState

NOW = datetime(2026, 11, 23, 14, 36, 7, tzinfo=UTC).timestamp()
BROKER = "mqtt://127.0.0.1:1883"

Body = dict[str, Any]


def rfc3339(moment: float) -> str:
    """As daemons write times."""
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Daemon:
    """Publishes into a state, with envelopes, as a daemon of the node would at a given time."""

    def __init__(self, state: MonitorState, node: str = "tower", boot: str = "7f3a", now: float = NOW) -> None:
        self.state = state
        self.node = node
        self.boot = boot
        self.now = now
        self.slow_s = 0.0  # by so much its clock is behind
        self.is_kept = False  # whether the broker had kept what comes now
        self._seq = 0

    def say(self, topic: str, body: Mapping[str, Any] | None) -> str | None:
        """Publish an object, or clear its topic."""
        self._seq += 1
        envelope = {"schema": "cnnbo.test/1", "ts": rfc3339(self.now), "boot": self.boot, "seq": self._seq}
        payload = b"" if body is None else json.dumps({**envelope, **body}).encode()
        return self.raw(topic, payload)

    def raw(self, topic: str, payload: bytes) -> str | None:
        """Publish any bytes."""
        return self.state.apply(f"cnnbo/v1/{self.node}/{topic}", payload, self.now + self.slow_s, BROKER, self.is_kept)

    def device(self, index: int, **fields: Any) -> str | None:
        return self.say(f"device/GPU-{index}", gpu(index) | fields)

    def trial(self, number: int, study: str = "svhn", **fields: Any) -> str | None:
        return self.say(f"study/{study}/trial/{number}", trial(number) | fields)

    def study(self, name: str = "svhn", **fields: Any) -> str | None:
        return self.say(f"study/{name}", study(name) | fields)

    def progress(self, number: int, **fields: Any) -> str | None:
        body = {"trial": number, "step": 3720, "steps": 6000, "epoch": 1, "epochs": 1, "metrics": {}, "device": "GPU-0"}
        return self.say(f"study/svhn/trial/{number}/progress", body | fields)


def gpu(index: int) -> Body:
    """A device object."""
    return {
        "uuid": f"GPU-{index}",
        "index": index,
        "name": "NVIDIA GeForce RTX 4090",
        "state": "busy",
        "reason": None,
        "memory_used_mib": 11468.8,
        "memory_total_mib": 24576.0,
        "utilisation_percent": 97.0 - 3 * index,
        "temperature_c": 71.0 - index,
        "power_w": 402.0 - 6 * index,
        "study": "svhn",
        "trial": 39 + index,
    }


def configuration(number: int) -> Body:
    """Values of the eight parameters of 2016, different for each trial."""
    return {
        "filter1_width": 3 + number % 8,
        "filter1_depth": 10 + 7 * number % 55,
        "filter2_width": 3 + 3 * number % 8,
        "filter2_depth": 10 + 11 * number % 55,
        "keep_probability": round(0.2 + 0.05 * (number % 16), 3),
        "learning_rate": float(f"{10 ** (-1 - number % 4) * (1 + number % 7):.3g}"),
        "momentum": round(0.5 + 0.01 * (number % 50), 3),
        "decay": round(0.99 - 0.013 * (number % 30), 3),
    }


def trial(number: int) -> Body:
    """A complete trial."""
    is_ended, began = number <= 38, NOW - 99 - 51 * max(0, 38 - number)
    attempt = {
        "n": 1,
        "device": f"GPU-{number % 3}",
        "started": rfc3339(began),
        "ended": rfc3339(began + 130 + number) if is_ended else None,
        "outcome": "complete" if is_ended else None,
    }
    return {
        "id": number,
        "state": "complete",
        "configuration": configuration(number),
        "value": round(0.8714 + 0.0417 * (number / 38) ** 0.5 - 0.01 * (number * 7 % 5), 4),
        "failure": None,
        "source": "start" if number == 1 else "initial" if number < 10 else "surrogate",
        "duration_s": 150.0 + number,
        "energy_j": None,
        "cost": None,
        "attempts": [attempt],
    }


def study(name: str) -> Body:
    """A study in the middle of its work."""
    return {
        "name": name,
        "owner": "me",
        "state": "running",
        "reason": None,
        "archived": False,
        "evaluations": 80,
        "finished": 38,
        "running": 3,
        "failed": 2,
        "cancelled": 0,
        "best": {"trial": 35, "value": 0.9114, "configuration": configuration(35)},
        "best_trial": 35,
        "best_value": 0.9114,
        "energy_kwh": 0.68,
        "cost": 4.42,
        "eta_s": 2240.0,
        "metric": "val_accuracy",
        "direction": "maximize",
        "optimizer": "trieste",
        "failures": {"out_of_memory": 1, "diverged": 1},
        "budget_wall_clock_s": 28_800.0,
        "budget_cost": 100.0,
        "budget_energy_kwh": None,
        "test_set_openings": 0,
        "spent_wall_clock_s": 2040.0,
        "space": list(configuration(0)),
        "started": rfc3339(NOW - 2060),
        "spent_s": 2040.0,
        "insight": insight(),
    }


def insight() -> Body:
    """What a surrogate believes in the middle of a study."""
    return {
        "relevance": {
            "learning_rate": 0.46,
            "momentum": 0.2,
            "filter2_width": 0.13,
            "decay": 0.08,
            "filter1_depth": 0.1,
        },
        "best_mean": 0.90871,
        "best_sd": 0.0041,
        "noise_sd": 0.0038,
        "expected_improvement": 0.00214,
        "feasible_probability": 0.97,
        "expected_gain": 0.00208,
        "observations": 36,
        "observed": None,
        "asks_below_noise": 2,
        "stop_advised": False,
    }


@pytest.fixture
def new_daemon() -> Callable[..., Daemon]:
    """Makes daemons; without a state of their own they share a new one."""
    state = MonitorState()
    state.brokers[BROKER] = None

    def make(**settings: Any) -> Daemon:
        return Daemon(**({"state": state} | settings))

    return make


@pytest.fixture
def daemon(new_daemon: Callable[..., Daemon]) -> Daemon:
    """The daemon of the box `tower`, which has said nothing yet."""
    return new_daemon()


@pytest.fixture
def tower(daemon: Daemon) -> Daemon:
    """A box with four devices, one of them held by somebody, in the middle of a study."""
    daemon.raw("availability", b"online")
    daemon.say("info", {"version": "0.1.0", "started": rfc3339(NOW - 273_600)})
    for index in range(3):
        daemon.device(index)
    daemon.device(3, state="foreign", reason="alice: python train.py (pid 41277)", study=None, trial=None)
    daemon.study()
    for number in range(1, 39):
        daemon.trial(number)
    daemon.trial(17, state="failed", value=None, failure="out_of_memory", duration_s=14.0)
    daemon.trial(
        37, state="failed", value=None, failure="diverged", duration_s=11.0, message="Loss was NaN at step 212."
    )
    for number in (39, 40, 41):
        daemon.trial(number, state="running", value=None, duration_s=None)
    for second in range(10, -1, -1):
        daemon.now = NOW - second
        accuracy = round(0.8741 - 0.004 * second**1.5, 4)
        daemon.progress(39, step=3720 - 38 * second, metrics={"loss": 0.41, "val_accuracy": accuracy})
        daemon.progress(40, step=1080 - 9 * second, epochs=3, metrics={"val_accuracy": 0.71 - 0.01 * (second % 3)})
    return daemon
