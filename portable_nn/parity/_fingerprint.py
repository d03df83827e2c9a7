"""What the arithmetic of a backend does: facts that later differences go back to.

It runs functions of the namespace one by one (``xp.add(a, b)`` is ``a + b`` by the standard).
What a compiler makes of a whole section (``jax.jit``) may be rounded otherwise.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from portable_nn import kernels
from portable_nn.backend import Where, get_backend
from portable_nn.errors import NetworkError
from portable_nn.network import DTYPES
from portable_nn.parity._measure import WIDER
from portable_nn.random import Draws

if TYPE_CHECKING:
    from portable_nn.typing import HostArray

Formula = Callable[..., Any]
"""Of a namespace and arrays: run on the backend, and by NumPy for what should come out."""

OPERATIONS: Mapping[str, Formula] = {
    "a + b": lambda xp, a, b, k: xp.add(a, b),
    "a - b": lambda xp, a, b, k: xp.subtract(a, b),
    "a * b": lambda xp, a, b, k: xp.multiply(a, b),
    "a / b": lambda xp, a, b, k: xp.divide(a, b),
    "a * k": lambda xp, a, b, k: xp.multiply(a, k),
    "a / k": lambda xp, a, b, k: xp.divide(a, k),
    "sqrt": lambda xp, a, b, k: xp.sqrt(xp.abs(a)),
}
"""What IEEE 754 rounds to the nearest number; ``k`` is a 0-d array."""

ALMOST = {"a / k": 1.5, "sqrt": 1.0}
"""Errors in ulps that pass although IEEE has 0.5: of the product with the rounded ``1 / k``
(XLA), and of the other neighbour of the root (torch on CPUs)."""

FUNCTIONS: Mapping[str, Formula] = {
    "exp": lambda xp, z, positive, share: xp.exp(z),
    "log": lambda xp, z, positive, share: xp.log(positive),
    "log1p": lambda xp, z, positive, share: xp.log1p(share),
    "tanh": lambda xp, z, positive, share: xp.tanh(z),
    "sigmoid": lambda xp, z, positive, share: kernels.sigmoid.meaning(xp, z),
}
"""``z`` as far as 90% of where ``exp`` overflows; ``share`` in (0, 1], as the losses take it."""

ULPS = 8.0  # the largest error of a function that passes

SUMS: Mapping[str, tuple[int, Formula]] = {
    "x @ w": (4096, lambda xp, x, w, terms, table: xp.matmul(x, w)),
    "sum": (1 << 20, lambda xp, x, w, terms, table: xp.sum(terms)),
    "column sums": (16384, lambda xp, x, w, terms, table: xp.sum(table, axis=0)),
}
"""With how many terms each has; those of the last two are positive."""

SHORTER = {8: "bfloat16", 11: "TF32 or float16"}
HINT = (
    "For products of the full inputs: CuPy without CUPY_TF32=1; in torch\n"
    'set_float32_matmul_precision("highest"); in JAX jax_default_matmul_precision="float32".'
)
UNITS = (
    "ulp: distance from a number to the next. u: relative rounding error, here of the sum of the\n"
    "terms' absolute values. IEEE: the standard 754, as NumPy computes. A fact is not judged."
)


class _Line(NamedTuple):
    """A finding in words; ``ok`` is None for a fact that is not judged."""

    name: str
    value: str
    words: str
    ok: bool | None = None


@dataclass(frozen=True)
class Fingerprint:
    """What the arithmetic of a backend does; ``str()`` says it in words.

    Attributes
    ----------
    backend, device, dtype
        What was looked at.
    reference
        What the exact values of ``ulps`` and ``sums`` were computed in, and if it is no wider.
    bits, input_bits
        Significant bits of a number, and how many of them count in the inputs of a product.
    contracted
        Whether some ``a * b + c`` is rounded once only.
    flushes_results, flushes_inputs
        Whether a result that is subnormal (nearer to 0 than the smallest normal number)
        becomes 0, and whether such an input is taken as 0.
    misrounded
        By operation, the share of results that are not the number nearest to the exact one.
    ulps
        By operation and function, the largest error, in ulps: distances from the exact result,
        rounded, to the next number.
    sums, limits
        By product or sum, the largest error, and what it may be: ``16 + 2 sqrt(terms)``, or
        twice that of NumPy if that is more. Both in ``u = 2^-bits`` times the sum of the
        absolute values of the terms.
    repeatable
        Whether the same product, computed three times, has the same bits.
    """

    backend: str
    device: str
    dtype: str
    reference: str
    bits: int
    input_bits: int
    contracted: bool
    flushes_results: bool
    flushes_inputs: bool
    misrounded: Mapping[str, float]
    ulps: Mapping[str, float]
    sums: Mapping[str, float]
    limits: Mapping[str, float]
    repeatable: bool

    @property
    def ok(self) -> bool:
        """Whether all that is judged passes: inputs of products, rounding, functions, sums."""
        return not self._wrong()

    @property
    def verdict(self) -> str:
        """One sentence."""
        wrong = ", ".join(f"{line.name} ({line.value})" for line in self._wrong())
        said = f"not as it should be: {wrong}" if wrong else "as it should be"
        return f"The {self.dtype} arithmetic of {self.backend} on {self.device} is {said}."

    def to_dict(self) -> dict[str, Any]:
        """Everything, for ``json.dumps``; an error that is infinite is ``"inf"``."""
        found = asdict(self) | {"ok": self.ok, "verdict": self.verdict}
        for name in ("ulps", "sums"):
            errors = found[name].items()
            found[name] = {key: error if error < math.inf else "inf" for key, error in errors}
        return found

    def __str__(self) -> str:
        lines, marks = list(self._lines()), {True: "ok", False: "WRONG", None: "fact"}
        first = max(len(line.name) for line in lines)
        second = max(len(line.value) for line in lines)
        rows = [f"{n:{first}}  {v:{second}}  {marks[ok]:5}  {words}" for n, v, words, ok in lines]
        hint = ["", HINT] if self.input_bits < self.bits else []
        return "\n".join([self.verdict, "", *rows, *hint, "", UNITS])

    def _wrong(self) -> list[_Line]:
        return [line for line in self._lines() if line.ok is False]

    def _lines(self) -> Iterator[_Line]:
        yield self._inputs()
        yield from map(self._operation, self.misrounded)
        for name in FUNCTIONS:
            words = f"largest error, against {self.reference}; passes up to {ULPS:g}"
            yield _Line(name, f"{self.ulps[name]:.3g} ulp", words, self.ulps[name] <= ULPS)
        for name, (length, _) in SUMS.items():
            error, limit = self.sums[name], self.limits[name]
            words = f"largest error, of {length:,} terms; passes up to {limit:.0f}"
            yield _Line(name, f"{error:.3g} u", words, error <= limit)
        bits = "the same" if self.repeatable else "different"
        yield _Line("x @ w again", bits, f"a product computed three times has {bits} bits")
        once = "rounded once (contracted); IEEE rounds a * b, then the sum"
        words = once if self.contracted else "a * b is rounded, then the sum, as IEEE: not fused"
        yield _Line("a * b + c", "fused" if self.contracted else "not fused", words)
        yield self._subnormal("results", self.flushes_results)
        yield self._subnormal("inputs", self.flushes_inputs)

    def _inputs(self) -> _Line:
        value, full = f"{self.input_bits} of {self.bits} bits", self.input_bits == self.bits
        kind = "" if full else f": {SHORTER.get(self.input_bits, 'they are shortened')}"
        words = f"matrix products use {value} of their inputs{kind}"
        return _Line("inputs of x @ w", value, words, full)

    def _operation(self, name: str) -> _Line:
        share, error, limit = self.misrounded[name], self.ulps[name], ALMOST.get(name, 0.5)
        if not share:
            return _Line(name, "as IEEE", "every result is the number nearest to the exact", True)
        words = f"not always the nearest number: errors up to {error:.2f} ulp, passes up to {limit}"
        ok = name in ALMOST and error <= limit
        return _Line(name, f"{100.0 * share:.3g}% differ", words, ok)

    def _subnormal(self, which: str, flushed: bool) -> _Line:
        what = f"{which} nearer to 0 than {np.finfo(self.dtype).smallest_normal:.2g} are"
        words = f"{what} taken as 0; IEEE keeps them" if flushed else f"{what} kept, as IEEE"
        return _Line(f"subnormal {which}", "flushed" if flushed else "kept", words)


def fingerprint(backend: Where = None, dtype: str = "float32") -> Fingerprint:
    """Find out what the arithmetic of a backend does; takes a second.

    Parameters
    ----------
    backend
        See ``get_backend``.
    dtype
        ``"float32"`` or ``"float64"``.

    Raises
    ------
    BackendError
        If there is no such backend, or it has no such dtype on its device.
    NetworkError
        If the dtype is neither.
    """
    if dtype not in DTYPES:
        raise NetworkError(f"dtype is one of {', '.join(DTYPES)}; got {dtype!r:.60}.")
    with np.errstate(all="ignore"):  # NumPy warns where other libraries are silent
        return _Bench(backend, dtype).findings()


class _Bench:
    """Runs formulas on the backend, and by NumPy in a wider dtype."""

    def __init__(self, backend: Where, dtype: str) -> None:
        self.backend, self.dtype, self.info = get_backend(backend), dtype, np.finfo(dtype)
        self.bits = int(self.info.nmant) + 1

    def findings(self) -> Fingerprint:
        wide: Any = WIDER[self.dtype]
        wider = np.finfo(wide).nmant > self.info.nmant
        misrounded, ulps = self.rounding()
        sums, limits = self.sums()
        return Fingerprint(
            backend=self.backend.name,
            device=str(self.backend.device),
            dtype=self.dtype,
            reference=wide.__name__ + ("" if wider else ", which is no wider"),
            bits=self.bits,
            input_bits=self.input_bits(),
            contracted=self.contracted(),
            flushes_results=self.flushes(1.5, -1.0, 1.0, 0.25),
            flushes_inputs=self.flushes(1.0, 0.5, 0.5, 4.0),
            misrounded=misrounded,
            ulps=ulps,
            sums=sums,
            limits=limits,
            repeatable=self.repeatable(),
        )

    def uniform(self, stream: int, *shape: int) -> HostArray:
        """Float64 between -1 and 1."""
        return 2.0 * Draws(0, "direction", stream).uniform(shape) - 1.0

    def cast(self, *arrays: Any) -> list[HostArray]:
        return [np.asarray(array, self.dtype) for array in arrays]

    def matrices(self) -> list[HostArray]:
        return self.cast(self.uniform(0, 64, 4096), self.uniform(1, 4096, 64))

    def run(self, formula: Formula, *arrays: HostArray) -> HostArray:
        there = [self.backend.asarray(array, self.dtype) for array in arrays]
        return self.backend.to_host(formula(self.backend.xp, *there))

    def exact(self, formula: Formula, *arrays: HostArray) -> HostArray:
        return np.asarray(formula(np, *[array.astype(WIDER[self.dtype]) for array in arrays]))

    def input_bits(self) -> int:
        """The first k of which ``1 + 2^-k``, times 1, is another number after a product."""
        rows, x = np.arange(64), np.zeros((64, 4096))
        x[rows, 64 * rows] = 1.0 + 0.5**rows
        x, ones, values = self.cast(x, np.ones((4096, 64)), 1.0 + 0.5**rows)
        left = self.run(_product, x, ones) == values[:, None]
        right = self.run(_product, ones.T, x.T) == values
        lost = np.flatnonzero(~(left.all(axis=1) & right.all(axis=0)))
        return int(min([self.bits, *lost]))

    def contracted(self) -> bool:
        """``a * b - (a * b, rounded)`` is 0 unless only the difference is rounded."""
        a, b = self.cast(self.uniform(0, 4096), self.uniform(1, 4096))
        found = self.run(lambda xp, a, b, c: xp.add(xp.multiply(a, b), c), a, b, -(a * b))
        return bool(np.any(found != 0.0))

    def flushes(self, a: float, b: float, c: float, factor: float) -> bool:
        """Whether ``a + b`` or ``c * factor`` is another number; a, b, c in smallest normals."""
        least = float(self.info.smallest_normal)
        arrays = self.cast(*[np.full(64, one) for one in (a * least, b * least, c * least, factor)])
        added = self.run(lambda xp, a, b, c, factor: xp.add(a, b), *arrays)
        scaled = self.run(lambda xp, a, b, c, factor: xp.multiply(c, factor), *arrays)
        return bool(np.any(added != (a + b) * least) or np.any(scaled != c * factor * least))

    def rounding(self) -> tuple[dict[str, float], dict[str, float]]:
        """``misrounded`` and ``ulps``."""
        u, v, w = (self.uniform(stream, 1 << 16) for stream in (0, 1, 2))
        spread = self.cast(u * 2.0 ** (8.0 * w), v * 2.0 ** (8.0 * u), 0.1)
        z = 0.9 * math.log(float(self.info.max)) * u
        z[::2] *= 2.0 ** (10.0 * v[::2] - 10.0)  # near 0 too
        taken = self.cast(z, np.exp(z), np.exp(-np.abs(z)))
        misrounded, ulps = {}, {}
        for name, formula in OPERATIONS.items():
            found = self.run(formula, *spread)
            misrounded[name] = float(np.mean(found != formula(np, *spread)))
            ulps[name] = _ulps(found, self.exact(formula, *spread))
        for name, formula in FUNCTIONS.items():
            ulps[name] = _ulps(self.run(formula, *taken), self.exact(formula, *taken))
        return misrounded, ulps

    def sums(self) -> tuple[dict[str, float], dict[str, float]]:
        """``sums`` and ``limits``."""
        terms = np.abs(self.uniform(2, 1 << 20))
        arrays = [*self.matrices(), *self.cast(terms, terms.reshape(16384, 64))]
        sums, limits = {}, {}
        for name, (length, formula) in SUMS.items():
            exact = self.exact(formula, *arrays)
            size = formula(np, *[np.abs(array).astype(np.float64) for array in arrays])
            unit = 0.5**self.bits * size
            sums[name] = _largest(self.run(formula, *arrays) - exact, unit)
            plain = _largest(formula(np, *arrays) - exact, unit)
            limits[name] = max(16.0 + 2.0 * math.sqrt(length), 2.0 * plain)
        return sums, limits

    def repeatable(self) -> bool:
        return len({self.run(_product, *self.matrices()).tobytes() for _ in range(3)}) == 1


def _product(xp: Any, x: Any, w: Any) -> Any:
    return xp.matmul(x, w)


def _ulps(found: HostArray, exact: HostArray) -> float:
    return _largest(found - exact, np.spacing(np.abs(exact.astype(found.dtype))))


def _largest(error: HostArray, unit: Any) -> float:
    """In units; infinite if one of them is infinite or no number."""
    share = np.abs(error) / unit
    return float(np.max(share)) if np.isfinite(share).all() else math.inf
