"""What `cnnbo compare` prints: the plan, a line per trial that ended, and how the comparison ended."""

import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from cnnbo import __version__
from cnnbo.cli import output
from cnnbo.cli.foreground import Show
from cnnbo.cli.report import worth
from cnnbo.scheduler.comparison import FIGURE2, FINALISTS, lines, run_evaluations
from cnnbo.scheduler.spec import Plan, Stage, StudySpec
from cnnbo.scheduler.study import Study

QUIET_S: Final = 300.0
"""After so many seconds without a line there is a heartbeat."""


class Course:
    """Tells the course of one comparison, line by line.

    Args:
        shown: its `show` object at the beginning.
        devices: the daemon's devices.
        say: takes one line.
        clock: seconds, monotonic.
        flag: ` --state DIR` where the commands it prints need it.
    """

    def __init__(
        self,
        shown: Mapping[str, Any],
        devices: list[dict[str, Any]],
        say: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
        flag: str = "",
    ) -> None:
        self._name = str(shown["comparison"])
        self._shown = shown
        self._studies = {str(study["name"]): study for study in shown["studies"]}
        self._labels = {str(device["uuid"]): output.device_label(device) for device in devices}
        self._say = say
        self._clock = clock
        self._flag = flag
        self._begun = self._last_line = clock()
        self._finished_before = self._finished

    @property
    def _finished(self) -> int:
        return sum(study["finished"] for study in self._studies.values())

    def hello(self, submitted: Mapping[str, Any]) -> None:
        """See `Narrator.hello`."""
        shown = self._shown
        methods = ", ".join(shown["methods"])
        self._line(
            f"cnnbo {__version__}  comparison {self._name}: {shown['runs']} runs of {methods}; "
            f"{len(self._studies)} studies, {shown['evaluations']} trials, {' '.join(self._labels.values())}"
        )
        if submitted["outcome"] != "created":
            self._line(f"{shown['finished']} of {shown['evaluations']} finished, {submitted['outcome']}")
        for name, trials in (submitted.get("retried") or {}).items():
            self._line(f"{self._part(name)}: {output.run_again(trials)}")

    def take(self, topic: str, body: Mapping[str, Any] | None) -> None:
        """Take a piece of news."""
        if body is None:
            return
        if topic == "event" and str(body["event"]).startswith("trial_"):
            self._trial(body)
        elif topic.count("/") == 1 and body.get("comparison") == self._name:
            self._study(body)

    def _study(self, study: Mapping[str, Any]) -> None:
        if study["name"] not in self._studies:
            self._timed(f"{self._part(study['name'])} begins: {study['evaluations']} trials")
        self._studies[str(study["name"])] = study

    def _trial(self, news: Mapping[str, Any]) -> None:
        study = self._studies.get(str(news["study"]))
        kind = str(news["event"]).removeprefix("trial_")
        if study is None or kind == "started":
            return
        device = self._labels.get(str(news["device"]), str(news["device"]))
        head = (
            f"{self._part(news['study']):<14} #{news['trial']:<3} {device:<6}{output.duration(news['duration_s']):>7}"
        )
        self._timed(f"{head}  {_outcome(kind, news, study['metric'])}")

    def _part(self, study: str) -> str:
        return study.removeprefix(f"{self._name}-")

    def beat(self) -> None:
        """Say where things stand if nothing was said for long."""
        if self._clock() - self._last_line >= QUIET_S:
            self._timed(self._standing())

    def _standing(self) -> str:
        total = sum(study["evaluations"] for study in self._studies.values())
        running = sum(study["running"] for study in self._studies.values())
        done = self._finished - self._finished_before
        pace_s = (self._clock() - self._begun) / done if done else None
        left = "" if pace_s is None else f", about {output.duration(pace_s * (total - self._finished))} left"
        return f"{self._finished} of {total} finished, {running} running{left}"

    async def is_over(self, show: Show) -> bool:
        """Whether all of it has ended; or was paused by crashes, with nothing left running."""
        if not all(_is_at_rest(study) for study in self._studies.values()):
            return False
        # What comes next is created after the end of what was before; the daemon knows whether anything does.
        shown = await show()
        return shown["state"] != "running" and not any(study["running"] for study in shown["studies"])

    def goodbye(self, shown: Mapping[str, Any]) -> int:
        """Say how the comparison ended and what to do next; returns the exit code."""
        paused = [str(study["name"]) for study in shown["studies"] if study["state"] == "paused"]
        self._timed(f"{shown['state']}: {', '.join([output.tally(shown), *_spent(shown)])}")
        for study in shown["studies"]:
            if study["state"] == "failed":
                name = study["name"]
                self._line(f"         {name}: no trial gave a value (cnnbo trials {name} --failed{self._flag})")
            if output.is_only_chance(study) and study.get("advice"):
                self._line(f"         {study['name']}: {study['advice']}")
        if paused:
            for name in paused:
                self._line(f"         {name} was paused by equal crashes (cnnbo trials {name} --failed{self._flag})")
            self._line("         Mend the cause, then give the same command: what crashed so runs again, and is held")
            self._line("         against no configuration.")
            return 1
        for line in method_lines(shown):
            self._line(f"         {line}")
        self._line(f"         next: cnnbo report {self._name} -o DIR{self._flag}")
        return 0 if shown["state"] == "finished" else 1

    def _timed(self, text: str) -> None:
        self._line(f"{time.strftime('%H:%M:%S')} {text}")

    def _line(self, text: str) -> None:
        self._last_line = self._clock()
        self._say(text)


def _is_at_rest(study: Mapping[str, Any]) -> bool:
    is_waiting = study["state"] == "running" or (study["state"] == "paused" and study["reason"] != "crashes")
    return not is_waiting and not study["running"]


def _outcome(kind: str, news: Mapping[str, Any], metric: str) -> str:
    why = f": {news['message']}" if news["message"] else ""
    if kind == "complete":
        remark = worth(news, "BEST of the run")
        is_told = news["source"] != "start" or news.get("at_chance")
        return f"{metric} {output.value(news['value'])}{remark if is_told else ''}"
    if kind == "retried":
        return "runs again: what it came to was withdrawn"
    again = " (runs again)" if kind in ("interrupted", "device_lost") else ""
    return f"{news['failure'] or kind}{why}{again}"


def show_lines(shown: Mapping[str, Any]) -> list[str]:
    """A comparison as `cnnbo show` tells it: how it stands, its parts, what its methods have found."""
    name = str(shown["comparison"])
    head = (
        f"{name}   {shown['state']}   {shown['runs']} runs of {', '.join(shown['methods'])}   "
        f"{shown['finished']} of {shown['evaluations']} finished, {shown['running']} running"
        f"{output.without_value(shown)}"
    )
    spent = ", ".join(_spent(shown))
    return [
        head,
        *([f"spent  {spent}"] if spent else []),
        *(_part_line(name, study) for study in shown["studies"]),
        *method_lines(shown),
        *_openings_line(shown),
        f"next   cnnbo report {name} -o DIR",
    ]


def _spent(shown: Mapping[str, Any]) -> list[str]:
    """Energy and money, as far as they are known."""
    energy = [] if shown["energy_kwh"] is None else [f"{shown['energy_kwh']:.3g} kWh"]
    return energy if shown["cost"] is None else [*energy, f"cost {shown['cost']:.2f}"]


def _part_line(name: str, study: Mapping[str, Any]) -> str:
    best = "" if study["best_value"] is None else f"   {study['metric']} {output.value(study['best_value'])}"
    part = str(study["name"]).removeprefix(f"{name}-")
    counts = output.ends(study)
    told = "".join(f", {counts[kind]} {kind}" for kind in ("at chance", "failed", "undecided") if counts[kind])
    ended = f"{study['finished']:>4} of {study['evaluations']}{told}"
    return f"  {part:<16} {study['state']:<9} {ended}{best}"


def _openings_line(shown: Mapping[str, Any]) -> list[str]:
    if shown["studies"][0]["model"] is None:
        return []  # what a command opens, nobody knows
    return [f"test set opened {output.times(shown['test_set_openings'])}"]


def method_lines(shown: Mapping[str, Any]) -> list[str]:
    """A line per method: the best value of its runs, as far as they have one."""
    told = []
    for method in shown["methods"]:
        prefix = f"{shown['comparison']}-{method}-"
        runs = [study for study in shown["studies"] if study["name"].startswith(prefix)]
        best = [study["best_value"] for study in runs if study["best_value"] is not None]
        if best:
            values = " ".join(output.value(value) for value in best)
            of = f"best of {runs[0]['evaluations']} in each run"
            told.append(f"{method:<8} {of}: {values}   median {output.value(statistics.median(best))}")
    return told


# -- before it begins --------------------------------------------------------------------------------------------------


def plan_rows(plan: Plan, specs: Sequence[StudySpec]) -> list[tuple[str, str, int]]:
    """What a comparison trains, stage by stage: what it is, how the number comes about, and how many trials at most.

    How many configurations are trained again depends on how many of them the runs have in common.

    Args:
        plan: of the comparison.
        specs: the studies it begins with.
    """
    rows = []
    for method in plan.methods:
        evaluations = run_evaluations(plan, method)
        rows.append((f"search: {method}", f"{plan.runs} runs of {evaluations}", plan.runs * evaluations))
    baselines = [spec.part.stage for spec in specs if spec.part is not None and spec.part.stage is not Stage.SEARCH]
    rows += [(f"baseline: {stage}", f"{plan.runs} seeds", plan.runs) for stage in baselines]
    chosen = len(lines(plan)) * plan.runs
    if plan.confirm:
        how = f"at most {FINALISTS} finalists of each of {chosen}, {plan.confirm} fresh seeds each"
        rows.append(("confirmation", how, FINALISTS * chosen * plan.confirm))
    if plan.figure2:
        curves = sum(map(len, FIGURE2.values()))
        rows.append(("figure 2", f"{curves} progressions", curves))
    if specs[0].model is not None:
        each = 2 if plan.confirm else 1
        how = (
            "all tuning data; best found and confirmed of each run"
            if plan.confirm
            else "all tuning data; each run's best"
        )
        rows.append(("held out", f"{how}, at most", each * chosen))
        rows += [(f"held out: {stage}", f"{plan.runs} seeds", plan.runs) for stage in baselines]
    return rows


def plan_lines(plan: Plan, specs: Sequence[StudySpec], devices: int, median_s: float | None) -> list[str]:
    """The plan of a comparison, for `--dry-run`.

    Args:
        plan: of the comparison.
        specs: the studies it begins with.
        devices: how many would work on it, >= 1.
        median_s: seconds of a trial like these, from earlier studies; None where there were none.
    """
    rows = plan_rows(plan, specs)
    total = sum(count for _, _, count in rows)
    first = specs[0]
    what = f"model {first.model}" if first.model else f"command {' '.join(first.command)} ({first.origin.python})"
    told = [
        f"comparison {plan.name}: {', '.join(plan.methods)}; {plan.runs} runs of {plan.evaluations} evaluations, "
        f"{what}, seed {plan.seed}",
        *(f"  {name:<24} {count:>5}  {how}" for name, how, count in rows),
        f"  {'in all, at most':<24} {total:>5}  trials",
        "  paired: trial n of run k is trained with the same seed, whatever the method",
    ]
    if first.model is not None:
        told.append("  every trial sees the same fold of the data; the test set is opened once for each trial held out")
    return [*told, *_cost_lines(total, devices, median_s, first.budget.price_per_device_hour)]


def _cost_lines(total: int, devices: int, median_s: float | None, price: float) -> Iterable[str]:
    on = f"on {devices} {'device' if devices == 1 else 'devices'}"
    if median_s is None:
        each_s = total / devices
        yield f"time: no trial like these is in the journal yet; each second of a trial makes {each_s:.0f} s {on}."
        yield "      `cnnbo run` the file under another name with a few evaluations first, and this tells the hours."
        return
    hours = total * median_s / 3600
    yield f"time: about {output.duration(total * median_s / devices)} {on}, at {median_s:.1f} s a trial (median so far)"
    if price > 0:
        yield f"price: about {hours * price:.2f} ({hours:.2f} device-hours at {price:g})"
    else:
        yield f"price: {hours:.2f} device-hours; set budget.price_per_device_hour to see them in money"


def median_duration_s(studies: Iterable[Study], like: StudySpec) -> float | None:
    """Median seconds of trials that trained the same way on the same data; None where there were none."""
    durations = [
        trial.duration_s
        for study in studies
        if (study.spec.model, study.spec.command, study.spec.data_dir) == (like.model, like.command, like.data_dir)
        and study.spec.trial == like.trial
        for trial in study.trials
        if trial.state.is_ended and trial.duration_s is not None
    ]
    return statistics.median(durations) if durations else None
