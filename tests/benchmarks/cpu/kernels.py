"""Where the time of our step goes: each call of the plan as it runs, in the order it runs."""

from collections import defaultdict
from statistics import median
from time import perf_counter

import portable_nn as pnn

from .contenders.ours import layers, settings, whole_epochs
from .report import say
from .workloads import WORKLOADS

SECONDS = 0.5


class Clock:
    """Looks on while a step runs, and notes how long each call takes."""

    def __init__(self):
        self.times, self._place = defaultdict(list), 0
        self._began = 0.0

    def restart(self):
        self._place = 0

    def before(self, calls, inputs):
        self._began = perf_counter()

    def after(self, calls, outputs):
        taken = perf_counter() - self._began
        self.times[self._place, calls[0].kernel.name, len(calls)].append(taken)
        self._place += 1

    def overhead(self):
        """Of looking on, a call."""
        twin = Clock()
        call = type("Call", (), {"kernel": pnn.kernels.add})()
        for _ in range(2000):
            twin.restart()
            twin.before((call,), ())
            twin.after((call,), ())
        return median(*twin.times.values())


def watched(workload):
    """Microseconds of each call, ``{(place, kernel, calls run as one): median}``."""
    training = pnn.Network(layers(workload)).start(**settings(workload))
    x, y = workload.rows()
    training.open(x, y)
    session, clock = training.session, Clock()
    step = session.backend.start(training.plan, session.state, workload.batch_size, watch=clock)
    session.step = lambda plan, n: step
    ends, epoch = perf_counter() + SECONDS, 0
    while perf_counter() < ends:
        for batch in training.batches(x, y, epoch, shuffle=False):
            clock.restart()
            training.step(batch)
        epoch += 1
    overhead = clock.overhead()
    return {key: 1e6 * (median(times) - overhead) for key, times in clock.times.items()}


def whole(workload):
    """Microseconds of a step over whole epochs, nobody looking on."""
    training = pnn.Network(layers(workload)).start(**settings(workload))
    x, y = workload.rows()
    spent = []
    for _ in range(5):
        began = perf_counter()
        whole_epochs(training, x, y, 1)
        spent.append(perf_counter() - began)
    return 1e6 * median(spent) / workload.epoch


def table(calls, total):
    """A line a kernel, the longest first; then what is between the calls."""
    kernels = defaultdict(list)
    for (_, name, merged), spent in calls.items():
        kernels[name].append((merged, spent))
    yield f"{'kernel':26}{'calls':>7}{'run as':>8}{'us':>10}{'share':>8}"
    for name, found in sorted(kernels.items(), key=lambda item: -sum(s for _, s in item[1])):
        spent, count = sum(spent for _, spent in found), sum(merged for merged, _ in found)
        yield f"{name:26}{count:7}{len(found):8}{spent:10.2f}{spent / total:8.1%}"
    rest = total - sum(calls.values())
    yield f"{'between calls':26}{'':15}{rest:10.2f}{rest / total:8.1%}"
    yield f"{'step, over whole epochs':26}{'':15}{total:10.2f}"


def kernels(options):
    """For each workload."""
    raw = {}
    for name in options.workloads:
        workload = WORKLOADS[name]
        calls, total = watched(workload), whole(workload)
        say(f"\n{workload}", *table(calls, total))
        raw[name] = {"step": total, "calls": [[*key, spent] for key, spent in calls.items()]}
    return raw
