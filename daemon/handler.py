"""One request handler behind every door: what each verb does."""

import asyncio
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from cnnbo.daemon import messages
from cnnbo.daemon.devices.select import find_device
from cnnbo.daemon.shell import Shell
from cnnbo.models.registry import find_model
from cnnbo.scheduler.codec import decode_value
from cnnbo.scheduler.errors import CnnboError, ConfigurationError, RequestError
from cnnbo.scheduler.events import (
    DeviceDrained,
    DeviceReturned,
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
from cnnbo.scheduler.spec import StudySpec, fixed_differences
from cnnbo.scheduler.study import Study, StudyState
from cnnbo.scheduler.trial import Failure

if TYPE_CHECKING:
    from cnnbo.daemon.api.objects import (
        DeviceObject,
        FactsObject,
        ShowObject,
        StatusObject,
        SubmitOutcome,
        SubmittedObject,
    )
    from cnnbo.daemon.control import Peer

_NOT_MEASURED = "budget.energy_kwh: the energy of these devices is not measured; use budget.cost or budget.wall_clock."
_NAME = re.compile(r"[a-z0-9-]{1,40}")


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

    async def handle(self, verb: str, args: Mapping[str, Any], peer: "Peer") -> object:
        """Carry out one request.

        Returns:
            JSON data for the response.

        Raises:
            RequestError, ConfigurationError: a sentence for whoever asked.
        """
        match verb:
            case "ping":
                return {}
            case "status":
                return self.status()
            case "devices":
                return self._shell.device_objects()
            case "drain":
                drained = DeviceDrained(self._now(), self._device(args), f"drained by {peer.name}")
                return await self._order_device(drained)
            case "return":
                returned = DeviceReturned(self._now(), self._device(args), f"returned by {peer.name}")
                return await self._order_device(returned)
            case "show":
                return self.show(_study_name(args))
            case "submit":
                return await self._submit(args, peer)
            case "pause":
                return await self._apply(args, lambda at: StudyPaused(at, bool(args.get("now"))))
            case "resume":
                return await self._apply(args, StudyResumed)
            case "retry":
                return await self._retry(args)
            case "cancel":
                return await self._apply(args, StudyCancelled)
            case "archive":
                return await self._apply(args, StudyArchived)
            case "delete":
                await self._shell.delete(_study_name(args))
                return {}
            case _:
                raise RequestError(f"the daemon knows no request {verb!r}; it may be older than this command line.")

    def status(self) -> "StatusObject":
        """What `status --json` prints."""
        studies = [messages.study_object(study, self._now()) for study in self._shell.studies if not study.is_archived]
        return {**self._facts(), "devices": self._shell.device_objects(), "studies": studies}

    def show(self, name: str) -> "ShowObject":
        """What `show NAME --json` prints."""
        study = self._shell.study(name)
        # A study at rest shows the figures of its last event, which are those of its retained topic.
        return messages.show_object(study, self._now() if study.ended_at is None else study.ended_at)

    def _device(self, args: Mapping[str, Any]) -> str:
        """UUID of the device that a request names in one of the forms of `find_device`."""
        text = args.get("device")
        if not isinstance(text, str):
            raise RequestError('the request names no device; it takes "device", an index, gpu0 or a UUID.')
        return find_device(text, self._shell.devices).uuid

    async def _order_device(self, event: DeviceDrained | DeviceReturned) -> "DeviceObject":
        await self._shell.submit_device(event)
        return next(shown for shown in self._shell.device_objects() if shown["uuid"] == event.device)

    async def _apply(
        self,
        args: Mapping[str, Any],
        event: Callable[[float], StudyPaused | StudyResumed | StudyCancelled | StudyArchived],
    ) -> "ShowObject":
        name = _study_name(args)
        self._shell.study(name)
        await self._shell.submit(name, event(self._now()))
        return self.show(name)

    async def _retry(self, args: Mapping[str, Any]) -> dict[str, object]:
        """Withdraw what trials came to and run them again; `retried` lists them."""
        study = self._shell.study(_study_name(args))
        event = TrialsRetried(self._now(), _trials_to_retry(study, args))
        study.check(event)
        if limit := self._shell.exceeded_limit(study):
            raise budget_refusal(study, limit)  # it would be found only when the first of them is about to start
        await self._shell.submit(study.name, event)
        return {"retried": list(event.trials), **self.show(study.name)}

    # -- submit -------------------------------------------------------------------------------------------------------

    async def _submit(self, args: Mapping[str, Any], peer: "Peer") -> "SubmittedObject":
        """Begin a study, or go on with the one of that name; `outcome` says which."""
        spec = _decode_spec(args.get("spec"))
        if spec.command and not peer.may_run_commands:
            raise RequestError(
                f"trials would run as the daemon's user, so commands are taken from that user or root only, not from "
                f"{peer.name}; run a daemon of your own: cnnbo run with --state DIR."
            )
        spec = replace(spec, origin=replace(spec.origin, owner=peer.name))
        known = {study.name: study for study in self._shell.studies}
        if spec.name in known:
            outcome = await self._go_on(known[spec.name], spec)
        else:
            outcome = await self._begin(spec)
        return {"outcome": outcome, **self.show(spec.name)}

    async def _begin(self, spec: StudySpec) -> "SubmitOutcome":
        self._check_means(spec)
        await prepare_data(spec)
        initial = max(spec.space.dimension + 1, len(self._shell.devices)) if spec.initial is None else spec.initial
        spec = replace(spec, initial=initial)
        await self._shell.submit(spec.name, StudyCreated(self._now(), spec))
        return "created"

    def _check_means(self, spec: StudySpec) -> None:
        """Refuse what can't be carried out here, all mistakes at once."""
        problems = []
        if sentence := missing_extra(spec.optimizer):
            problems.append(sentence)
        if spec.budget.energy_kwh is not None and not self._shell.is_energy_measured():
            problems.append(_NOT_MEASURED)
        if problems:
            raise ConfigurationError(problems)

    async def _go_on(self, study: Study, spec: StudySpec) -> "SubmitOutcome":
        differing = fixed_differences(study.spec, spec)
        amended = replace(spec, initial=study.spec.initial, origin=study.spec.origin)
        if differing:
            raise ConfigurationError(
                f"study {study.name} exists with another {', '.join(differing)}; "
                "give the study a new name, or the old value to go on."
            )
        energy_kwh = spec.budget.energy_kwh
        is_new = energy_kwh is not None and energy_kwh != study.spec.budget.energy_kwh
        if is_new and not self._shell.is_energy_measured():
            raise ConfigurationError(_NOT_MEASURED)
        if amended != study.spec or study.is_archived or study.state is StudyState.CANCELLED:
            # The study itself says what may change and what to do otherwise.
            await self._shell.submit(study.name, StudyAmended(self._now(), amended))
        if self._shell.study(study.name).state is StudyState.PAUSED:
            await self._shell.submit(study.name, StudyResumed(self._now()))
            return "resumed"
        return "finished" if self._shell.study(study.name).state.is_ended else "going on"


def _study_name(args: Mapping[str, Any]) -> str:
    name = args.get("study")
    if not isinstance(name, str):
        raise RequestError("the request names no study.")
    return name


def _trials_to_retry(study: Study, args: Mapping[str, Any]) -> tuple[int, ...]:
    """Ids of the trials a `retry` names, and with `crashed` of all that crashed; by id, none twice."""
    named, is_crashed = args.get("trials", []), args.get("crashed", False)
    is_list = isinstance(named, list) and all(type(trial) is int for trial in named)
    if not is_list or not isinstance(is_crashed, bool):
        raise RequestError('a retry takes "trials", a list of whole numbers, and "crashed", true or false.')
    retry = f"cnnbo retry {study.name}"
    if not named and not is_crashed:
        raise RequestError(
            f"say which trials to run again: {retry} --crashed for all that crashed, or their numbers, "
            f"like {retry} 3 7 (cnnbo trials {study.name} --failed lists those that failed)."
        )
    crashed = [trial.id for trial in study.trials if trial.failure is Failure.CRASHED] if is_crashed else []
    if not named and not crashed:
        raise RequestError(
            f"no trial of study {study.name} has crashed; name those to run again, like {retry} 3 7 "
            f"(cnnbo trials {study.name} --failed lists those that failed)."
        )
    return tuple(sorted({*named, *crashed}))


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


async def prepare_data(spec: StudySpec) -> None:
    """Check and cache the data of a built-in model, in a process of its own.

    Raises:
        ConfigurationError: what is wrong with the data.
    """
    model = None if spec.model is None else find_model(spec.model)
    if model is None or model.prepare is None or spec.data_dir is None:
        return
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-P", "-m", model.prepare, spec.data_dir,
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    _, errors = await process.communicate()
    if process.returncode:
        raise ConfigurationError(errors.decode(errors="replace").strip().splitlines() or ["the data can't be used."])
