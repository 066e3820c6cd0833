"""The parts of `benchmarks/proposer.py`: problems, methods, the simulated box, the report."""
