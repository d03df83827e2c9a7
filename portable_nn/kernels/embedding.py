"""Rows of a trained table, looked up by codes, and the table's gradient.

Codes are whole numbers among the floats of a data table, checked at the door. One that is none
gives NaN, and nothing to the gradient.
"""

from __future__ import annotations

import math

from portable_nn.kernels._kernel import Gradient, kernel
from portable_nn.typing import Array, Namespace, Shape


def _index(xp: Namespace, codes: Array, table: Array) -> tuple[Array, Array]:
    """Each of the codes, 0 for one that is none, and whether it is one: (n * m,)."""
    flat = xp.reshape(codes, (-1,))
    nothing, last = xp.zeros_like(flat), xp.full_like(flat, float(table.shape[-2] - 1))
    known = xp.equal(xp.clip(xp.floor(flat), nothing, last), flat)
    return xp.astype(xp.where(known, flat, nothing), xp.int32), known


def _grad_magnitude(xp: Namespace, codes: Array, grad: Array, table: Array) -> tuple[Array, ...]:
    return (embedding_grad.meaning(xp, codes, xp.abs(grad), table),)


def _magnitude(xp: Namespace, codes: Array, table: Array) -> tuple[Array, ...]:
    return (embedding.meaning(xp, codes, xp.abs(table)),)


def one_hot_size(codes: Shape, grad: Shape, table: Shape) -> int:
    """How many numbers ``embedding_grad`` forms on the way."""
    return math.prod(int(size) for size in codes) * int(table[-2])


@kernel(
    shapes=lambda codes, grad, table: ((*grad[:-2], *table[-2:]),),
    magnitude=_grad_magnitude,
    length=lambda codes, grad, table: math.prod(codes[-2:]),
    cost=lambda codes, grad, table: 2 * one_hot_size(codes, grad, table) * table[-1],
)
def embedding_grad(xp: Namespace, codes: Array, grad: Array, table: Array) -> Array:
    """``dL/dtable``: codes (n, m), grad (n, m * k), table (c, k) -> (c, k); table is its shape.

    Row c is the sum of the gradients where c was looked up. It is a product with one-hot rows, so
    that its order is fixed; 0 times NaN is NaN in it, for every code.
    """
    device = getattr(codes, "device", None)  # not every library's arrays have one
    every = xp.arange(table.shape[-2], dtype=codes.dtype, device=device)
    hot = xp.astype(xp.reshape(codes, (-1, 1)) == every, grad.dtype)
    return xp.matrix_transpose(hot) @ xp.reshape(grad, (*grad.shape[:-2], -1, table.shape[-1]))


@kernel(
    shapes=lambda codes, table: ((*table[:-2], codes[-2], codes[-1] * table[-1]),),
    backward=lambda call, grads: [
        Gradient((1,), (call.inputs[0], grads[0], call.inputs[1]), embedding_grad)
    ],
    magnitude=_magnitude,
    cost=lambda codes, table: 0,
)
def embedding(xp: Namespace, codes: Array, table: Array) -> Array:
    """Rows of table (c, k) at codes (n, m), those of a row side by side: (n, m * k).

    A population of tables shares its codes.
    """
    index, known = _index(xp, codes, table)
    rows = xp.take(table, index, axis=-2)
    rows = xp.where(known[:, None], rows, xp.full_like(rows, xp.nan))
    return xp.reshape(rows, (*table.shape[:-2], codes.shape[-2], -1))
