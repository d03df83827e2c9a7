"""Features side by side, some of them alone, and the gradients of both.

The numbers are moved, never rounded. What a gradient kernel is given beside its gradient says
how wide things are; its numbers do not matter.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, pairwise

from portable_nn.errors import NetworkError
from portable_nn.kernels._kernel import Call, Gradient, multilinear
from portable_nn.typing import Array, Namespace, Shape


@multilinear(
    shapes=lambda grad, *xs: tuple((*grad[:-1], x[-1]) for x in xs), cost=lambda grad, *xs: 0
)
def split_features(xp: Namespace, grad: Array, *xs: Array) -> tuple[Array, ...]:
    """``dL/dx_k``: grad (n, sum of k) cut into parts as wide as the xs (n, k)."""
    ends = accumulate([x.shape[-1] for x in xs], initial=0)
    return tuple(grad[..., start:stop] for start, stop in pairwise(ends))


def _concatenate_backward(call: Call, grads: Sequence[str]) -> list[Gradient]:
    every = tuple(range(len(call.inputs)))
    return [Gradient(every, (grads[0], *call.inputs), split_features)]


def _side_by_side(*xs: Shape) -> tuple[Shape, ...]:
    if len({x[-2] for x in xs}) > 1:
        raise NetworkError(f"features of the same rows stand side by side; got shapes {xs}.")
    return ((*max([x[:-1] for x in xs], key=len), sum(int(x[-1]) for x in xs)),)


@multilinear(shapes=_side_by_side, backward=_concatenate_backward, cost=lambda *xs: 0)
def concatenate(xp: Namespace, *xs: Array) -> Array:
    """The features of xs (n, k) side by side, in this order: (n, sum of k)."""
    rows = max([x.shape[:-1] for x in xs], key=len)
    return xp.concat([xp.broadcast_to(x, (*rows, x.shape[-1])) for x in xs], axis=-1)


@multilinear(shapes=lambda grad, x, start=0: ((*grad[:-1], x[-1]),), cost=lambda grad, x: 0)
def pad_features(xp: Namespace, grad: Array, x: Array, start: int = 0) -> Array:
    """``dL/dx``: grad (n, k) from feature ``start`` on, zeros elsewhere, as wide as x."""
    nothing = xp.zeros_like(x)
    parts = nothing[..., :start], grad, nothing[..., start + grad.shape[-1] :]
    side: Array = concatenate.meaning(xp, *parts)
    return side


def _taken(x: Shape, start: int = 0, stop: int = 1) -> tuple[Shape, ...]:
    if not 0 <= start < stop <= int(x[-1]):
        raise NetworkError(f"features {start} to {stop} are not among the {x[-1]} that there are.")
    return ((*x[:-1], stop - start),)


def _take_backward(call: Call, grads: Sequence[str]) -> list[Gradient]:
    start = {"start": call.attributes.get("start", 0)}
    return [Gradient((0,), (grads[0], call.inputs[0]), pad_features, start)]


@multilinear(shapes=_taken, backward=_take_backward, cost=lambda x: 0)
def take_features(xp: Namespace, x: Array, start: int = 0, stop: int = 1) -> Array:
    """Features ``start`` up to, not with, ``stop`` of x (n, k): (n, stop - start)."""
    return x[..., start:stop]
