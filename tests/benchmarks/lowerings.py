"""What each NumPy lowering is worth: its time over that of the meaning it replaces.

Run it on a quiet machine, with OPENBLAS_CORETYPE and OPENBLAS_L2_SIZE unset:
``env -u OPENBLAS_CORETYPE -u OPENBLAS_L2_SIZE python tests/benchmarks/lowerings.py``.
The meaning is timed with the copy into place that a step without the lowering would make.
Both alternate within one run; the figures are medians, in microseconds, one step's call.
"""

import statistics
import time

import numpy as np

from portable_nn_numpy import LOWERINGS
from portable_nn_numpy.lowering import Scratch, lower
from portable_nn_numpy.memory import BoundCall

ROUNDS, SECONDS = 31, 2e-3
RNG = np.random.default_rng(0)


def normal(*shape):
    return RNG.standard_normal(shape, dtype=np.float32)


def scalar(value):
    return np.asarray(value, np.float32)


def inputs(n, features, units, classes=10):
    """Inputs of every lowered kernel for one dense layer of this size, as a step holds them."""
    wide, flat, few = (n, units), (features * units,), (classes, n)
    adam = [normal(*flat), normal(*flat), normal(*flat), normal(*flat) ** 2]
    hyper = [scalar(value) for value in (0.9, 0.1, 0.999, 0.001, 1e-3, 1e-8)]
    labels, ones = RNG.integers(0, classes, (n, 1)), np.ones((n, 1), np.float32)
    pair = [normal(*wide), normal(*wide)]
    codes, table = RNG.integers(0, features, (n, 1)).astype(np.float32), normal(features, units)
    return {
        "adam": adam + hyper,
        "adamw": [*adam, *hyper, scalar(1e-5)],
        "add": pair,
        "cross_entropy": [normal(*few).T, labels, ones, scalar(1 / n)],
        "embedding": [codes, table],
        "embedding_grad": [codes, pair[0], table],
        "linear": [normal(n, features), normal(features, units), normal(units)],
        "linear_grad_bias": pair[:1],
        "linear_grad_input": [pair[0], normal(features, units)],
        "linear_grad_weight": [normal(n, features), pair[0]],
        "mean_squared_error": [normal(*few).T, normal(*few).T, ones, scalar(1 / n)],
        "momentum": [*adam[:3], scalar(0.9), scalar(1e-3)],
        "multiply": pair,
        "nesterov": [*adam[:3], scalar(0.9), scalar(1e-3)],
        "relu": pair[:1],
        "relu_backward": pair,
        "rmsprop": [*adam[:2], adam[3], *[scalar(value) for value in (0.9, 0.1, 1e-3, 1e-8)]],
        "sgd": [*adam[:2], scalar(1e-3)],
        "sigmoid": pair[:1],
        "sigmoid_backward": pair,
        "softmax": [normal(*few).T],
        "softmax_backward": [normal(*few).T, normal(*few).T],
        "take_rows": [normal(8 * n, features), RNG.integers(0, 8 * n, n)],
        "tanh": pair[:1],
        "tanh_backward": pair,
    }


def bound(call, lowered):
    """The call as a function, through its lowering or through its meaning."""
    known = dict(LOWERINGS)
    if not lowered:
        del LOWERINGS[call.kernel]
    try:
        operations = lower(call, Scratch())
    finally:
        LOWERINGS.update(known)

    def run():
        for function, arguments in operations:
            function(*arguments)

    return run


def seconds(run, times):
    began = time.perf_counter()
    for _ in range(times):
        run()
    return (time.perf_counter() - began) / times


def compare(kernel, arrays):
    """Median seconds of the meaning and of the lowering, measured in turn."""
    values = kernel.meaning(np, *arrays)
    outputs = [np.array(v) for v in (values if isinstance(values, tuple) else (values,))]
    call = BoundCall(kernel, arrays, outputs, {})
    runs = [bound(call, lowered) for lowered in (False, True)]
    times = max(1, int(SECONDS / seconds(runs[0], 3)))
    samples = [[seconds(run, times) for run in runs] for _ in range(ROUNDS)]
    return [statistics.median(column) for column in zip(*samples, strict=True)]


def main():
    print(f"{'kernel':20} {'rows x in x out':>16} {'meaning':>9} {'lowered':>9} {'ratio':>6}")
    for size in [(64, 64, 128), (256, 784, 512)]:
        cases = inputs(*size)
        for kernel in sorted(LOWERINGS, key=lambda kernel: kernel.name):
            meaning, lowered = compare(kernel, cases[kernel.name])
            shape = " x ".join(map(str, size))
            figures = f"{meaning * 1e6:9.1f} {lowered * 1e6:9.1f} {lowered / meaning:6.2f}"
            print(f"{kernel.name:20} {shape:>16} {figures}")


if __name__ == "__main__":
    main()
