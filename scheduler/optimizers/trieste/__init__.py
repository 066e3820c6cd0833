"""Bayesian optimisation with Trieste and GPflow; the only room that imports them."""
