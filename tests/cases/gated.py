"""Activations of more than one number: inputs, and the textbook formulas."""

import numpy as np

from cases.activation import logistic
from cases.drawing import MIXED, case, given, normal, uniform
from portable_nn import kernels


def _alternate(*shape):
    """Below 0 in even columns, above in odd ones."""
    return lambda rng: np.abs(rng.normal(size=shape)) * (np.arange(shape[-1]) % 2 * 2 - 1)


_SLOPES = given([0.25, 0.0, -0.0, -2.0])
_TIES = given([[1.0, 1.0, -2.0, -1e4], [0.0, -0.0, 1e-30, 0.0], [1e4, -1e4, -0.5, -0.5]])
_HALF = given([[1.0, -2.0], [1e4, 0.5], [-0.0, 1e-30]])


def _halved():
    return [
        case("ordinary", normal(24, 10, scale=3.0)),
        case("one row", normal(1, 10)),
        case("edge", MIXED),
    ]


def _halved_slope():
    return [
        case("ordinary", normal(24, 5), normal(24, 10, scale=3.0)),
        case("one row", normal(1, 5), normal(1, 10)),
        case("edge", _HALF, MIXED),
    ]


def _silu(z):
    return z * logistic(z)


def _silu_slope(z):
    return logistic(z) * (1 + z * (1 - logistic(z)))


def _glu_slope(grad, x):
    a, b = np.split(x, 2, axis=1)
    return np.hstack([grad * logistic(b), grad * a * logistic(b) * (1 - logistic(b))])


def _swiglu_slope(grad, x):
    a, b = np.split(x, 2, axis=1)
    return np.hstack([grad * _silu(b), grad * a * _silu_slope(b)])


def _maxout_slope(grad, x):
    found = np.zeros_like(x)
    for i, j in np.ndindex(grad.shape):
        found[i, 2 * j + (x[i, 2 * j + 1] > x[i, 2 * j])] = grad[i, j]
    return found


CASES = {
    kernels.glu: _halved(),
    kernels.glu_backward: _halved_slope(),
    kernels.maxout: [
        case("ordinary", uniform(-2.0, 0.5, 24, 10)),
        case("one row", normal(1, 10)),
        case("ties", _TIES),
    ],
    kernels.maxout_backward: [
        case("ordinary", normal(24, 5), uniform(-2.0, 0.5, 24, 10)),
        case("one row", normal(1, 5), normal(1, 10)),
        case("ties", _HALF, _TIES),
    ],
    kernels.prelu: [
        case("ordinary", _alternate(24, 10), uniform(0.1, 0.5, 10)),
        case("one row", normal(1, 10), uniform(-0.5, 0.5, 10)),
        case("edge", MIXED, _SLOPES),
    ],
    kernels.prelu_backward: [
        case("ordinary", normal(24, 10), _alternate(24, 10), uniform(0.1, 0.5, 10)),
        case("one row", normal(1, 10), normal(1, 10), uniform(-0.5, 0.5, 10)),
        case("edge", MIXED, MIXED, _SLOPES),
    ],
    kernels.prelu_grad_slope: [
        case("ordinary", normal(24, 10), _alternate(24, 10)),
        case("one row", normal(1, 10), normal(1, 10)),
        case("edge", MIXED, MIXED),
    ],
    kernels.swiglu: _halved(),
    kernels.swiglu_backward: _halved_slope(),
}

TEXTBOOK = {
    kernels.glu: lambda x: x[:, :5] * logistic(x[:, 5:]),
    kernels.glu_backward: _glu_slope,
    kernels.maxout: lambda x: np.maximum(x[:, ::2], x[:, 1::2]),
    kernels.maxout_backward: _maxout_slope,
    kernels.prelu: lambda z, slope: np.maximum(z, 0) + slope * np.minimum(z, 0),
    kernels.prelu_backward: lambda grad, z, slope: grad * np.where(z > 0, 1, slope),
    kernels.prelu_grad_slope: lambda grad, z: np.einsum("ij,ij->j", grad, np.minimum(z, 0)),
    kernels.swiglu: lambda x: x[:, :5] * _silu(x[:, 5:]),
    kernels.swiglu_backward: _swiglu_slope,
}
