"""Preparing the data of a study, before any of its trials begins."""

import asyncio
import os
import sys
from typing import Final

from cnnbo.models.registry import find_model
from cnnbo.scheduler.comparison import final_form
from cnnbo.scheduler.errors import ConfigurationError
from cnnbo.scheduler.spec import StudySpec

PREPARE_S: Final = 600.0
"""So long the preparation of a study's data may take; that of all of SVHN takes about a minute."""


async def prepare_data(spec: StudySpec, deadline_s: float = PREPARE_S) -> None:
    """Check and cache the data of a built-in model, in a process of its own, which ends with the wait for it.

    Raises:
        ConfigurationError: what is wrong with the data.
    """
    model = None if spec.model is None else find_model(spec.model)
    if model is None or model.prepare is None or spec.data_dir is None:
        return
    images = [] if spec.trial.images is None else ["--images", str(spec.trial.images)]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-P", "-m", model.prepare, spec.data_dir, "--task", spec.trial.task, *images,
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        async with asyncio.timeout(deadline_s):
            _, errors = await process.communicate()
    except TimeoutError:
        raise ConfigurationError(
            f"The data in {spec.data_dir} were not prepared within {deadline_s / 60:.0f} minutes; see whether its disk "
            "answers and what else works on them, then submit the study again."
        ) from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        said = errors.decode(errors="replace").strip().splitlines()
        if not said or process.returncode != os.EX_CONFIG:
            said = [_broken(spec, said[-1] if said else f"exit status {process.returncode}")]
        raise ConfigurationError(said)


def _broken(spec: StudySpec, how: str) -> str:
    """One sentence about a preparation that ended otherwise than by naming mistakes."""
    return (
        f"The data in {spec.data_dir} could not be prepared ({how}); see whether the memory of this box was full, and "
        f"what `cnnbo data verify {spec.data_dir}` says, then submit the study again."
    )


async def prepare_comparison_data(spec: StudySpec) -> None:
    """Check and cache the data for all stages of a comparison: a test set that is missing is told before the search.

    Args:
        spec: any of the studies that the comparison begins with.

    Raises:
        ConfigurationError: what is wrong with the data.
    """
    await prepare_data(spec)
    if spec.model is not None:
        await prepare_data(final_form(spec))
