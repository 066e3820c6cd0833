"""`cnnbo devices`, `drain`, `return`: the devices of this box, what they do, and whether they get trials."""

from typing import Annotated, Any

import typer

from cnnbo.cli import completion, options


def devices(
    state: options.State = None,
    which: Annotated[
        str, typer.Option("--devices", metavar="WHICH", help="Without a daemon: which to look for.")
    ] = "auto",
    broker: options.Broker = None,
    node: options.Box = None,
    json: options.Json = False,
) -> None:
    """The devices, as the daemon sees them. Without a daemon, as they are found now."""
    from cnnbo.cli.output import print_json

    if broker is None:
        found = _from_daemon(state) or _found_now(which)
    else:
        found = options.daemon_of(state, broker, node).status()["devices"]
    if json:
        print_json(found)
    else:
        print_devices(found)


DeviceName = Annotated[
    str,
    typer.Argument(
        metavar="DEVICE", help="An index, like 0 or gpu0, or (the start of) a UUID.", autocompletion=completion.devices
    ),
]


def drain(
    device: DeviceName,
    state: options.State = None,
    broker: options.Broker = None,
    node: options.Box = None,
    json: options.Json = False,
) -> None:
    """Start no more trials on a device. What runs there goes on to its end; lasts until `return`."""
    _order(options.daemon_of(state, broker, node), "drain", device, json)


def return_device(
    device: DeviceName,
    state: options.State = None,
    broker: options.Broker = None,
    node: options.Box = None,
    json: options.Json = False,
) -> None:
    """Use a drained or quarantined device again."""
    _order(options.daemon_of(state, broker, node), "return", device, json)


def _order(daemon: "options.Daemon", verb: str, device: str, json: bool) -> None:
    from cnnbo.cli.output import device_label, print_json

    answer = daemon.ask(verb, device=device)
    if json:
        print_json(answer)
        return
    trial = f"; {answer['study']} #{answer['trial']} goes on to its end" if answer["study"] else ""
    what = f"drained{trial}" if verb == "drain" else f"may be used again (now {answer['state']})"
    print(f"{device_label(answer)}: {what}")


def _from_daemon(state: options.State) -> list[dict[str, Any]] | None:
    import asyncio

    from cnnbo.daemon.client import NoDaemonError, request

    try:
        return list(asyncio.run(request(options.state_folder(state), "devices")))
    except NoDaemonError:
        return None


def _found_now(which: str) -> list[dict[str, Any]]:
    from cnnbo.daemon.devices.select import open_devices
    from cnnbo.daemon.messages import device_object
    from cnnbo.scheduler.fleet import DeviceState

    selection = open_devices(which)
    samples = selection.backend.sample()
    selection.backend.close()
    found = []
    for device in selection.devices:
        fault = samples[device.uuid].fault
        state = DeviceState.QUARANTINED if fault else DeviceState.IDLE
        found.append(dict(device_object(device, samples[device.uuid], state, fault, None)))
    return found


def print_devices(found: list[dict[str, Any]]) -> None:
    """A row per device."""
    from cnnbo.cli.devices_table import devices_table
    from cnnbo.cli.output import print_wide

    print_wide(devices_table(found))
