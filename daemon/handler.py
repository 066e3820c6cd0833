"""One request handler behind every door: what each request does, and what is answered."""

import asyncio
import logging
import os
import re
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cnnbo.daemon import messages
from cnnbo.daemon.api import requests
from cnnbo.daemon.api.requests import Request
from cnnbo.daemon.devices.select import find_device
from cnnbo.daemon.journal import Receipt
from cnnbo.daemon.logfiles import read_end, read_on
from cnnbo.daemon.shell import Shell
from cnnbo.models.registry import find_model, missing_model_extra
from cnnbo.scheduler.codec import decode_value
from cnnbo.scheduler.comparison import Members, final_form, names, study_name
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
from cnnbo.scheduler.retrying import budget_refusal
from cnnbo.scheduler.sense import nonsense_in
from cnnbo.scheduler.spec import Origin, Plan, StudySpec, fixed_differences
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

PREPARE_S: Final = 600.0
"""So long the preparation of a study's data may take; that of all of SVHN takes about a minute."""

_NOT_MEASURED = "budget.energy_kwh: the energy of these devices is not measured; use budget.cost or budget.wall_clock."
_NAME = re.compile(r"[a-z0-9-]{1,40}")
_FOLDERS: Final = ("STATE_DIRECTORY", "RUNTIME_DIRECTORY", "LOGS_DIRECTORY")  # a daemon's own, which finds them by that


@dataclass(frozen=True, slots=True)
class Peer:
    """Who asks.

    Attributes:
        name: the user's name; owner of the studies they submit.
        may_run_commands: whether commands of this user may run as the daemon's user. Those of others may not, and
            nothing of theirs that could run code (environment, working directory, interpreter) is taken.
        is_root_elsewhere: whether this is root, and the daemon's user isn't: trials can't enter root's folders.
    """

    name: str
    may_run_commands: bool
    is_root_elsewhere: bool = False


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
                return await self._submit(_built_in(study), peer, receipt)
            case requests.SubmitSpec(spec=spec):
                return await self._submit(_decode_spec(spec), peer, receipt)
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
                return await self._compare([_decode_spec(spec) for spec in specs], peer)
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
                return {"outcome": _standing(self._shell.study(name)), **self._show_study(name)}
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
            if request.mark is None:
                part = await asyncio.to_thread(read_end, *place, request.lines)
            else:
                part = await asyncio.to_thread(read_on, *place, request.mark, is_over)
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
        part = study.spec.part
        if part is not None and Members.of(self._shell.studies, part.plan.name).was_used(part.stage):
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
        spec = _of_peer(spec, peer)
        known = {study.name: study for study in self._shell.studies}
        if spec.name in known:
            outcome = await self._go_on(known[spec.name], spec, receipt)
        else:
            outcome = await self._begin(spec, receipt)
        return {"outcome": outcome, **self._show_study(spec.name)}

    async def _begin(self, spec: StudySpec, receipt: Receipt | None) -> "SubmitOutcome":
        if (plan := self._plan_with(spec.name)) is not None:
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
        specs = [_of_peer(spec, peer) for spec in specs]
        plan = _plan_of(specs)
        self._check_comparison(plan, specs)
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
        if len(missing) < len(specs):
            outcome = await self._go_on_comparing(plan, [spec for spec in specs if spec.name in known])
        members = Members.of(self._shell.studies, plan.name)
        return {"outcome": outcome, **messages.comparison_object(members, self._now())}

    async def _go_on_comparing(self, plan: Plan, specs: Sequence[StudySpec]) -> "SubmitOutcome":
        """Amend the parts of a comparison that are there as far as that may be, and resume what is paused."""
        outcomes = [await self._go_on(self._shell.study(spec.name), spec, None) for spec in specs]
        for study in Members.of(self._shell.studies, plan.name).studies:
            if study.state is StudyState.PAUSED:
                await self._shell.submit(study.name, StudyResumed(self._now()))
                outcomes.append("resumed")
        if "resumed" in outcomes:
            return "resumed"
        return "finished" if Members.of(self._shell.studies, plan.name).state.is_ended else "going on"

    def _check_comparison(self, plan: Plan, specs: Sequence[StudySpec]) -> None:
        """Refuse a comparison that is over, has another plan, or would come upon another study's name."""
        needed = names(plan) | {spec.name for spec in specs}
        for study in self._shell.studies:
            own = study.spec.part
            if own is None or own.plan.name != plan.name:
                if study.name in needed:
                    raise RequestError(
                        f"comparison {plan.name} needs the name {study.name}, which another study has; "
                        "give it a new name."
                    )
            elif own.plan != plan:
                raise ConfigurationError(
                    f"comparison {plan.name} exists with another evaluations, seed or [compare]; "
                    "give it a new name, or the old values to go on."
                )
            elif study.state is StudyState.CANCELLED or study.is_archived:
                raise RequestError(
                    f"comparison {plan.name} is {'archived' if study.is_archived else 'cancelled'}; "
                    f"give it a new name, or free this one: cnnbo delete {plan.name}"
                )

    def _plan_with(self, name: str) -> Plan | None:
        """The plan of a comparison here that needs this name, now or later; None where there is none."""
        plans = {study.spec.part.plan.name: study.spec.part.plan for study in self._shell.studies if study.spec.part}
        return next((plan for plan in plans.values() if name in names(plan)), None)

    def _check_means(self, specs: Sequence[StudySpec]) -> None:
        """Refuse what can't be carried out here, all mistakes at once."""
        problems = [sentence for spec in specs if (sentence := missing_extra(spec.optimizer))]
        models = [spec.model for spec in specs if spec.model is not None]
        problems += [sentence for model in models if (sentence := missing_model_extra(model))]
        if any(spec.budget.energy_kwh is not None for spec in specs) and not self._shell.is_energy_measured():
            problems.append(_NOT_MEASURED)
        if problems:
            raise ConfigurationError(list(dict.fromkeys(problems)))

    async def _go_on(self, study: Study, spec: StudySpec, receipt: Receipt | None) -> "SubmitOutcome":
        _check_same(study, spec)
        amended = replace(spec, initial=study.spec.initial, origin=study.spec.origin)
        energy_kwh = spec.budget.energy_kwh
        is_new = energy_kwh is not None and energy_kwh != study.spec.budget.energy_kwh
        if is_new and not self._shell.is_energy_measured():
            raise ConfigurationError(_NOT_MEASURED)
        if amended != study.spec or study.is_archived or study.state is StudyState.CANCELLED:
            # The study itself says what may change and what to do otherwise.
            await self._shell.submit(study.name, StudyAmended(self._now(), amended))
        if self._shell.study(study.name).state is StudyState.PAUSED:
            await self._shell.submit(study.name, StudyResumed(self._now()), receipt)
            return "resumed"
        if receipt is not None:
            await self._shell.keep(receipt)  # once more up to here would change nothing
        return _standing(self._shell.study(study.name))


# What tells a program whose it is and where that user's files are.
_HOMES: Final = (
    *("HOME", "USER", "LOGNAME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME"),
    *("XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS"),
)


def _of_peer(spec: StudySpec, peer: Peer) -> StudySpec:
    """The study as this user may have it run.

    Raises:
        RequestError: it has a command, and theirs may not run here.
    """
    if spec.command and not peer.may_run_commands:
        raise RequestError(
            f"trials would run as the daemon's user, so commands are taken from that user or root only, not from "
            f"{peer.name}; run a daemon of your own: cnnbo run with --state DIR."
        )
    origin = spec.origin if peer.may_run_commands else _own_origin()
    if peer.is_root_elsewhere:
        own = _own_origin().environment
        kept = {name: value for name, value in origin.environment.items() if name not in _HOMES}
        origin = replace(origin, environment=kept | {name: own[name] for name in _HOMES if name in own})
    return replace(spec, origin=replace(origin, owner=peer.name))


def _check_same(study: Study, spec: StudySpec) -> None:
    """Refuse to go on with a study as if it were this one, where it isn't."""
    if differing := fixed_differences(study.spec, spec):
        raise ConfigurationError(
            f"study {study.name} exists with another {', '.join(differing)}; "
            "give the study a new name, or the old value to go on."
        )


def _plan_of(specs: Sequence[StudySpec]) -> Plan:
    """The plan of a comparison that begins with these studies.

    Raises:
        RequestError: they are no comparison's.
    """
    parts = [spec.part for spec in specs]
    first = parts[0]
    names = [spec.name for spec in specs]
    is_sound = first is not None and all(part is not None and part.plan == first.plan for part in parts)
    if not is_sound or first is None or names != [study_name(part) for part in parts if part is not None]:
        raise RequestError("the studies in the request are no comparison's; is this command line newer?")
    return first.plan


def _standing(study: Study) -> "SubmitOutcome":
    return "finished" if study.state.is_ended else "going on"


def no_best(study: str) -> RequestError:
    """What is said where a study has no best configuration yet."""
    return RequestError(f"study {study} has no completed trial yet; see its trials: cnnbo trials {study}")


def _own_origin() -> Origin:
    """Where trials run that were submitted by somebody who may not choose: where and as the daemon does.

    Its own settings are left out, since they may hold a password, and so is what systemd tells the daemon alone.
    """
    private = ("CNNBO_", "NOTIFY_SOCKET", "WATCHDOG_", "LISTEN_", "CREDENTIALS_DIRECTORY", *_FOLDERS)
    environment = {name: value for name, value in os.environ.items() if not name.startswith(private)}
    return Origin(cwd=str(Path.cwd()), environment=environment, python=sys.executable)


def _built_in(study: Mapping[str, object]) -> StudySpec:
    """The study of a built-in model, written by somebody who isn't on this box.

    Raises:
        RequestError: it has a command.
        ConfigurationError: with every mistake in it.
    """
    from cnnbo.daemon.studyfile import read_study_data  # only few daemons ever need it

    if "command" in study:
        raise RequestError(
            "study: a command is not taken over MQTT, since it would run as the daemon's user; "
            "submit it on the box (cnnbo submit STUDY), or name a built-in model."
        )
    return read_study_data(study, "study")


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


def _decode_spec(data: object) -> StudySpec:
    try:
        spec = decode_value(StudySpec, data)
        _check_sense(spec)
    except (KeyError, TypeError, ValueError, AttributeError, CnnboError) as error:
        raise RequestError(f"the study in the request can't be read ({error}); is this command line newer?") from error
    assert isinstance(spec, StudySpec)
    if not _NAME.fullmatch(spec.name):
        # It becomes a folder and a topic; not every client reads study files with our parser.
        raise RequestError(f"{spec.name!r} is no name for a study; use [a-z0-9-], at most 40 characters.")
    return spec


def _check_sense(spec: StudySpec) -> None:
    """Refuse what our own study files can't say, but another client might.

    Raises:
        ValueError, CnnboError: the spec would fail later, when nobody is there to be told.
    """
    if problem := nonsense_in(spec):
        raise ValueError(problem)
    Study(spec)  # the start configurations belong to the space


async def prepare_data(spec: StudySpec, deadline_s: float = PREPARE_S) -> None:
    """Check and cache the data of a built-in model, in a process of its own, which ends with the wait for it.

    Raises:
        ConfigurationError: what is wrong with the data.
    """
    model = None if spec.model is None else find_model(spec.model)
    if model is None or model.prepare is None or spec.data_dir is None:
        return
    images = [] if spec.trial.images is None else ["--images", str(spec.trial.images)]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-P", "-m", model.prepare, spec.data_dir, "--task", spec.trial.task, *images,
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        async with asyncio.timeout(deadline_s):
            _, errors = await process.communicate()
    except TimeoutError:
        raise ConfigurationError(
            f"The data in {spec.data_dir} were not prepared within {deadline_s / 60:.0f} minutes; see whether its disk "
            "answers and what else works on them, then submit the study again."
        ) from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        raise ConfigurationError(errors.decode(errors="replace").strip().splitlines() or ["the data can't be used."])


async def prepare_comparison_data(spec: StudySpec) -> None:
    """Check and cache the data for all stages of a comparison: a test set that is missing is told before the search.

    Args:
        spec: any of the studies that the comparison begins with.

    Raises:
        ConfigurationError: what is wrong with the data.
    """
    await prepare_data(spec)
    if spec.model is not None:
        await prepare_data(final_form(spec))
