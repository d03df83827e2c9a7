"""Smooth activations: inputs, and the textbook formulas."""

import math

import numpy as np

from cases.activation import activation, logistic, slope
from cases.drawing import MIXED, case, given, normal, uniform
from portable_nn import kernels


def _from_output(low, high, edge):
    """Of ``grad * a'`` in terms of the output."""
    return [
        case("ordinary", normal(24, 10), uniform(low, high, 24, 10)),
        case("one row", normal(1, 10), uniform(low, high, 1, 10)),
        case("edge", MIXED, given([edge] * 3)),
    ]


def _below(z, value):
    """z where it is above 0, else the value."""
    return np.where(z > 0, z, value)


_erf = np.vectorize(math.erf, otypes=[float])


def _share(z):
    return (1 + _erf(z.astype(float) / math.sqrt(2))) / 2


def _gelu_slope(grad, z):
    return grad * (_share(z) + z * np.exp(-(z**2) / 2) / math.sqrt(2 * math.pi))


def _cubic(z):
    return math.sqrt(2 / math.pi) * (z + 0.044715 * z**3)


def _gelu_tanh_slope(grad, z):
    t, inner = np.tanh(_cubic(z)), math.sqrt(2 / math.pi) * (1 + 3 * 0.044715 * z**2)
    return grad * ((1 + t) / 2 + z * (1 - t**2) * inner / 2)


def _mish_slope(grad, z):
    t = np.tanh(np.log(1 + np.exp(z)))
    return grad * (t + z * (1 - t**2) * logistic(z))


CASES = {
    kernels.celu: activation(),
    kernels.celu_backward: slope(),
    kernels.elu: activation(),
    kernels.elu_backward: slope(),
    kernels.gelu: activation(),
    kernels.gelu_backward: slope(),
    kernels.gelu_tanh: activation(),
    kernels.gelu_tanh_backward: slope(),
    kernels.log_sigmoid: activation(),
    kernels.log_sigmoid_backward: _from_output(-5.0, 0.0, [-0.0, -1e-30, -1e4, -0.7]),
    kernels.mish: activation(),
    kernels.mish_backward: slope(),
    kernels.selu: activation(),
    kernels.selu_backward: slope(),
    kernels.silu: activation(),
    kernels.silu_backward: slope(),
    kernels.softplus: activation(),
    kernels.softplus_backward: _from_output(0.0, 5.0, [0.0, 1e-30, 1e4, 0.7]),
    kernels.softsign: activation(),
    kernels.softsign_backward: slope(),
}

_SCALE, _ALPHA = 1.0507009873554805, 1.6732632423543772

TEXTBOOK = {
    kernels.celu: lambda z: _below(z, np.exp(z) - 1),
    kernels.celu_backward: lambda grad, z: np.where(z > 0, grad, grad * np.exp(z)),
    kernels.elu: lambda z: _below(z, np.exp(z) - 1),
    kernels.elu_backward: lambda grad, z: np.where(z > 0, grad, grad * np.exp(z)),
    kernels.gelu: lambda z: z * _share(z),
    kernels.gelu_backward: _gelu_slope,
    kernels.gelu_tanh: lambda z: z * (1 + np.tanh(_cubic(z))) / 2,
    kernels.gelu_tanh_backward: _gelu_tanh_slope,
    kernels.log_sigmoid: lambda z: np.log(logistic(z)),
    kernels.log_sigmoid_backward: lambda grad, a: grad * (1 - np.exp(a)),
    kernels.mish: lambda z: z * np.tanh(np.log(1 + np.exp(z))),
    kernels.mish_backward: _mish_slope,
    kernels.selu: lambda z: _SCALE * _below(z, _ALPHA * (np.exp(z) - 1)),
    kernels.selu_backward: lambda grad, z: _SCALE * grad * np.where(z > 0, 1, _ALPHA * np.exp(z)),
    kernels.silu: lambda z: z * logistic(z),
    kernels.silu_backward: lambda grad, z: (
        grad * (logistic(z) + z * logistic(z) * (1 - logistic(z)))
    ),
    kernels.softplus: lambda z: np.log(1 + np.exp(z)),
    kernels.softplus_backward: lambda grad, a: grad * (1 - np.exp(-a)),
    kernels.softsign: lambda z: z / (1 + np.abs(z)),
    kernels.softsign_backward: lambda grad, z: grad * (1 - np.abs(z / (1 + np.abs(z)))) ** 2,
}
