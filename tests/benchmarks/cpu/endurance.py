"""Many steps of the smallest workload: does a step stay as fast, and memory as it is?"""

import os
import resource
import time
from pathlib import Path
from statistics import median

import portable_nn as pnn

from .contenders.ours import layers, settings, whole_epochs
from .report import say
from .workloads import WORKLOADS

WINDOWS = 20


def held():
    """MB of memory that this process holds now; the most it has held where that is not known."""
    known = Path("/proc/self/statm")
    if known.exists():
        return int(known.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def endurance(options):
    """A window is a twentieth of the steps; the first steps stand apart, in windows of 1000."""
    workload = WORKLOADS["a"]
    x, y = workload.rows()
    training = pnn.Network(layers(workload)).start(**settings(workload))
    sizes = [1] * 10 + [max(1, options.many // workload.epoch // WINDOWS)] * WINDOWS
    rows, done = [], 0
    for size in sizes:
        began = time.perf_counter()
        whole_epochs(training, x, y, size)
        done += size * workload.epoch
        rows.append((done, 1e6 * (time.perf_counter() - began) / size / workload.epoch, held()))
    say(f"{workload}, over whole epochs", f"{'steps':>10}{'us a step':>11}{'MB':>8}")
    say(*(f"{done:>10,}{spent:11.2f}{memory:8.1f}" for done, spent, memory in rows))
    windows = [spent for _, spent, _ in rows[10:]]
    slower = median(windows[-5:]) / median(windows[:5])
    more = rows[-1][2] - rows[10][2]
    say(f"last five windows over the first five: {slower:.2f}; MB more: {more:.1f}")
    return rows
