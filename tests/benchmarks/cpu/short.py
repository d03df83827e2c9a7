"""Ours over the naive control, both in this process, in turn: ``{workload: median ratio}`` as JSON.

For a test on machines that do other work too, so only the ratio counts, with one thread, and the
bursts are short: what slows one down slows its neighbour down as much.
"""

import gc
import json
import statistics
import sys
import time
from dataclasses import replace

from .contenders.naive import naive
from .contenders.ours import ours_epochs
from .workloads import WORKLOADS

ROUNDS, SECONDS = 21, 0.01


def seconds(contender, n):
    began = time.perf_counter()
    contender.run(n)
    return (time.perf_counter() - began) / n


def burst(contender):
    """About ``SECONDS`` of steps, a multiple of what it can do."""
    contender.run(contender.multiple)
    fastest = min(seconds(contender, contender.multiple) for _ in range(3))
    return max(1, round(SECONDS / fastest / contender.multiple)) * contender.multiple


def ratio(workload):
    short = replace(workload, epoch=workload.epoch // 32 * 8)
    pair = ours_epochs(short), naive(short)
    sizes = [burst(contender) for contender in pair]
    gc.disable()
    rounds = [[seconds(c, n) for c, n in zip(pair, sizes, strict=True)] for _ in range(ROUNDS)]
    gc.enable()
    return statistics.median(ours / control for ours, control in rounds)


def main():
    print(json.dumps({name: ratio(WORKLOADS[name]) for name in sys.argv[1:]}))


if __name__ == "__main__":
    main()
