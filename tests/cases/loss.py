"""Losses: inputs, and the textbook formulas."""

import numpy as np

from cases.activation import logistic
from cases.drawing import (
    HUGE,
    case,
    chance,
    given,
    labels,
    normal,
    uniform,
)
from portable_nn import kernels


def _loss(targets, huge_targets):
    def equal(n):
        """The weight and the scale of a plain mean over n rows."""
        return given(np.ones((n, 1))), given(1.0 / n)

    weight = given([[0.0], [0.5], [2.0], [1.0], [0.0], [3.0]])
    return [
        case("ordinary", normal(24, 5), targets(24, 5), uniform(0.5, 2.0, 24, 1), given(1 / 24)),
        case("long", normal(600, 3), targets(600, 3), *equal(600)),
        case("zero weights", normal(6, 5), targets(6, 5), weight, given(1 / 6.5)),
        case("one row", normal(1, 5), targets(1, 5), *equal(1)),
        case("huge", HUGE, huge_targets, *equal(4)),
    ]


_NEAR_TARGETS = given([[1e4, 1e4, 0.0], [-1e4, 1.0, 1e4], [0.0, 1e4, -1e4], [0.0, -0.0, 1.0]])
_BITS = given([[1.0, 1.0, 0.0], [0.0, 0.0, 0.0], [1.0, 0.0, 1.0], [0.0, 1.0, 1.0]])
_CLASSES = given([[1], [2], [0], [2]])


def textbook_cross_entropy(z, targets, weight, scale):
    p, hot = np.exp(z) / np.exp(z).sum(1, keepdims=True), np.eye(z.shape[1])[targets[:, 0]]
    return -np.sum(weight * hot * np.log(p)) * scale, (p - hot) * weight * scale


def textbook_binary(z, t, weight, scale):
    p = logistic(z)
    rows = np.mean(t * np.log(p) + (1.0 - t) * np.log(1.0 - p), axis=1, keepdims=True)
    return -np.sum(weight * rows) * scale, (p - t) / z.shape[1] * weight * scale


CASES = {
    kernels.half_squared_error: _loss(normal, _NEAR_TARGETS),
    kernels.mean_squared_error: _loss(normal, _NEAR_TARGETS),
    kernels.binary_cross_entropy: _loss(chance, _BITS),
    kernels.cross_entropy: _loss(labels, _CLASSES),
}

TEXTBOOK = {
    kernels.half_squared_error: lambda z, t, w, s: (
        0.5 * np.sum(w * (z - t) ** 2) * s,
        w * (z - t) * s,
    ),
    kernels.mean_squared_error: lambda z, t, w, s: (
        np.sum(w * np.mean((z - t) ** 2, axis=1, keepdims=True)) * s,
        w * 2.0 * (z - t) / z.shape[1] * s,
    ),
    kernels.binary_cross_entropy: textbook_binary,
    kernels.cross_entropy: textbook_cross_entropy,
}
