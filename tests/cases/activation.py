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


def _activation():
    return [
        case("ordinary", normal(24, 10, scale=3.0)),
        case("one row", normal(1, 10)),
        case("edge", MIXED),
    ]


def logistic(z):
    return 1.0 / (1.0 + np.exp(-z))


def textbook_softmax(z):
    return np.exp(z) / np.exp(z).sum(1, keepdims=True)


def jacobian_softmax(grad, a):
    """Row by row through the Jacobian ``diag(a) - a a^T``."""
    return np.stack([(np.diag(s) - np.outer(s, s)) @ g for g, s in zip(grad, a, strict=True)])


_SURE = given([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.5, 0.5, 0.0], [0.3, 0.3, 0.4]])


CASES = {
    kernels.relu: _activation(),
    kernels.relu_backward: [
        case("ordinary", normal(24, 10), rectified(24, 10)),
        case("one row", normal(1, 10), rectified(1, 10)),
        case("edge", MIXED, given([[0.0, -0.0, 1e-30, 1.0]] * 3)),
    ],
    kernels.tanh: _activation(),
    kernels.tanh_backward: [
        case("ordinary", normal(24, 10), uniform(-1.0, 1.0, 24, 10)),
        case("one row", normal(1, 10), uniform(-1.0, 1.0, 1, 10)),
        case("edge", MIXED, given([[1.0, -1.0, 0.0, 0.99999994]] * 3)),
    ],
    kernels.sigmoid: _activation(),
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
