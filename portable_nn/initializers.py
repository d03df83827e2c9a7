"""Values of parameters before the first step, in float64 on the host, rounded once after.

An initializer is ``(draws, shape) -> host array``; the same seed gives the same bits on every
backend. For a weight (in, out), fan_in is ``in`` and fan_out is ``out``.
``Dense`` draws its weight with ``glorot_uniform``, as Keras does; PyTorch's ``Linear`` draws
weight and bias uniformly in +-1/sqrt(fan_in).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from portable_nn.errors import NetworkError
from portable_nn.random import Draws
from portable_nn.schedules import positive, real

if TYPE_CHECKING:
    from portable_nn.typing import HostArray


def _fans(shape: tuple[int, ...]) -> tuple[int, int]:
    """fan_in and fan_out of a weight."""
    if len(shape) < 2:
        raise NetworkError(
            f"Glorot's and He's initializers are for weights (in, out); got {shape}. A bias "
            f"takes zeros, ones, Normal or Uniform."
        )
    return shape[-2], shape[-1]


def zeros(draws: Draws, shape: tuple[int, ...]) -> HostArray:
    """All 0: biases, optimizer moments."""
    return np.zeros(shape)


def ones(draws: Draws, shape: tuple[int, ...]) -> HostArray:
    """All 1."""
    return np.ones(shape)


def glorot_uniform(draws: Draws, shape: tuple[int, ...]) -> HostArray:
    """Uniform in +-sqrt(6 / (fan_in + fan_out)). Source: Glorot and Bengio 2010, eq. 16."""
    return (2.0 * draws.uniform(shape) - 1.0) * math.sqrt(6.0 / sum(_fans(shape)))


def glorot_normal(draws: Draws, shape: tuple[int, ...]) -> HostArray:
    """Normal with the deviation of ``glorot_uniform``, sqrt(2 / (fan_in + fan_out)).

    Source: Glorot and Bengio 2010, eq. 12. Keras cuts its tails off at two deviations.
    """
    return draws.normal(shape) * math.sqrt(2.0 / sum(_fans(shape)))


def he_uniform(draws: Draws, shape: tuple[int, ...]) -> HostArray:
    """Uniform with the deviation of ``he_normal``: in +-sqrt(6 / fan_in)."""
    return (2.0 * draws.uniform(shape) - 1.0) * math.sqrt(6.0 / _fans(shape)[0])


def he_normal(draws: Draws, shape: tuple[int, ...]) -> HostArray:
    """Normal with deviation sqrt(2 / fan_in), for ReLU. Source: He et al. 2015, eq. 10.

    Keras cuts its tails off at two deviations.
    """
    return draws.normal(shape) * math.sqrt(2.0 / _fans(shape)[0])


@dataclass(frozen=True)
class Normal:
    """Normal with mean 0 and deviation ``scale``, whatever the shape."""

    scale: float

    def __post_init__(self) -> None:
        positive(self, "scale")

    def __call__(self, draws: Draws, shape: tuple[int, ...]) -> HostArray:
        return draws.normal(shape) * self.scale


@dataclass(frozen=True)
class Uniform:
    """Uniform between ``low`` and ``high``, whatever the shape."""

    low: float
    high: float

    def __post_init__(self) -> None:
        if not -math.inf < real(self.low) < real(self.high) < math.inf:
            raise NetworkError(
                f"Uniform takes two numbers, low below high; got {self.low!r} and {self.high!r}."
            )

    def __call__(self, draws: Draws, shape: tuple[int, ...]) -> HostArray:
        return self.low + draws.uniform(shape) * (self.high - self.low)
