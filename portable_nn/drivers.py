"""Optimizers in driver form: they ask for losses and gradients themselves.

An update of such an optimizer is an iteration of its own: it moves all parameters, as one vector,
and asks for loss and gradient wherever it likes. It sees all rows at every update.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, runtime_checkable

from portable_nn.errors import NetworkError
from portable_nn.schedules import whole
from portable_nn.typing import Array


class Point(NamedTuple):
    """All parameters as one vector (p,), the loss there, and its gradient (p,)."""

    x: Array
    loss: float
    grad: Array


Evaluate = Callable[[Array], Point]


@runtime_checkable
class Driver(Protocol):
    """An optimizer in driver form."""

    def advance(self, xp: Any, evaluate: Evaluate, start: Point, memory: Any) -> tuple[Point, Any]:
        """One update: from ``start`` to another point, and what to remember until the next.

        ``memory`` is None at the first update.
        """


Pair = tuple[Array, Array, float]
"""A step s, the change y of the gradient along it, and their product."""


def _dot(xp: Any, a: Array, b: Array) -> float:
    """Of vectors over their largest numbers, as products of these may overflow."""
    sizes = [float(xp.max(xp.abs(vector))) or 1.0 for vector in (a, b)]
    return sizes[0] * sizes[1] * float(xp.sum((a / sizes[0]) * (b / sizes[1])))


@dataclass(frozen=True)
class LBFGS:
    """Limited-memory BFGS: steps of a Newton method whose curvature is learned on the way.

    For small data and smooth networks: each update takes all rows (``batch_size=None``, if wanted
    in parts with ``micro_batch_size``) and searches along its direction until the weak Wolfe
    conditions hold. Every epoch is one update.

    Parameters
    ----------
    memory
        How many earlier steps the curvature comes from.
    evaluations
        Of loss and gradient in one search, at most; where none is better the update changes
        nothing, and the next begins anew along the gradient.

    Source: Nocedal and Wright 2006, algorithm 7.4, with the line search of Lewis and Overton 2013,
    algorithm 2.6. SciPy's, which scikit-learn takes, and PyTorch's with ``line_search_fn`` look for
    the strong conditions; PyTorch's without takes steps of a fixed length.
    """

    memory: int = 10
    evaluations: int = 25

    def __post_init__(self) -> None:
        for name in ("memory", "evaluations"):
            value = getattr(self, name)
            if not whole(value):
                raise NetworkError(
                    f"LBFGS takes a whole number, 1 or more, as {name}; got {value!r:.60}."
                )

    def advance(
        self, xp: Any, evaluate: Evaluate, start: Point, memory: Sequence[Pair] | None
    ) -> tuple[Point, Sequence[Pair]]:
        pairs = memory or []
        direction = _newton(xp, -start.grad, pairs)
        length = 1.0 if pairs else 1.0 / max(1.0, math.sqrt(_dot(xp, start.grad, start.grad)))
        found = self._search(xp, evaluate, start, direction, length)
        if found is None:
            return start, []
        step, change = found.x - start.x, found.grad - start.grad
        product = _dot(xp, step, change)
        kept = [*pairs, (step, change, product)] if product > 0.0 else pairs
        return found, kept[-self.memory :]

    def _search(
        self, xp: Any, evaluate: Evaluate, start: Point, direction: Array, length: float
    ) -> Point | None:
        """A point along the direction that is low enough, and as far as the slope falls."""
        slope, low, high = _dot(xp, direction, start.grad), 0.0, math.inf
        rounding, best = 4.0 * float(xp.finfo(start.x.dtype).eps) * abs(start.loss), None
        for _ in range(self.evaluations):
            found = evaluate(start.x + direction * length)
            if not found.loss <= start.loss + 1e-4 * length * slope + rounding:
                high = length  # also where the loss is not finite
            elif _dot(xp, direction, found.grad) < 0.9 * slope:
                low, best = length, found
            else:
                return found
            length = (low + high) / 2.0 if high < math.inf else 2.0 * low
        return best


def _newton(xp: Any, descent: Array, pairs: Sequence[Pair]) -> Array:
    """The inverse of the curvature in ``pairs`` on a vector: the two loops."""
    shares = []
    for step, change, product in reversed(pairs):
        shares.append(_dot(xp, step, descent) / product)
        descent = descent - change * shares[-1]
    for _, change, product in pairs[-1:]:
        descent = descent * (product / _dot(xp, change, change))
    for (step, change, product), share in zip(pairs, reversed(shares), strict=True):
        descent = descent + step * (share - _dot(xp, change, descent) / product)
    return descent


class Drive:
    """A driver at work on one training: what it remembers, and parameters as one vector."""

    def __init__(self, driver: Driver) -> None:
        self._driver, self._memory = driver, None

    def update(self, training: Any, gradient: Callable[[], Array], loss: Array) -> bool:
        """Move the parameters of a ``Training`` whose last loss and gradient are known.

        ``gradient`` computes both anew where the parameters are, and returns the loss. Returns
        whether the last of these was where the parameters now are.
        """
        backend, gradients = training.session.backend, training.plan.gradients
        xp = backend.xp

        def vector(names: Sequence[str]) -> Any:
            return xp.concat([xp.reshape(training.read(name), (-1,)) for name in names])

        def move(x: Array) -> None:
            first = 0
            for name in gradients:
                shape = training.plan.buffers[name].bound({})
                last = first + math.prod(shape)
                training.write(name, xp.reshape(x[first:last], shape))
                first = last

        def here(loss: Array) -> Point:
            value = float(backend.to_host(loss))
            return Point(vector(list(gradients)), value, vector(list(gradients.values())))

        last = here(loss)

        def evaluate(x: Array) -> Point:
            nonlocal last
            move(x)
            last = here(gradient())
            return last

        found, self._memory = self._driver.advance(xp, evaluate, last, self._memory)
        if found is not last:
            move(found.x)
        return found is last
