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
    "url",
    [
        *("http://me:secret@h", "me:secret@h", "mqtt://me:secret@", "mqtt://me:secret@h:port", "mqtt://h:0", ""),
        *("mqtts://me:secret/rest@h", "mqtts://me:secret#rest@h", "mqtts://me:secret?rest@h", "mqtts://me:[secret@h"),
        *("mqtts://me:secret", "mqtts://me:\N{CARE OF}secret@h", "mqtts://h/secret"),
        *("mqtts://me:1234/secret@h", "mqtts://me:1234#secret@h", "mqtts://me:1234?secret@h"),
    ],
)
def test_a_wrong_url_is_refused_without_showing_the_password(url: str) -> None:
    """The sentence ends up in logs and terminals of other people; and a password's beginning must be no port."""
    with pytest.raises(
        ConfigurationError, match=r'must look like "mqtt://host:1883" .* "/" is written as %2F'
    ) as caught:
        BrokerAddress.parse(url)
    assert "secret" not in str(caught.value)


def test_an_address_never_shows_its_password() -> None:
    """Addresses are printed and logged."""
    address = BrokerAddress.parse("mqtt://me:secret@[::1]:7")
    assert str(address) == "mqtt://[::1]:7"
    assert "secret" not in repr(address)
