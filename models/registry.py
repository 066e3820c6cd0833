"""The models that come with cnnbo, by name.

Loaded by the daemon and the command line, so nothing here may import TensorFlow or SciPy.
"""

import difflib
from importlib.util import find_spec
from typing import Final

from cnnbo.models.spec import ModelSpec
from cnnbo.scheduler.errors import ConfigurationError
from cnnbo.scheduler.space import FloatParameter, IntParameter, SearchSpace

WEIGHTS_FILE: Final = "model.keras"
"""Name of the file in which a final training leaves its network, in its attempt's folder."""

SVHN_CNN: Final = ModelSpec(
    name="svhn-cnn",
    space=SearchSpace(
        (
            # The ranges of 2016. `momentum` and `decay` went up to 1.0 then, where RMSProp is broken by construction: a
            # momentum of 1 never forgets, a decay of 1 freezes the mean square. Here 1 - x is searched down to 1e-3.
            IntParameter("filter1_width", 3, 10),
            IntParameter("filter1_depth", 10, 64),
            IntParameter("filter2_width", 3, 10),
            IntParameter("filter2_depth", 10, 64),
            FloatParameter("keep_probability", 0.2, 1.0),
            FloatParameter("learning_rate", 1e-5, 1.0, "log"),
            FloatParameter("momentum", 0.5, 0.999, "reverse-log"),
            FloatParameter("decay", 0.5, 0.999, "reverse-log"),
        )
    ),
    # The published code of 2016 holds no "untuned" configuration. This one is our reading of TensorFlow's tutorial of
    # that year, "Deep MNIST for Experts", whose network has the same layers.
    defaults={
        "filter1_width": 5,  # tutorial: W_conv1 = weight_variable([5, 5, 1, 32])
        "filter1_depth": 32,
        "filter2_width": 5,  # tutorial: W_conv2 = weight_variable([5, 5, 32, 64])
        "filter2_depth": 64,
        "keep_probability": 0.5,  # tutorial: feed_dict={..., keep_prob: 0.5}
        "learning_rate": 1e-4,  # tutorial: AdamOptimizer(1e-4); it does not use RMSProp
        "momentum": 0.5,  # tf.train.RMSPropOptimizer: 0.0, which the range leaves out; this is its nearest value
        "decay": 0.9,  # tf.train.RMSPropOptimizer: decay=0.9
    },
    module="cnnbo.models.svhn.train",
    prepare="cnnbo.models.svhn.prepare",
    metric="val_accuracy",
    direction="maximize",
    needs=("tensorflow",),
    extra="svhn",
    weights=WEIGHTS_FILE,
)

SVHN_FOREST: Final = ModelSpec(
    name="svhn-forest",
    space=SearchSpace(
        (
            IntParameter("n_estimators", 20, 200, "log"),
            FloatParameter(
                "max_features", 0.004, 0.125, "log"
            ),  # share of the pixels that a split looks at, and of its time
            IntParameter("min_samples_leaf", 1, 50, "log"),
        )
    ),
    # Those of scikit-learn's RandomForestClassifier, as in 2016.
    defaults={
        "n_estimators": 100,
        "max_features": 1 / 32,  # "sqrt": 32 of 1,024 pixels
        "min_samples_leaf": 1,
    },
    module="cnnbo.models.svhn.forest",
    prepare="cnnbo.models.svhn.prepare",
    metric="val_accuracy",
    direction="maximize",
    needs=("sklearn",),
    extra="compare",
)

_MODELS: Final = {spec.name: spec for spec in (SVHN_CNN, SVHN_FOREST)}


def model_names() -> tuple[str, ...]:
    """The names a study file may give as `model`, in alphabetical order."""
    return tuple(sorted(_MODELS))


def find_model(name: str) -> ModelSpec:
    """The model of that name.

    Raises:
        ConfigurationError: there is none; the nearest name is suggested.
    """
    if spec := _MODELS.get(name):
        return spec
    near = difflib.get_close_matches(name, _MODELS, n=1, cutoff=0.5)
    remedy = f'did you mean "{near[0]}"?' if near else f"the models are: {', '.join(model_names())}."
    raise ConfigurationError(f'There is no model "{name}"; {remedy}')


def missing_model_extra(name: str) -> str | None:
    """Why a model can't be trained on this installation, as a sentence with the remedy; None if it can.

    Looks the packages up without importing them.

    Raises:
        ConfigurationError: no model is called that.
    """
    model = find_model(name)
    missing = [package for package in model.needs if find_spec(package) is None]
    if not missing:
        return None
    return f"model {name} needs {', '.join(missing)}, not installed here: pip install 'cnnbo[{model.extra}]'"
