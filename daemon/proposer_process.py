"""The proposer process: hosts the optimizers that need TensorFlow.

Run as `python -P -m cnnbo.daemon.proposer_process PID`, where PID is the daemon's. Requests come in on stdin, answers
go out on what was stdout when it started; the messages are those of `cnnbo.daemon.proposer_wire`. It dies with the
daemon: at end-of-file on stdin, and by a signal of the kernel.
"""

import ctypes
import json
import os
import platform
import queue
import signal
import sys
import threading
from collections.abc import Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:  # numpy takes a while, and the lifeline must hold first
    from cnnbo.scheduler.optimizers.base import History
    from cnnbo.scheduler.space import SearchSpace

ENVIRONMENT: Mapping[str, str] = {
    "CUDA_VISIBLE_DEVICES": "",  # TensorFlow would take the memory of every device it sees
    "NVIDIA_VISIBLE_DEVICES": "void",
    "TF_CPP_MIN_LOG_LEVEL": "2",
    "TF_ENABLE_ONEDNN_OPTS": "0",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "TF_NUM_INTRAOP_THREADS": "1",
    "TF_NUM_INTEROP_THREADS": "1",
    "PYTHONHASHSEED": "0",  # the order of sets may reach the order of operations in a graph
    "PYTHONUNBUFFERED": "1",
}
"""What must be in the environment before the interpreter starts: no device, one thread, nothing left to chance."""

_PACKAGES = ("cnnbo", "numpy", "scipy", "tensorflow", "gpflow", "trieste")
_PR_SET_PDEATHSIG = 1


def die_with(parent: int) -> None:
    """Have the kernel kill this process when the daemon ends, however it ends."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before the line above
        os._exit(1)


def claim_stdout() -> IO[str]:
    """Keep stdout for the protocol, and send what libraries print there to stderr."""
    protocol = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return protocol


def read_requests(requests: "queue.SimpleQueue[str]") -> None:
    """Queue each line of stdin; the end of it is the end of the daemon, or its wish, so end at once, mid-ask too."""
    for line in sys.stdin:
        requests.put(line)
    os._exit(0)


@cache
def versions() -> dict[str, str]:
    """The versions that decide the last bits of a suggestion."""
    found = {"python": platform.python_version(), "machine": platform.machine()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def rss_mib() -> float:
    """Resident memory of this process in MiB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def answer(request: Mapping[str, Any]) -> dict[str, Any]:
    """Answer a request; an error is an answer too."""
    from cnnbo.scheduler.errors import SpaceExhaustedError, SurrogateFitError

    try:
        result = _warm(request) if request["verb"] == "warm" else _suggest(request)
    except SpaceExhaustedError as error:
        result = {"error": "exhausted", "message": str(error)}
    except SurrogateFitError as error:
        result = {"error": "fit", "message": str(error)}
    except Exception as error:  # whatever a library raises: the daemon falls back, the log has the traceback
        sys.excepthook(type(error), error, error.__traceback__)
        result = {"error": "failed", "message": f"{type(error).__name__}: {error}"}
    return {"id": request["id"], **result, "rss_mib": rss_mib()}


def _suggest(request: Mapping[str, Any]) -> dict[str, Any]:
    from cnnbo.daemon.proposer_wire import history_from_data, space_from_data, suggestion_to_data
    from cnnbo.scheduler.optimizers.registry import create_optimizer

    optimizer = create_optimizer(request["optimizer"], space_from_data(request["space"]), request["seed"])
    suggestion = optimizer.suggest(history_from_data(request["history"]), request["ask"], request["count"])
    return {**suggestion_to_data(suggestion), "environment": {**versions(), "threads": 1}}


def _warm(request: Mapping[str, Any]) -> dict[str, Any]:
    """Ask on made-up results, once without and once with a failure: the graphs of both are traced and kept."""
    from cnnbo.daemon.proposer_wire import space_from_data
    from cnnbo.scheduler.optimizers.registry import create_optimizer

    space = space_from_data(request["space"])
    optimizer = create_optimizer(request["optimizer"], space, request["seed"])
    for failures in (0, 1):
        optimizer.suggest(_rehearsal(space, failures), 0, 1)
    return {}


def _rehearsal(space: "SearchSpace", failures: int) -> "History":
    """A history of one result, a pending point and so many failures, all at the same point: only its form matters."""
    import numpy as np

    from cnnbo.scheduler.optimizers.base import History

    point = np.array([space.canonical([0.5] * space.dimension)])
    none = point[:0]
    return History(point, np.zeros((1, 1)), np.repeat(point, failures, axis=0), point, none, evaluations=1, initial=0)


def main() -> None:
    """Answer requests until the daemon is gone."""
    die_with(int(sys.argv[1]))
    protocol = claim_stdout()
    requests: queue.SimpleQueue[str] = queue.SimpleQueue()
    threading.Thread(target=read_requests, args=(requests,), name="lifeline", daemon=True).start()
    while True:
        print(json.dumps(answer(json.loads(requests.get())), allow_nan=False), file=protocol, flush=True)


if __name__ == "__main__":
    main()
