"""`cnnbo status`: devices and studies at a glance."""

from collections import Counter
from typing import Any, Final

from cnnbo.cli import options


def status(
    state: options.State = None,
    broker: options.Broker = None,
    node: options.Box = None,
    json: options.Json = False,
) -> None:
    """Devices and studies; the last line counts, for scripts. Works without a daemon too."""
    from cnnbo.cli.output import print_json
    from cnnbo.daemon.client import LocalDaemon

    daemon = options.daemon_of(state, broker, node)
    facts = daemon.status()
    if json:
        print_json(facts)
        return
    if facts["daemon"] is not None:
        print(f"cnnbo {facts['daemon']['version']}  state {facts['daemon']['state']}  mqtt {_mqtt(facts)}")
    elif isinstance(daemon, LocalDaemon):  # of another box it was said already
        from cnnbo.daemon.folders import without_daemon

        print(f"{without_daemon(daemon.state)}. Below is what its journal says.")
    if facts["limit"] is not None:
        print(f"at most {_count(facts['limit'], 'device')} at a time (cnnbo limit)")
    _print_devices(facts["devices"])
    _print_studies(facts["studies"])
    running = sum(study["running"] for study in facts["studies"])
    counts = Counter(str(study["state"]) for study in facts["studies"])
    tally = ", ".join(f"{count} {name}" for name, count in counts.items()) or "none"
    print(f"{_count(len(facts['devices']), 'device')}, {_count(running, 'trial')} running, studies: {tally}")


def _mqtt(facts: dict[str, Any]) -> str:
    reason, dropped = facts["daemon"]["mqtt_reason"], facts["daemon"].get("mqtt_dropped_events")
    starting = ["its broker is being started"] if facts["daemon"].get("mqtt_starting") else []
    dropping = [f"{dropped} events dropped"] if dropped else []
    remarks = "; ".join([*starting, *([reason] if reason else []), *dropping])
    return f"{facts['mqtt'] or 'off'}{f' ({remarks})' if remarks else ''}"


def _print_devices(devices: list[dict[str, Any]]) -> None:
    from cnnbo.cli.commands.devices import print_devices

    if devices:
        print_devices(devices)


def _print_studies(studies: list[dict[str, Any]]) -> None:
    from cnnbo.cli import output

    if not studies:
        print("No study. Start one: cnnbo run study.toml")
        return
    shown = _with_comparisons(studies)
    counts = [output.ends(study) for study in shown]
    # Most studies know of no other trials, and a line has 80 columns.
    kinds = [k for k in ("at chance", "failed", "undecided") if k == "failed" or any(count[k] for count in counts)]
    header = ("study", "state", "finished", "running", *kinds, "best", "trial", "left", "owner")
    rows = [
        (
            study["name"],
            study["state"]
            if study["state"] == "running" or not study["reason"]
            else f"{study['state']} ({study['reason']})",
            f"{study['finished']}/{study['evaluations']}",
            str(study["running"]),
            *(str(count[kind]) for kind in kinds),
            output.value(study["best_value"]),
            "-" if study["best_trial"] is None else f"#{study['best_trial']}",
            output.duration(study["eta_s"]),
            str(study["owner"]),
        )
        for study, count in zip(shown, counts, strict=True)
    ]
    output.print_table(header, rows, right=range(2, len(header) - 1))


def _with_comparisons(studies: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The studies, with those of a comparison as one: `cnnbo show NAME` lists them."""
    rows: dict[str, dict[str, Any]] = {}
    for study in studies:
        name = study.get("comparison")  # a box of an earlier version knows of none
        if name is None:
            rows[f"study {study['name']}"] = study
            continue
        row = rows.setdefault(
            f"comparison {name}", study | {"name": name, "state": "failed", "reason": None} | _NOTHING
        )
        for key in ("finished", "evaluations", "running", "at_chance", "failed"):
            row[key] += study.get(key) or 0
        row["undecided"] = [*row["undecided"], *(study.get("undecided") or ())]
        row["state"] = min(row["state"], study["state"], key=_STATES.index)
    return list(rows.values())


_STATES: Final = ("running", "paused", "cancelled", "finished", "failed")
"""A comparison is in the first of these states that one of its studies is in."""

_NOTHING: Final[dict[str, Any]] = {
    "finished": 0, "evaluations": 0, "running": 0, "at_chance": 0, "failed": 0, "undecided": [], "best_value": None,
    "best_trial": None, "eta_s": None,
}  # fmt: skip


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}{'' if number == 1 else 's'}"
