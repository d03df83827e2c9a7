"""Activations and their derivatives, each derivative written in terms of the output.

Source: the derivatives of a logistic, tanh and linear unit are those of any backpropagation
text: ``g' = g (1 - g)``, ``g' = 1 - g^2``; softmax: Bridle 1990.
"""

from __future__ import annotations

import math

from portable_nn.kernels._kernel import accurate, elementwise, from_output, kernel
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


@accurate(backward=from_output(sigmoid_backward))
def sigmoid(xp: Namespace, z: Array) -> Array:
    """``a = 1 / (1 + exp(-z))``, as ``exp(min(z, 0)) / (1 + exp(-|z|))``.

    So written it cannot overflow and keeps its relative accuracy in both tails.
    """
    return xp.exp(xp.minimum(z, xp.zeros_like(z))) / (1.0 + xp.exp(-xp.abs(z)))


@accurate()
def exp_backward(xp: Namespace, grad: Array, a: Array) -> Array:
    """``grad * a`` with ``a = exp(z)``."""
    return grad * a


@accurate(backward=from_output(exp_backward))
def exp(xp: Namespace, z: Array) -> Array:
    """``a = exp(z)``."""
    return xp.exp(z)


@kernel(
    shapes=lambda grad, a: (grad,),
    donates=((0, 0),),
    magnitude=lambda xp, grad, a: (
        a * (xp.abs(grad) + xp.sum(xp.abs(grad) * a, axis=-1, keepdims=True)),
    ),
    length=lambda grad, a: grad[-1],
    cost=lambda grad, a: 4 * math.prod(grad),
)
def softmax_backward(xp: Namespace, grad: Array, a: Array) -> Array:
    """``a * (grad - sum_c grad_c a_c)`` with ``a = softmax(z)``."""
    return a * (grad - xp.sum(grad * a, axis=-1, keepdims=True))


def _softmax_magnitude(xp: Namespace, z: Array) -> tuple[Array]:
    shift = z - xp.max(z, axis=-1, keepdims=True)
    a = xp.exp(shift)
    a = a / xp.sum(a, axis=-1, keepdims=True)
    return (a * (2.0 + xp.abs(shift) + xp.sum(a * xp.abs(shift), axis=-1, keepdims=True)),)


@kernel(
    shapes=lambda z: (z,),
    backward=from_output(softmax_backward),
    donates=((0, 0),),
    magnitude=_softmax_magnitude,
    length=lambda z: z[-1],
    cost=lambda z: 4 * math.prod(z),
)
def softmax(xp: Namespace, z: Array) -> Array:
    """``a_c = exp(z_c) / sum_k exp(z_k)`` over the last axis, shifted by the row's maximum."""
    e = xp.exp(z - xp.max(z, axis=-1, keepdims=True))
    return e / xp.sum(e, axis=-1, keepdims=True)
