"""The algorithm of "A Gentle Introduction to Artificial Neural Networks" (D. Stansbury, 2020).

Not a script: the ``gentle_*`` scripts and their tests take their data, their first values and what
should come out from here. It is the text's code in plain NumPy, the same operations in the same
order, so that every number has the same bits; it knows nothing of portable_nn. Names follow the
text: ``a`` activation, ``z`` pre-activation, ``g`` activation function, ``w_1``, ``b_1`` weights
(inputs, units) and biases of layer 1.
"""

from itertools import pairwise
from typing import NamedTuple

import numpy as np

SQUARE = [(0, 0), (0, 1), (1, 0), (1, 1)]
MIDDLES = [(0.5, 0.5), (1, 0.5), (0, 0.5), (0.5, 0), (0.5, 1)]
TABLES = {
    "AND": (SQUARE, [0, 0, 0, 1]),
    "OR": (SQUARE, [0, 1, 1, 1]),
    "XOR": (SQUARE, [0, 1, 1, 0]),
    "RING": (SQUARE + MIDDLES, [1, 1, 1, 1, 0, 1, 1, 1, 1]),
}
CURVES = {"SIN": lambda x: 2.5 + np.sin(x), "ABS": abs}


class Figure(NamedTuple):
    """What the text trains for a figure; ``copies`` of the table, or that many points."""

    problem: str
    hidden: int
    learning_rate: float
    copies: int


FIGURES = {
    8: Figure("OR", 0, 2.0, 50),
    9: Figure("AND", 0, 2.0, 50),
    10: Figure("XOR", 0, 2.0, 50),
    11: Figure("XOR", 4, 2.0, 50),
    12: Figure("RING", 4, 2.0, 50),
    13: Figure("SIN", 3, 0.2, 200),
    14: Figure("ABS", 3, 0.2, 200),
}


# -- the data, and the first values of the parameters ------------------------------------------


def classification_data(draws, problem, copies):
    """Noisy copies of a table of points, in a random order: x (rows, 2), targets (rows,)."""
    points, classes = TABLES[problem]
    x = np.tile(points, (copies, 1)) + 0.15 * draws.randn(copies * len(points), 2)
    order = draws.permutation(np.arange(len(x)))
    # The text's x lies column after column in memory; the last bits of products depend on that.
    return np.asfortranarray(x[order]), np.tile(np.array(classes, float), copies)[order]


def regression_data(draws, problem, rows):
    """A noisy curve between -5 and 5, in a random order: x (rows, 1), targets (rows,)."""
    x = np.linspace(-5, 5, rows)
    targets = CURVES[problem](x) + draws.randn(rows) * 0.5
    order = draws.permutation(np.arange(rows))
    return x[order, None], targets[order]


def begin(figure):
    """The data x, targets and the first parameters; one stream of seed 123 gives them all."""
    draws = np.random.RandomState(123)
    data = regression_data if figure.problem in CURVES else classification_data
    x, targets = data(draws, figure.problem, figure.copies)
    sizes = [x.shape[1], figure.hidden, 1] if figure.hidden else [x.shape[1], 1]
    layers = list(enumerate(pairwise(sizes), 1))
    theta = {f"w_{layer}": draws.rand(*shape) - 0.5 for layer, shape in layers}
    theta |= {f"b_{layer}": draws.rand(shape[1]) - 0.5 for layer, shape in layers}
    return x, targets, theta


# -- activation functions and their derivatives ------------------------------------------------


def sigmoid(z):
    """``g(z) = 1 / (1 + exp(-z))``."""
    return 1.0 / (1.0 + np.exp(-z))


def sigmoid_slope(z):
    """``g'(z) = g(z) (1 - g(z))``."""
    return sigmoid(z) * (1 - sigmoid(z))


def tanh_slope(z):
    """``g'(z) = 1 - g(z)^2``."""
    return 1 - np.tanh(z) ** 2


LINEAR = (lambda z: z, np.ones_like)
SIGMOID = (sigmoid, sigmoid_slope)
TANH = (np.tanh, tanh_slope)


def activations(figure):
    """``(g, g')`` of each layer: sigmoid for classes, tanh then linear for numbers."""
    hidden, output = (TANH, LINEAR) if figure.problem in CURVES else (SIGMOID, SIGMOID)
    return [hidden, output] if figure.hidden else [output]


# -- the four steps ----------------------------------------------------------------------------


def forward(x, theta, functions):
    """Step I: the pre-activations and activations of every layer, ``a[0]`` being the input."""
    z, a = [None], [x]
    for layer, (g, _) in enumerate(functions, 1):
        z.append(a[-1] @ theta[f"w_{layer}"] + theta[f"b_{layer}"])
        a.append(g(z[-1]))
    return z, a


def backward(target, z, a, theta, functions):
    """Step II: the error signal ``delta`` of every layer, of the error 1/2 (a - t)^2."""
    last = len(functions)
    delta = {last: functions[-1][1](z[-1]) * (a[-1] - target)}
    for layer in range(last - 1, 0, -1):
        slope = functions[layer - 1][1]
        delta[layer] = slope(z[layer]) * (delta[layer + 1] @ theta[f"w_{layer + 1}"].T)
    return delta


def gradients(delta, a):
    """Step III: the gradient of every parameter."""
    weights = {f"w_{layer}": a[layer - 1].T * signal for layer, signal in delta.items()}
    return weights | {f"b_{layer}": signal * 1 for layer, signal in delta.items()}


def update(theta, gradient, learning_rate):
    """Step IV: new parameters, a step down the gradient."""
    return {name: value - gradient[name] * learning_rate for name, value in theta.items()}


# -- the loop ----------------------------------------------------------------------------------


class Run(NamedTuple):
    """What a training gives.

    ``losses`` has, for each iteration over the rows, the sum of (a - t)^2, each row before its
    update. ``states`` has the parameters before the first update and after every one: those
    after k iterations are ``states[k * rows]``.
    """

    losses: np.ndarray
    states: list

    def after_iterations(self):
        """The parameters after every iteration."""
        rows = (len(self.states) - 1) // len(self.losses)
        return self.states[rows::rows]


def train(figure, iterations=100, annealing=0.95, functions=None):
    """Train row by row; after each iteration the learning rate is multiplied by ``annealing``."""
    x, targets, theta = begin(figure)
    functions = functions or activations(figure)
    losses, states, learning_rate = [], [theta], figure.learning_rate
    for _ in range(iterations):
        errors = []
        for row, target in zip(x, targets, strict=True):
            z, a = forward(np.atleast_2d(row), theta, functions)
            delta = backward(target, z, a, theta, functions)
            theta = update(theta, gradients(delta, a), learning_rate)
            errors.append((a[-1] - target) ** 2)
            states.append(theta)
        learning_rate = learning_rate * annealing
        losses.append(float(sum(errors)[0, 0]))
    return Run(np.array(losses), states)
