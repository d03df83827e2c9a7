"""What the topics are given, asked of the machine that this runs on."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_info

from portable_nn.backend import get_backend
from portable_nn.doctor import _blas, _machine, _measure, _software, _variables
from portable_nn.doctor._finding import Finding
from portable_nn.doctor._limits import core_limit, memory_limit
from portable_nn.progress import Progress


def findings(*, measured: bool = False, progress: bool = False) -> list[Finding]:
    """All topics, of this machine; ``measured`` times products, which takes seconds."""
    environment, pools, config, cores = (
        dict(os.environ),
        threadpool_info(),
        np.show_config(mode="dicts"),
        _cores(),
    )
    found = _blas.library(pools, config)
    if not measured:
        found += _blas.kernels(pools, config, environment)
    found += _machine.threads(pools, cores)
    if hasattr(os, "getloadavg"):  # before anything is measured
        found += _machine.load(pools, cores, os.getloadavg()[0])
    if measured:
        found += _measured(pools, config, environment, cores, progress=progress)
    found += _memory()
    found += _variables.variables(environment, cores.usable, get_backend)
    cupy = metadata.packages_distributions().get("cupy", [])
    found += _software.gpu(
        lambda: get_backend("cupy"), environment,
        driver=shutil.which("nvidia-smi") is not None, cupy=bool(cupy),
    )  # fmt: skip
    return found + _software.caches(environment, Path.home()) + _software.versions(cupy)


def _cores() -> _machine.Cores:
    machine = os.cpu_count() or 1
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else machine
    return _machine.Cores(machine, allowed, core_limit())


def _memory() -> list[Finding]:
    """Where Linux tells; no other system says how much is free without a library."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    words = (line.replace(":", " ").split() for line in lines)
    sizes = {name: 1024 * int(size) for name, size, *_ in words}  # KiB
    return _machine.memory(sizes["MemTotal"], sizes["MemAvailable"], memory_limit())


def _measured(
    pools: _blas.Pools, config: Mapping[str, Any], environment: Mapping[str, str],
    cores: _machine.Cores, *, progress: bool,
) -> list[Finding]:  # fmt: skip
    choices = _measure.choices(pools, config, environment)
    counts = sorted({1, cores.usable})
    with Progress(_measure.ROUNDS, len(choices) * len(counts), show=progress) as bar:
        rows = _measure.measure(
            choices, counts,
            lambda choice, count: _measure.run_product(environment, choice, count),
            lambda: bar.steps(1),
        )  # fmt: skip
    now = max((pool["num_threads"] or 1 for pool in _blas.blas(pools)), default=cores.usable)
    return _measure.judged(rows, now)
