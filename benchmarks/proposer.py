"""Compare cnnbo's proposer with its peers on simulated boxes. `python benchmarks/proposer.py --help`."""

import os

_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
_TENSORFLOW_THREADS = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")
for _name in (*_THREADS, *_TENSORFLOW_THREADS):
    os.environ[_name] = "1"  # before numpy is loaded: one thread per process, for every method and every training
os.environ["CUDA_VISIBLE_DEVICES"] = ""
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from proposing.main import app  # noqa: E402 - after the threads are set

if __name__ == "__main__":
    app()
