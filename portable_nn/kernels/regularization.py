"""What is done to gradients before an update and to parameters after it.

Every hyper-parameter is a 0-d input, as in ``update.py``. None of these is differentiated.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from portable_nn.kernels._kernel import accurate, elementwise, kernel
from portable_nn.typing import Array, Namespace


@elementwise(
    magnitude=lambda xp, grad, p, l2, l1: (xp.abs(grad) + xp.abs(p) * l2 + xp.abs(xp.sign(p)) * l1,)
)
def penalized(xp: Namespace, grad: Array, parameter: Array, l2: Array, l1: Array) -> Array:
    """``g + l2 p + l1 sign(p)``: the gradient of the loss and of ``l2/2 p^2 + l1 |p|``."""
    return grad + parameter * l2 + xp.sign(parameter) * l1


@elementwise(magnitude=lambda xp, new, old, decay: (xp.abs(new) + xp.abs(old) * decay,))
def decayed(xp: Namespace, new: Array, old: Array, decay: Array) -> Array:
    """``p <- p - decay p_old``: decoupled decay, after an update of ``p_old``."""
    return new - old * decay


@accurate(branch=lambda xp, grad, limit: xp.abs(grad) > limit)
def clipped(xp: Namespace, grad: Array, limit: Array) -> Array:
    """``min(max(g, -limit), limit)``; NaN stays NaN."""
    return xp.minimum(xp.maximum(grad, -limit), limit)


@accurate()
def scaled(xp: Namespace, x: Array, factor: Array) -> Array:
    """``factor x``, for a 0-d factor."""
    return x * factor


def _norm(xp: Namespace, squared: Callable[[Array], Array], largest: Array) -> Array:
    """Root of a sum of squares of numbers over their largest, so that no square overflows."""
    size = xp.where(largest > 0.0, largest, xp.ones_like(largest))
    return size * xp.sqrt(squared(size))


def _global_norm(xp: Namespace, grads: Sequence[Array]) -> Array:
    """Norm of all gradients as one vector."""

    def squared(size: Array) -> Array:
        return xp.sum(xp.stack([xp.sum((grad / size) * (grad / size)) for grad in grads]))

    return _norm(xp, squared, xp.max(xp.stack([xp.max(xp.abs(grad)) for grad in grads])))


def _shortening(xp: Namespace, norm: Array, limit: Array) -> Array:
    """``min(1, limit / norm)``, 1 where both are 0; NaN stays NaN."""
    size = xp.maximum(norm, limit)
    one = xp.ones_like(size)
    nothing = xp.equal(size, xp.zeros_like(size))
    return xp.where(nothing, one, limit * one) / xp.where(nothing, one, size)


def _clip_factor(xp: Namespace, *inputs: Array) -> Array:
    *grads, limit = inputs
    return _shortening(xp, _global_norm(xp, grads), limit)


@kernel(
    shapes=lambda *inputs: ((),),
    magnitude=lambda xp, *inputs: (_clip_factor(xp, *inputs),),
    length=lambda *inputs: sum(math.prod(grad) for grad in inputs[:-1]),
    branch=lambda xp, *inputs: _global_norm(xp, inputs[:-1]) > inputs[-1],
    cost=lambda *inputs: 4 * sum(math.prod(grad) for grad in inputs[:-1]),
)
def clip_factor(xp: Namespace, *inputs: Array) -> Array:
    """``min(1, limit / norm)`` of gradients and, last, a limit; norm: of all as one vector.

    Source: Pascanu et al. 2013, section 3.2. PyTorch adds 1e-6 to the norm.
    """
    return _clip_factor(xp, *inputs)


@kernel(
    shapes=lambda weight, limit: (weight,),
    donates=((0, 0),),
    magnitude=lambda xp, weight, limit: (xp.abs(weight),),
    length=lambda weight, limit: weight[-2],
    branch=lambda xp, weight, limit: _column_norms(xp, weight) > limit,
    cost=lambda weight, limit: 3 * math.prod(weight),
)
def max_norm(xp: Namespace, weight: Array, limit: Array) -> Array:
    """Columns of a weight (in, out) whose norm is above ``limit``, shortened to it.

    A column is what goes into one unit. Source: Srebro and Shraibman 2005; Srivastava et al. 2014.
    """
    return weight * _shortening(xp, _column_norms(xp, weight), limit)


def _column_norms(xp: Namespace, weight: Array) -> Array:
    def squared(size: Array) -> Array:
        return xp.sum((weight / size) * (weight / size), axis=-2, keepdims=True)

    return _norm(xp, squared, xp.max(xp.abs(weight), axis=-2, keepdims=True))


@elementwise(
    magnitude=lambda xp, average, new, rest, rate: (xp.abs(average) * rest + xp.abs(new) * rate,)
)
def average(xp: Namespace, average: Array, new: Array, rest: Array, rate: Array) -> Array:
    """``a <- rest a + rate p``, an exponential moving average; rest is ``1 - rate``."""
    return average * rest + new * rate


@elementwise(
    magnitude=lambda xp, average, new, count: (
        (xp.abs(average) * count + xp.abs(new)) / (count + 1.0),
    )
)
def average_equally(xp: Namespace, average: Array, new: Array, count: Array) -> Array:
    """``a <- (count a + p) / (count + 1)``: the mean of ``count`` values before and this one."""
    return (average * count + new) / (count + 1.0)
