import tempfile
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tests.fuzz.mutations import torn

from cnnbo.daemon.folders import default_node
from cnnbo.daemon.settings import MqttSettings, ProposerSettings, Settings, config_file, load_settings
from cnnbo.scheduler.errors import ConfigurationError
from cnnbo.scheduler.sharing import Hours, Sharing, Yield

FULL = """\
state = "/data/cnnbo"
node = "tower"
lease_dir = "/data/locks"
poll_s = 5
idle_memory_mib = 512
slow_patience_s = 60
grace_s = 0
[devices]
max = 2
hours = "20:00-08:00"
yield = "stop"
[mqtt]
url = "mqtts://ha.local:8883"
base = "lab/cnnbo"
enabled = false
requests = true
port = 2883
[proposer]
deadline_s = 12.5
"""


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    return {"HOME": str(tmp_path), "CNNBO_STATE": str(tmp_path / "state")}


def with_file(environ: dict[str, str], tmp_path: Path, text: str) -> dict[str, str]:
    path = tmp_path / "cnnbo.toml"
    path.write_text(text)
    return {**environ, "CNNBO_CONFIG": str(path)}


def problems(environ: dict[str, str], node: str | None = None) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        load_settings(environ, node=node)
    return list(caught.value.problems)


def test_without_any_file_there_are_defaults(environ: dict[str, str], tmp_path: Path) -> None:
    """A first run needs no settings."""
    assert load_settings(environ) == Settings(state=tmp_path / "state", node=default_node())


def test_every_key_of_the_file_is_taken(environ: dict[str, str], tmp_path: Path) -> None:
    """A key that is read and then dropped is the worst kind of mistake."""
    del environ["CNNBO_STATE"]
    assert load_settings(with_file(environ, tmp_path, FULL)) == Settings(
        state=Path("/data/cnnbo"),
        node="tower",
        lease_dir=Path("/data/locks"),
        mqtt=MqttSettings(url="mqtts://ha.local:8883", base="lab/cnnbo", enabled=False, requests=True, port=2883),
        proposer=ProposerSettings(deadline_s=12.5),
        devices=Sharing(2, Hours(20 * 60, 8 * 60), Yield.STOP),
        poll_s=5.0,
        idle_memory_mib=512.0,
        slow_patience_s=60.0,
        grace_s=0.0,
    )


def test_the_environment_wins_over_the_file_and_a_flag_over_both(environ: dict[str, str], tmp_path: Path) -> None:
    """What is nearer to the moment of the call is what is meant."""
    environ = with_file(environ, tmp_path, FULL)
    environ |= {"CNNBO_MQTT_PORT": "1999", "CNNBO_MQTT_ENABLED": "true", "CNNBO_NODE": "attic", "CNNBO_POLL_S": "0.5"}
    settings = load_settings(environ)
    assert (settings.state, settings.node, settings.poll_s) == (tmp_path / "state", "attic", 0.5)
    assert (settings.mqtt.port, settings.mqtt.enabled, settings.mqtt.base) == (1999, True, "lab/cnnbo")
    settings = load_settings(environ, state=tmp_path / "x", node="cellar", mqtt_enabled=False)
    assert (settings.state, settings.node, settings.mqtt.enabled) == (tmp_path / "x", "cellar", False)


def test_an_empty_variable_is_as_good_as_none(environ: dict[str, str]) -> None:
    """`CNNBO_NODE= cnnbo run` is how a shell takes a variable back."""
    assert load_settings({**environ, "CNNBO_NODE": ""}).node == default_node()


@pytest.mark.parametrize(
    ("text", "expected"), [("0", False), ("no", False), ("False", False), ("1", True), ("on", True)]
)
def test_a_variable_spells_true_and_false_in_the_usual_ways(environ: dict[str, str], text: str, expected: bool) -> None:
    """Unit files and shells have no booleans."""
    assert load_settings({**environ, "CNNBO_MQTT_ENABLED": text}).mqtt.enabled is expected


def test_the_folder_carries_the_name_of_the_node(tmp_path: Path) -> None:
    """Home folders are shared between boxes, journals are not."""
    environ = {"HOME": str(tmp_path), "CNNBO_NODE": "attic"}
    assert load_settings(environ).state == tmp_path / ".local/state/cnnbo/attic"


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"HOME": "/home/me"}, "/home/me/.config/cnnbo/cnnbo.toml"),
        ({"HOME": "/home/me", "XDG_CONFIG_HOME": "/xdg"}, "/xdg/cnnbo/cnnbo.toml"),
        ({"HOME": "/home/me", "STATE_DIRECTORY": "/var/lib/cnnbo"}, "/etc/cnnbo/cnnbo.toml"),
        ({"HOME": "no/home"}, "/etc/cnnbo/cnnbo.toml"),
        ({"CNNBO_CONFIG": "/x.toml", "STATE_DIRECTORY": "/var/lib/cnnbo"}, "/x.toml"),
    ],
)
def test_the_file_is_the_services_or_the_users(environ: dict[str, str], expected: str) -> None:
    """A service must not read the settings of whoever owns it."""
    assert config_file(environ) == Path(expected)


def test_a_file_that_was_named_must_be_there(environ: dict[str, str], tmp_path: Path) -> None:
    """Going on with the defaults would look as if it had been read."""
    (problem,) = problems({**environ, "CNNBO_CONFIG": str(tmp_path / "missing.toml")})
    assert problem == f"{tmp_path / 'missing.toml'} does not exist; check the path."


def test_all_mistakes_of_file_environment_and_flags_are_told(environ: dict[str, str], tmp_path: Path) -> None:
    """One attempt, one list."""
    text = 'nod = "x"\nproposer = 3\nport = 1\n[mqtt]\nprot = 1\nport = "1"\n[space]\nx = 1\n'
    environ = with_file(environ, tmp_path, text) | {"CNNBO_POLL_S": "soon", "CNNBO_MQTT_ENABLED": "2"}
    file = tmp_path / "cnnbo.toml"
    known = (
        "known are state, node, lease_dir, poll_s, idle_memory_mib, slow_patience_s, grace_s, log, devices, mqtt, "
        "proposer."
    )
    assert problems(environ, node="My Box") == [
        f'{file}:1  "nod" is no key of the settings; did you mean "node"?',
        f"{file}:2  proposer: must be a table, not 3; write [proposer].",
        f'{file}:3  "port" is no key of the settings; {known}',
        f'{file}:5  "prot" is no key of [mqtt]; did you mean "port"?',
        f'{file}:6  mqtt.port: must be a port from 1 to 65535, not "1".',
        f'{file}:7  "space" is no key of the settings; {known}',
        'CNNBO_POLL_S: must be a number of seconds from 0.1 to 600, not "soon".',
        'CNNBO_MQTT_ENABLED: must be true or false, not "2".',
        '--node: must be 1 to 40 of a-z, 0-9 and "-", not "My Box"; leave it out for the host name.',
    ]


@pytest.mark.parametrize(
    "line",
    [
        'state = "relative"',
        'state = "~/state"',
        'lease_dir = ""',
        "node = 3",
        "poll_s = 0",
        "poll_s = true",
        "idle_memory_mib = -1",
        'idle_memory_mib = "1 GB"',
        "grace_s = -1",
        "mqtt.enabled = 1",
        "mqtt.port = 0",
        "mqtt.port = 1883.0",
        'mqtt.base = "cnnbo/#"',
        'mqtt.base = "/cnnbo"',
        'mqtt.base = "cnnbo/"',
        'mqtt.base = "$SYS"',
        'mqtt.url = "ha.local"',
        'mqtt.url = "http://ha.local"',
        'mqtt.url = "mqtt://"',
        'mqtt.url = "mqtt://h:port"',
        'mqtt.url = "mqtt://h/path"',
        "proposer.deadline_s = 0",
    ],
)
def test_a_value_that_can_not_work_is_refused_on_its_line(environ: dict[str, str], tmp_path: Path, line: str) -> None:
    """A daemon that starts with it would fail later and further away."""
    del environ["CNNBO_STATE"]
    (problem,) = problems(with_file(environ, tmp_path, f"# settings\n{line}\n"))
    assert problem.startswith(f"{tmp_path / 'cnnbo.toml'}:2  {line.split(' ')[0]}: must ")


def test_a_password_in_a_url_is_not_repeated(environ: dict[str, str]) -> None:
    """Messages end up in logs and tickets."""
    for url in ("mqtt://me:secret@host:0", "mqtt://me:secret/rest@host", "mqtt://me:1234/secret@host"):
        (problem,) = problems({**environ, "CNNBO_MQTT_URL": url})
        assert "secret" not in problem and "%2F" in problem


FILE = b"""\
state = "/var/lib/cnnbo"
node = "tower"
poll_s = 1.5
idle_memory_mib = 512
[mqtt]
url = "mqtts://me:secret@broker:8883"
base = "lab/cnnbo"
enabled = true
port = 1884
[proposer]
deadline_s = 10
"""
VARIABLES = [
    "STATE", "NODE", "LEASE_DIR", "MQTT_URL", "MQTT_BASE", "MQTT_ENABLED", "MQTT_PORT", "PROPOSER_DEADLINE_S", "POLL_S",
    "IDLE_MEMORY_MIB", "GRACE_S",
]  # fmt: skip
_values = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=8) | st.sampled_from(
    [
        "1",
        "-1",
        "nan",
        "inf",
        "9" * 5000,
        "1e999",
        "true",
        "mqtt://[",
        "mqtt://h:x",
        "/" + "a" * 300,
        "\udcff",
        "\x1b[2J",
    ]
)


@example(content=FILE, variables={}, home="/" + "a" * 300)  # OSError: file name too long
@given(
    content=torn(FILE) | st.binary(max_size=60),
    variables=st.dictionaries(st.sampled_from(VARIABLES), _values, max_size=3),
    home=st.none() | st.sampled_from(["/" + "a" * 300, "", "relative", "/dev/null", "/\udcff"]),
)
def test_settings_of_any_kind_are_taken_or_told(content: bytes, variables: dict[str, str], home: str | None) -> None:
    """Whatever stands in file or environment, people see sentences, never a traceback."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "cnnbo.toml")
        file.write_bytes(content)
        place = {"CNNBO_CONFIG": str(file)} if home is None else {"HOME": home}
        try:
            settings = load_settings({**place, **{f"CNNBO_{name}": value for name, value in variables.items()}})
        except ConfigurationError as error:
            assert error.problems and not any("\n" in problem for problem in error.problems)
        else:
            assert settings.state.is_absolute() and 1 <= settings.mqtt.port <= 65535
