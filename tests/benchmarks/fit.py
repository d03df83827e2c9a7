"""Whole fits beside other libraries: the same network, optimizer, batches, epochs and data.

Run it on a quiet machine:
``env -u OPENBLAS_CORETYPE -u OPENBLAS_L2_SIZE python tests/benchmarks/fit.py``.
Rivals that are not installed are left out by name: ``pip install scikit-learn torch jax keras
thinc`` brings them all.

A fit is timed from host arrays to a trained network. Every library first fits once; that time
stands apart, as it holds what is done once a process: compiling, starting threads. Then all
fit in turn, from a new seed each round. Each hand-written loop is the fastest plain one known
for its library; unlike ``Network.fit`` it keeps no losses and looks for no NaN. ``cores`` is
CPU time over wall time; accuracy is the mean over the rounds, on rows not trained on.
"""

import argparse
import gc
import os
import platform
import statistics
import subprocess
import sys
import time
import warnings
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from itertools import pairwise
from pathlib import Path

import numpy as np

import portable_nn as pnn
from portable_nn.datasets import load_digits, split

BY_HAND = ["OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"]  # NumPy's matrix products, and only those
ONE_THREAD = {
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "NPROC": "1",  # XLA's thread pools
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false",
}
THREADS = {"threads: each library's default": {}, "one thread each": ONE_THREAD}
PACKAGES = ["numpy", "scikit-learn", "torch", "jax", "keras", "thinc"]
RATE = 1e-3


@dataclass(frozen=True)
class Job:
    """What is to be learned, and how; ``data`` is x, y and the rows to test on, x and y."""

    sizes: tuple[int, ...]
    batch_size: int
    epochs: int
    rounds: int
    data: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]

    def __str__(self):
        sizes, rows = "-".join(map(str, self.sizes)), len(self.data[0])
        how = f"{rows:,} rows, batches of {self.batch_size}, epochs: {self.epochs}"
        return f"{sizes} ReLU, Adam({RATE}), {how}; median of {self.rounds} fits"


def blobs(rows, features=784, classes=10):
    """Normal clouds around a random centre for each class."""
    random = np.random.default_rng(0)
    y = random.integers(0, classes, rows)
    centers = 0.1 * random.standard_normal((classes, features), np.float32)
    return centers[y] + random.standard_normal((rows, features), np.float32), y


def jobs():
    digits = split(*load_digits())
    return [
        Job((64, 128, 64, 10), 64, 10, 9, digits),
        Job((64, 256, 128, 10), 64, 10, 9, digits),
        Job((784, 512, 512, 10), 128, 1, 5, split(*blobs(12_500))),
    ]


# Each rival takes a job and returns ``fit(seed)``, which returns ``predict(x) -> labels``.


def portable_nn(job):
    x, y, _, _ = job.data

    def fit(seed):
        network = pnn.Network(pnn.mlp(job.sizes[1:-1], outputs=job.sizes[-1]))
        network.fit(
            x,
            y,
            loss="cross_entropy",
            optimizer=pnn.Adam(RATE),
            batch_size=job.batch_size,
            epochs=job.epochs,
            seed=seed,
            backend="numpy",
            progress=False,
        )
        return network.predict

    return fit


def scikit_learn(job):
    from sklearn.neural_network import MLPClassifier

    x, y, _, _ = job.data

    def fit(seed):
        network = MLPClassifier(
            job.sizes[1:-1],
            alpha=0.0,
            batch_size=job.batch_size,
            learning_rate_init=RATE,
            max_iter=job.epochs,
            n_iter_no_change=job.epochs + 1,  # so that it does not stop early
            random_state=seed,
        )
        return network.fit(x, y).predict

    return fit


def torch_eager(job):
    import torch
    from torch.nn.functional import cross_entropy

    def fit(seed):
        torch.manual_seed(seed)
        x, y = map(torch.from_numpy, job.data[:2])
        layers = [(torch.nn.Linear(*sizes), torch.nn.ReLU()) for sizes in pairwise(job.sizes)]
        network = torch.nn.Sequential(*[layer for pair in layers for layer in pair][:-1])
        adam = torch.optim.Adam(network.parameters(), RATE, fused=True)
        for _ in range(job.epochs):
            order = torch.randperm(len(x))  # one gather an epoch: views are faster than batches
            batches = (values[order].split(job.batch_size) for values in (x, y))
            for batch_x, batch_y in zip(*batches, strict=True):
                adam.zero_grad()
                cross_entropy(network(batch_x), batch_y).backward()
                adam.step()

        def predict(x):
            with torch.no_grad():
                return network(torch.from_numpy(x)).argmax(1).numpy()

        return predict

    return fit


def glorot(job, random):
    """First weights and biases on the host, as this library draws them."""
    for rows, columns in pairwise(job.sizes):
        limit = np.sqrt(6 / (rows + columns))
        yield random.uniform(-limit, limit, (rows, columns)).astype(np.float32)
        yield np.zeros(columns, np.float32)


def jax_jit(job, whole_epochs):
    """JAX with a hand-written Adam; a call of the compiled function is a step, or an epoch."""
    import jax
    from jax import numpy as jnp

    def forward(weights, x):
        *hidden, last = zip(weights[::2], weights[1::2], strict=True)
        for weight, bias in hidden:
            x = jax.nn.relu(x @ weight + bias)
        return x @ last[0] + last[1]

    def loss(weights, x, y):
        chances = jax.nn.log_softmax(forward(weights, x))
        return -jnp.take_along_axis(chances, y[:, None], 1).mean()

    def step(state, x, y):
        weights, first, second, count = state
        grads, count = jax.grad(loss)(weights, x, y), count + 1
        first = [0.9 * m + 0.1 * g for m, g in zip(first, grads, strict=True)]
        second = [0.999 * v + 0.001 * g * g for v, g in zip(second, grads, strict=True)]
        rate, size = RATE / (1 - 0.9**count), 1 / (1 - 0.999**count)
        moves = [rate * m / (jnp.sqrt(v * size) + 1e-8) for m, v in zip(first, second, strict=True)]
        weights = [w - move for w, move in zip(weights, moves, strict=True)]
        return weights, first, second, count

    def epoch(state, x, y, order):
        whole = len(order) // job.batch_size * job.batch_size
        batches = order[:whole].reshape(-1, job.batch_size)
        state, _ = jax.lax.scan(lambda s, rows: (step(s, x[rows], y[rows]), None), state, batches)
        rest = order[whole:]
        return step(state, x[rest], y[rest]) if len(rest) else state

    step_jit, epoch_jit = jax.jit(step, donate_argnums=0), jax.jit(epoch, donate_argnums=0)

    def epoch_by_steps(state, x, y, order):
        x, y = x[order], y[order]
        for start in range(0, len(order), job.batch_size):
            rows = slice(start, start + job.batch_size)
            state = step_jit(state, x[rows], y[rows])
        return state

    def fit(seed):
        random, (x, y, _, _) = np.random.default_rng(seed), job.data
        weights = [jnp.asarray(values) for values in glorot(job, random)]
        state = weights, *([jnp.zeros_like(w) for w in weights] for _ in range(2)), jnp.float32(0)
        if whole_epochs:
            x, y = jnp.asarray(x), jnp.asarray(y)
        for _ in range(job.epochs):
            order = random.permutation(len(x)).astype(np.int32)
            state = (epoch_jit if whole_epochs else epoch_by_steps)(state, x, y, order)
        jax.block_until_ready(state)
        return lambda x: np.asarray(forward(state[0], x)).argmax(1)

    return fit


def keras_on_jax(job):
    """One model, compiled once, put back to new weights before each fit."""
    os.environ["KERAS_BACKEND"] = "jax"
    import keras

    hidden = [keras.layers.Dense(size, "relu") for size in job.sizes[1:-1]]
    network = keras.Sequential([*hidden, keras.layers.Dense(job.sizes[-1])])
    network.build((None, job.sizes[0]))
    adam = keras.optimizers.Adam(RATE)
    network.compile(adam, keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    adam.build(network.trainable_variables)
    unused = [variable.numpy() for variable in adam.variables]
    x, y, _, _ = job.data

    def fit(seed):
        keras.utils.set_random_seed(seed)  # of the order
        network.set_weights(list(glorot(job, np.random.default_rng(seed))))
        for variable, value in zip(adam.variables, unused, strict=True):
            variable.assign(value)
        network.fit(x, y, batch_size=job.batch_size, epochs=job.epochs, verbose=0)
        return lambda x: network.predict(x, verbose=0).argmax(1)

    return fit


def thinc(job):
    from thinc import api

    def fit(seed):
        api.fix_random_seed(seed)
        x, classes = job.data[0], np.eye(job.sizes[-1], dtype=np.float32)
        y = classes[job.data[1]]
        hidden = [api.Relu(size) for size in job.sizes[1:-1]]
        network = api.chain(*hidden, api.Softmax(job.sizes[-1])).initialize(x[:2], y[:2])
        adam = api.Adam(RATE, L2=0.0, grad_clip=0.0)
        for _ in range(job.epochs):
            for batch_x, batch_y in network.ops.multibatch(job.batch_size, x, y, shuffle=True):
                chances, backward = network.begin_update(batch_x)
                backward((chances - batch_y) / len(batch_x))
                network.finish_update(adam)
        return lambda x: network.predict(x).argmax(1)

    return fit


LIBRARIES = {
    "portable_nn, numpy": portable_nn,
    "scikit-learn": scikit_learn,
    "torch, eager": torch_eager,
    "jax.jit, steps": partial(jax_jit, whole_epochs=False),
    "jax.jit, epochs": partial(jax_jit, whole_epochs=True),
    "keras on jax": keras_on_jax,
    "thinc": thinc,
}


@dataclass(frozen=True)
class Fitted:
    seconds: float
    cpu_seconds: float
    accuracy: float


def timed(fit, seed, job):
    gc.collect()
    began, cpu_began = time.perf_counter(), time.process_time()
    predict = fit(seed)
    seconds, cpu_seconds = time.perf_counter() - began, time.process_time() - cpu_began
    return Fitted(seconds, cpu_seconds, float(np.mean(predict(job.data[2]) == job.data[3])))


def prepared(job):
    """``{library: fit}`` of those that are installed."""
    fits = {}
    for name, library in LIBRARIES.items():
        try:
            fits[name] = library(job)
        except ImportError as error:
            print(f"{name} is left out: {error}")
    return fits


def compare(job):
    fits = prepared(job)
    firsts = {name: timed(fit, 0, job) for name, fit in fits.items()}
    found = {name: [] for name in fits}
    for seed in range(1, job.rounds + 1):
        for name, fit in fits.items():
            found[name].append(timed(fit, seed, job))
    report(firsts, found)


def report(firsts, found):
    """A line a library; times in milliseconds."""
    heads = f"{'median':>8} {'least':>8} {'most':>8} {'ours/it':>8} {'cores':>6} {'accuracy':>9}"
    print(f"{'':20} {'first':>8} {heads}")
    ours = None
    for name, rows in found.items():
        times = [row.seconds for row in rows]
        median = statistics.median(times)
        ours = ours or median
        columns = [firsts[name].seconds, median, min(times), max(times)]
        figures = " ".join(f"{1e3 * seconds:8.1f}" for seconds in columns)
        cores = sum(row.cpu_seconds for row in rows) / sum(times)
        accuracy = statistics.mean(row.accuracy for row in rows)
        print(f"{name:20} {figures} {ours / median:8.2f} {cores:6.2f} {accuracy:9.4f}", flush=True)


def machine():
    """Date, processor, load and versions, in lines."""
    known = Path("/proc/cpuinfo")
    lines = known.read_text().splitlines() if known.exists() else []
    model = next((line.split(": ")[1] for line in lines if "model name" in line), None)
    load = f"{os.getloadavg()[0]:.2f}" if hasattr(os, "getloadavg") else "unknown"
    ours = f"Python {platform.python_version()}, portable-nn {pnn.__version__}"
    return [
        f"Date: {datetime.now(UTC):%Y-%m-%d}. CPU: {model or platform.processor()}, "
        f"{os.cpu_count()} cores, load before {load}.",
        ", ".join([ours, *map(named, PACKAGES)]),
    ]


def named(package):
    try:
        return f"{package} {version(package)}"
    except PackageNotFoundError:
        return f"no {package}"


def inside(rounds):
    """All jobs with the threads that this process has."""
    warnings.simplefilter("ignore")  # scikit-learn: so few epochs do not converge
    for job in jobs():
        job = replace(job, rounds=rounds or job.rounds)
        print(f"\n{job}", flush=True)
        compare(job)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, help="fits a library, instead of each job's number")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.inside:
        return inside(options.rounds)
    if found := [name for name in [*BY_HAND, *ONE_THREAD] if name in os.environ]:
        without = " ".join(f"-u {name}" for name in found)
        sys.exit(f"Threads or OpenBLAS are set by hand; run env {without} python {sys.argv[0]}")
    print("Whole fits, times in milliseconds; ours/it below 1: portable_nn is faster.")
    print(f"Command: python {' '.join(sys.argv)}", *machine(), sep="\n")
    for title, environment in THREADS.items():
        print(f"\n== {title}", flush=True)
        command = [sys.executable, *sys.argv, "--inside"]
        subprocess.run(command, env=os.environ | environment, check=True)
    return None


if __name__ == "__main__":
    main()
