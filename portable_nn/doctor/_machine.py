"""Cores, threads, load and memory."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from portable_nn.doctor._blas import MEASURE, Pools, blas
from portable_nn.doctor._finding import Finding


@dataclass(frozen=True)
class Cores:
    """Those of the machine, those this process may run on, and how much of their time."""

    machine: int
    allowed: int
    limit: float | None = None

    @property
    def usable(self) -> int:
        """How many threads can run at once."""
        return min(self.allowed, math.ceil(self.limit)) if self.limit else self.allowed

    def __str__(self) -> str:
        limited = f", of which a container allows {self.limit:g}" if self.limit else ""
        return f"{self.allowed} of {self.machine} cores{limited}"


def threads(pools: Pools, cores: Cores) -> list[Finding]:
    """Whether BLAS starts as many threads as can run."""
    what = f"this process may use {cores}"
    counts = [pool["num_threads"] for pool in blas(pools) if pool["num_threads"]]
    if not counts:
        return [Finding("threads", what)]
    count = max(counts)
    what = f"BLAS uses {count}; {what}"
    if count > cores.usable:
        return [Finding("threads", what, fine=False, do=use_threads(cores.usable))]
    more = f"large networks may gain from more threads: {MEASURE}" if count < cores.usable else None
    return [Finding("threads", what, do=more)]


def use_threads(count: int) -> str:
    """How one gets so many threads."""
    python = f'get_backend("numpy", threads={count})'
    return f"portable-nn train --threads {count}, {python} or OMP_NUM_THREADS={count}"


CROWDED = 1.25
"""Threads a core, other programs' included, beyond which the threads of a product wait."""


def load(pools: Pools, cores: Cores, average: float) -> list[Finding]:
    """Whether other programs keep the cores busy; ``average`` is of the last minute.

    That may have been a training of one's own: below a thread a core there is only advice.
    """
    what = f"load average {average:.1f} of the last minute, on {cores.machine} cores"
    count = max((pool["num_threads"] or 1 for pool in blas(pools)), default=1)
    if count == 1 or average + count <= CROWDED * cores.machine:
        return [Finding("load", what)]
    what = f"{what}; beside that, the {count} threads of a product wait for each other"
    own = "NumPy's products take one thread by themselves while all are slower"
    do = f"end what else runs. {own}; or always: {use_threads(1)}"
    return [Finding("load", what, fine=average <= CROWDED * cores.machine, do=do)]


GIB = 2**30


def memory(total: int, available: int, limits: Sequence[tuple[int, int]] = ()) -> list[Finding]:
    """How much memory there is, in bytes; ``limits`` are those of groups, and what they leave."""
    total = min([total, *(limit for limit, _ in limits)])
    available = min([available, *(free for _, free in limits)])
    what = f"{available / GIB:.1f} of {total / GIB:.1f} GiB are free"
    if available >= total / 10:
        return [Finding("memory", what)]
    do = "end what holds it, or train with a smaller batch_size, or fit(micro_batch_size=...)"
    return [Finding("memory", what, fine=False, do=do)]
