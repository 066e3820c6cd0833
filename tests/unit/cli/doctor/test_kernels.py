"""Whether a build runs on a card."""

import pytest

from cnnbo.cli.doctor.kernels import driver_is_too_old, has_kernels

TENSORFLOW = ("sm_60", "sm_70", "sm_80", "sm_89", "compute_90")
PYTORCH = ("sm_50", "sm_90a", "sm_120", "compute_120")


@pytest.mark.parametrize(
    ("kernels", "card", "runs"),
    [
        (TENSORFLOW, (7, 5), True),
        (TENSORFLOW, (8, 6), True),
        (TENSORFLOW, (9, 0), True),
        (TENSORFLOW, (5, 2), False),
        (TENSORFLOW, (10, 0), False),
        (TENSORFLOW, (12, 0), False),
        (PYTORCH, (12, 0), True),
        (PYTORCH, (9, 0), True),
        (PYTORCH, (6, 1), False),
        (("gfx90a",), (9, 0), False),
    ],
)
def test_binaries_run_within_their_major_number(kernels: tuple[str, ...], card: tuple[int, int], runs: bool) -> None:
    """A 4090 (8.9) runs what was built for 8.0; a 5090 (12.0) runs nothing that was built for 9.0."""
    assert has_kernels(kernels, card) is runs


@pytest.mark.parametrize(
    ("newest", "built_with", "too_old"),
    [((12, 2), "12.5.1", False), ((12, 8), "12.5.1", False), ((11, 8), "12.5.1", True), (None, "12.5.1", False)],
)
def test_a_driver_of_the_same_major_cuda_will_do(
    newest: tuple[int, int] | None, built_with: str, too_old: bool
) -> None:
    """A laboratory doesn't renew its driver with every minor release, and needn't."""
    assert driver_is_too_old(newest, built_with) is too_old
