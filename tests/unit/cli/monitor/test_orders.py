"""Orders to boxes, where there is no daemon to take them; with one: tests/integration/test_watch.py."""

from pathlib import Path

from cnnbo.cli.monitor.known import Box
from cnnbo.cli.monitor.logs import elsewhere, read_log
from cnnbo.cli.monitor.orders import Home, carry_out
from cnnbo.cli.monitor.view import Order
from cnnbo.daemon.mqtt import BrokerAddress
from cnnbo.daemon.remote import RemoteDaemon

_ATTIC = Box("attic", "mqtt://attic:1883", boot="7f3a")


async def test_an_order_that_reaches_nobody_says_so(tmp_path: Path) -> None:
    """A key that does nothing would have people believe that the study is paused."""
    order = Order(_ATTIC.key, "pause", {"study": "svhn"})
    nowhere = RemoteDaemon(BrokerAddress.parse("mqtt://127.0.0.1:1"), "attic", "cnnbo")
    sentence = await carry_out(order, _ATTIC, Home(tmp_path), nowhere)
    assert sentence == "no connection to mqtt://127.0.0.1:1: Connection refused."


async def test_logs_of_another_machine_are_found_there(tmp_path: Path) -> None:
    """Logs are not published; people need the command that shows them."""
    assert not await Home(tmp_path).is_of(_ATTIC)
    log = elsewhere("attic", "svhn", 17)
    assert log.excuse == "Logs stay on their box. From here: ssh attic cnnbo logs svhn 17 -f"


def test_a_log_is_read_from_its_end(tmp_path: Path) -> None:
    """Or it is said why there is nothing to read."""
    assert read_log(tmp_path, "svhn", 17, 0).excuse == "Trial 17 has no log yet."
    assert read_log(tmp_path, "svhn", 17, 1).excuse == "Trial 17 has no log yet."
    log = tmp_path / "studies" / "svhn" / "trials" / "17" / "1" / "log"
    log.parent.mkdir(parents=True)
    log.write_text("")
    assert read_log(tmp_path, "svhn", 17, 1).excuse == "Nothing was printed so far."
    log.write_text("".join(f"line {k}\n" for k in range(2000)))
    read = read_log(tmp_path, "svhn", 17, 1)
    assert (len(read.lines), read.lines[-1], read.excuse) == (1000, "line 1999", "")
    log.write_bytes(b"\r 10%|#   |\r 90%|### |\r100%|####|\n\x1b[1;31mError\x1b[0m: \x1b[2J\n")
    assert read_log(tmp_path, "svhn", 17, 1).lines == ("100%|####|", "Error: \\x1b[2J")
