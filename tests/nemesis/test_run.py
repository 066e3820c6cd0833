from pathlib import Path

from tests.nemesis.run import Result, failure_text, read_results, seeds_to_play, summary

_WELL = Result(1, ("kill_daemon", "retry"), {}, (), 10, 4.0)
_BAD = Result(2, ("kill_daemon",), {"fill_disk": "no root"}, ("a: b",), 12, 9.5)


def test_a_call_goes_on_where_the_last_one_ended(tmp_path: Path) -> None:
    """Two hundred rounds take an hour; a reboot must not cost it. The newest line of a seed is what counts."""
    path = tmp_path / "rounds.jsonl"
    assert read_results(path) == {}
    line = '{"seed": 1, "faults": [], "skipped": {}, "violations": [], "trials": %d, "seconds": 1.0}\n'
    path.write_text(line % 3 + line % 4)
    results = read_results(path)
    assert results[1].trials == 4
    assert seeds_to_play(1, 3, results) == [2, 3]


def test_a_single_round_is_played_again() -> None:
    """Whoever asks for one seed wants to see it."""
    assert seeds_to_play(1, 1, {1: _WELL}) == [1]


def test_the_summary_tells_what_was_done_and_what_was_not() -> None:
    """Rounds that could not do a fault must not pass for rounds that survived it."""
    assert summary([_WELL, _BAD]).splitlines() == [
        "rounds: 2, with violations: 1",
        "violations: 1",
        "trials started: 22",
        "longest round: 9.5 s (seed 2)",
        "faults: kill_daemon 2, retry 1",
        "not on this machine: fill_disk (no root)",
    ]


def test_a_failure_tells_how_to_see_it_again() -> None:
    """Seed, plan, folder and the command that repeats it."""
    text = failure_text(_BAD, Path("/somewhere/2"))
    assert all(part in text for part in ("VIOLATION a: b", "make nemesis SEED=2 ROUNDS=1", "/somewhere/2", "seed=2"))
