"""Schedules that rise and fall."""

from __future__ import annotations

import math
from dataclasses import dataclass

from portable_nn.errors import NetworkError
from portable_nn.schedules._values import positive


def cosine(start: float, end: float, done: float) -> float:
    """Half a cosine from ``start`` (``done`` 0) to ``end`` (``done`` 1)."""
    return end + (start - end) * (1.0 + math.cos(math.pi * done)) / 2.0


@dataclass(frozen=True)
class CosineRestarts:
    """Half a cosine from ``rate`` down to ``final`` in ``epochs``, again and again.

    Each period is ``period_factor`` times as long as the one before, and begins at
    ``rate_factor`` times its distance from ``final``. SGDR doubles the periods and keeps the rate.
    Source: Loshchilov and Hutter 2017, eq. 5. PyTorch's ``CosineAnnealingWarmRestarts`` has whole
    factors of the period (``T_mult``) and none of the rate; Keras's ``CosineDecayRestarts`` has
    both (``t_mul``, 2 unless told otherwise, and ``m_mul``); its ``alpha`` is ``final / rate``.
    """

    rate: float
    epochs: float
    final: float = 0.0
    period_factor: float = 1.0
    rate_factor: float = 1.0

    def __post_init__(self) -> None:
        positive(self, "rate", zero=True)
        positive(self, "final", zero=True)
        for name in ("epochs", "period_factor", "rate_factor"):
            positive(self, name)
        if self.period_factor < 1.0:
            raise NetworkError(
                f"CosineRestarts takes a number from 1 on as period_factor, as periods that "
                f"shrink come to an end; got {self.period_factor!r}."
            )

    def __call__(self, epoch: float) -> float:
        period, length = 0, self.epochs
        if self.period_factor == 1.0:
            period = math.floor(epoch / length)
            epoch -= period * length
        while epoch >= length:
            period, epoch, length = period + 1, epoch - length, length * self.period_factor
        peak = self.final + (self.rate - self.final) * self.rate_factor**period
        return cosine(peak, self.final, epoch / length)


@dataclass(frozen=True)
class OneCycle:
    """Half a cosine up to ``rate``, and half a cosine down to almost nothing after ``epochs``.

    It starts at ``rate / divide``, is at ``rate`` after the share ``warmup`` of the epochs, ends at
    ``rate / divide / final_divide``, and stays there. For a momentum, which goes the other way,
    from 0.95 over 0.85 to 0.95: ``OneCycle(0.85, epochs, divide=0.85 / 0.95, final_divide=1.0)``.
    Source: Smith and Topin 2019, with the cosines of fastai. PyTorch's ``OneCycleLR`` has the same
    defaults (``pct_start``, ``div_factor``, ``final_div_factor``), counts updates, the last of
    which is at the end, and may go down in two parts (``three_phase``).
    """

    rate: float
    epochs: float
    warmup: float = 0.3
    divide: float = 25.0
    final_divide: float = 1e4

    def __post_init__(self) -> None:
        for name in ("rate", "epochs", "divide", "final_divide"):
            positive(self, name)
        positive(self, "warmup", below=1.0)

    def __call__(self, epoch: float) -> float:
        start, top = self.rate / self.divide, self.warmup * self.epochs
        if epoch < top:
            return cosine(start, self.rate, epoch / top)
        done = min((epoch - top) / (self.epochs - top), 1.0)
        return cosine(self.rate, start / self.final_divide, done)
