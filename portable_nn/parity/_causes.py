"""Why an output of a call is off: the usual causes, each tried on the call itself.

A cause is a way to compute the call wrongly. The one whose result is nearest to what the backend
gave, and explains most of the error, is named.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from portable_nn.kernels import Call
from portable_nn.parity._measure import WIDER, cast, meaning

if TYPE_CHECKING:
    from portable_nn.typing import HostArray

EXPLAINED = 0.1
"""What a cause may leave of the squared error."""
BITS = {11: "11 bits (TF32, float16)", 8: "8 bits (bfloat16)"}

ROUNDING = 64.0
"""Rounding units of their results that are no errors of other outputs."""

Outputs = list["HostArray"]


def cause(
    call: Call, inputs: Sequence[HostArray], outputs: Sequence[HostArray], position: int, dtype: str
) -> str:
    """The cause that fits the output at a position, in words, or "".

    ``inputs`` and ``outputs`` are host copies. A cause that changes other outputs too has to
    fit them as well.
    """
    with np.errstate(all="ignore"):
        wide = cast(inputs, WIDER[dtype])
        exact = meaning(call, wide)
        alike = all(o.shape == e.shape for o, e in zip(outputs, exact, strict=True))
        if not alike or outputs[position].dtype.kind != "f":
            return ""
        errors = [o.astype(e.dtype) - e for o, e in zip(outputs, exact, strict=True)]
        noise = ROUNDING * float(np.finfo(dtype).eps)
        own = [0.0 if k == position else noise for k in range(len(exact))]
        sizes = [
            float(np.sum(error * error) + least * least * np.sum(e * e))
            for error, e, least in zip(errors, exact, own, strict=True)
        ]
        if not all(0.0 <= size < math.inf for size in sizes):
            return ""
        best, named = EXPLAINED, ""
        for words, wrong in _candidates(call, wide, exact, errors, position):
            rests = [
                float(np.sum((error - (w - e)) ** 2)) / max(size, 1e-300)
                for error, w, e, size in zip(errors, wrong, exact, sizes, strict=True)
                if w is not None
            ]
            if max(rests) < best:
                best, named = max(rests), words
    return named


def _shortened(array: HostArray, bits: int) -> HostArray:
    """Rounded to so many significant bits."""
    mantissa, exponent = np.frexp(array)
    rounded: HostArray = np.ldexp(np.round(np.ldexp(mantissa, bits)), exponent - bits)
    return rounded


def _candidates(
    call: Call, inputs: Outputs, exact: Outputs, errors: Outputs, position: int
) -> Iterator[tuple[str, list[HostArray | None]]]:
    """Causes, with what they make of each output; None where they say nothing."""

    def alone(value: HostArray) -> list[HostArray | None]:
        return [value if k == position else None for k in range(len(exact))]

    def all_of(given: Outputs) -> list[HostArray | None]:
        return [*meaning(call, given)]

    mine, error = exact[position], errors[position]
    for bits, words in BITS.items():
        short = [_shortened(v, bits) if v.ndim and v.dtype.kind == "f" else v for v in inputs]
        yield f"it fits inputs rounded to {words}", all_of(short)
        yield f"it fits results rounded to {words}", alone(_shortened(mine, bits))
    yield "all its numbers are 0", alone(np.zeros_like(mine))
    share = float(np.sum(error * mine) / np.fmax(np.sum(mine * mine), np.finfo(float).tiny))
    small = f"1 {'-' if share < 0.0 else '+'} {abs(share):.3g}"
    factor = small if abs(share) < 0.1 else f"{1.0 + share:.4g}"
    yield f"all its numbers are off by one factor, {factor}", alone(mine * (1.0 + share))
    rows = max((len(v) for v in inputs if v.ndim > 1), default=1)
    if rows > 1:
        for which, row in {"first": 0, "last": rows - 1}.items():
            without = [_without(v, row, rows) for v in inputs]
            yield f"it fits a {which} row that is left out", all_of(without)
    for k, value in enumerate(inputs):
        if value.ndim == 0 and value.dtype.kind == "f":
            fitted = _fit(call, inputs, k, position, mine + error)
            words = f"{call.inputs[k]} = {fitted:.9g} instead of {float(value):.9g}"
            yield f"it fits {words}", all_of(_with(inputs, k, fitted))


def _without(array: HostArray, row: int, rows: int) -> HostArray:
    """With zeros in one of so many rows."""
    if array.ndim < 2 or len(array) != rows or array.dtype.kind != "f":
        return array
    changed = array.copy()
    changed[row] = 0.0
    return changed


def _with(inputs: Outputs, position: int, value: float) -> Outputs:
    new = np.asarray(value, inputs[position].dtype)
    return [new if k == position else one for k, one in enumerate(inputs)]


def _fit(call: Call, inputs: Outputs, number: int, position: int, wanted: HostArray) -> float:
    """The value of one number that explains an output best, by some steps of Gauss-Newton."""

    def compute(value: float) -> HostArray:
        return meaning(call, _with(inputs, number, value))[position]

    best = float(inputs[number])
    for _ in range(8):
        step = 1e-4 * abs(best) or 1e-12
        here = compute(best)
        slope = (compute(best + step) - here) / step
        size = float(np.sum(slope * slope))
        if not 0.0 < size < math.inf:
            break
        moved = best + float(np.sum(slope * (wanted - here))) / size
        best = min(max(moved, best / 10.0), best * 10.0) if best > 0.0 else moved
    return best
