"""What parity checks cost: nothing when off, and how long a checked training takes.

Run it on a quiet machine, with OPENBLAS_CORETYPE and OPENBLAS_L2_SIZE unset:
``env -u OPENBLAS_CORETYPE -u OPENBLAS_L2_SIZE python tests/benchmarks/parity.py``.
The network is 20-64-64-10 with ReLU, batches of 128, Adam. Off means what every user runs: a
step that is started without a watch. Beside it, in turn, one whose backend is wrapped by
parity, in steps that are not looked at. Whole checks run once, after a first one that warms up.
"""

import platform
import statistics
import sys
import time
from datetime import date

import numpy as np

import portable_nn as pnn
from portable_nn import parity
from portable_nn.backend import get_backend
from portable_nn.datasets import load_digits
from portable_nn.parity._recorder import Recorder
from portable_nn.parity._watched import Agenda, Watched

X, Y = load_digits()
X = X[:, 20:40]
ROUNDS, STEPS, CHECKED = 41, 200, 60


def training(backend):
    """A training and one of its batches."""
    network = pnn.Network(pnn.mlp([64, 64], outputs=10))
    begun = network.start(loss="cross_entropy", batch_size=128, backend=backend)
    batch = next(begun.batches(X, Y, epoch=0))
    begun.step(batch)
    return begun, batch


def functions(backend, watch):
    """The names of the functions that one step is bound to."""
    begun, _ = training(backend)
    step = backend.start(begun.plan, begun.session.state, 128, watch=watch)
    return [getattr(function, "__name__", "") for ops in step._ops.values() for function, _ in ops]


class Look:
    def before(self, calls, inputs): ...

    def after(self, calls, outputs): ...


def seconds(begun, batch):
    began = time.perf_counter()
    for _ in range(STEPS):
        begun.step(batch)
    return (time.perf_counter() - began) / STEPS


def off():
    """Microseconds a step: as users run it, and through an idle recorder."""
    backend = get_backend("numpy")
    idle = Watched(backend, Recorder(), Agenda(1, watch=[1]))
    pairs = [training(backend), training(idle)]
    times = [[seconds(*pair) for pair in pairs] for _ in range(ROUNDS)]
    return [statistics.median(column) * 1e6 for column in zip(*times, strict=True)]


def checked(backend, **options):
    began = time.perf_counter()
    report = parity.check_training(
        pnn.mlp([64, 64], outputs=10), X, Y, loss="cross_entropy", backend=backend, steps=CHECKED,
        **options,
    )  # fmt: skip
    assert report.ok, report.verdict
    return time.perf_counter() - began


def here(name):
    try:
        return get_backend(name)
    except pnn.BackendError as error:
        print(f"{name}: {error}")
        return None


def main():
    print(f"Date: {date.today()}. {platform.processor() or platform.machine()}, Python", end=" ")
    print(f"{platform.python_version()}, NumPy {np.__version__}.")
    print(f"Command: {' '.join(['python', *sys.argv])}")
    backend = get_backend("numpy")
    plain, watched = functions(backend, None), functions(backend, Look())
    extra = len(watched) - len([name for name in watched if name not in ("before", "after")])
    assert plain == [name for name in watched if name not in ("before", "after")]
    print(f"\nBound functions of a step without a watch: {len(plain)}; with one: {extra} more,")
    print("which are before and after of each call; the others are the same, in the same order.")
    alone, idle = off()
    print(f"\nMicroseconds a training step on NumPy, medians of {ROUNDS} x {STEPS} in turn:")
    print(f"off {alone:.1f}, inside an idle recorder {idle:.1f} ({idle / alone:.3f})")
    print(f"\nSeconds for {CHECKED} checked steps:")
    print(f"{'':8} {'8 sampled':>10} {'all looked at':>14} {'with trajectory':>16}")
    for place in filter(None, map(here, ("numpy", "torch", "jax"))):
        checked(place)
        times = [checked(place), checked(place, watch=range(1, CHECKED + 1))]
        times.append(checked(place, trajectory=True))
        print(f"{place.name:8} {times[0]:10.2f} {times[1]:14.2f} {times[2]:16.2f}")


if __name__ == "__main__":
    main()
