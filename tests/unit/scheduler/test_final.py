from dataclasses import replace

from cnnbo.scheduler.comparison import derived_seed
from cnnbo.scheduler.events import TrialCompleted, TrialStarted
from cnnbo.scheduler.final import final_name, final_spec
from cnnbo.scheduler.sense import nonsense_in
from cnnbo.scheduler.space import FloatParameter, SearchSpace
from cnnbo.scheduler.spec import Budget, Part, Plan, Stage, StudySpec, Task, TrialSettings
from cnnbo.scheduler.study import Study

SPEC = StudySpec(
    SearchSpace((FloatParameter("learning_rate", 0.0, 1.0),)),
    name="svhn",
    model="svhn-cnn",
    evaluations=2,
    seed=7,
    start=({"learning_rate": 0.25}, {"learning_rate": 0.5}),
    repeats=1,
    data_dir="/data",
    trial=TrialSettings(epochs=3, images=100, timeout_s=60.0),
    budget=Budget(cost=1.0, wall_clock_s=1.0, price_per_device_hour=2.6),
    max_devices=1,
    part=Part(Plan("svhn", ("random",), 1, 2), Stage.SEARCH, "random", 1),
)


def study() -> Study:
    """A study whose second trial was the best."""
    found = Study(SPEC)
    for trial, value in ((1, 0.5), (2, 0.75)):
        found.handle(TrialStarted(1.0, trial, 1, "cpu-0"))
        found.handle(TrialCompleted(2.0, trial, 1, value))
    return found


def test_the_best_is_trained_on_everything_as_the_study_trains() -> None:
    """All that made it the best stays as it was; what only bounded the search doesn't bind the training at its end."""
    searched = study()
    assert searched.incumbent is not None
    spec = final_spec(searched, searched.incumbent)
    assert (spec.name, spec.start, spec.evaluations, spec.seed) == (
        "svhn-best-2",
        ({"learning_rate": 0.5},),
        1,
        derived_seed(7, "best 2"),
    )
    assert spec.trial == TrialSettings(epochs=3, task=Task.FINAL, stop_at_chance=False)
    assert (spec.data_dir, spec.max_devices, spec.metric) == ("/data", 1, "test_accuracy")
    assert spec.budget == Budget(price_per_device_hour=2.6)
    assert spec.part is None  # or a comparison would take it for one of its own
    assert nonsense_in(spec) is None
    assert [trial.configuration for trial in Study(spec).ready] == [{"learning_rate": 0.5}]


def test_names_stay_names_and_apart() -> None:
    """A folder and a topic are called so; two long names must not lead to one network."""
    assert final_name("svhn", 29) == "svhn-best-29"
    assert final_name("x" * 33, 3) == "x" * 33 + "-best-3"
    long = [final_name("x" * 34 + end, 3) for end in ("", "a", "b")]
    assert len(set(long)) == 3
    assert {len(name) for name in long} == {40}


def test_it_changes_with_nothing_that_may_change_of_a_study() -> None:
    """Asked for again after the study got more evaluations or another timeout, it is the same training."""
    searched = study()
    assert searched.incumbent is not None
    spec = final_spec(searched, searched.incumbent)
    searched.spec = replace(searched.spec, evaluations=9, budget=Budget(), trial=replace(SPEC.trial, timeout_s=1.0))
    assert replace(final_spec(searched, searched.incumbent), budget=spec.budget) == spec
