"""The loss over two of a network's parameters: the surface that training descends.

Host side: the grid of points. Its losses are a sweep of the evaluation plan in which the
parameters that move have one more axis in front, a population of networks.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from portable_nn import checks
from portable_nn.arrays import brief
from portable_nn.backend import Where
from portable_nn.errors import DataError, NetworkError
from portable_nn.network import Network
from portable_nn.plan import Plan
from portable_nn.random import Draws
from portable_nn.runner import trace
from portable_nn.session import Rows, Session

if TYPE_CHECKING:
    from portable_nn.typing import HostArray

MEMORY = 1 << 22
"""Numbers that the buffers of one sweep may hold together."""


ENTRY = re.compile(r"([^\[\s]+)\s*(?:\[(\s*\d+\s*(?:,\s*\d+\s*)*)\])?")
NOT_FREE = (
    "a kernel of this network computes something else for a population of networks than for each "
    "alone: it has to count axes from the end and leave those in front of (rows, features) alone."
)


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
        section 4; they leave biases where they are, here a bias vector counts as a unit). A
        unit with one weight moves along that weight in both.
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
    session = network._session(plan, backend)
    checks.seed(seed)
    if checks.count(points, "points") < 2:
        raise DataError(f"points is 2 or more; got {points}.")
    table = fitted.table(x, plan)
    targets = checks.targets(y, len(table), columns=table.shape[1], row_shape=plan.row_shape)
    rows = fitted.rows(table, targets, network.dtype, sample_weight)
    values = session.host_values(buffer.name for buffer in plan.of_kind("parameter", "state"))
    grid = _Grid(plan, values, points)
    if parameter_a is None and parameter_b is None:
        a, b = [grid.direction(k, span, seed) for k, span in enumerate((range_a, range_b))]
    elif parameter_a is None:
        raise NetworkError("parameter_b without parameter_a; one alone is parameter_a.")
    else:
        a, b = grid.parameter(parameter_a, range_a), grid.parameter(parameter_b, range_b)
        if a.name == b.name:
            raise NetworkError(f"two parameters are wanted; got {a.name} twice.")
    sweep = _Sweep(plan, session, values, rows, [a, b])
    loss = sweep.losses(*[every.ravel() for every in np.meshgrid(a.values, b.values)])
    loss = loss.reshape(len(b.values), len(a.values))
    here = session.evaluate(plan, rows)[0]
    sweep.check(here)
    return LossSurface(a.values, b.values, loss, (a.name, b.name), (a.here, b.here, here))


@dataclass(frozen=True, eq=False)
class _Grid:
    """The axes of a network with these values, of so many points each."""

    plan: Plan
    values: Mapping[str, HostArray]
    points: int

    def _span(self, given: Any, name: str, default: tuple[float, float]) -> HostArray:
        low, high = checks.interval(default if given is None else given, f"the range of {name}")
        if max(-low, high) > 0.1 * float(np.finfo(self.plan.dtype).max):
            raise DataError(f"the range of {name} goes beyond {self.plan.dtype}; got {given}.")
        return np.linspace(low, high, self.points)

    def parameter(self, asked: str | None, span: Any) -> _Axis:
        """The axis of one number of a parameter."""
        if asked is None:
            if span is not None:
                raise DataError("a range was given for a parameter that was not.")
            return _Axis("", np.zeros(1), 0.0, {})
        name, index = self._entry(asked)
        value = self.values[name]
        here, direction = float(value[index]), np.zeros(value.shape)
        direction[index] = 1.0
        title = name + (f"[{', '.join(map(str, index))}]" if value.size > 1 else "")
        near = (here - 5.0, here + 5.0)
        return _Axis(title, self._span(span, title, near), here, {name: direction})

    def _entry(self, asked: Any) -> tuple[str, tuple[int, ...]]:
        """Name and index of ``"dense1.weight[0, 2]"``."""
        shapes = {b.name: self.values[b.name].shape for b in self.plan.of_kind("parameter")}
        found = ENTRY.fullmatch(asked) if isinstance(asked, str) else None
        if found is None or found[1] not in shapes:
            known = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
            raise NetworkError(
                f"one number of a parameter is 'dense1.weight[0, 2]', counted from 0; this network "
                f"has {known}; got {asked!r:.60}."
            )
        name, shape = found[1], shapes[found[1]]
        index = tuple(int(number) for number in re.findall(r"\d+", found[2] or ""))
        if found[2] is None and math.prod(shape) == 1:
            index = (0,) * len(shape)
        if len(index) != len(shape) or any(i >= n for i, n in zip(index, shape, strict=True)):
            first, last = ", ".join("0" for _ in shape), ", ".join(str(n - 1) for n in shape)
            raise NetworkError(
                f"{name} is {shape}: its numbers are {name}[{first}] to {name}[{last}]; got "
                f"{asked!r:.60}."
            )
        return name, index

    def direction(self, number: int, span: Any, seed: int) -> _Axis:
        """The axis of a random direction."""
        direction = {}
        for stream, buffer in enumerate(self.plan.of_kind("parameter")):
            value = self.values[buffer.name]
            draw = Draws(seed, "direction", stream, number).normal(value.shape)
            inputs = -2 if value.ndim > 1 else -1
            norm, drawn = [np.linalg.norm(v, axis=inputs, keepdims=True) for v in (value, draw)]
            direction[buffer.name] = draw * (norm / drawn)
        title = f"direction {number + 1}"
        return _Axis(title, self._span(span, title, (-1.0, 1.0)), 0.0, direction)


class _Sweep:
    """The losses of a network at any points of two axes."""

    def __init__(
        self,
        plan: Plan,
        session: Session,
        values: Mapping[str, HostArray],
        rows: Rows,
        axes: list[_Axis],
    ) -> None:
        self._plan, self._backend, self._axes = plan, session.backend, axes
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
        self._fed = list(session.chunks(plan, rows.fed()))
        n = max(chunk["x"].shape[0] for chunk in self._fed)
        buffers = [math.prod(buffer.bound({"n": n})) for buffer in plan.of_kind("value")]
        self._at_once = max(1, MEMORY // (sum(buffers) + sum(v.size for v in origin.values())))

    def _put(self, value: Any) -> Any:
        return self._backend.asarray(value, self._plan.dtype)

    def losses(self, *points: HostArray) -> HostArray:
        """Loss (p,) at p points, given as their coordinates (p,) on each axis."""
        size = self._at_once
        parts = range(0, len(points[0]), size)
        with np.errstate(all="ignore"):  # far from the data a loss may be infinite
            found = [self._part(*[values[k : k + size] for values in points]) for k in parts]
        return np.concatenate(found)

    def _part(self, *points: HostArray) -> HostArray:
        population = dict(self._origin)
        for values, directions in zip(points, self._directions, strict=True):
            for name, direction in directions.items():
                steps = self._put(values.reshape(-1, *[1] * len(direction.shape)))
                population[name] = population[name] + steps * direction
        total = np.zeros(len(points[0]))
        for fed in self._fed:
            arrays = {**self._still, **population, **fed}
            found = trace(self._plan, "gradient", self._backend.xp, arrays)
            loss = self._backend.to_host(found[self._plan.outputs["loss"]])
            if loss.shape != total.shape:
                raise NetworkError(NOT_FREE)
            total += loss
        return total

    def check(self, here: float) -> None:
        """Compare the loss of the network itself with its loss as one of a population."""
        (swept,) = self.losses(*[np.array([axis.here]) for axis in self._axes])
        if math.isfinite(here) and not math.isclose(swept, here, rel_tol=1e-3, abs_tol=1e-6):
            raise NetworkError(NOT_FREE)
