"""Compare cnnbo's proposer with its peers on simulated boxes. `python benchmarks/proposer.py --help`."""

import os

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"  # before numpy is loaded: one thread per process, for every method
os.environ["CUDA_VISIBLE_DEVICES"] = ""
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from proposing.main import app  # noqa: E402 - after the threads are set

if __name__ == "__main__":
    app()
