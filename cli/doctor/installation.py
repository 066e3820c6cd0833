"""What is installed beside cnnbo, and in which Python."""

import platform
import sys
from collections.abc import Callable, Iterator
from importlib.machinery import ModuleSpec
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import Final

from cnnbo import __version__
from cnnbo.cli.doctor.finding import Finding, fail, ok, warn
from cnnbo.cli.doctor.scope import Scope
from cnnbo.scheduler.spec import StudySpec

_EXTRAS: Final = {"trieste": "Trieste", "gpflow": "GPflow", "tensorflow": "TensorFlow"}
_NEWEST_PYTHON: Final = (3, 12)
"""TensorFlow 2.18 has no wheels for later ones."""

_OLD_BINDING: Final = 12
"""PyPI's `pynvml` before this version brings a module of the same name as nvidia-ml-py's; later ones need that."""


def check_installation(scope: Scope) -> Iterator[Finding]:
    """What cnnbo is, what it needs for proposals and models, and the binding of NVIDIA's library."""
    yield from installation(scope.study)


def installation(study: StudySpec | None) -> Iterator[Finding]:
    """The same, of which nothing needs the settings."""
    yield ok("cnnbo", f"cnnbo {__version__}, Python {platform.python_version()}, {sys.prefix}")
    yield extras(study)
    yield binding()


def extras(
    study: StudySpec | None,
    python: tuple[int, int] = sys.version_info[:2],
    find: Callable[[str], ModuleSpec | None] = find_spec,
) -> Finding:
    """Whether Bayesian optimisation and the built-in models can run here.

    Args:
        study: decides how bad it is if they can't; None = none in particular.
        python: version of the interpreter.
        find: looks a package up without importing it.
    """
    missing = [name for package, name in _EXTRAS.items() if find(package) is None]
    if not missing:
        versions = ", ".join(f"{name} {installed(package)}" for package, name in _EXTRAS.items())
        return ok("extras", f"{versions}: Bayesian optimisation and the built-in models can run")
    text = f'{", ".join(missing)} not installed here, so optimizer = "bo" can\'t run'
    if "TensorFlow" in missing:
        text += ", nor can the model svhn-cnn"
    fix = f"{sys.executable} -m pip install 'cnnbo[bo,svhn]'   (random, sobol and scripts of your own run without)"
    if python > _NEWEST_PYTHON:
        text += f"; TensorFlow 2.18 has no wheels for Python {python[0]}.{python[1]}"
        fix = "install 'cnnbo[bo,svhn]' with Python 3.11 or 3.12   (random, sobol and scripts of your own run without)"
    return fail("extras", text, fix) if _needs_extras(study) else warn("extras", text, fix)


def _needs_extras(study: StudySpec | None) -> bool:
    return study is not None and (study.optimizer == "trieste" or study.model == "svhn-cnn")


def installed(package: str) -> str:
    """The version of an installed package; its files may come from a distribution of another name."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "(unknown version)"


def binding(
    find: Callable[[str], ModuleSpec | None] = find_spec, version_of: Callable[[str], str] = version
) -> Finding:
    """Whether `pynvml` is nvidia-ml-py's, and not that of the abandoned package of that name.

    Args:
        find: looks a module up without importing it.
        version_of: of an installed package.
    """
    remedy = f"{sys.executable} -m pip uninstall -y pynvml"
    renewal = f"{sys.executable} -m pip install --force-reinstall --no-deps nvidia-ml-py"
    module = find("pynvml")
    if module is None:
        return fail("pynvml", "nvidia-ml-py is not installed here, so no NVIDIA device can be read", renewal)
    if module.submodule_search_locations is not None:  # nvidia-ml-py's is a single file
        text = f"PyPI's pynvml hides nvidia-ml-py ({module.origin}), so NVIDIA devices can't be read as they should"
        return fail("pynvml", text, f"{remedy} && {renewal}")
    try:
        other = version_of("pynvml")
    except PackageNotFoundError:
        return ok("pynvml", f"nvidia-ml-py {installed('nvidia-ml-py')} reads NVIDIA devices")
    if int(other.partition(".")[0]) >= _OLD_BINDING:
        return ok(
            "pynvml", f"nvidia-ml-py {installed('nvidia-ml-py')} reads NVIDIA devices (pynvml {other} uses it, too)"
        )
    text = f"PyPI's abandoned pynvml {other} is installed beside nvidia-ml-py and writes the same files"
    return warn("pynvml", text, f"{remedy} && {renewal}")
