"""The numbers of NVIDIA's driver in words."""

from cnnbo.daemon.devices.xid import APPLICATION_XIDS, describe


def test_says_what_the_usual_errors_are() -> None:
    """The sentence is the reason of a quarantine or a failure; a bare number sends everybody to a search engine."""
    for number in (*APPLICATION_XIDS, 48, 62, 63, 64, 74, 79, 92, 94, 95, 119, 120):
        assert describe(number).startswith(f"XID {number}: ")


def test_sends_to_the_catalogue_for_others() -> None:
    """New ones come with each driver."""
    assert describe(4711) == "XID 4711 (see NVIDIA's XID catalogue)"
