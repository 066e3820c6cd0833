"""A device that somebody else uses is left alone, and people are told whom to talk to."""

from cnnbo.scheduler.occupancy import DeviceUser, find_stranger

ALICE = DeviceUser(41277, "alice", "python train.py", 9318.4)
OURS = DeviceUser(100, "me", "python -m cnnbo.models.svhn.train", 11_000.0, is_ours=True)
DESKTOP = DeviceUser(900, "root", "/usr/lib/xorg/Xorg", 310.0, is_compute=False)


def reason(*users: DeviceUser, unnamed_mib: float | None = None) -> str | None:
    stranger = find_stranger(users, unnamed_mib, 1024.0)
    return None if stranger is None else stranger.reason


def test_an_empty_device_is_free() -> None:
    """Some MiB are in use on every idle device."""
    assert reason(unnamed_mib=600.0) is None
    assert reason(unnamed_mib=None) is None


def test_a_stranger_who_computes_is_named() -> None:
    """Whose it is and how much it holds is what one asks the colleague about."""
    assert reason(ALICE) == "alice: python train.py (pid 41277, 9.1 GB)"
    assert reason(OURS, ALICE) == reason(ALICE)


def test_our_own_trial_is_no_stranger() -> None:
    """Otherwise no second trial would ever start."""
    assert reason(OURS) is None


def test_a_desktop_alone_does_not_occupy_a_device() -> None:
    """Most workstations draw on the device they train on."""
    assert reason(DESKTOP, unnamed_mib=310.0) is None
    assert reason(DESKTOP, unnamed_mib=1500.0) == "1.5 GB in use, by nobody the driver names"


def test_a_process_nobody_knows_counts_as_foreign() -> None:
    """In a container the driver names pids of the host; free is the one thing they don't mean."""
    assert reason(DeviceUser(7)) == "a process this box does not know (pid 7)"


def test_of_several_the_largest_is_named() -> None:
    """One sentence for a screen; the others are counted."""
    assert reason(DeviceUser(1, "bob", "sh", 10.0), ALICE) == f"{reason(ALICE)} and 1 more"


def test_only_a_process_of_this_box_is_known() -> None:
    """In a container our own trial may be listed under the host's number: nothing is stopped because of that."""
    cases = {(ALICE,): True, (DeviceUser(7),): False, (DeviceUser(7), ALICE): True}
    for users, is_known in cases.items():
        stranger = find_stranger(users, None, 1024.0)
        assert stranger is not None and stranger.is_known is is_known
    heavy = find_stranger((), 9000.0, 1024.0)
    assert heavy is not None and not heavy.is_known
