"""The count of the kernel's out-of-memory kills, in the layouts of both versions."""

from pathlib import Path

import pytest

from cnnbo.daemon.cgroup import oom_kills

V1 = "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n"
V2 = "low 0\nhigh 0\nmax 12\noom 4\noom_kill 3\noom_group_kill 0\n"


@pytest.mark.parametrize(
    ("membership", "file", "content"),
    [
        ("0::/system.slice/cnnbo.service\n", "system.slice/cnnbo.service/memory.events", V2),
        ("0::/\n", "memory.events", V2),
        ("5:cpu,cpuacct:/a\n4:memory:/a/b\n0::/\n", "memory/a/b/memory.oom_control", V1),
        ("4:memory:/docker/0123\n", "memory/memory.oom_control", V1),
    ],
    ids=["v2", "v2 in a container", "v1 beside an empty v2", "v1 in a container"],
)
def test_kills_are_counted_wherever_the_cgroup_lies(membership: str, file: str, content: str, tmp_path: Path) -> None:
    """Services, containers and older kernels lay the files out differently."""
    (tmp_path / "membership").write_text(membership)
    (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / file).write_text(content)
    assert oom_kills(tmp_path / "membership", tmp_path) == 3


@pytest.mark.parametrize("membership", ["0::/\n", "4:memory:/x\n", "", None])
def test_without_a_count_nothing_is_claimed(membership: str | None, tmp_path: Path) -> None:
    """Not known is another thing than zero."""
    if membership is not None:
        (tmp_path / "membership").write_text(membership)
    (tmp_path / "memory.events").write_text("max 0\n")
    assert oom_kills(tmp_path / "membership", tmp_path) is None
