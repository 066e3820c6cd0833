"""The methods compared, by name; each module loads its packages only when it is asked for."""

from importlib import import_module
from importlib.metadata import version

from proposing.simulation import MakeMethod

_HOMES = {
    "cnnbo": ("ours", "make_cnnbo", ("cnnbo", "trieste", "gpflow", "tensorflow")),
    "constant": ("ours", "make_constant", ("cnnbo", "trieste", "gpflow", "tensorflow")),
    "random": ("ours", "make_random", ("cnnbo", "numpy")),
    "tpe": ("with_optuna", "make_tpe", ("optuna",)),
    "gpsampler": ("with_optuna", "make_gpsampler", ("optuna", "torch")),
    "qlognei": ("with_botorch", "make_qlognei", ("botorch", "gpytorch", "torch")),
}

METHODS = tuple(_HOMES)


def load(name: str) -> tuple[MakeMethod, dict[str, str]]:
    """How a method is made, and the versions of what it runs on.

    Raises:
        KeyError: no method is called that.
        ImportError: its packages are not installed here.
    """
    module, function, packages = _HOMES[name]
    make: MakeMethod = getattr(import_module(f"proposing.methods.{module}"), function)
    return make, {package: version(package) for package in packages}
