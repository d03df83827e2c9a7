"""Ways to compute a call wrongly: what each would give, in words, the simpler ones first."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import combinations
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import array_api_compat.numpy as xp
import numpy as np

from portable_nn.parity._case import Arrays, Case, Some
from portable_nn.parity._places import BITS, shortened

if TYPE_CHECKING:
    from portable_nn.typing import HostArray

Mistakes = Iterator[tuple[str, Some | None]]
"""Words, and the outputs; None where they cannot be computed."""


def shortened_numbers(case: Case) -> Mistakes:
    """Inputs, or results, of fewer bits than the dtype has."""
    floats = {k: v for k, v in enumerate(case.inputs) if v.dtype.kind == "f"}
    for bits, words in BITS.items():
        if bits <= np.finfo(case.dtype).nmant:
            short = {k: shortened(v, bits) for k, v in floats.items()}
            for few in (0, 1):  # the vectors may be added later, in full
                arrays = {k: v for k, v in short.items() if v.ndim > 1 - few}
                yield f"it fits inputs rounded to {words}", case.compute(arrays)
            singles = {k: v for k, v in short.items() if v.ndim == 0}
            yield f"it fits hyper-parameters rounded to {words}", case.compute(singles)
            yield f"it fits results rounded to {words}", case.alone(shortened(case.wanted, bits))


def other_mistakes(case: Case) -> Mistakes:
    """All others."""
    for group in (_changed, _roots, _known_factors, _hyper_parameters, _one_factor):
        yield from group(case)


# -- something left out, negated, in another order or in another's place ---------------------


def _changed(case: Case) -> Mistakes:
    yield "all its numbers are 0", case.alone(np.zeros_like(case.wanted))
    yield "all its numbers have the wrong sign", case.alone(-case.wanted)
    for k, (name, value) in enumerate(zip(case.call.inputs, case.inputs, strict=True)):
        for words, other in _misread(case, name, value):
            yield f"it fits {words}", case.compute({k: other})
    rows = max((len(v) for v in case.inputs if v.ndim > 1), default=1)
    for words, row in {"a first row": 0, "a last row": rows - 1}.items():
        kept = (np.arange(rows) != row).astype(np.float64)
        without = {
            k: (v.T * kept).T
            for k, v in enumerate(case.inputs)
            if v.ndim > 1 and len(v) == rows > 1 and v.dtype.kind == "f"
        }
        yield f"it fits {words} that is left out", case.compute(without)
    for how, values in _reordered(case.wanted):
        yield f"it fits the right numbers {how}", case.alone(values)


def _misread(case: Case, name: str, value: HostArray) -> Iterator[tuple[str, HostArray]]:
    """Ways to read an input of this name wrongly."""
    if value.dtype.kind == "f":
        for neutral in (0.0,) if value.ndim else (1.0, 0.0):
            yield f"{name} left out ({neutral:g} in its place)", np.full_like(value, neutral)
        yield f"{name} with the wrong sign", -value
    for how, values in _reordered(value):
        yield f"{name} {how}", values
    others = [*zip(case.call.inputs, case.inputs, strict=True)]
    others += [*zip(case.call.outputs, case.right, strict=True)] if value.ndim else []
    for its, other in others:
        same = (other.shape, other.dtype.kind) == (value.shape, value.dtype.kind)
        if same and other is not value:
            yield f"{its} in the place of {name}", other
    if value.ndim and value.dtype.kind == "f" and np.any(value == 0.0):
        least = float(np.finfo(case.dtype).smallest_normal)
        for sign, how in {1.0: "positive (>= for >)", -1.0: "negative (> for >=)"}.items():
            other = np.where(value == 0.0, sign * least, value)
            yield f"a 0 in {name} that counts as {how}", other


def _reordered(array: HostArray) -> Iterator[tuple[str, HostArray]]:
    axis = -min(array.ndim, 2)
    if axis:
        yield "with its rows shifted by one", np.roll(array, 1, axis)
        yield "with its rows shifted by one", np.roll(array, -1, axis)
        yield "with its rows in reverse order", np.flip(array, axis)
    if axis == -2:
        square = array.shape[-1] == array.shape[-2]
        how = "transposed" if square else "read column by column instead of row by row"
        yield how, array.swapaxes(-1, -2).reshape(array.shape)


# -- factors ---------------------------------------------------------------------------------


def _known_factors(case: Case) -> Mistakes:
    known = {2.0: "a factor of 2", 0.5: "a factor of 1/2"}
    for axis, name in {-2: "rows", -1: "columns"}.items():
        for n in [v.shape[axis] for v in case.inputs if v.ndim >= -axis]:
            its = f"over its {n} {name} instead of a"
            known.setdefault(1.0 / max(n, 1), f"a factor of 1/{n}, as a mean {its} sum")
            known.setdefault(float(n), f"a factor of {n}, as a sum {its} mean")
    fitted = 1.0 + _fitted_share(case)
    for factor, words in known.items() if not case.call.kernel.elementwise else ():
        if abs(fitted - factor) < 1e-4 * factor:
            yield f"all its numbers are off by {words}", case.alone(case.wanted * factor)


def _one_factor(case: Case) -> Mistakes:
    share = _fitted_share(case)
    if case.wanted.size > 3:
        small = f"1 {'-' if share < 0.0 else '+'} {abs(share):.3g}"
        words = small if abs(share) < 0.1 else f"{1.0 + share:.4g}"
        values = case.alone(case.wanted * (1.0 + share))
        yield f"all its numbers are off by one factor, {words}", values


def _fitted_share(case: Case) -> float:
    """The factor that fits best, less 1."""
    output = case.output
    error, scaled = output.errors(output.right), np.nan_to_num(output.right / output.size)
    return float(np.sum(error * scaled) / np.fmax(np.sum(scaled * scaled), 1e-300))


# -- other roots, and other hyper-parameters -------------------------------------------------

ROOTS: Mapping[str, Callable[[float, Any], Any]] = {
    "inside the root, not added to it": lambda c, a: np.sqrt(a + c),
    "added to the root, not inside it": lambda c, a: np.sqrt(a) + c,
}


def _roots(case: Case) -> Mistakes:
    plain, without = case.compute({}), _with_root(case, {}, lambda a: a)
    if _same(plain, without):
        return
    yield "it fits a root that is left out", without
    for k, value in case.singles().items():
        if _same(plain, case.compute({k: 0.0})):
            continue
        for where, root in ROOTS.items():

            def outputs(numbers: Sequence[float], k: int = k, root: Any = root) -> Arrays | None:
                return _with_root(case, {k: 0.0}, partial(root, numbers[0]))

            if not _same(plain, outputs([value])):  # as it is where it is already so
                words = f"it fits {case.call.inputs[k]} {where}"
                yield words, outputs([value])
                fitted = _fitted(case, [value], outputs)
                yield f"{words}, as {fitted[0]:.3g}", outputs(fitted)


def _with_root(case: Case, changes: Mapping[int, Any], sqrt: Any) -> Arrays | None:
    return case.compute(changes, SimpleNamespace(**(vars(xp) | {"sqrt": sqrt})))


def _same(some: Arrays | None, others: Arrays | None) -> bool:
    """Equal but for rounding, or nothing to compare."""
    if some is None or others is None:
        return True
    return all(np.allclose(*each, rtol=1e-12, atol=0.0) for each in zip(some, others, strict=True))


def _hyper_parameters(case: Case) -> Mistakes:
    """One or two of the single numbers with other values."""
    total = sum(output.right.size for output in case.outputs)
    singles = list(case.singles().items())[:8]
    for count in (count for count in (1, 2) if total > 3 * count):
        for chosen in combinations(singles, count):
            positions, old = zip(*chosen, strict=True)

            def outputs(values: Sequence[float], at: Sequence[int] = positions) -> Arrays | None:
                return case.compute(dict(zip(at, values, strict=True)))

            fitted = _fitted(case, old, outputs)
            if any(math.isclose(*each, rel_tol=1e-9) for each in zip(old, fitted, strict=True)):
                continue
            formed = [_formed(case, *each) for each in zip(old, fitted, strict=True)]
            for changes in (formed, [(value, "") for value in fitted]):
                parts = [
                    f"{case.call.inputs[k]} = {_digits(new, new - value)} instead of "
                    f"{_digits(value, new - value)}{how}"
                    for (k, value), (new, how) in zip(chosen, changes, strict=True)
                ]
                yield f"it fits {' and '.join(parts)}", outputs([new for new, _ in changes])


def _formed(case: Case, old: float, fitted: float) -> tuple[float, str]:
    """A value near the fitted one that comes of a known mistake, and which; else the fitted."""
    for k, value in case.singles().items():
        formed = float(np.float32(1.0) - np.float32(value))
        if abs(formed - fitted) < 0.1 * abs(old - fitted) < 1e-4 * abs(old):
            return formed, f", which is 1 - {case.call.inputs[k]} formed in float32"
    return fitted, ""


def _digits(value: float, change: float) -> str:
    """With as many digits as the change needs."""
    texts = [f"{value:.{digits}g}" for digits in range(3, 18)]
    enough = [text for text in texts if abs(float(text) - value) <= 1e-3 * abs(change)]
    return enough[0] if enough else texts[-1]


def _fitted(
    case: Case, start: Sequence[float], outputs: Callable[[Sequence[float]], Arrays | None]
) -> list[float]:
    """The numbers whose outputs explain the errors best, by steps of Gauss-Newton."""

    def off(values: HostArray) -> HostArray:
        errors = [
            np.ravel(output.errors(array)) / math.sqrt(output.total)
            for output, array in zip(case.outputs, outputs(list(values)) or (), strict=False)
        ]
        return np.concatenate([np.zeros(0), *errors]).astype(np.float64)

    best = np.asarray(start)
    for _ in range(16):
        steps, here = np.where(best == 0.0, 1e-12, 1e-4 * np.abs(best)), off(best)
        beside = [off(best + one) for one in np.diag(steps)]
        if not here.size or any(one.size != here.size for one in beside):
            break
        slopes = np.stack(beside, axis=1) - here[:, None]
        if not np.isfinite(slopes).all():
            break
        lengths = np.fmax(np.sqrt(np.sum(slopes * slopes, axis=0)), 1e-300)
        moved = best - steps * np.linalg.lstsq(slopes / lengths, here)[0] / lengths
        last, best = best, np.where(best > 0.0, np.clip(moved, best / 10.0, best * 10.0), moved)
        if np.allclose(best, last, rtol=1e-9, atol=0.0):
            break
    return [float(value) for value in best]
