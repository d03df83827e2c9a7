"""Numbers brought to mean 0 and deviation 1, over the rows of a batch or the features of a row.

A mean of large numbers is itself rounded, so deviations are taken from it twice: what the first
mean missed is the mean of the deviations. Then the result is as accurate as if the numbers had
been small, and what is left of their size is ``SLIP`` of it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from portable_nn.kernels._kernel import (
    Call,
    Gradient,
    Kernel,
    accurate,
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


def _row(xp: Namespace, of_features: Array) -> Array:
    """A number for each feature (k,) as a row (1, k)."""
    return xp.expand_dims(of_features, axis=-2)


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


def _standardized(xp: Namespace, x: Array, epsilon: float, axis: int) -> tuple[Array, ...]:
    """Standard numbers, 1 over the root, and mean and unbiased variance."""
    n, (centred, mean) = x.shape[axis], _centred(xp, x, axis)
    normal, inverse, square = _over_root(xp, centred, epsilon, axis)
    return normal, inverse, mean, square * (n / max(n - 1, 1))


def _sizes(xp: Namespace, x: Array, epsilon: float, axis: int) -> tuple[Array, ...]:
    """How large the errors of ``_standardized`` are."""
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


def _gradient(name: str, axis: int, level: float = -1.0) -> Kernel:
    """A kernel ``(grad, normal, inverse) -> dL/dx``: see ``_without``."""

    def meaning(xp: Namespace, grad: Array, normal: Array, inverse: Array) -> Array:
        """``inverse * (grad + level * mean(grad) - mean(grad * normal) * normal)``."""
        return _without(xp, grad, normal, inverse, axis, level)

    def magnitude(xp: Namespace, grad: Array, normal: Array, inverse: Array) -> tuple[Array]:
        sizes = xp.abs(grad), xp.abs(normal), xp.abs(inverse)
        return (_without(xp, *sizes, axis, abs(level), 1.0),)

    return Kernel(
        name,
        meaning,
        shapes=lambda grad, *rest: (grad,),
        donates=((0, 0),),
        magnitude=magnitude,
        length=lambda grad, *rest: grad[axis],
        cost=lambda grad, *rest: 8 * math.prod(grad),
    )


def _normalizer(axis: int, backward: Kernel) -> dict[str, Any]:
    """What there is to know of a kernel whose first outputs are standard numbers and inverse."""
    return {
        "backward": lambda call, grads: [
            Gradient((0,), (grads[0], *call.outputs[:2]), backward),
        ],
        "length": lambda x, *rest: x[axis],
        "cost": lambda x, *rest: 8 * math.prod(x),
    }


# -- over the batch ------------------------------------------------------------------------


standardize_batch_backward = _gradient("standardize_batch_backward", axis=-2)
"""``inverse * (grad - mean(grad) - mean(grad * normal) * normal)``, means over the rows."""


def _moved(
    xp: Namespace, old: Sequence[Array], found: Sequence[Array], momentum: float
) -> tuple[Array, ...]:
    """Standard numbers and inverse as found, and the averages moved to mean and variance."""
    normal, inverse, *new = found
    pairs = zip(old, [xp.squeeze(value, axis=-2) for value in new], strict=True)
    return normal, inverse, *[(1.0 - momentum) * before + momentum * now for before, now in pairs]


@kernel(
    **_normalizer(-2, standardize_batch_backward),
    shapes=lambda x, *old, **options: (x, (*x[:-2], 1, x[-1]), *old),
    donates=((0, 0), (2, 1), (3, 2)),
    magnitude=lambda xp, x, *old, momentum=0.1, epsilon=1e-5: _moved(
        xp, [xp.abs(value) for value in old], _sizes(xp, x, epsilon, -2), momentum
    ),
    least_rows=2,
)
def standardize_batch(
    xp: Namespace,
    x: Array,
    mean: Array,
    variance: Array,
    momentum: float = 0.1,
    epsilon: float = 1e-5,
) -> tuple[Array, ...]:
    """``(x - m) / sqrt(v + epsilon)`` of every feature of x (n, k), by mean m and variance v of it.

    These numbers (n, k); 1 over the root (1, k); and averages (k,) that forget, which become
    ``(1 - momentum) mean + momentum m`` and the same of the variance. That in the root is biased
    (over n), the one averaged is not (over n - 1).
    """
    return _moved(xp, (mean, variance), _standardized(xp, x, epsilon, -2), momentum)


@accurate(shapes=lambda x, *moments, **options: (x,), elementwise=False)
def standardize_by(
    xp: Namespace, x: Array, mean: Array, variance: Array, epsilon: float = 1e-5
) -> Array:
    """``(x - mean) / sqrt(variance + epsilon)``: x (n, k), a known mean and variance (k,)."""
    return (x - _row(xp, mean)) / _row(xp, xp.sqrt(variance + epsilon))


# -- over the features ---------------------------------------------------------------------


standardize_features_backward = _gradient("standardize_features_backward", axis=-1)
"""``inverse * (grad - mean(grad) - mean(grad * normal) * normal)``, means over the row."""


@kernel(
    **_normalizer(-1, standardize_features_backward),
    shapes=lambda x, **options: (x, (*x[:-1], 1)),
    donates=((0, 0),),
    magnitude=lambda xp, x, epsilon=1e-5: _sizes(xp, x, epsilon, -1)[:2],
)
def standardize_features(xp: Namespace, x: Array, epsilon: float = 1e-5) -> tuple[Array, Array]:
    """``(x - mean) / sqrt(variance + epsilon)`` of every row of x (n, k), and 1 / root (n, 1)."""
    normal, inverse, *_ = _standardized(xp, x, epsilon, -1)
    return normal, inverse


divide_by_rms_backward = _gradient("divide_by_rms_backward", axis=-1, level=0.0)
"""``inverse * (grad - mean(grad * normal) * normal)``, the mean over the row."""


@kernel(
    **_normalizer(-1, divide_by_rms_backward),
    shapes=lambda x, **options: (x, (*x[:-1], 1)),
    donates=((0, 0),),
    magnitude=lambda xp, x, epsilon=1e-6: _over_root(xp, xp.abs(x), epsilon, -1)[:2],
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
    y = x * _row(xp, scale)
    return y if shift is None else y + _row(xp, shift)
