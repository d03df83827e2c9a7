"""What is faster here: other kernels of OpenBLAS, one thread or all; by measuring it."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from portable_nn.doctor._blas import LEVELS, Pools, level, openblas
from portable_nn.doctor._finding import Finding
from portable_nn.doctor._machine import use_threads
from portable_nn.doctor._product import COLUMNS, INNER, ROWS
from portable_nn.doctor._variables import THREADS

ROUNDS = 5
PATIENCE = 60.0
"""Seconds for one process; it takes one, and a few where NumPy has no BLAS."""
PRODUCT = f"{ROWS} x {INNER} times {INNER} x {COLUMNS}, float32"
CORE = "OPENBLAS_CORETYPE"
COMMAND = [sys.executable, "-P", str(Path(__file__).with_name("_product.py"))]

Sample = tuple[str | None, float, float]
"""The kernels that BLAS took, and seconds of a product in one process: the least, the median."""


@dataclass(frozen=True)
class Row:
    """Seconds of a product by one choice of kernels, with one number of threads, each round.

    ``choice`` is the value of OPENBLAS_CORETYPE: ``""`` unset, None whatever it is now. ``least``
    tells kernels apart, as other programs only add to it; ``usual`` is what one gets beside them.
    """

    choice: str | None
    core: str | None
    threads: int
    least: list[float] = field(default_factory=list)
    usual: list[float] = field(default_factory=list)

    def add(self, sample: Sample | None) -> None:
        """One more round; one that failed took for ever."""
        _, least, usual = sample or (None, math.inf, math.inf)
        self.least.append(least)
        self.usual.append(usual)

    def __str__(self) -> str:
        seconds = median(self.least)
        spread = f"{1e3 * min(self.least):.2f} to {1e3 * max(self.least):.2f}"
        rate = f"{2e-9 * ROWS * INNER * COLUMNS / seconds:.0f} GFLOP/s"
        now = " as it is" if self.choice is None else ""
        return f"{self.core or 'BLAS'}{now} {1e3 * seconds:.2f} ms ({spread}, {rate})"


def choices(
    pools: Pools, config: Mapping[str, Any], environment: Mapping[str, str]
) -> list[str | None]:
    """The values of OPENBLAS_CORETYPE to try, as it is now first."""
    widest = level(config)
    if widest is None or openblas(pools) is None:
        return [None]
    fitting = [one.core for one in LEVELS[LEVELS.index(widest) :]]
    return [None, *([""] if CORE in environment else []), *fitting]


def measure(
    choices: Sequence[str | None],
    counts: Sequence[int],
    sample: Callable[[str | None, int], Sample | None],
    step: Callable[[], None],
    rounds: int = ROUNDS,
) -> list[Row]:
    """Time each choice with each number of threads, in turns; ``sample`` times one.

    Choices that turn out to be kernels already timed, or that do not run, are left out.
    """
    rows: list[Row] = []
    for choice in choices:
        for count in counts:
            first = sample(choice, count)
            step()
            if first and (first[0], count) not in [(row.core, row.threads) for row in rows]:
                rows.append(Row(choice, first[0], count))
                rows[-1].add(first)
    for _ in range(rounds - 1):
        for row in rows:
            row.add(sample(row.choice, row.threads))
            step()
    return rows


def run_product(environment: Mapping[str, str], choice: str | None, threads: int) -> Sample | None:
    """Time a product in a process of its own; None if it fails there, or does not end."""
    changed = {**environment, **dict.fromkeys(THREADS, str(threads))}
    if choice is not None:
        changed.pop(CORE, None)
    if choice:
        changed[CORE] = choice
    try:
        done = subprocess.run(COMMAND, env=changed, capture_output=True, timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        return None
    if done.returncode:
        return None
    core, least, usual = json.loads(done.stdout)
    return core, least, usual


FASTER = 1.1
"""Times as fast, from which on it is worth a change; medians of a noisy machine differ by less."""


def judged(rows: Sequence[Row], now: int) -> list[Finding]:
    """What the figures say, where products run on ``now`` threads unless told otherwise."""
    counts = sorted({row.threads for row in rows})
    by_count = [[row for row in rows if row.threads == count] for count in counts]
    known = [group for group in by_count if group[0].choice is None]
    if not known:
        what = "a product of two matrices fails here, or does not end, in a process of its own"
        return [Finding("measured", what, fine=False, do=f"see why: {' '.join(COMMAND)}")]
    return [_kernels(group) for group in known] + _threads([group[0] for group in known], now)


def _kernels(rows: Sequence[Row]) -> Finding:
    """Of one number of threads; the first row is as it is now."""
    count = rows[0].threads
    what = f"{PRODUCT}, {count} thread{'s' * (count > 1)}: {', '.join(map(str, rows))}"
    fastest = min(rows, key=lambda row: median(row.least))
    equal = (row for row in rows if not _faster(fastest.least, row.least))
    best = next(equal)  # the smallest change
    if best is rows[0]:
        return Finding("measured", what)
    do = f"unset {CORE}" if best.choice == "" else f"set {CORE}={best.choice}, before Python starts"
    return Finding("measured", what, fine=False, do=do)


def _threads(rows: Sequence[Row], now: int) -> list[Finding]:
    """Of the kernels that are in use: one thread against all."""
    if len(rows) < 2:
        return []
    one, every = (row.usual for row in rows)
    count = rows[1].threads
    took = f"{1e3 * median(every):.2f} ms on {count} threads, {1e3 * median(one):.2f} on 1"
    what = f"the same as other programs let it: {took}"
    if now > 1 and _faster(one, every):
        return [Finding("measured", what, fine=False, do=use_threads(1))]
    more = f"for networks as wide as this, or wider: {use_threads(count)}"
    return [Finding("measured", what, do=more if now == 1 and _faster(every, one) else None)]


def _faster(seconds: Sequence[float], others: Sequence[float]) -> bool:
    """In every round, and by enough."""
    enough = median(others) >= FASTER * median(seconds)
    return enough and all(mine < its for mine, its in zip(seconds, others, strict=True))
