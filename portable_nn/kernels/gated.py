"""Activations of more than one number: a learned slope, gates, and the largest of some."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from portable_nn.kernels._codes import one_hot
from portable_nn.kernels._kernel import Call, Gradient, accurate, from_input, kernel
from portable_nn.kernels.activation import logistic
from portable_nn.kernels.smooth import gate_magnitude, silu, silu_backward
from portable_nn.typing import Array, Namespace, Shape


@accurate(shapes=lambda grad, z, slope: (grad,), elementwise=False)
def prelu_backward(xp: Namespace, grad: Array, z: Array, slope: Array) -> Array:
    """``grad`` where ``z > 0``, else ``slope grad``; the derivative at 0 is the slope."""
    return xp.where(z > 0.0, grad, grad * xp.expand_dims(slope, axis=-2))


@kernel(
    shapes=lambda grad, z: ((*grad[:-2], grad[-1]),),
    magnitude=lambda xp, grad, z: (xp.sum(xp.abs(xp.where(z > 0.0, 0.0 * z, grad * z)), axis=-2),),
    length=lambda grad, z: grad[-2],
)
def prelu_grad_slope(xp: Namespace, grad: Array, z: Array) -> Array:
    """``dL/dslope = sum_i grad_i min(z_i, 0)`` over the rows: (n, k), (n, k) -> (k,)."""
    return xp.sum(grad * xp.minimum(z, xp.zeros_like(z)), axis=-2)


def _prelu_backward(call: Call, grads: Sequence[str]) -> list[Gradient]:
    z, slope = call.inputs
    return [
        Gradient((0,), (grads[0], z, slope), prelu_backward),
        Gradient((1,), (grads[0], z), prelu_grad_slope),
    ]


@accurate(
    shapes=lambda z, slope: (z,),
    elementwise=False,
    backward=_prelu_backward,
    branch=lambda xp, z, slope: z > 0.0,
)
def prelu(xp: Namespace, z: Array, slope: Array) -> Array:
    """``a = z`` where ``z > 0``, else ``slope z``: z (n, k), slope (k,) -> (n, k).

    Source: He et al. 2015, eq. 1.
    """
    return xp.where(z > 0.0, z, z * xp.expand_dims(slope, axis=-2))


# -- a half as the gate of the other -------------------------------------------------------


def _halves(x: Array) -> tuple[Array, Array]:
    k = x.shape[-1] // 2
    return x[..., :k], x[..., k:]


def _half(x: Shape) -> Shape:
    return (*x[:-1], int(x[-1]) // 2)


@accurate(shapes=lambda grad, x: (x,), donates=(), elementwise=False)
def glu_backward(xp: Namespace, grad: Array, x: Array) -> Array:
    """``grad s`` beside ``grad a s (1 - s)``, ``s = sigmoid(b)``: (n, k), (n, 2k) -> (n, 2k)."""
    a, b = _halves(x)
    first = grad * logistic(xp, b)
    return xp.concat([first, first * a * logistic(xp, -b)], axis=-1)


@accurate(
    shapes=lambda x: (_half(x),), donates=(), elementwise=False, backward=from_input(glu_backward)
)
def glu(xp: Namespace, x: Array) -> Array:
    """``a * sigmoid(b)``, a and b the first and the second half of the features: (n, 2k) -> (n, k).

    The second half is the gate, as in PyTorch. Source: Dauphin et al. 2017, eq. 1.
    """
    a, b = _halves(x)
    return a * logistic(xp, b)


def _swiglu_magnitude(xp: Namespace, grad: Array, x: Array) -> tuple[Array]:
    a, b = _halves(x)
    return (xp.concat([xp.abs(grad * b) * logistic(xp, b), *gate_magnitude(xp, grad * a, b)], -1),)


@kernel(shapes=lambda grad, x: (x,), magnitude=_swiglu_magnitude)
def swiglu_backward(xp: Namespace, grad: Array, x: Array) -> Array:
    """``grad silu(b)`` beside ``grad a silu'(b)``: (n, k), (n, 2k) -> (n, 2k)."""
    a, b = _halves(x)
    gate: Array = silu.meaning(xp, b)
    return xp.concat([grad * gate, silu_backward.meaning(xp, grad * a, b)], axis=-1)


@accurate(
    shapes=lambda x: (_half(x),),
    donates=(),
    elementwise=False,
    backward=from_input(swiglu_backward),
)
def swiglu(xp: Namespace, x: Array) -> Array:
    """``a * silu(b)``, a and b the first and the second half of the features: (n, 2k) -> (n, k).

    The second half is the gate, as of ``glu``. Source: Shazeer 2020, eq. 5.
    """
    a, b = _halves(x)
    gate: Array = silu.meaning(xp, b)
    return a * gate


# -- the largest of some -------------------------------------------------------------------


def _grouped(xp: Namespace, x: Array, pieces: int) -> Array:
    return xp.reshape(x, (*x.shape[:-1], x.shape[-1] // pieces, pieces))


def _largest(xp: Namespace, x: Array, pieces: int = 2) -> Any:
    """Which of its group each output is: the first of equal ones."""
    return xp.argmax(_grouped(xp, x, pieces), axis=-1)


@accurate(shapes=lambda grad, x, pieces=2: (x,), donates=(), elementwise=False)
def maxout_backward(xp: Namespace, grad: Array, x: Array, pieces: int = 2) -> Array:
    """``grad`` for the largest of each group, the first of equal ones, and 0 for the others."""
    hot = one_hot(xp, xp.expand_dims(_largest(xp, x, pieces), axis=-1), pieces)
    share = xp.expand_dims(grad, axis=-1)
    return xp.reshape(xp.where(hot, share, xp.zeros_like(share)), x.shape)


@accurate(
    shapes=lambda x, pieces=2: ((*x[:-1], int(x[-1]) // pieces),),
    donates=(),
    elementwise=False,
    backward=from_input(maxout_backward),
    branch=_largest,
)
def maxout(xp: Namespace, x: Array, pieces: int = 2) -> Array:
    """``a_j = max`` of features j pieces, ..., j pieces + pieces - 1: (n, k pieces) -> (n, k).

    Source: Goodfellow et al. 2013, eq. 1, with one matrix for all pieces.
    """
    return xp.max(_grouped(xp, x, pieces), axis=-1)
