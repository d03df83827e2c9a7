"""The one ``backend`` fixture; a summary of the ways that were skipped, and of sizes of code."""

import os
from collections import Counter

os.environ["JAX_ENABLE_X64"] = "1"  # before anything imports jax: float64 is tested too
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # on small matrices threads get in the way
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # leave GPU memory to others

import budgets
import pytest
import ways

from portable_nn import get_backend


def pytest_configure(config):
    ways.required()  # complain about a misspelt way now, not never


@pytest.fixture(params=list(ways.WAYS))
def backend(request):
    """Each way of running a plan; see ``ways.py``."""
    return ways.open_way(request.param)


@pytest.fixture
def alone(backend, monkeypatch):
    """Each way, where no plan may start on the NumPy backend beside it."""
    numpy = type(get_backend("numpy"))

    def refuse(*arguments):
        pytest.fail(f"a plan of {backend!r} started on NumPy", pytrace=False)

    if not isinstance(backend, numpy):
        monkeypatch.setattr(numpy, "start", refuse)
    return backend


def pytest_terminal_summary(terminalreporter):
    terminalreporter.section("sizes of additions")
    found, shared = budgets.sizes()
    for line in budgets.table(found, most=3):
        terminalreporter.line(line)
    terminalreporter.line(f"shared by two or more: {sum(shared.values())} statements")
    report_ways(terminalreporter)


def report_ways(terminalreporter):
    reasons = Counter(
        report.longrepr[2].removeprefix("Skipped: ")
        for report in terminalreporter.stats.get("skipped", [])
    )
    if not ways.opened and not reasons:
        return
    terminalreporter.section("ways of running a plan")
    terminalreporter.line(f"tested: {', '.join(ways.opened) or 'none'}")
    for reason, count in reasons.items():
        terminalreporter.line(f"NOT TESTED ({count} skipped) {reason}", yellow=True)
