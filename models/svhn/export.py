"""The trained network as a file that Keras loads without any code of ours. Imports TensorFlow and Keras.

```python
model = keras.models.load_model("model.keras")
model.predict(images)  # (N, 32, 32, 3), RGB, 0-255 -> (N, 10), the probability of each digit
```

Grey and standardisation are layers of the model, so that nobody has to repeat them.
"""

import shutil
import tempfile
from pathlib import Path
from typing import Any, Final

import numpy as np

from cnnbo.models.files import replacing
from cnnbo.models.svhn.layout import CLASSES, LUMA, SIDE
from cnnbo.models.svhn.network import Network

import keras  # isort: skip - after `network`, which keeps TensorFlow's start-up quiet

_EPSILON: Final = 1e-3  # a variance below is rounding, as in `standardised_grey`; any contrast is far above


def keras_model(network: Network) -> Any:
    """A `keras.Sequential` of standard layers with the network's weights, for answering.

    Its input is float32 or uint8, (B, 32, 32, 3), RGB, 0-255; its output the probabilities of the digits 0-9, (B, 10).
    """
    layers = keras.layers
    (width1, _, _, depth1), (width2, _, _, depth2) = (tuple(weight.shape) for weight in network.weights[:2])
    trained = [
        layers.Conv2D(depth1, width1, padding="same", activation="relu", name="filter1"),
        layers.Conv2D(depth2, width2, padding="same", activation="relu", name="filter2"),
        layers.Dense(network.weights[2].shape[1], activation="relu", name="hidden"),
        layers.Dense(CLASSES, activation="softmax", name="digit"),
    ]
    grey = layers.Conv2D(1, 1, use_bias=False, trainable=False, name="grey")
    model = keras.Sequential(
        [
            keras.Input((SIDE, SIDE, 3), name="image"),
            grey,
            layers.LayerNormalization(axis=(1, 2, 3), center=False, scale=False, epsilon=_EPSILON, name="standardised"),
            trained[0],
            layers.MaxPooling2D(2, name="pool1"),
            trained[1],
            layers.MaxPooling2D(2, name="pool2"),
            layers.Flatten(name="flat"),
            *trained[2:],
        ],
        name="svhn_cnn",
    )
    grey.set_weights([np.reshape(np.array(LUMA, np.float32), (1, 1, 3, 1))])
    for layer, weight, bias in zip(trained, network.weights, network.biases, strict=True):
        layer.set_weights([weight.numpy(), bias.numpy()])
    return model


def save_network(network: Network, target: Path) -> None:
    """Write the network as a `.keras` file, which is there as a whole or not at all.

    Raises:
        OSError: it can't be written.
    """
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        written = Path(folder) / target.name  # Keras wants a path of its own, and doesn't wait for the disk
        keras_model(network).save(written)
        with written.open("rb") as source, replacing(target) as file:
            shutil.copyfileobj(source, file)
