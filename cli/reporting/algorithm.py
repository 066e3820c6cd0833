"""Algorithm 1: the update of RMSProp as the code computes it."""
# ruff: noqa: RUF001 - Greek letters and signs are meant

from typing import Final

from cnnbo.cli.reporting.parts import Note

ALGORITHM_1: Final = Note(
    (
        "Algorithm 1: RMSProp as the code computes it (TensorFlow 1's kernel ResourceApplyRMSProp).",
        "Given: learning rate α, momentum β, decay γ, ε = 10⁻¹⁰. At the start, for every weight w: s ← 1, m ← 0.",
        "For every batch, with g the gradient of the cross entropy summed over the batch:",
        "    s ← γ s + (1 − γ) g²",
        "    m ← β m + α g / √(s + ε)",
        "    w ← w − m",
        "The mean square s starts at 1, so that the first steps are shorter than those of Keras's RMSProp, where s "
        "starts at 0 and ε is 10⁻⁷: the same α behaves differently there.",
    )
)
"""As in `cnnbo.models.svhn.network.RMSProp`; α, β and γ are the letters of the post of 2016."""
