"""What the topics are given, asked of the machine that this runs on."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_info

from portable_nn.backend import get_backend
from portable_nn.doctor import _blas, _machine, _measure, _software, _variables
from portable_nn.doctor._finding import Finding
from portable_nn.doctor._limits import core_limit, memory_limits
from portable_nn.progress import Progress


def findings(*, measured: bool = False, progress: bool = False) -> list[Finding]:
    """All topics, of this machine; ``measured`` times products, which takes seconds."""
    environment, pools, config, cores = (
        dict(os.environ),
        threadpool_info(),
        np.show_config(mode="dicts"),
        _cores(),
    )
    cupy = metadata.packages_distributions().get("cupy", [])
    driver = shutil.which("nvidia-smi") is not None
    topics: dict[str, Callable[[], list[Finding]]] = {
        "BLAS": lambda: _blas.library(pools, config),
        "kernels": lambda: _blas.kernels(pools, config, environment),
        "threads": lambda: _machine.threads(pools, cores),
        "load": lambda: _load(pools, cores),  # before anything is measured
        "measured": lambda: _measured(pools, config, environment, cores, progress=progress),
        "memory": _memory,
        "variables": lambda: _variables.variables(environment, cores.usable, get_backend),
        "GPU": lambda: _software.gpu(
            lambda: get_backend("cupy"), environment, driver=driver, cupy=bool(cupy)
        ),
        "cache": lambda: _software.caches(environment, _home()),
        "versions": lambda: _software.versions(cupy),
    }
    del topics["kernels" if measured else "measured"]
    return [one for topic, look in topics.items() for one in _looked(topic, look)]


def _looked(topic: str, look: Callable[[], list[Finding]]) -> list[Finding]:
    """The findings, or why there are none: a machine that is ill gets the rest of its report."""
    try:
        return look()
    except Exception as error:
        what = f"cannot be looked at here: {type(error).__name__}: {error}"
        return [Finding(topic, " ".join(what.split()), do="nothing, but please report it")]


def _home() -> Path | None:
    try:
        return Path.home()
    except RuntimeError:  # a user that the system does not know, as in some containers
        return None


def _cores() -> _machine.Cores:
    machine = os.cpu_count() or 1
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else machine
    return _machine.Cores(machine, allowed, core_limit())


def _load(pools: _blas.Pools, cores: _machine.Cores) -> list[Finding]:
    if not hasattr(os, "getloadavg"):
        return []
    return _machine.load(pools, cores, os.getloadavg()[0])


def _memory(file: Path = Path("/proc/meminfo")) -> list[Finding]:
    """Where Linux tells; no other system says how much is free without a library."""
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    words = (line.replace(":", " ").split() for line in lines)
    sizes = {name: 1024 * int(size) for name, size, *_ in words}  # KiB
    if not {"MemTotal", "MemAvailable"} <= sizes.keys():  # Linux before 3.14
        return []
    return _machine.memory(sizes["MemTotal"], sizes["MemAvailable"], memory_limits())


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
