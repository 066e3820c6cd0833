"""Every proposal of a real study can be repeated from its journal."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from tests.integration.conftest import Box

from cnnbo.daemon.journal import read_journal
from cnnbo.daemon.proposer import Limits, Proposer
from cnnbo.scheduler.codec import decode_event
from cnnbo.scheduler.events import PointsSuggested
from cnnbo.scheduler.optimizers.base import Source
from cnnbo.scheduler.study import Basis

# Fails beyond an edge, so that the surrogate of failures takes part.
SCRIPT = """\
import argparse, sys
parser = argparse.ArgumentParser()
parser.add_argument("--x", type=float)
parser.add_argument("--n", type=int)
values = parser.parse_args()
if values.x > 0.5:
    sys.exit(f"{values.x} is too far")
print(f"val_acc: {1 - (values.x - 0.45) ** 2 - (values.n - 4) ** 2 / 100:.6f}", flush=True)
"""


def with_two_parameters(text: str) -> str:
    text = text.replace('"sobol"', '"trieste"').replace("evaluations = 4", "evaluations = 12\ninitial = 5")
    return text.replace("[trial]", 'n = { type = "int", low = 1, high = 9 }\n[trial]')


def answers_of_the_surrogate(state: Path) -> list[PointsSuggested]:
    with closing(sqlite3.connect(state / "journal.sqlite")) as connection:
        bodies = [body for (body,) in connection.execute("SELECT body FROM event ORDER BY seq")]
    events = [decode_event(json.loads(body)) for body in bodies]
    return [event for event in events if isinstance(event, PointsSuggested) and event.source is Source.SURROGATE]


@pytest.mark.tensorflow
async def test_every_ask_of_a_journal_gives_its_points_again_bit_for_bit(box: Box, tmp_path: Path) -> None:
    """What decided a result of last month can be looked at again: same inputs, new process, same doubles."""
    box.run("run", box.write_study(with_two_parameters, SCRIPT), "--devices", "cpu:2", "--no-mqtt")
    answered = answers_of_the_surrogate(box.state)
    assert len(answered) >= 3
    assert answered[0].failed, "nothing failed: the surrogate of failures was not tried"
    [stored], _ = read_journal(box.state)
    spec = stored.study.spec
    async with Proposer(tmp_path / "log", Limits(deadline_s=100.0)) as proposer:
        proposer.warm(spec.optimizer, spec.space, spec.seed)
        for event in answered:
            basis = Basis(event.observed, event.failed, event.pending, event.excluded, event.censored)
            again = await proposer.suggest(
                spec.name,
                spec.optimizer,
                spec.space,
                spec.seed,
                stored.study.history(basis, event.hint_in),
                event.ask,
                len(event.points),
            )
            assert (again.note, again.points, again.hint) == (None, event.points, event.hint)
            assert again.environment == event.environment
