"""Each lowered kernel as the NumPy calls that write it into memory that is already there.

A lowering has its kernel's name and takes ``new`` (scratch memory), the input arrays, the
output arrays; it returns ``(function, arguments)`` pairs. An output may share memory with the
input it is donated; no other input is ever written. A kernel without a lowering runs its
meaning and copies the result.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from portable_nn import kernels
from portable_nn.runner import as_declared
from portable_nn_numpy.memory import BoundCall
from portable_nn_numpy.namespace import xp

if TYPE_CHECKING:
    from portable_nn.typing import HostArray

Op = tuple[Callable[..., Any], tuple[Any, ...]]
Lowering = Callable[..., list[Op]]


class Scratch:
    """Memory that is free again after each call: the k-th request of every call shares it."""

    def __init__(self) -> None:
        self._pool: list[HostArray] = []
        self._next = 0

    def restart(self) -> None:
        """Begin a new call."""
        self._next = 0

    def __call__(self, like: HostArray, dtype: Any = None) -> HostArray:
        """Uninitialised memory shaped and ordered as ``like``, of its dtype or another."""
        kind = np.dtype(dtype or like.dtype)
        size = math.prod(like.shape) * kind.itemsize
        if self._next == len(self._pool):
            self._pool.append(np.empty(0, np.uint8))
        if self._pool[self._next].size < size:
            self._pool[self._next] = np.empty(size, np.uint8)
        self._next += 1
        memory: HostArray = self._pool[self._next - 1][:size].view(kind)
        return memory.reshape(like.shape) if _by_rows(like) else memory.reshape(like.T.shape).T


def lower(call: BoundCall, scratch: Scratch) -> list[Op]:
    """The bound functions of one call; matrices only, a leading axis is for the meanings."""
    lowering = LOWERINGS.get(call.kernel)
    if lowering is None or any(array.ndim > 2 for array in call.inputs):
        return [(_by_meaning, (part,)) for part in _stretches(call, 2**15)]
    ops: list[Op] = []
    for part in _stretches(call, 2**17):
        scratch.restart()
        ops += lowering(scratch, *part.inputs, *part.outputs, **call.attributes)
    return ops


def _stretches(call: BoundCall, size: int) -> list[BoundCall]:
    """The call, if it is elementwise one stretch of memory after another.

    What is formed on the way then stays in the cache, and needs no new memory each time.
    """
    arrays = [array for array in (*call.inputs, *call.outputs) if array.ndim]
    together = all(array.flags.c_contiguous for array in arrays) or all(
        array.flags.f_contiguous for array in arrays
    )
    if not (call.kernel.elementwise and together and arrays and arrays[0].size > size):
        return [call]

    def cut(array: HostArray, start: int) -> HostArray:
        return array.ravel("K")[start : start + size] if array.ndim else array

    return [
        replace(
            call,
            inputs=[cut(array, start) for array in call.inputs],
            outputs=[cut(array, start) for array in call.outputs],
        )
        for start in range(0, arrays[0].size, size)
    ]


def _by_meaning(call: BoundCall) -> None:
    values = call.kernel.meaning(xp, *call.inputs, **call.attributes)
    values = values if isinstance(values, tuple) else (values,)
    # An output may be an input as it is, which the copy of an earlier output would overwrite.
    values = [np.array(v) if _shares(v, call.outputs) else v for v in values]
    for place, value in zip(call.outputs, values, strict=True):
        if (value.shape, value.dtype) != (place.shape, place.dtype):
            raise as_declared(call.kernel.name, value, str(place.dtype), place.shape)
        np.copyto(place, value)


def _by_rows(array: HostArray) -> bool:
    """Whether it lies row after row; else it lies column after column."""
    return array.flags.c_contiguous or not array.flags.f_contiguous


def _product(a: HostArray, b: HostArray, out: HostArray) -> Op:
    """``out = a @ b``; ``dot`` is bound, as looking it up costs as much as a small product."""
    return (a.dot, (b, out)) if _by_rows(out) else (b.T.dot, (a.T, out.T))


def _shares(value: HostArray, arrays: Sequence[HostArray]) -> bool:
    return any(np.may_share_memory(value, array) for array in arrays)


def take_rows(new: Scratch, data: HostArray, index: HostArray, out: HostArray) -> list[Op]:
    return [(data.take, (index, 0, out, "clip"))]  # the other modes buffer their output


def embedding(new: Scratch, codes: HostArray, table: HostArray, out: HostArray) -> list[Op]:
    return [(_look_up, (codes, table, out.reshape(-1, table.shape[1])))]


def _index(codes: HostArray, table: HostArray) -> tuple[HostArray, HostArray]:
    """The row of each of the codes, and whether it is that code."""
    flat = codes.reshape(-1)
    with np.errstate(invalid="ignore"):
        index = flat.clip(0, len(table) - 1).astype(np.intp)
    return index, index == flat


def _look_up(codes: HostArray, table: HostArray, out: HostArray) -> None:
    index, known = _index(codes, table)
    table.take(index, 0, out, "clip")
    out[~known] = np.nan


def embedding_grad(new: Scratch, *arrays: HostArray) -> list[Op]:
    return [(_sum_by_code, arrays)]


def _sum_by_code(codes: HostArray, grad: HostArray, table: HostArray, out: HostArray) -> None:
    """Sums of sorted rows; with a NaN or a code that is none, the product that the meaning is."""
    rows = grad.reshape(-1, table.shape[1])
    index, known = _index(codes, table)
    if np.isfinite(rows).all() and known.all():
        order = np.argsort(index, kind="stable")
        first = np.flatnonzero(np.diff(index[order], prepend=-1))
        out[...] = 0.0
        out[index[order[first]]] = np.add.reduceat(rows[order], first, axis=0)
    else:
        np.copyto(out, kernels.embedding_grad.meaning(xp, codes, grad, table))


def linear(new: Scratch, x: HostArray, weight: HostArray, *rest: HostArray) -> list[Op]:
    *bias, z = rest
    return [_product(x, weight, z), *[(np.add, (z, b, z)) for b in bias]]


def linear_grad_input(new: Scratch, grad: HostArray, weight: HostArray, out: HostArray) -> list[Op]:
    return [_product(grad, weight.T, out)]


def linear_grad_weight(new: Scratch, x: HostArray, grad: HostArray, out: HostArray) -> list[Op]:
    return [_product(x.T, grad, out)]


def linear_grad_bias(new: Scratch, grad: HostArray, out: HostArray) -> list[Op]:
    return [_product(np.ones(len(grad), grad.dtype), grad, out)]  # a sum, but more accurate


def add(new: Scratch, a: HostArray, b: HostArray, out: HostArray) -> list[Op]:
    return [(np.add, (a, b, out))]


def multiply(new: Scratch, a: HostArray, b: HostArray, out: HostArray) -> list[Op]:
    return [(np.multiply, (a, b, out))]


def relu(new: Scratch, z: HostArray, out: HostArray) -> list[Op]:
    zero, inf = np.zeros((), z.dtype), np.full((), np.inf, z.dtype)
    return [(z.clip, (zero, inf, out))]  # vectorised, unlike maximum with a scalar; NaN stays


def relu_backward(new: Scratch, grad: HostArray, a: HostArray, out: HostArray) -> list[Op]:
    positive = new(a, bool)
    return [
        (np.greater, (a, np.zeros((), a.dtype), positive)),
        (np.multiply, (grad, positive, out)),
    ]


def tanh(new: Scratch, z: HostArray, out: HostArray) -> list[Op]:
    return [(np.tanh, (z, out))]


def tanh_backward(new: Scratch, grad: HostArray, a: HostArray, out: HostArray) -> list[Op]:
    slope, one = new(a), np.ones((), a.dtype)
    square = [(np.multiply, (a, a, slope)), (np.subtract, (one, slope, slope))]
    return [*square, (np.multiply, (grad, slope, out))]


def sigmoid(new: Scratch, z: HostArray, out: HostArray) -> list[Op]:
    above, below, one = new(z), new(z), np.ones((), z.dtype)
    top: list[Op] = [(z.clip, (one * -np.inf, one * 0, above)), (np.exp, (above, above))]
    decay = [(np.absolute, (z, below)), (np.negative, (below, below)), (np.exp, (below, below))]
    return [*top, *decay, (np.add, (below, one, below)), (np.divide, (above, below, out))]


def sigmoid_backward(new: Scratch, grad: HostArray, a: HostArray, out: HostArray) -> list[Op]:
    slope, one = new(a), np.ones((), a.dtype)
    derivative = [(np.subtract, (one, a, slope)), (np.multiply, (a, slope, slope))]
    return [*derivative, (np.multiply, (grad, slope, out))]


def _softmax(z: HostArray, row: HostArray, shift: HostArray, e: HostArray) -> list[Op]:
    """Leave ``z - max z`` in shift, its exponential in e, and the sum of that in row."""
    shifted: list[Op] = [
        (np.maximum.reduce, (z, -1, None, row, True)),
        (np.subtract, (z, row, shift)),
    ]
    return [*shifted, (np.exp, (shift, e)), _row_sum(e, row)]


def _row_sum(terms: HostArray, row: HostArray) -> Op:
    return (np.add.reduce, (terms, -1, None, row, True))


def softmax(new: Scratch, z: HostArray, out: HostArray) -> list[Op]:
    row = new(z[..., :1])
    return [*_softmax(z, row, out, out), (np.divide, (out, row, out))]


def softmax_backward(new: Scratch, grad: HostArray, a: HostArray, out: HostArray) -> list[Op]:
    product, row = new(a), new(a[..., :1])
    mean: list[Op] = [(np.multiply, (grad, a, product)), _row_sum(product, row)]
    return [*mean, (np.subtract, (grad, row, product)), (np.multiply, (product, a, out))]


def _weighted_sum(terms: HostArray, weight: HostArray, out: HostArray) -> Op:
    """The sum of all products; both lie in memory alike."""
    return (terms.ravel("K").dot, (weight.ravel("K"), out))


def cross_entropy(new: Scratch, *arrays: HostArray, label_smoothing: float = 0.0) -> list[Op]:
    z, targets, weight, scale, loss, grad = arrays
    shift, e, hot, row, mine, share = *(new(z) for _ in range(3)), *(new(weight) for _ in range(3))
    kept = np.full((), 1.0 - label_smoothing, z.dtype)
    rest = np.full((), label_smoothing / z.shape[-1], z.dtype)
    smoothed = [(np.multiply, (hot, kept, hot)), (np.add, (hot, rest, hot))]
    return [
        *_softmax(z, row, shift, e),
        (np.equal, (targets, np.arange(z.shape[-1]), hot)),
        *(smoothed if label_smoothing else []),
        (np.multiply, (shift, hot, shift)),
        _row_sum(shift, mine),
        (np.divide, (e, row, e)),
        (np.subtract, (e, hot, e)),
        (np.multiply, (weight, scale, share)),
        (np.multiply, (e, share, grad)),
        (np.log, (row, row)),
        (np.subtract, (row, mine, row)),
        _weighted_sum(row, share, loss),
    ]


def mean_squared_error(new: Scratch, *arrays: HostArray) -> list[Op]:
    z, targets, weight, scale, loss, grad = arrays
    error, share = new(grad), new(weight)
    mean = [(np.multiply, (share, np.full((), 1.0 / z.shape[-1], z.dtype), share))]
    return [
        (np.subtract, (z, targets, error)),
        (np.multiply, (weight, scale, share)),
        *(mean if z.shape[-1] > 1 else []),
        (np.multiply, (error, share, grad)),
        _weighted_sum(error, grad, loss),
        (np.add, (grad, grad, grad)),
    ]


def sgd(
    new: Scratch, parameter: HostArray, grad: HostArray, learning_rate: HostArray, out: HostArray
) -> list[Op]:
    move = new(grad)
    return [(np.multiply, (grad, learning_rate, move)), (np.subtract, (parameter, move, out))]


def _average(
    old: HostArray,
    decay: HostArray,
    value: HostArray,
    rest: HostArray,
    t: HostArray,
    out: HostArray,
) -> list[Op]:
    """``out = old * decay + value * rest``, which leaves the second product in t."""
    parts = [(np.multiply, (value, rest, t)), (np.multiply, (old, decay, out))]
    return [*parts, (np.add, (out, t, out))]


def momentum(new: Scratch, *arrays: HostArray) -> list[Op]:
    p, g, v, decay, learning_rate, p1, v1 = arrays
    return [*_average(v, decay, g, learning_rate, new(g), v1), (np.subtract, (p, v1, p1))]


def nesterov(new: Scratch, *arrays: HostArray) -> list[Op]:
    p, g, v, decay, learning_rate, p1, v1 = arrays
    t, u = new(g), new(g)
    velocity = _average(v, decay, g, learning_rate, t, v1)
    move: list[Op] = [(np.multiply, (v1, decay, u)), (np.add, (u, t, u))]
    return [*velocity, *move, (np.subtract, (p, u, p1))]


def rmsprop(new: Scratch, *arrays: HostArray) -> list[Op]:
    p, g, s, beta, rest, learning_rate, epsilon, p1, s1 = arrays
    t, u = new(g), new(g)
    mean: list[Op] = [(np.multiply, (g, g, t)), *_average(s, beta, t, rest, t, s1)]
    root: list[Op] = [(np.add, (s1, epsilon, t)), (np.sqrt, (t, t))]
    move: list[Op] = [(np.multiply, (g, learning_rate, u)), (np.divide, (u, t, u))]
    return [*mean, *root, *move, (np.subtract, (p, u, p1))]


def adam(new: Scratch, *arrays: HostArray) -> list[Op]:
    p, g, m, v, beta1, rest1, beta2, rest2, step_size, epsilon, p1, m1, v1 = arrays
    t = new(g)
    square = [(np.square, (g, t))]
    moments = _average(m, beta1, g, rest1, t, m1) + square + _average(v, beta2, t, rest2, t, v1)
    root: list[Op] = [(np.sqrt, (v1, t)), (np.add, (t, epsilon, t)), (np.divide, (m1, t, t))]
    return [*moments, *root, (np.multiply, (t, step_size, t)), (np.subtract, (p, t, p1))]


def adamw(new: Scratch, *arrays: HostArray) -> list[Op]:
    p, *numbers, decay, p1, m1, v1 = arrays
    t = new(p)
    decayed: list[Op] = [(np.multiply, (p, decay, t)), (np.subtract, (p, t, p1))]
    return [*decayed, *adam(new, p1, *numbers, p1, m1, v1)]


LOWERINGS: dict[kernels.Kernel, Lowering] = {
    getattr(kernels, lowering.__name__): lowering
    for lowering in (
        adam,
        adamw,
        add,
        cross_entropy,
        embedding,
        embedding_grad,
        linear,
        linear_grad_bias,
        linear_grad_input,
        linear_grad_weight,
        mean_squared_error,
        momentum,
        multiply,
        nesterov,
        relu,
        relu_backward,
        rmsprop,
        sgd,
        sigmoid,
        sigmoid_backward,
        softmax,
        softmax_backward,
        take_rows,
        tanh,
        tanh_backward,
    )
}
"""By kernel; what is not here runs its meaning."""
