"""Why a call is off: the usual causes, each tried on the call itself.

A cause is a way to compute the call wrongly. The one whose result is nearest to what the backend
gave, and explains most of the error, is named.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import array_api_compat.numpy as xp
import numpy as np

from portable_nn.kernels import Call

if TYPE_CHECKING:
    from portable_nn.typing import HostArray

Outputs = list[np.ndarray[Any, Any]]
EXPLAINED = 0.1
"""What a cause may leave of the squared error."""
BITS = {11: "11 bits (TF32, float16)", 8: "8 bits (bfloat16)"}


def cause(call: Call, inputs: Sequence[HostArray], outputs: Sequence[HostArray]) -> str:
    """The cause that fits, in words, or ""; from host copies of what the call read and wrote."""
    with np.errstate(all="ignore"):
        wide = [array.astype(np.float64) if _real(array) else array for array in inputs]
        exact = _outputs(call, wide)
        errors = [np.asarray(o, np.float64) - e for o, e in zip(outputs, exact, strict=True)]
        whole = sum(float(np.sum(error**2)) for error in errors)
        if not 0.0 < whole < np.inf:
            return ""
        found = []
        for words, wrong in _candidates(call, wide, exact, errors):
            rest = sum(
                float(np.sum((error - (w - e)) ** 2))
                for error, w, e in zip(errors, wrong, exact, strict=True)
            )
            found.append((rest / whole, words))
        least, words = min(found, default=(1.0, ""))
        return words if least < EXPLAINED else ""


def _real(array: HostArray) -> bool:
    return bool(array.dtype.kind == "f")


def _outputs(call: Call, inputs: Sequence[HostArray]) -> Outputs:
    values = call.kernel.meaning(xp, *inputs, **call.attributes)
    return [np.asarray(value) for value in (values if isinstance(values, tuple) else (values,))]


def _shortened(array: HostArray, bits: int) -> HostArray:
    """Rounded to so many significant bits."""
    mantissa, exponent = np.frexp(array)
    rounded: HostArray = np.ldexp(np.round(np.ldexp(mantissa, bits)), exponent - bits)
    return rounded


def _candidates(
    call: Call, inputs: Outputs, exact: Outputs, errors: Outputs
) -> Iterator[tuple[str, Outputs]]:
    for bits, words in BITS.items():
        short = [_shortened(v, bits) if _real(v) and v.ndim else v for v in inputs]
        yield f"it fits inputs rounded to {words}", _outputs(call, short)
        yield f"it fits results rounded to {words}", [_shortened(value, bits) for value in exact]
    for k, error in enumerate(errors):
        factor = 1.0 + float(np.sum(error * exact[k])) / max(float(np.sum(exact[k] ** 2)), 1e-300)
        scaled = [value * factor if i == k else value for i, value in enumerate(exact)]
        yield f"all its numbers are off by one factor, {factor:.9g}", scaled
    rows = max((len(v) for v in inputs if v.ndim > 1), default=1)
    if rows > 1:
        yield "it fits a last row that is left out", _outputs(call, [_cut(v, rows) for v in inputs])
    for position, value in enumerate(inputs):
        if value.ndim == 0 and _real(value):
            fitted = _fit(call, inputs, position, errors)
            name, wrong = call.inputs[position], _with(inputs, position, np.asarray(fitted))
            words = f"it fits {name} = {fitted:.9g} instead of {float(value):.9g}"
            yield words, _outputs(call, wrong)


def _cut(array: HostArray, rows: int) -> HostArray:
    """With zeros in the last of so many rows."""
    if array.ndim < 2 or len(array) != rows or not _real(array):
        return array
    return np.concatenate([array[:-1], np.zeros_like(array[:1])])


def _with(inputs: Outputs, position: int, value: HostArray) -> Outputs:
    return [value if k == position else one for k, one in enumerate(inputs)]


def _fit(call: Call, inputs: Outputs, position: int, errors: Outputs) -> float:
    """The value of one number that explains the errors best, by some steps of Gauss-Newton."""

    def flat(value: float) -> HostArray:
        outputs = _outputs(call, _with(inputs, position, np.asarray(value)))
        return np.concatenate([output.ravel() for output in outputs])

    best = float(inputs[position])
    wanted = flat(best) + np.concatenate([error.ravel() for error in errors])
    for _ in range(8):
        step = 1e-4 * abs(best) or 1e-12
        slope = (flat(best + step) - flat(best)) / step
        size = float(np.sum(slope * slope))
        if not 0.0 < size < np.inf:
            break
        moved = best + float(np.sum(slope * (wanted - flat(best)))) / size
        best = min(max(moved, best / 10.0), best * 10.0) if best > 0.0 else moved
    return best
