"""portable_nn, step by step and over whole epochs."""

from itertools import count

import numpy as np

import portable_nn as pnn

from ._contender import Contender, from_means, stepwise


def whole_epochs(training, x, y, epochs):
    """Train by what ``Network.fit`` is made of; ``training`` is of ``Network.start``.

    The losses are fetched at the end of each epoch.
    """
    for epoch in range(epochs):
        np.concatenate([losses for losses, _ in training.epoch(x, y, epoch, shuffle=False)])


def layers(workload, seed=1):
    """Dense layers on the workload's weights, ReLU between."""
    found = []
    for weight, bias in workload.weights(seed):
        values = {"weight": pnn.Constant(weight), "bias": pnn.Constant(bias)}
        found += [pnn.Dense(len(bias), **values), pnn.ReLU()]
    return found[:-1]


def settings(workload):
    kind = pnn.Adam if workload.optimizer == "adam" else pnn.SGD
    return {
        "loss": workload.loss,
        "optimizer": kind(**workload.hyper),
        "batch_size": workload.batch_size,
        "backend": "numpy",
    }


def ours_steps(workload):
    """A call a step, as in a loop laid open; each batch is gathered from the whole array."""
    training = pnn.Network(layers(workload)).start(**settings(workload))
    x, y = workload.rows()
    epochs = (training.batches(x, y, epoch, shuffle=False) for epoch in count())
    return stepwise(training.step, ((batch,) for epoch in epochs for batch in epoch))


def ours_epochs(workload):
    """A call is an epoch or several; each batch is gathered from the whole array."""
    training = pnn.Network(layers(workload)).start(**settings(workload))
    x, y = workload.rows()

    def run(n):
        whole_epochs(training, x, y, n // workload.epoch)

    def mean(k):
        network = pnn.Network(layers(workload))
        few = workload.rows(count=k)
        network.fit(*few, **settings(workload), epochs=1, shuffle=False, progress=False)
        return network.history["loss"][0]

    return Contender(run, from_means(mean), multiple=workload.epoch)
