"""`python -m tests.nemesis.run`: rounds one after another, for `make nemesis`; see docs/nemesis.md.

A line per finished round goes to `nemesis/rounds.jsonl`, so a call that was cut short goes on where it ended.
"""

import argparse
import asyncio
import json
import shutil
import signal
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from pprint import pformat

from tests.nemesis.checks import violations_of
from tests.nemesis.plan import draw_plan
from tests.nemesis.play import play
from tests.nvml.driver import build_library

RESULTS = Path("nemesis/rounds.jsonl")
FOLDERS = Path("nemesis/rounds")


@dataclass(frozen=True, slots=True)
class Result:
    """What is kept of a round.

    Attributes:
        faults: strikes that were carried out, by name.
        skipped: strikes this machine can't carry out, with the reason.
        violations: sentences; none is what is wanted.
        trials: attempts that were started.
    """

    seed: int
    faults: Sequence[str]
    skipped: Mapping[str, str]
    violations: Sequence[str]
    trials: int
    seconds: float


def read_results(path: Path) -> dict[int, Result]:
    """The newest result of each seed."""
    lines = path.read_text().splitlines() if path.exists() else []
    results = [Result(**json.loads(line)) for line in lines]
    return {result.seed: result for result in results}


def seeds_to_play(first: int, rounds: int, results: Mapping[int, Result]) -> list[int]:
    """The seeds without a result; a single one is always played, for whoever asks for one wants to see it."""
    seeds = range(first, first + rounds)
    return list(seeds) if rounds == 1 else [seed for seed in seeds if seed not in results]


def play_seed(seed: int, folder: Path, nvml_library: Path) -> Result:
    """Play one round; its folder is kept if there is a violation."""
    shutil.rmtree(folder, ignore_errors=True)
    try:
        played = asyncio.run(play(draw_plan(seed), folder, nvml_library))
    except Exception:
        return Result(seed, (), {}, [f"the round could not be played:\n{traceback.format_exc()}"], 0, 0.0)
    violations = violations_of(played.evidence)
    if not violations:
        shutil.rmtree(folder)
    return Result(seed, played.used, played.skipped, violations, played.trials, round(played.seconds, 1))


def summary(results: Iterable[Result]) -> str:
    """What all rounds came to, for people."""
    results = list(results)
    faults = Counter(fault for result in results for fault in result.faults)
    skipped = {fault: reason for result in results for fault, reason in result.skipped.items()}
    longest = max(results, key=lambda result: result.seconds)
    return "\n".join(
        [
            f"rounds: {len(results)}, with violations: {sum(bool(result.violations) for result in results)}",
            f"violations: {sum(len(result.violations) for result in results)}",
            f"trials started: {sum(result.trials for result in results)}",
            f"longest round: {longest.seconds:.1f} s (seed {longest.seed})",
            f"faults: {', '.join(f'{name} {count}' for name, count in faults.most_common())}",
            *(f"not on this machine: {fault} ({reason})" for fault, reason in sorted(skipped.items())),
        ]
    )


def failure_text(result: Result, folder: Path) -> str:
    """All that is needed to understand a violation, and to see it again."""
    return "\n".join(
        [
            *(f"  VIOLATION {violation}" for violation in result.violations),
            f"  again: make nemesis SEED={result.seed} ROUNDS=1",
            f"  kept: {folder} (begin with outputs/story)",
            f"  plan: {pformat(draw_plan(result.seed), width=120)}",
        ]
    )


def main() -> int:
    """Play the rounds asked for; the exit status is 1 if any of them, now or before, has a violation."""
    parser = argparse.ArgumentParser(description="Play rounds of the nemesis.")
    parser.add_argument("--rounds", type=int, required=True)
    parser.add_argument("--seed", type=int, required=True, help="of the first round")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # whoever ends us, no daemon of ours is left behind
    FOLDERS.mkdir(parents=True, exist_ok=True)
    results = read_results(RESULTS)
    with tempfile.TemporaryDirectory() as scratch:
        library = build_library(Path(scratch)).parent
        for seed in seeds_to_play(arguments.seed, arguments.rounds, results):
            folder = FOLDERS.absolute() / str(seed)
            result = results[seed] = play_seed(seed, folder, library)
            with RESULTS.open("a") as file:
                file.write(json.dumps(asdict(result)) + "\n")
            print(
                f"seed {seed}: {result.seconds:.1f} s, {result.trials} trials, {', '.join(result.faults)}", flush=True
            )
            if result.violations:
                print(failure_text(result, folder), flush=True)
    asked = [results[seed] for seed in range(arguments.seed, arguments.seed + arguments.rounds)]
    print(summary(asked))
    return int(any(result.violations for result in asked))


if __name__ == "__main__":
    sys.exit(main())
