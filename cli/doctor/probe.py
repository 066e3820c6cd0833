"""What a trial's process finds: which libraries, how many GPUs, whether they can compute.

Run by the interpreter of the trials, which may have another Python and no cnnbo. It prints a line of JSON after each
step, so that a crash leaves what was known before it; the last line counts.
"""

from __future__ import annotations  # the interpreter of the trials may be older than cnnbo's

import importlib.util
import json
from collections.abc import Iterator
from typing import Any

SIZE = 256


def tell(libraries: list[dict[str, Any]]) -> None:
    """Print what is known so far."""
    print("\n" + json.dumps({"cnnbo_probe": libraries}), flush=True)


def try_tensorflow(library: dict[str, Any]) -> Iterator[None]:
    """Fill in what TensorFlow says, and multiply two matrices."""
    import tensorflow as tf

    build = tf.sysconfig.get_build_info()
    library["version"] = tf.__version__
    library["cuda"] = build.get("cuda_version")
    library["kernels"] = list(build.get("cuda_compute_capabilities") or [])
    gpus = tf.config.list_physical_devices("GPU")
    library["gpus"] = len(gpus)
    yield
    for gpu in gpus:
        tf.config.experimental.set_memory_growth(gpu, True)
    with tf.device("/GPU:0" if gpus else "/CPU:0"):
        ones = tf.ones((SIZE, SIZE))
        library["product"] = float(tf.matmul(ones, ones)[0, 0])
    yield


def try_torch(library: dict[str, Any]) -> Iterator[None]:
    """The same for PyTorch."""
    import torch

    library["version"] = torch.__version__
    library["cuda"] = torch.version.cuda
    library["gpus"] = torch.cuda.device_count()
    library["kernels"] = list(torch.cuda.get_arch_list())
    yield
    ones = torch.ones((SIZE, SIZE), device="cuda" if library["gpus"] else "cpu")
    library["product"] = float((ones @ ones)[0, 0])
    yield


def main() -> None:
    """Try each library that is there."""
    libraries: list[dict[str, Any]] = []
    tell(libraries)
    for package, name, attempt in (
        ("tensorflow", "TensorFlow", try_tensorflow),
        ("torch", "PyTorch", try_torch),
    ):
        if importlib.util.find_spec(package) is None:
            continue
        library: dict[str, Any] = {"name": name, "package": package}
        libraries.append(library)
        try:
            for _ in attempt(library):
                tell(libraries)
        except Exception as error:
            library["error"] = " ".join((type(error).__name__ + ": " + str(error)).split())[:300]
            tell(libraries)


main()
