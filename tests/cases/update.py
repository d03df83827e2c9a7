"""Optimizer steps: inputs, and the textbook formulas."""

import numpy as np

from cases.drawing import (
    case,
    given,
    normal,
    spread,
    square,
)
from portable_nn import kernels

_ADAM = [given(value) for value in (0.9, 1 - 0.9, 0.999, 1 - 0.999, 1e-3, 1e-8)]
_MOMENTUM = [given(0.9), given(0.01)]
_RMSPROP = [given(value) for value in (0.9, 1 - 0.9, 1e-3, 1e-8)]


def _velocity():
    return [
        case("ordinary", normal(24, 10), normal(24, 10), normal(24, 10), *_MOMENTUM),
        case("spread", spread(24, 10), spread(24, 10), spread(24, 10), *_MOMENTUM),
        case("first step", normal(7, 5), normal(7, 5), given(np.zeros((7, 5))), *_MOMENTUM),
        case("one row", normal(1, 10), normal(1, 10), normal(1, 10), *_MOMENTUM),
        case("a bias", normal(10), normal(10), normal(10), *_MOMENTUM),
    ]


def textbook_adam(p, g, m, v, beta1, rest1, beta2, rest2, step_size, epsilon):
    m, v = beta1 * m + rest1 * g, beta2 * v + rest2 * g**2
    return p - step_size * m / (np.sqrt(v) + epsilon), m, v


def textbook_momentum(p, g, v, momentum, learning_rate):
    v = momentum * v + learning_rate * g
    return p - v, v


def textbook_nesterov(p, g, v, momentum, learning_rate):
    """Sutskever et al. 2013, eq. 3 and 4: p and what is returned are points looked ahead to."""
    theta = p + momentum * v
    v = momentum * v + learning_rate * g
    return theta - v - momentum * v, v


def textbook_rmsprop(p, g, s, beta, rest, learning_rate, epsilon):
    s = beta * s + rest * g**2
    return p - learning_rate / np.sqrt(s + epsilon) * g, s


CASES = {
    kernels.sgd: [
        case("ordinary", normal(24, 10), normal(24, 10), given(0.01)),
        case("spread", spread(24, 10), spread(24, 10), given(0.3)),
        case("one row", normal(1, 10), normal(1, 10), given(0.01)),
        case("a bias", normal(10), normal(10), given(0.01)),
    ],
    kernels.momentum: _velocity(),
    kernels.nesterov: _velocity(),
    kernels.rmsprop: [
        case("ordinary", normal(24, 10), normal(24, 10), square(24, 10), *_RMSPROP),
        case("spread", spread(24, 10), spread(24, 10), square(24, 10), *_RMSPROP),
        case("first step", normal(7, 5), normal(7, 5), given(np.zeros((7, 5))), *_RMSPROP),
        case("no gradient", normal(7, 5), *[given(np.zeros((7, 5)))] * 2, *_RMSPROP),
        case("one row", normal(1, 10), normal(1, 10), square(1, 10), *_RMSPROP),
        case("a bias", normal(10), normal(10), square(10), *_RMSPROP),
    ],
    kernels.adam: [
        case("ordinary", normal(24, 10), normal(24, 10), normal(24, 10), square(24, 10), *_ADAM),
        case("first step", normal(7, 5), normal(7, 5), *[given(np.zeros((7, 5)))] * 2, *_ADAM),
        case("no gradient", normal(7, 5), *[given(np.zeros((7, 5)))] * 3, *_ADAM),
        case("one row", normal(1, 10), normal(1, 10), normal(1, 10), square(1, 10), *_ADAM),
        case("a bias", normal(10), normal(10), normal(10), square(10), *_ADAM),
    ],
}

TEXTBOOK = {
    kernels.sgd: lambda p, g, learning_rate: p - learning_rate * g,
    kernels.momentum: textbook_momentum,
    kernels.nesterov: textbook_nesterov,
    kernels.rmsprop: textbook_rmsprop,
    kernels.adam: textbook_adam,
}
