"""One table of keys, from which everything else about them follows."""

import re
from dataclasses import replace
from pathlib import Path

from cnnbo.daemon.settings import KEYS, LogForm, MqttSettings, ProposerSettings, Settings, reloaded
from cnnbo.scheduler.sharing import Hours, Sharing, Yield

PAGE = (Path(__file__).parents[3] / "docs" / "settings.md").read_text()
OLD = Settings(state=Path("/a"), node="a")
NEW = Settings(
    state=Path("/b"),
    node="b",
    lease_dir=Path("/c"),
    mqtt=MqttSettings("mqtts://h", "u", Path("/p"), Path("/ca"), "b", enabled=False, requests=True, port=1),
    proposer=ProposerSettings(1.0),
    devices=Sharing(1, Hours(0, 1), Yield.STOP),
    poll_s=1.0,
    idle_memory_mib=1.0,
    slow_patience_s=1.0,
    grace_s=1.0,
    log=LogForm.JSON,
)


def test_the_page_says_what_the_table_says() -> None:
    """Two texts about one key would soon be two truths."""
    rows = re.findall(r"^\| `([a-z_.]+)` \| (.*?) \| (.*) \|$", PAGE, re.MULTILINE)
    assert rows == [(key.name, key.default, key.meaning) for key in KEYS.values()]
    [stay] = re.findall(r"everything but (.*?), which need a restart", PAGE.replace("\n", " "))
    assert re.findall(r"`(.*?)`", stay) == [key.name for key in KEYS.values() if not key.reloads]


def test_what_needs_a_restart_stays_and_the_rest_is_taken_in() -> None:
    """A daemon that half moves to another folder, or another name, would be two."""
    reload = reloaded(OLD, NEW)
    assert reload.waiting == ("state", "node", "lease_dir", "mqtt.base")
    assert set(reload.taken) | set(reload.waiting) == set(KEYS)
    for key in KEYS.values():
        assert key.value_in(reload.settings) == key.value_in(NEW if key.reloads else OLD), key.name


def test_nothing_new_is_nothing_to_do() -> None:
    """A reload by mistake costs nothing."""
    assert reloaded(OLD, replace(OLD, poll_s=2.0)) == (reload := reloaded(OLD, OLD))
    assert (reload.taken, reload.waiting) == ((), ())


def test_the_default_that_people_read_is_the_one_that_holds() -> None:
    """But for those that depend on the box, which are told in words."""
    values = {key.name: key.value_in(OLD) for key in KEYS.values()}
    told = {key.name: key.default.strip("`").strip('"') for key in KEYS.values()}
    written = {
        name: f"{value:g}" if type(value) is float else str(value).lower()
        for name, value in values.items()
        if value is not None and name not in ("state", "node")
    }
    assert written == {name: told[name] for name in written} and len(written) > 10
