"""thinc, on its NumPy operations, with the gradient of the loss by hand, which is faster."""

from itertools import cycle

import numpy as np

from ._contender import Contender, stepwise


def network_of(workload, seed=1):
    from thinc import api

    api.set_current_ops(api.NumpyOps())
    weights = workload.weights(seed)
    kinds = [api.Relu] * (len(weights) - 1) + [api.Softmax if workload.labels else api.Linear]
    network = api.chain(*[k(len(b), len(w)) for k, (w, b) in zip(kinds, weights, strict=True)])
    network.initialize()
    for layer, (weight, bias) in zip(network.layers, weights, strict=True):
        layer.set_param("W", np.ascontiguousarray(weight.T))
        layer.set_param("b", bias)
    return network


def adam_of(workload):
    from thinc import api

    hyper = workload.hyper
    return api.Adam(
        hyper["learning_rate"],
        beta1=hyper["beta1"],
        beta2=hyper["beta2"],
        eps=hyper["epsilon"],
        L2=0.0,
        grad_clip=0.0,
        use_averages=False,
    )


def thinc(workload):
    if workload.optimizer == "sgd_momentum":
        raise ImportError("it has no momentum")
    network, adam, outputs = network_of(workload), adam_of(workload), workload.sizes[-1]
    factor = (1 if workload.labels else 2) / workload.batch_size

    def step(x, y):
        z, backward = network.begin_update(x)
        backward((z - y) * factor)
        network.finish_update(adam)
        return z

    def targets(y):
        return np.eye(outputs, dtype=np.float32)[y] if workload.labels else y

    def step_with_loss(x, y):
        of = cross_entropy if workload.labels else mean_squared_error
        return of(step(x, y), y)

    turn = cycle([(x, targets(y)) for x, y in workload.batches()])
    losses = stepwise(step_with_loss, turn).losses
    return Contender(stepwise(step, turn).run, losses, other_epsilon=True)


def cross_entropy(chances, hot):
    return -float(np.mean(np.log(np.sum(chances * hot, axis=1))))


def mean_squared_error(z, y):
    return float(np.mean((z - y) ** 2))
