"""What is right: one kernel call judged in units of its own rounding, and central differences.

A call is compared with its meaning in a wider type *on the same inputs*, so nothing drifts
and one rule serves every kernel, backend and dtype: ``q = |error| / (u S)``, where u is the
unit roundoff and S the size of what was added up.
"""

import math
from dataclasses import dataclass

import array_api_compat.numpy as xp
import numpy as np

ROUNDOFF = {"float32": 2.0**-24, "float64": 2.0**-53}
WIDE = {"float32": np.float64, "float64": np.longdouble}
# Where longdouble is no wider than double (Windows, macOS on ARM) the oracle rounds as often
# as what it judges: two such errors may add up.
SLACK = 1.0 if np.finfo(np.longdouble).eps < np.finfo(np.float64).eps else 2.0
MEAN_OVER = 64  # elements that count: a slope is a mean of errors; over fewer it is just noise


def tuple_of(outputs):
    return outputs if isinstance(outputs, tuple) else (outputs,)


def floating(array):
    return array.dtype.kind == "f"


def widened(inputs, dtype):
    """The same numbers in a wider type; indices stay."""
    return [value.astype(WIDE[dtype]) if floating(value) else value for value in inputs]


def meaning(kernel, inputs, attributes=None):
    """The outputs of a kernel's meaning on host arrays."""
    with np.errstate(all="ignore"):
        return tuple_of(kernel.meaning(xp, *inputs, **(attributes or {})))


@dataclass
class Reading:
    """How far an output is from the truth, in rounding units: at most, on average, as a scale."""

    most: float
    rms: float
    slope: float

    def __str__(self):
        return f"max q {self.most:.3g}, rms q {self.rms:.3g}, slope {self.slope:.3g}"


def reading(output, truth, size, dtype):
    """Compare one output with the wide one; ``size`` is S of each element."""
    output = np.asarray(output).astype(truth.dtype)
    same = (output == truth) | (np.isnan(output) & np.isnan(truth))
    error = np.where(same, 0.0, output - truth)
    # Libraries may flush results below the smallest normal number to 0.
    error = np.where(np.abs(error) <= np.finfo(dtype).tiny, 0.0, error)
    bound = np.abs(size) * ROUNDOFF[dtype]
    with np.errstate(all="ignore"):
        q = np.where(error == 0.0, 0.0, np.abs(error) / bound)
    q = np.where(np.isnan(q), np.inf, q)
    return Reading(float(np.max(q)), float(np.sqrt(np.mean(q * q))), _slope(error, truth))


def _slope(error, truth):
    square = truth * truth
    total = float(np.sum(square))
    if total == 0.0 or total**2 < MEAN_OVER * float(np.sum(square * square)):
        return 0.0
    return abs(float(np.sum(error * truth))) / total


def truth_and_size(kernel, inputs, dtype, attributes=None):
    """The wide outputs, and what their rounding errors are proportional to."""
    wide = widened(inputs, dtype)
    truth = meaning(kernel, wide, attributes)
    if kernel.magnitude is None:
        return truth, tuple(np.abs(value) for value in truth)
    with np.errstate(all="ignore"):
        return truth, tuple_of(kernel.magnitude(xp, *wide, **(attributes or {})))


def limits(kernel, inputs, dtype):
    """What any careful implementation keeps: a reading that grows with the summed length."""
    length = kernel.length(*[value.shape for value in inputs])
    root = math.sqrt(length)
    return Reading(SLACK * (16 + 2 * root), SLACK * (4 + root / 3), 4 * SLACK * ROUNDOFF[dtype])


def faults(kernel, inputs, outputs, dtype, attributes=None, like_numpy=True):
    """Sentences about every output that departs from the truth by more than the rule allows.

    With ``like_numpy`` an output may also be twice as far off as NumPy's own run of the
    meaning in this dtype, which is where ill-conditioned inputs are forgiven.
    """
    truth, sizes = truth_and_size(kernel, inputs, dtype, attributes)
    plain = meaning(kernel, inputs, attributes)
    assert len(outputs) == len(truth)
    limit, found = limits(kernel, inputs, dtype), []
    for index, (output, true, size) in enumerate(zip(outputs, truth, sizes, strict=True)):
        got, numpy = (reading(value, true, size, dtype) for value in (output, plain[index]))
        for name in ("most", "rms", "slope"):
            most = max(getattr(limit, name), 2 * getattr(numpy, name) if like_numpy else 0.0)
            if not getattr(got, name) <= most:
                found.append(f"{kernel.name} output {index}: {got}; {name} must be <= {most:.3g}")
    return found


def central_differences(function, point, width=6e-6):
    """The gradient of ``function`` (host array -> float) at ``point``, a coordinate at a time.

    The width is about the cube root of the unit roundoff, where the error of the formula
    (width squared) and that of the subtraction (roundoff / width) are both near 1e-10.
    """
    gradient = np.zeros_like(point)
    for place in np.ndindex(point.shape):
        values = []
        for sign in (1.0, -1.0):
            moved = point.copy()
            moved[place] += sign * width
            values.append(function(moved))
        gradient[place] = (values[0] - values[1]) / (2.0 * width)
    return gradient
