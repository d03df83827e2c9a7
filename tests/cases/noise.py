"""Dropout for SELU networks: inputs, and the textbook formulas."""

import numpy as np

from cases.drawing import MIXED, case, given, normal
from portable_nn import kernels


def mask(*shape):
    """Of dropout at a rate of 0.5: 2 in even columns, 0 in odd ones."""
    return lambda rng: 2.0 * (np.ones(shape) * (np.arange(shape[-1]) % 2 == 0))


def textbook_alpha_dropout(x, mask):
    """As in the paper: x or s, then a and b that bring mean and variance back."""
    s, keep = -1.0507009873554805 * 1.6732632423543772, 0.5
    a = (keep + s**2 * keep * (1 - keep)) ** -0.5
    return a * np.where(mask > 0, x, s) - a * (1 - keep) * s


def textbook_alpha_dropout_backward(grad, mask):
    s = -1.0507009873554805 * 1.6732632423543772
    return np.where(mask > 0, grad, 0.0) / np.sqrt(0.5 + s**2 * 0.25)


CASES = {
    kernels.alpha_dropout: [
        case("ordinary", normal(24, 10), mask(24, 10)),
        case("one row", normal(1, 10), mask(1, 10)),
        case("edge", MIXED, given([[2.0, 0.0, 2.0, 0.0]] * 3)),
    ],
    kernels.alpha_dropout_backward: [
        case("ordinary", normal(24, 10), mask(24, 10)),
        case("one row", normal(1, 10), mask(1, 10)),
        case("edge", MIXED, given([[2.0, 0.0, 2.0, 0.0]] * 3)),
    ],
}

TEXTBOOK = {
    kernels.alpha_dropout: textbook_alpha_dropout,
    kernels.alpha_dropout_backward: textbook_alpha_dropout_backward,
}
