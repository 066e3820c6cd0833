import socket
import stat
from pathlib import Path

import pytest

from cnnbo.daemon.folders import (
    SERVICE_STATE,
    default_node,
    prepare_lease_dir,
    prepare_state_folder,
    refuse_shared_mount,
    state_folder,
)
from cnnbo.scheduler.errors import ConfigurationError

HOME = {"HOME": "/home/me"}


@pytest.fixture
def no_service(tmp_path: Path) -> Path:
    return tmp_path / "no.sock"


@pytest.mark.parametrize(
    ("explicit", "environ", "expected"),
    [
        ("/data/state", {"STATE_DIRECTORY": "/var/lib/cnnbo"}, "/data/state"),
        (None, {"STATE_DIRECTORY": "/var/lib/cnnbo:/var/lib/other"} | HOME, "/var/lib/cnnbo"),
        (None, {"XDG_STATE_HOME": "/xdg"} | HOME, "/xdg/cnnbo/tower"),
        (None, {"XDG_STATE_HOME": "not/absolute"} | HOME, "/home/me/.local/state/cnnbo/tower"),
        (None, HOME, "/home/me/.local/state/cnnbo/tower"),
    ],
)
def test_the_state_folder_is_the_first_that_applies(
    explicit: str | None, environ: dict[str, str], expected: str, no_service: Path
) -> None:
    """Client and daemon must come to the same folder, or they never meet."""
    assert state_folder(explicit, environ, node="tower", service_socket=no_service) == Path(expected)


def test_a_user_without_a_home_is_asked_for_a_folder(no_service: Path) -> None:
    """In a container the user may be a bare number; `~` as a folder name would be a surprise."""
    with pytest.raises(ConfigurationError, match=r"no home folder.*--state DIR"):
        state_folder(None, {"HOME": "~"}, service_socket=no_service)


def test_a_relative_state_folder_counts_from_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A daemon changes no directory, but the path is handed to processes that do."""
    monkeypatch.chdir(tmp_path)
    assert state_folder("state", HOME) == tmp_path / "state"


def test_a_service_that_answers_is_preferred_to_a_folder_of_ones_own(tmp_path: Path) -> None:
    """`cnnbo submit` goes to the service where there is one; a socket that a dead one left behind does not count."""
    path = tmp_path / "control.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        assert state_folder(None, HOME, service_socket=path) == SERVICE_STATE
    assert state_folder(None, HOME, node="tower", service_socket=path) == Path("/home/me/.local/state/cnnbo/tower")


@pytest.mark.parametrize(
    ("hostname", "node"), [("Tower_3.lab", "tower-3"), ("GPU--box", "gpu-box"), ("...", "box"), ("x" * 60, "x" * 40)]
)
def test_a_host_name_becomes_a_name_for_topics(hostname: str, node: str) -> None:
    """Upper case, dots and length are fine in host names and not in topics and folders."""
    assert default_node(hostname) == node


MOUNTS = r"""22 1 0:21 / / rw,relatime shared:1 - ext4 /dev/vda rw
23 22 0:22 / /proc rw - proc proc rw
30 22 0:40 / /home rw,relatime shared:2 master:1 - nfs4 server:/home rw,vers=4.2
31 30 0:41 / /home/me/scratch rw - xfs /dev/sdb rw
32 22 0:42 / /mnt/my\040share rw - cifs //server/share rw
33 22 0:43 / /remote rw - fuse.sshfs me@host: rw
34 22 0:44 / /auto rw - autofs systemd-1 rw
35 34 0:45 / /auto rw - nfs server:/auto rw
36 22 0:46 / /was rw - nfs server:/was rw
37 36 0:47 / /was rw - ext4 /dev/sdc rw
a line that is none
"""


@pytest.fixture
def mountinfo(tmp_path: Path) -> Path:
    path = tmp_path / "mountinfo"
    path.write_text(MOUNTS)
    return path


@pytest.mark.parametrize(
    ("path", "kind"),
    [("/home/me/state", "nfs4"), ("/mnt/my share/x", "cifs"), ("/remote", "fuse.sshfs"), ("/auto/x", "nfs")],
)
def test_a_folder_that_machines_share_is_refused_with_a_remedy(mountinfo: Path, path: str, kind: str) -> None:
    """SQLite's write-ahead log loses data there."""
    with pytest.raises(ConfigurationError, match=rf"state folder {path} is on {kind} \(mounted at .*--state DIR"):
        refuse_shared_mount(Path(path), mountinfo=mountinfo)


@pytest.mark.parametrize("path", ["/var/lib/cnnbo", "/home/me/scratch/state", "/was/x", "/homestead", "/"])
def test_a_folder_on_a_disk_of_the_box_is_accepted(mountinfo: Path, path: str) -> None:
    """The innermost mount decides, and of two at one point the later."""
    refuse_shared_mount(Path(path), mountinfo=mountinfo)


def test_without_a_list_of_mounts_nothing_is_refused(tmp_path: Path) -> None:
    """Other systems have no such list."""
    refuse_shared_mount(tmp_path, mountinfo=tmp_path / "missing")


def test_a_link_to_a_share_is_followed(tmp_path: Path, mountinfo: Path) -> None:
    """~/state is often a link."""
    link = tmp_path / "state"
    link.symlink_to("/remote/somewhere")
    with pytest.raises(ConfigurationError, match="sshfs"):
        refuse_shared_mount(link, mountinfo=mountinfo)


def test_a_new_state_folder_is_the_users_alone(tmp_path: Path) -> None:
    """Its logs and its journal may hold what others should not read."""
    path = tmp_path / "a" / "state"
    prepare_state_folder(path)
    prepare_state_folder(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o700
    assert list(path.iterdir()) == []


def test_a_state_folder_that_will_not_do_is_refused(tmp_path: Path) -> None:
    """Found before the first trial starts. (/proc takes no folder, not even from root.)"""
    file = tmp_path / "file"
    file.touch()
    for path, reason in ((file, "is a file"), (file / "below", "is a file"), (Path("/proc/cnnbo"), "can't be written")):
        with pytest.raises(ConfigurationError, match=rf"^state folder {path} {reason}.*--state DIR\.$"):
            prepare_state_folder(path)


def test_a_new_lease_folder_is_open_to_everybody(tmp_path: Path) -> None:
    """The leases of all users of a box must meet there; like /run/lock, nobody may remove another's."""
    prepare_lease_dir(tmp_path / "leases")
    assert stat.S_IMODE((tmp_path / "leases").stat().st_mode) == 0o1777


def test_a_lease_folder_that_will_not_do_names_the_setting(tmp_path: Path) -> None:
    """The remedy is a setting that few people know."""
    with pytest.raises(ConfigurationError, match=r"^lease folder /proc/cnnbo can't be written.*set lease_dir"):
        prepare_lease_dir(Path("/proc/cnnbo"))
