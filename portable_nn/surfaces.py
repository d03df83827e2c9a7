"""The loss over two of a network's parameters: the surface that training descends.

Host side: the grid of points. Its losses are a sweep of the evaluation plan in which the
parameters that move have one more axis in front, a population of networks.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from portable_nn import checks
from portable_nn.arrays import brief
from portable_nn.backend import Backend, Where, get_backend
from portable_nn.errors import DataError, NetworkError
from portable_nn.network import Network
from portable_nn.plan import Plan
from portable_nn.random import Draws
from portable_nn.runner import trace
from portable_nn.schedules import real
from portable_nn.session import CHUNK, Rows

if TYPE_CHECKING:
    from portable_nn.typing import HostArray

MEMORY = 1 << 17
"""Numbers that the buffers of one part of a sweep may hold together: a core's cache or so."""


@dataclass(frozen=True, eq=False)
class LossSurface:
    """Losses on a grid.

    Attributes
    ----------
    a, b : (points,)
        The values of both parameters, or steps along the directions; ``b`` is (1,) if only
        one parameter moves.
    loss : (len(b), len(a))
        Mean over the rows as in ``history``; float64.
    names
        What ``a`` and ``b`` are.
    here
        ``(a, b, loss)`` of the network as it stands.
    """

    a: HostArray
    b: HostArray
    loss: HostArray
    names: tuple[str, str]
    here: tuple[float, float, float]


@dataclass(frozen=True, eq=False)
class _Axis:
    """``values`` to go through, ``here`` among them, and how a step of 1 moves parameters."""

    name: str
    values: HostArray
    here: float
    direction: Mapping[str, HostArray]


def loss_surface(
    network: Network,
    x: Any,
    y: Any,
    parameter_a: str | None = None,
    parameter_b: str | None = None,
    *,
    range_a: tuple[float, float] | None = None,
    range_b: tuple[float, float] | None = None,
    points: int = 41,
    sample_weight: Any = None,
    seed: int = 0,
    backend: Where = None,
) -> LossSurface:
    """Loss of a network over two of its parameters, or two random directions around it.

    Parameters
    ----------
    network
        One that has parameters; they are not changed.
    x, y, sample_weight
        The rows to measure the loss on, as for ``fit``.
    parameter_a, parameter_b
        One number of a parameter, ``"dense1.weight[0, 2]"``, or ``"dense1.weight"`` if it has
        no other. Without ``parameter_b``, only ``parameter_a`` moves. Without both, the
        network moves along two random directions that are scaled like its weights: for every
        unit, normal numbers with the norm of the weights that go into it (Li et al. 2018,
        section 4; they leave biases where they are, here a bias vector counts as a unit).
    range_a, range_b
        ``(low, high)``, both included: values of the parameter, if None 5 to each side of where
        it is; or steps along the direction, if None -1 to 1, where 0 is the network.
    points
        Values of each.
    seed
        Of random directions.
    backend
        Where to compute; if None, where the network is.

    Raises
    ------
    NotFittedError, NetworkError, DataError, ShapeError, BackendError
        Before anything is computed, if something does not fit.

    Examples
    --------
    >>> surface = loss_surface(network, x, y, "dense1.weight[0, 0]", "dense2.bias[0]")
    >>> plotting.plot_loss_surface(surface)
    """
    if not isinstance(network, Network):
        raise DataError(f"loss_surface takes a Network, then x and y; got {brief(network)}.")
    fitted, plan = network._known(), network.plan(mode="evaluate")
    place = network.backend if backend is None else get_backend(backend)
    checks.seed(seed)
    table = fitted.table(x, network.dtype)
    targets = checks.targets(y, len(table), columns=table.shape[1])
    rows = fitted.rows(table, targets, network.dtype, sample_weight)
    held = [buffer.name for buffer in plan.of_kind("parameter", "state")]
    values = fitted.session.host_values(held)
    if checks.count(points, "points") < 2:
        raise DataError(f"points is 2 or more; got {points}.")
    asked = [(parameter_a, range_a), (parameter_b, range_b)]
    if parameter_a is None and parameter_b is None:
        moved = [buffer.name for buffer in plan.of_kind("parameter")]
        matter = {name: values[name] for name in moved}
        axes = [_direction(k, matter, span, points, seed) for k, (_, span) in enumerate(asked)]
    elif parameter_a is None:
        raise NetworkError("parameter_b without parameter_a; one alone is parameter_a.")
    else:
        axes = [_parameter(name, plan, values, span, points) for name, span in asked]
        if axes[0].name == axes[1].name:
            raise NetworkError(f"two parameters are wanted; got {axes[0].name} twice.")
    sweep = _Sweep(plan, place, values, rows, axes)
    a, b = axes
    loss = sweep.losses(*[grid.ravel() for grid in np.meshgrid(a.values, b.values)])
    here = float(sweep.losses(np.array([a.here]), np.array([b.here]))[0])
    loss = loss.reshape(len(b.values), len(a.values))
    return LossSurface(a.values, b.values, loss, (a.name, b.name), (a.here, b.here, here))


def _span(given: Any, name: str, default: tuple[float, float], points: int) -> HostArray:
    pair = default if given is None else given
    if not isinstance(pair, tuple | list) or len(pair) != 2:
        raise DataError(f"the range of {name} is a pair (low, high); got {given!r:.60}.")
    low, high = map(real, pair)
    if not -math.inf < low < high < math.inf:
        raise DataError(f"the range of {name} is (low, high), low below high; got {given!r:.60}.")
    return np.linspace(low, high, points)


def _parameter(
    asked: str | None, plan: Plan, values: Mapping[str, HostArray], span: Any, points: int
) -> _Axis:
    """The axis of one number of a parameter."""
    if asked is None:
        if span is not None:
            raise DataError("a range was given for a parameter that was not.")
        return _Axis("", np.zeros(1), 0.0, {})
    name, index = _entry(asked, plan, values)
    direction = np.zeros(values[name].shape)
    direction[index] = 1.0
    here = float(values[name][index])
    inside = f"[{', '.join(map(str, index))}]" if values[name].size > 1 else ""
    near = (here - 5.0, here + 5.0)
    title = name + inside
    return _Axis(title, _span(span, title, near, points), here, {name: direction})


def _entry(asked: Any, plan: Plan, values: Mapping[str, HostArray]) -> tuple[str, tuple[int, ...]]:
    """Name and index of ``"dense1.weight[0, 2]"``."""
    names = [buffer.name for buffer in plan.of_kind("parameter")]
    parts = re.fullmatch(r"([^\[]*)(?:\[([\d\s,]*)\])?", asked) if isinstance(asked, str) else None
    if parts is None or parts[1] not in names:
        shown = ", ".join(f"{name} {values[name].shape}" for name in names)
        raise NetworkError(
            f"one number of a parameter is 'dense1.weight[0, 2]', counted from 0; this network has "
            f"{shown}; got {asked!r:.60}."
        )
    shape = values[parts[1]].shape
    index = tuple(int(number) for number in re.findall(r"\d+", parts[2] or ""))
    if parts[2] is None and values[parts[1]].size == 1:
        index = (0,) * len(shape)
    if len(index) != len(shape) or any(i >= size for i, size in zip(index, shape, strict=True)):
        last = ", ".join(str(size - 1) for size in shape)
        raise NetworkError(
            f"{parts[1]} is {shape}: its numbers are {parts[1]}[{', '.join('0' for _ in shape)}] "
            f"to {parts[1]}[{last}]; got {asked!r:.60}."
        )
    return parts[1], index


def _direction(
    number: int, values: Mapping[str, HostArray], span: Any, points: int, seed: int
) -> _Axis:
    """The axis of a random direction."""
    direction = {}
    for stream, (name, value) in enumerate(values.items()):
        draw = Draws(seed, "direction", stream, number).normal(value.shape)
        inputs = -2 if value.ndim > 1 else -1
        norm, drawn = [np.linalg.norm(v, axis=inputs, keepdims=True) for v in (value, draw)]
        direction[name] = draw * (norm / drawn)
    title = f"direction {number + 1}"
    return _Axis(title, _span(span, title, (-1.0, 1.0), points), 0.0, direction)


class _Sweep:
    """The losses of a network at any points of two axes."""

    def __init__(
        self,
        plan: Plan,
        place: Backend,
        values: Mapping[str, HostArray],
        rows: Rows,
        axes: list[_Axis],
    ) -> None:
        self._plan, self._place, self._axes = plan, place, axes
        moved = {name for axis in axes for name in axis.direction}
        self._still = {name: self._put(v) for name, v in values.items() if name not in moved}
        # Where both axes are at 0: an axis of one number sets it, so that no value is rounded.
        origin = {name: np.array(values[name], np.float64) for name in moved}
        for axis in axes:
            for name, direction in axis.direction.items():
                origin[name] -= axis.here * direction
        self._origin = {name: self._put(value) for name, value in origin.items()}
        self._directions = [
            {name: self._put(value) for name, value in axis.direction.items()} for axis in axes
        ]
        self._fed = list(self._cut(rows))
        buffers = [b.bound({"n": min(CHUNK, len(rows.x))}) for b in plan.of_kind("value")]
        sizes = [math.prod(shape) for shape in [*buffers, *[v.shape for v in origin.values()]]]
        self._at_once = max(1, MEMORY // sum(sizes))

    def _put(self, value: Any, dtype: str = "float") -> Any:
        return self._place.asarray(value, self._plan.dtype if dtype == "float" else dtype)

    def _cut(self, rows: Rows) -> Iterator[dict[str, Any]]:
        """What the plan is fed with, ``CHUNK`` rows at a time."""
        scale = self._put(1.0 / rows.weight.sum())
        columns = {"x": rows.x, "targets": rows.targets, "weight": rows.weight[:, np.newaxis]}
        for first in range(0, len(rows.x), CHUNK):
            cut = {name: values[first : first + CHUNK] for name, values in columns.items()}
            kinds = {name: self._plan.buffers[name].dtype for name in cut}
            yield {name: self._put(v, kinds[name]) for name, v in cut.items()} | {"scale": scale}

    def losses(self, *points: HostArray) -> HostArray:
        """Loss (p,) at p points, given as their coordinates (p,) on each axis."""
        size = self._at_once
        parts = range(0, len(points[0]), size)
        return np.concatenate([self._part(*[v[k : k + size] for v in points]) for k in parts])

    def _part(self, *points: HostArray) -> HostArray:
        population = dict(self._origin)
        for values, directions in zip(points, self._directions, strict=True):
            for name, direction in directions.items():
                steps = self._put(values.reshape(-1, *[1] * len(direction.shape)))
                population[name] = population[name] + steps * direction
        total = np.zeros(len(points[0]))
        for fed in self._fed:
            arrays = {**self._still, **population, **fed}
            with np.errstate(all="ignore"):  # far from the data a loss may be infinite
                found = trace(self._plan, "gradient", self._place.xp, arrays)
            loss = self._place.to_host(found[self._plan.outputs["loss"]])
            if loss.shape != total.shape:
                raise NetworkError(
                    f"{len(total)} networks at once gave losses {loss.shape}: a kernel of this "
                    f"network does not let an axis in front of (rows, features) pass."
                )
            total += loss
        return total
