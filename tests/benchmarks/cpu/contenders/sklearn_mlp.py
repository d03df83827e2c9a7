"""scikit-learn: ``partial_fit``, which is one epoch, on float32 arrays."""

import numpy as np

from ._contender import Contender, from_means


def on_weights(kind, weights):
    """The class, beginning on these weights."""
    remaining = iter(weights)

    class OnWeights(kind):
        def _init_coef(self, fan_in, fan_out, dtype):
            weight, bias = next(remaining)
            return weight.copy(), bias.copy()

    return OnWeights


def network_of(workload, seed=1, **more):
    from sklearn.neural_network import MLPClassifier, MLPRegressor

    hyper = workload.hyper
    given = {
        "adam": lambda: {"beta_1": hyper["beta1"], "beta_2": hyper["beta2"]},
        "sgd_momentum": lambda: {"momentum": hyper["momentum"], "nesterovs_momentum": False},
    }[workload.optimizer]()
    kind = MLPClassifier if workload.labels else MLPRegressor
    return on_weights(kind, workload.weights(seed))(
        hidden_layer_sizes=workload.sizes[1:-1],
        solver=workload.optimizer.partition("_")[0],
        alpha=0.0,
        batch_size=workload.batch_size,
        learning_rate_init=hyper["learning_rate"],
        **given,
        **more,
    )


def epoch_of(workload, rows=None):
    """A function that trains one epoch, and the network."""
    network = network_of(workload, shuffle=False)
    x, y = rows or workload.rows()
    y = y if workload.labels else y[:, 0]
    known = {"classes": np.arange(workload.sizes[-1])} if workload.labels else {}
    return lambda: network.partial_fit(x, y, **known), network


def scikit_learn(workload):
    epoch, _ = epoch_of(workload)

    def run(n):
        for _ in range(n // workload.epoch):
            epoch()

    def mean(k):
        few, network = epoch_of(workload, workload.rows(count=k))
        few()
        return network.loss_ * (1 if workload.labels else 2)  # it halves squared errors

    return Contender(run, from_means(mean), multiple=workload.epoch, other_epsilon=True)
