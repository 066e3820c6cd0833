"""What tables and figures call the methods."""

from collections.abc import Iterable

LABELS = {
    "cnnbo": "cnnbo",
    "constant": "cnnbo (chance constant)",
    "random": "random search",
    "tpe": "Optuna TPE",
    "gpsampler": "Optuna GPSampler",
    "qlognei": "BoTorch qLogNEI",
}
"""By method, in the order of tables and legends."""


def label(method: str) -> str:
    """What people call a method; one that is not known here keeps its name."""
    return LABELS.get(method, method)


def in_order(methods: Iterable[str]) -> list[str]:
    """Without repetition, in the order of the tables; unknown ones last, by name."""
    known = list(LABELS)
    return sorted(set(methods), key=lambda method: (known.index(method) if method in known else len(known), method))
