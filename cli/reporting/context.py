"""What a report says beside its numbers: on which data and devices they were measured, at which price."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Spell:
    """A device was up to one thing for a while: a row of the journal's `timeline`.

    Attributes:
        device: its UUID.
        begun: seconds since the epoch.
        ended: seconds since the epoch; None = it still is.
        activity: `idle`, `foreign`, `drained`, `quarantined` or `off`; with a trial on it what the trial did:
            `starting`, `loading`, `compiling`, `training` or `evaluating`.
        reason: why it was idle, or out of use; None where a trial ran.
        study, trial: what ran there, or None.
    """

    device: str
    begun: float
    ended: float | None
    activity: str
    reason: str | None = None
    study: str | None = None
    trial: int | None = None


@dataclass(frozen=True, slots=True)
class Context:
    """Where and on what the numbers were measured, for captions.

    Attributes:
        data_name: name of the data folder, like `street_mnist`; empty where a study has none.
        is_svhn: whether the data were verified to be the real SVHN; otherwise a report never calls them that.
        devices: the devices used, as people call them, each once.
        device_names: what people call a device, by UUID.
        written_at: when the report is written, in seconds since the epoch.
        activities: what the devices were up to, each device's spells in order.
        price_per_device_hour: in the user's currency; None where no price is set.
        n_devices: to how many devices costs and times are projected, each >= 1.
        train_images, validation_images, test_images: sizes of the fold's sides and of the test set; None = unknown.
    """

    data_name: str
    is_svhn: bool
    devices: tuple[str, ...]
    written_at: float
    device_names: Mapping[str, str] = field(default_factory=dict)
    activities: tuple[Spell, ...] = ()
    price_per_device_hour: float | None = None
    n_devices: tuple[int, ...] = (1, 4, 50)
    train_images: int | None = None
    validation_images: int | None = None
    test_images: int | None = None

    def device_label(self, uuid: str) -> str:
        """What people call a device; its UUID where nobody named it."""
        return self.device_names.get(uuid, uuid)
