"""Rows of a trained table, looked up by codes, and the table's gradient.

Codes are whole numbers among the floats of a data table, checked at the door. One that is none
gives NaN, and nothing to the gradient.
"""

from __future__ import annotations

import math

from portable_nn.kernels._codes import one_hot
from portable_nn.kernels._kernel import Gradient, multilinear
from portable_nn.typing import Array, Namespace, Shape


def _one_hot_size(codes: Shape, grad: Shape, table: Shape) -> int:
    """One number for each code and category."""
    return math.prod(int(size) for size in codes) * int(table[-2])


@multilinear(
    shapes=lambda codes, grad, table: ((*grad[:-2], *table[-2:]),),
    length=lambda codes, grad, table: math.prod(codes[-2:]),
    cost=lambda codes, grad, table: 2 * _one_hot_size(codes, grad, table) * table[-1],
    workspace=_one_hot_size,
)
def embedding_grad(xp: Namespace, codes: Array, grad: Array, table: Array) -> Array:
    """``dL/dtable``: codes (n, m), grad (n, m * k), table (c, k) -> (c, k); table is its shape.

    Row c is the sum of the gradients where c was looked up. It is a product with one-hot rows, so
    that its order is fixed; 0 times NaN is NaN in it, for every code.
    """
    hot = xp.astype(one_hot(xp, xp.reshape(codes, (-1, 1)), table.shape[-2]), grad.dtype)
    return xp.matrix_transpose(hot) @ xp.reshape(grad, (*grad.shape[:-2], -1, table.shape[-1]))


@multilinear(
    shapes=lambda codes, table: ((*table[:-2], codes[-2], codes[-1] * table[-1]),),
    backward=lambda call, grads: [
        Gradient((1,), (call.inputs[0], grads[0], call.inputs[1]), embedding_grad)
    ],
    cost=lambda codes, table: 0,
)
def embedding(xp: Namespace, codes: Array, table: Array) -> Array:
    """Rows of table (c, k) at codes (n, m), those of a row side by side: (n, m * k).

    A population of tables shares its codes.
    """
    flat = xp.reshape(codes, (-1,))
    known = xp.equal(xp.clip(xp.floor(flat), 0.0, float(table.shape[-2] - 1)), flat)
    index = xp.astype(xp.where(known, flat, xp.zeros_like(flat)), xp.int32)
    rows = xp.take(table, index, axis=-2)
    rows = xp.where(known[:, None], rows, xp.full_like(rows, xp.nan))
    return xp.reshape(rows, (*table.shape[:-2], codes.shape[-2], -1))
