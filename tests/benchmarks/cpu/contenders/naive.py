"""The control: a training step as a tutorial has it, in array API functions, here on NumPy.

Every operation makes a new array, and Adam goes from parameter to parameter. What our step gains
over it is what memory laid out once and calls bound once are worth.
"""

from itertools import cycle

import numpy as xp

from ._contender import stepwise


def forward(weights, x):
    """The input of every layer, then the outputs of the last."""
    values = [x]
    for layer, (weight, bias) in enumerate(weights):
        z = values[-1] @ weight + bias
        values.append(z if layer == len(weights) - 1 else xp.maximum(z, 0))
    return values


def cross_entropy(z, labels):
    """The mean over rows, and its gradient."""
    z = z - xp.max(z, axis=1, keepdims=True)
    terms = xp.exp(z)
    sums = xp.sum(terms, axis=1, keepdims=True)
    hot = xp.astype(labels[:, None] == xp.arange(z.shape[1]), z.dtype)
    loss = xp.mean(xp.log(sums) - xp.sum(hot * z, axis=1, keepdims=True))
    return loss, (terms / sums - hot) / len(z)


def mean_squared_error(z, targets):
    error = z - targets
    return xp.mean(error * error), 2 * error / error.size


def backward(weights, values, delta):
    """Gradients of every weight and bias."""
    gradients = []
    for layer in reversed(range(len(weights))):
        gradients.insert(0, (values[layer].T @ delta, xp.sum(delta, axis=0)))
        if layer:
            delta = delta @ weights[layer][0].T
            delta = delta * xp.astype(values[layer] > 0, delta.dtype)
    return gradients


class Adam:
    def __init__(self, learning_rate, beta1, beta2, epsilon):
        self.learning_rate, self.epsilon = learning_rate, epsilon
        self.beta1, self.beta2 = beta1, beta2
        self.count, self.first, self.second = 0, {}, {}

    def begin(self):
        self.count += 1

    def __call__(self, name, parameter, gradient):
        m = self.beta1 * self.first.get(name, 0.0) + (1 - self.beta1) * gradient
        v = self.beta2 * self.second.get(name, 0.0) + (1 - self.beta2) * gradient**2
        self.first[name], self.second[name] = m, v
        m, v = m / (1 - self.beta1**self.count), v / (1 - self.beta2**self.count)
        return parameter - self.learning_rate * m / (xp.sqrt(v) + self.epsilon)


class Momentum:
    def __init__(self, learning_rate, momentum):
        self.learning_rate, self.momentum, self.velocity = learning_rate, momentum, {}

    def begin(self):
        pass

    def __call__(self, name, parameter, gradient):
        v = self.velocity[name] = self.momentum * self.velocity.get(name, 0.0) + gradient
        return parameter - self.learning_rate * v


def naive(workload):
    weights = workload.weights()
    update = (Adam if workload.optimizer == "adam" else Momentum)(**workload.hyper)
    of = cross_entropy if workload.labels else mean_squared_error

    def step(x, y):
        values = forward(weights, x)
        loss, delta = of(values[-1], y)
        update.begin()
        gradients = backward(weights, values, delta)
        for layer, pairs in enumerate(zip(weights, gradients, strict=True)):
            (weight, bias), (grad_weight, grad_bias) = pairs
            weights[layer] = (
                update((layer, "weight"), weight, grad_weight),
                update((layer, "bias"), bias, grad_bias),
            )
        return loss

    return stepwise(step, cycle(workload.batches()))
