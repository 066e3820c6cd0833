"""What systemd hears from a daemon, at a real socket."""

import os
import re
import signal
from collections.abc import Iterator

import pytest
from tests.integration.conftest import Box
from tests.integration.test_foreground import GATED, _wait_for_gated
from tests.integration.test_full_disk import fill, let_in, small_box
from tests.managers import Manager, managing
from tests.nvml.driver import FakeDriver

__all__ = ["small_box"]


@pytest.fixture
def manager() -> Iterator[Manager]:
    with managing() as manager:
        yield manager


def submit_gated(box: Box, manager: Manager) -> None:
    """Have a trial wait at the gate."""
    gate = str(box.folder / "gate")
    box.run("submit", box.write_study(script=GATED), GATE=gate)
    _wait_for_gated(box, 1)
    manager.wait_for_status("1 training")


def test_a_ready_daemon_answers_and_knows_what_became_of_its_trials(box: Box, manager: Manager) -> None:
    """Units that start after this one rely on it, and a status from before the crash would be a lie."""
    first = box.start("daemon", "--no-mqtt", "--devices", "cpu:1", **manager.environment)
    manager.wait_until_ready()
    submit_gated(box, manager)
    first.kill()
    first.wait()
    box.start("daemon", "--no-mqtt", "--devices", "cpu:1", **manager.environment)
    manager.wait_until_ready()
    [trial] = box.json("show", "parabola")["trials"]
    assert trial["attempts"][0]["outcome"] == "interrupted"
    assert box.json("status")["devices"][0]["memory_total_mib"] is not None


def test_the_status_line_follows_the_devices_until_the_end(box: Box, manager: Manager) -> None:
    """`systemctl status` is the first place to look at."""
    daemon = box.start("daemon", "--no-mqtt", "--devices", "cpu:2", **manager.environment)
    manager.wait_for_status("idle: no study runs")
    box.run("drain", "cpu-1")
    manager.wait_for_status("idle: no study runs (1 drained)")
    submit_gated(box, manager)
    assert manager.heard[-1]["STATUS"] == "1 training, 1 drained"
    daemon.terminate()
    stopping = manager.wait_for(lambda message: message.get("STOPPING") == "1")
    assert re.fullmatch(r"stopping 1 trial, up to (59|60) s", stopping["STATUS"])
    assert int(stopping["EXTEND_TIMEOUT_USEC"]) > 10e6
    assert daemon.wait() == 0
    manager.wait_for_status("stopped")


def test_a_long_grace_gets_the_time_it_takes(box: Box, manager: Manager) -> None:
    """systemd's own limit is 90 s, a checkpoint may take an hour; a second SIGTERM means now, as ever."""
    script = GATED.replace("gate =", "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\ngate =", 1)
    patience = {"CNNBO_GRACE_S": "3600", "WATCHDOG_USEC": "600000"}
    daemon = box.start("daemon", "--no-mqtt", "--devices", "cpu:1", **patience, **manager.environment)
    manager.wait_until_ready()
    box.run("submit", box.write_study(script=script), GATE=str(box.folder / "gate"))
    _wait_for_gated(box, 1)
    daemon.terminate()
    for _ in range(3):
        stopping = manager.wait_for(lambda message: message.get("STOPPING") == "1")
        assert stopping["STATUS"].startswith("stopping 1 trial, up to 3")
        assert stopping["WATCHDOG"] == "1" and "EXTEND_TIMEOUT_USEC" in stopping
    daemon.terminate()
    assert daemon.wait(60) == 0


def test_the_watchdog_is_fed_by_whom_it_is_meant_for_alone(box: Box, manager: Manager) -> None:
    """A process that inherited the variables must not vouch for another one."""
    daemon = box.start(
        "daemon", "--no-mqtt", "--devices", "cpu:1", WATCHDOG_USEC="300000", WATCHDOG_PID="1", **manager.environment
    )
    manager.wait_until_ready()
    submit_gated(box, manager)
    assert not any("WATCHDOG" in message for message in manager.heard)
    daemon.kill()
    box.start("daemon", "--no-mqtt", "--devices", "cpu:1", WATCHDOG_USEC="300000", **manager.environment)
    for _ in range(5):
        manager.wait_for(lambda message: message.get("WATCHDOG") == "1")


def test_who_is_ended_by_the_watchdog_leaves_its_stacks(box: Box, manager: Manager) -> None:
    """Without them nobody finds out at what it stood still."""
    daemon = box.start("daemon", "--no-mqtt", "--devices", "cpu:1", **manager.environment)
    manager.wait_until_ready()
    manager.wait_for_status("idle: no study runs")
    box.run("status")  # by then its threads rest, as those of a daemon that hangs; CPython may trip over one that runs
    daemon.send_signal(signal.SIGABRT)
    output, _ = daemon.communicate()
    assert daemon.returncode == -signal.SIGABRT, output
    assert "Fatal Python error: Aborted" in output and "asyncio" in output


@pytest.mark.long
@pytest.mark.gcc
def test_a_service_waits_for_its_driver(box: Box, fake_driver: FakeDriver, manager: Manager) -> None:
    """At boot the driver may come later; a box that was given up would stay down until somebody looks."""
    fake_driver.fail(9)
    box.start("daemon", "--no-mqtt", **fake_driver.env(), **manager.environment)
    waiting = manager.wait_for_status("waiting: No NVIDIA device can be used: the NVIDIA driver is not loaded")
    assert int(waiting["EXTEND_TIMEOUT_USEC"]) > 20e6
    fake_driver.fail(0)
    manager.wait_until_ready()
    assert len(box.json("devices")) == 3


@pytest.mark.gcc
def test_signals_are_heard_before_there_is_a_daemon(box: Box, fake_driver: FakeDriver, manager: Manager) -> None:
    """A box that waits for hours may be told to reload, and must stop in order when it shuts down."""
    fake_driver.fail(9)
    waiting = box.start("daemon", "--no-mqtt", **fake_driver.env(), **manager.environment)
    manager.wait_for_status("waiting: No NVIDIA device can be used")
    waiting.send_signal(signal.SIGHUP)
    waiting.terminate()
    assert waiting.wait(60) == 0


@pytest.mark.long
def test_a_service_waits_for_space(small_box: Box, manager: Manager) -> None:
    """Somebody frees a full disk sooner or later, and knows nothing of a service that gave up on it."""
    filler = fill(small_box.state)
    small_box.start("daemon", "--no-mqtt", "--devices", "cpu:1", **manager.environment)
    manager.wait_for_status(f"waiting: {small_box.state}: the disk is full; free at least 32 MiB there")
    filler.unlink()
    manager.wait_until_ready()


@pytest.mark.long
def test_a_full_disk_is_no_standstill(small_box: Box, manager: Manager) -> None:
    """The inbox waits for space on purpose: a restart would throw running trials away and change nothing."""
    gate = small_box.folder / "gate"
    environment = manager.environment | {"GATE": str(gate), "CNNBO_POLL_S": "0.1", "WATCHDOG_USEC": str(18_000_000)}
    daemon = small_box.start("daemon", "--no-mqtt", "--devices", "cpu:1", **environment)
    small_box.wait_for(daemon, "ready:")
    study = small_box.write_study(lambda text: text.replace("evaluations = 4", "evaluations = 1"), GATED)
    small_box.run("submit", study, GATE=str(gate))
    _wait_for_gated(small_box, 1)
    fill(small_box.state)
    (small_box.state / "reserve").unlink()
    (small_box.state / "filler").rename(small_box.state / "filler-1")
    fill(small_box.state)
    gate.touch()
    let_in(small_box)
    said = small_box.wait_for(daemon, "a result waits to be journalled")
    for _ in range(2):
        manager.wait_for(lambda message: message.get("WATCHDOG") == "1")
    (small_box.state / "filler").unlink()
    (small_box.state / "filler-1").unlink()
    said += small_box.wait_for(daemon, "event=study_")
    assert not any("stuck" in line for line in said)


def test_in_a_terminal_nobody_waits(box: Box) -> None:
    """Whoever looks at the screen is told at once."""
    assert "NOTIFY_SOCKET" not in os.environ
    box.state.write_text("a file")
    assert "is a file" in box.run("daemon", "--no-mqtt", "--devices", "cpu:1", code=78).stderr
