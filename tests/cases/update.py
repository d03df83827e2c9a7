"""Optimizer steps: inputs, and the textbook formulas."""

import numpy as np

from cases.drawing import (
    case,
    given,
    normal,
    spread,
    square,
    uniform,
)
from portable_nn import kernels

_ADAM = [given(value) for value in (0.9, 1 - 0.9, 0.999, 1 - 0.999, 1e-3, 1e-8)]
_MOMENTUM = [given(0.9), given(0.01)]
_ADAMW = [*_ADAM, given(1e-2)]
_INSIDE = [given(value) for value in (0.9, 1 - 0.9, 1e-8, 0.0)]
_OUTSIDE = [given(value) for value in (1.0, 1.0, 0.0, 1e-8)]
_LION = [given(value) for value in (0.9, 1 - 0.9, 0.99, 1 - 0.99, 1e-2)]
_RADAM = [*_ADAM[:5], given(1.0), given(1e-2)]
_RMSPROP = [given(value) for value in (0.9, 1 - 0.9, 1e-3, 1e-8)]


def _velocity():
    return [
        case("ordinary", normal(24, 10), normal(24, 10), normal(24, 10), *_MOMENTUM),
        case("spread", spread(24, 10), spread(24, 10), spread(24, 10), *_MOMENTUM),
        case("first step", normal(7, 5), normal(7, 5), given(np.zeros((7, 5))), *_MOMENTUM),
        case("one row", normal(1, 10), normal(1, 10), normal(1, 10), *_MOMENTUM),
        case("a bias", normal(10), normal(10), normal(10), *_MOMENTUM),
    ]


def _moments(*numbers):
    return [
        case("ordinary", *[normal(24, 10)] * 3, square(24, 10), *numbers),
        case("first step", *[normal(7, 5)] * 2, *[given(np.zeros((7, 5)))] * 2, *numbers),
        case("a bias", *[normal(10)] * 3, square(10), *numbers),
    ]


def _one_sign_a_column(low, high):
    """Sizes between two numbers; the sign changes from column to column."""
    return lambda rng: rng.uniform(low, high, (24, 10)) * (-1.0) ** np.arange(10)


def textbook_adam(p, g, m, v, beta1, rest1, beta2, rest2, step_size, epsilon):
    m, v = beta1 * m + rest1 * g, beta2 * v + rest2 * g**2
    return p - step_size * m / (np.sqrt(v) + epsilon), m, v


def textbook_adamw(p, g, m, v, *numbers):
    *numbers, decay = numbers
    moved, m, v = textbook_adam(p, g, m, v, *numbers)
    return moved - decay * p, m, v


def textbook_amsgrad(p, g, m, v, most, *numbers):
    *_, step_size, epsilon = numbers
    _, m, v = textbook_adam(p, g, m, v, *numbers)
    most = np.where(v > most, v, most)
    return p - step_size * m / (np.sqrt(most) + epsilon), m, v, most


def textbook_divide_by_root(g, d, s, beta, rest, inside, outside):
    s = beta * s + rest * d**2
    return g / (np.sqrt(s + inside) + outside), s


def textbook_lion(p, g, m, beta1, rest1, beta2, rest2, learning_rate):
    mean = beta1 * m + rest1 * g
    return p - learning_rate * ((mean > 0) * 1.0 - (mean < 0)), beta2 * m + rest2 * g


def textbook_radam(p, g, m, v, *numbers):
    *decays, step_size, rectified, epsilon = numbers
    _, m, v = textbook_adam(p, g, m, v, *decays, step_size, epsilon)
    divisor = np.sqrt(v) + epsilon if rectified else epsilon
    return p - step_size * m / divisor, m, v


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
    kernels.adamw: _moments(*_ADAMW),
    # NaN reaches only what would change: the mean decides in the ordinary case, not the largest.
    kernels.amsgrad: [
        case(
            "ordinary",
            *[normal(24, 10)] * 3,
            uniform(0.3, 0.7, 24, 10),
            uniform(0.0, 0.1, 24, 10),
            *_ADAM,
        ),
        case("either", *[normal(24, 10)] * 3, *[square(24, 10)] * 2, *_ADAM),
        case("first step", *[normal(7, 5)] * 2, *[given(np.zeros((7, 5)))] * 3, *_ADAM),
        case("a bias", *[normal(10)] * 3, *[square(10)] * 2, *_ADAM),
    ],
    kernels.radam: [
        *_moments(*_RADAM),
        case("as it is", *[normal(24, 10)] * 3, square(24, 10), *_ADAM[:5], given(0.0), given(1.0)),
    ],
    kernels.divide_by_root: [
        case("ordinary", normal(24, 10), normal(24, 10), square(24, 10), *_INSIDE),
        case("outside", spread(24, 10), spread(24, 10), square(24, 10), *_OUTSIDE),
        case("no gradient", *[given(np.zeros((7, 5)))] * 3, *_OUTSIDE),
    ],
    kernels.lion: [
        # Each number decides about the sign in turn.
        case(
            "ordinary",
            normal(24, 10),
            _one_sign_a_column(0.095, 0.1),
            _one_sign_a_column(0.03, 0.034),
            *_LION,
        ),
        case("either", normal(24, 10), normal(24, 10), normal(24, 10), *_LION),
        case("first step", normal(7, 5), normal(7, 5), given(np.zeros((7, 5))), *_LION),
        case("no gradient", normal(7, 5), *[given(np.zeros((7, 5)))] * 2, *_LION),
        case("a bias", normal(10), normal(10), normal(10), *_LION),
    ],
}

TEXTBOOK = {
    kernels.sgd: lambda p, g, learning_rate: p - learning_rate * g,
    kernels.momentum: textbook_momentum,
    kernels.nesterov: textbook_nesterov,
    kernels.rmsprop: textbook_rmsprop,
    kernels.adam: textbook_adam,
    kernels.adamw: textbook_adamw,
    kernels.amsgrad: textbook_amsgrad,
    kernels.divide_by_root: textbook_divide_by_root,
    kernels.lion: textbook_lion,
    kernels.radam: textbook_radam,
}
