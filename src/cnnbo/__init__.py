"""cnnbo: tune ConvNets with Bayesian optimisation on your own GPU boxes."""

__version__ = "0.1.0"
