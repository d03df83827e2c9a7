"""Activations: inputs, and the textbook formulas."""

import numpy as np

from cases.drawing import (
    HUGE,
    MIXED,
    case,
    distribution,
    given,
    normal,
    rectified,
    uniform,
)
from portable_nn import kernels


def activation(edge=MIXED):
    """Of ``a(z)``."""
    return [
        case("ordinary", normal(24, 10, scale=3.0)),
        case("one row", normal(1, 10)),
        case("edge", edge),
    ]


def slope(edge=MIXED):
    """Of ``grad * a'(z)``."""
    return [
        case("ordinary", normal(24, 10), normal(24, 10, scale=3.0)),
        case("one row", normal(1, 10), normal(1, 10)),
        case("edge", MIXED, edge),
    ]


def logistic(z):
    return 1.0 / (1.0 + np.exp(-z))


def textbook_softmax(z):
    return np.exp(z) / np.exp(z).sum(1, keepdims=True)


def jacobian_softmax(grad, a):
    """Row by row through the Jacobian ``diag(a) - a a^T``."""
    return np.stack([(np.diag(s) - np.outer(s, s)) @ g for g, s in zip(grad, a, strict=True)])


def logarithms(*shape):
    """What log_softmax gives."""
    return lambda rng: np.log(rng.dirichlet(np.ones(shape[-1]), shape[:-1]))


def _ends(*shape):
    """Between -3 and 3 in even columns, also beyond in odd ones."""
    return lambda rng: rng.uniform(-2.5, 2.5, shape) * (np.arange(shape[-1]) % 2 * 3 + 1)


def _slope_to_the_ends():
    return [
        case("ordinary", normal(24, 10), _ends(24, 10)),
        case("one row", normal(1, 10), _ends(1, 10)),
        case("edge", MIXED, ENDS),
    ]


ENDS = given([[3.0, -3.0, 2.9999998, -2.9999998], [1e4, -1e4, -0.0, 1e-30], [1.0, -1.0, -1.5, 0.7]])
"""Where straight pieces end."""

_SURE = given([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.5, 0.5, 0.0], [0.3, 0.3, 0.4]])


CASES = {
    kernels.hard_sigmoid: activation(ENDS),
    kernels.hard_sigmoid_backward: _slope_to_the_ends(),
    kernels.hard_swish: activation(ENDS),
    kernels.hard_swish_backward: _slope_to_the_ends(),
    kernels.hard_tanh: activation(ENDS),
    kernels.hard_tanh_backward: [
        case("ordinary", normal(24, 10), uniform(-1.0, 1.0, 24, 10)),
        case("one row", normal(1, 10), uniform(-1.0, 1.0, 1, 10)),
        case("edge", MIXED, given([[1.0, -1.0, 0.0, 0.99999994]] * 3)),
    ],
    kernels.leaky_relu: activation(),
    kernels.leaky_relu_backward: slope(),
    kernels.log_softmax: [
        case("ordinary", normal(24, 10, scale=3.0)),
        case("one row", normal(1, 10)),
        case("edge", HUGE),
    ],
    kernels.log_softmax_backward: [
        case("ordinary", normal(24, 10), logarithms(24, 10)),
        case("one row", normal(1, 10), logarithms(1, 10)),
        case("edge", HUGE, given([[-2e4, -87.0, -0.0]] * 4)),
    ],
    kernels.relu: activation(),
    kernels.relu_backward: [
        case("ordinary", normal(24, 10), rectified(24, 10)),
        case("one row", normal(1, 10), rectified(1, 10)),
        case("edge", MIXED, given([[0.0, -0.0, 1e-30, 1.0]] * 3)),
    ],
    kernels.tanh: activation(),
    kernels.tanh_backward: [
        case("ordinary", normal(24, 10), uniform(-1.0, 1.0, 24, 10)),
        case("one row", normal(1, 10), uniform(-1.0, 1.0, 1, 10)),
        case("edge", MIXED, given([[1.0, -1.0, 0.0, 0.99999994]] * 3)),
    ],
    kernels.sigmoid: activation(),
    kernels.sigmoid_backward: [
        case("ordinary", normal(24, 10), uniform(0.0, 1.0, 24, 10)),
        case("one row", normal(1, 10), uniform(0.0, 1.0, 1, 10)),
        case("edge", MIXED, given([[1.0, 0.0, 1e-30, 0.99999994]] * 3)),
    ],
    kernels.exp: [
        case("ordinary", normal(24, 10, scale=3.0)),
        case("one row", normal(1, 10)),
        case("edge", given([[0.0, -0.0, 1e-30, -1e-30], [80.0, -80.0, 20.0, -20.0]])),
    ],
    kernels.exp_backward: [
        case("ordinary", normal(24, 10), uniform(0.0, 9.0, 24, 10)),
        case("one row", normal(1, 10), uniform(0.0, 9.0, 1, 10)),
        case("edge", MIXED, given([[1e-30, 0.0, 1e30, 1.0]] * 3)),
    ],
    kernels.softmax: [
        case("ordinary", normal(24, 10, scale=3.0)),
        case("long", normal(4, 600)),
        case("one row", normal(1, 10)),
        case("one class", normal(5, 1)),
        case("edge", HUGE),
    ],
    kernels.softmax_backward: [
        case("ordinary", normal(24, 10), distribution(24, 10)),
        case("long", normal(4, 600), distribution(4, 600)),
        case("one row", normal(1, 10), distribution(1, 10)),
        case("edge", HUGE, _SURE),
    ],
}

TEXTBOOK = {
    kernels.hard_sigmoid: lambda z: np.clip(z / 6 + 0.5, 0, 1),
    kernels.hard_sigmoid_backward: lambda grad, z: grad * ((z > -3) & (z < 3)) / 6,
    kernels.hard_swish: lambda z: z * np.clip(z / 6 + 0.5, 0, 1),
    kernels.hard_swish_backward: lambda grad, z: (
        grad * np.where(z <= -3, 0, np.where(z >= 3, 1, z / 3 + 0.5))
    ),
    kernels.hard_tanh: lambda z: np.minimum(np.maximum(z, -1), 1),
    kernels.hard_tanh_backward: lambda grad, a: grad * (np.abs(a) < 1),
    kernels.leaky_relu: lambda z: np.where(z > 0, z, 0.01 * z),
    kernels.leaky_relu_backward: lambda grad, a: np.where(a > 0, grad, 0.01 * grad),
    kernels.log_softmax: lambda z: np.log(textbook_softmax(z)),
    kernels.log_softmax_backward: lambda grad, a: grad - np.exp(a) * grad.sum(1, keepdims=True),
    kernels.relu: lambda z: np.where(z > 0, z, 0),
    kernels.relu_backward: lambda grad, a: np.where(a > 0, grad, 0),
    kernels.tanh: lambda z: 1.0 - 2.0 / (np.exp(2.0 * z) + 1.0),
    kernels.tanh_backward: lambda grad, a: grad * (1.0 - a**2),
    kernels.exp: lambda z: np.exp(z / 2.0) ** 2,
    kernels.exp_backward: lambda grad, a: a * grad,
    kernels.sigmoid: logistic,
    kernels.sigmoid_backward: lambda grad, a: grad * a - grad * a**2,
    kernels.softmax: textbook_softmax,
    kernels.softmax_backward: jacobian_softmax,
}
