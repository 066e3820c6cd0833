import asyncio
import json
import os
import random
import re
import signal
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from tests.contracts.optimizer import MIXED, TINY, make_history, rows
from tests.fuzz.mutations import DEEP, mutated, torn

from cnnbo.daemon.proposer import Limits, Proposal, Proposer
from cnnbo.daemon.proposer_wire import history_from_data, history_to_data, space_from_data, space_to_data
from cnnbo.scheduler.errors import SpaceExhaustedError
from cnnbo.scheduler.optimizers.base import History, Source
from cnnbo.scheduler.optimizers.sobol import SobolOptimizer
from cnnbo.scheduler.space import SearchSpace

# A stand-in for the proposer process: the real entry point, lifeline and protocol, around an optimizer of ours.
STAND_IN = """
import os, sys, time
from cnnbo.daemon import proposer_process
{body}
proposer_process.main()
"""
QUICK = """
import numpy as np
from cnnbo.scheduler.optimizers import registry
from cnnbo.scheduler.optimizers.base import Source, Suggestion
from cnnbo.scheduler.optimizers.sobol import SobolOptimizer
class Quick:
    def __init__(self, space, seed): self.sobol = SobolOptimizer(space, seed, Source.SURROGATE)
    def suggest(self, history, ask, count):
        print("a library prints this")
        os.write(1, b"and this\\n")
        points = self.sobol.suggest(history, ask, count).points
        return Suggestion(points, Source.SURROGATE, {{"pid": os.getpid()}}, b"hint")
registry.create_optimizer = lambda name, space, seed: Quick(space, seed)
"""

StartProposer = Callable[..., Proposer]


def stand_in(body: str) -> tuple[str, ...]:
    return (sys.executable, "-P", "-c", STAND_IN.format(body=body.replace("{{", "{").replace("}}", "}")))


async def ask(proposer: Proposer, history: History | None = None, number: int = 6, count: int = 1) -> Proposal:
    return await proposer.suggest("svhn", "trieste", MIXED, 0, history or make_history(MIXED), number, count)


def printed(log: Path) -> list[str]:
    return log.read_text().splitlines()


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"


async def gone(pid: int) -> None:
    """Wait for a process that is no child of ours to end."""
    descriptor = os.pidfd_open(pid)
    ended = asyncio.Event()
    asyncio.get_running_loop().add_reader(descriptor, ended.set)
    try:
        async with asyncio.timeout(20):
            await ended.wait()
    finally:
        asyncio.get_running_loop().remove_reader(descriptor)
        os.close(descriptor)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "proposer.log"


@pytest.fixture
async def quick(log: Path) -> AsyncIterator[Proposer]:
    async with Proposer(log, command=stand_in(QUICK)) as proposer:
        yield proposer


class TestWire:
    def test_a_history_survives_bit_for_bit(self) -> None:
        """The proposer must see the doubles of the journal, or an ask can't be repeated."""
        generator = random.Random(0)
        points = np.array([[generator.random() for _ in range(4)] for _ in range(20)])
        values = np.array([[generator.uniform(-1, 1) * 10.0 ** generator.randint(-300, 300)] for _ in range(20)])
        failed, pending, excluded, censored = points[:3] / 3, points[:0], points[:2], points[3:7] / 7
        history = History(
            points, values, failed, pending, excluded, 80, 9, b"\x00\xffhint", censored, values[3:7] / 3,
            tuple(range(29, 0, -1)), (*[Source.START] * 28, Source.SPACE_FILLING),
        )  # fmt: skip
        back = history_from_data(json.loads(json.dumps(history_to_data(history))))
        for name in ("observed", "objectives", "failed", "pending", "excluded", "censored", "bounds"):
            sent, received = getattr(history, name), getattr(back, name)
            assert (sent.shape, sent.tobytes()) == (received.shape, received.tobytes())
        assert (back.evaluations, back.initial, back.hint) == (80, 9, b"\x00\xffhint")
        assert (back.trials, back.sources) == (history.trials, history.sources)

    @pytest.mark.parametrize("space", [MIXED, TINY], ids=["mixed", "tiny"])
    def test_a_space_survives(self, space: SearchSpace) -> None:
        """A search space crosses with all its kinds, scales and choices, and stays a key."""
        back = space_from_data(json.loads(json.dumps(space_to_data(space))))
        assert back == space
        assert hash(back) == hash(space)


class TestLightAsks:
    @pytest.mark.parametrize(
        ("optimizer", "source"),
        [("random", Source.RANDOM), ("sobol", Source.SOBOL), ("trieste", Source.INITIAL), ("bo", Source.INITIAL)],
    )
    async def test_need_no_process(self, log: Path, optimizer: str, source: Source) -> None:
        """The first trials of a study start at once, not when TensorFlow is imported."""
        async with Proposer(log, command=("no-such-program",)) as proposer:
            history = make_history(MIXED, observed=2, initial=5)
            proposal = await proposer.suggest("svhn", optimizer, MIXED, 0, history, 2, 2)
            assert proposer.pid is None
        assert proposal.source is source
        assert len(set(proposal.points)) == 2
        assert proposal.note is None
        assert "numpy" in proposal.environment

    async def test_an_exhausted_space_is_said_so(self, log: Path) -> None:
        """The study ends by it; it is no failure of the proposer."""
        async with Proposer(log) as proposer:
            with pytest.raises(SpaceExhaustedError):
                await proposer.suggest("grid", "random", TINY, 0, History.empty(2), 0, 7)


class TestHeavyAsks:
    async def test_are_answered_by_the_process(self, quick: Proposer) -> None:
        """A surrogate in the daemon would stall its event loop."""
        proposal = await ask(quick, count=2)
        assert proposal.source is Source.SURROGATE
        assert proposal.insight == {"pid": quick.pid}
        assert quick.pid != os.getpid()
        assert (proposal.hint, proposal.note) == (b"hint", None)
        assert len(proposal.points) == 2
        assert proposal.environment["threads"] == 1

    async def test_a_long_log_is_cut_when_a_process_starts(self, quick: Proposer, log: Path) -> None:
        """Every process adds its libraries' warnings, for months."""
        await asyncio.to_thread(log.write_text, "an old warning\n" * 200_000)
        await ask(quick)
        lines = printed(log)
        assert len(lines) < 100_000
        assert lines[0] == "an old warning"
        assert "and this" in lines

    async def test_what_libraries_print_goes_to_the_log(self, quick: Proposer, log: Path) -> None:
        """One stray line on the protocol's pipe would make every later answer garbage."""
        await ask(quick)
        assert (await ask(quick)).note is None
        assert {"a library prints this", "and this"} <= set(printed(log))

    async def test_one_at_a_time_in_their_order(self, quick: Proposer) -> None:
        """Two studies share the process, and each gets its own answer."""
        proposals = await asyncio.gather(*(ask(quick, number=number) for number in range(5)))
        for number, proposal in enumerate(proposals):
            expected = SobolOptimizer(MIXED, 0).suggest(make_history(MIXED), number, 1)
            assert set(proposal.points) == rows(expected.points)

    async def test_an_answer_nobody_waits_for_is_not_taken_for_the_next(self, quick: Proposer) -> None:
        """A study may be cancelled in the middle of an ask."""
        await ask(quick)
        lost = asyncio.create_task(ask(quick, number=30))
        await asyncio.sleep(0)  # let it take its turn and send
        await asyncio.sleep(0)
        lost.cancel()
        await asyncio.gather(lost, return_exceptions=True)
        expected = SobolOptimizer(MIXED, 0).suggest(make_history(MIXED), 7, 1)
        assert set((await ask(quick, number=7)).points) == rows(expected.points)

    async def test_an_exhausted_space_is_said_so(self, log: Path) -> None:
        """Through the pipe too: falling back to Sobol would only find the same."""
        async with Proposer(log, command=stand_in(QUICK)) as proposer:
            with pytest.raises(SpaceExhaustedError, match="6"):
                await proposer.suggest("grid", "trieste", TINY, 0, make_history(TINY, observed=3), 3, 7)
            assert proposer.pid is not None


FAILURES = {
    "hangs": ("registry.create_optimizer = lambda *a: time.sleep(3600)", "deadline of 2 s"),
    "dies": ("registry.create_optimizer = lambda *a: os.abort()", "SIGABRT"),
    "exits": ("registry.create_optimizer = lambda *a: os._exit(3)", "exit status 3"),
    "raises": ("registry.create_optimizer = lambda *a: 1 / 0", "ZeroDivisionError"),
    "babbles": ("proposer_process.answer = lambda r: ['nonsense']", "nonsense"),
    "forgets": ("proposer_process.answer = lambda r: dict(id=r['id'])", "nonsense"),
}


class TestFallback:
    @pytest.mark.parametrize("failure", FAILURES)
    async def test_a_sobol_point_is_proposed_and_says_why(self, log: Path, failure: str) -> None:
        """The device trains something whatever becomes of the surrogate."""
        body, reason = FAILURES[failure]
        command = stand_in("from cnnbo.scheduler.optimizers import registry\n" + body)
        history = make_history(MIXED, hint=b"earlier")
        async with Proposer(log, Limits(deadline_s=2.0 if failure == "hangs" else 60.0), command) as proposer:
            proposal = await ask(proposer, history)
            assert proposer.pid is None
        assert proposal.source is Source.SOBOL
        assert set(proposal.points) == rows(SobolOptimizer(MIXED, 0).suggest(history, 6, 1).points)
        assert proposal.note is not None
        assert reason in proposal.note
        assert proposal.hint == b"earlier"

    def test_an_answer_that_is_not_what_was_asked_for_is_none(self, tmp_path: Path) -> None:
        """What the study refuses would leave its ask open, and devices idle, for ever; what it can't read, worse."""
        history, canned = make_history(MIXED), tmp_path / "answer"
        [point] = SobolOptimizer(MIXED, 0).suggest(history, 6, 1).points.tolist()
        good: dict[str, object] = {
            "points": [point],
            "source": "surrogate",
            "insight": {"best_mean": 0.5},
            "hint": None,
            "rss_mib": 1.0,
        }
        good |= {"id": 1, "environment": {"threads": "1"}}

        async def answered(line: bytes) -> Proposal:
            canned.write_bytes(line + b"\n")
            command = ("sh", "-c", 'read line; cat "$0"; exec cat > /dev/null', str(canned))
            async with Proposer(tmp_path / "log", Limits(deadline_s=20.0), command) as proposer:
                return await ask(proposer, history)

        @example(line=DEEP)  # RecursionError, which paused the study
        @example(line=json.dumps(good | {"points": [point, point]}).encode())  # left the study waiting for ever
        @example(line=json.dumps(good | {"points": []}).encode())
        @example(line=json.dumps(good | {"points": [history.observed[0].tolist()]}).encode())
        @example(line=json.dumps(good | {"points": [[float("nan")] * MIXED.dimension]}).encode())
        @example(line=json.dumps(good | {"points": [[10**400] * MIXED.dimension]}).encode())
        @example(line=json.dumps(good | {"insight": []}).encode())  # ended the daemon
        @example(line=json.dumps({"id": 1, "error": "failed"}).encode())
        @settings(max_examples=settings().max_examples // 3)
        @given(line=mutated(good).map(json.dumps).map(str.encode) | torn(json.dumps(good).encode()))
        def survive(line: bytes) -> None:
            if re.search(rb'"id": *(-|0|false)', line):
                return  # the answer to an earlier ask, after which none comes
            proposal = asyncio.run(answered(line))
            taken = {tuple(row) for row in history.taken.tolist()}
            assert len(proposal.points) == 1 and not taken.intersection(proposal.points)
            assert MIXED.canonical(proposal.points[0]) == proposal.points[0]
            assert isinstance(proposal.insight, dict) and (proposal.note is None) == (proposal.source != Source.SOBOL)

        survive()

    async def test_a_program_that_is_not_there(self, log: Path) -> None:
        """The interpreter may have been upgraded away under a running daemon."""
        async with Proposer(log, command=("/no/such/program",)) as proposer:
            proposal = await ask(proposer)
        assert proposal.note is not None
        assert "could not be started" in proposal.note

    async def test_a_surrogate_that_fits_nothing_costs_no_process(self, log: Path) -> None:
        """The next ask has more data and may fit; the imports needn't be paid again."""
        failing = "def fail(*a): raise SurrogateFitError('singular')\nQuick.suggest = fail\n"
        body = QUICK + "from cnnbo.scheduler.errors import SurrogateFitError\n" + failing
        async with Proposer(log, command=stand_in(body)) as proposer:
            first, second = await ask(proposer), await ask(proposer)
            assert proposer.pid is not None
        assert (first.source, first.note, second.note) == (Source.SOBOL, "singular", "singular")

    async def test_restarts_back_off(self, log: Path) -> None:
        """A broken installation must not be started in a loop."""
        now = 0.0
        async with Proposer(log, command=("/no/such/program",), clock=lambda: now) as proposer:
            notes = [(await ask(proposer)).note or ""]
            now = 0.5
            notes.append((await ask(proposer)).note or "")
            now = 1.5
            notes.append((await ask(proposer)).note or "")
            now = 3.0
            notes.append((await ask(proposer)).note or "")
        started = ["could not be started" in note for note in notes]
        assert started == [True, False, True, False]
        assert "failed 2 times in a row" in notes[3]

    async def test_recovers_by_itself(self, log: Path, tmp_path: Path) -> None:
        """The kernel may kill it for memory once; the study goes on with the surrogate after that."""
        marker = tmp_path / "died"
        body = QUICK + f"\nif not os.path.exists({str(marker)!r}): open({str(marker)!r}, 'w').close(); os._exit(1)\n"
        now = 0.0
        async with Proposer(log, command=stand_in(body), clock=lambda: now) as proposer:
            assert (await ask(proposer)).source is Source.SOBOL
            now = 10.0
            assert (await ask(proposer)).source is Source.SURROGATE


class TestProcess:
    async def test_a_successor_takes_over_while_asks_go_on(self, log: Path) -> None:
        """Memory that libraries leak goes with the old process, and no ask waits for the new one's imports."""
        async with Proposer(log, Limits(asks=2), stand_in(QUICK)) as proposer:
            first = (await ask(proposer)).insight["pid"]
            assert isinstance(first, int)
            assert (await ask(proposer)).insight["pid"] == first
            await gone(first)  # the old one is retired when the new one is warm
            assert (await ask(proposer)).insight["pid"] == proposer.pid != first

    async def test_is_replaced_when_it_has_grown_too_large(self, log: Path) -> None:
        """The number of asks says little about memory."""
        async with Proposer(log, Limits(memory_mib=1.0), stand_in(QUICK)) as proposer:
            first = (await ask(proposer)).insight["pid"]
            assert isinstance(first, int)
            await gone(first)

    async def test_a_warm_up_that_hangs_delays_no_ask_beyond_its_deadline(self, log: Path) -> None:
        """A device that waits costs more than a proposal that was not the best."""
        body = QUICK + "proposer_process._warm = lambda request: time.sleep(3600)"
        async with Proposer(log, Limits(deadline_s=1.0), stand_in(body)) as proposer:
            proposer.warm("trieste", MIXED, 0)
            proposal = await ask(proposer)
        assert proposal.source is Source.SOBOL

    async def test_what_is_warmed_up_answers_the_first_ask(self, log: Path) -> None:
        """Else the warm-up would be for nothing, and leave a process behind."""
        body = QUICK + "proposer_process._warm = lambda request: os.write(2, f'warm {os.getpid()}'.encode()) and {}"
        async with Proposer(log, command=stand_in(body)) as proposer:
            proposer.warm("trieste", MIXED, 0)
            proposal = await ask(proposer)
        assert f"warm {proposal.insight['pid']}" in "".join(printed(log))

    async def test_an_error_of_its_owner_passes_as_it_is(self, log: Path) -> None:
        """The daemon tells people what went wrong by the class of the error."""
        with pytest.raises(KeyError):
            async with Proposer(log, command=stand_in(QUICK)) as proposer:
                proposer.warm("trieste", MIXED, 0)
                raise KeyError("owner")

    async def test_ends_with_its_owner(self, log: Path) -> None:
        """Nothing is left behind by an orderly stop."""
        async with Proposer(log, command=stand_in(QUICK)) as proposer:
            await ask(proposer)
            pid = proposer.pid
        assert pid is not None
        assert not is_alive(pid)

    @pytest.mark.parametrize("is_busy", [False, True], ids=["idle", "busy"])
    async def test_dies_with_a_killed_daemon(self, log: Path, is_busy: bool) -> None:
        """After kill -9 of the daemon nobody else would end it."""
        body = QUICK + ("\nQuick.suggest = lambda *a: (os.write(2, b'busy'), time.sleep(3600))" if is_busy else "")
        daemon = f"""
import asyncio
from pathlib import Path
from cnnbo.daemon.proposer import Proposer
from tests.contracts.optimizer import MIXED, make_history
async def main():
    async with Proposer(Path({str(log)!r}), command={stand_in(body)!r}) as proposer:
        asking = asyncio.create_task(proposer.suggest("svhn", "trieste", MIXED, 0, make_history(MIXED), 6, 1))
        while {is_busy} and not (Path({str(log)!r}).exists() and "busy" in Path({str(log)!r}).read_text()):
            await asyncio.sleep(0.01)
        if not {is_busy}:
            await asking
        print(proposer.pid, flush=True)
        await asyncio.sleep(3600)
asyncio.run(main())
"""
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", daemon, stdout=asyncio.subprocess.PIPE, cwd=Path(__file__).parents[3]
        )
        assert process.stdout is not None
        async with asyncio.timeout(30):
            pid = int(await process.stdout.readline())
        process.send_signal(signal.SIGKILL)
        await gone(pid)
        await process.wait()

    async def test_sees_no_device_and_uses_one_thread(self, log: Path) -> None:
        """TensorFlow takes all memory of every GPU it sees, and threads change the last bits of sums."""
        body = QUICK + (
            "Quick.suggest = lambda self, h, ask, count: Suggestion(self.sobol.suggest(h, ask, count).points,"
            " Source.SURROGATE, dict(os.environ))"
        )
        async with Proposer(log, command=stand_in(body)) as proposer:
            environment = (await ask(proposer)).insight
        assert environment["CUDA_VISIBLE_DEVICES"] == ""
        assert environment["OMP_NUM_THREADS"] == "1"
