"""The normal distribution, accurate in both tails: the standard has no erf."""

from __future__ import annotations

import math

from portable_nn.typing import Array, Namespace

FAR = 40.0
"""Beyond this many deviations a tail is 0, in float64 too."""

_RATIO = (
    0.6208209264948372, -0.07005241362061797, -0.004193708178282688, 0.04764866133894879,
    -0.057159048971975226, 0.0443988613287147, -0.02517855483579757, 0.010208851393502314,
    -0.002461265130851664, -4.460030664714638e-05, 0.0002828892833455376, -7.621075726421248e-05,
    -1.674732899949469e-05, 1.3338626123726994e-05, 1.7995727392569312e-07, -1.9498628017468317e-06,
    1.4920136297367147e-07, 2.939102082789651e-07, -3.291508580792582e-08, -4.625920109805829e-08,
    4.5450408993447656e-09, 6.5482793422961e-09, -3.469899739420966e-10, -5.653668435982985e-10,
)  # fmt: skip
"""``(1 + sqrt(2) y) exp(y^2 / 2) Q(y)`` as a polynomial in ``t = (y - 5) / (y + 5)``, for y >= 0.

The Chebyshev series of 24 terms, computed with 40 digits; those left out are below 1e-17. The form
is that of Shepherd and Laframboise 1981.
"""


def normal(xp: Namespace, z: Array) -> tuple[Array, Array]:
    """``Phi(z)``, the share of a standard normal distribution below z, and its density ``phi(z)``.

    For ``|z| <= FAR``. As ``Q(|z|)`` or ``1 - Q(|z|)``, where ``Q(y) = erfc(y / sqrt(2)) / 2`` is
    the upper tail. Both are right to a few units in the last place: in ``exp(-y^2 / 2)`` the square
    is that of y rounded to sixteenths, which is exact, and a small rest.
    """
    y = xp.abs(z)
    near = xp.round(y * 16.0) * 0.0625
    # Not a product of two exp, which XLA makes one of, with the digits gone.
    e = xp.exp(near * near * -0.5) * (1.0 + xp.expm1((y - near) * (y + near) * -0.5))
    t, ratio = (y - 5.0) / (y + 5.0), xp.full_like(y, _RATIO[-1])
    for coefficient in _RATIO[-2::-1]:
        ratio = ratio * t + coefficient
    tail = e * ratio / (1.0 + y * math.sqrt(2.0))
    return xp.where(z < 0.0, tail, 1.0 - tail), e * math.sqrt(0.5 / math.pi)
