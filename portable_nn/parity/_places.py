"""What the wrong numbers of an output look like, and where they are."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from portable_nn.typing import HostArray

BITS = {8: "8 bits (bfloat16)", 11: "11 bits (TF32, float16)", 24: "24 bits (float32)"}


def not_finite(output: HostArray, right: HostArray) -> str:
    """What stands where one of both is no finite number and the other is something else."""
    if output.dtype.kind != "f":
        return ""
    right = right.astype(output.dtype)
    same = (output == right) | (np.isnan(output) & np.isnan(right))
    wrong = ~same & ~(np.isfinite(output) & np.isfinite(right))
    if not wrong.any():
        return ""
    found, wanted = _kind(output[wrong]), _kind(right[wrong])
    return f"it is {found} where the formula gives {wanted}{_place(wrong)}"


def few_bits(output: HostArray, right: HostArray) -> str:
    """Results that are short, but not what rounding the right ones would give."""
    near = 0.0 < float(np.sum((output - right) ** 2)) < 0.1 * float(np.sum(right * right))
    for bits, words in BITS.items() if near else ():
        long = np.sum(shortened(right, bits) != right.astype(output.dtype)) > 3
        short = bits <= np.finfo(output.dtype).nmant
        if long and short and np.array_equal(shortened(output, bits), output):
            return f"all its numbers have only {words}, as if a sum were kept in so few"
    return ""


def wrong_numbers(output: HostArray, right: HostArray, wrong: HostArray) -> str:
    """What the numbers that are marked as wrong have in common."""
    if not wrong.any():
        return ""
    place, zeros = _place(wrong), (output == 0.0) & (right != 0.0)
    if (wrong & ~zeros).any():
        return f"the wrong numbers are all{place}" if place else ""
    largest = float(np.max(np.abs(right[zeros])))
    if largest < float(np.min(np.abs(right[output != 0.0]), initial=math.inf)):
        return f"its numbers up to {largest:.2g} have become 0"
    return f"the wrong numbers are all 0{place}"


def shortened(array: HostArray, bits: int) -> HostArray:
    """Rounded to so many significant bits."""
    mantissa, exponent = np.frexp(array)
    rounded: HostArray = np.ldexp(np.round(np.ldexp(mantissa, bits)), exponent - bits)
    return rounded


def _kind(values: HostArray) -> str:
    if not np.isnan(values).any():
        finite = "0" if not values.any() else "finite"
        return "infinite" if np.isinf(values).all() else finite
    return "NaN" if np.isnan(values).all() else "NaN or infinite"


def _place(wrong: HostArray) -> str:
    """In which row or column the wrong numbers are, or in which neighbouring ones."""
    found = []
    for axis in range(max(-2, -wrong.ndim), 0):
        name = "number" if wrong.ndim == 1 else ("row" if axis == -2 else "column")
        others = tuple(k for k in range(wrong.ndim) if k != wrong.ndim + axis)
        places, n = np.flatnonzero(wrong.any(axis=others)), wrong.shape[axis]
        first, last = int(places[0]), int(places[-1])
        if first == last and n > 1:
            found.append(f"its last {name}" if last == n - 1 else f"{name} {first}")
        elif 2 * (last - first + 1) <= n:
            found.append(f"{name}s {first} to {last} of {n}")
    return f" in {' and '.join(found)}" if found else ""
