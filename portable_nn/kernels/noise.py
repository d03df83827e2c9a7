"""Dropout for SELU networks: what stands for a number that is dropped is not 0.

Plain dropout is a product with a mask, noise is a sum: see ``dense.py``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from portable_nn.kernels._kernel import Call, Gradient, accurate, elementwise
from portable_nn.kernels.smooth import SELU_ALPHA, SELU_SCALE
from portable_nn.typing import Array, Namespace

SATURATION = -SELU_SCALE * SELU_ALPHA
"""Of SELU far to the left, ``-scale * alpha`` of Klambauer et al. 2017."""


def _factor(rate: float) -> float:
    return math.sqrt((1.0 - rate) / (1.0 + rate * SATURATION**2))


def _alpha_size(xp: Namespace, x: Array, mask: Array, rate: float = 0.5) -> tuple[Array]:
    return (_factor(rate) * (mask * (xp.abs(x) - SATURATION) - SATURATION),)


@accurate()
def alpha_dropout_backward(xp: Namespace, grad: Array, mask: Array, rate: float = 0.5) -> Array:
    """``c * mask * grad``, c as in ``alpha_dropout``."""
    return _factor(rate) * mask * grad


def _alpha_backward(call: Call, grads: Sequence[str]) -> list[Gradient]:
    return [Gradient((0,), (grads[0], call.inputs[1]), alpha_dropout_backward, call.attributes)]


@elementwise(backward=_alpha_backward, magnitude=_alpha_size)
def alpha_dropout(xp: Namespace, x: Array, mask: Array, rate: float = 0.5) -> Array:
    """``c (mask (x - s) + s)``: x, or with probability ``rate`` s, at mean 0 and variance 1.

    s is where SELU saturates, mask is 0 or 1/(1 - rate), ``c = sqrt((1 - rate) / (1 + rate s^2))``:
    mean 0 and variance 1 of x stay (Klambauer et al. 2017, written with the mask of dropout).
    """
    return _factor(rate) * (mask * (x - SATURATION) + SATURATION)
