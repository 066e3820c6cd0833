"""Plays one round: a plan against a world, to the end of all its studies, and gathers what the checkers judge."""

import asyncio
import contextlib
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.nemesis import faults
from tests.nemesis.checks import compare_topics
from tests.nemesis.evidence import Round, read_doubles, read_files, read_rows, read_tables, read_untold
from tests.nemesis.plan import Plan, Strike
from tests.nemesis.retained import read_retained
from tests.nemesis.world import NODE, PATTERN, MissedError, UnavailableError, World, outputs_of, world_of

FINISH_STANDSTILL_S = 40.0
"""Once everything is healed, nothing takes so long to be journalled: twice the longest deadline of a proposal."""

OPERATOR_S = 1.0
"""How often somebody looks after quarantined devices: with all of them out of use nothing goes on."""

SETTLE_S = 10.0
"""For the news to reach the broker: longer than the longest wait between two attempts to connect after one loss."""


@dataclass(frozen=True, slots=True)
class Played:
    """A round that is over.

    Attributes:
        used: the strikes that were carried out, by name, in their order.
        skipped: those this machine can't carry out, with the reason.
        trials: how many attempts were started.
    """

    evidence: Round
    used: tuple[str, ...]
    skipped: Mapping[str, str]
    trials: int
    seconds: float


async def play(plan: Plan, folder: Path, nvml_library: Path) -> Played:
    """Play a round in a folder that must be empty or missing."""
    begin = time.monotonic()
    async with world_of(folder, plan, nvml_library) as world:
        await world.start_daemon()
        for study in plan.studies:
            if await world.submit(study) != 0:
                world.problems.append(f"study {study.name} could not be submitted")
        operator = asyncio.create_task(_return_devices(world), name="operator")
        await _strike(world)
        await _finish(world)
        operator.cancel()
        shown, devices, retained = await _look(world)
        world.note_unwanted_end()
        await world.stop_daemon()
        farewell = None
        if world.broker is not None:
            farewell = (await read_retained(world.broker.url, NODE)).get("availability", "missing")
        rows, tables, files = read_rows(world.state), read_tables(world.state), read_files(world.state)
        evidence = Round(
            rows=rows,
            tables=tables,
            files=files,
            patterns={study.name: PATTERN for study in plan.studies if study.pattern},
            shown=shown,
            devices=devices,
            retained=retained,
            untold=read_untold(world.state),
            farewell=farewell,
            outputs=outputs_of(folder, world.state),
            doubles=read_doubles(world.witness),
            problems=tuple(world.problems),
            struck=frozenset(world.used),
        )
        trials = len(tables["attempt"])
        return Played(evidence, tuple(world.used), world.skipped, trials, time.monotonic() - begin)


async def _strike(world: World) -> None:
    async with asyncio.TaskGroup() as strikes:
        for strike in world.plan.strikes:
            await world.reach(strike.after_row)
            await asyncio.sleep(strike.delay_s)
            strikes.create_task(_carry_out(world, strike), name=strike.fault)


async def _carry_out(world: World, strike: Strike) -> None:
    world.tell(f"{strike.fault} strikes ({strike.pick:g}, {strike.lasts_s:g} s)")
    try:
        await faults.BY_NAME[strike.fault](world, strike)
        world.used.append(strike.fault)
        world.tell(f"{strike.fault} is over")
    except MissedError:
        world.tell(f"{strike.fault} found nobody to strike")
    except UnavailableError as reason:
        world.skipped[strike.fault] = str(reason)


async def _finish(world: World) -> None:
    """Let all studies come to their end, resuming those that were paused."""
    if "fill_disk" in world.used and world.daemon_lives:
        # A device whose trial could not write its files rests for half a minute, longer than a round may take.
        await world.stop_daemon()
        await world.start_daemon()
    unfinished = {study.name for study in world.plan.studies}
    newest, since = world.rows(), time.monotonic()
    while unfinished and time.monotonic() - since < FINISH_STANDSTILL_S:
        if (now := world.rows()) != newest:
            newest, since = now, time.monotonic()
        if world.note_unwanted_end():
            await world.start_daemon()
        for name in sorted(unfinished):
            shown = await world.ask("show", study=name)
            if shown is not None and shown["state"] == "paused":
                await world.cnnbo("resume", name)
            elif shown is not None and shown["ended"] is not None and not shown["running"]:
                unfinished.discard(name)
        await asyncio.sleep(0.1)
    world.problems += [
        f"study {name} stood still for {FINISH_STANDSTILL_S:g} s and had not ended" for name in sorted(unfinished)
    ]


async def _return_devices(world: World) -> None:
    """As an operator would, who looks again and again until the devices are well."""
    while True:
        await asyncio.sleep(OPERATOR_S)
        for device in await world.ask("devices") or ():
            if device["state"] == "quarantined":
                await world.ask("return", device=device["uuid"])


async def _look(world: World) -> tuple[dict[str, Any], list[Any], dict[str, Any]]:
    """What command line and broker say at rest; the broker is given a moment to hear the last news."""
    deadline = time.monotonic() + SETTLE_S
    while True:
        names = [study.name for study in world.plan.studies]
        *studies, devices = await asyncio.gather(
            *(world.cnnbo_json("show", name) for name in names), world.cnnbo_json("devices")
        )
        shown = dict(zip(names, studies, strict=True))
        retained: dict[str, Any] = {}
        url = (await world.ask("status") or {}).get("mqtt")
        if url is not None:
            with contextlib.suppress(OSError, TimeoutError):
                retained = await read_retained(url, NODE)
        if not compare_topics(shown, devices, retained) or time.monotonic() > deadline:
            return shown, devices, retained
        await asyncio.sleep(0.3)
