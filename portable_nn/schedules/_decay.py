"""Schedules that fall, or rise, once."""

from __future__ import annotations

import math
from dataclasses import dataclass

from portable_nn.errors import NetworkError
from portable_nn.schedules._cycles import cosine
from portable_nn.schedules._values import positive, whole


@dataclass(frozen=True)
class ConstantRate:
    """Always ``rate``; a plain number does the same."""

    rate: float

    def __post_init__(self) -> None:
        positive(self, "rate")

    def __call__(self, epoch: float) -> float:
        return self.rate


@dataclass(frozen=True)
class StepDecay:
    """``rate`` times ``factor`` after every ``every`` epochs: ``rate * factor^(epoch // every)``.

    It changes between epochs only.
    """

    rate: float
    every: int
    factor: float = 0.1

    def __post_init__(self) -> None:
        positive(self, "rate")
        positive(self, "factor", below=1.0)
        if not whole(self.every):
            raise NetworkError(
                f"StepDecay takes a whole number of epochs, 1 or more, as every; "
                f"got {self.every!r:.60}."
            )

    def __call__(self, epoch: float) -> float:
        return self.rate * self.factor ** (math.floor(epoch) // self.every)


@dataclass(frozen=True)
class ExponentialDecay:
    """``rate`` times ``factor`` after every epoch: ``rate * factor^floor(epoch)``.

    It changes between epochs only; a factor of 0.95 is the annealing of many tutorials.
    PyTorch's ``ExponentialLR``, stepped once an epoch, is the same; Keras's changes with every
    update unless ``staircase=True``.
    """

    rate: float
    factor: float

    def __post_init__(self) -> None:
        positive(self, "rate")
        positive(self, "factor", below=1.0)

    def __call__(self, epoch: float) -> float:
        return self.rate * self.factor ** math.floor(epoch)


@dataclass(frozen=True)
class CosineDecay:
    """Half a cosine from ``rate`` at the start to ``final`` after ``epochs``, then flat.

    ``final + (rate - final) * (1 + cos(pi * epoch / epochs)) / 2``, anew for every update;
    it rises if ``final`` is above ``rate``.
    Source: Loshchilov and Hutter 2017, eq. 5, without restarts.
    """

    rate: float
    epochs: float
    final: float = 0.0

    def __post_init__(self) -> None:
        positive(self, "rate")
        positive(self, "epochs")
        positive(self, "final", zero=True)

    def __call__(self, epoch: float) -> float:
        return cosine(self.rate, self.final, min(epoch / self.epochs, 1.0))


@dataclass(frozen=True)
class PolynomialDecay:
    """From ``rate`` at the start to ``final`` after ``epochs``, then flat.

    ``final + (rate - final) * (1 - epoch / epochs)^power``, anew for every update; a straight line
    with the power 1. It may rise, and either end may be 0: ``PolynomialDecay(0.5, 10, 0.99)``.
    Keras and optax do the same, counted in updates; PyTorch's ``PolynomialLR`` ends at 0.
    """

    rate: float
    epochs: float
    final: float = 0.0
    power: float = 1.0

    def __post_init__(self) -> None:
        positive(self, "rate", zero=True)
        positive(self, "final", zero=True)
        positive(self, "epochs")
        positive(self, "power")

    def __call__(self, epoch: float) -> float:
        left = 1.0 - min(epoch / self.epochs, 1.0)
        return float(self.final + (self.rate - self.final) * left**self.power)


@dataclass(frozen=True)
class InverseScaling:
    """``rate / (1 + epoch / every)^power``, anew for every update.

    With the power 1 it is a half after ``every`` epochs, and a third after twice as many. If the
    power is above 1/2 and at most 1, the sum of its rates is infinite and that of their squares is
    not: Robbins and Monro 1951.
    Keras's ``InverseTimeDecay`` has the power 1, and ``decay_steps / decay_rate`` updates in place
    of ``every``. scikit-learn's ``invscaling`` counts rows, and changes between epochs only:
    ``every=1 / rows`` has its values at whole epochs, after a first one in which it falls by the
    root of ``rows``.
    """

    rate: float
    power: float = 0.5
    every: float = 1.0

    def __post_init__(self) -> None:
        for name in ("rate", "power", "every"):
            positive(self, name)

    def __call__(self, epoch: float) -> float:
        return float(self.rate / (1.0 + epoch / self.every) ** self.power)
