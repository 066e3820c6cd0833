"""What is installed, and in which Python."""

from dataclasses import replace
from importlib.machinery import ModuleSpec
from importlib.metadata import PackageNotFoundError
from importlib.util import find_spec
from pathlib import Path

import pytest

from cnnbo.cli.doctor import installation
from cnnbo.cli.doctor.finding import Level
from cnnbo.scheduler.space import FloatParameter, SearchSpace
from cnnbo.scheduler.spec import StudySpec

SPEC = StudySpec(SearchSpace((FloatParameter("x", 0, 1),)), optimizer="random", command=("python", "train.py"))


def thin(package: str) -> ModuleSpec | None:
    """A base install, without extras."""
    return None if package in ("trieste", "gpflow", "tensorflow") else find_spec(package)


def test_a_thin_base_is_good_enough_until_a_study_needs_more() -> None:
    """Clients and monitors run on laptops without TensorFlow; a failure there would be a false alarm."""
    assert installation.extras(None, (3, 11), thin).level is Level.WARN
    assert installation.extras(SPEC, (3, 11), thin).level is Level.WARN
    bayesian = installation.extras(replace(SPEC, optimizer="trieste"), (3, 11), thin)
    builtin = installation.extras(replace(SPEC, model="svhn-cnn", command=()), (3, 11), thin)
    assert bayesian.level is builtin.level is Level.FAIL
    assert "pip install 'cnnbo[bo,svhn]'" in str(bayesian.fix)


def test_on_a_python_without_wheels_the_remedy_is_another_python() -> None:
    """`pip install` would end with a resolver's riddle there."""
    found = installation.extras(None, (3, 13), thin)
    assert "no wheels for Python 3.13" in found.text
    assert "3.12" in str(found.fix) and "pip install" not in str(found.fix)


def test_an_old_package_of_the_same_name_hides_the_binding(tmp_path: Path) -> None:
    """PyPI's pynvml 11 is a folder where nvidia-ml-py is a file, and a folder wins."""
    (tmp_path / "pynvml").mkdir()
    (tmp_path / "pynvml" / "__init__.py").touch()
    hiding = ModuleSpec("pynvml", None, origin=str(tmp_path / "pynvml/__init__.py"), is_package=True)
    found = installation.binding(lambda name: hiding)
    assert found.level is Level.FAIL and str(tmp_path) in found.text
    assert "uninstall -y pynvml" in str(found.fix) and "nvidia-ml-py" in str(found.fix)


@pytest.mark.parametrize(("version", "level"), [("8.0.4", Level.WARN), ("13.0.1", Level.OK), (None, Level.OK)])
def test_a_package_beside_the_binding(version: str | None, level: Level) -> None:
    """Old single-file versions overwrite it; from 12 on the package only builds on it."""

    def told(package: str) -> str:
        if package == "pynvml" and version is None:
            raise PackageNotFoundError(package)
        return str(version)

    assert installation.binding(version_of=told).level is level
