"""Random numbers that are the same on every backend and every machine.

Every number is a pure function of (seed, purpose, stream, step, position): nothing is carried
from draw to draw, so a run can be resumed, cut into micro-batches or spread over ranks and
still draws the same. The source is the raw output of NumPy's Philox4x64-10, the one stream
NumPy promises to keep; what is made of it uses only ``+ - * / sqrt`` and bit operations, which
every machine rounds alike (``log`` and ``exp`` differ with the CPU).

Sources: Salmon et al. 2011 (Philox); Wichura 1988, algorithm AS 241 (normal quantiles).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from portable_nn.typing import HostArray

PURPOSES = {"initialize": 0, "shuffle": 1, "dropout": 2, "split": 3, "direction": 4, "noise": 5}
"""First word of what a draw is for; two purposes never share a number."""

_LANES = 16  # 16-bit lanes in one Philox block of four 64-bit words


@lru_cache(maxsize=16)
def _key(seed: int) -> HostArray:
    return np.random.SeedSequence(seed).generate_state(2, np.uint64)


@dataclass(frozen=True)
class Draws:
    """The numbers of one (seed, purpose, stream, step), from position 0 on.

    ``stream`` counts the users of a purpose (the parameters, the dropout layers); ``step`` is
    the update (dropout) or the epoch (shuffle). All results are host arrays.
    """

    seed: int
    purpose: str
    stream: int = 0
    step: int = 0

    def words(self, count: int, block: int = 0) -> HostArray:
        """(count,) uint64: the raw words from Philox block ``block`` on, four a block."""
        counter = np.array([block, self.step, self.stream, PURPOSES[self.purpose]], np.uint64)
        return np.random.Philox(key=_key(self.seed), counter=counter).random_raw(count)

    def uniform(self, shape: tuple[int, ...]) -> HostArray:
        """Float64 in the open interval (0, 1): odd multiples of 2^-53."""
        return _between(self.words(math.prod(shape))).reshape(shape)

    def normal(self, shape: tuple[int, ...]) -> HostArray:
        """Standard normal float64, by inverting the distribution function."""
        return normal_quantile(self.uniform(shape))

    def permutation(self, count: int) -> HostArray:
        """(count,) int64: 0..count-1 in random order, by sorting unique random keys."""
        bits = np.uint64(max(count - 1, 1).bit_length())
        keys = self.words(count) >> bits << bits | np.arange(count, dtype=np.uint64)
        keys.sort()
        return (keys & ((np.uint64(1) << bits) - np.uint64(1))).astype(np.int64)

    def keep_mask(self, rows: int, columns: int, rate: float, first_row: int = 0) -> HostArray:
        """(rows, columns) float64: 0 with probability ``rate``, else ``1 / (1 - rate)``.

        Each row starts a Philox block of its own, counted from ``first_row``, its place in
        the whole batch: a part of a batch draws what the whole batch draws there. The rate
        is rounded to a multiple of 2^-16, and the scale to match.
        """
        blocks = -(-columns // _LANES)
        words = self.words(rows * blocks * 4, first_row * blocks)
        lanes = words.astype("<u8", copy=False).view("<u2").reshape(rows, blocks * _LANES)
        kept = max(1, round((1.0 - rate) * 65536))  # of the 65,536 values of a lane
        return (lanes[:, :columns] <= kept - 1) * (65536 / kept)  # kept may not fit a lane

    def noise(self, rows: int, columns: int, deviation: float, first_row: int = 0) -> HostArray:
        """(rows, columns) float64: normal with mean 0; rows as in ``keep_mask``."""
        blocks = -(-columns // 4)
        words = self.words(rows * blocks * 4, first_row * blocks).reshape(rows, blocks * 4)
        return normal_quantile(_between(words[:, :columns])) * deviation


DRAWS = {"dropout": Draws.keep_mask, "noise": Draws.noise}
"""How a fed buffer of each purpose is drawn: ``(draws, rows, columns, rate, first_row)``."""


def _between(words: HostArray) -> HostArray:
    """Words as float64 in the open interval (0, 1): odd multiples of 2^-53."""
    return ((words >> np.uint64(12)).astype(np.float64) + 0.5) * 2.0**-52


def log(x: HostArray) -> HostArray:
    """Natural logarithm of x > 0 from ``+ - * /`` alone, to about 1e-16 relative."""
    mantissa, exponent = np.frexp(x)
    low = mantissa < 0.7071067811865476
    mantissa = np.where(low, mantissa * 2.0, mantissa)
    ratio = (mantissa - 1.0) / (mantissa + 1.0)
    square = ratio * ratio
    series = _polynomial(square, [1.0 / k for k in range(3, 23, 2)])
    return (exponent - low) * 0.6931471805599453 + (2.0 * ratio + 2.0 * ratio * square * series)


def normal_quantile(u: HostArray) -> HostArray:
    """The x with ``P(standard normal < x) = u``, for u in (0, 1): AS 241, PPND16."""
    q = u - 0.5
    near = 0.180625 - q * q
    centre = q * _polynomial(near, _A) / _polynomial(near, _B)
    r = np.sqrt(-log(np.minimum(u, 1.0 - u)))
    middle = _polynomial(r - 1.6, _C) / _polynomial(r - 1.6, _D)
    far = _polynomial(r - 5.0, _E) / _polynomial(r - 5.0, _F)
    tail = np.copysign(np.where(r <= 5.0, middle, far), q)
    return np.where(np.abs(q) <= 0.425, centre, tail)


def _polynomial(x: HostArray, coefficients: Sequence[float]) -> HostArray:
    """Horner's rule, lowest coefficient first."""
    total = x * 0.0 + coefficients[-1]
    for coefficient in coefficients[-2::-1]:
        total = total * x + coefficient
    return total


# Wichura 1988, tables for PPND16: centre (A/B), middle (C/D) and far tail (E/F).
_A = [
    3.3871328727963666080e0,
    1.3314166789178437745e2,
    1.9715909503065514427e3,
    1.3731693765509461125e4,
    4.5921953931549871457e4,
    6.7265770927008700853e4,
    3.3430575583588128105e4,
    2.5090809287301226727e3,
]
_B = [
    1.0,
    4.2313330701600911252e1,
    6.8718700749205790830e2,
    5.3941960214247511077e3,
    2.1213794301586595867e4,
    3.9307895800092710610e4,
    2.8729085735721942674e4,
    5.2264952788528545610e3,
]
_C = [
    1.42343711074968357734e0,
    4.63033784615654529590e0,
    5.76949722146069140550e0,
    3.64784832476320460504e0,
    1.27045825245236838258e0,
    2.41780725177450611770e-1,
    2.27238449892691845833e-2,
    7.74545014278341407640e-4,
]
_D = [
    1.0,
    2.05319162663775882187e0,
    1.67638483018380384940e0,
    6.89767334985100004550e-1,
    1.48103976427480074590e-1,
    1.51986665636164571966e-2,
    5.47593808499534494600e-4,
    1.05075007164441684324e-9,
]
_E = [
    6.65790464350110377720e0,
    5.46378491116411436990e0,
    1.78482653991729133580e0,
    2.96560571828504891230e-1,
    2.65321895265761230930e-2,
    1.24266094738807843860e-3,
    2.71155556874348757815e-5,
    2.01033439929228813265e-7,
]
_F = [
    1.0,
    5.99832206555887937690e-1,
    1.36929880922735805310e-1,
    1.48753612908506148525e-2,
    7.86869131145613259100e-4,
    1.84631831751005468180e-5,
    1.42151175831644588870e-7,
    2.04426310338993978564e-15,
]
