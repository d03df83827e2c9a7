"""How far one kernel call is from its formula, in units of what rounding explains.

The formula is evaluated in a wider type on the call's own inputs, so nothing but this call is
measured: no drift, and as sharp in step 2,000 as in step 1. With ``u`` the unit roundoff of the
call's dtype and ``S`` the magnitude the kernel declares, ``q = |error| / (u S)``.

A call passes if

- ``max q <= 16 + 2 sqrt(n)`` and ``rms q <= 4 + sqrt(n) / 3``, n being the number of terms summed
  for one number (rounding errors of a sum grow like the root, not like n);
- ``slope = |<error, exact>| / <exact, exact> <= (4 + sqrt(n) / 4) u``: an error that is the same
  share of every number adds up here. Where terms cancel, it is that times what independent errors
  of u S make of it. (Without the root, torch's products alarm: sums of 16,384 terms of one sign
  drift by 32 u.)
- the same for an elementwise call along what a change of each of its single numbers does (the
  hyper-parameters of an update), the *lean*: along ``d = (change of the output) / S`` errors are at
  most ``2 + 5 / |d|`` units of it. So ``1 - beta`` formed in float32 is seen where it is 4 u off;
- or where the formula in NumPy, of the same dtype on the same inputs, or the sum of its rows one
  after another, has more than a quarter of these errors: terms of one sign drift in any plain
  loop, and how far depends on the order of the sum.

A kernel that declares no magnitude gets the larger of its result and of what changes of its inputs
in the last place make of it. Where formulas are evaluated in the dtype itself (long double may be
no wider than float64), both sides round, and all limits are twice as large.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import array_api_compat.numpy as xp
import numpy as np

from portable_nn.backend import Backend
from portable_nn.errors import NetworkError
from portable_nn.kernels import Call

if TYPE_CHECKING:
    from portable_nn.typing import HostArray

LANES = (1, 4, 16)
"""Sums side by side in which rows are added up: how far equal terms drift depends on it."""
CHANGE = 1e-4
"""Relative change of a single number that a derivative is taken by."""
ABOUT = 0.5
"""What a lean may be less than the largest to be named with it."""
WIDER = {"float32": np.float64, "float64": np.longdouble}
"""By dtype, what formulas are evaluated in; where long double is no wider, nor is this."""


@dataclass(frozen=True)
class Errors:
    """Of one output of one call: the largest q, its root mean square, the slope in u, the lean.

    ``wrong`` is the share of its numbers that are beyond the limit of the largest; ``toward`` are
    the inputs that it leans towards, about equally.
    """

    largest: float
    rms: float
    slope: float
    wrong: float
    lean: float = 0.0
    toward: tuple[int, ...] = ()


@dataclass(frozen=True)
class Measured:
    """Errors of one output of one call beside their limits."""

    errors: Errors
    limits: tuple[float, ...]
    terms: int

    @property
    def share(self) -> float:
        """The worst error in units of its limit; above 1 the call does not pass."""
        one = self.errors
        found = (one.largest, one.rms, one.slope, one.lean)
        return max(error / limit for error, limit in zip(found, self.limits, strict=True))


class Formulas:
    """Evaluates formulas on host arrays, in a wider type than ``dtype`` unless told otherwise.

    Parameters
    ----------
    dtype
        ``"float32"`` or ``"float64"``: what is judged.
    reference
        A backend and a dtype to evaluate in; None is NumPy in ``WIDER[dtype]``.

    Raises
    ------
    NetworkError
        If the dtype is neither, or what formulas are to be evaluated in has fewer bits.
    """

    def __init__(self, dtype: str, reference: tuple[Backend, str] | None = None) -> None:
        if dtype not in WIDER:
            raise NetworkError(f"dtype is one of {', '.join(WIDER)}; got {dtype!r:.60}.")
        if reference is not None and (dtype, reference[1]) == ("float64", "float32"):
            raise NetworkError("float32 formulas cannot judge float64.")
        self._reference, self._by_rows = reference, False
        self._kind: Any = WIDER[dtype] if reference is None else np.dtype(reference[1]).type

    @classmethod
    def narrow(cls, dtype: str, *, by_rows: bool = False) -> Formulas:
        """NumPy in the dtype itself; ``by_rows`` adds up the rows of sums one after another."""
        made = cls(dtype)
        made._kind, made._by_rows = np.dtype(dtype).type, by_rows
        return made

    def __call__(self, call: Call, inputs: Sequence[HostArray]) -> list[HostArray]:
        """The outputs of a call, on the host."""
        if self._reference is None:
            inputs = self.cast(inputs)
            values = self.cast(meaning(call, inputs))
            return _row_by_row(call, inputs, values) if self._by_rows else values
        backend, dtype = self._reference
        there = [backend.asarray(v, dtype if v.dtype.kind == "f" else "index") for v in inputs]
        found = call.kernel.meaning(backend.xp, *there, **call.attributes)
        found = found if isinstance(found, tuple) else (found,)
        return self.cast([backend.to_host(value) for value in found])

    def cast(self, arrays: Sequence[HostArray]) -> list[HostArray]:
        """The arrays, numbers that are not whole in the type of the formulas."""
        return cast(arrays, self._kind)

    def wider(self, dtype: str) -> bool:
        """Whether they are evaluated in more bits than a dtype has."""
        return bool(np.finfo(self._kind).nmant > np.finfo(dtype).nmant)

    def __str__(self) -> str:
        name = "numpy" if self._reference is None else self._reference[0].name
        return f"{name} {self._kind.__name__}"


def measure(
    call: Call,
    inputs: Sequence[HostArray],
    outputs: Sequence[HostArray],
    dtype: str,
    *,
    formulas: Formulas | None = None,
    roundoff: float | None = None,
) -> list[Measured]:
    """Measure every output of a call.

    Parameters
    ----------
    call
        Its kernel gives the formula, the magnitude and the number of terms.
    inputs, outputs
        Host copies of what it read and wrote, in the shapes of the plan.
    dtype
        ``"float32"`` or ``"float64"``: what the backend computes in.
    formulas
        What evaluates them; None is NumPy in a wider type.
    roundoff
        The unit roundoff u, where a backend declares one that is not that of the dtype.

    Raises
    ------
    NetworkError
        If the dtype is neither.
    """
    formulas = Formulas(dtype) if formulas is None else formulas
    inputs, outputs = [[np.asarray(v) for v in values] for values in (inputs, outputs)]
    with np.errstate(all="ignore"):
        exact = formulas(call, inputs)
        coarser = max(1.0, (roundoff or 0.0) / unit_roundoff(dtype))
        slack = 1.0 if formulas.wider(dtype) else 2.0
        sizes = magnitudes(call, formulas.cast(inputs), exact)
        terms = summed(call, inputs, len(exact))
        moves = _moves(call, inputs, exact, formulas)
        judges = [
            _Judge(size * coarser, e, n, coarser, slack, dtype, move)
            for size, e, n, *move in zip(sizes, exact, terms, *moves, strict=True)
        ]
        found = [judge(*each) for judge, *each in zip(judges, outputs, exact, strict=True)]
        if all(one.share <= 1.0 for one in found):
            return found
        narrow = cast(inputs, np.dtype(dtype).type)
        plain = meaning(call, narrow)
        exact = [_overflown(*each) for each in zip(exact, plain, outputs, strict=True)]
        flushed = _flushed(call, narrow)
        exact = [_nearer(*each) for each in zip(exact, plain, flushed, outputs, strict=True)]
        found = [judge(*each) for judge, *each in zip(judges, outputs, exact, strict=True)]
        sums = [_row_by_row(call, narrow, exact, lanes) for lanes in LANES]
        for values in (plain, *sums):
            own = [judge(*each) for judge, *each in zip(judges, values, exact, strict=True)]
            found = [_relaxed(*each) for each in zip(found, own, strict=True)]
        return found


class _Judge:
    """The limits of one output, and what is measured against them."""

    def __init__(
        self,
        size: HostArray,
        exact: HostArray,
        terms: int,
        coarser: float,
        slack: float,
        dtype: str,
        moves: Sequence[tuple[int, HostArray]],
    ) -> None:
        root, product = math.sqrt(terms), size * exact
        spread = float(np.sqrt(np.sum(product * product)) / _total(exact))
        slope = (4.0 + root / 4.0) * max(coarser, spread)
        limits = (16.0 + 2.0 * root, 4.0 + root / 3.0, slope, 1.0)
        self._limits = (slack * limits[0], slack * limits[1], slack * limits[2], slack)
        self._size, self._terms, self._dtype, self._moves = size, terms, dtype, moves

    def __call__(self, output: HostArray, exact: HostArray) -> Measured:
        errors = _errors(output, exact, self._size, self._limits[0], self._dtype)
        if math.isfinite(errors.largest):
            size = np.where(self._size > 0.0, self._size, np.inf)
            error = (output - exact) / size / unit_roundoff(self._dtype)
            leans = {k: _lean(error, move / size) for k, move in self._moves}
            most = max(leans.values(), default=0.0)
            toward = tuple(k for k, lean in leans.items() if lean >= ABOUT * most)
            errors = replace(errors, lean=most, toward=toward)
        return Measured(errors, self._limits, self._terms)


def _moves(
    call: Call, inputs: Sequence[HostArray], exact: Sequence[HostArray], formulas: Formulas
) -> list[list[tuple[int, HostArray]]]:
    """Of each single number among the inputs, what a change makes of each output, per change."""
    found = []
    for k, value in enumerate(inputs) if call.kernel.elementwise else ():
        if value.ndim == 0 and value.dtype.kind == "f":
            wide = formulas.cast(inputs)
            wide[k] = wide[k] * (1.0 + CHANGE)
            outputs = zip(formulas(call, wide), exact, strict=True)
            found.append([(k, (moved - here) / CHANGE) for moved, here in outputs])
    return found


def _lean(error: HostArray, move: HostArray) -> float:
    """The part of an error, in u S, that lies along a move, in S: in units of its limit."""
    known = np.isfinite(error) & np.isfinite(move)
    error, move = np.where(known, error, 0.0), np.where(known, move, 0.0)
    square = float(np.sum(move * move))
    if square < 1e-12:
        return 0.0
    return float(abs(np.sum(error * move)) / square / (2.0 + 5.0 / math.sqrt(square)))


def summed(call: Call, inputs: Sequence[HostArray], outputs: int) -> tuple[int, ...]:
    """For each output of a call, the number of terms summed for one number of it."""
    found = call.kernel.length(*[array.shape for array in inputs])
    return found if isinstance(found, tuple) else (found,) * outputs


def _overflown(exact: HostArray, plain: HostArray, output: HostArray) -> HostArray:
    """What is exact, but infinite or no number where the formula is so in the narrow dtype too."""
    if plain.dtype.kind != "f" or plain.shape != output.shape:
        return exact
    same = (plain == output) | (np.isnan(plain) & np.isnan(output))
    return np.where(same & ~np.isfinite(output), output.astype(exact.dtype), exact)


class _Flushing(np.ndarray[Any, Any]):
    """Numbers whose every result that is subnormal becomes 0, as some hardware has it."""

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        plain = [v.view(np.ndarray) if isinstance(v, _Flushing) else v for v in inputs]
        options.pop("out", None)
        found = np.asarray(getattr(ufunc, method)(*plain, **options))
        if found.dtype.kind == "f":
            least = np.finfo(found.dtype).smallest_normal
            found = np.where(np.abs(found) < least, found * 0.0, found)
        return found.view(_Flushing)


def _flushed(call: Call, inputs: Sequence[HostArray]) -> list[HostArray]:
    """The results where subnormal numbers, also those on the way, are 0."""
    with np.errstate(all="ignore"):
        flushing = [value.view(_Flushing) for value in inputs]
        return [np.asarray(value).view(np.ndarray) for value in meaning(call, flushing)]


def _nearer(exact: HostArray, plain: HostArray, flushed: HostArray, output: HostArray) -> HostArray:
    """What is exact, but flushed where that makes a difference and the output is nearer to it."""
    if plain.dtype.kind != "f" or not exact.shape == plain.shape == flushed.shape == output.shape:
        return exact
    near = np.abs(output - flushed) < np.abs(output - exact)
    return np.where((plain != flushed) & near, flushed.astype(exact.dtype), exact)


def _row_by_row(
    call: Call, inputs: Sequence[HostArray], exact: list[HostArray], lanes: int = 1
) -> list[HostArray]:
    """The results for single rows, summed one after another; exact ones if rows do not add up.

    In so many sums side by side, as products are computed; these are added at the end.
    """
    rows = max((len(v) for v in inputs if v.ndim > 1), default=1)
    if rows == 1 or any(value.ndim and len(value) == rows for value in exact):
        return exact
    totals = [[np.zeros(value.shape, inputs[0].dtype) for value in exact] for _ in range(lanes)]
    for k in range(rows):
        row = [v[k : k + 1] if v.ndim > 1 and len(v) == rows else v for v in inputs]
        try:
            parts = meaning(call, row)
        except (ValueError, IndexError):  # what was cut were not the rows of a batch
            return exact
        if any(part.shape != value.shape for part, value in zip(parts, exact, strict=True)):
            return exact
        mine = totals[k % lanes]
        totals[k % lanes] = [t + part for t, part in zip(mine, parts, strict=True)]
    found = totals[0]
    for other in totals[1:]:
        found = [a + b for a, b in zip(found, other, strict=True)]
    near = all(np.allclose(t, e, rtol=1e-2) for t, e in zip(found, exact, strict=True))
    return found if near else exact


def cast(arrays: Sequence[HostArray], kind: Any) -> list[HostArray]:
    """The arrays, numbers that are not whole in another type."""
    return [array.astype(kind) if array.dtype.kind == "f" else array for array in arrays]


def meaning(call: Call, inputs: Sequence[HostArray]) -> list[HostArray]:
    """What the formula of a call gives on the host."""
    values = call.kernel.meaning(xp, *inputs, **call.attributes)
    return [np.asarray(value) for value in (values if isinstance(values, tuple) else (values,))]


def unit_roundoff(dtype: str) -> float:
    """Largest relative error of rounding to a dtype: 2^-24 or 2^-53."""
    return float(np.finfo(dtype).eps) / 2.0


def magnitudes(
    call: Call, inputs: Sequence[HostArray], exact: Sequence[HostArray]
) -> list[HostArray]:
    """S of every output: what its rounding errors are proportional to.

    Where it is not finite, as of a softmax beside an infinity, that of the result, or 1.
    """
    if call.kernel.magnitude is None:
        sizes = _sensitivity(call, inputs, exact)
    else:
        found = call.kernel.magnitude(xp, *inputs, **call.attributes)
        sizes = [np.asarray(size) for size in found]
    return [
        size if np.isfinite(size).all() else np.where(np.isfinite(size), size, np.fmax(abs(e), 1.0))
        for size, e in zip(sizes, exact, strict=True)
    ]


def _sensitivity(
    call: Call, inputs: Sequence[HostArray], exact: Sequence[HostArray]
) -> list[HostArray]:
    """The results, or what relative changes of the inputs make of them, if that is more."""
    sizes, change = [np.abs(value) for value in exact], 2.0**-20
    signs = np.random.default_rng(0)
    for _ in range(4):
        moved = [
            v * (1.0 + change * signs.choice([-1.0, 1.0], v.shape)) if v.dtype.kind == "f" else v
            for v in inputs
        ]
        near = meaning(call, [np.asarray(v, i.dtype) for v, i in zip(moved, inputs, strict=True)])
        differences = [np.abs(n - e) / change for n, e in zip(near, exact, strict=True)]
        sizes = [np.fmax(size, one) for size, one in zip(sizes, differences, strict=True)]
    return sizes


def _total(exact: HostArray) -> float:
    """``<exact, exact>``, never 0."""
    return max(float(np.sum(exact * exact)), float(np.finfo(np.float64).tiny))


def _errors(
    output: HostArray, exact: HostArray, size: HostArray, limit: float, dtype: str
) -> Errors:
    if output.shape != exact.shape or (output.dtype != np.dtype(dtype) and exact.dtype.kind == "f"):
        return Errors(math.inf, math.inf, 0.0, 1.0)
    if output.dtype.kind != "f":  # rows of whole numbers are right or wrong
        wrong = float(np.mean(output != exact)) if output.size else 0.0
        beyond = math.inf if wrong else 0.0
        return Errors(beyond, beyond, 0.0, wrong)
    info = np.finfo(dtype)
    u, least = unit_roundoff(dtype), float(info.smallest_normal)
    exact = np.where(np.isinf(exact.astype(dtype)), np.copysign(np.inf, exact), exact)
    same = (output == exact) | (np.isnan(output) & np.isnan(exact))
    error = np.where(same, 0.0, output - exact)
    error = np.where(np.abs(error) <= least, 0.0, error)  # subnormals may be flushed to zero
    q = np.where(error == 0.0, 0.0, np.abs(error) / (u * np.maximum(size, least)))
    q = np.where(np.isfinite(error), q, np.inf).astype(np.float64)
    if not np.isfinite(q).all():
        return Errors(math.inf, math.inf, 0.0, float(np.mean(q > limit)))
    finite = np.where(np.isfinite(exact), exact, 0.0)
    return Errors(
        float(q.max(initial=0.0)),
        float(np.sqrt(np.mean(q * q))) if q.size else 0.0,
        abs(float(np.sum(error * finite))) / _total(finite) / u,
        float(np.mean(q > limit)) if q.size else 0.0,
    )


def _relaxed(found: Measured, plain: Measured) -> Measured:
    """The same errors, with limits no stricter than four times NumPy's own errors."""
    one = plain.errors
    limits = [
        max(limit, 4.0 * error) if math.isfinite(error) else limit
        for limit, error in zip(
            found.limits, (one.largest, one.rms, one.slope, one.lean), strict=True
        )
    ]
    return replace(found, limits=tuple(limits))
