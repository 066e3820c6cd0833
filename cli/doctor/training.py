"""What a trial's process would see on each device, found by starting one."""

import sys
from collections.abc import Iterator, Sequence
from itertools import groupby

from cnnbo.cli.doctor.attempt import LIMIT_S, Library, Trace, interpreter, try_devices
from cnnbo.cli.doctor.devices import Survey, survey, triable
from cnnbo.cli.doctor.driver import asks_for_cpu, broken_driver
from cnnbo.cli.doctor.finding import Finding, fail, ok, warn
from cnnbo.cli.doctor.kernels import driver_is_too_old, has_kernels
from cnnbo.cli.doctor.scope import Scope
from cnnbo.daemon.devices.base import Device, DeviceKind
from cnnbo.daemon.devices.select import label
from cnnbo.scheduler.errors import ConfigurationError


def check_training(scope: Scope) -> Iterator[Finding]:
    """Libraries against cards and driver, and a process on each idle device."""
    python = interpreter(scope)
    if python is None:
        yield ok("trial", "the command of this study is a program of its own; what it needs can't be looked up")
        return
    try:
        if not asks_for_cpu(scope) and any(broken_driver(scope)):
            return  # told by the check of the devices, as is what `survey` raises
        found = survey(scope)
    except ConfigurationError:
        return
    devices: Sequence[Device | None] = triable(scope, found)
    traces = try_devices(scope, python, devices or [None])
    yield from _kernels(scope, found, traces)
    for trace in traces:
        yield from _trouble(scope, python, trace)
    yield from _well(python, traces) if devices else _untried(traces[0])


# ---- what was built for what ----


def _kernels(scope: Scope, found: Survey, traces: Sequence[Trace]) -> Iterator[Finding]:
    libraries = next((trace.libraries for trace in traces if trace.libraries), ())
    if found.driver is None:
        return
    for library in (each for each in libraries if each.cuda is not None):
        yield from _of_library(scope, found, library, traces)


def _of_library(scope: Scope, found: Survey, library: Library, traces: Sequence[Trace]) -> Iterator[Finding]:
    assert library.cuda is not None and found.driver is not None
    if driver_is_too_old(found.driver.cuda, library.cuda):
        text = (
            f"{library} is built with CUDA {library.cuda}, and driver {found.driver.version} serves no CUDA later than "
        )
        text += ".".join(map(str, found.driver.cuda or ()))
        yield fail("kernels", text, f"install a newer driver, or {_another_environment(scope)}")
    strange = _without_kernels(found, library)
    names = [label(device) for device in found.devices]
    for device in strange:
        others = ",".join(str(other.index) for other in found.devices if other not in strange)
        card = f"{device.name}, compute capability {_capability(found, device)}"
        text = f"{library} has no kernels for {label(device)} ({card})"
        fix = f"{_another_environment(scope)}, or leave it out: --devices {others or 'cpu'}"
        works = any(trace.device == device and _gpu_works(trace, library) for trace in traces)
        yield warn("kernels", f"{text}, though it computed there", fix) if works else fail("kernels", text, fix)
    if not strange and library.kernels:
        yield ok("kernels", f"{library} (CUDA {library.cuda}) has kernels for {' '.join(names)}")


def _without_kernels(found: Survey, library: Library) -> list[Device]:
    """The cards that it wasn't built for; none where it doesn't say what for, or the card not what it is."""
    told = [(device, _capability_of(found, device)) for device in found.devices if library.kernels]
    return [device for device, known in told if known is not None and not has_kernels(library.kernels, known)]


def _capability_of(found: Survey, device: Device) -> tuple[int, int] | None:
    gpus = found.driver.gpus if found.driver else ()
    return next((gpu.capability for gpu in gpus if device.uuid in (gpu.uuid, *(gpu.instances or ()))), None)


def _capability(found: Survey, device: Device) -> str:
    return ".".join(map(str, _capability_of(found, device) or ("unknown",)))


def _another_environment(scope: Scope) -> str:
    """How trials come to another library. A study that has begun keeps its interpreter, so its name must be new."""
    if scope.runs_command:
        return "point trial.python at an environment that supports it, in a study with a new name"
    return "tune a command of your own with an environment that supports it (trial.python)"


# ---- how the processes fared ----


def _gpu_works(trace: Trace, library: Library) -> bool:
    return any(each.name == library.name and each.computes and each.gpus for each in trace.libraries or ())


def _place(trace: Trace) -> str:
    return "without a device" if trace.device is None else f"on {label(trace.device)}"


def _trouble(scope: Scope, python: str, trace: Trace) -> Iterator[Finding]:
    """What went wrong with one process."""
    evidence, where = trace.evidence, _place(trace)
    if evidence.stopped_by == "lease":
        yield warn("trial", f"nothing was tried {where}: {evidence.message.rstrip('.')}", "run this again later")
    elif evidence.stopped_by == "timeout":
        text = f"a trial process {where} was not done after {LIMIT_S:g} s"
        yield fail(
            "trial", text, f"see how long this takes: {python} -c 'import tensorflow'; is {python} on a slow disk?"
        )
    elif trace.libraries is None:
        said = trace.last_line or evidence.message.rstrip(".") or "it ended at once"
        yield fail("trial", f"{python} can't run a trial {where}: {said}", "correct trial.python, or mend that Python")
    else:
        yield from (finding for each in trace.libraries if (finding := _library_trouble(scope, python, trace, each)))
        if evidence.signal is not None:
            text = f"a trial process {where} was ended by signal {evidence.signal}: {trace.last_line}"
            yield fail("trial", text, "mend or renew the library that it names, in the environment of " + python)


def _library_trouble(scope: Scope, python: str, trace: Trace, library: Library) -> Finding | None:
    where = _place(trace)
    if library.error is not None:
        return fail(
            "trial", f"{library} fails {where}: {library.error}", f"renew it: {_with_cuda(scope, python, library)}"
        )
    if trace.device is None or trace.device.kind is not DeviceKind.NVIDIA or library.gpus:
        return None
    remedy = _with_cuda(scope, python, library)
    if library.cuda is None:
        return fail("trial", f"{library} of {python} is built without CUDA: trials would use the CPU {where}", remedy)
    text = f"{library} sees no GPU {where}, so trials would use the CPU; it said: {trace.last_line or 'nothing'}"
    return fail("trial", text, remedy)


def _with_cuda(scope: Scope, python: str, library: Library) -> str:
    if not scope.runs_command:
        return f"{sys.executable} -m pip install 'cnnbo[cuda]'"
    return (
        f"{python} -m pip install -U {'tensorflow[and-cuda]' if library.package == 'tensorflow' else library.package}"
    )


def _well(python: str, traces: Sequence[Trace]) -> Iterator[Finding]:
    """One line for all devices that are the same to a trial."""
    good = [trace for trace in traces if _is_well(trace)]
    for _, run in groupby(good, key=lambda trace: trace.libraries):
        same = list(run)
        seconds = [trace.evidence.elapsed_s for trace in same]
        took = f"{max(seconds):.1f} s" + (", side by side" if len(same) > 1 else "")
        names = " ".join(label(trace.device) for trace in same if trace.device is not None)
        yield ok("trial", f"{_seen(python, same[0], names)} in {took}")


def _untried(trace: Trace) -> Iterator[Finding]:
    """Where no device could be tried, what is known without one."""
    if _is_well(trace):
        libraries = " and ".join(map(str, trace.libraries or ())) or "no TensorFlow or PyTorch"
        yield ok("trial", f"no device is idle and ours to use now, so none was tried; without one {libraries} is there")


def _seen(python: str, trace: Trace, names: str) -> str:
    libraries = trace.libraries or ()
    if not libraries:
        return f"a trial process runs on {names} ({python}, with neither TensorFlow nor PyTorch)"
    with_cuda = ", ".join(f"{each}, CUDA {each.cuda}" if each.cuda and each.gpus else str(each) for each in libraries)
    verb = "sees" if all(each.gpus for each in libraries) else "computes on"
    return f"a trial process {verb} {names} ({with_cuda})"


def _is_well(trace: Trace) -> bool:
    is_gpu = trace.device is not None and trace.device.kind is DeviceKind.NVIDIA
    libraries = trace.libraries
    is_through = trace.evidence.exit_code == 0 and libraries is not None
    return is_through and all(each.computes and (each.gpus or not is_gpu) for each in libraries or ())
