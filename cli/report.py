"""What `cnnbo run` prints: a line per trial that ended, a heartbeat when nothing does, and a farewell."""

import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from cnnbo import __version__
from cnnbo.cli import output
from cnnbo.cli.foreground import Show
from cnnbo.cli.insight import stop_hint
from cnnbo.scheduler.insight import StudyInsight

QUIET_S = 300.0
"""After so many seconds without a line there is a heartbeat."""

LOG_LINES_SHOWN = 5

_UNTIL = {
    "foreign": " (used again when that process ends)",
    "drained": " (used again after: cnnbo return {})",
    "quarantined": " (see cnnbo devices; once it is well: cnnbo return {})",
}
"""When a device that is left alone is used again, by its state."""


class Report:
    """Tells the course of one study, line by line.

    Args:
        shown: the `show` object at the beginning.
        devices: the daemon's devices.
        say: takes one line.
        data_dir: folder of the study's data; None where it has none.
        state: state folder of the daemon.
        clock: seconds, monotonic.
        flag: ` --state DIR` where the commands it prints need it.
    """

    def __init__(
        self,
        shown: Mapping[str, Any],
        devices: list[dict[str, Any]],
        say: Callable[[str], None],
        data_dir: str | None,
        state: Path,
        clock: Callable[[], float] = time.monotonic,
        flag: str = "",
    ) -> None:
        self._study = dict(shown)
        self._labels = {str(device["uuid"]): output.device_label(device) for device in devices}
        self._devices = devices
        self._unused: dict[str, str] = {}  # state of each device that gets no trial, by UUID
        self._say = say
        self._data_dir = data_dir
        self._state = state
        self._clock = clock
        self._flag = flag
        self._last_line = clock()
        self._best = shown["best_trial"]
        self._is_hinted = False

    async def is_over(self, show: Show) -> bool:
        """Whether the study has ended, or was paused by crashes, with nothing left running."""
        study = self._study
        is_at_rest = study["state"] != "running" and study["running"] == 0
        return bool(is_at_rest and (study["state"] != "paused" or study["reason"] == "crashes"))

    def hello(self, submitted: Mapping[str, Any]) -> None:
        """See `Narrator.hello`."""
        study = self._study
        kind = {"trieste": "bo (trieste)"}.get(study["optimizer"], study["optimizer"])
        data = [] if self._data_dir is None else [Path(self._data_dir).name]
        parts = [
            f"{study['evaluations']} trials",
            kind,
            *data,
            f"seed {study['seed']}",
            " ".join(self._labels.values()),
        ]
        self._line(f"cnnbo {__version__}  study {study['name']}: {', '.join(parts)}")
        if submitted["outcome"] != "created":
            best = (
                "" if study["best"] is None else f", best {output.value(study['best_value'])} (#{study['best_trial']})"
            )
            self._line(f"{study['finished']} of {study['evaluations']} finished{best}, {submitted['outcome']}")
        if submitted.get("retried"):
            self._line(output.run_again(submitted["retried"]))
        for device in self._devices:
            self._device(device)

    def take(self, topic: str, body: Mapping[str, Any] | None) -> None:
        """Take a piece of news."""
        if topic == f"study/{self._study['name']}" and body is not None:
            self._study = dict(body)
            self._hint()
        elif topic.startswith("device/") and body is not None:
            self._device(body)
        elif topic == "event" and body is not None and "trial" in body:
            self._trial(body)

    def beat(self) -> None:
        """Say where things stand if nothing was said for long."""
        if self._clock() - self._last_line < QUIET_S:
            return
        study = self._study
        eta = "" if study["eta_s"] is None else f", about {output.duration(study['eta_s'])} left"
        self._timed(f"{study['finished']} of {study['evaluations']} finished, {study['running']} running{eta}")

    def _trial(self, news: Mapping[str, Any]) -> None:
        kind = str(news["event"]).removeprefix("trial_")
        if kind == "retried":
            self._timed(f"#{news['trial']:<3} runs again: what it came to was withdrawn")
            return
        if kind == "started":
            if news["note"] and news["attempt"] == 1:
                self._timed(f"#{news['trial']:<3} takes a Sobol point in place of a proposal: {news['note']}")
            return
        device = self._labels.get(str(news["device"]), str(news["device"]))
        head = f"#{news['trial']:<3} {device:<6}{output.duration(news['duration_s']):>7}"
        self._timed(f"{head}  {self._outcome(kind, news)}")
        if kind == "complete" and _is_best(news):
            self._line(f"         {output.configuration(news['configuration'])}")

    def _device(self, device: Mapping[str, Any]) -> None:
        """Say when a device is left alone, and when it is used again."""
        uuid, state = str(device["uuid"]), str(device["state"])
        label = self._labels.get(uuid, uuid)
        if state == "busy" or (state == "idle" and device["reason"] is None):
            if self._unused.pop(uuid, None):
                self._timed(f"{label} is used again")
        elif self._unused.get(uuid) != state:
            self._unused[uuid] = state
            self._timed(f"{label} not used: {device['reason'] or state}{_UNTIL.get(state, '').format(label)}")

    def _hint(self) -> None:
        """Say once that stopping is reasonable: a log is read from top to bottom, not looked at."""
        told = self._study.get("insight") or {}
        if self._is_hinted or not told.get("stop_advised"):
            return
        insight = StudyInsight.read(told)
        if insight is not None:
            self._is_hinted = True
            self._timed(f"hint: {stop_hint(insight, self._study['name'])}")

    def _outcome(self, kind: str, news: Mapping[str, Any]) -> str:
        if kind == "complete":
            default = "  your defaults" if news["source"] == "start" else ""
            return f"{self._study['metric']} {output.value(news['value'])}{worth(news)}{default}"
        best = "" if news["best_value"] is None else f"   best {output.value(news['best_value'])} #{news['best_trial']}"
        why = f": {news['message']}" if news["message"] else ""
        if kind == "failed":
            return f"{news['failure']}{why}{best}"
        again = " (runs again)" if kind in ("interrupted", "device_lost") else ""
        return f"{kind}{why}{again}"

    def goodbye(self, shown: Mapping[str, Any]) -> int:
        """Say how the study ended and what to do next; returns the exit code.

        Args:
            shown: its `show` object.
        """
        if shown["state"] == "paused":
            for line in crash_report(shown, self._state, self._flag):
                print(line, file=sys.stderr)
        else:
            self._say_result()
        return 0 if shown["state"] == "finished" else 1

    def _say_result(self) -> None:
        study = self._study
        name = study["name"]
        tally = f"{output.tally(study)}, {output.spent(study)}"
        if study["best"] is None:
            self._timed(f"{study['state']}: no trial gave a value; {tally}")
            self._line(f"         next: cnnbo trials {name} --failed{self._flag}")
            return
        best = f"best {output.value(study['best_value'])} (#{study['best_trial']})"
        why = {"budget": ", budget reached", "space_exhausted": ", every configuration tried"}.get(study["reason"], "")
        luck = ", no better than chance" if output.is_only_chance(study) else ""
        self._timed(f"{study['state']}: {best}{luck}, {tally}{why}")
        if study.get("advice"):
            self._line(f"         {study['advice']}")
        following = f"trials {name} --at-chance" if luck else f"best {name} --format flags"
        self._line(f"         next: cnnbo {following}{self._flag}")

    def _timed(self, text: str) -> None:
        self._line(f"{time.strftime('%H:%M:%S')} {text}")

    def _line(self, text: str) -> None:
        self._last_line = self._clock()
        self._say(text)


def worth(news: Mapping[str, Any], best: str = "BEST") -> str:
    """What to say behind a value: that it is the best, or that luck explains it.

    Example:
        >>> worth({"at_chance": True, "trial": 2, "best_trial": 2}), worth({"trial": 2, "best_trial": 2})
        (', no better than chance', '  BEST')
    """
    if news.get("at_chance"):
        return ", no better than chance"
    return f"  {best}" if _is_best(news) else ""


def _is_best(news: Mapping[str, Any]) -> bool:
    """Whether a trial is the best one now, and worth being called so."""
    return bool(news["best_trial"] == news["trial"] and not news.get("at_chance"))


def crash_report(shown: Mapping[str, Any], state: Path, flag: str = "") -> list[str]:
    """What to say when equal crashes paused a study.

    Args:
        shown: its `show` object.
        state: the state folder.
        flag: ` --state DIR` where the commands need it.
    """
    from cnnbo.daemon.logfiles import tail

    crashed = [trial for trial in shown["trials"] if trial["failure"] == "crashed"]
    if undecided := shown.get("undecided"):  # which a daemon of an earlier version doesn't tell
        crashed = [trial for trial in crashed if trial["id"] in undecided]
    last = max(crashed, key=lambda trial: str(trial["attempts"][-1]["ended"]))
    name = shown["name"]
    lines = [f"{name} paused: {len(crashed)} trials crashed the same way ({last['message']})"]
    attempt = len(last["attempts"])
    with suppress(PermissionError):  # a service's: the command below asks it
        lines += [f"  | {line}" for line in tail(state, name, last["id"], attempt, LOG_LINES_SHOWN)]
    if shown["python"] is not None:
        lines.append(f"They ran with {shown['python']}.")
    lines.append("Mend the cause, then give the same command: they run again, and are held against no configuration.")
    lines.append(f"Whole log: cnnbo logs {name} {last['id']}{flag}")
    return lines
