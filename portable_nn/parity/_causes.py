"""Why an output of a call is off: the usual causes, each tried on the call itself.

A cause is a way to compute the call wrongly. Of those whose result is nearest to what the backend
gave, and explains most of the error, the simplest is named. Errors are taken in units of the
magnitude that the kernel declares. Where no cause fits, the place of the wrong numbers is said.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import combinations
from typing import TYPE_CHECKING, Any

import array_api_compat.numpy as xp
import numpy as np

from portable_nn.kernels import Call
from portable_nn.parity._measure import WIDER, cast, meaning

if TYPE_CHECKING:
    from portable_nn.typing import HostArray

Arrays = list["HostArray"]
Causes = Iterator[tuple[str, Sequence["HostArray | None"] | None]]
"""Words, and what each output would be; None where that is not said, or cannot be computed."""

EXPLAINED = 0.1
"""What a cause may leave of the squared error; less where only a few numbers are off."""
CERTAIN = 1e-3
"""What shortened numbers may leave of it, so that nothing else is tried."""
ALONE = 100.0
"""How much better a cause has to fit that is at work in one output and not in the others."""
ROUNDING = 64.0
"""Rounding units that are no errors of other outputs."""
BITS = {8: "8 bits (bfloat16)", 11: "11 bits (TF32, float16)", 24: "24 bits (float32)"}
COSTLY = 2e7
"""Operations for which long double would take a second."""
PICKED = 1000
"""So many of the worst numbers of a long elementwise call are tried, and so many of all."""


def cause(
    call: Call, inputs: Sequence[HostArray], outputs: Sequence[HostArray], position: int, dtype: str
) -> str:
    """The cause that fits the output at a position, in words, or "".

    ``inputs`` and ``outputs`` are host copies. A cause that changes other outputs too has to
    fit them as well, unless they are right.
    """
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return _cause(call, inputs, outputs, position, dtype)
        except Exception:  # whatever a formula does here, the report has to come out
            return ""


def _cause(
    call: Call, inputs: Sequence[HostArray], outputs: Sequence[HostArray], position: int, dtype: str
) -> str:
    costly = call.kernel.cost(*[array.shape for array in inputs]) > COSTLY
    kind = np.float64 if costly else WIDER[dtype]
    exact = meaning(call, cast(inputs, kind))
    output, right = outputs[position], exact[position]
    if output.shape != right.shape:
        return f"its shape is {output.shape} instead of {right.shape}"
    if right.dtype.kind == "f" and output.dtype != dtype:
        return f"it is {output.dtype} instead of {dtype}"
    case = _Case(call, cast(inputs, np.float64), cast(outputs, kind), exact, position, dtype)
    found = _not_finite(output, right)
    if found or case.squares[position] == 0.0:
        return found
    for group in (_shorter, _changed, _roots, _known_factors, _single_numbers, _one_factor):
        for words, values in group(case):
            case.weigh(words, values)
        if group is _shorter and case.best < CERTAIN:
            break
    return case.named or _few_bits(output, right) or _wrong_ones(case, output, right)


class _Case:
    """A call that failed, what it should have given, and the cause that fits best so far."""

    def __init__(
        self, call: Call, inputs: Arrays, given: Arrays, exact: Arrays, position: int, dtype: str
    ) -> None:
        self.call, self.inputs, self.right, self.position = call, inputs, exact, position
        self.dtype, self.unit = dtype, float(np.finfo(dtype).eps) / 2.0
        self.mine, self.best, self.named, self.index = exact[position], math.inf, "", None
        declared = call.kernel.magnitude
        sizes = exact if declared is None else declared(xp, *inputs, **call.attributes)
        sizes = [_above_0(size, array) for size, array in zip(sizes, exact, strict=True)]
        self.outputs, self.exact, self.sizes = given, exact, sizes
        self.off = np.abs(self.errors(position, self.mine))
        if call.kernel.elementwise and self.off.size > 4 * PICKED:
            worst = np.argpartition(self.off.reshape(-1), -PICKED)[-PICKED:]
            some = np.linspace(0, self.off.size - 1, PICKED).astype(np.int64)
            self.index = np.union1d(worst, some)
            picked = [[self.pick(v) for v in arrays] for arrays in (given, exact, sizes)]
            self.outputs, self.exact, self.sizes = picked
        squares = [self.errors(k, v) ** 2 for k, v in enumerate(self.exact)]
        self.squares = [float(np.sum(each)) for each in squares]
        fourth = [max(float(np.sum(each * each)), 1e-300) for each in squares]
        self.numbers = [s * s / f for s, f in zip(self.squares, fourth, strict=True)]
        """How many numbers carry the errors: 1 if one is off, all if all are off alike."""
        largest = np.fmax(1.0, np.abs(self.outputs[position] / self.sizes[position]))
        self.rounding = float(np.sum((self.unit * largest) ** 2)) / self.total(position)

    def pick(self, array: HostArray) -> HostArray:
        return array if self.index is None or array.ndim == 0 else array.reshape(-1)[self.index]

    def errors(self, k: int, values: HostArray) -> HostArray:
        """Of an output, if it should be these values; 0 where that cannot be said."""
        known = np.isfinite(self.outputs[k]) & np.isfinite(self.exact[k])
        return np.where(known, (self.outputs[k] - values) / self.sizes[k], 0.0)

    def total(self, k: int) -> float:
        """The squared error of an output, that of others no less than rounding."""
        units = 0.0 if k == self.position else 2.0 * ROUNDING
        return max(self.squares[k] + (units * self.unit) ** 2 * self.exact[k].size, 1e-300)

    def rest(self, k: int, values: HostArray | None) -> float:
        """What values leave of the squared error of an output."""
        return math.inf if values is None else np.sum(self.errors(k, values) ** 2) / self.total(k)

    def weigh(self, words: str, values: Sequence[HostArray | None] | None) -> None:
        """Keep a cause that fits, and clearly better than the simpler ones before it."""
        if values is None:
            return
        numbers, everywhere, possible = self.numbers[self.position], True, True
        for k, value in enumerate(values):
            if k != self.position:
                fits = self.rest(k, value) < EXPLAINED
                right = self.squares[k] < EXPLAINED * self.total(k)
                everywhere, possible = (
                    everywhere and fits,
                    possible and (fits or right or value is None),
                )
                numbers += self.numbers[k] if fits and not right else 0.0
        own = self.rest(self.position, values[self.position])
        if possible and own < min(EXPLAINED, 10.0 ** (-6.0 / numbers)):
            score = max(own, self.rounding) * (1.0 if everywhere else ALONE)
            if score < self.best / 2.0:
                self.best, self.named = score, words

    def alone(self, values: HostArray) -> list[HostArray | None]:
        """Values of the output in question, and nothing of the others."""
        return [self.pick(values) if k == self.position else None for k in range(len(self.exact))]

    def compute(self, changes: Mapping[int, Any], namespace: Any = xp) -> Arrays | None:
        """What the formula makes of some other inputs; None if it refuses them."""
        given = enumerate(self.inputs)
        inputs = [self.pick(np.asarray(changes.get(k, v), v.dtype)) for k, v in given]
        try:
            found = self.call.kernel.meaning(namespace, *inputs, **self.call.attributes)
        except Exception:  # a formula may refuse what no network gives it
            return None
        arrays = [np.asarray(v) for v in (found if isinstance(found, tuple) else (found,))]
        alike = all(a.shape == e.shape for a, e in zip(arrays, self.exact, strict=True))
        return arrays if alike else None

    def singles(self) -> dict[int, float]:
        """The inputs that are one number, as hyper-parameters are."""
        inputs = enumerate(self.inputs)
        return {k: float(v) for k, v in inputs if v.ndim == 0 and v.dtype.kind == "f"}


def _above_0(size: HostArray, array: HostArray) -> HostArray:
    """What errors are taken in units of: nowhere much smaller than on average."""
    size = np.where(np.isfinite(size), np.abs(size), 0.0)
    least = 1e-3 * math.sqrt(np.mean(size * size)) if size.size else 0.0
    return np.broadcast_to(np.maximum(size, least or 1.0), array.shape)


# -- causes, the simpler ones first ----------------------------------------------------------


def _shortened(array: HostArray, bits: int) -> HostArray:
    """Rounded to so many significant bits."""
    mantissa, exponent = np.frexp(array)
    rounded: HostArray = np.ldexp(np.round(np.ldexp(mantissa, bits)), exponent - bits)
    return rounded


def _shorter(case: _Case) -> Causes:
    floats = {k: v for k, v in enumerate(case.inputs) if v.dtype.kind == "f"}
    for bits, words in BITS.items():
        if bits <= np.finfo(case.dtype).nmant:
            short = {k: _shortened(v, bits) for k, v in floats.items()}
            for few in (0, 1):  # the vectors may be added later, in full
                arrays = {k: v for k, v in short.items() if v.ndim > 1 - few}
                yield f"it fits inputs rounded to {words}", case.compute(arrays)
            singles = {k: v for k, v in short.items() if v.ndim == 0}
            yield f"it fits hyper-parameters rounded to {words}", case.compute(singles)
            yield f"it fits results rounded to {words}", case.alone(_shortened(case.mine, bits))


def _changed(case: _Case) -> Causes:
    """Something left out, negated, in another order or in another's place."""
    yield "all its numbers are 0", case.alone(np.zeros_like(case.mine))
    yield "all its numbers have the wrong sign", case.alone(-case.mine)
    for k, (name, value) in enumerate(zip(case.call.inputs, case.inputs, strict=True)):
        for words, other in _changes(case, value):
            yield f"it fits {words.replace('INPUT', name)}", case.compute({k: other})
    rows = max((len(v) for v in case.inputs if v.ndim > 1), default=1)
    tables = {k: v for k, v in enumerate(case.inputs) if v.ndim > 1 and len(v) == rows > 1}
    for which, row in {"first": 0, "last": rows - 1}.items():
        kept = (np.arange(rows) != row).astype(np.float64)
        without = {k: (v.T * kept).T for k, v in tables.items() if v.dtype.kind == "f"}
        yield f"it fits a {which} row that is left out", case.compute(without)
    for how, values in _reordered(case.mine):
        yield f"it fits the right numbers {how}", case.alone(values)


def _changes(case: _Case, value: HostArray) -> Iterator[tuple[str, Any]]:
    """Ways to read one input wrongly."""
    if value.dtype.kind == "f":
        for neutral in (0.0,) if value.ndim else (1.0, 0.0):
            yield f"INPUT left out ({neutral:g} in its place)", np.full_like(value, neutral)
        yield "INPUT with the wrong sign", -value
    for how, values in _reordered(value):
        yield f"INPUT {how}", values
    others = [*zip(case.call.inputs, case.inputs, strict=True)]
    others += [*zip(case.call.outputs, case.right, strict=True)] if value.ndim else []
    for name, other in others:
        same = (other.shape, other.dtype.kind) == (value.shape, value.dtype.kind)
        if same and other is not value:
            yield f"{name} in the place of INPUT", other
    if value.ndim and value.dtype.kind == "f" and np.any(value == 0.0):
        least = float(np.finfo(case.dtype).smallest_normal)
        for sign, how in {1.0: "positive (>= for >)", -1.0: "negative (> for >=)"}.items():
            yield f"a 0 in INPUT that counts as {how}", np.where(value == 0.0, sign * least, value)


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


class _Roots:
    """The namespace with another square root."""

    def __init__(self, sqrt: Callable[[Any], Any]) -> None:
        self.sqrt = sqrt

    def __getattr__(self, name: str) -> Any:
        return getattr(xp, name)


ROOTS: Mapping[str, Callable[[float], _Roots]] = {
    "inside the root, not added to it": lambda c: _Roots(lambda a: np.sqrt(a + c)),
    "added to the root, not inside it": lambda c: _Roots(lambda a: np.sqrt(a) + c),
}


def _roots(case: _Case) -> Causes:
    plain, without = case.compute({}), case.compute({}, _Roots(lambda a: a))
    if _same(plain, without):
        return
    yield "it fits a root that is left out", without
    for k, value in case.singles().items():
        used = not _same(plain, case.compute({k: 0.0}))
        for where, roots in ROOTS.items():
            words, values = (
                f"it fits {case.call.inputs[k]} {where}",
                _with(case, [k], [value], roots),
            )
            if used and not _same(plain, values):  # as it is where it is already so
                yield words, values
                fitted = _fitted(case, [k], roots)
                yield f"{words}, as {fitted[0]:.3g}", _with(case, [k], fitted, roots)


def _same(some: Arrays | None, others: Arrays | None) -> bool:
    """Equal but for rounding, or nothing to compare."""
    if some is None or others is None:
        return True
    return all(np.allclose(*each, rtol=1e-12, atol=0.0) for each in zip(some, others, strict=True))


def _share(case: _Case) -> float:
    """The factor that fits best, less 1."""
    right, size = case.exact[case.position], case.sizes[case.position]
    error, scaled = case.errors(case.position, right), np.nan_to_num(right / size)
    return float(np.sum(error * scaled) / np.fmax(np.sum(scaled * scaled), 1e-300))


def _known_factors(case: _Case) -> Causes:
    known = {2.0: "a factor of 2", 0.5: "a factor of 1/2"}
    for axis, name in {-2: "rows", -1: "columns"}.items():
        for n in [v.shape[axis] for v in case.inputs if v.ndim >= -axis]:
            its = f"over its {n} {name} instead of a"
            known.setdefault(1.0 / max(n, 1), f"a factor of 1/{n}, as a mean {its} sum")
            known.setdefault(float(n), f"a factor of {n}, as a sum {its} mean")
    for factor, words in known.items():
        if abs(1.0 + _share(case) - factor) < 1e-4 * factor and not case.call.kernel.elementwise:
            yield f"all its numbers are off by {words}", case.alone(case.mine * factor)


def _one_factor(case: _Case) -> Causes:
    share = _share(case)
    if case.mine.size > 3:
        small = f"1 {'-' if share < 0.0 else '+'} {abs(share):.3g}"
        words = small if abs(share) < 0.1 else f"{1.0 + share:.4g}"
        values = case.alone(case.mine * (1.0 + share))
        yield f"all its numbers are off by one factor, {words}", values


def _single_numbers(case: _Case) -> Causes:
    """One or two of the single numbers with other values."""
    total = sum(array.size for array in case.exact)
    for count in (count for count in (1, 2) if total > 3 * count):
        for chosen in combinations(list(case.singles().items())[:8], count):
            places, fitted = [k for k, _ in chosen], _fitted(case, [k for k, _ in chosen])
            if any(
                math.isclose(old, new, rel_tol=1e-9)
                for (_, old), new in zip(chosen, fitted, strict=True)
            ):
                continue
            known = [_formed(case, k, value) for k, value in zip(places, fitted, strict=True)]
            for values in ([value for value, _ in known], fitted):
                parts = [
                    f"{case.call.inputs[k]} = {_digits(value, value - old)} instead of "
                    f"{_digits(old, value - old)}{how if value == formed else ''}"
                    for (k, old), value, (formed, how) in zip(chosen, values, known, strict=True)
                ]
                yield f"it fits {' and '.join(parts)}", _with(case, places, values)


def _formed(case: _Case, k: int, fitted: float) -> tuple[float, str]:
    """A value near the fitted one that comes of a known mistake, and which; else the fitted."""
    old = float(case.inputs[k])
    for other, value in case.singles().items():
        formed = float(np.float32(1.0) - np.float32(value))
        if abs(formed - fitted) < 0.1 * abs(old - fitted) < 1e-4 * abs(old):
            return formed, f", which is 1 - {case.call.inputs[other]} formed in float32"
    return fitted, ""


def _digits(value: float, change: float) -> str:
    """With as many digits as the change needs."""
    texts = [f"{value:.{digits}g}" for digits in range(3, 18)]
    return next(
        (text for text in texts if abs(float(text) - value) <= 1e-3 * abs(change)), texts[-1]
    )


def _with(
    case: _Case,
    places: Sequence[int],
    values: Sequence[float],
    roots: Callable[[float], _Roots] | None = None,
) -> Arrays | None:
    """The outputs with other single numbers, or with one of them in the roots."""
    if roots is not None:
        return case.compute({places[0]: 0.0}, roots(values[0]))
    return case.compute(dict(zip(places, values, strict=True)))


def _fitted(
    case: _Case, places: Sequence[int], roots: Callable[[float], _Roots] | None = None
) -> list[float]:
    """The numbers at some places that explain the outputs best, by steps of Gauss-Newton."""

    def off(values: HostArray) -> HostArray:
        errors = [
            np.ravel(case.errors(k, array)) / math.sqrt(case.total(k))
            for k, array in enumerate(_with(case, places, list(values), roots) or ())
        ]
        return np.concatenate([np.zeros(0), *errors]).astype(np.float64)

    best = np.asarray([float(case.inputs[k]) for k in places])
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


# -- where no cause fits ---------------------------------------------------------------------


def _not_finite(output: HostArray, right: HostArray) -> str:
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


def _kind(values: HostArray) -> str:
    if not np.isnan(values).any():
        finite = "0" if not values.any() else "finite"
        return "infinite" if np.isinf(values).all() else finite
    return "NaN" if np.isnan(values).all() else "NaN or infinite"


def _few_bits(output: HostArray, right: HostArray) -> str:
    """Results that are short, but not what rounding the right ones would give."""
    near = 0.0 < float(np.sum((output - right) ** 2)) < 0.1 * float(np.sum(right * right))
    for bits, words in BITS.items() if near else ():
        long = np.sum(_shortened(right, bits) != right.astype(output.dtype)) > 3
        short = bits <= np.finfo(output.dtype).nmant
        if long and short and np.array_equal(_shortened(output, bits), output):
            return f"all its numbers have only {words}, as if a sum were kept in so few"
    return ""


def _wrong_ones(case: _Case, output: HostArray, right: HostArray) -> str:
    """What and where the numbers are that rounding does not explain."""
    terms = float(np.max(case.call.kernel.length(*[array.shape for array in case.inputs])))
    wrong = case.off > (16.0 + 2.0 * math.sqrt(terms)) * case.unit
    if not wrong.any():
        return ""
    place, zeros = _place(wrong), (output == 0.0) & (right != 0.0)
    if (wrong & ~zeros).any():
        return f"the wrong numbers are all{place}" if place else ""
    largest = float(np.max(np.abs(right[zeros])))
    if largest < float(np.min(np.abs(right[output != 0.0]), initial=math.inf)):
        return f"its numbers up to {largest:.2g} have become 0"
    return f"the wrong numbers are all 0{place}"


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
