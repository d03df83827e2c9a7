"""The one ``backend`` fixture; a summary of the ways that were skipped, and of sizes of code."""

import os
from collections import Counter
from contextlib import suppress

os.environ["JAX_ENABLE_X64"] = "1"  # before anything imports jax: float64 is tested too
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # on small matrices threads get in the way
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # leave GPU memory to others

import budgets
import pytest
import ways

from portable_nn import get_backend

LEFT_OUT = pytest.StashKey[Counter]()
"""By reason: how many tests are left out, as another one is there to be skipped for it."""


def pytest_configure(config):
    ways.required()  # complain about a misspelt way now, not never
    config.stash[LEFT_OUT] = Counter()


def way_of(item):
    """The way that the ``backend`` fixture will open for a test; None if it takes none."""
    for mark in item.iter_markers("parametrize"):
        if "backend" in mark.args[0] and not mark.kwargs.get("indirect"):
            return None  # an argument of this name, which is no way
    return item.callspec.params.get("backend") if hasattr(item, "callspec") else None


@pytest.hookimpl(trylast=True)  # of what -k and -m have left
def pytest_collection_modifyitems(config, items):
    """Of a way that is missing here one test stays, to be skipped; the others are counted."""
    if config.option.collectonly:
        return
    kept, others, said, reasons = [], [], config.stash[LEFT_OUT], {None: None}
    for item in items:
        way = way_of(item)
        if way not in reasons:
            reasons[way] = None
            with suppress(Exception):  # of a way that is broken, every test is to say so
                reasons[way] = ways.why_skipped(way)
        reason = reasons[way]
        (others if reason in said else kept).append(item)
        if reason:
            said[reason] = said[reason] + 1 if reason in said else 0
    items[:] = kept
    config.hook.pytest_deselected(items=others)


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
    reasons += terminalreporter.config.stash[LEFT_OUT]
    if not ways.opened and not reasons:
        return
    terminalreporter.section("ways of running a plan")
    terminalreporter.line(f"tested: {', '.join(ways.opened) or 'none'}")
    for reason, count in reasons.items():
        terminalreporter.line(f"NOT TESTED ({count} skipped) {reason}", yellow=True)
