"""A step as a whole beside its formulas: for steps that cannot be looked into, and for plain ones.

The step is evaluated in a wider type from the values it began with. How far a step that only
rounds may be from that is not guessed: the evaluation is repeated with random errors of the size
that every single call makes (``Rounding``), and a buffer passes if its error, as a norm, is at
most ``LIMIT`` times what these twins differ by, its slope at most ``SLOPE`` times theirs and what
the longest sum of the step may drift by. Beyond that, in this order, it may be that

- three twins were too few, as for a single number: thirteen more are asked;
- what follows is no line: the square of a gradient that is all rounding grows 64 times if the
  errors grow 8 times, so twins with such errors are asked;
- NumPy in the dtype of the backend, with the same formulas, is a quarter as far off, or overflows,
  or would be if it added up rows one after another;
- an element so near to a kink (0 for ReLU) that rounding decides took the other branch: the
  evaluation is repeated with that branch, which then has to fit.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from portable_nn.kernels import Call
from portable_nn.parity._measure import Formulas
from portable_nn.parity._walk import Rounding, Values, Walk, after, branch, drift, walk
from portable_nn.plan import Plan

if TYPE_CHECKING:
    from portable_nn.typing import HostArray

LIMIT, SLOPE = 8.0, 6.0
"""Errors and slopes of the twins that a buffer may be off by."""
BESIDE = 0.7
"""Of the limit of the norm, what the slope may be: all of it would make it needless."""
TWINS, MORE_TWINS = 3, 13
CANDIDATES = 16
"""Elements near a kink that are tried on the other side."""


@dataclass
class Shadow:
    """What a step should have given: the evaluation that fits it best, and by how much it is off.

    ``shares`` are, by buffer in the order of the plan, its error in units of its limit;
    ``strained`` says that more than three twins had to explain it.
    """

    walk: Walk
    sizes: dict[Call, list[HostArray]]
    shares: dict[str, float]
    strained: bool = False

    @property
    def misfit(self) -> float:
        """The shares together."""
        return math.fsum(share * share for share in self.shares.values())

    @property
    def wrong(self) -> list[str]:
        """The buffers beyond their limits."""
        return [name for name, share in self.shares.items() if share > 1.0]


def shadow(
    plan: Plan,
    sections: Sequence[str],
    begin: Values,
    found: Values,
    formulas: Formulas,
    *,
    branches: bool = False,
) -> Shadow:
    """Compare what a step left with its formulas.

    Parameters
    ----------
    plan, sections
        What was run.
    begin
        All it read, as it was before: host arrays by name.
    found
        What outlives it, by name.
    formulas
        What evaluates them.
    branches
        Find out which branches were taken by elements near a kink even where the step passes.
    """
    with np.errstate(all="ignore"):
        comparison = _Comparison(plan, sections, begin, found, formulas)
        comparison.ask_twins(TWINS)
        if branches:
            comparison.turn_branches()
        for look in comparison.further_looks():
            if not comparison.shadow.wrong:
                break
            look()
            comparison.shadow.strained = True
        return comparison.shadow


class _Comparison:
    """The looks at one step, each of which is taken if the ones before did not explain it."""

    def __init__(
        self, plan: Plan, sections: Sequence[str], begin: Values, found: Values, formulas: Formulas
    ) -> None:
        self._plan, self._sections, self._found = plan, sections, found
        self._begin, self._formulas = begin, formulas
        sizes: dict[Call, list[HostArray]] = {}
        exact = self._walk(sizes=sizes)
        self._exact = self._after(exact)
        self._twins: list[Walk] = []
        self._spread = dict.fromkeys(self._exact, (0.0, 0.0))
        self._most = dict.fromkeys(self._exact, (0.0, 0.0))
        self._plain: list[dict[str, HostArray]] = []
        self._drift = drift(plan, sections, exact.values)
        self.shadow = Shadow(exact, sizes, {})

    def further_looks(self) -> Iterator[Callable[[], None]]:
        """What else may explain an error, in this order."""
        yield lambda: self.ask_twins(MORE_TWINS)
        yield self._ask_large_twins
        yield self._ask_numpy
        yield self.turn_branches

    def _walk(self, formulas: Formulas | None = None, **options: Any) -> Walk:
        return walk(self._plan, self._sections, self._begin, formulas or self._formulas, **options)

    def _after(self, one: Walk) -> dict[str, HostArray]:
        return after(self._plan, self._sections, one.values)

    def ask_twins(self, count: int) -> None:
        """See how far evaluations with random errors are apart."""
        for _ in range(count):
            seed = len(self._twins)
            rounding = Rounding(self._plan.dtype, self.shadow.sizes, seed)
            self._twins.append(self._walk(rounding=rounding))
            for name, value in self._after(self._twins[-1]).items():
                error, (apart, slope) = value - self._exact[name], self._spread[name]
                slope = max(slope, _slope(error, self._exact[name]))
                self._spread[name] = max(apart, _norm(error)), slope
        self._judge(self.shadow.walk)

    def _ask_large_twins(self) -> None:
        for seed in range(TWINS):
            rounding = Rounding(self._plan.dtype, self.shadow.sizes, seed, scale=LIMIT)
            twin = self._after(self._walk(rounding=rounding, pinned=self.shadow.walk))
            for name, value in twin.items():
                error, most = value - self._exact[name], self._most[name]
                slope = _slope(error, self._exact[name])
                self._most[name] = max(most[0], _norm(error)), max(most[1], slope)
        self._judge(self.shadow.walk)

    def _ask_numpy(self) -> None:
        for by_rows in (False, True):
            narrow = Formulas.narrow(self._plan.dtype, by_rows=by_rows)
            self._plain.append(self._after(self._walk(narrow)))
        self._judge(self.shadow.walk)

    def _judge(self, exact: Walk) -> None:
        """Set the shares of what was found beside this evaluation."""
        values = self._after(exact)
        shares = {name: self._share(name, value) for name, value in values.items()}
        self.shadow = Shadow(exact, self.shadow.sizes, shares)

    def _share(self, name: str, exact: HostArray) -> float:
        found = self._found[name]
        if found.shape != exact.shape or found.dtype != np.dtype(self._plan.dtype):
            return math.inf
        right = np.where(np.isfinite(exact), exact, 0.0)
        plain = self._plain[0][name] if self._plain else exact.astype(found.dtype)
        error = _error(found, exact, plain)
        apart, slope = self._spread[name]
        limit = max(
            LIMIT * apart, self._most[name][0], float(np.finfo(found.dtype).smallest_normal)
        )
        slope = max(SLOPE * slope + self._drift, self._most[name][1])
        for values in self._plain:
            own = _error(values[name], exact, values[name])
            limit, slope = max(limit, 4.0 * _norm(own)), max(slope, 4.0 * _slope(own, exact))
        slope = max(slope, BESIDE * limit / max(_norm(right), 1e-300))
        return max(_norm(error) / limit, _slope(error, exact) / slope)

    def turn_branches(self) -> None:
        """Put elements near a kink on its other side, where that fits better."""
        for pinned in self._candidates():
            before = self.shadow
            self._judge(self._walk(pinned=pinned(before.walk)))
            if not self.shadow.misfit < before.misfit:
                self.shadow = before

    def _candidates(self) -> Iterator[Callable[[Walk], Walk]]:
        """Elements that rounding may put on the other side of a kink, one at a time."""
        found = 0
        for call, (taken, inputs) in self.shadow.walk.branches.items():
            alike = [k for k, value in enumerate(inputs) if value.shape == taken.shape]
            if not alike:
                continue
            k = alike[0]
            others = [twin.branches[call][1][k] - inputs[k] for twin in self._twins]
            reach = LIMIT * max(_norm(other) for other in others) / math.sqrt(taken.size)
            for move in (reach, -reach):
                moved = [*inputs[:k], inputs[k] + move, *inputs[k + 1 :]]
                for place in np.argwhere(branch(call, moved) != taken)[: CANDIDATES - found]:
                    found += 1
                    yield partial(_turned, call=call, moved=moved, place=tuple(place))


def _turned(one: Walk, call: Call, moved: Sequence[HostArray], place: tuple[int, ...]) -> Walk:
    """The branches of a walk, but for one element, which takes that of its moved inputs."""
    taken, inputs = one.branches[call]
    taken, inputs = taken.copy(), [value.copy() for value in inputs]
    taken[place] = branch(call, moved)[place]
    for value, other in zip(inputs, moved, strict=True):
        if value.shape == taken.shape:
            value[place] = other[place]
    return Walk({}, one.branches | {call: (taken, inputs)})


def _norm(error: HostArray) -> float:
    return float(np.sqrt(np.sum(error * error)))


def _error(found: HostArray, exact: HostArray, plain: HostArray) -> HostArray:
    """0 where both are the same; what overflows in the dtype or in NumPy may be anything."""
    same = (found == exact) | (np.isnan(found) & np.isnan(exact))
    lost = ~(np.abs(exact) <= np.finfo(found.dtype).max) | ~np.isfinite(plain)
    error = np.where(same | (lost & ~np.isfinite(found)), 0.0, found - exact)
    return np.where(np.isfinite(error), error, np.inf)


def _slope(error: HostArray, exact: HostArray) -> float:
    """``|<error, exact>| / <exact, exact>``: an error that is the same share of every number."""
    known = np.isfinite(exact) & np.isfinite(error)
    right = np.where(known, exact, 0.0)
    square = float(np.sum(right * right))
    return abs(float(np.sum(np.where(known, error, 0.0) * right))) / max(square, 1e-300)
