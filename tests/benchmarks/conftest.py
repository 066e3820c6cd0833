"""What tests of the benchmarks share."""

import sys
from pathlib import Path

# `benchmarks/` is run from a checkout and never installed; `benchmarks/proposer.py` finds its package the same way.
sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))
