"""Evaluating a step of a plan on the host, in a wider type: alone, pinned, or as if rounded."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import array_api_compat.numpy as xp
import numpy as np

from portable_nn.kernels import Call
from portable_nn.parity._measure import Formulas, magnitudes, summed, unit_roundoff
from portable_nn.parity._origins import writer
from portable_nn.plan import Plan

if TYPE_CHECKING:
    from portable_nn.typing import HostArray

Values = Mapping[str, "HostArray"]


@dataclass
class Walk:
    """What a walk over calls gave: every buffer, by name, and the branches that were taken.

    By call of a kernel with a ``branch``: ``branches`` are which piece each element took and the
    inputs of the call; ``flips``, where it had to be pinned, mark the elements that were.
    """

    values: dict[str, HostArray]
    branches: dict[Call, tuple[HostArray, list[HostArray]]] = field(default_factory=dict)
    flips: dict[Call, HostArray] = field(default_factory=dict)


class Rounding:
    """Random errors of the size that rounding makes, for every result of every call.

    ``u (1 + sqrt(n) / 12) S`` times a normal number: a quarter of the root mean square that one
    call may have (see ``_measure.py``). A walk with them shows what rounding may make of a step;
    ``scale`` makes them larger.
    """

    def __init__(
        self, dtype: str, sizes: Mapping[Call, list[HostArray]], seed: int, scale: float = 1.0
    ) -> None:
        self._roundoff, self._sizes = scale * unit_roundoff(dtype), sizes
        self._random = np.random.default_rng(seed)

    def __call__(
        self, call: Call, inputs: Sequence[HostArray], outputs: Sequence[HostArray]
    ) -> list[HostArray]:
        lengths = summed(call, inputs, len(outputs))
        rows = zip(outputs, self._sizes[call], lengths, strict=True)
        return [self._moved(*row) for row in rows]

    def _moved(self, value: HostArray, size: HostArray, terms: int) -> HostArray:
        if value.dtype.kind != "f":
            return value
        unit = self._roundoff * (1.0 + math.sqrt(terms) / 12.0)
        return value + unit * size * self._random.standard_normal(value.shape)


def walk(
    plan: Plan,
    sections: Iterable[str],
    given: Values,
    formulas: Formulas,
    *,
    pinned: Walk | None = None,
    rounding: Rounding | None = None,
    sizes: dict[Call, list[HostArray]] | None = None,
) -> Walk:
    """Run the calls of some sections; ``given`` holds what they read.

    Parameters
    ----------
    pinned
        A walk whose branches are taken: where an element would take another, it gets the inputs
        that it had there.
    rounding
        Moves every result.
    sizes
        Is filled with the magnitudes of the rounding errors of each call.
    """
    found = Walk(dict(given))
    for call in (call for name in sections for call in plan.section(name)):
        inputs = [found.values[name] for name in call.inputs]
        if call.kernel.branch is not None:
            taken = branch(call, inputs)
            if pinned is not None and (taken != pinned.branches[call][0]).any():
                found.flips[call] = taken != pinned.branches[call][0]
                inputs = _replaced(inputs, found.flips[call], pinned.branches[call][1])
                taken = pinned.branches[call][0]
            found.branches[call] = (taken, inputs)
        outputs = formulas(call, inputs)
        if sizes is not None:
            sizes[call] = magnitudes(call, formulas.cast(inputs), outputs)
        if rounding is not None and not (plan.codes and _only_moves(call, inputs)):
            outputs = rounding(call, inputs, outputs)
        found.values.update(zip(call.outputs, outputs, strict=True))
    return found


def _only_moves(call: Call, inputs: Sequence[HostArray]) -> bool:
    """Whether a call computes nothing: a code that is gathered stays a code."""
    return call.kernel.cost(*[value.shape for value in inputs]) == 0


def branch(call: Call, inputs: Sequence[HostArray]) -> HostArray:
    """Which piece of its function each element takes, for a kernel that says so."""
    assert call.kernel.branch is not None
    return np.asarray(call.kernel.branch(xp, *inputs, **call.attributes))


def _replaced(
    inputs: Sequence[HostArray], where: HostArray, by: Sequence[HostArray]
) -> list[HostArray]:
    if all(here.shape != where.shape for here in inputs):  # no element by element: all of them
        return list(by)
    return [
        np.where(where, there, here) if here.shape == where.shape else here
        for here, there in zip(inputs, by, strict=True)
    ]


def drift(plan: Plan, sections: Sequence[str], values: Values) -> float:
    """The slope that a sum whose result is read in these sections may have by itself.

    Terms of one sign drift in a plain loop, as random errors do not (see ``_measure.py``).
    """
    calls = [call for name in sections for call in plan.section(name)]
    read = {name for call in calls for name in call.inputs}
    terms = [1]
    for call in calls:
        lengths = summed(call, [values[name] for name in call.inputs], len(call.outputs))
        terms += [n for n, name in zip(lengths, call.outputs, strict=True) if name in read]
    return (4.0 + math.sqrt(max(terms)) / 4.0) * unit_roundoff(plan.dtype)


def lasting(plan: Plan, sections: Sequence[str]) -> dict[str, str]:
    """What outlives the sections and the buffer it then is, in the order of the plan."""
    becomes = {value for carry in plan.carry.values() for value in carry.values()}
    found = {name: name for name in plan.kept - becomes}
    for section in sections:
        found |= plan.carry.get(section, {})
    written = {name for s in sections for call in plan.section(s) for name in call.outputs}
    names = sorted(found, key=lambda name: writer(plan, name))
    return {name: found[name] for name in names if found[name] in written}


def after(plan: Plan, sections: Sequence[str], values: Values) -> dict[str, HostArray]:
    """The values of what outlives the sections, by name, in the order of the plan."""
    return {name: values[value] for name, value in lasting(plan, sections).items()}
