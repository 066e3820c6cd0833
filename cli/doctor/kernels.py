"""Whether a library was built for the cards that are there."""

import re
from collections.abc import Iterable
from typing import Final

Capability = tuple[int, int]
"""NVIDIA's compute capability: major and minor."""

_KERNEL: Final = re.compile(r"(?:sm|compute)_(\d+)(\d)[a-z]?")


def has_kernels(kernels: Iterable[str], capability: Capability) -> bool:
    """Whether one of the builds runs on a card.

    A binary runs on cards of its own major number and the same or a higher minor one (CUDA C++ Programming Guide,
    "Binary Compatibility"). TensorFlow's `compute_90` is a binary, and PTX beside it; what the driver makes of that for
    later cards does not run in practice (tensorflow#90291), so it doesn't count here.

    Args:
        kernels: what the library was built for, like `sm_80` or `compute_90`; others are passed over.
        capability: of the card.

    Example:
        >>> [has_kernels(["sm_60", "sm_80", "compute_90"], card) for card in ((6, 1), (8, 6), (9, 0), (12, 0), (5, 2))]
        [True, True, True, False, False]
    """
    major, minor = capability
    found = [match for match in map(_KERNEL.fullmatch, kernels) if match]
    return any(int(match[1]) == major and int(match[2]) <= minor for match in found)


def cuda_version(text: str) -> Capability | None:
    """The release of CUDA that a version begins with.

    Example:
        >>> cuda_version("12.5.1"), cuda_version("64_110")
        ((12, 5), None)
    """
    match = re.match(r"(\d+)\.(\d+)", text)
    return None if match is None else (int(match[1]), int(match[2]))


def driver_is_too_old(newest: Capability | None, built_with: str) -> bool:
    """Whether a driver serves no CUDA of this major number; within one, later minor releases run, too.

    NVIDIA calls that minor version compatibility ("CUDA Compatibility", section 2).

    Args:
        newest: the newest CUDA that the driver serves; None = unknown.
        built_with: the CUDA that the library was built with.
    """
    wanted = cuda_version(built_with)
    return newest is not None and wanted is not None and newest[0] < wanted[0]
