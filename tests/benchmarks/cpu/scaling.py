"""How step time grows with width, depth and batch, and the time of a fit with rows."""

from dataclasses import replace
from statistics import median
from time import perf_counter

import numpy as np

import portable_nn as pnn

from .contenders.floors import numpy_products
from .contenders.ours import layers, ours_epochs, settings
from .report import say
from .workloads import Workload

BASE = Workload("scaling", (64, 64, 64, 10), 64, "cross_entropy", 8)
SWEEPS = {
    "width": [8, 16, 32, 64, 128, 256, 512, 1024, 2048],
    "depth": [1, 2, 4, 8, 16, 32, 64],
    "batch": [1, 4, 16, 64, 256, 1024, 4096, 16384],
    "rows": [100, 300, 1000, 3000, 10_000, 30_000, 100_000, 300_000],
}
SECONDS = 0.15  # for each point


def workload(axis, value):
    """The base, with this width, number of hidden layers of 64, or batch."""
    if axis == "width":
        return replace(BASE, sizes=(value, value, value, 10))
    if axis == "depth":
        return replace(BASE, sizes=(64, *[64] * value, 10))
    return replace(BASE, batch_size=value)


def microseconds(contender):
    """Of a step, the median of bursts."""
    n, spent = contender.multiple, []
    ends = perf_counter() + SECONDS
    while perf_counter() < ends or len(spent) < 4:
        began = perf_counter()
        contender.run(n)
        spent.append((perf_counter() - began) / n)
    return 1e6 * median(spent[1:])


def point(axis, value):
    """``(ours, the matrix products alone)``, in microseconds; of rows, one epoch of ``fit``."""
    if axis != "rows":
        work = workload(axis, value)
        epoch = 64 if work.batch_size * sum(work.sizes) < 2**20 else 8
        work = replace(work, epoch=epoch)
        return microseconds(ours_epochs(work)), microseconds(numpy_products(work))
    random = np.random.default_rng(0)
    x = random.standard_normal((value, 64), np.float32)
    y = random.integers(0, 10, value)
    spent = []
    for _ in range(3):
        network = pnn.Network(layers(BASE))
        began = perf_counter()
        network.fit(x, y, **settings(BASE), epochs=1, progress=False)
        spent.append(1e6 * (perf_counter() - began))
    return median(spent), None


def exponent(values, times):
    """Slope of log time over log value, through the larger half of the points."""
    half = len(values) // 2
    return float(np.polyfit(np.log(values[half:]), np.log(times[half:]), 1)[0])


def scaling(options):
    """Every sweep, with the exponents of their larger halves."""
    found = {}
    for axis, values in SWEEPS.items():
        points = [point(axis, value) for value in values]
        series = dict(zip(("ours", "products"), zip(*points, strict=True), strict=True))
        series = {name: times for name, times in series.items() if times[0]}
        exponents = {name: exponent(values, times) for name, times in series.items()}
        found[axis] = {"values": values, "times": series, "exponents": exponents}
        say(f"\n{axis}: exponents of the larger half, {_said(exponents)}")
        say(f"{axis:>10}" + "".join(f"{name + ', us':>16}" for name in series))
        for value, *times in zip(values, *series.values(), strict=True):
            say(f"{value:10,}" + "".join(f"{spent:16.1f}" for spent in times))
    return found


def _said(exponents):
    return ", ".join(f"{name} {slope:.2f}" for name, slope in exponents.items())
