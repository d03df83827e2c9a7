"""Whole fits beside the rivals: how long, how long until an accuracy, and how much memory."""

from statistics import mean, median

from .learners import LEARNERS, LOADER, OURS
from .processes import Process
from .report import say

TARGETS = {("digits", LOADER): 0.10}
"""Ratios ours/rival that are to be reached."""


def measure(job, rounds, one_thread=False, learners=LEARNERS):
    """``(title of the job, {rival: its answers})``: ready, a first fit, and ``rounds`` more."""
    processes, fits, title = {}, {}, ""
    try:
        for name in learners:
            processes[name] = process = Process("fitter", name, job, one_thread=one_thread)
            fits[name] = [process.answer()]
            title = fits[name][0].get("job", title)
            process.rest()
        for _ in range(rounds + 1):
            for name, process in processes.items():
                if "failed" not in fits[name][-1]:
                    fits[name].append(process.ask())
    finally:
        for process in processes.values():
            process.end()
    return title, fits


def table(title, fits, job):
    """A line a rival; the first fit stands apart, as it compiles and starts threads."""
    yield f"\n{title}; milliseconds, median of the fits after the first"
    heads = f"{'median':>9}{'least':>9}{'most':>9}{'ours/it':>9}{'cores':>7}"
    yield f"{'':26}{'first':>9}{heads}{'accuracy':>10}{'epochs':>8}  target"
    ours = [fit["seconds"] for fit in fits[OURS][2:]]
    for name, found in fits.items():
        yield f"{name:26}{line(name, found, ours, job)}"


def line(name, found, ours, job):
    if "failed" in found[-1]:
        return f"left out: {found[-1]['failed']}"
    fits, seconds = found[2:], [fit["seconds"] for fit in found[2:]]
    times = [found[1]["seconds"], median(seconds), min(seconds), max(seconds)]
    ratio = median(a / b for a, b in zip(ours, seconds, strict=True))
    target = TARGETS.get((job, name))
    verdict = f"  {target:.2f} {'met' if ratio <= target else 'MISSED'}" if target else ""
    note = "  not reached" if any(fit["short"] for fit in fits) else ""
    cores = sum(fit["cpu"] for fit in fits) / sum(seconds)
    accuracy, epochs = mean(fit["accuracy"] for fit in fits), mean(fit["epochs"] for fit in fits)
    figures = "".join(f"{1e3 * time:9.1f}" for time in times)
    return f"{figures}{ratio:9.2f}{cores:7.2f}{accuracy:10.4f}{epochs:8.1f}{verdict}{note}"


def fit(options):
    """A small and a larger network."""
    found = {}
    for job, rounds in {"digits": 9, "clouds": 3}.items():
        title, found[job] = measure(job, options.fits or rounds, options.one_thread)
        say(*table(title, found[job], job))
    return found


def accuracy(options):
    """MNIST until 97 % of the test rows are right; epochs whole, as each is looked at once."""
    title, fits = measure("mnist", options.fits or 3, options.one_thread)
    if "failed" in fits[OURS][-1]:
        say(f"left out: {fits[OURS][-1]['failed']}")
    else:
        say(*table(title, fits, "mnist"))
    return fits


def memory(options):
    """The peak of a process before a fit, with its data and library, and after it."""
    title, fits = measure("clouds", 0, options.one_thread)
    say(
        f"{title}; MB, the most its process has held",
        f"{'':26}{'before':>9}{'after':>9}{'more':>9}",
    )
    for name, found in fits.items():
        if "failed" in found[-1]:
            say(f"{name:26}left out: {found[-1]['failed']}")
        else:
            before, after = (answer["peak"] for answer in found)
            say(f"{name:26}{before:9.0f}{after:9.0f}{after - before:9.0f}")
    return fits
