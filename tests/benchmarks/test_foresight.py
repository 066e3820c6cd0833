from pathlib import Path

import pytest
from proposing import rows
from proposing.foresight import foresights

ROWS = Path(__file__).parents[2] / "benchmarks" / "rows"


@pytest.mark.tensorflow
@pytest.mark.filterwarnings("ignore")  # TensorFlow and its company warn of their own making
def test_the_surrogate_foresees_real_trainings_better_than_nothing_does() -> None:
    """A run of real trainings is in the repository; a surrogate that is sure of the wrong things is far below this."""
    [first, *_] = rows.load([ROWS / "laboratory" / "street-copies.jsonl"])
    found = list(foresights([first]))
    assert [one.trials for one in found] == [16, 22, 28, 34]
    assert all(one.log_density > -4.0 for one in found), "-1.5 is what a guess from the mean alone comes to"
    assert all(0 < one.noise_sd < 2 for one in found)


def test_runs_without_chance_have_nothing_to_foresee() -> None:
    """There a surrogate has other priors, which this says nothing of."""
    assert list(foresights(rows.load([ROWS / "random.jsonl"])[:3])) == []
