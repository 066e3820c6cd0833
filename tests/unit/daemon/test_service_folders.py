"""Where a service and its clients meet."""

import os
import socket
from pathlib import Path

import pytest

from cnnbo.daemon.folders import (
    NO_FOLDERS,
    SERVICE_STATE,
    ServiceFolders,
    closed_service,
    service_folders,
    state_folder,
)


@pytest.mark.parametrize(
    ("environ", "folders"),
    [
        ({}, NO_FOLDERS),
        ({"RUNTIME_DIRECTORY": "", "LOGS_DIRECTORY": ""}, NO_FOLDERS),
        ({"RUNTIME_DIRECTORY": "/run/cnnbo"}, ServiceFolders(runtime=Path("/run/cnnbo"))),
        (
            {"RUNTIME_DIRECTORY": "/run/cnnbo:/run/b", "LOGS_DIRECTORY": "/var/log/cnnbo:/var/log/b"},
            ServiceFolders(Path("/run/cnnbo"), Path("/var/log/cnnbo")),
        ),
    ],
)
def test_systemd_says_where_a_service_has_its_socket_and_logs(environ: dict[str, str], folders: ServiceFolders) -> None:
    """A unit may have several folders of a kind; its own come first."""
    assert service_folders(environ) == folders


def test_a_service_of_a_user_is_no_client_of_the_one_of_the_box(tmp_path: Path) -> None:
    """It would try to work in the state folder of the other, to which its user may talk, and fail at every start."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "control.sock"))
        listener.listen()
        environ = {"HOME": "/home/me", "NOTIFY_SOCKET": "/run/user/1000/systemd/notify"}
        found = state_folder(None, environ, node="tower", service_socket=tmp_path / "control.sock")
    assert found == Path("/home/me/.local/state/cnnbo/tower")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root means the service without being let in")
def test_root_means_the_service_while_it_is_down_too(tmp_path: Path) -> None:
    """Its studies seem lost otherwise, and the advice would be a daemon of root's own."""
    nobody, unit = tmp_path / "control.sock", tmp_path / "cnnbo.service"
    own = Path("/root/.local/state/cnnbo/tower")
    root = {"HOME": "/root"}
    assert state_folder(None, root, node="tower", service_socket=nobody, service_unit=unit) == own
    unit.touch()
    assert state_folder(None, root, node="tower", service_socket=nobody, service_unit=unit) == SERVICE_STATE


def test_nobody_is_told_of_a_service_that_is_not_there_or_open(tmp_path: Path) -> None:
    """An administrator would be asked for rights that open nothing."""
    path = tmp_path / "control.sock"
    assert closed_service(path) is None
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        assert closed_service(path) is None
    assert closed_service(path) is None, "one that a dead service left behind"
