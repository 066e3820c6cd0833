"""From objectives to what the surrogate is fitted to, and back. Numpy only."""

from dataclasses import dataclass

import numpy as np

from cnnbo.scheduler.optimizers.base import Points

_NEGLIGIBLE = 1e-9
"""Values that differ by less than this share of the largest of them differ by rounding noise: they count as equal."""


@dataclass(frozen=True, slots=True)
class TargetScale:
    """A rising map of objectives to targets with mean 0 and standard deviation 1.

    The better half of the objectives is kept as it is, up to scale; the worse half is compressed by a logarithm. The
    surrogate has to be exact where the optimum may be, and one huge loss must not flatten everything else. (The idea
    of treating the halves differently is that of Vizier's half-rank warping, arXiv 2408.11527 section 3; a logarithm
    keeps ties and can be undone.)

    Attributes:
        unit: objectives are divided by this first, so that no finite float overflows.
        median: median objective, in units.
        knee: distance above the median over which the compression sets in, in units.
        centre: mean of the warped objectives, in units.
        spread: their standard deviation, in units; 1 where all are equal.
    """

    unit: float
    median: float
    knee: float
    centre: float
    spread: float

    @classmethod
    def of(cls, objectives: Points) -> "TargetScale":
        """The scale of objectives of shape (N, 1), N >= 1, finite."""
        unit = float(np.max(np.abs(objectives))) or 1.0
        values = objectives / unit
        median = float(np.median(values))
        better = values[values <= median]
        knee = _spread(better, median) or _spread(values, float(np.mean(values))) or 1.0
        warped = _compress(values, median, knee)
        centre = float(np.mean(warped))
        return cls(unit, median, knee, centre, _spread(warped, centre) or 1.0)

    def target(self, objectives: Points) -> Points:
        """Targets of objectives, shape (N, 1) each."""
        return (_compress(objectives / self.unit, self.median, self.knee) - self.centre) / self.spread

    def objective(self, target: float) -> float:
        """The objective that has this target."""
        warped = target * self.spread + self.centre
        excess = max(0.0, warped - self.median) / self.knee
        stretched = warped if excess == 0 else self.median + self.knee * float(np.expm1(min(excess, 700.0)))
        return stretched * self.unit

    def slope(self, target: float) -> float:
        """Units of objective that a unit of target is worth at `target`; turns a small sd into objective units."""
        excess = max(0.0, target * self.spread + self.centre - self.median) / self.knee
        return self.spread * float(np.exp(min(excess, 700.0))) * self.unit


def _spread(values: Points, centre: float) -> float:
    """Root mean square distance to the centre, or 0 where it is negligible."""
    distances = np.abs(values - centre)
    widest = float(np.max(distances))
    # Below 1e-200 the way back, which divides by it, would overflow.
    if widest <= max(_NEGLIGIBLE * float(np.max(np.abs(values))), 1e-200):
        return 0.0
    return widest * float(np.sqrt(np.mean(np.square(distances / widest))))  # their own squares might underflow


def _compress(values: Points, median: float, knee: float) -> Points:
    excess = np.maximum(values - median, 0.0)
    return np.asarray(np.where(values <= median, values, median + knee * np.log1p(excess / knee)))
