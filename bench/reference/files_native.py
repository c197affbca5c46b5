"""The same with SciPy's LAPACK, one thread: lines "resize milliseconds" and "extract milliseconds", best of rounds. f32, 4096x4096."""
import os
import time

os.environ["OPENBLAS_NUM_THREADS"] = "1"
import numpy as np
from scipy import linalg

rng = np.random.default_rng(0)


def numbers(*shape):
    return rng.standard_normal(shape).astype(np.float32)


def best(f, rounds):
    least = 1e9
    for _ in range(rounds):
        start = time.perf_counter()
        f()
        least = min(least, time.perf_counter() - start)
    return least * 1e3


B, A = numbers(4096, 64), numbers(64, 4096)


def resize(k=16):
    qb, rb = linalg.qr(B, mode="economic", check_finite=False)
    qa, ra = linalg.qr(A.T, mode="economic", check_finite=False)
    u, s, vt = linalg.svd(rb @ ra.T, check_finite=False)
    return (qb @ u[:, :k]) * s[:k], vt[:k] @ qa.T


base = numbers(4096, 4096)
tuned = base + numbers(4096, 32) @ numbers(32, 4096) + np.float32(0.1) * numbers(4096, 4096)


def extract(k=32, oversamples=10, iterations=7):
    """scikit-learn's randomized_svd with LU between the products, then B = U S and A = Vt."""
    delta = tuned - base
    q = rng.standard_normal((4096, k + oversamples)).astype(np.float32)
    for _ in range(iterations):
        q, _ = linalg.lu(delta @ q, permute_l=True, check_finite=False)
        q, _ = linalg.lu(delta.T @ q, permute_l=True, check_finite=False)
    q, _ = linalg.qr(delta @ q, mode="economic", check_finite=False)
    u, s, vt = linalg.svd(q.T @ delta, full_matrices=False, check_finite=False)
    return (q @ u)[:, :k] * s[:k], vt[:k]


print("resize", best(resize, 5))
print("extract", best(extract, 3))
