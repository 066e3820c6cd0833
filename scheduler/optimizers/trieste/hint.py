"""What an ask leaves for the next one: the fitted hyperparameters, as JSON."""

import json
import math
from dataclasses import dataclass

_FORMAT = 1


@dataclass(frozen=True, slots=True)
class Hint:
    """Where the next fit may start.

    Attributes:
        objective: hyperparameters of the surrogate of the objective, or None.
        feasibility: hyperparameters of the surrogate of failures, or None.
    """

    objective: tuple[float, ...] | None = None
    feasibility: tuple[float, ...] | None = None

    def to_bytes(self) -> bytes:
        """JSON; floats keep every bit."""
        data = {"format": _FORMAT, "objective": self.objective, "feasibility": self.feasibility}
        return json.dumps(data, separators=(",", ":")).encode()

    @classmethod
    def from_bytes(cls, data: bytes | None) -> "Hint":
        """Read a hint; what is not one (another version's, say) is an empty one, for a hint only saves time."""
        try:
            parsed = json.loads(data or b"{}", parse_int=float)
        except ValueError:
            return cls()
        if not isinstance(parsed, dict) or parsed.get("format") != _FORMAT:
            return cls()
        return cls(_numbers(parsed.get("objective")), _numbers(parsed.get("feasibility")))


def _numbers(value: object) -> tuple[float, ...] | None:
    if not isinstance(value, list) or not all(isinstance(item, float) and math.isfinite(item) for item in value):
        return None
    return tuple(value)
