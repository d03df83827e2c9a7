"""Gradients against central differences, on the host."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from portable_nn.kernels import Call
from portable_nn.parity._measure import cast, meaning
from portable_nn.parity._recorder import Finding

if TYPE_CHECKING:
    from portable_nn.typing import HostArray

RATIOS = {-1.0: "it has the other sign", 0.5: "it is half of that", 2.0: "it is twice that"}
"""Of a gradient to what it should be: slips that are often made."""


def slope(
    name: str,
    kernel: str,
    function: Callable[[HostArray], Any],
    point: HostArray,
    gradient: HostArray,
) -> Finding | None:
    """How far a gradient of this name is from central differences in a random direction.

    Numbers move in proportion to their size, so that none changes its sign. The limit is what
    three widths disagree by, and what rounding explains. None where differences are not finite.
    """
    if gradient.shape != point.shape:
        text = f"the gradient is {gradient.shape}, what it is of {point.shape}"
        return Finding("gradient", 0, name, kernel, math.inf, text=text)
    steps = np.minimum(np.abs(point), 1.0) if np.any(point) else np.ones_like(point)
    direction = steps * np.random.default_rng(0).uniform(-1.0, 1.0, point.shape)
    epsilon = float(np.finfo(point.dtype).eps)
    width, slopes = epsilon ** (1.0 / 3.0), []
    for h in (width, 2.0 * width, 3.0 * width):
        ends = [function(point + sign * h * direction) for sign in (1.0, -1.0)]
        slopes.append((ends[0] - ends[1]) / (2.0 * h))
    here = function(point)
    if not np.isfinite([*slopes, here]).all():
        return None
    terms = gradient * direction
    claimed, noise = float(np.sum(terms)), 64.0 * epsilon / width * abs(here)
    limit = 1e-6 * np.sum(np.abs(terms)) + 8.0 * np.ptp(slopes) + noise + 1e-300
    error = float(abs(np.sum(terms) - slopes[0]) / limit)
    share = error if math.isfinite(error) else math.inf
    differences = f"{claimed:.6g}, central differences say {slopes[0]:.6g}"
    said = f"in one direction the gradient says {differences}{_slip(claimed, float(slopes[0]))}"
    text = said if share > 1.0 else ""
    return Finding("gradient", 0, name, kernel, share, text=text)


def _slip(claimed: float, right: float) -> str:
    """Which slip it looks like, after a colon, or ""."""
    for ratio, said in RATIOS.items():
        if math.isclose(claimed, ratio * right, rel_tol=1e-3):
            return f": {said}"
    return ""


def kernel_slopes(call: Call, inputs: Sequence[HostArray]) -> Iterator[Finding]:
    """The gradient rule of a kernel, output by output, in a wider type."""
    if call.kernel.backward is None:
        return
    wide = cast(inputs, np.longdouble)
    with np.errstate(all="ignore"):
        exact = meaning(call, wide)
        for k in range(len(exact)):
            given, ruled = _ruled(call, wide, exact, k)
            for position, gradient in ruled.items():

                def total(moved: HostArray, at: int = position, k: int = k, by: Any = given) -> Any:
                    values = [moved if j == at else value for j, value in enumerate(wide)]
                    return np.sum(meaning(call, values)[k] * by)

                name = f"gradient of input {position}"
                found = slope(name, call.kernel.name, total, wide[position], gradient)
                if found is not None:
                    yield found


def _ruled(
    call: Call, inputs: Sequence[HostArray], outputs: Sequence[HostArray], k: int
) -> tuple[HostArray, dict[int, HostArray]]:
    """A gradient of output k, and those of inputs that ``backward`` makes of it alone.

    A loss brings its own gradient, where that of the output is 1.
    """
    assert call.kernel.backward is not None
    random = np.random.default_rng(k).uniform(-1.0, 1.0, outputs[k].shape)
    given: HostArray = np.asarray(random, np.longdouble)
    totals: dict[int, HostArray] = {}
    grad = f"grad {k}"
    try:
        rule = call.kernel.backward(call, [grad if j == k else None for j in range(len(outputs))])
    except Exception:  # it may ask for the gradient of another output as well
        if k == 0:
            raise
        return given, totals
    names = {name for gradient in rule for name in gradient.inputs}
    if None in names or (k > 0 and grad not in names):
        return given, totals
    if names <= set(call.outputs) and all(gradient.kernel is None for gradient in rule):
        given = np.ones_like(given)
    arrays = dict(zip(call.inputs + call.outputs, [*inputs, *outputs], strict=True)) | {grad: given}
    for gradient in rule:
        values = [arrays[name] for name in gradient.inputs]
        if gradient.kernel is not None:
            inner = Call(gradient.kernel, gradient.inputs, (), "gradient", gradient.attributes)
            values = meaning(inner, values)
        for position, value in zip(gradient.of, values, strict=True):
            totals[position] = totals[position] + value if position in totals else value
    return given, totals
