"""Whose the GPUs are where Slurm runs."""

from dataclasses import replace
from pathlib import Path

from tests.unit.cli.doctor.conftest import at

from cnnbo.cli.doctor.finding import Level
from cnnbo.cli.doctor.scope import Scope
from cnnbo.cli.doctor.slurm import check_slurm, is_slurms


def with_slurmd(scope: Scope, tmp_path: Path) -> Scope:
    for pid, name in ((1, "systemd"), (812, "slurmd"), (900, "slurmstepd")):
        (tmp_path / "proc" / str(pid)).mkdir(parents=True)
        (tmp_path / "proc" / str(pid) / "comm").write_text(f"{name}\n")
    return at(scope, proc=tmp_path / "proc")


def test_gpus_belong_to_slurm_where_it_runs(scope: Scope, tmp_path: Path) -> None:
    """Jobs of others are about to be put there, and nobody would see why they fail."""
    machine = with_slurmd(scope, tmp_path)
    [found] = check_slurm(machine)
    assert found.level is Level.WARN and "sbatch" in str(found.fix)
    assert is_slurms(machine) and not is_slurms(scope)
    assert list(check_slurm(scope)) == []


def test_inside_a_job_its_allocation_is_ours(scope: Scope, tmp_path: Path) -> None:
    """There Slurm has said which devices are to be used."""
    inside = replace(with_slurmd(scope, tmp_path), environ={"SLURM_JOB_ID": "42", "CUDA_VISIBLE_DEVICES": "1"})
    [found] = check_slurm(inside)
    assert found.level is Level.OK and "job 42" in found.text and not is_slurms(inside)
