"""What a study tells of its budget."""

from collections.abc import Mapping

from cnnbo.daemon.messages import study_object
from cnnbo.scheduler.events import TimeSpent
from cnnbo.scheduler.space import FloatParameter, SearchSpace
from cnnbo.scheduler.spec import Budget, StudySpec
from cnnbo.scheduler.study import Study


def test_limits_stand_beside_what_was_spent() -> None:
    """Screens and scripts show how much of each is left; flat keys, for Telegraf and Grafana choke on others."""
    budget = Budget(wall_clock_s=28_800.0, cost=100.0, price_per_device_hour=2.6)
    study = Study(StudySpec(SearchSpace((FloatParameter("x", 0.0, 1.0),)), name="s", budget=budget))
    study.handle(TimeSpent(60.0, 60.0))
    told: Mapping[str, object] = study_object(study, 60.0)
    keys = ("spent_wall_clock_s", "budget_wall_clock_s", "cost", "budget_cost", "energy_kwh", "budget_energy_kwh")
    assert [told[key] for key in keys] == [60.0, 28_800.0, 0.0, 100.0, None, None]


def test_time_is_told_where_it_is_counted() -> None:
    """A zero would say that nothing was used."""
    study = Study(StudySpec(SearchSpace((FloatParameter("x", 0.0, 1.0),)), name="s"))
    assert study_object(study, 60.0)["spent_wall_clock_s"] is None
