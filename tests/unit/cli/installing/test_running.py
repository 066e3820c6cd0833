"""Whether the service runs by what is installed."""

import pytest

from cnnbo.cli.installing.running import Running


def running(version: str | None, commit: str | None) -> Running:
    return Running(True, "active", None, 1, 0, None, None, None, (), version, commit, None)


@pytest.mark.parametrize(
    ("version", "commit", "is_other"),
    [
        ("0.1.0", "a" * 40, False),
        ("0.1.0", "b" * 40, True),
        ("0.1.0", f"{'a' * 40}-dirty", True),
        ("0.2.0", "a" * 40, True),
        ("0.2.0", None, True),
        ("0.1.0", None, False),
        (None, None, False),
    ],
)
def test_another_commit_of_a_version_counts_as_another(version: str | None, commit: str | None, is_other: bool) -> None:
    """Whoever installs from a branch gets many commits of one version; what isn't known is no reason to restart."""
    assert running(version, commit).is_other_than("0.1.0", "a" * 40) is is_other
