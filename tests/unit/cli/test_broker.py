"""`cnnbo broker`: what is printed, what is refused, and what a login keeps."""

import contextlib
import gc
import socket
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.secured import SecuredBroker
from typer.testing import CliRunner, Result

from cnnbo.cli.commands import broker as commands
from cnnbo.scheduler.errors import CnnboError, ConfigurationError, RequestError


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    return {"XDG_CONFIG_HOME": str(tmp_path / "config"), "CNNBO_STATE": str(tmp_path / "state")}


@pytest.fixture(scope="module")
def secured() -> Iterator[SecuredBroker]:
    broker = SecuredBroker()
    broker.start()
    yield broker
    broker.close()


def run(environ: dict[str, str], *arguments: str | Path, stdin: str = "") -> Result:
    return CliRunner().invoke(commands.app, [str(argument) for argument in arguments], input=stdin, env=environ)


def refusal(environ: dict[str, str], *arguments: str | Path, stdin: str = "") -> CnnboError:
    error = run(environ, *arguments, stdin=stdin).exception
    assert isinstance(error, CnnboError)
    return error


def test_every_broker_command_stands_in_the_readme() -> None:
    """A command nobody is told of might as well not exist."""
    readme = (Path(__file__).parents[3] / "README.md").read_text()
    names = [command.callback.__name__ for command in commands.app.registered_commands if command.callback]
    assert names and all(f"`cnnbo broker {name}" in readme for name in names)


def test_a_dry_run_shows_everything_but_secrets(environ: dict[str, str], tmp_path: Path) -> None:
    """An administrator reads it before anything is written, and pastes it into a ticket."""
    folder = tmp_path / "broker"
    shown = run(environ, "configure", folder, "--node", "tower", "--dry-run").stdout
    for text in ("allow_anonymous false", "listener 8883", "topic write cnnbo/v1/+/request/+", "ca.key (new, secret)"):
        assert text in shown
    assert "BEGIN" not in shown and "$7$" not in shown
    assert "Nothing was written." in shown and not folder.exists()


def test_the_next_steps_are_those_of_who_is_new(environ: dict[str, str], tmp_path: Path) -> None:
    """Nobody reads once more what to do with the first box; and all are told the same name of the broker."""
    configure = ("configure", tmp_path / "broker", "--node", "tower")
    first = run(environ, *configure, "--host", "broker.lan").stdout
    assert 'user = "tower"' in first and "login mqtts://viewer@broker.lan:8883" in first
    second = run(environ, *configure, "--user", "box2:node", "--user", "alice:operator").stdout
    assert 'user = "box2"' in second and "login mqtts://alice@broker.lan:8883" in second
    assert "passwords/box2" in second and "requests = true" in second


def test_what_is_removed_is_told_before_and_after(environ: dict[str, str], tmp_path: Path) -> None:
    """It was a password; whoever still wanted it should hear."""
    folder = tmp_path / "broker"
    configure = ("configure", folder, "--node", "tower")
    run(environ, *configure, "--user", "alice:viewer")
    description = folder / "broker.toml"
    description.write_text(description.read_text().replace('alice = "viewer"\n', ""))
    assert "passwords/alice (removed)" in run(environ, *configure, "--dry-run").stdout
    assert (folder / "passwords" / "alice").exists()
    assert f"removed  {folder}/passwords/alice" in run(environ, *configure).stdout
    renewed = run(environ, *configure, "--new-password", "viewer").stdout
    assert "removed  " not in renewed
    assert renewed.endswith("Mosquitto does not go by this until you type: systemctl reload mosquitto\n")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--user", "bob"), "--user bob: write NAME:ROLE, with one of the roles viewer, operator, node"),
        (("--user", "bob:root"), "--user bob:root: write NAME:ROLE"),
        (("--base", "a/#"), "--base: must be the beginning of a topic"),
        (("--node", "Tower 3"), "--node: must be 1 to 40 of"),
        (("--cert", "server.crt"), "add what is missing"),
        (("--ca", "ca.crt"), "add what is missing"),
        (("--ask",), "--ask takes a terminal"),
    ],
)
def test_bad_input_is_told_in_a_sentence(
    environ: dict[str, str], tmp_path: Path, arguments: tuple[str, ...], sentence: str
) -> None:
    """Nothing is written then."""
    error = refusal(environ, "configure", tmp_path / "broker", *arguments)
    assert isinstance(error, ConfigurationError) and sentence in str(error)
    assert not (tmp_path / "broker").exists()


def test_a_folder_that_cannot_be_written_is_named(environ: dict[str, str], tmp_path: Path) -> None:
    """Most people try it without sudo first."""
    (tmp_path / "file").write_text("")
    assert f"{tmp_path}/file/broker" in str(refusal(environ, "configure", tmp_path / "file" / "broker"))


def test_without_cryptography_it_says_what_to_install(
    environ: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The thin base comes without it."""
    monkeypatch.setitem(sys.modules, "cnnbo.daemon.certificates", None)  # as where its import fails
    with contextlib.suppress(AttributeError):
        monkeypatch.delattr("cnnbo.daemon.certificates")
    error = refusal(environ, "configure", tmp_path / "broker")
    assert "pip install 'cnnbo[broker]'" in str(error)


@pytest.mark.mosquitto
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # paho leaves a refused TLS socket open
def test_a_login_is_kept_only_if_it_works(environ: dict[str, str], secured: SecuredBroker) -> None:
    """A wrong password that is stored is found weeks later, by a script at night."""
    url = f"mqtts://viewer@localhost:{secured.port}"
    kept = Path(environ["XDG_CONFIG_HOME"]) / "cnnbo" / "brokers.toml"
    error = refusal(environ, "login", url, stdin="wrong\n")
    assert isinstance(error, RequestError) and "signed by nobody trusted here" in str(error)
    error = refusal(environ, "login", url, "--ca", secured.folder / "ca.crt", stdin="wrong\n")
    assert "user and password are missing or wrong" in str(error) and "Nothing was stored." in str(error)
    assert not kept.exists()
    done = run(environ, "login", url, "--ca", secured.folder / "ca.crt", stdin=f"{secured.password('viewer')}\n")
    assert done.exit_code == 0 and secured.password("viewer") not in done.output
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert f'["mqtts://localhost:{secured.port}"]' in kept.read_text()
    done = run(environ, "login", url, stdin=f"{secured.password('viewer')}\n")  # the CA is known by now
    assert done.exit_code == 0 and str(secured.folder / "ca.crt") in kept.read_text()
    gc.collect()  # of that socket, while the filter above holds


@pytest.mark.parametrize(
    ("arguments", "stdin", "sentence"),
    [
        (("mqtts://me:secret@h",), "", "leave the password out of the URL"),
        (("mqtts://me@h",), "", "no password on stdin"),
        (("mqtts://h",), "secret\n", "write it into the URL: mqtts://USER@HOST"),
        (("mqtt://me@h", "--ca", "ca.crt"), "secret\n", "without TLS; write mqtts://"),
        (("mqtts://me@h", "--ca", "/gone/ca.crt"), "secret\n", "/gone/ca.crt is no file of a CA"),
        (("h",), "secret\n", "the broker's URL must look like"),
    ],
)
def test_a_login_that_makes_no_sense_is_refused(
    environ: dict[str, str], arguments: tuple[str, ...], stdin: str, sentence: str
) -> None:
    """Before anybody is asked for a password, or any connection is made."""
    error = refusal(environ, "login", *arguments, stdin=stdin)
    assert sentence in str(error) and "secret" not in str(error)


def test_a_login_at_no_broker_says_so(environ: dict[str, str]) -> None:
    """The commonest mistake is the port."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        url = f"mqtts://me@127.0.0.1:{silent.getsockname()[1]}"
        assert "Connection refused. Nothing was stored." in str(refusal(environ, "login", url, stdin="secret\n"))
