"""Settings files are changed as a careful person would change them."""

import os
import pwd
import stat
import tomllib
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cnnbo.daemon.settings.edit import edited, known_key, password_file, write, write_password
from cnnbo.scheduler.errors import ConfigurationError

TEMPLATE = """\
# The box in the corner.
node = "tower"   # its name

[devices]
# max = 2
# At most so many.

# Who is told.
[mqtt]
# port = 1883
base = "lab"
"""


def changed(tmp_path: Path, text: str, **wanted: object) -> str:
    """A file's text after an edit; keys with `__` for the dot."""
    path = tmp_path / "cnnbo.toml"
    path.write_bytes(text.encode())
    return edited(path, {name.replace("__", "."): value for name, value in wanted.items()}, {}).text


@pytest.mark.parametrize(
    ("wanted", "old", "new"),
    [
        ({"node": "attic"}, 'node = "tower"   # its name', 'node = "attic"   # its name'),
        ({"devices__max": 3}, "# max = 2\n", "# max = 2\nmax = 3\n"),
        ({"mqtt__port": 1999}, "# port = 1883\n", "# port = 1883\nport = 1999\n"),
        ({"mqtt__requests": None}, "", ""),
        ({"mqtt__base": None}, 'base = "lab"\n', ""),
        ({"poll_s": 5}, "# its name\n", "# its name\npoll_s = 5\n"),
        ({"proposer__deadline_s": 9}, 'base = "lab"\n', 'base = "lab"\n\n[proposer]\ndeadline_s = 9\n'),
    ],
)
def test_everything_else_stays_as_it_is(tmp_path: Path, wanted: dict[str, object], old: str, new: str) -> None:
    """Comments are where people write down why; a new key goes where the template shows it."""
    assert changed(tmp_path, TEMPLATE, **wanted) == TEMPLATE.replace(old, new, 1)


@pytest.mark.parametrize("comment", ["\n# --- the broker in the cellar ---\n", "# a\n\n  # b\n\n", ""])
@pytest.mark.parametrize("table", ["[devices]\nmax = 2  # cards\n", "[devices]\n"])
def test_a_new_key_is_above_what_is_written_about_the_next_table(tmp_path: Path, table: str, comment: str) -> None:
    """Below it, the comment would seem to be about the new key."""
    below = f"{comment}[mqtt]\nport = 1\n{comment}"
    text = changed(tmp_path, f"grace_s = 5\n{comment}{table}{below}", devices__hours="20:00-08:00", poll_s=3)
    assert text == f'grace_s = 5\npoll_s = 3\n{comment}{table}hours = "20:00-08:00"\n{below}'


@pytest.mark.parametrize("text", ["", "mqtt.base = 'lab'\r\n", "mqtt = {base = 'lab'}", "[mqtt]", "# nothing\n"])
def test_every_way_to_write_a_table_is_understood(tmp_path: Path, text: str) -> None:
    """Files are written by people."""
    again = tomllib.loads(changed(tmp_path, text, mqtt__port=1999, node="attic"))
    assert again["node"] == "attic"
    assert again["mqtt"] == {**tomllib.loads(text).get("mqtt", {}), "port": 1999}


@given(
    lines=st.lists(
        st.sampled_from([*TEMPLATE.splitlines(), 'url = """', '"""', "max = 1", "port=7", "[proposer]", ""])
    ),
    name=st.sampled_from(["devices.max", "mqtt.port", "proposer.deadline_s", "poll_s"]),
    value=st.none() | st.integers(1, 9),
)
@example(lines=["# [mqtt]", "[mqtt]", 'base = """', "# port = 1883", '"""'], name="mqtt.port", value=3)
def test_any_edit_says_what_was_meant_or_is_refused(
    tmp_path_factory: pytest.TempPathFactory, lines: list[str], name: str, value: int | None
) -> None:
    """Whatever stands in the file, no other key changes."""
    path = tmp_path_factory.mktemp("etc") / "cnnbo.toml"
    path.write_text("\n".join(lines))
    try:
        text = edited(path, {name: value}, {}).text
    except ConfigurationError as error:
        assert not any("\n" in problem for problem in error.problems)
        return
    before, after = tomllib.loads(path.read_text()), tomllib.loads(text)
    for data in (before, after):
        table = data
        for part in name.split(".")[:-1]:
            table = table.setdefault(part, {})
        found = table.pop(name.split(".")[-1], None)
    assert found == value and before == after


def test_mistakes_elsewhere_are_told_and_nothing_is_changed(tmp_path: Path) -> None:
    """Otherwise the next start would fail for another reason than the one just looked at."""
    with pytest.raises(ConfigurationError) as refused:
        changed(tmp_path, 'nod = "x"\npoll_s = "soon"\n', grace_s=5)
    path = tmp_path / "cnnbo.toml"
    assert refused.value.problems == (
        f'{path}:1  "nod" is no key of the settings; did you mean "node"?',
        f'{path}:2  poll_s: must be a number of seconds from 0.1 to 600, not "soon".',
    )


def test_a_mistake_is_corrected_by_setting_its_key(tmp_path: Path) -> None:
    """The remedy that a message names must not be refused for that very mistake."""
    assert changed(tmp_path, 'poll_s = "soon"\n', poll_s=2) == "poll_s = 2\n"


@pytest.mark.parametrize(
    ("text", "wanted", "sentence"),
    [
        ("", {"mqtt__user": "tower"}, "mqtt.user: the embedded broker knows no users"),
        ("", {"mqtt__requests": True}, "mqtt.requests = true takes orders from whoever the broker lets in"),
        ('[mqtt]\nurl = "mqtt://h"\nuser = "u"\n', {"mqtt__url": None}, "mqtt.user: the embedded broker knows"),
        ("", {"grace_s": -1}, "grace_s: must be a number of seconds"),
        ("[mqtt\n", {"grace_s": 1}, "cnnbo.toml:1  no valid TOML"),
    ],
)
def test_what_a_daemon_would_refuse_is_not_written(
    tmp_path: Path, text: str, wanted: dict[str, object], sentence: str
) -> None:
    """Better now, by whoever types it, than at the next reboot."""
    with pytest.raises(ConfigurationError) as refused:
        changed(tmp_path, text, **wanted)
    assert sentence in str(refused.value)


def test_a_variable_counts_for_what_fits_together(tmp_path: Path) -> None:
    """The URL may come from the unit."""
    path = tmp_path / "cnnbo.toml"
    assert edited(path, {"mqtt.user": "u"}, {"CNNBO_MQTT_URL": "mqtt://h", "CNNBO_POLL_S": "never"}).text


@pytest.mark.parametrize(("name", "meant"), [("port", "mqtt.port"), ("mqtt.prot", "mqtt.port"), ("nod", "node")])
def test_a_key_that_is_none_has_a_nearest_one(name: str, meant: str) -> None:
    """Tables are easily forgotten."""
    with pytest.raises(ConfigurationError, match=f'did you mean "{meant}"'):
        known_key(name)


def test_mode_owner_and_link_stay(tmp_path: Path) -> None:
    """A file that the group may read must not become one that the daemon can't."""
    target = tmp_path / "real.toml"
    target.write_text("")
    target.chmod(0o640)
    if os.geteuid() == 0:
        os.chown(target, 0, 65534)
    before = target.stat()
    link = tmp_path / "cnnbo.toml"
    link.symlink_to(target)
    write(link, "poll_s = 1\n")
    after = target.stat()
    assert link.is_symlink() and target.read_text() == "poll_s = 1\n"
    assert (after.st_mode, after.st_uid, after.st_gid) == (before.st_mode, before.st_uid, before.st_gid)


def test_new_files_are_their_owners_alone(tmp_path: Path) -> None:
    """A password may come into them."""
    path = tmp_path / "new" / "cnnbo.toml"
    write(path, "")
    kept = password_file(path)
    assert write_password(path, "s3cret") and not write_password(path, "s3cret")
    assert kept == path.with_name("mqtt.password") and kept.read_text() == "s3cret\n"
    assert [stat.S_IMODE(each.stat().st_mode) for each in (path, kept, path.parent)] == [0o600, 0o600, 0o700]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")
def test_the_services_files_can_be_read_by_its_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The daemon doesn't run as root, and nobody else shall read the password."""
    path = tmp_path / "cnnbo.toml"
    monkeypatch.setattr("cnnbo.daemon.settings.edit.SERVICE_CONFIG", path)
    monkeypatch.setattr("cnnbo.daemon.settings.edit.SERVICE_GROUP", "daemon")  # every Linux has a user of that name
    user = pwd.getpwnam("daemon")
    write(path, "")
    write_password(path, "s3cret")
    settings, password = path.stat(), password_file(path).stat()
    assert (settings.st_uid, settings.st_gid, stat.S_IMODE(settings.st_mode)) == (0, user.pw_gid, 0o640)
    assert (password.st_uid, stat.S_IMODE(password.st_mode)) == (user.pw_uid, 0o600)
