"""Comparisons in the daemon: created once, gone on with after anything, and ordered as a whole."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.unit.daemon.test_handler import BOB, Desk, submission
from tests.unit.daemon.test_shell import SPEC, Scene, scene, write_result

from cnnbo.daemon.api import requests
from cnnbo.daemon.control import FollowSink
from cnnbo.daemon.executors.base import ExitEvidence, Launch, Progress
from cnnbo.daemon.executors.fake import FakeExecutor
from cnnbo.daemon.journal import read_journal
from cnnbo.daemon.sinks.base import Delivery, Message
from cnnbo.scheduler.codec import encode_value
from cnnbo.scheduler.comparison import Members, search_spec
from cnnbo.scheduler.errors import ConfigurationError, RequestError
from cnnbo.scheduler.spec import Plan, StudySpec

PLAN = Plan("c", ("sobol", "random"), runs=1, evaluations=2, confirm=1, twice=False)
TEMPLATE = replace(SPEC, start=())


def specs(plan: Plan = PLAN) -> list[StudySpec]:
    runs = range(1, plan.runs + 1)
    return [search_spec(TEMPLATE, plan, method, method, run) for run in runs for method in plan.methods]


def compare(plan: Plan = PLAN) -> requests.Compare:
    return requests.Compare(specs=[encode_value(spec) for spec in specs(plan)])


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    async with scene(tmp_path) as at:
        yield Desk(at)


class PromptExecutor(FakeExecutor):
    """Every attempt ends at once, with a value."""

    async def run(self, launch: Launch, on_progress: Callable[[Progress], None]) -> ExitEvidence:
        await asyncio.to_thread(write_result, launch.directory, len(launch.key) / 10)
        return ExitEvidence(exit_code=0)


async def carry_out(at: Scene) -> None:
    """Wait for the comparison's end."""
    await at.ears.until(lambda: Members.of(at.shell.studies, "c").state.is_ended)


def states(at: Scene) -> dict[str, str]:
    return {study.name: str(study.state) for study in at.shell.studies}


async def test_the_next_stage_is_created_when_the_last_run_has_ended(tmp_path: Path) -> None:
    """Nobody has to be there in the night."""
    async with scene(tmp_path, PromptExecutor()) as at:
        begun = await Desk(at).ask(compare())
        assert (begun["outcome"], begun["comparison"], begun["evaluations"]) == ("created", "c", 4)
        await carry_out(at)
        assert states(at) == {"c-sobol-1": "finished", "c-random-1": "finished", "c-confirm": "finished"}
        shown = await Desk(at).ask(requests.Show(study="c"))
    assert (shown["state"], shown["methods"], {part["name"] for part in shown["studies"]}) == (
        "finished", ["sobol", "random"], {"c-sobol-1", "c-random-1", "c-confirm"},
    )  # fmt: skip
    assert {part["comparison"] for part in shown["studies"]} == {"c"}


async def test_a_daemon_that_died_between_the_stages_goes_on(tmp_path: Path) -> None:
    """The end of the last run is journalled before what follows from it; a kill may come between the two."""
    async with scene(tmp_path, PromptExecutor()) as at:
        await Desk(at).ask(compare())
        await carry_out(at)
        await at.shell.delete("c-confirm")  # what the journal of such a daemon looks like
    executor = FakeExecutor()
    async with scene(tmp_path, executor) as at:
        await executor.started("c-confirm/1/1")


async def test_asked_for_again_it_goes_on_and_creates_what_is_missing(desk: Desk) -> None:
    """The command was cut short after the first study; the same command does the rest."""
    await desk.ask(requests.Limit(devices=0))
    await desk.at.submit(replace(specs()[0], initial=2))
    assert (await desk.ask(compare()))["outcome"] == "going on"
    assert list(states(desk.at)) == ["c-sobol-1", "c-random-1"]


async def test_another_plan_of_that_name_is_refused(desk: Desk) -> None:
    """Its runs would not be those of one experiment."""
    await desk.ask(requests.Limit(devices=0))
    await desk.ask(compare())
    with pytest.raises(ConfigurationError, match="comparison c exists with another evaluations, seed or"):
        await desk.ask(compare(replace(PLAN, confirm=2)))
    assert list(states(desk.at)) == ["c-sobol-1", "c-random-1"]


async def test_a_name_of_a_later_stage_that_is_taken_is_told_at_once(desk: Desk) -> None:
    """Not in the night, when the stage begins."""
    await desk.ask(requests.Limit(devices=0))
    await desk.ask(submission(name="c-final"))
    with pytest.raises(RequestError, match="comparison c needs the name c-final, which another study has"):
        await desk.ask(compare())


async def test_a_study_takes_no_comparisons_name(desk: Desk) -> None:
    """Orders to that name would be for the one or the other."""
    await desk.ask(requests.Limit(devices=0))
    await desk.ask(compare())
    with pytest.raises(RequestError, match="comparison c needs the name c; give the study another one"):
        await desk.ask(submission(name="c"))


async def test_orders_to_a_comparison_reach_its_studies(desk: Desk) -> None:
    """Ten commands for ten studies would be asked of nobody."""
    await desk.ask(requests.Limit(devices=0))
    await desk.ask(compare())
    await desk.ask(requests.Pause(study="c-sobol-1"))
    paused = await desk.ask(requests.Pause(study="c"))  # one of them is paused already
    assert (paused["state"], set(states(desk.at).values())) == ("paused", {"paused"})
    assert (await desk.ask(compare()))["outcome"] == "resumed"
    assert (await desk.ask(requests.Pause(study="c")))["state"] == "paused"
    assert (await desk.ask(requests.Resume(study="c")))["state"] == "running"
    with pytest.raises(RequestError, match="only a paused study can be resumed"):
        await desk.ask(requests.Resume(study="c"))
    with pytest.raises(RequestError, match="comparison c is running; end it first: cnnbo cancel c"):
        await desk.ask(requests.Delete(study="c"))
    assert (await desk.ask(requests.Cancel(study="c")))["state"] == "cancelled"
    with pytest.raises(RequestError, match="comparison c is cancelled; give it a new name, or free this one"):
        await desk.ask(compare())
    await desk.ask(requests.Archive(study="c"))
    await desk.ask(requests.Delete(study="c"))
    assert states(desk.at) == {}


async def test_a_pause_holds_over_the_end_of_a_stage(desk: Desk) -> None:
    """The last trials of the search end while it is paused; what follows waits as well."""
    await desk.ask(compare(replace(PLAN, evaluations=1)))
    running = [await desk.at.executor.started(f"c-{method}-1/1/1") for method in ("sobol", "random")]
    await desk.ask(requests.Pause(study="c"))
    for launch in running:
        desk.at.executor.finish(launch.key, result={"value": 0.5})
    await desk.at.ears.until(lambda: states(desk.at).get("c-confirm") == "paused")
    assert not desk.at.executor.running
    assert (await desk.ask(requests.Resume(study="c")))["state"] == "running"
    await desk.at.executor.started("c-confirm/1/1")


async def test_parts_that_others_rest_on_stay_as_they_are(tmp_path: Path) -> None:
    """A part that was deleted would be done again; a run that changes later doesn't fit what was chosen from it."""
    async with scene(tmp_path, PromptExecutor()) as at:
        desk = Desk(at)
        await desk.ask(compare())
        await carry_out(at)
        with pytest.raises(RequestError, match="part of comparison c, which would have it done again"):
            await desk.ask(requests.Delete(study="c-confirm"))
        with pytest.raises(RequestError, match="comparison c has chosen from what c-sobol-1 found"):
            await desk.ask(requests.Retry(study="c-sobol-1", trials=[1]))
        await desk.ask(requests.Retry(study="c-confirm", trials=[1]))  # nothing was chosen from that


async def test_an_archive_is_for_what_has_ended(desk: Desk) -> None:
    """An archived part would end the comparison without a word."""
    await desk.ask(requests.Limit(devices=0))
    await desk.ask(compare())
    await desk.ask(requests.Cancel(study="c-sobol-1"))
    for name in ("c", "c-sobol-1"):
        with pytest.raises(RequestError, match="comparison c is running; end it first: cnnbo cancel c"):
            await desk.ask(requests.Archive(study=name))


async def test_the_names_of_later_stages_are_kept_free(desk: Desk) -> None:
    """Taken meanwhile, the comparison could never go on."""
    await desk.ask(requests.Limit(devices=0))
    await desk.ask(compare())
    with pytest.raises(RequestError, match="comparison c needs the name c-confirm; give the study another one"):
        await desk.ask(submission(name="c-confirm"))


async def test_two_plans_never_share_a_name(desk: Desk) -> None:
    """Their runs would be counted together."""
    await desk.ask(requests.Limit(devices=0))
    await desk.ask(compare(replace(PLAN, methods=("sobol",))))
    with pytest.raises(ConfigurationError, match="comparison c exists with another"):
        await desk.ask(compare(replace(PLAN, methods=("random",))))


async def test_what_may_change_is_amended(desk: Desk) -> None:
    """A timeout that was too short, a price: as for a study."""
    await desk.ask(requests.Limit(devices=0))
    await desk.ask(compare())
    slower = [replace(spec, trial=replace(spec.trial, timeout_s=99.0)) for spec in specs()]
    await desk.ask(requests.Compare(specs=[encode_value(spec) for spec in slower]))
    assert {study.spec.trial.timeout_s for study in desk.at.shell.studies} == {99.0}


async def test_what_is_for_single_studies_says_so(desk: Desk) -> None:
    """`show` knows the name, so "there is no study" would be no answer."""
    await desk.ask(requests.Limit(devices=0))
    await desk.ask(compare())
    for request in (
        requests.Retry(study="c", crashed=True),
        requests.Limit(study="c", devices=1),
        requests.Best(study="c"),
    ):
        with pytest.raises(RequestError, match="c is a comparison; name one of its studies, like c-"):
            await desk.ask(request)


async def test_cancelled_runs_lead_to_no_confirmation(desk: Desk) -> None:
    """Whoever cancels wants nothing more."""
    await desk.ask(compare())
    launch = await desk.at.executor.started("c-sobol-1/1/1")
    desk.at.executor.finish(launch.key, result={"value": 0.5})
    await desk.ask(requests.Cancel(study="c"))
    await desk.at.ears.until(lambda: not any(study.running for study in desk.at.shell.studies))
    assert set(states(desk.at)) == {"c-sobol-1", "c-random-1"}


async def test_commands_of_others_are_not_compared_as_the_daemons_user(desk: Desk) -> None:
    """The same rule as for a single study."""
    with pytest.raises(RequestError, match="taken from that user or root only, not from bob"):
        await desk.ask(compare(), BOB)
    assert states(desk.at) == {}


@pytest.mark.parametrize("change", [{"name": "other"}, {"part": None}])
async def test_studies_that_make_no_comparison_are_refused(desk: Desk, change: dict[str, Any]) -> None:
    """Another client may send anything."""
    first, second = specs()
    wrong = requests.Compare(specs=[encode_value(first), encode_value(replace(second, **change))])
    with pytest.raises(RequestError, match="no comparison's; is this command line newer"):
        await desk.ask(wrong)
    assert states(desk.at) == {}


async def test_it_is_read_from_the_journal_like_any_study(desk: Desk) -> None:
    """The plan travels in the studies; there is nothing beside them that could be lost."""
    await desk.ask(requests.Limit(devices=0))
    await desk.ask(compare())
    stored, _ = await asyncio.to_thread(read_journal, desk.at.state)
    parts = [known.study.spec.part for known in stored]
    assert [part and (part.plan, part.method, part.run) for part in parts] == [
        (PLAN, "sobol", 1), (PLAN, "random", 1),
    ]  # fmt: skip


async def test_whoever_follows_a_comparison_hears_of_all_its_studies_and_no_others() -> None:
    """Also of those that are created later."""
    sink, heard = FollowSink(), list[str]()
    news = {False: sink.follow("c"), True: sink.follow("c", is_comparison=True)}
    waiting = {key: asyncio.ensure_future(anext(queue)) for key, queue in news.items()}
    await asyncio.sleep(0)
    for topic in ("info", "study/other", "study/cc-1", "study/c-final/trial/1", "study/c"):
        sink.publish(Message(topic, {}, "", Delivery.STATE))
    heard = [(await waiting[key]).topic for key in (False, True)]
    assert heard == ["study/c", "study/c-final/trial/1"]


class BrokenExecutor(FakeExecutor):
    """Every attempt crashes at once, in the same way, until the script is mended."""

    is_mended = False

    async def run(self, launch: Launch, on_progress: Callable[[Progress], None]) -> ExitEvidence:
        if self.is_mended:
            await asyncio.to_thread(write_result, launch.directory, 0.5)
        return ExitEvidence(exit_code=0 if self.is_mended else 1)


async def test_what_crashed_in_any_part_runs_again_by_the_same_command(tmp_path: Path) -> None:
    """Otherwise the crashes would count as evaluations of one method."""
    executor, plan = BrokenExecutor(), replace(PLAN, evaluations=3, confirm=0)
    async with scene(tmp_path, executor) as at:
        await Desk(at).ask(compare(plan))
        await at.ears.until(lambda: all(study.state == "paused" for study in at.shell.studies))
        executor.is_mended = True
        answer = await Desk(at).ask(compare(plan))
        assert (answer["outcome"], answer["retried"]) == ("resumed", {"c-sobol-1": [1, 2, 3], "c-random-1": [1, 2, 3]})
        await carry_out(at)
        assert {study.name: study.finished for study in at.shell.studies} == {"c-sobol-1": 3, "c-random-1": 3}
        assert not any(trial.failure for study in at.shell.studies for trial in study.trials)
