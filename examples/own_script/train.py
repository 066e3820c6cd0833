"""A training script like any other: it knows nothing of cnnbo, takes flags, prints lines.

Learns to tell three spirals of points apart with a small network, in NumPy, in under a second:

    python train.py --learning_rate=0.01 --hidden=32
"""

import argparse

import numpy as np
from numpy.typing import NDArray

CLASSES = 3
Array = NDArray[np.float64]


def spirals(points: int, rng: np.random.Generator) -> tuple[Array, NDArray[np.int64]]:
    """Points on three arms that wind around each other: positions (points, 2), and which arm (points,)."""
    arm = rng.integers(0, CLASSES, points)
    radius = rng.uniform(0.1, 1.0, points)
    angle = 4 * radius + 2 * np.pi * arm / CLASSES + rng.normal(0, 0.35, points)
    return np.column_stack([radius * np.cos(angle), radius * np.sin(angle)]), arm


class Network:
    """One hidden layer, trained by gradient descent with momentum."""

    def __init__(self, hidden: int, activation: str, rng: np.random.Generator) -> None:
        self.weights = [rng.normal(0, 1.5, (3, hidden)), rng.normal(0, 0.1, (hidden + 1, CLASSES))]
        self.velocities = [np.zeros_like(weights) for weights in self.weights]
        self.is_relu = activation == "relu"

    def forward(self, x: Array) -> tuple[Array, Array, Array]:
        """Inputs with a bias column, hidden layer with one, and the probability of each arm."""
        inputs = np.column_stack([x, np.ones(len(x))])
        drive = inputs @ self.weights[0]
        hidden = np.column_stack([np.maximum(drive, 0) if self.is_relu else np.tanh(drive), np.ones(len(x))])
        logits = hidden @ self.weights[1]
        odds = np.exp(logits - logits.max(axis=1, keepdims=True))
        return inputs, hidden, odds / odds.sum(axis=1, keepdims=True)

    def update(self, x: Array, arm: NDArray[np.int64], learning_rate: float, momentum: float) -> None:
        """One step downhill on the cross entropy of a batch."""
        inputs, hidden, error = self.forward(x)
        error[np.arange(len(arm)), arm] -= 1
        slope = hidden[:, :-1] > 0 if self.is_relu else 1 - hidden[:, :-1] ** 2
        back = error @ self.weights[1][:-1].T * slope
        gradients = (inputs.T @ back / len(x), hidden.T @ error / len(x))
        for weights, velocity, gradient in zip(self.weights, self.velocities, gradients, strict=True):
            velocity *= momentum
            velocity -= learning_rate * gradient
            weights += velocity


def main() -> None:
    """Train, and print the accuracy on held-back points after each epoch."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--learning_rate", type=float, default=0.01)
    parser.add_argument("--momentum", type=float, default=0.9)
    parser.add_argument("--hidden", type=int, default=16)
    parser.add_argument("--activation", choices=["relu", "tanh"], default="tanh")
    parser.add_argument("--epochs", type=int, default=10)
    flags = parser.parse_args()

    rng = np.random.default_rng(0)
    x, arm = spirals(3000, rng)
    val_x, val_arm = spirals(1000, rng)
    network = Network(flags.hidden, flags.activation, rng)
    for epoch in range(1, flags.epochs + 1):
        for batch in np.array_split(rng.permutation(len(x)), len(x) // 20):
            network.update(x[batch], arm[batch], flags.learning_rate, flags.momentum)
        accuracy = float((network.forward(val_x)[2].argmax(axis=1) == val_arm).mean())
        print(f"epoch {epoch}/{flags.epochs} val_acc: {accuracy:.4f}", flush=True)


if __name__ == "__main__":
    main()
