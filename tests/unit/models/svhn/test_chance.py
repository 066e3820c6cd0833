import pytest

from cnnbo.models.svhn.chance import Score, best_of_luck, check_steps, is_stuck, sample_size, trace_steps

ONE_ANSWER = Score(images=200, correct=25, majority=25, answers=1)
SLOW = Score(images=200, correct=25, majority=25, answers=3)


def test_two_checks_in_a_row_with_one_answer_are_stuck() -> None:
    """The rule as written; a slow learner with the same accuracy but several answers goes on."""
    assert is_stuck([SLOW, ONE_ANSWER, ONE_ANSWER])
    assert not is_stuck([ONE_ANSWER, SLOW, ONE_ANSWER])
    assert not is_stuck([ONE_ANSWER])
    assert not is_stuck([SLOW, SLOW])


def test_checks_come_at_tenths_from_the_second_to_the_ninth() -> None:
    """Never in the first steps, where networks of any promise may answer alike, and never after the last step."""
    assert sorted(check_steps(100)) == [20, 30, 40, 50, 60, 70, 80, 90]
    assert check_steps(1) == {1}


def test_a_trace_has_few_enough_points_to_be_kept() -> None:
    """24 of them up to the end, and each step once where there are fewer."""
    assert sorted(trace_steps(4800)) == list(range(200, 4801, 200))
    assert sorted(trace_steps(5)) == [1, 2, 3, 4, 5]


def test_what_luck_explains_depends_on_how_many_were_asked() -> None:
    """0.19 + 3 √(0.19 · 0.81 / n): wide for few images, narrow for the real validation side."""
    assert Score(1_000, 0, 190, 1).chance == pytest.approx(0.2272, abs=1e-4)
    assert Score(100_000, 0, 19_000, 1).chance == pytest.approx(0.1937, abs=1e-4)


def test_luck_explains_no_more_than_everything() -> None:
    """A share of right answers is at most 1, however few images there are."""
    assert best_of_luck(9, 10) == 1.0
    assert best_of_luck(10, 10) == 1.0


def test_all_checks_together_cost_one_validation() -> None:
    """Eight checks look at an eighth each, at no more than a thousand, and at no more than there are."""
    assert [sample_size(validation) for validation in (1600, 120_877, 30)] == [200, 1000, 30]
