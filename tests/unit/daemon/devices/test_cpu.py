"""CPU slots."""

import os
from pathlib import Path

import pytest
from tests.contracts.device_backend import DeviceBackendContract

from cnnbo.daemon.devices.cpu import CpuBackend, share_cores


class TestCpuBackend(DeviceBackendContract):
    """Two slots on this machine's own figures."""

    @pytest.fixture
    def backend(self) -> CpuBackend:
        return CpuBackend(slots=2, cores=(0, 1))  # the machine need not have the second core


def write_stat(proc: Path, **ticks: str) -> None:
    """Write /proc/stat with the given ticks of each core: user nice system idle iowait irq softirq steal guest."""
    lines = [f"{core} {figures}" for core, figures in ticks.items()]
    (proc / "stat").write_text("\n".join(["cpu  9 9 9 9 9 9 9 9 9 9", *lines, "intr 12345 0 0", "ctxt 5"]) + "\n")


def test_takes_the_cores_this_process_may_use() -> None:
    """In a container or under taskset the machine's other cores are somebody else's."""
    (slot,) = CpuBackend().discover()
    assert set(slot.cores) == os.sched_getaffinity(0)


@pytest.mark.parametrize(("cores", "slots"), [(8, 3), (8, 8), (5, 2), (1, 1), (7, 4)])
def test_every_core_belongs_to_one_slot(cores: int, slots: int) -> None:
    """A core in two slots slows two trials, a core in none is wasted, uneven slots make durations incomparable."""
    shares = share_cores(range(cores), slots)
    assert sorted(core for share in shares for core in share) == list(range(cores))
    assert len(shares) == slots
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_more_slots_than_cores_share_in_turn() -> None:
    """Trials that only wait are worth running side by side on few cores."""
    assert share_cores([4, 6], 5) == [(4,), (6,), (4,), (6,), (4,)]


def test_hides_every_gpu_and_limits_threads() -> None:
    """A CPU trial must neither take a GPU nor start a thread per core of the whole machine."""
    wide, narrow = CpuBackend(slots=2, cores=(0, 1, 2)).discover()
    assert wide.environment["CUDA_VISIBLE_DEVICES"] == ""
    assert wide.environment["OMP_NUM_THREADS"] == wide.environment["TF_NUM_INTRAOP_THREADS"] == "2"
    assert narrow.environment["OMP_NUM_THREADS"] == "1"


def test_utilisation_is_that_of_the_slots_own_cores_since_the_last_sample(tmp_path: Path) -> None:
    """Averages since boot, or over other slots' cores, would tell nothing of the trial."""
    write_stat(tmp_path, cpu0="100 0 0 900 0 0 0 0 0", cpu1="0 0 0 0 0 0 0 0 0")
    backend = CpuBackend(slots=2, cores=(0, 1), proc=tmp_path)
    backend.discover()
    write_stat(tmp_path, cpu0="140 10 20 920 5 3 2 0 40", cpu1="0 0 0 50 50 0 0 0 0")
    samples = backend.sample()
    assert samples["cpu-0"].utilisation_percent == 75.0
    assert samples["cpu-1"].utilisation_percent == 0.0  # waiting for a disk is not work


def test_memory_is_the_machines(tmp_path: Path) -> None:
    """Page cache doesn't count: the kernel gives it back when a trial asks."""
    (tmp_path / "meminfo").write_text("MemTotal: 4194304 kB\nMemFree: 10240 kB\nMemAvailable: 3145728 kB\n")
    backend = CpuBackend(proc=tmp_path)
    backend.discover()
    sample = backend.sample()["cpu-0"]
    assert (sample.memory_used_mib, sample.memory_total_mib) == (1024.0, 4096.0)


def test_names_the_processor(tmp_path: Path) -> None:
    """People tell machines apart by it."""
    (tmp_path / "cpuinfo").write_text("processor\t: 0\nmodel name\t: AMD EPYC 9654 96-Core\nflags\t: fpu\n")
    assert CpuBackend(proc=tmp_path).discover()[0].name == "AMD EPYC 9654 96-Core"


def test_does_without_the_kernels_figures(tmp_path: Path) -> None:
    """Some containers hide /proc files; training needs none of them."""
    backend = CpuBackend(slots=2, proc=tmp_path)
    assert backend.discover()[0].name.startswith("CPU")
    sample = backend.sample()["cpu-0"]
    assert (sample.memory_used_mib, sample.utilisation_percent, sample.fault) == (None, None, None)
