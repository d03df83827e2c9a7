"""The dense layer: ``z = x @ weight + bias`` and its three gradients; sum and product.

Axes are counted from the end (batch -2, features -1), so any leading axis, for example a
population of networks, passes through every kernel untouched.
"""

from __future__ import annotations

from collections.abc import Sequence

from portable_nn.kernels._kernel import Call, Gradient, accurate, elementwise, multilinear
from portable_nn.typing import Array, Namespace


@multilinear(
    shapes=lambda grad, weight: ((*grad[:-1], weight[-2]),),
    length=lambda grad, weight: grad[-1],
    cost=lambda grad, weight: 2 * grad[-2] * weight[-2] * weight[-1],
)
def linear_grad_input(xp: Namespace, grad: Array, weight: Array) -> Array:
    """``dL/dx = grad @ weight.T``: grad (n, out), weight (in, out) -> (n, in)."""
    return grad @ xp.matrix_transpose(weight)


@multilinear(
    shapes=lambda x, grad: ((*x[:-2], x[-1], grad[-1]),),
    length=lambda x, grad: x[-2],
    cost=lambda x, grad: 2 * x[-2] * x[-1] * grad[-1],
)
def linear_grad_weight(xp: Namespace, x: Array, grad: Array) -> Array:
    """``dL/dweight = x.T @ grad``, summed over the rows: (n, in), (n, out) -> (in, out)."""
    return xp.matrix_transpose(x) @ grad


@multilinear(
    shapes=lambda grad: ((*grad[:-2], grad[-1]),),
    length=lambda grad: grad[-2],
)
def linear_grad_bias(xp: Namespace, grad: Array) -> Array:
    """``dL/dbias``: the rows of grad summed: (n, out) -> (out,)."""
    return xp.sum(grad, axis=-2)


def _linear_backward(call: Call, grads: Sequence[str]) -> list[Gradient]:
    x, weight, *bias = call.inputs
    return [
        Gradient((0,), (grads[0], weight), linear_grad_input),
        Gradient((1,), (x, grads[0]), linear_grad_weight),
        *[Gradient((2,), (grads[0],), linear_grad_bias) for _ in bias],
    ]


@multilinear(
    shapes=lambda x, weight, *bias: ((*weight[:-2], x[-2], weight[-1]),),
    backward=_linear_backward,
    length=lambda x, weight, *bias: x[-1],
    cost=lambda x, weight, *bias: 2 * x[-2] * weight[-2] * weight[-1],
)
def linear(xp: Namespace, x: Array, weight: Array, bias: Array | None = None) -> Array:
    """``z = x @ weight + bias``: x (n, in), weight (in, out), bias (out,) -> (n, out)."""
    z = x @ weight
    return z if bias is None else z + xp.expand_dims(bias, axis=-2)


@elementwise(
    backward=lambda call, grads: [Gradient((0,), (grads[0],)), Gradient((1,), (grads[0],))],
    magnitude=lambda xp, a, b: (xp.abs(a) + xp.abs(b),),
)
def add(xp: Namespace, a: Array, b: Array) -> Array:
    """``a + b``, of equal shapes; also the sum of gradients where a value fans out."""
    return a + b


def _negative_backward(call: Call, grads: Sequence[str]) -> list[Gradient]:
    return [Gradient((0,), (grads[0],), negative)]


@accurate(backward=_negative_backward)
def negative(xp: Namespace, x: Array) -> Array:
    """``-x``."""
    return -x


@elementwise(
    backward=lambda call, grads: [
        Gradient((0,), (grads[0],)),
        Gradient((1,), (grads[0],), negative),
    ],
    magnitude=lambda xp, a, b: (xp.abs(a) + xp.abs(b),),
)
def subtract(xp: Namespace, a: Array, b: Array) -> Array:
    """``a - b``, of equal shapes."""
    return a - b


def _multiply_backward(call: Call, grads: Sequence[str]) -> list[Gradient]:
    a, b = call.inputs
    return [Gradient((0,), (grads[0], b), multiply), Gradient((1,), (a, grads[0]), multiply)]


@accurate(backward=_multiply_backward)
def multiply(xp: Namespace, a: Array, b: Array) -> Array:
    """``a * b``, of equal shapes; dropout is a product with a mask."""
    return a * b
