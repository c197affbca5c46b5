"""The same layer by NumPy's BLAS, one thread: a line "t d milliseconds" for each pair of arguments t,d, best of rounds."""
import os
import sys
import time

os.environ["OPENBLAS_NUM_THREADS"] = "1"
import numpy as np

rng = np.random.default_rng(0)


def numbers(*shape):
    return rng.standard_normal(shape).astype(np.float32)


for t, d in (map(int, pair.split(",")) for pair in sys.argv[1:]):
    x, w, a, b = numbers(t, d), numbers(d, d), numbers(16, d), numbers(d, 16)
    best, end = 1e9, time.perf_counter() + 0.4
    while time.perf_counter() < end:
        start = time.perf_counter()
        x @ w.T + 2.0 * ((x @ a.T) @ b.T)
        best = min(best, time.perf_counter() - start)
    print(t, d, best * 1e3)
