"""Numbers brought to mean 0 and deviation 1, over the rows of a batch or the features of a row.

A mean of large numbers is itself rounded, so deviations are taken from it twice: what the first
mean missed is the mean of the deviations. Then the result is as accurate as if the numbers had
been small, and what is left of their size is ``SLIP`` of it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from portable_nn.kernels._kernel import (
    Call,
    Gradient,
    Kernel,
    accurate,
    elementwise,
    kernel,
    multilinear,
)
from portable_nn.kernels.dense import linear_grad_bias
from portable_nn.typing import Array, Namespace

SLIP = 2.0**-16
"""Share of the size of numbers that the error of their deviations may grow with.

A float32 sum of n numbers is off by less than n 2^-24 of their size, the second mean by as much
of that.
"""


# -- what the kernels share ----------------------------------------------------------------


def _centred(xp: Namespace, x: Array, axis: int) -> tuple[Array, Array]:
    """Deviations from the mean, and the mean."""
    first = xp.mean(x, axis=axis, keepdims=True)
    missed = xp.mean(x - first, axis=axis, keepdims=True)
    return (x - first) - missed, first + missed


def _over_root(xp: Namespace, x: Array, epsilon: float, axis: int) -> tuple[Array, Array, Array]:
    """``x / sqrt(mean(x^2) + epsilon)``, 1 over that root, and the mean."""
    square = xp.mean(x * x, axis=axis, keepdims=True)
    inverse = 1.0 / xp.sqrt(square + epsilon)
    return x * inverse, inverse, square


def _sizes(xp: Namespace, x: Array, epsilon: float, axis: int) -> tuple[Array, ...]:
    """Of the errors of standard numbers, inverse, mean and variance."""
    centred, size = _centred(xp, x, axis)[0], xp.mean(xp.abs(x), axis=axis, keepdims=True)
    normal, inverse, variance = _over_root(xp, centred, epsilon, axis)
    deviation = xp.sqrt(variance) + SLIP * size
    return xp.abs(normal) + deviation * inverse, inverse, size, deviation * deviation


def _without(
    xp: Namespace,
    grad: Array,
    normal: Array,
    inverse: Array,
    axis: int,
    level: float = -1.0,
    along: float = -1.0,
) -> Array:
    """``inverse * (grad + level * mean(grad) + along * mean(grad * normal) * normal)``."""
    means = [xp.mean(value, axis=axis, keepdims=True) for value in (grad, grad * normal)]
    return inverse * (grad + level * means[0] + along * means[1] * normal)


def _gradient(axis: int, level: float = -1.0) -> dict[str, Any]:
    """What there is to know about a gradient kernel that is ``_without``."""

    def magnitude(xp: Namespace, grad: Array, normal: Array, inverse: Array) -> tuple[Array]:
        sizes = xp.abs(grad), xp.abs(normal), xp.abs(inverse)
        return (_without(xp, *sizes, axis, abs(level), 1.0),)

    return {
        "shapes": lambda grad, *rest: (grad,),
        "donates": ((0, 0),),
        "magnitude": magnitude,
        "length": lambda grad, *rest: grad[axis],
        "cost": lambda grad, *rest: 8 * math.prod(grad),
    }


def _backward(by: Kernel) -> Callable[[Call, Sequence[str]], list[Gradient]]:
    """Of kernels whose first outputs are the standard numbers and the inverse."""
    return lambda call, grads: [Gradient((0,), (grads[0], *call.outputs[:2]), by)]


# -- over the batch ------------------------------------------------------------------------


@kernel(**_gradient(-2))
def standardize_batch_backward(xp: Namespace, grad: Array, normal: Array, inverse: Array) -> Array:
    """``inverse * (grad - mean(grad) - mean(grad * normal) * normal)``, means over the rows."""
    return _without(xp, grad, normal, inverse, -2)


def _batch_sizes(xp: Namespace, x: Array, epsilon: float = 1e-5) -> tuple[Array, ...]:
    normal, inverse, mean, variance = _sizes(xp, x, epsilon, -2)
    return normal, inverse, xp.squeeze(mean, axis=-2), xp.squeeze(variance, axis=-2)


@kernel(
    shapes=lambda x, **options: (x, (*x[:-2], 1, x[-1]), *[(*x[:-2], x[-1])] * 2),
    backward=_backward(standardize_batch_backward),
    donates=((0, 0),),
    magnitude=_batch_sizes,
    length=lambda x: x[-2],
    cost=lambda x: 8 * math.prod(x),
    least_rows=2,
)
def standardize_batch(xp: Namespace, x: Array, epsilon: float = 1e-5) -> tuple[Array, ...]:
    """``(x - mean) / sqrt(variance + epsilon)`` of every feature of x (n, k): four outputs.

    These standard numbers (n, k); 1 over the root (1, k); the mean (k,) over the rows; and the
    variance (k,), unbiased (over n - 1), while that in the root is biased (over n).
    """
    centred, mean = _centred(xp, x, -2)
    normal, inverse, variance = _over_root(xp, centred, epsilon, -2)
    unbiased = variance * (x.shape[-2] / (x.shape[-2] - 1))
    return normal, inverse, xp.squeeze(mean, axis=-2), xp.squeeze(unbiased, axis=-2)


@accurate(shapes=lambda x, *moments, **options: (x,), elementwise=False)
def standardize_by(
    xp: Namespace, x: Array, mean: Array, variance: Array, epsilon: float = 1e-5
) -> Array:
    """``(x - mean) / sqrt(variance + epsilon)``: x (n, k), a known mean and variance (k,)."""
    root = xp.expand_dims(xp.sqrt(variance + epsilon), axis=-2)
    return (x - xp.expand_dims(mean, axis=-2)) / root


def _toward_size(xp: Namespace, old: Array, new: Array, rate: float = 0.1) -> tuple[Array]:
    return ((1.0 - rate) * xp.abs(old) + rate * xp.abs(new),)


@elementwise(magnitude=_toward_size)
def move_toward(xp: Namespace, old: Array, new: Array, rate: float = 0.1) -> Array:
    """``(1 - rate) old + rate new``: an average that forgets."""
    return (1.0 - rate) * old + rate * new


# -- over the features ---------------------------------------------------------------------


@kernel(**_gradient(-1))
def standardize_features_backward(
    xp: Namespace, grad: Array, normal: Array, inverse: Array
) -> Array:
    """``inverse * (grad - mean(grad) - mean(grad * normal) * normal)``, means over the row."""
    return _without(xp, grad, normal, inverse, -1)


@kernel(
    shapes=lambda x, **options: (x, (*x[:-1], 1)),
    backward=_backward(standardize_features_backward),
    donates=((0, 0),),
    magnitude=lambda xp, x, epsilon=1e-5: _sizes(xp, x, epsilon, -1)[:2],
    length=lambda x: x[-1],
    cost=lambda x: 8 * math.prod(x),
)
def standardize_features(xp: Namespace, x: Array, epsilon: float = 1e-5) -> tuple[Array, Array]:
    """``(x - mean) / sqrt(variance + epsilon)`` of every row of x (n, k), and 1 / root (n, 1)."""
    normal, inverse, _ = _over_root(xp, _centred(xp, x, -1)[0], epsilon, -1)
    return normal, inverse


@kernel(**_gradient(-1, level=0.0))
def divide_by_rms_backward(xp: Namespace, grad: Array, normal: Array, inverse: Array) -> Array:
    """``inverse * (grad - mean(grad * normal) * normal)``, the mean over the row."""
    return _without(xp, grad, normal, inverse, -1, level=0.0)


@kernel(
    shapes=lambda x, **options: (x, (*x[:-1], 1)),
    backward=_backward(divide_by_rms_backward),
    donates=((0, 0),),
    magnitude=lambda xp, x, epsilon=1e-6: _over_root(xp, xp.abs(x), epsilon, -1)[:2],
    length=lambda x: x[-1],
    cost=lambda x: 4 * math.prod(x),
)
def divide_by_rms(xp: Namespace, x: Array, epsilon: float = 1e-6) -> tuple[Array, Array]:
    """``x / sqrt(mean(x^2) + epsilon)`` of every row of x (n, k), and 1 / root (n, 1)."""
    normal, inverse, _ = _over_root(xp, x, epsilon, -1)
    return normal, inverse


# -- a scale and a shift -------------------------------------------------------------------


@multilinear(
    shapes=lambda x, grad: ((*grad[:-2], grad[-1]),),
    length=lambda x, grad: grad[-2],
    cost=lambda x, grad: 2 * math.prod(grad),
)
def scale_grad(xp: Namespace, x: Array, grad: Array) -> Array:
    """``dL/dscale``: the rows of ``x * grad`` summed: (n, k), (n, k) -> (k,)."""
    return xp.sum(x * grad, axis=-2)


def _scale_shift_backward(call: Call, grads: Sequence[str]) -> list[Gradient]:
    x, scale, *shift = call.inputs
    return [
        Gradient((0,), (grads[0], scale), scale_shift),
        Gradient((1,), (x, grads[0]), scale_grad),
        *[Gradient((2,), (grads[0],), linear_grad_bias) for _ in shift],
    ]


@multilinear(shapes=lambda x, *rows: (x,), backward=_scale_shift_backward, donates=((0, 0),))
def scale_shift(xp: Namespace, x: Array, scale: Array, shift: Array | None = None) -> Array:
    """``x * scale + shift`` of every row: x (n, k), scale (k,), shift (k,) or none."""
    y = x * xp.expand_dims(scale, axis=-2)
    return y if shift is None else y + xp.expand_dims(shift, axis=-2)
