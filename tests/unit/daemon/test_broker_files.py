"""The folder of a broker: made, made again, and what is refused. What mosquitto makes of it is tested elsewhere."""

import re
import stat
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from cnnbo.daemon import certificates
from cnnbo.daemon.broker_certificate import GivenCertificate
from cnnbo.daemon.broker_files import Plan, Wishes, plan
from cnnbo.daemon.mosquitto import Role
from cnnbo.daemon.tls import fault_of
from cnnbo.scheduler.errors import ConfigurationError

HOSTS = ("tower", "127.0.0.1")


def made_up(user: str) -> str | None:
    return None


def planned(folder: Path, new_password: Callable[[str], str | None] = made_up, **wishes: object) -> Plan:
    return plan(Wishes(folder, "tower", HOSTS, **wishes), new_password)  # type: ignore[arg-type]


def made(folder: Path, new_password: Callable[[str], str | None] = made_up, **wishes: object) -> Plan:
    done = planned(folder, new_password, **wishes)
    done.write()
    return done


def changes(done: Plan) -> Mapping[str, str]:
    """What wasn't kept."""
    return {str(file.path.relative_to(done.folder)): file.change for file in done.files if file.change != "kept"}


def refusal(folder: Path, **wishes: object) -> str:
    with pytest.raises(ConfigurationError) as caught:
        planned(folder, made_up, **wishes)
    return str(caught.value)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "broker"


@pytest.fixture
def given(tmp_path: Path) -> GivenCertificate:
    """A certificate for `broker.lan` by a CA that isn't ours."""
    authority = certificates.make_authority("company")
    server = certificates.issue(authority, ["broker.lan"])
    contents = {"given.crt": server.certificate, "given.key": server.key, "company.crt": authority.certificate}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    return GivenCertificate(*(tmp_path / name for name in contents))


def test_a_plan_writes_nothing(folder: Path) -> None:
    """`--dry-run` promises it."""
    assert set(changes(planned(folder)).values()) == {"new"}
    assert not folder.exists()


def test_made_again_nothing_changes(folder: Path) -> None:
    """It is run again after every doubt; passwords that were handed out must go on working."""
    made(folder)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert changes(made(folder)) == {}
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("lost", ["broker.toml", "passwd", "acl", "cnnbo.conf", "ca.crt", "server.key"])
def test_a_file_that_is_lost_is_made_again(folder: Path, lost: str) -> None:
    """Whoever is interrupted half-way, or deletes the wrong file, runs it again."""
    made(folder)
    (folder / lost).unlink()
    made(folder)
    assert changes(made(folder)) == {}
    assert fault_of(folder / "server.crt", folder / "server.key", folder / "ca.crt", "tower") is None


def test_made_again_rights_are_mended(folder: Path) -> None:
    """A copy or a careless chmod may have opened a secret."""
    made(folder)
    (folder / "ca.key").chmod(0o644)
    made(folder)
    assert stat.S_IMODE((folder / "ca.key").stat().st_mode) == 0o600


def test_a_user_is_added_and_nobody_else_notices(folder: Path) -> None:
    """Certificates and the others' passwords stay as they are."""
    made(folder)
    before = (folder / "passwd").read_text()
    done = made(folder, users={"box2": Role.NODE})
    assert changes(done) == {
        "broker.toml": "changed",
        "passwords/box2": "new",
        "passwd": "changed",
        "acl": "changed",
    }
    assert (folder / "passwd").read_text().startswith(before)
    assert list(done.broker.users) == ["tower", "viewer", "operator", "box2"]


def test_port_base_and_names_that_were_given_once_hold(folder: Path) -> None:
    """Whoever adds a user later doesn't remember with which options it began."""
    made(folder, port=9883, base="lab/cnnbo", hosts=("broker.lan",))
    done = made(folder)
    assert (done.broker.port, done.broker.base) == (9883, "lab/cnnbo")
    assert "listener 9883\n" in (folder / "cnnbo.conf").read_text()
    assert "topic read lab/cnnbo/v1/+/event\n" in (folder / "acl").read_text()
    assert "kept; for broker.lan, tower, 127.0.0.1" in done.certificate


def test_a_new_name_makes_the_certificate_anew_and_says_so(folder: Path) -> None:
    """Clients go on trusting the CA; the names it was for before still hold."""
    made(folder, hosts=("broker.lan",))
    authority = (folder / "ca.crt").read_bytes()
    done = made(folder, hosts=("10.0.0.7",))
    assert done.certificate.startswith("made anew (10.0.0.7 is new); for ")
    assert changes(done) == {"server.key": "changed", "server.crt": "changed"}
    assert (folder / "ca.crt").read_bytes() == authority
    for host in ("10.0.0.7", "broker.lan", *HOSTS):
        assert fault_of(folder / "server.crt", folder / "server.key", folder / "ca.crt", host) is None


def test_a_certificate_that_is_about_to_expire_is_made_anew(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever runs it in time never meets an expired one."""
    monkeypatch.setattr(certificates, "_SERVER_DAYS", 20)
    made(folder)
    monkeypatch.undo()
    assert made(folder).certificate.startswith("made anew (the former one ends on ")
    assert made(folder).certificate.startswith("kept")


def test_a_certificate_of_another_ca_is_made_anew(folder: Path, tmp_path: Path) -> None:
    """Half of a backup put back must not leave a broker that everybody refuses."""
    made(folder)
    made(tmp_path / "other")
    for name in ("ca.crt", "ca.key"):
        (tmp_path / "other" / name).replace(folder / name)
    assert "made anew (its certificate is signed by nobody trusted here)" in made(folder).certificate
    assert fault_of(folder / "server.crt", folder / "server.key", folder / "ca.crt", "tower") is None


def test_a_certificate_that_does_not_fit_its_key_is_made_anew(folder: Path) -> None:
    """Power fails between two files, too."""
    made(folder)
    (folder / "server.key").write_bytes((folder / "ca.key").read_bytes())
    assert "made anew (it did not fit its key)" in made(folder).certificate
    assert fault_of(folder / "server.crt", folder / "server.key", folder / "ca.crt", "tower") is None


def test_a_user_whose_line_is_gone_is_shut_out(folder: Path) -> None:
    """There has to be a way to take somebody's rights away."""
    made(folder)
    description = folder / "broker.toml"
    description.write_text(description.read_text().replace('operator = "operator"\n', "# no operator any more\n"))
    done = made(folder)
    assert "operator" not in done.broker.users
    assert "operator" not in (folder / "passwd").read_text() + (folder / "acl").read_text()
    assert "# no operator any more" in description.read_text()


def test_whoever_is_shut_out_and_added_again_gets_another_password(folder: Path) -> None:
    """The old one may be the reason why somebody was shut out."""
    made(folder, users={"alice": Role.OPERATOR})
    note, description = folder / "passwords" / "alice", folder / "broker.toml"
    first = note.read_text()
    description.write_text(description.read_text().replace('alice = "operator"\n', ""))
    assert planned(folder).leftovers == (note,)
    made(folder)
    assert not note.exists()
    assert made(folder, users={"alice": Role.OPERATOR}).leftovers == ()
    assert note.read_text() != first


def test_it_says_what_the_broker_has_to_do(folder: Path) -> None:
    """Until it does, whoever was shut out still comes in."""
    assert made(folder).broker_has_to == "restart"
    assert made(folder).broker_has_to is None
    assert made(folder, users={"alice": Role.VIEWER}).broker_has_to == "reload"
    assert made(folder, users={"alice": Role.OPERATOR}).broker_has_to == "reload"
    assert made(folder, renewed=("alice",)).broker_has_to == "reload"
    assert made(folder, hosts=("new.lan",)).broker_has_to == "reload"
    assert made(folder, base="lab").broker_has_to == "reload"
    (folder / "passwords" / "alice").unlink()
    (folder / "broker.toml").write_text(f"# ours\n{(folder / 'broker.toml').read_text()}")
    assert made(folder).broker_has_to is None
    assert made(folder, port=9883).broker_has_to == "restart"


def test_a_new_password_takes_the_place_of_the_old_one(folder: Path) -> None:
    """Passwords get into wrong hands, and their users are still wanted."""
    made(folder)
    note, hashes = folder / "passwords" / "viewer", (folder / "passwd").read_text().splitlines()
    first = note.read_text()
    done = made(folder, renewed=("viewer",))
    assert changes(done) == {"passwords/viewer": "changed", "passwd": "changed"}
    assert note.read_text() != first
    now = (folder / "passwd").read_text().splitlines()
    assert [line.split(":")[0] for line in now if line not in hashes] == ["viewer"]
    made(folder, lambda user: "chosen", renewed=("viewer",))
    assert not note.exists()  # what stood there let nobody in
    assert '--new-password "bob": is no user of this broker; name one of tower, viewer' in refusal(
        folder, renewed=("bob",)
    )


def test_passwords_that_were_handed_on_need_not_be_kept(folder: Path) -> None:
    """The made-up ones lie there to be handed on; deleted, they are not made up anew."""
    made(folder)
    (folder / "passwords" / "viewer").unlink()
    assert changes(made(folder)) == {}


def test_a_password_that_was_asked_for_is_kept_as_a_hash_only(folder: Path) -> None:
    """Whoever chose it knows it; and who has one already isn't asked."""
    asked = []

    def ask(user: str) -> str:
        asked.append(user)
        return "correct horse"

    made(folder)
    made(folder, ask, users={"alice": Role.VIEWER})
    assert asked == ["alice"]
    assert not (folder / "passwords" / "alice").exists()
    assert not any(b"correct horse" in path.read_bytes() for path in folder.rglob("*") if path.is_file())
    with pytest.raises(ConfigurationError, match="1 to 200 printable characters"):
        planned(folder, lambda user: "two\nlines", users={"bob": Role.VIEWER})


@pytest.fixture
def elsewhere(folder: Path, tmp_path: Path) -> Path:
    """The key of the folder's own CA, moved out of it."""
    made(folder)
    return (folder / "ca.key").replace(tmp_path / "ca.key")


def test_users_come_and_go_while_the_key_of_the_ca_is_elsewhere(folder: Path, elsewhere: Path) -> None:
    """The documents suggest to keep it in a safe; nobody should have to open that to shut somebody out."""
    before = (folder / "server.crt").read_bytes()
    done = plan(Wishes(folder, "tower", ("renamed",), users={"alice": Role.VIEWER}), made_up)
    assert re.fullmatch(r"kept; valid until 20\d\d-\d\d-\d\d", done.certificate)
    assert done.has_authority and done.leftovers == ()
    done.write()
    assert (folder / "server.crt").read_bytes() == before
    assert not (folder / "ca.key").exists()


def test_what_takes_the_key_of_the_ca_asks_for_it(folder: Path, elsewhere: Path) -> None:
    """Ours was taken for a given certificate then, and people were told to buy another one."""
    remedy = f"; put ca.key back into {folder} to have it made anew."
    told = refusal(folder, hosts=("new.lan",))
    assert "clients would ask for new.lan and refuse it" in told and told.endswith(remedy)
    server_key = (folder / "server.key").read_bytes()
    (folder / "server.key").unlink()
    assert refusal(folder) == f"{folder}/server.key is not there{remedy}"
    (folder / "server.key").write_bytes(server_key)
    elsewhere.replace(folder / "ca.key")
    assert "made anew (new.lan is new)" in made(folder, hosts=("new.lan",)).certificate


def test_the_end_of_a_certificate_is_told_in_time_whoever_can_renew_it(
    folder: Path, tmp_path: Path, given: GivenCertificate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the CA's key it isn't made anew by itself, and a given one never is."""
    monkeypatch.setattr(certificates, "_SERVER_DAYS", 20)
    made(folder)
    (folder / "ca.key").unlink()
    assert re.search(r"valid until \S+, which is soon: put ca\.key back into", planned(folder).certificate)
    company = certificates.make_authority("company")
    server = certificates.issue(company, ["broker.lan"])
    for path, content in zip(
        (given.certificate, given.key, tmp_path / "company.crt"),
        (server.certificate, server.key, company.certificate),
        strict=True,
    ):
        path.write_bytes(content)
    told = planned(tmp_path / "other", given=given).certificate
    assert re.search(r"^as given; valid until \S+, which is soon: give another one: --cert FILE", told)


def test_a_former_ca_does_not_outlive_its_certificate(
    folder: Path, given: GivenCertificate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Clients that were handed ca.crt on would trust nobody else, and refuse a public certificate."""
    made(folder)
    (folder / "ca.key").unlink()
    monkeypatch.setenv("SSL_CERT_FILE", str(given.authority))  # now every system trusts it
    done = made(folder, given=GivenCertificate(given.certificate, given.key, None))
    assert done.leftovers == (folder / "ca.crt",) and not done.has_authority
    assert not (folder / "ca.crt").exists()
    assert made(folder).certificate.startswith("as given")
    assert (folder / "server.crt").read_bytes() == given.certificate.read_bytes()


def test_a_given_certificate_is_taken_and_kept(folder: Path, given: GivenCertificate) -> None:
    """Companies have CAs of their own; a later run without the options goes on with it."""
    assert made(folder, given=given, hosts=("broker.lan",)).has_authority
    done = made(folder, users={"alice": Role.VIEWER})
    assert re.fullmatch(r"as given; valid until 20\d\d-\d\d-\d\d", done.certificate)
    assert (folder / "server.crt").read_bytes() == given.certificate.read_bytes()
    assert stat.S_IMODE((folder / "server.key").stat().st_mode) == 0o600
    assert not (folder / "ca.key").exists()


def test_a_given_certificate_that_clients_would_refuse_is_refused(
    folder: Path, tmp_path: Path, given: GivenCertificate
) -> None:
    """Found here it costs a moment, found by a broker that nobody can reach an evening."""
    foreign = tmp_path / "foreign.crt"
    foreign.write_bytes(certificates.make_authority("foreign").certificate)
    certificate, key, authority = given.certificate, given.key, given.authority
    refused = {
        "ask for tower and refuse it, its certificate is for another host": (given, ("tower",)),
        "refuse it, its certificate is signed by nobody trusted here": (
            GivenCertificate(certificate, key, foreign),
            (),
        ),
        "refuse it, its certificate is signed by nobody": (GivenCertificate(certificate, key, None), ()),
        "don't fit together": (GivenCertificate(foreign, key, authority), ()),
        "gone is not there; give another one": (GivenCertificate(tmp_path / "gone", key, authority), ()),
        "is no file of a CA (no PEM certificate in it)": (GivenCertificate(certificate, key, key), ()),
    }
    for sentence, (wrong, hosts) in refused.items():
        assert sentence in refusal(folder, given=wrong, hosts=hosts)
    made(folder)
    assert "holds a CA of its own; move ca.key and ca.crt away" in refusal(folder, given=given)


@pytest.mark.parametrize(
    ("wishes", "sentence"),
    [
        ({"users": {"a:b": Role.VIEWER}}, '--user "a:b": a name is 1 to 64 of'),
        ({"users": {"../x": Role.VIEWER}}, '--user "../x": a name is 1 to 64 of'),
        ({"users": {"a b\nuser root": Role.VIEWER}}, "a name is 1 to 64 of"),
        ({"hosts": ("https://x",)}, '--host "https://x": must be a host name or an address, without a port'),
        ({"hosts": ("tower:8883",)}, '--host "tower:8883"'),
        ({"hosts": ("fe80::1%eth0",)}, '--host "fe80::1%eth0"'),
        ({"hosts": ("a..b", "ä", "a" * 64)}, '--host "a..b"'),
    ],
)
def test_what_cannot_stand_in_mosquittos_files_is_refused(
    folder: Path, wishes: Mapping[str, object], sentence: str
) -> None:
    """A line break in a user's name would be a line of the access list."""
    assert sentence in refusal(folder, **wishes)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("prot = 1", '1  "prot" is no key here; did you mean "port"?'),
        ("port = 0", "1  port: must be a port from 1 to 65535"),
        ('base = "#"', "1  base: must be the beginning of a topic"),
        ('users.bob = "root"', '1  users: bob must be one of viewer, operator, node, not "root"'),
        ('users."a b" = "viewer"', '1  users: "a b": a name is 1 to 64 of'),
        ('users = ["bob"]', "1  users: must be a table"),
        ('certificate = "bought"', '1  certificate: must be one of own, given, not "bought"'),
        ("port = ", "1  no valid TOML"),
    ],
)
def test_mistakes_in_its_description_are_told_with_their_line(folder: Path, text: str, sentence: str) -> None:
    """People edit it, as it says."""
    folder.mkdir()
    (folder / "broker.toml").write_text(text)
    assert f"{folder}/broker.toml:{sentence}" in refusal(folder)


@pytest.mark.parametrize(
    "text", ['users.bob = "viewer"\n', '[users]\nbob = "viewer"\n', 'users = { bob = "viewer" }\n', "# nobody yet\n"]
)
def test_a_description_may_be_written_in_any_way(folder: Path, text: str) -> None:
    """TOML has several, and people know one of them."""
    folder.mkdir()
    (folder / "broker.toml").write_text(text)
    made(folder, users={"alice": Role.OPERATOR})
    assert changes(done := made(folder)) == {}
    bob = {"bob": Role.VIEWER} if "bob" in text else {}
    assert done.broker.users == {**bob, "alice": Role.OPERATOR}


def test_a_broken_certificate_is_named(folder: Path) -> None:
    """A disk that was full, or an editor; made anew silently, every client would be locked out."""
    made(folder)
    (folder / "ca.crt").write_text("-----BEGIN CERTIFICATE-----\n")
    assert f"a certificate or key in {folder} can't be read" in refusal(folder, hosts=("new.lan",))
