"""Values of parameters before the first step, in float64 on the host, rounded once after.

An initializer is ``(draws, shape) -> host array``; the same seed gives the same bits on every
backend. For a weight (in, out), fan_in is ``in`` and fan_out is ``out``.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from portable_nn.random import Draws

if TYPE_CHECKING:
    from portable_nn.typing import HostArray


def zeros(draws: Draws, shape: tuple[int, ...]) -> HostArray:
    """All 0: biases, optimizer moments."""
    return np.zeros(shape)


def ones(draws: Draws, shape: tuple[int, ...]) -> HostArray:
    """All 1."""
    return np.ones(shape)


def glorot_uniform(draws: Draws, shape: tuple[int, ...]) -> HostArray:
    """Uniform in +-sqrt(6 / (fan_in + fan_out)). Source: Glorot and Bengio 2010, eq. 16."""
    limit = math.sqrt(6.0 / (shape[-2] + shape[-1]))
    return (2.0 * draws.uniform(shape) - 1.0) * limit


def he_normal(draws: Draws, shape: tuple[int, ...]) -> HostArray:
    """Normal with deviation sqrt(2 / fan_in), for ReLU. Source: He et al. 2015, eq. 10."""
    return draws.normal(shape) * math.sqrt(2.0 / shape[-2])
