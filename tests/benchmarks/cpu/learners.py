"""Whole trainings, each ``(job) -> train``; ``train(seed)`` yields ``predict`` after every epoch.

Each is a plain loop, as fast as its library's own documents make it (but for Keras'
``steps_per_execution``). The first weights are the same; the order
of the rows is each library's own. To add a rival, write such a function and put it in ``LEARNERS``.
"""

import os
from functools import partial

import numpy as np

from .contenders import jax_jit, pytorch, sklearn_mlp, thinc_chain
from .contenders.ours import layers, settings


def ours(job):
    """``Network.fit``; where the end is not known before, epochs of the loop laid open."""
    import portable_nn as pnn

    work, (x, y, _, _) = job.workload, job.data

    def train(seed):
        network = pnn.Network(layers(work, seed))
        if job.until is None:
            network.fit(x, y, **settings(work), epochs=job.epochs, seed=seed, progress=False)
            yield network.predict
            return
        training = network.start(**settings(work), seed=seed)
        for epoch in range(job.epochs):
            for losses, _ in training.epoch(x, y, epoch):
                assert np.isfinite(losses).all()
            yield network.predict

    return train


def scikit(job):
    """An epoch is a ``partial_fit``, which shuffles."""
    import sklearn.neural_network  # noqa: F401  # now, not in the first fit

    work, (x, y, _, _) = job.workload, job.data

    def train(seed):
        network = sklearn_mlp.network_of(work, seed, random_state=seed)
        for _ in range(job.epochs):
            network.partial_fit(x, y, classes=np.arange(work.sizes[-1]))
            yield network.predict

    return train


def torch(job, loader=False, compiled=False):
    """Batches of a gather an epoch, as views are faster than batches; or of a DataLoader."""
    import torch
    from torch.utils.data import DataLoader, TensorDataset

    work, data = job.workload, tuple(map(torch.from_numpy, job.data[:2]))
    network, loss_of, _ = pytorch.network_of(work)
    loaded = DataLoader(TensorDataset(*data), work.batch_size, shuffle=True) if loader else None

    def forward(x, y):
        return loss_of(network(x), y)

    forward = torch.compile(forward) if compiled else forward

    def gathered():
        order = torch.randperm(len(data[0]))
        return zip(*(values[order].split(work.batch_size) for values in data), strict=True)

    def predict(x):
        with torch.no_grad():
            return network(torch.from_numpy(x)).argmax(1).numpy()

    def train(seed):
        torch.manual_seed(seed)
        pytorch.put(network, work.weights(seed))
        optimizer = pytorch.optimizer_of(work, network.parameters())
        for _ in range(job.epochs):
            for x, y in loaded or gathered():
                optimizer.zero_grad()
                forward(x, y).backward()
                optimizer.step()
            yield predict

    return train


def jax(job, whole_epochs=False):
    """A call of the compiled function is a step on pre-cut rows, or an epoch with its gathers."""
    import jax
    from jax import numpy as jnp

    work, (x, y, _, _) = job.workload, job.data
    one, size = jax_jit.one_step(work), work.batch_size
    step = jax.jit(one, donate_argnums=0)

    def epoch(state, x, y, order):
        whole = len(order) // size * size
        batches, rest = order[:whole].reshape(-1, size), order[whole:]
        state, _ = jax.lax.scan(lambda s, rows: one(s, x[rows], y[rows]), state, batches)
        return one(state, x[rest], y[rest])[0] if len(rest) else state

    def by_steps(state, x, y, order):
        x, y = x[order], y[order]
        for start in range(0, len(order), size):
            state, _ = step(state, x[start : start + size], y[start : start + size])
        return state

    run = jax.jit(epoch, donate_argnums=0) if whole_epochs else by_steps

    def train(seed):
        random, state = np.random.default_rng(seed), jax_jit.beginning(work, seed)
        known = (jnp.asarray(x), jnp.asarray(y)) if whole_epochs else (x, y)
        for _ in range(job.epochs):
            state = run(state, *known, random.permutation(len(x)).astype(np.int32))
            jax.block_until_ready(state)
            weights = state[0]
            yield lambda x, weights=weights: np.asarray(jax_jit.forward(weights, x)).argmax(1)

    return train


def keras(job):
    """Keras on JAX: one model, compiled once, put back to new weights before each fit."""
    os.environ["KERAS_BACKEND"] = "jax"
    import keras

    work, (x, y, _, _) = job.workload, job.data
    hidden = [keras.layers.Dense(size, "relu") for size in work.sizes[1:-1]]
    network = keras.Sequential([*hidden, keras.layers.Dense(work.sizes[-1])])
    network.build((None, work.sizes[0]))
    adam = keras.optimizers.Adam(work.hyper["learning_rate"], epsilon=work.hyper["epsilon"])
    network.compile(adam, keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    adam.build(network.trainable_variables)
    unused = [variable.numpy() for variable in adam.variables]
    epochs = 1 if job.until else job.epochs

    def train(seed):
        keras.utils.set_random_seed(seed)  # of the order
        network.set_weights([array for pair in work.weights(seed) for array in pair])
        for variable, value in zip(adam.variables, unused, strict=True):
            variable.assign(value)
        for _ in range(job.epochs // epochs):
            network.fit(x, y, batch_size=work.batch_size, epochs=epochs, verbose=0)
            yield lambda x: network.predict(x, verbose=0).argmax(1)

    return train


def thinc(job):
    from thinc import api

    work, (x, labels, _, _) = job.workload, job.data
    y = np.eye(work.sizes[-1], dtype=np.float32)[labels]

    def train(seed):
        api.fix_random_seed(seed)
        network, adam = thinc_chain.network_of(work, seed), thinc_chain.adam_of(work)
        for _ in range(job.epochs):
            for batch_x, batch_y in network.ops.multibatch(work.batch_size, x, y, shuffle=True):
                chances, backward = network.begin_update(batch_x)
                backward((chances - batch_y) / len(batch_x))
                network.finish_update(adam)
            yield lambda x: network.predict(x).argmax(1)

    return train


OURS, LOADER = "portable_nn", "torch, DataLoader"
LEARNERS = {
    OURS: ours,
    LOADER: partial(torch, loader=True),
    "torch, gathered": torch,
    "torch.compile, gathered": partial(torch, compiled=True),
    "jax.jit, steps": jax,
    "jax.jit, epochs": partial(jax, whole_epochs=True),
    "Keras on JAX": keras,
    "scikit-learn": scikit,
    "thinc": thinc,
}
