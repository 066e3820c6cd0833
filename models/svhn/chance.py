"""When a network counts as stuck at the majority class, and which accuracy luck explains.

Such a network has learnt nothing, yet scores the share of the most frequent digit (about 0.19 on SVHN's test set). So
a value is told together with its bound, the highest accuracy that luck explains; what isn't above that is at chance, a
value of its own kind. The rule is the same for every optimizer, also for random search, and depends on the trial alone,
never on time or on other trials:

1. At every tenth of the steps from the second to the ninth the network answers the first images of the validation side
   (at most 1,000; the side is in random order). Two checks in a row at which every image got the same answer end the
   training: one may be a bad moment, two are a tenth of the training without a sign of life. Which digit it is doesn't
   matter; the last layer's biases may still swing. Of 26 drawn configurations on street_mnist (3x3 filters, batch 20,
   one epoch) 15 met this, and none of them was beyond chance at the end; whatever learnt gave three answers or more.
   What was trained so far is then scored like any other network.
2. At the end, on the whole validation side of n images, luck explains every accuracy that isn't above the majority's
   share p by more than three standard deviations of n guesses' accuracy, 3 √(p (1 - p) / n).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

_DEVIATIONS: Final = 3.0
_PATIENCE: Final = 2


@dataclass(frozen=True, slots=True)
class Score:
    """How a network answered some images.

    Attributes:
        images: number of images, >= 1.
        correct: how many it got right.
        majority: how many show the most frequent digit.
        answers: how many different digits it gave, 1-10.
    """

    images: int
    correct: int
    majority: int
    answers: int

    @property
    def accuracy(self) -> float:
        """Share of right answers, 0-1."""
        return self.correct / self.images

    @property
    def chance(self) -> float:
        """The highest accuracy that luck explains, 0-1: part 2 of the rule."""
        return best_of_luck(self.majority, self.images)


def best_of_luck(majority: int, images: int) -> float:
    """The highest accuracy that luck explains, 0-1: part 2 of the rule.

    Args:
        majority: how many of the images show the most frequent digit.
        images: how many there are, >= 1.
    """
    share = majority / images
    return min(1.0, share + _DEVIATIONS * math.sqrt(share * (1 - share) / images))


def check_steps(steps: int) -> frozenset[int]:
    """After which of `steps` steps to check: the tenths from the second to the ninth."""
    return frozenset(math.ceil(steps * tenth / 10) for tenth in range(2, 10))


def trace_steps(steps: int) -> frozenset[int]:
    """After which of `steps` steps a traced training is scored: 24 of them, evenly spaced, the last one included.

    A figure needs no more, and an attempt keeps 64 metrics at most.
    """
    return frozenset(math.ceil(steps * part / 24) for part in range(1, 25))


def sample_size(validation: int) -> int:
    """How many validation images a check looks at: enough to see, and all checks together cost one validation."""
    return min(1000, max(100, validation // 8), validation)


def trace_sample_size(validation: int) -> int:
    """How many validation images a point of a trace is the accuracy on: of 1,000 its standard error is below 0.016."""
    return min(1000, validation)


def is_stuck(scores: Sequence[Score]) -> bool:
    """Part 1 of the rule, for the scores of all checks so far, oldest first."""
    last = scores[-_PATIENCE:]
    return len(last) == _PATIENCE and all(score.answers == 1 for score in last)
