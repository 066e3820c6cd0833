"""Three boxes with eight devices each: real daemons over simulated NVIDIA drivers, at one broker."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from living.daemon import Daemon
from tests.nvml.driver import FakeDriver, FakeGpu, FakeProcess

_PYTHON = "/usr/bin/python3"  # it stands in the recording: no path of whoever records
DEVICES = 8
TRAIN = Path(__file__).with_name("train.py")

_STUDY = """\
name = "{name}"
command = ["python", "train.py", "{{args}}"]
evaluations = {evaluations}
optimizer = "{optimizer}"
metric = "val_accuracy"
[space]
learning_rate = {{ type = "float", low = 1e-5, high = 1.0, scale = "log" }}
momentum = {{ type = "float", low = 0.5, high = 0.99 }}
keep_probability = {{ type = "float", low = 0.2, high = 1.0 }}
width = {{ type = "int", low = 3, high = 10 }}
depth = {{ type = "int", low = 10, high = 64 }}
[trial]
python = "{python}"
[budget]
cost = 100.0
price_per_device_hour = 2.60
"""


@dataclass(frozen=True, slots=True)
class Plan:
    """One box: its name, what its devices are, and the study it gets."""

    node: str
    device_name: str
    memory_mib: int
    power_w: int
    study: str
    optimizer: str
    evaluations: int


PLANS = (
    Plan("tower", "NVIDIA GeForce RTX 4090", 24564, 450, "digits", "bo", 80),
    Plan("attic", "NVIDIA RTX A6000", 49140, 300, "letters", "sobol", 60),
    Plan("lab", "NVIDIA H100 80GB HBM3", 81559, 700, "faces", "random", 120),
)


class SimulatedBox:
    """A daemon over a driver whose devices work when a trial is on them.

    Args:
        plan: what it is.
        folder: for its state, leases and driver.
        library: folder of the stand-in for NVIDIA's library.
        broker: URL where it publishes.
    """

    def __init__(self, plan: Plan, folder: Path, library: Path, broker: str) -> None:
        self.plan = plan
        self._folder = folder
        self._chance = random.Random(plan.node)
        folder.mkdir(parents=True)
        (folder / "train.py").write_text(TRAIN.read_text())
        self.uuids = [f"GPU-{self._chance.getrandbits(32):08x}-{k:04x}-4000-8000-{k:012x}" for k in range(DEVICES)]
        gpus = [
            FakeGpu(uuid, plan.device_name, f"00000000:{k:02x}:00.0", plan.memory_mib, power_mw=plan.power_w * 100)
            for k, uuid in enumerate(self.uuids)
        ]
        self.driver = FakeDriver(library, folder / "driver", gpus)
        self._energy_mj = dict.fromkeys(self.uuids, 0)
        where = {"CNNBO_NODE": plan.node, "CNNBO_MQTT_URL": broker}
        self._daemon = Daemon(folder, "auto", environment=self.driver.env() | where)

    @contextmanager
    def running(self) -> Iterator[None]:
        """The daemon is up and its study submitted while the block runs."""
        self._daemon.start()
        try:
            self._submit()
            yield
        finally:
            self._daemon.stop()

    def _submit(self) -> None:
        plan = self.plan
        text = _STUDY.format(name=plan.study, optimizer=plan.optimizer, evaluations=plan.evaluations, python=_PYTHON)
        (self._folder / "study.toml").write_text(text)
        self.tell("submit", "study.toml")

    def tell(self, *arguments: str) -> None:
        """Run `cnnbo …` for what it does."""
        self._daemon.tell(*arguments)

    def work(self, busy: set[str], seconds: float) -> None:
        """Let the devices look as if they had done this for some seconds."""
        for uuid in self.uuids:
            share = self._chance.gauss(0.95, 0.02) if uuid in busy else 0.0
            power_w = self.plan.power_w * (0.16 + 0.7 * share) + self._chance.gauss(0, 4)
            self._energy_mj[uuid] += int(power_w * seconds * 1000)
            self.driver.change(
                uuid,
                utilisation_percent=min(100, int(100 * share)),
                memory_used_mib=int(self.plan.memory_mib * (0.42 + 0.02 * self._chance.random())) if share else 3,
                temperature_c=int(38 + 33 * share + self._chance.gauss(0, 1)),
                power_mw=int(power_w * 1000),
                energy_mj=self._energy_mj[uuid],
            )

    def visit(self, index: int, pid: int) -> None:
        """Put somebody else's process on a device."""
        self.driver.occupy(self.uuids[index], FakeProcess(pid, 9_300))
