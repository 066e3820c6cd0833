"""Which studies a comparison has, which come next, and what its runs chose."""

from dataclasses import replace

import pytest
from tests.comparisons import Outcome, Played, comparison, members, play, train

from cnnbo.models.registry import SVHN_CNN
from cnnbo.scheduler.comparison import (
    FIGURE2,
    Finalist,
    Members,
    choices,
    confirmed,
    derived_seed,
    due,
    finalists,
    fixed_spec,
    lines,
    search_spec,
)
from cnnbo.scheduler.events import StudyArchived, StudyCancelled, StudyPaused
from cnnbo.scheduler.space import FloatParameter, SearchSpace
from cnnbo.scheduler.spec import Direction, Plan, Stage, StudySpec, Task
from cnnbo.scheduler.study import Study, StudyState
from cnnbo.scheduler.trial import Trial, TrialState

PLAN = Plan("small", ("bo", "random"), runs=2, evaluations=6, confirm=2, figure2=True)


def opening(plan: Plan = PLAN) -> list[Played]:
    """The runs of a comparison, before their first trial."""
    template = StudySpec(SVHN_CNN.space, model="svhn-cnn", data_dir="/data")
    optimizers = {"bo": "trieste", "random": "random"}
    runs = range(1, plan.runs + 1)
    return [Played(search_spec(template, plan, m, optimizers[m], run)) for run in runs for m in plan.methods]


def names(specs: list[StudySpec]) -> set[str]:
    return {spec.name for spec in specs}


@pytest.fixture(scope="module")
def whole() -> Members:
    return members(comparison(PLAN))


def test_runs_of_one_number_share_their_seed_and_no_others_do() -> None:
    """Methods are compared in pairs: the luck of a training's seed is the same for both."""
    seeds = {played.study.name: played.study.spec.seed for played in opening()}
    assert seeds["small-bo-1"] == seeds["small-random-1"] == derived_seed(PLAN.seed, "run 1")
    assert seeds["small-bo-2"] == seeds["small-random-2"] != seeds["small-bo-1"]


def test_random_search_goes_on_to_twice_the_trials() -> None:
    """The further line costs no second experiment."""
    evaluations = {played.study.name: played.study.spec.evaluations for played in opening()}
    assert evaluations == {"small-bo-1": 6, "small-bo-2": 6, "small-random-1": 12, "small-random-2": 12}
    assert [(line.label, line.evaluations) for line in lines(PLAN)] == [
        ("bo", 6), ("random", 6), ("random, twice the trials", 12),
    ]  # fmt: skip
    assert [line.label for line in lines(replace(PLAN, twice=False))] == ["bo", "random"]


def test_nothing_is_due_before_every_run_has_ended() -> None:
    """What is confirmed depends on all of them."""
    runs = opening()
    play(runs[:-1], train)
    assert due(members(runs)) == []
    assert members(runs).state is StudyState.RUNNING


def test_a_run_that_is_missing_is_waited_for() -> None:
    """The daemon may have died while the studies were created; the same command creates the rest."""
    runs = opening()
    play(runs, train)
    assert due(members(runs[:-1])) == []


def test_a_comparison_without_all_its_runs_is_not_finished() -> None:
    """It was cut short while it was created; the same command creates the rest."""
    runs = opening()
    play(runs, train)
    assert members(runs[:-1]).state is StudyState.PAUSED


def test_runs_that_all_failed_are_a_failure_whatever_the_baselines_are() -> None:
    """Nothing was compared."""
    runs = opening()
    play(runs, lambda spec, trial: Outcome(None))
    baseline = Played(fixed_spec(runs[0].study.spec, PLAN, Stage.UNTUNED, [SVHN_CNN.defaults], 2))
    play([baseline], train)
    assert members([*runs, baseline]).state is StudyState.FAILED


def test_a_cancelled_part_beside_a_paused_one_goes_nowhere() -> None:
    """Whoever waits for it must be told, not kept."""
    runs = opening()
    runs[0].take(StudyCancelled(1.0))
    for run in runs[1:]:
        run.take(StudyPaused(1.0))
    assert members(runs).state is StudyState.PAUSED


def test_figure_2_has_room_for_wider_bounds_than_its_own() -> None:
    """The best learning rate may lie beyond 1 where the file allows it."""
    wide = SearchSpace(
        tuple(
            FloatParameter("learning_rate", 1e-6, 50.0, "log") if parameter.name == "learning_rate" else parameter
            for parameter in SVHN_CNN.space.parameters
        )
    )
    runs = [Played(replace(each.study.spec, space=wide)) for each in opening()]
    play(runs, lambda spec, trial: Outcome(float(trial.configuration["learning_rate"])))
    assert "small-figure2" in names(due(members(runs)))


def test_confirmation_and_figure_follow_the_search_and_the_test_set_comes_last() -> None:
    """Nothing may look at the test set before the configurations are chosen."""
    runs = opening()
    play(runs, train)
    after_search = due(members(runs))
    assert names(after_search) == {"small-confirm", "small-figure2"}
    assert Task.FINAL not in {spec.trial.task for spec in after_search}
    further = [Played(spec) for spec in after_search]
    play(further, train)
    finals = due(members([*runs, *further]))
    assert names(finals) == {"small-final"}  # there were no baselines to begin with
    assert {spec.trial.task for spec in finals} == {Task.FINAL}


def test_the_same_studies_make_the_same_due() -> None:
    """After a crash the daemon asks again; a second answer would be a second experiment."""
    runs = opening()
    play(runs, train)
    assert due(members(runs)) == due(Members.of(reversed([played.study for played in runs]), "small"))


def test_a_whole_comparison_has_nothing_due(whole: Members) -> None:
    """It ends."""
    assert due(whole) == []
    assert whole.state is StudyState.FINISHED
    assert set(whole.others) == {
        Stage.UNTUNED, Stage.FOREST, Stage.CONFIRM, Stage.FIGURE2, Stage.FINAL, Stage.UNTUNED_FINAL, Stage.FOREST_FINAL,
    }  # fmt: skip


def test_final_trainings_take_all_images_and_go_to_the_end(whole: Members) -> None:
    """A network that collapses then has a held-out accuracy like any other."""
    for stage in (Stage.FINAL, Stage.UNTUNED_FINAL, Stage.FOREST_FINAL):
        trial = whole.others[stage].spec.trial
        assert (trial.images, trial.stop_at_chance, trial.task) == (None, False, Task.FINAL)


def test_each_finalist_is_trained_again_as_often_as_planned(whole: Members) -> None:
    """Each time with another seed, which the trial's number makes; one of two runs is trained once for both."""
    confirm = whole.others[Stage.CONFIRM]
    configurations = [trial.configuration for trial in confirm.trials]
    unique = [c for i, c in enumerate(configurations) if c not in configurations[:i]]
    assert len(configurations) == PLAN.confirm * len(unique)
    best = [
        f.trial.configuration
        for line in lines(PLAN)
        for s in whole.runs(line.method)
        for f in finalists(s, line.evaluations)
    ]
    assert all(configuration in unique for configuration in best)


def test_configurations_that_are_one_point_are_trained_once() -> None:
    """Else the study would lack a trial that nobody can propose."""
    template = StudySpec(SearchSpace((FloatParameter("x", 0.0, 1.0),)), model="svhn-cnn")
    spec = fixed_spec(template, PLAN, Stage.CONFIRM, [{"x": 0.5}, {"x": 0.25}, {"x": 0.5}], 2)
    assert (spec.start, spec.evaluations) == (({"x": 0.5}, {"x": 0.25}), 4)
    assert Study(spec).requestable == 0


def test_figure_2_changes_one_parameter_at_a_time_of_the_best_configuration(whole: Members) -> None:
    """Also to values beyond the search's own bounds."""
    incumbents = [study.incumbent for study in whole.search.values()]
    best = max((t for t in incumbents if t is not None), key=lambda trial: trial.value or 0.0).configuration
    shown = [trial.configuration for trial in whole.others[Stage.FIGURE2].trials]
    expected = [{**best, name: value} for name, values in FIGURE2.items() for value in values]
    assert shown == [pytest.approx(configuration) for configuration in expected]


def test_a_cancelled_or_archived_part_ends_it() -> None:
    """Whoever gives up a comparison doesn't want its next stage."""
    runs = opening()
    play(runs[1:], train)
    runs[0].take(StudyCancelled(1.0))
    assert due(members(runs)) == []
    assert members(runs).state is StudyState.CANCELLED
    ended = opening()
    play(ended, train)
    ended[0].take(StudyArchived(1.0))
    assert due(members(ended)) == []


def test_without_a_single_value_nothing_is_confirmed() -> None:
    """A search in which all failed has no finalists."""
    runs = opening()
    play(runs, lambda spec, trial: Outcome(None))
    assert due(members(runs)) == []
    assert members(runs).state is StudyState.FAILED


def test_a_command_has_no_test_set() -> None:
    """Its script reports one value; confirmation it has."""
    template = StudySpec(SVHN_CNN.space, command=("train",))
    plan = Plan("small", ("random",), runs=1, evaluations=4, twice=False)
    run = Played(search_spec(template, plan, "random", "random", 1))
    play([run], train)
    [confirm] = due(members([run]))
    again = Played(confirm)
    play([again], train)
    assert due(members([run, again])) == []


def test_the_first_half_of_a_doubled_run_is_its_own_line(whole: Members) -> None:
    """What random search finds later must not count for the line with as many trials as the others."""
    study = whole.runs("random")[0]
    assert all(finalist.trial.id <= 6 for finalist in finalists(study, 6))
    values = [t.value for t in study.trials if t.state is TrialState.COMPLETE]
    assert finalists(study, 12)[0].trial.value == max(v for v in values if v is not None)


def test_finalists_are_the_best_in_either_direction() -> None:
    """The best of a metric that is minimised is its smallest."""
    played = comparison(PLAN, lambda spec, trial: Outcome(float(trial.id)), Direction.MINIMIZE)
    study = members(played).runs("bo")[0]
    assert [finalist.trial.id for finalist in finalists(study, 6)] == [1, 2, 3]


def mostly_luck(spec: StudySpec, trial: Trial) -> Outcome:
    """Of six trials the first and the fifth learn something; the luckiest of the others has the best value."""
    value = {1: 0.3, 2: 0.19, 3: 0.35, 5: 0.5}.get(trial.id, 0.1)
    return Outcome(value, chance=0.2 if trial.id in (1, 5) else 0.4)


def test_no_finalist_is_at_chance_where_others_exist() -> None:
    """To train luck again three times would be a waste, and to choose it a mistake."""
    run = Played(replace(opening()[0].study.spec, evaluations=6))
    play([run], mostly_luck)
    assert [finalist.trial.id for finalist in finalists(run.study, 6)] == [5, 1]
    assert [finalist.trial.id for finalist in finalists(run.study, 4)] == [1]


def test_a_run_with_nothing_but_luck_has_that_value() -> None:
    """Its best found is the best of it, and one training again is enough to see what that is worth."""
    runs = opening()
    play(runs, lambda spec, trial: Outcome(trial.id / 100, chance=0.2))
    assert [f.trial.id for f in finalists(runs[0].study, 6)] == [6]
    assert members(runs).state is StudyState.RUNNING
    confirm = next(spec for spec in due(members(runs)) if spec.part is not None and spec.part.stage is Stage.CONFIRM)
    played = Played(confirm)
    play([played], lambda spec, trial: Outcome(0.15, chance=0.2))
    for best, chosen in choices(members([*runs, played]), lines(PLAN)[0]):
        assert best is not None and best == chosen
        assert (best.trial.value, best.values, best.at_chance, best.failures) == (0.06, (0.15, 0.15), 2, 0)


def test_figure_2_is_drawn_around_what_was_learnt() -> None:
    """A run of nothing but luck may have the highest value."""
    runs = opening()

    def training(spec: StudySpec, trial: Trial) -> Outcome:
        is_lucky = spec.name == "small-bo-1"
        return Outcome(0.39 if is_lucky else 0.3, chance=0.4 if is_lucky else 0.2)

    play(runs, training)
    figure2 = next(spec for spec in due(members(runs)) if spec.part is not None and spec.part.stage is Stage.FIGURE2)
    lucky = runs[0].study.incumbent
    assert lucky is not None and lucky.at_chance
    assert figure2.start[0]["filter1_depth"] == runs[1].study.trial(1).configuration["filter1_depth"]


def finalist(study: Study, number: int, *values: float, failures: int = 0) -> Finalist:
    return Finalist(study.trial(number), values, failures)


def test_a_finalist_that_fails_with_another_seed_is_not_trusted(whole: Members) -> None:
    """A mean over the seeds that went well flatters what diverges with every third."""
    study = whole.runs("bo")[0]
    lucky, sound = finalist(study, 1, 0.9, 0.9, failures=1), finalist(study, 2, 0.8, 0.8, 0.8)
    assert confirmed([lucky, sound], Direction.MAXIMIZE) is sound
    assert confirmed([finalist(study, 1, failures=3)], Direction.MAXIMIZE) is None
    assert confirmed([], Direction.MAXIMIZE) is None


def test_what_a_run_chose_is_what_its_finalists_came_to_again(whole: Members) -> None:
    """The best found and the confirmed one, for each run of each line."""
    for line in lines(PLAN):
        for study, (best, chosen) in zip(whole.runs(line.method), choices(whole, line), strict=True):
            if not finalists(study, line.evaluations):
                assert best is chosen is None
                continue
            assert best is not None and chosen is not None
            assert best.trial.value is not None and chosen.trial.value is not None
            assert best.trial.value >= chosen.trial.value
            assert len(chosen.values) + chosen.failures == PLAN.confirm
