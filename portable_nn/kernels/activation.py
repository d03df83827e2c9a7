"""Classical activations, and those of straight pieces, with their derivatives.

A derivative is written in terms of the output ``a`` where that is exact, else of the input ``z``.
Source: the derivatives of a logistic, tanh and linear unit are those of any backpropagation
text: ``g' = g (1 - g)``, ``g' = 1 - g^2``; softmax: Bridle 1990.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from portable_nn.kernels._kernel import (
    Kernel,
    Meaning,
    accurate,
    elementwise,
    from_input,
    from_output,
    kernel,
)
from portable_nn.typing import Array, Namespace


@accurate()
def relu_backward(xp: Namespace, grad: Array, a: Array) -> Array:
    """``grad`` where ``a > 0``, else ``0 grad``; the derivative at 0 is 0.

    Not a plain 0, which would hide a NaN in ``grad``.
    """
    return xp.where(a > 0.0, grad, grad * 0.0)


@accurate(backward=from_output(relu_backward), branch=lambda xp, z: z > 0.0)
def relu(xp: Namespace, z: Array) -> Array:
    """``a = max(z, 0)``; NaN stays NaN."""
    return xp.maximum(z, xp.zeros_like(z))


@accurate()
def leaky_relu_backward(xp: Namespace, grad: Array, a: Array, slope: float = 0.01) -> Array:
    """``grad`` where ``a > 0``, else ``slope grad``; the derivative at 0 is the slope."""
    return xp.where(a > 0.0, grad, grad * slope)


@accurate(backward=from_output(leaky_relu_backward), branch=lambda xp, z, slope=0.01: z > 0.0)
def leaky_relu(xp: Namespace, z: Array, slope: float = 0.01) -> Array:
    """``a = z`` where ``z > 0``, else ``slope z``, of a slope above 0. Source: Maas et al. 2013."""
    return xp.where(z > 0.0, z, z * slope)


def _piece(xp: Namespace, z: Array, low: float, high: float) -> Array:
    """Which of three pieces: -1, 0 or 1; the ends belong to the outer ones."""
    ones = xp.ones_like(z)
    return xp.where(z <= low, -ones, xp.where(z >= high, ones, 0.0 * ones))


@accurate()
def hard_tanh_backward(
    xp: Namespace, grad: Array, a: Array, low: float = -1.0, high: float = 1.0
) -> Array:
    """``grad`` where ``low < a < high``, else ``0 grad``; the derivative at both ends is 0."""
    return xp.where((a > low) & (a < high), grad, grad * 0.0)


@accurate(
    backward=from_output(hard_tanh_backward),
    branch=lambda xp, z, low=-1.0, high=1.0: _piece(xp, z, low, high),
)
def hard_tanh(xp: Namespace, z: Array, low: float = -1.0, high: float = 1.0) -> Array:
    """``a = min(max(z, low), high)``. Source: Collobert 2004."""
    return xp.clip(z, low, high)


@accurate()
def hard_sigmoid_backward(xp: Namespace, grad: Array, z: Array) -> Array:
    """``grad / 6`` where ``|z| < 3``, else ``0 grad``; the derivative at both ends is 0."""
    return xp.where(xp.abs(z) < 3.0, grad / 6.0, grad * 0.0)


@accurate(backward=from_input(hard_sigmoid_backward), branch=lambda xp, z: _piece(xp, z, -3.0, 3.0))
def hard_sigmoid(xp: Namespace, z: Array) -> Array:
    """``a = min(max(z + 3, 0), 6) / 6``: slope 1/6. Source: Howard et al. 2019, section 5.2.

    As PyTorch and Keras 3; Keras 2 took slope 0.2, 1 from 2.5 on (Courbariaux et al. 2015: 0.5).
    """
    return xp.clip(z + 3.0, 0.0, 6.0) / 6.0


@accurate()
def hard_swish_backward(xp: Namespace, grad: Array, z: Array) -> Array:
    """``grad * (z + 1.5) / 3`` where ``|z| < 3``; from 3 on ``grad``, from -3 down ``0 grad``."""
    inner = xp.where(z >= 3.0, grad, grad * ((z + 1.5) / 3.0))
    return xp.where(z <= -3.0, grad * 0.0, inner)


@accurate(backward=from_input(hard_swish_backward), branch=lambda xp, z: _piece(xp, z, -3.0, 3.0))
def hard_swish(xp: Namespace, z: Array) -> Array:
    """``a = z hard_sigmoid(z)``. Source: Howard et al. 2019, eq. 2.

    The derivative jumps from 0 to -1/2 at -3 and from 3/2 to 1 at 3; there it is 0 and 1.
    """
    return xp.maximum(z, xp.full_like(z, -3.0)) * (xp.clip(z + 3.0, 0.0, 6.0) / 6.0)


@elementwise(magnitude=lambda xp, grad, a: (xp.abs(grad) * (1.0 + a * a),))
def tanh_backward(xp: Namespace, grad: Array, a: Array) -> Array:
    """``grad * (1 - a^2)`` with ``a = tanh(z)``."""
    return grad * (1.0 - a * a)


@accurate(backward=from_output(tanh_backward))
def tanh(xp: Namespace, z: Array) -> Array:
    """``a = tanh(z)``."""
    return xp.tanh(z)


@elementwise(magnitude=lambda xp, grad, a: (xp.abs(grad) * a * (1.0 + a),))
def sigmoid_backward(xp: Namespace, grad: Array, a: Array) -> Array:
    """``grad * a * (1 - a)`` with ``a = sigmoid(z)``."""
    return grad * (a * (1.0 - a))


def logistic(xp: Namespace, z: Array) -> Array:
    """``exp(min(z, 0)) / (1 + exp(-|z|))``: never an overflow, both tails accurate."""
    return xp.exp(xp.minimum(z, xp.zeros_like(z))) / (1.0 + xp.exp(-xp.abs(z)))


@accurate(backward=from_output(sigmoid_backward))
def sigmoid(xp: Namespace, z: Array) -> Array:
    """``a = 1 / (1 + exp(-z))``, as ``exp(min(z, 0)) / (1 + exp(-|z|))``.

    So written it cannot overflow and keeps its relative accuracy in both tails.
    """
    return logistic(xp, z)


@accurate()
def exp_backward(xp: Namespace, grad: Array, a: Array) -> Array:
    """``grad * a`` with ``a = exp(z)``."""
    return grad * a


@accurate(backward=from_output(exp_backward))
def exp(xp: Namespace, z: Array) -> Array:
    """``a = exp(z)``."""
    return xp.exp(z)


def exponentials(xp: Namespace, z: Array) -> tuple[Array, Array, Array]:
    """Of every row: z less its largest (n, k), ``exp`` of that, and the sum of these (n, 1)."""
    shift = z - xp.max(z, axis=-1, keepdims=True)
    e = xp.exp(shift)
    return shift, e, xp.sum(e, axis=-1, keepdims=True)


def softmax_magnitude(xp: Namespace, z: Array) -> tuple[Array]:
    """Of ``softmax(z)``: an error of the shift is one of the exponential, and of their sum."""
    shift, e, total = exponentials(xp, z)
    a, size = e / total, xp.abs(shift)
    return (a * (2.0 + size + xp.sum(a * size, axis=-1, keepdims=True)),)


def row_kernel(**fields: Any) -> Callable[[Meaning], Kernel]:
    """Make the decorated formula a ``Kernel`` whose outputs need the whole row of input 0."""
    defaults = {
        "shapes": lambda z, *others: (z,),
        "donates": ((0, 0),),
        "length": lambda z, *others: z[-1],
        "cost": lambda z, *others: 4 * math.prod(z),
    }
    return kernel(**(defaults | fields))


@row_kernel(
    magnitude=lambda xp, grad, a: (
        a * (xp.abs(grad) + xp.sum(xp.abs(grad) * a, axis=-1, keepdims=True)),
    )
)
def softmax_backward(xp: Namespace, grad: Array, a: Array) -> Array:
    """``a * (grad - sum_c grad_c a_c)`` with ``a = softmax(z)``."""
    return a * (grad - xp.sum(grad * a, axis=-1, keepdims=True))


@row_kernel(backward=from_output(softmax_backward), magnitude=softmax_magnitude)
def softmax(xp: Namespace, z: Array) -> Array:
    """``a_c = exp(z_c) / sum_k exp(z_k)`` over the last axis, shifted by the row's maximum."""
    _, e, total = exponentials(xp, z)
    return e / total


@row_kernel(
    magnitude=lambda xp, grad, a: (
        xp.abs(grad) + xp.exp(a) * xp.sum(xp.abs(grad), axis=-1, keepdims=True),
    )
)
def log_softmax_backward(xp: Namespace, grad: Array, a: Array) -> Array:
    """``grad - exp(a) * sum_c grad_c`` with ``a = log_softmax(z)``."""
    return grad - xp.exp(a) * xp.sum(grad, axis=-1, keepdims=True)


@row_kernel(
    backward=from_output(log_softmax_backward),
    magnitude=lambda xp, z: (xp.abs(log_softmax.meaning(xp, z)) + 1.0,),  # type: ignore[has-type]
)
def log_softmax(xp: Namespace, z: Array) -> Array:
    """``a_c = z_c - log(sum_k exp(z_k))`` over the last axis, shifted by the row's maximum."""
    shift, _, total = exponentials(xp, z)
    return shift - xp.log(total)
