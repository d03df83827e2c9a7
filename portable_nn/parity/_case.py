"""An output that is off, beside what it should be, and what it would be if computed otherwise."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import array_api_compat.numpy as xp
import numpy as np

from portable_nn.kernels import Call
from portable_nn.parity._measure import summed, unit_roundoff

if TYPE_CHECKING:
    from portable_nn.typing import HostArray

Arrays = list["HostArray"]
Some = Sequence["HostArray | None"]
"""Outputs of a call; None where nothing is said of one."""

ROUNDING = 128.0
"""Rounding units that are no error of another output."""
PICKED = 1000
"""So many of the worst numbers of a long elementwise call are looked at, and so many of all."""


class Output:
    """One output of a call: what was given and what is right, on the host.

    Errors are in units of the magnitude of the kernel. ``square`` is the sum of their squares,
    ``total`` that or what is no error yet; ``numbers`` says how many numbers carry it: 1 if one is
    off, all if all are off alike.
    """

    def __init__(
        self, given: HostArray, right: HostArray, size: HostArray, least: float = 0.0
    ) -> None:
        self.given, self.right, self.size = given, right, size
        squares = self.errors(right) ** 2
        self.square = float(np.sum(squares))
        self.total = max(self.square + least * right.size, 1e-300)
        self.numbers = self.square**2 / max(float(np.sum(squares * squares)), 1e-300)

    def errors(self, values: HostArray) -> HostArray:
        """If it should be these values; 0 where that cannot be said."""
        known = np.isfinite(self.given) & np.isfinite(self.right)
        return np.where(known, (self.given - values) / self.size, 0.0)

    def rest(self, values: HostArray | None) -> float:
        """What values leave of the squared error, as a share of it."""
        return math.inf if values is None else np.sum(self.errors(values) ** 2) / self.total


class Case:
    """A call, of which the output at a position is off.

    ``wanted`` are the right numbers of that output; ``output`` and ``outputs`` have only those
    numbers that are looked at. ``rounding`` is the share of the squared error that rounding makes.
    """

    def __init__(
        self, call: Call, inputs: Arrays, given: Arrays, right: Arrays, position: int, dtype: str
    ) -> None:
        self.call, self.inputs, self.right, self.wanted = call, inputs, right, right[position]
        self.dtype, self._unit, self._picked = dtype, unit_roundoff(dtype), None
        declared = call.kernel.magnitude
        sizes = right if declared is None else declared(xp, *inputs, **call.attributes)
        sizes = [_above_0(size, array) for size, array in zip(sizes, right, strict=True)]
        whole = Output(given[position], self.wanted, sizes[position])
        self._off = np.abs(whole.errors(self.wanted))
        if call.kernel.elementwise and self._off.size > 4 * PICKED:
            worst = np.argpartition(self._off.reshape(-1), -PICKED)[-PICKED:]
            some = np.linspace(0, self._off.size - 1, PICKED).astype(np.int64)
            self._picked = np.union1d(worst, some)
        given, right, sizes = ([self._pick(v) for v in each] for each in (given, right, sizes))
        least = [0.0 if k == position else (ROUNDING * self._unit) ** 2 for k in range(len(given))]
        self.outputs = [*map(Output, given, right, sizes, least)]
        self.output = self.outputs[position]
        largest = np.fmax(1.0, np.abs(self.output.given / self.output.size))
        self.rounding = float(np.sum((self._unit * largest) ** 2)) / self.output.total

    def _pick(self, array: HostArray) -> HostArray:
        return array if self._picked is None or array.ndim == 0 else array.reshape(-1)[self._picked]

    def beyond(self) -> HostArray:
        """Which numbers of the output are off by more than rounding explains."""
        terms = max(summed(self.call, self.inputs, len(self.right)))
        return self._off > (16.0 + 2.0 * math.sqrt(terms)) * self._unit

    def alone(self, values: HostArray) -> Some:
        """Values of the output in question, and nothing of the others."""
        return [self._pick(values) if one is self.output else None for one in self.outputs]

    def compute(self, changes: Mapping[int, Any], namespace: Any = xp) -> Arrays | None:
        """What the formula makes of some other inputs; None if it refuses them."""
        given = enumerate(self.inputs)
        inputs = [self._pick(np.asarray(changes.get(k, v), v.dtype)) for k, v in given]
        try:
            found = self.call.kernel.meaning(namespace, *inputs, **self.call.attributes)
        except Exception:  # a formula may refuse what no network gives it
            return None
        arrays = [np.asarray(v) for v in (found if isinstance(found, tuple) else (found,))]
        alike = all(a.shape == o.right.shape for a, o in zip(arrays, self.outputs, strict=True))
        return arrays if alike else None

    def singles(self) -> dict[int, float]:
        """By position, the inputs that are one number, as hyper-parameters are."""
        inputs = enumerate(self.inputs)
        return {k: float(v) for k, v in inputs if v.ndim == 0 and v.dtype.kind == "f"}


def _above_0(size: HostArray, array: HostArray) -> HostArray:
    """What errors are taken in units of: nowhere much smaller than on average."""
    size = np.where(np.isfinite(size), np.abs(size), 0.0)
    least = 1e-3 * math.sqrt(np.mean(size * size)) if size.size else 0.0
    return np.broadcast_to(np.maximum(size, least or 1.0), array.shape)
