"""Slurm: whose the GPUs are where it runs."""

from collections.abc import Iterator

from cnnbo.cli.doctor.finding import Finding, ok, warn
from cnnbo.cli.doctor.scope import Scope
from cnnbo.daemon.devices.presence import runs_slurmd


def is_slurms(scope: Scope) -> bool:
    """Whether Slurm gives out the GPUs of this box, and gave none to us."""
    return "SLURM_JOB_ID" not in scope.environ and runs_slurmd(scope.places.proc)


def check_slurm(scope: Scope) -> Iterator[Finding]:
    """Whether Slurm is here, and whether we are in a job of its."""
    if job := scope.environ.get("SLURM_JOB_ID"):
        visible = scope.environ.get("CUDA_VISIBLE_DEVICES") or "no GPU"
        yield ok("slurm", f"inside Slurm job {job}: only the devices of its allocation are used ({visible})")
    elif is_slurms(scope):
        text = "slurmd runs here and this is no job of its: the GPUs of this box belong to Slurm, none was tried"
        yield warn("slurm", text, "run cnnbo inside a job: sbatch --gpus=1 --wrap 'cnnbo run study.toml'")
