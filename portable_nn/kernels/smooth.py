"""Smooth activations and their derivatives: exponential units, softplus, and units with a gate.

A derivative is written in terms of the output ``a`` where that is exact and cheap, else in terms
of the input ``z``. No exponential is of a positive number.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import wraps

from portable_nn.kernels._kernel import Kernel, accurate, elementwise, from_input, from_output
from portable_nn.kernels._normal import FAR, normal
from portable_nn.kernels.activation import logistic
from portable_nn.typing import Array, Namespace


def _above(xp: Namespace, z: Array) -> Array:
    return xp.maximum(z, xp.zeros_like(z))


def _below(xp: Namespace, z: Array) -> Array:
    return xp.minimum(z, xp.zeros_like(z))


# -- exponential below 0, linear above -----------------------------------------------------


@accurate()
def elu_backward(xp: Namespace, grad: Array, z: Array, alpha: float = 1.0) -> Array:
    """``grad`` where ``z > 0``, else ``grad * alpha exp(z)``; the derivative at 0 is alpha.

    From z: ``a + alpha``, which is the same, loses its digits where a is near -alpha.
    """
    return xp.where(z > 0.0, grad, grad * xp.exp(_below(xp, z)) * alpha)


@accurate(backward=from_input(elu_backward), branch=lambda xp, z, alpha=1.0: z > 0.0)
def elu(xp: Namespace, z: Array, alpha: float = 1.0) -> Array:
    """``a = z`` where ``z > 0``, else ``alpha (exp(z) - 1)``. Source: Clevert et al. 2016, eq. 15.

    A kink at 0, but for alpha 1.
    """
    return _above(xp, z) + xp.expm1(_below(xp, z)) * alpha


SELU_ALPHA, SELU_SCALE = 1.6732632423543772, 1.0507009873554805
"""Klambauer et al. 2017, eq. 14: mean 0 and variance 1 are kept, for inputs that have them."""


@accurate()
def selu_backward(xp: Namespace, grad: Array, z: Array) -> Array:
    """``grad * scale`` where ``z > 0``, else ``grad * scale alpha exp(z)``; so too at 0."""
    return xp.where(
        z > 0.0, grad * SELU_SCALE, grad * xp.exp(_below(xp, z)) * (SELU_SCALE * SELU_ALPHA)
    )


@accurate(backward=from_input(selu_backward), branch=lambda xp, z: z > 0.0)
def selu(xp: Namespace, z: Array) -> Array:
    """``a = scale z`` where ``z > 0``, else ``scale alpha (exp(z) - 1)``.

    Source: Klambauer et al. 2017, eq. 2, scale 1.0507 and alpha 1.6733; a kink at 0.
    """
    return _above(xp, z) * SELU_SCALE + xp.expm1(_below(xp, z)) * (SELU_SCALE * SELU_ALPHA)


@elementwise(
    magnitude=lambda xp, grad, z, alpha=1.0: (
        xp.abs(grad) * xp.exp(_below(xp, z) / alpha) * (1.0 - _below(xp, z) / alpha),
    )
)
def celu_backward(xp: Namespace, grad: Array, z: Array, alpha: float = 1.0) -> Array:
    """``grad`` where ``z > 0``, else ``grad * exp(z / alpha)``: 1 from both sides at 0."""
    return grad * xp.exp(_below(xp, z) / alpha)


@accurate(backward=from_input(celu_backward))
def celu(xp: Namespace, z: Array, alpha: float = 1.0) -> Array:
    """``a = z`` where ``z > 0``, else ``alpha (exp(z / alpha) - 1)``. Source: Barron 2017, eq. 2.

    Its derivative has no jump, for any alpha.
    """
    return _above(xp, z) + xp.expm1(_below(xp, z) / alpha) * alpha


# -- softplus, softsign --------------------------------------------------------------------


@accurate()
def softplus_backward(xp: Namespace, grad: Array, a: Array, beta: float = 1.0) -> Array:
    """``grad * sigmoid(beta z)``, which is ``1 - exp(-beta a)``, with ``a = softplus(z)``."""
    return grad * -xp.expm1(a * -beta)


@elementwise(
    backward=from_output(softplus_backward),
    magnitude=lambda xp, z, beta=1.0: (
        _above(xp, z) + xp.exp(xp.abs(z) * -beta) * (xp.abs(z) + 1.0 / beta),
    ),
)
def softplus(xp: Namespace, z: Array, beta: float = 1.0) -> Array:
    """``a = log(1 + exp(beta z)) / beta``, as ``max(z, 0) + log(1 + exp(-|beta z|)) / beta``.

    Source: Dugas et al. 2001. PyTorch gives z itself where ``beta z > 20``.
    """
    return _above(xp, z) + xp.log1p(xp.exp(xp.abs(z) * -beta)) / beta


@accurate()
def log_sigmoid_backward(xp: Namespace, grad: Array, a: Array) -> Array:
    """``grad * sigmoid(-z)``, which is ``1 - exp(a)``, with ``a = log_sigmoid(z)``."""
    return grad * -xp.expm1(a)


@accurate(backward=from_output(log_sigmoid_backward))
def log_sigmoid(xp: Namespace, z: Array) -> Array:
    """``a = log(sigmoid(z))``, as ``min(z, 0) - log(1 + exp(-|z|))``."""
    return _below(xp, z) - xp.log1p(xp.exp(-xp.abs(z)))


@accurate()
def softsign_backward(xp: Namespace, grad: Array, z: Array) -> Array:
    """``grad / (1 + |z|)^2``. From z: ``(1 - |a|)^2`` loses its digits where a is near 1."""
    size = 1.0 + xp.abs(z)
    return grad / size / size


@accurate(backward=from_input(softsign_backward))
def softsign(xp: Namespace, z: Array) -> Array:
    """``a = z / (1 + |z|)``, in (-1, 1). Source: Bergstra et al. 2009."""
    return z / (1.0 + xp.abs(z))


# -- z times a gate ------------------------------------------------------------------------


def gate_gradient(parts: Callable[..., tuple[Array, Array]]) -> Kernel:
    """Make ``f(xp, z) -> (gate, z * its slope)`` the kernel ``grad * (gate + z * its slope)``."""

    @wraps(parts, assigned=("__name__", "__doc__", "__module__"))
    def meaning(xp: Namespace, grad: Array, z: Array) -> Array:
        gate, change = parts(xp, z)
        return grad * (gate + change)

    def magnitude(xp: Namespace, grad: Array, z: Array) -> tuple[Array]:
        gate, change = parts(xp, z)
        return (xp.abs(grad) * (xp.abs(gate) + xp.abs(change)),)

    return elementwise(magnitude=magnitude)(meaning)


def gate_magnitude(xp: Namespace, grad: Array, z: Array) -> tuple[Array]:
    """Of ``grad`` times the derivative of ``z sigmoid(z)``: the size of its two terms."""
    return (xp.abs(grad) * logistic(xp, z) * (1.0 + xp.abs(z) * logistic(xp, -z)),)


@elementwise(magnitude=gate_magnitude)
def silu_backward(xp: Namespace, grad: Array, z: Array) -> Array:
    """``grad * s (1 + z (1 - s))`` with ``s = sigmoid(z)``, ``1 - s = sigmoid(-z)``."""
    return grad * logistic(xp, z) * (1.0 + z * logistic(xp, -z))


@accurate(backward=from_input(silu_backward))
def silu(xp: Namespace, z: Array) -> Array:
    """``a = z sigmoid(z)``. Source: Elfwing et al. 2018; "swish" of Ramachandran et al. 2017."""
    return z * logistic(xp, z)


@gate_gradient
def mish_backward(xp: Namespace, z: Array) -> tuple[Array, Array]:
    """``grad * (t + z s (1 - t^2))`` with ``t = tanh(softplus(z))``, ``s = sigmoid(z)``.

    ``1 - t^2`` as ``4 r^2 / (1 + r^2)^2`` with ``r = 1 - s``, which cancels nothing.
    """
    rest = logistic(xp, -z)
    slope = logistic(xp, z) * rest * rest * 4.0 / (1.0 + rest * rest) ** 2
    return xp.tanh(softplus.meaning(xp, z)), z * slope


@accurate(backward=from_input(mish_backward))
def mish(xp: Namespace, z: Array) -> Array:
    """``a = z tanh(softplus(z))``. Source: Misra 2019."""
    return z * xp.tanh(softplus.meaning(xp, z))


@gate_gradient
def gelu_backward(xp: Namespace, z: Array) -> tuple[Array, Array]:
    """``grad * (Phi(z) + z phi(z))``, ``phi`` being the density of the normal distribution."""
    y = xp.clip(z, -FAR, FAR)
    share, density = normal(xp, y)
    return share, y * density


@accurate(backward=from_input(gelu_backward))
def gelu(xp: Namespace, z: Array) -> Array:
    """``a = z Phi(z)``, ``Phi`` being the share of a standard normal distribution below z.

    Source: Hendrycks and Gimpel 2016. ``Phi(z) = (1 + erf(z / sqrt(2))) / 2`` has no digits left
    below -6 when it is computed so, as in PyTorch; here it is right to a few units in the last
    place.
    """
    y = xp.clip(z, -FAR, FAR)
    return xp.maximum(z, y) * normal(xp, y)[0]


def _gelu_gate(xp: Namespace, z: Array) -> tuple[Array, Array, Array]:
    """Z within +-FAR, ``s = sigmoid(u(z))``, and ``u (1 - s)``; u is at ``gelu_tanh``."""
    y = xp.clip(z, -FAR, FAR)
    u = y * (1.0 + y * y * 0.044715) * math.sqrt(8.0 / math.pi)
    return y, logistic(xp, u), u * logistic(xp, -u)


def _gelu_size(xp: Namespace, z: Array, steep: float) -> Array:
    """``s (1 + steep |rest|)``, and more where an error of u changes s."""
    _, s, rest = _gelu_gate(xp, z)
    return s * (1.0 + steep * xp.abs(rest)) * (1.0 + xp.abs(rest))


@elementwise(magnitude=lambda xp, grad, z: (xp.abs(grad) * _gelu_size(xp, z, 3.0),))
def gelu_tanh_backward(xp: Namespace, grad: Array, z: Array) -> Array:
    """``grad * s (1 + z u'(z) (1 - s))`` with ``s = sigmoid(u(z))``, see ``gelu_tanh``."""
    y, s, rest = _gelu_gate(xp, z)
    cubic = y * y * 0.044715
    return grad * s * (1.0 + rest * (1.0 + 3.0 * cubic) / (1.0 + cubic))


@elementwise(
    backward=from_input(gelu_tanh_backward),
    magnitude=lambda xp, z: (
        xp.abs(xp.maximum(z, xp.full_like(z, -FAR))) * _gelu_size(xp, z, 0.0),
    ),
)
def gelu_tanh(xp: Namespace, z: Array) -> Array:
    """``a = z (1 + tanh(u / 2)) / 2``, ``u = 2 sqrt(2 / pi) (z + 0.044715 z^3)``.

    Source: Hendrycks and Gimpel 2016. Written as ``z sigmoid(u)``, which is the same and keeps its
    digits below 0.
    """
    y, s, _ = _gelu_gate(xp, z)
    return xp.maximum(z, y) * s
