"""Where and with what something was measured, in lines."""

import os
import platform
import sys
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = ["numpy", "scipy", "torch", "jax", "scikit-learn", "thinc", "keras"]


def today():
    return f"{datetime.now(UTC):%Y-%m-%d}"


def load():
    return f"{os.getloadavg()[0]:.2f}" if hasattr(os, "getloadavg") else "unknown"


def warnings():
    """What makes figures that are not to be quoted."""
    if load() == "unknown" or float(load()) <= threads() / 4:
        return []
    return [
        "WARNING: other work is running. Threads that wait for each other, NumPy's and torch's, "
        "can then be a hundred times slower; do not quote these figures."
    ]


def processor():
    known = Path("/proc/cpuinfo")
    lines = known.read_text().splitlines() if known.exists() else []
    model = next((line.split(": ")[1] for line in lines if "model name" in line), None)
    return model or platform.processor() or platform.machine()


def threads():
    """How many may run at a time here."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count()


def numpy_blas():
    """NumPy's matrix products: library, version, and the kind of processor that it took."""
    import numpy as np

    try:
        from threadpoolctl import threadpool_info
    except ImportError:
        built = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
        return f"{built['name']} {built['version']}, core type unknown without threadpoolctl"
    np.ones((2, 2)) @ np.ones((2, 2))
    found = [
        f"{pool['internal_api']} {pool['version']} core {pool.get('architecture', 'unknown')}, "
        f"{pool['num_threads']} threads"
        for pool in threadpool_info()
        if pool["user_api"] == "blas"
    ]
    return "; ".join(found) or "unknown to threadpoolctl"


def named(package):
    try:
        return f"{package} {version(package)}"
    except PackageNotFoundError:
        return f"no {package}"


def description():
    import portable_nn

    ours = f"Python {platform.python_version()}, portable-nn {portable_nn.__version__}"
    return [
        f"Command: python -m tests.benchmarks.cpu {' '.join(sys.argv[1:])}".rstrip(),
        f"Date: {today()}. CPU: {processor()}, {threads()} cores, load before {load()}.",
        f"Products of NumPy: {numpy_blas()}.",
        ", ".join([ours, *map(named, PACKAGES)]),
        *warnings(),
    ]
