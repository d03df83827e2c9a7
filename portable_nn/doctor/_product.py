"""A process of its own, as BLAS reads its environment when it is loaded: one product, timed."""

from __future__ import annotations

import json
from statistics import median
from time import perf_counter

import numpy as np
from threadpoolctl import threadpool_info

ROWS, INNER, COLUMNS = 256, 784, 512
"""Of a layer of 512 units on 256 images of 28 x 28 pixels."""


def main(calls: int = 12) -> None:
    """Print the kernels that BLAS took, and seconds of a product: the least and the median."""
    x, weight = np.ones((ROWS, INNER), np.float32), np.ones((INNER, COLUMNS), np.float32)
    out, seconds = np.empty((ROWS, COLUMNS), np.float32), []
    for _ in range(calls + 3):
        began = perf_counter()
        np.dot(x, weight, out)
        seconds.append(perf_counter() - began)
    cores = [pool.get("architecture") for pool in threadpool_info() if pool["user_api"] == "blas"]
    warm = seconds[3:]
    print(json.dumps([next(iter(cores), None), min(warm), median(warm)]))


if __name__ == "__main__":
    main()
