"""What is fitted, whole: a workload, its data, and when it ends."""

import gzip
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from portable_nn.datasets import load_digits, split

from .workloads import Workload

MNIST = "PORTABLE_NN_MNIST"
"""The variable that names the folder of the four gzip files of MNIST."""


@dataclass(frozen=True)
class Job:
    """``data`` are x, y and the rows to test on, x and y; it ends after ``epochs``, or ``until``.

    That is an accuracy on those rows, looked at after each epoch.
    """

    workload: Workload
    epochs: int
    data: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]
    until: float | None = None

    def __str__(self):
        work, rows = self.workload, len(self.data[0])
        end = f"epochs until {self.until:.0%}" if self.until else f"{self.epochs} epochs"
        sizes = "-".join(map(str, work.sizes))
        return f"{sizes} ReLU, Adam, {rows:,} rows, batches of {work.batch_size}, {end}"


def digits():
    """Workload b on the digits that come with the package."""
    workload = Workload("fit", (64, 100, 10), 200, "cross_entropy", 8)
    return Job(workload, 30, split(*load_digits()))


def clouds():
    """A larger network and more data: normal clouds around a centre for each class."""
    random, rows, kept = np.random.default_rng(0), 12_500, 10_000
    y = random.integers(0, 10, rows)
    centers = np.float32(0.1) * random.standard_normal((10, 784), np.float32)
    x = random.standard_normal((rows, 784), np.float32)
    for label, center in enumerate(centers):
        for row in np.flatnonzero(y == label):
            x[row] += center  # one by one: memory is measured too
    workload = Workload("clouds", (784, 512, 512, 10), 128, "cross_entropy", 8)
    return Job(workload, 2, (x[:kept], y[:kept], x[kept:], y[kept:]))


def mnist():
    """MNIST out of the folder that the variable names, values from 0 to 1."""
    if not (folder := os.environ.get(MNIST)):
        raise FileNotFoundError(f"no MNIST: give --mnist FOLDER, or set {MNIST}")
    data = []
    for part in ("train", "t10k"):
        x = _values(Path(folder, f"{part}-images-idx3-ubyte.gz"), 16).reshape(-1, 784)
        y = _values(Path(folder, f"{part}-labels-idx1-ubyte.gz"), 8)
        data += [x.astype(np.float32) / 255, y.astype(np.int64)]
    return Job(Workload("mnist", (784, 256, 10), 128, "cross_entropy", 8), 20, tuple(data), 0.97)


def _values(path, header):
    return np.frombuffer(gzip.decompress(path.read_bytes()), np.uint8, offset=header)


JOBS = {"digits": digits, "clouds": clouds, "mnist": mnist}
