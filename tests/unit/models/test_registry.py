import subprocess
import sys

import pytest

from cnnbo.models import registry
from cnnbo.models.registry import find_model, missing_model_extra, model_names
from cnnbo.models.spec import ModelSpec
from cnnbo.scheduler.errors import ConfigurationError
from cnnbo.scheduler.space import FloatParameter, SearchSpace


def test_every_model_is_found_by_its_name() -> None:
    """A name that is offered must lead somewhere."""
    assert [find_model(name).name for name in model_names()] == list(model_names())
    assert "svhn-cnn" in model_names()


def test_a_misspelt_model_is_answered_with_the_nearest_name() -> None:
    """The usual mistake is a letter, and the remedy is one word."""
    with pytest.raises(ConfigurationError, match=r'no model "svhn_cn".*did you mean "svhn-cnn"\?'):
        find_model("svhn_cn")


def test_an_unlike_name_is_answered_with_the_list() -> None:
    """Where nothing is near, the choices help."""
    with pytest.raises(ConfigurationError, match="the models are: svhn-cnn"):
        find_model("resnet152")


def test_defaults_outside_of_the_space_are_refused() -> None:
    """The first trial of a study is the defaults: they must be a legal configuration."""
    space = SearchSpace((FloatParameter("rate", 0.1, 1.0),))
    with pytest.raises(ConfigurationError, match=r"model m: default rate = 2\.0 is not a number"):
        ModelSpec("m", space, {"rate": 2.0}, module="x", metric="value", direction="minimize")


def test_the_registry_loads_no_heavy_library() -> None:
    """The daemon and `cnnbo --help` import it, and neither may pay for TensorFlow or SciPy's readers."""
    heavy = {"tensorflow", "sklearn", "scipy.io", "PIL"}
    code = f"import sys, cnnbo.models.registry as r; print(*({heavy} & set(sys.modules)))"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == ""


def test_what_a_model_lacks_is_named_with_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thin installation must say before the first trial what to install; each model has its own extra."""
    monkeypatch.setattr(registry, "find_spec", lambda package: None)
    told = "model svhn-forest needs sklearn, not installed here: pip install 'cnnbo[compare]'"
    assert missing_model_extra("svhn-forest") == told
    assert "needs tensorflow, not installed here: pip install 'cnnbo[svhn]'" in (missing_model_extra("svhn-cnn") or "")
    monkeypatch.setattr(registry, "find_spec", lambda package: object())
    assert missing_model_extra("svhn-forest") is None
