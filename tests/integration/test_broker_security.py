"""A mosquitto that `cnnbo broker configure` set up: who may do what, and what is said to those who may not."""

import asyncio
import gc
import os
import secrets
import socket
import ssl
import stat
import subprocess
import tomllib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.integration.conftest import CNNBO, PATIENCE_S, Box
from tests.listeners import listeners
from tests.secured import SecuredBroker
from tests.subscriber import publish, subscribed

from cnnbo.daemon import certificates
from cnnbo.daemon.broker import EmbeddedBroker
from cnnbo.daemon.credentials import store
from cnnbo.daemon.mqtt import BrokerAddress, Failure, connected, reason_of

pytestmark = pytest.mark.mosquitto

ROOT = "cnnbo/v1"
NEWS = ("availability", "info", "device/cpu-0", "study/svhn", "study/svhn/trial/1", "study/svhn/trial/1/progress")


@pytest.fixture(scope="module")
def broker() -> Iterator[SecuredBroker]:
    broker = SecuredBroker()
    broker.start()
    yield broker
    broker.close()


def remove_line(broker: SecuredBroker, user: str) -> None:
    """Take a user's line out of `broker.toml`."""
    description = broker.folder / "broker.toml"
    lines = description.read_text().splitlines(keepends=True)
    description.write_text("".join(line for line in lines if not line.startswith(f"{user} = ")))


def certificate_of(broker: SecuredBroker) -> str:
    """The certificate that is shown to a client now."""
    return ssl.get_server_certificate(("127.0.0.1", broker.port))


async def refusal(address: BrokerAddress, reply_s: float = 10.0) -> str:
    """What is said to who is not let in."""
    with pytest.raises(Failure) as caught:
        async with connected(address.client(f"refused-{secrets.token_hex(4)}", reply_s=reply_s)):
            pass
    return reason_of(caught.value, address)


async def test_a_viewer_reads_the_news_of_every_node_and_nothing_else(broker: SecuredBroker) -> None:
    """What is asked and answered may hold what a guest at the wall screen shouldn't read."""
    viewer, operator = broker.address("viewer"), broker.address("operator")
    async with subscribed(viewer, "#") as seen, subscribed(operator, "#") as all_seen:
        await publish(operator, f"{ROOT}/tower/request/ping", b"ask")
        for node in ("tower", "other"):
            await publish(broker.address(node), f"{ROOT}/{node}/response/ping", b"answer")
            for topic in NEWS:
                await publish(broker.address(node), f"{ROOT}/{node}/{topic}", b"news")
        await publish(broker.address("tower"), f"{ROOT}/tower/event", b"last")
        await seen.payload(b"last")
        await all_seen.payload(b"last")
    news = [f"{ROOT}/{node}/{topic}" for node in ("tower", "other") for topic in NEWS] + [f"{ROOT}/tower/event"]
    asked = [f"{ROOT}/tower/request/ping", f"{ROOT}/tower/response/ping", f"{ROOT}/other/response/ping"]
    assert sorted(seen.topics) == sorted(news)
    assert sorted(all_seen.topics) == sorted(news + asked)


async def test_an_operator_can_command_and_a_viewer_cannot(broker: SecuredBroker) -> None:
    """A password that hangs beside the screen must stop nobody's study."""
    async with subscribed(broker.address("tower"), f"{ROOT}/tower/request/+") as daemon:
        await publish(broker.address("viewer"), f"{ROOT}/tower/request/pause", b"viewer")
        await publish(broker.address("operator"), f"{ROOT}/tower/request/pause", b"operator")
        await daemon.payload(b"operator")
    assert daemon.payloads == [b"operator"]


async def test_only_a_daemon_tells_the_news_of_its_node(broker: SecuredBroker) -> None:
    """A box that was broken into must not speak for the others, and no person for a box."""
    async with subscribed(broker.address("operator"), f"{ROOT}/#") as seen:
        for user in ("viewer", "operator", "other"):
            for topic in ("availability", "study/svhn", "event", "response/ping"):
                await publish(broker.address(user), f"{ROOT}/tower/{topic}", b"forged by " + user.encode())
        await publish(broker.address("tower"), f"{ROOT}/tower/event", b"true")
        await seen.payload(b"true")
    assert seen.payloads == [b"true"]


async def test_a_daemon_reads_its_own_requests_and_topics_only(broker: SecuredBroker) -> None:
    """It contradicts late wills and clears orphans of its node; what others are asked is none of its business."""
    tower, other, operator = (broker.address(user) for user in ("tower", "other", "operator"))
    async with subscribed(tower, "#") as seen:
        await publish(other, f"{ROOT}/other/study/svhn", b"theirs")
        await publish(operator, f"{ROOT}/other/request/ping", b"theirs")
        await publish(tower, f"{ROOT}/tower/study/svhn", b"ours")
        await publish(tower, f"{ROOT}/tower/availability", b"ours")
        await publish(operator, f"{ROOT}/tower/request/ping", b"last")
        await seen.payload(b"last")
    assert seen.payloads == [b"ours", b"ours", b"last"]


async def test_nobody_writes_or_reads_outside_of_the_base(broker: SecuredBroker) -> None:
    """The broker may carry a whole house; cnnbo's users have no business there."""
    users = ("tower", "viewer", "operator")
    async with subscribed(broker.address("operator"), "#", "$SYS/#") as seen:
        for user in users:
            await publish(broker.address(user), "house/door", b"open")
        await publish(broker.address("tower"), f"{ROOT}/tower/event", b"last")
        await seen.payload(b"last")
    assert seen.payloads == [b"last"]


async def test_a_reload_is_all_that_a_running_broker_takes(broker: SecuredBroker) -> None:
    """Nobody is shut out before it, and after it nobody stays in through a connection that was open."""
    broker.configure("--user", "alice:operator", "--user", "bob:operator", "--user", "carol:operator")
    broker.reload()
    alice, bob, carol = (broker.address(user) for user in ("alice", "bob", "carol"))
    certificate = certificate_of(broker)
    async with (
        connected(alice.client("alice")) as gone,
        connected(carol.client("carol")) as renewed,
        subscribed(bob, f"{ROOT}/#") as demoted,
    ):
        remove_line(broker, "alice")
        broker.configure("--user", "bob:viewer", "--new-password", "carol", "--host", "new.lan")
        for address in (alice, carol):
            async with connected(address.client("still-let-in")):
                pass
        broker.reload()
        for client in (gone, renewed):
            with pytest.raises(Failure, match="Disconnected"):
                await anext(client.messages)
        await publish(broker.address("tower"), f"{ROOT}/tower/response/ping", b"answer")
        await publish(broker.address("tower"), f"{ROOT}/tower/event", b"news")
        await demoted.payload(b"news")
        assert demoted.payloads == [b"news"]
    for address in (alice, carol):
        assert "Not authorized" in await refusal(address)
    assert certificate_of(broker) != certificate
    for user in ("bob", "carol"):
        remove_line(broker, user)
    broker.configure()
    broker.reload()


async def test_who_is_shut_out_stays_out(broker: SecuredBroker) -> None:
    """Added again under the old name, or given a new password: the old one opens nothing."""
    broker.configure("--user", "alice:operator")
    broker.reload()
    passwords = [broker.password("alice")]
    async with connected(broker.address("alice").client("alice")):
        pass
    remove_line(broker, "alice")
    broker.configure()
    for arguments in (("--user", "alice:operator"), ("--new-password", "alice")):
        broker.configure(*arguments)
        broker.reload()
        async with connected(broker.address("alice").client("alice")):
            passwords.append(broker.password("alice"))
        for former in passwords[:-1]:
            assert "Not authorized" in await refusal(broker.address("alice", former))
    remove_line(broker, "alice")
    broker.configure()
    broker.reload()


@pytest.mark.parametrize(("user", "password"), [(None, None), ("viewer", "wrong"), ("nobody", "wrong"), ("tower", "")])
async def test_strangers_are_told_how_to_log_in(broker: SecuredBroker, user: str | None, password: str | None) -> None:
    """Without a password, with a wrong one, or as somebody unknown: the answer is the same."""
    reason = await refusal(broker.address(user, password))
    assert reason == (
        f"mqtts://localhost:{broker.port}: Not authorized: user and password are missing or wrong; type "
        f"`cnnbo broker login mqtts://{user or 'NAME'}@localhost:{broker.port}`"
    )


async def test_there_is_no_door_without_tls(broker: SecuredBroker) -> None:
    """A password in clear would be everybody's on the same network."""
    plain = BrokerAddress("localhost", broker.port, False, "viewer", broker.password("viewer"))
    assert await refusal(plain, reply_s=0.5) == f"mqtt://localhost:{broker.port}: no answer"
    assert listeners(broker.pid) == {("0.0.0.0", broker.port), ("::", broker.port)}


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # paho leaves a refused TLS socket open
async def test_a_wrong_certificate_is_refused_with_what_to_do(broker: SecuredBroker, tmp_path: Path) -> None:
    """Whoever pretends to be the broker would get the password."""
    another = tmp_path / "another.crt"
    another.write_bytes(certificates.make_authority("somebody else").certificate)
    address = broker.address("viewer")
    unknown = "its certificate is signed by nobody trusted here; name its CA: `cnnbo broker login"
    assert unknown in await refusal(BrokerAddress("localhost", broker.port, True, "viewer", "x", another))
    assert unknown in await refusal(BrokerAddress("localhost", broker.port, True, "viewer", "x"))
    reason = await refusal(broker.address("viewer", host="127.0.0.2"))  # the same broker by an address it isn't for
    assert "its certificate is for another host; ask for it by a name that is in it" in reason
    async with connected(address.client("let-in")):
        pass
    gc.collect()  # of those sockets, while the filter above holds


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # as above
async def test_an_expired_certificate_is_refused_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is the commonest fault of TLS, and comes years after everybody has forgotten how it was set up."""

    class YearsAgo(datetime):
        @classmethod
        def now(cls, tz: object = None) -> "YearsAgo":
            return cls.fromtimestamp((datetime.now(UTC) - timedelta(days=1000)).timestamp(), UTC)

    authority = certificates.make_authority("years ago")
    monkeypatch.setattr(certificates, "datetime", YearsAgo)
    server = certificates.issue(authority, ["localhost"])
    files = {"ca.crt": authority.certificate, "server.crt": server.certificate, "server.key": server.key}
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "server.crt", tmp_path / "server.key")
    listener = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0, ssl=context)
    async with listener:
        port = listener.sockets[0].getsockname()[1]
        reason = await refusal(BrokerAddress("localhost", port, True, "viewer", "x", tmp_path / "ca.crt"))
    gc.collect()  # as above
    assert reason.endswith("its certificate has expired; `cnnbo broker configure DIR` on its box makes a new one")


def test_secrets_are_readable_by_those_who_need_them_alone(broker: SecuredBroker) -> None:
    """Mosquitto itself ran with these files, so what it reads it can read."""
    secret = {"ca.key", "server.key", "passwd", "acl"}
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in broker.folder.iterdir() if path.is_file()}
    assert {name for name, mode in modes.items() if mode == 0o600} == secret
    assert set(modes.values()) == {0o600, 0o644}
    passwords = broker.folder / "passwords"
    assert stat.S_IMODE(passwords.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in passwords.iterdir()} == {0o600}
    assert {path.name for path in passwords.iterdir()} == {"tower", "other", "viewer", "operator"}
    if os.getuid() == 0:
        assert (broker.folder / "ca.key").owner() == (passwords / "viewer").owner() == "root"
        assert (broker.folder / "passwd").owner() == (broker.folder / "server.key").owner() == "mosquitto"


def command_lines() -> str:
    """What `ps` shows of everybody at this moment."""
    lines = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            lines.append((process / "cmdline").read_bytes().decode(errors="replace"))
        except OSError:  # it has ended
            continue
    return "\n".join(lines)


def test_a_study_runs_and_is_watched_over_tls_as_the_printed_steps_say(broker: SecuredBroker, box: Box) -> None:
    """What `configure` prints is all that is needed, from the daemon to the screen; and no secret shows on the way."""
    configuration = "\n".join(line[4:] for line in broker.printed.splitlines() if line.startswith("    "))
    configuration = configuration[configuration.index("[mqtt]") : configuration.index("cnnbo broker login")]
    assert tomllib.loads(configuration)["mqtt"]["user"] == "tower"
    settings = box.folder / "cnnbo.toml"
    # The host's name may lead nowhere from a test's machine; the certificate is for localhost too.
    url = f"mqtts://localhost:{broker.port}"
    settings.write_text(configuration.replace(tomllib.loads(configuration)["mqtt"]["url"], url))
    environment = {"CNNBO_CONFIG": str(settings), "XDG_CONFIG_HOME": str(box.folder / "config")}
    box.environment |= environment
    daemon = box.start("daemon", "--devices", "cpu:1", "--node", "tower")
    said = box.wait_for(daemon, "ready:")
    assert box.json("status")["mqtt"] == url
    box.run("run", box.write_study(), CNNBO_BROKER_PASSWORD="not for trials")
    assert b"not for trials" not in b"".join(path.read_bytes() for path in box.state.glob("journal.sqlite*"))

    own = box.run("watch", "-1")  # as the daemon, whose settings and password may be read
    assert "STUDY parabola" in own.stdout

    viewer = f"mqtts://viewer@localhost:{broker.port}"
    login = subprocess.run(
        [CNNBO, "broker", "login", viewer, "--ca", broker.folder / "ca.crt"],
        env={**os.environ, **environment}, input=f"{broker.password('viewer')}\n", text=True, capture_output=True,
        timeout=PATIENCE_S, check=False,
    )  # fmt: skip
    assert login.returncode == 0, login.stderr
    shown = box.run("watch", "-1", "--broker", viewer)
    assert "STUDY parabola" in shown.stdout and "4/4" in shown.stdout
    assert "STUDY parabola" in box.run("watch", "-1").stdout  # where the daemon of this box says that it publishes

    seen = command_lines()
    assert "daemon" in seen
    daemon.terminate()
    assert daemon.stdout is not None
    said += daemon.stdout.readlines()
    keys = [(broker.folder / f"{name}.key").read_text() for name in ("ca", "server")]
    printed = [text for done in (login, own, shown) for text in (done.stdout, done.stderr)]
    logged = (broker.printed, "".join(said), broker.log.read_text(), *printed, seen)
    for secret in (*keys, *(broker.password(user) for user in ("tower", "other", "viewer", "operator"))):
        assert not any(secret in text for text in logged)


def test_a_password_that_is_kept_for_tls_is_not_sent_in_clear(box: Box) -> None:
    """One letter less in a URL, and everybody on the network could read it."""
    box.environment["XDG_CONFIG_HOME"] = str(box.folder / "config")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(PATIENCE_S)
        port = listener.getsockname()[1]
        store(BrokerAddress("127.0.0.1", port, True, "viewer", "a kept password"), box.environment)
        box.start("watch", "-1", "--broker", f"mqtt://127.0.0.1:{port}")
        connection, _ = listener.accept()
        with connection:
            said = connection.recv(4096)
    assert b"MQTT" in said
    assert b"a kept password" not in said and b"viewer" not in said


@pytest.mark.parametrize(
    ("variable", "sentence"),
    [
        ("CNNBO_MQTT_PASSWORD_FILE", "password file /nowhere can't be read (No such file or directory)"),
        ("CNNBO_MQTT_CA", "/nowhere is no file of a CA (No such file or directory)"),
    ],
)
def test_a_daemon_without_its_password_or_ca_does_not_start(box: Box, variable: str, sentence: str) -> None:
    """Found at the start it is a mistake of the settings; found later, news that never come."""
    settings = {"CNNBO_MQTT_URL": "mqtts://localhost", "CNNBO_MQTT_USER": "tower", variable: "/nowhere"}
    assert sentence in box.run("daemon", "--devices", "cpu:1", code=78, **settings).stderr
    assert not (box.state / "journal.sqlite").exists()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # paho leaves a refused TLS socket open
async def test_a_port_without_tls_is_told(tmp_path: Path) -> None:
    """The other commonest mistake."""
    async with EmbeddedBroker(tmp_path, 0) as plain:
        assert plain.url is not None
        reason = await refusal(BrokerAddress.parse(plain.url.replace("mqtt:", "mqtts:")))
    gc.collect()
    assert "does not seem to speak TLS at this port" in reason


async def test_a_reader_who_takes_a_name_for_a_daemons_disturbs_nobody(broker: SecuredBroker, box: Box) -> None:
    """A broker ends the connection of whoever had a client id before; a reader knows all that a daemon tells."""
    password = broker.folder / "passwords" / "tower"
    box.environment |= {
        "CNNBO_MQTT_URL": f"mqtts://localhost:{broker.port}",
        "CNNBO_MQTT_USER": "tower",
        "CNNBO_MQTT_PASSWORD_FILE": str(password),
        "CNNBO_MQTT_CA": str(broker.folder / "ca.crt"),
        "CNNBO_MQTT_REQUESTS": "true",
    }
    daemon = box.start("daemon", "--devices", "cpu:1", "--node", "tower")
    await asyncio.to_thread(box.wait_for, daemon, "requests are taken on")
    boot = (await asyncio.to_thread(box.json, "status"))["daemon"]["boot"]
    viewer, operator = broker.address("viewer"), broker.address("operator")
    async with subscribed(operator, f"{ROOT}/tower/availability", f"{ROOT}/tower/response/ping") as seen:
        forged = (viewer.client(f"cnnbo-tower-{boot}{suffix}") for suffix in ("", "-requests"))
        async with connected(next(forged)), connected(next(forged)):
            await publish(operator, f"{ROOT}/tower/request/ping", b'{"transaction": "after that"}')
            await seen.until(lambda: any(b"after that" in said for said in seen.payloads))
    assert b"offline" not in seen.payloads
