"""Where a broker is: what a URL says, and what is never shown of it."""

import pytest

from cnnbo.daemon.mqtt import BrokerAddress
from cnnbo.scheduler.errors import ConfigurationError


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("mqtt://broker.lan", BrokerAddress("broker.lan", 1883)),
        ("mqtts://broker.lan", BrokerAddress("broker.lan", 8883, tls=True)),
        ("mqtt://[::1]:99", BrokerAddress("::1", 99)),
        ("mqtt://me:p%40ss%2Fword@h:5", BrokerAddress("h", 5, user="me", password="p@ss/word")),
    ],
)
def test_an_address_is_read_from_its_url(url: str, expected: BrokerAddress) -> None:
    """Passwords hold characters that mean something in a URL, so they come percent-encoded."""
    assert BrokerAddress.parse(url) == expected


@pytest.mark.parametrize(
    "url", ["http://me:secret@h", "me:secret@h", "mqtt://me:secret@", "mqtt://me:secret@h:port", ""]
)
def test_a_wrong_url_is_refused_without_showing_the_password(url: str) -> None:
    """The sentence ends up in logs and terminals of other people."""
    with pytest.raises(ConfigurationError, match=r"mqtt://user:password@host:1883") as caught:
        BrokerAddress.parse(url)
    assert "secret" not in str(caught.value)


def test_an_address_never_shows_its_password() -> None:
    """Addresses are printed and logged."""
    address = BrokerAddress.parse("mqtt://me:secret@[::1]:7")
    assert str(address) == "mqtt://[::1]:7"
    assert "secret" not in repr(address)
