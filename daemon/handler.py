"""One request handler behind every door: what each request does, and what is answered."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING

from cnnbo.daemon import messages
from cnnbo.daemon.api import requests
from cnnbo.daemon.api.requests import Request
from cnnbo.daemon.devices.select import find_device
from cnnbo.daemon.journal import Receipt
from cnnbo.daemon.logfiles import read_end, read_on
from cnnbo.daemon.preparing import prepare_comparison_data, prepare_data
from cnnbo.daemon.shell import Shell
from cnnbo.daemon.submitted import Peer, built_in_spec, decode_spec, spec_of_peer
from cnnbo.models.registry import missing_model_extra
from cnnbo.scheduler.comparison import Members
from cnnbo.scheduler.comparison_checks import check_comparison, plan_needing, plan_of
from cnnbo.scheduler.errors import CnnboError, ConfigurationError, RequestError
from cnnbo.scheduler.events import (
    DeviceDrained,
    DeviceReturned,
    DevicesLimited,
    Event,
    StudyAmended,
    StudyArchived,
    StudyCancelled,
    StudyCreated,
    StudyPaused,
    StudyResumed,
    TrialsRetried,
)
from cnnbo.scheduler.optimizers.registry import missing_extra
from cnnbo.scheduler.retrying import budget_refusal, crash_budget_refusal
from cnnbo.scheduler.spec import Plan, StudySpec, fixed_differences
from cnnbo.scheduler.study import Study, StudyState
from cnnbo.scheduler.trial import Failure

if TYPE_CHECKING:
    from cnnbo.daemon.api.objects import (
        ComparisonObject,
        DeviceObject,
        FactsObject,
        RefusalObject,
        ShowObject,
        StatusObject,
        SubmitOutcome,
    )

log = logging.getLogger(__name__)

_NOT_MEASURED = "budget.energy_kwh: the energy of these devices is not measured; use budget.cost or budget.wall_clock."


async def response(transaction: object, what: str, work: Awaitable[object]) -> dict[str, object]:
    """The response to a request whose data `work` makes: `transaction`, `status`, `data`, `error`.

    Args:
        transaction: echoed as it is.
        what: names the request in the log.
        work: see `Handler.handle`; may raise what that raises.
    """
    try:
        return {"transaction": transaction, "status": "ok", "data": await work, "error": None}
    except CnnboError as error:
        return refusal(transaction, error)
    except Exception as error:
        return refusal(transaction, bug(what, error))


def bug(what: str, error: Exception) -> RequestError:
    """What is said of a mistake of our own; call it where the error was caught, for its traceback goes into the log."""
    log.exception("a bug in cnnbo: %s failed", what)
    return RequestError(f"a bug in cnnbo: {error!r}; see the daemon's log.")


def refusal(transaction: object, error: CnnboError) -> dict[str, object]:
    """The response to a request that can't be carried out."""
    # Which of the two exit codes the command line should use travels with the sentence.
    data: RefusalObject = {"configuration": isinstance(error, ConfigurationError)}
    return {"transaction": transaction, "status": "error", "data": data, "error": str(error)}


class Handler:
    """Carries out requests on the shell.

    Args:
        shell: what is asked and ordered.
        facts: what `status` says of the daemon itself, made at each call: `daemon` and `mqtt`.
        now: seconds since the epoch.
    """

    def __init__(self, shell: Shell, facts: Callable[[], "FactsObject"], now: Callable[[], float]) -> None:
        self._shell = shell
        self._facts = facts
        self._now = now
        self._preparing = asyncio.Lock()  # one at a time: a data set may fill half of the memory
        # Apart from the threads that trials wait for: however many logs are read, those stay free.
        self._log_threads = ThreadPoolExecutor(max_workers=2, thread_name_prefix="logs")

    def close(self) -> None:
        """Read no more logs."""
        self._log_threads.shutdown(wait=False, cancel_futures=True)  # waiting here would block the event loop

    async def handle(self, request: Request, peer: Peer, receipt: Receipt | None = None) -> object:
        """Carry out one request.

        Args:
            request: what is asked.
            peer: who asks.
            receipt: journalled with the effect of an order, that it is known for ever as carried out.

        Returns:
            JSON data for the response.

        Raises:
            RequestError, ConfigurationError: a sentence for whoever asked.
        """
        match request:
            case requests.Ping():
                return {}
            case requests.Status():
                return self.status()
            case requests.Devices():
                return self._shell.device_objects()
            case requests.Show(study=name) | requests.Follow(study=name):
                return self.show(name)
            case requests.Best(study=name):
                return self._best(name)
            case requests.Drain(device=device) | requests.Return(device=device):
                return await self._order_device(request, find_device(device, self._shell.devices).uuid, peer, receipt)
            case requests.Limit(study=None, devices=count):
                event = DevicesLimited(self._now(), count, f"limited by {peer.name}")
                await self._shell.submit_device(event, receipt)
                return {"limit": count}
            case requests.Limit(study=str(name), devices=count):
                return await self._limit(name, count, receipt)
            case requests.Submit(study=study):
                return await self._submit(built_in_spec(study), peer, receipt)
            case requests.SubmitSpec(spec=spec):
                return await self._submit(decode_spec(spec), peer, receipt)
            case requests.Pause(study=name, now=now):
                return await self._apply(name, StudyPaused(self._now(), now), receipt)
            case requests.Resume(study=name):
                return await self._apply(name, StudyResumed(self._now()), receipt)
            case requests.Cancel(study=name):
                return await self._apply(name, StudyCancelled(self._now()), receipt)
            case requests.Archive(study=name):
                return await self._apply(name, StudyArchived(self._now()), receipt)
            case requests.Retry(study=name):
                return await self._retry(name, request)
            case requests.Compare(specs=specs):
                return await self._compare([decode_spec(spec) for spec in specs], peer)
            case requests.Delete(study=name):
                return await self._delete(name)
            case requests.Logs():
                return await self._log(request)
            case _:
                raise RequestError(f"{type(request).__name__.lower()} is not answered here.")

    def outcome(self, request: Request) -> object:
        """What an order that was carried out in an earlier life of the daemon is answered with: how things are now.

        Raises:
            RequestError: what it was about is gone.
        """
        match request:
            case requests.Submit(study={"name": str(name)}):
                return {"outcome": _standing(self._shell.study(name)), "retried": None, **self._show_study(name)}
            case requests.Drain(device=device) | requests.Return(device=device):
                return self._device_object(find_device(device, self._shell.devices).uuid)
            case requests.Limit(study=None):
                return {"limit": self._shell.limit}
            case (
                requests.Pause(study=name)
                | requests.Resume(study=name)
                | requests.Cancel(study=name)
                | requests.Archive(study=name)
                | requests.Limit(study=str(name))
            ):
                return self.show(name)
            case _:
                raise RequestError(f"{type(request).__name__.lower()} is no order that is kept.")

    def status(self) -> "StatusObject":
        """What `status --json` prints."""
        studies = [messages.study_object(study, self._now()) for study in self._shell.studies if not study.is_archived]
        return {
            **self._facts(),
            "limit": self._shell.limit,
            "devices": self._shell.device_objects(),
            "studies": studies,
        }

    def show(self, name: str) -> "ShowObject | ComparisonObject":
        """What `show NAME --json` prints, of a study or a comparison."""
        if members := self._members(name):
            return messages.comparison_object(members, self._now())
        return self._show_study(name)

    def is_comparison(self, name: str) -> bool:
        """Whether this is the name of a comparison, and of no study."""
        return self._members(name) is not None

    def _members(self, name: str) -> Members | None:
        """The comparison of that name; None where there is none. A study of that name goes first."""
        members = Members.of(self._shell.studies, name)
        is_comparison = members.studies and all(study.name != name for study in self._shell.studies)
        return members if is_comparison else None

    def _meant(self, name: str) -> list[str]:
        """The studies that an order to this name is for: those of a comparison, else the one of that name."""
        members = self._members(name)
        return [name] if members is None else [study.name for study in members.studies]

    def _show_study(self, name: str) -> "ShowObject":
        study = self._shell.study(name)
        # A study at rest shows the figures of its last event, which are those of its retained topic.
        return messages.show_object(study, self._now() if study.ended_at is None else study.ended_at)

    def _best(self, name: str) -> object:
        found = self._show_study(self._single(name).name)["best"]
        if found is None:
            raise no_best(name)
        return found

    async def _log(self, request: requests.Logs) -> dict[str, object]:
        attempt = self._single(request.study).trial(request.trial).attempts[request.attempt - 1 : request.attempt]
        if not attempt:
            raise RequestError(f"trial {request.trial} of study {request.study} has no attempt {request.attempt}.")
        is_over = attempt[0].outcome is not None  # before its log is read, which then is complete
        place = (self._shell.state_folder, request.study, request.trial, request.attempt)
        try:
            loop = asyncio.get_running_loop()
            if request.mark is None:
                part = await loop.run_in_executor(self._log_threads, read_end, *place, request.lines)
            else:
                part = await loop.run_in_executor(self._log_threads, read_on, *place, request.mark, is_over)
        except OSError as error:
            raise RequestError(f"the log can't be read ({error.strerror}); try again.") from error
        return {"lines": part.lines, "mark": part.mark, "is_over": is_over}

    async def _delete(self, name: str) -> dict[str, object]:
        if self.is_comparison(name):
            self._check_ended(name)
        elif (part := self._shell.study(name).spec.part) is not None:
            whole = part.plan.name
            raise RequestError(
                f"{name} is part of comparison {whole}, which would have it done again; to remove all of it: "
                f"cnnbo delete {whole}"
            )
        for study in self._meant(name):
            await self._shell.delete(study)
        return {}

    def _check_ended(self, comparison: str) -> None:
        """Refuse what is for comparisons that have ended."""
        state = Members.of(self._shell.studies, comparison).state
        if not state.is_ended:
            raise RequestError(f"comparison {comparison} is {state}; end it first: cnnbo cancel {comparison}")

    def _single(self, name: str) -> Study:
        """The study of that name, for what can't be done to a comparison as a whole."""
        if (members := self._members(name)) is not None:
            raise RequestError(f"{name} is a comparison; name one of its studies, like {members.studies[0].name}.")
        return self._shell.study(name)

    async def _order_device(self, request: Request, device: str, peer: Peer, receipt: Receipt | None) -> "DeviceObject":
        if isinstance(request, requests.Drain):
            await self._shell.submit_device(DeviceDrained(self._now(), device, f"drained by {peer.name}"), receipt)
        else:
            await self._shell.submit_device(DeviceReturned(self._now(), device, f"returned by {peer.name}"), receipt)
        return self._device_object(device)

    def _device_object(self, device: str) -> "DeviceObject":
        return next(shown for shown in self._shell.device_objects() if shown["uuid"] == device)

    async def _apply(
        self,
        name: str,
        event: StudyAmended | StudyPaused | StudyResumed | StudyCancelled | StudyArchived,
        receipt: Receipt | None,
    ) -> "ShowObject | ComparisonObject":
        concerned = self._concerned(name, event)
        for study in concerned:
            try:
                # With the last of several: carried out in part, it is carried out again as far as it is still due.
                await self._shell.submit(study, event, receipt if study == concerned[-1] else None)
            except RequestError:
                if len(concerned) == 1:
                    raise  # of several one may have ended in this moment
        if isinstance(event, StudyCancelled) and self.is_comparison(name):
            await self._cancel_rest(name)
        return self.show(name)

    async def _cancel_rest(self, comparison: str) -> None:
        """Cancel what was created while the parts that were there were being cancelled."""
        for study in Members.of(self._shell.studies, comparison).studies:
            if not study.state.is_ended:
                await self._shell.submit(study.name, StudyCancelled(self._now()))

    def _concerned(self, name: str, event: Event) -> list[str]:
        """The studies that an order is for; of a comparison those in which it can happen.

        Raises:
            RequestError: it can happen in none.
        """
        if isinstance(event, StudyArchived):
            self._check_archive(name)
        refusals, concerned = [], []
        for study in self._meant(name):
            try:
                self._shell.study(study).check(event)
                concerned.append(study)
            except RequestError as error:
                refusals.append(error)
        if not concerned:
            raise refusals[0]
        return concerned

    def _check_archive(self, name: str) -> None:
        """Refuse to archive a comparison, or a part of one, that goes on: an archived part ends it."""
        if self.is_comparison(name):
            self._check_ended(name)
        elif (part := self._shell.study(name).spec.part) is not None:
            self._check_ended(part.plan.name)

    async def _limit(self, name: str, count: int | None, receipt: Receipt | None) -> "ShowObject | ComparisonObject":
        """Let a study use at most so many devices, whatever its file says."""
        if count == 0:
            raise RequestError(f"a study uses one device at least; to start nothing new: cnnbo pause {name}")
        spec = replace(self._single(name).spec, max_devices=count)
        return await self._apply(name, StudyAmended(self._now(), spec), receipt)

    async def _retry(self, name: str, request: requests.Retry) -> dict[str, object]:
        """Withdraw what trials came to and run them again; `retried` lists them."""
        study = self._single(name)
        if (part := study.spec.part) is not None and self._was_used(study):
            raise RequestError(
                f"comparison {part.plan.name} has chosen from what {name} found, so its trials stay as they are; "
                "to have it all again, give the comparison a new name."
            )
        event = TrialsRetried(self._now(), _trials_to_retry(study, request))
        study.check(event)
        if limit := self._shell.exceeded_limit(study):
            raise budget_refusal(study, limit)  # it would be found only when the first of them is about to start
        await self._shell.submit(study.name, event)
        return {"retried": list(event.trials), **self._show_study(study.name)}

    # -- submit -------------------------------------------------------------------------------------------------------

    async def _submit(self, spec: StudySpec, peer: Peer, receipt: Receipt | None) -> dict[str, object]:
        """Begin a study, or go on with the one of that name; `outcome` says which."""
        spec = spec_of_peer(spec, peer)
        known = {study.name: study for study in self._shell.studies}
        retried: tuple[int, ...] = ()
        if spec.name in known:
            outcome, retried = await self._go_on(known[spec.name], spec, receipt)
        else:
            outcome = await self._begin(spec, receipt)
        return {"outcome": outcome, "retried": list(retried), **self._show_study(spec.name)}

    async def _begin(self, spec: StudySpec, receipt: Receipt | None) -> "SubmitOutcome":
        if (plan := plan_needing(spec.name, self._shell.studies)) is not None:
            raise RequestError(f"comparison {plan.name} needs the name {spec.name}; give the study another one.")
        self._check_means([spec])
        async with self._preparing:
            await prepare_data(spec)
        await self._create(spec, receipt)
        return "created"

    async def _create(self, spec: StudySpec, receipt: Receipt | None = None) -> None:
        initial = max(spec.space.dimension + 1, len(self._shell.devices)) if spec.initial is None else spec.initial
        await self._shell.submit(spec.name, StudyCreated(self._now(), replace(spec, initial=initial)), receipt)

    async def _compare(self, specs: Sequence[StudySpec], peer: Peer) -> dict[str, object]:
        """Begin a comparison, or go on with the one of that name; `outcome` says which.

        Args:
            specs: the studies it begins with. What is missing of them is created, also after a crash half-way.
            peer: who asks.
        """
        specs = [spec_of_peer(spec, peer) for spec in specs]
        plan = plan_of(specs)
        check_comparison(plan, specs, self._shell.studies)
        known = {study.name: study for study in self._shell.studies}
        missing = [spec for spec in specs if spec.name not in known]
        for spec in specs:
            if spec.name in known:
                _check_same(known[spec.name], spec)
        if missing:
            self._check_means(missing)
            async with self._preparing:
                await prepare_comparison_data(missing[0])
            for spec in missing:
                await self._create(spec)
        outcome: SubmitOutcome = "created"
        retried: dict[str, list[int]] = {}
        if len(missing) < len(specs):
            outcome, retried = await self._go_on_comparing(plan, [spec for spec in specs if spec.name in known])
        members = Members.of(self._shell.studies, plan.name)
        return {"outcome": outcome, "retried": retried, **messages.comparison_object(members, self._now())}

    async def _go_on_comparing(
        self, plan: Plan, specs: Sequence[StudySpec]
    ) -> tuple["SubmitOutcome", dict[str, list[int]]]:
        """Amend the parts of a comparison that are there as far as that may be, and resume what is paused.

        Returns:
            how it goes on, and the trials that run again for that, by study.
        """
        woken = {spec.name: await self._go_on(self._shell.study(spec.name), spec, None) for spec in specs}
        for study in Members.of(self._shell.studies, plan.name).studies:
            if study.state is StudyState.PAUSED:
                woken[study.name] = await self._wake(study, None)
        retried = {name: list(trials) for name, (_, trials) in woken.items() if trials}
        if any(outcome == "resumed" for outcome, _ in woken.values()):
            return "resumed", retried
        is_ended = Members.of(self._shell.studies, plan.name).state.is_ended
        return "finished" if is_ended else "going on", retried

    def _check_means(self, specs: Sequence[StudySpec]) -> None:
        """Refuse what can't be carried out here, all mistakes at once."""
        problems = [sentence for spec in specs if (sentence := missing_extra(spec.optimizer))]
        models = [spec.model for spec in specs if spec.model is not None]
        problems += [sentence for model in models if (sentence := missing_model_extra(model))]
        if any(spec.budget.energy_kwh is not None for spec in specs) and not self._shell.is_energy_measured():
            problems.append(_NOT_MEASURED)
        if problems:
            raise ConfigurationError(list(dict.fromkeys(problems)))

    async def _go_on(
        self, study: Study, spec: StudySpec, receipt: Receipt | None
    ) -> tuple["SubmitOutcome", tuple[int, ...]]:
        """Go on with a study as its file says now; see `_wake`."""
        _check_same(study, spec)
        # What a broken environment has crashed runs again in the mended one, and what comes later runs there as well.
        origin = spec.origin if self._undecided(study) else study.spec.origin
        amended = replace(spec, initial=study.spec.initial, origin=origin)
        energy_kwh = spec.budget.energy_kwh
        is_new = energy_kwh is not None and energy_kwh != study.spec.budget.energy_kwh
        if is_new and not self._shell.is_energy_measured():
            raise ConfigurationError(_NOT_MEASURED)
        self._check_affordable(study, amended)
        if amended != study.spec or study.is_archived or study.state is StudyState.CANCELLED:
            # The study itself says what may change and what to do otherwise.
            await self._shell.submit(study.name, StudyAmended(self._now(), amended))
        return await self._wake(self._shell.study(study.name), receipt)

    def _check_affordable(self, study: Study, amended: StudySpec) -> None:
        """Refuse to go on with what crashes have paused where nothing can run any more: resumed, it would just end."""
        after = study.copy()
        after.handle(StudyAmended(self._now(), amended))
        if study.reason == "crashes" and (limit := self._shell.exceeded_limit(after)):
            raise crash_budget_refusal(study, limit)

    async def _wake(self, study: Study, receipt: Receipt | None) -> tuple["SubmitOutcome", tuple[int, ...]]:
        """Have a study go on: what equal crashes have left undecided runs again, and a pause is over.

        Returns:
            how it goes on, and which trials run again.
        """
        retried = self._undecided(study)
        is_paused = study.state is StudyState.PAUSED
        is_to_resume = is_paused and not (retried and study.reason == "crashes")  # that pause ends with the retry
        if retried:
            event = TrialsRetried(self._now(), retried)
            await self._shell.submit(study.name, event, None if is_to_resume else receipt)
        if is_to_resume:
            await self._shell.submit(study.name, StudyResumed(self._now()), receipt)
        elif receipt is not None and not retried:
            await self._shell.keep(receipt)  # once more up to here would change nothing
        return "resumed" if is_paused else _standing(self._shell.study(study.name)), retried

    def _undecided(self, study: Study) -> tuple[int, ...]:
        """The trials of a study that run again when it is submitted again, as far as they can."""
        is_spent = study.budget_limit is not None or self._shell.exceeded_limit(study) is not None
        return () if is_spent or self._was_used(study) else study.undecided

    def _was_used(self, study: Study) -> bool:
        """Whether a comparison has chosen something from what the study found."""
        part = study.spec.part
        return part is not None and Members.of(self._shell.studies, part.plan.name).was_used(part.stage)


def _check_same(study: Study, spec: StudySpec) -> None:
    """Refuse to go on with a study as if it were this one, where it isn't."""
    if differing := fixed_differences(study.spec, spec):
        raise ConfigurationError(
            f"study {study.name} exists with another {', '.join(differing)}; "
            "give the study a new name, or the old value to go on."
        )


def _standing(study: Study) -> "SubmitOutcome":
    return "finished" if study.state.is_ended else "going on"


def no_best(study: str) -> RequestError:
    """What is said where a study has no best configuration yet."""
    return RequestError(f"study {study} has no completed trial yet; see its trials: cnnbo trials {study}")


def _trials_to_retry(study: Study, request: requests.Retry) -> tuple[int, ...]:
    """Ids of the trials a `retry` names, and with `crashed` of all that crashed; by id, none twice."""
    retry = f"cnnbo retry {study.name}"
    if not request.trials and not request.crashed:
        raise RequestError(
            f"say which trials to run again: {retry} --crashed for all that crashed, or their numbers, "
            f"like {retry} 3 7 (cnnbo trials {study.name} --failed lists those that failed)."
        )
    crashed = [trial.id for trial in study.trials if trial.failure is Failure.CRASHED] if request.crashed else []
    if not request.trials and not crashed:
        raise RequestError(
            f"no trial of study {study.name} has crashed; name those to run again, like {retry} 3 7 "
            f"(cnnbo trials {study.name} --failed lists those that failed)."
        )
    return tuple(sorted({*request.trials, *crashed}))
