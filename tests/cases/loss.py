"""Losses: inputs, and the textbook formulas."""

import numpy as np

from cases.activation import logistic
from cases.drawing import (
    HUGE,
    case,
    chance,
    given,
    labels,
    led,
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


def _on(z, targets, tails, tail_targets):
    """Cases of a loss with a domain, or a kink that the first number has to cross."""
    equal = given(np.ones((24, 1))), given(1 / 24)
    weight = led([0.0], uniform(0.5, 2.0, 24, 1))
    ends = given(np.ones((len(tails), 1))), given(1 / len(tails))
    return [
        case("ordinary", z(24, 10), targets(24, 10), uniform(0.5, 2.0, 24, 1), given(1 / 24)),
        case("zero weights", z(24, 10), targets(24, 10), weight, equal[1]),
        case("tails", given(tails), given(tail_targets), *ends),
    ]


def _crossed(*shape):
    """Targets on both sides of which the first output comes to lie."""
    return led(0.1, normal(*shape))


def _started(*shape):
    return led(0.2, normal(*shape))


def _within(*shape):
    """No output is beyond its margin; the first may come to be."""
    return led(0.2, uniform(-0.9, 0.9, *shape))


def _sides(*shape):
    """Mostly 0 and 1; the first is beyond, so that the first output crosses the kink."""
    return led(1.5, lambda rng: rng.integers(0, 2, shape).astype(float))


def _amounts(*shape):
    """Not negative; a third of them 0."""
    return led(0.5, lambda rng: np.maximum(rng.gamma(0.5, 4.0, shape) - 0.2, 0.0))


_TAILS = [[1e-3, -1e-3, 1e-6, 0.0], [1e4, -1e4, 20.0, -20.0], [0.999, 1.001, -1.0, 30.0]]
_LOGS = [[0.0, 30.0, -40.0, 1.0], [2.3025, -9.0, 9.0, -30.0], [60.0, -6.0, 0.1, 4.0]]
_ZEROS = [[1.0, 1e-9, 1e4, 0.0], [10.0, 1e-4, 8100.0, 0.0], [0.0, 0.5, 1.1, 1e-30]]

_NEAR_TARGETS = given([[1e4, 1e4, 0.0], [-1e4, 1.0, 1e4], [0.0, 1e4, -1e4], [0.0, -0.0, 1.0]])
_BITS = given([[1.0, 1.0, 0.0], [0.0, 0.0, 0.0], [1.0, 0.0, 1.0], [0.0, 1.0, 1.0]])
_CLASSES = given([[1], [2], [0], [2]])


def textbook_cross_entropy(z, targets, weight, scale):
    p, hot = np.exp(z) / np.exp(z).sum(1, keepdims=True), np.eye(z.shape[1])[targets[:, 0]]
    return -np.sum(weight * hot * np.log(p)) * scale, (p - hot) * weight * scale


def textbook_mean(formula):
    """Value and gradient of a mean over the outputs, from those of one of them."""

    def textbook(z, t, weight, scale):
        value, slope = formula(z, t)
        return np.sum(weight * value) / t.shape[1] * scale, slope / t.shape[1] * weight * scale

    return textbook


def one_deviance(z, y):
    mu = np.exp(z)
    value = 2.0 * (-y * mu**-0.5 / -0.5 + mu**0.5 / 0.5 + y**0.5 / (-0.5 * 0.5))
    return value, 2.0 * (mu - y) / mu**1.5 * mu


def one_normal(z, t):
    m, variance = z[:, : t.shape[1]], np.exp(z[:, t.shape[1] :])
    density = np.exp(-((t - m) ** 2) / (2.0 * variance)) / np.sqrt(2.0 * np.pi * variance)
    by_log = 0.5 - (t - m) ** 2 / (2.0 * variance)
    return -np.log(density), np.concatenate([(m - t) / variance, by_log], axis=1)


def textbook_binary(z, t, weight, scale):
    p = logistic(z)
    rows = np.mean(t * np.log(p) + (1.0 - t) * np.log(1.0 - p), axis=1, keepdims=True)
    return -np.sum(weight * rows) * scale, (p - t) / z.shape[1] * weight * scale


CASES = {
    kernels.half_squared_error: _loss(normal, _NEAR_TARGETS),
    kernels.mean_squared_error: _loss(normal, _NEAR_TARGETS),
    kernels.binary_cross_entropy: _loss(chance, _BITS),
    kernels.cross_entropy: _loss(labels, _CLASSES),
    kernels.mean_absolute_error: _on(_started, _crossed, _TAILS, np.zeros((3, 4))),
    kernels.huber: _on(_started, _crossed, _TAILS, np.zeros((3, 4))),
    kernels.log_cosh: _on(_started, _crossed, _TAILS, np.zeros((3, 4))),
    kernels.quantile: _on(_started, _crossed, _TAILS, np.zeros((3, 4))),
    kernels.hinge: _on(_within, _sides, _TAILS, np.eye(3, 4)),
    kernels.tweedie_deviance: _on(normal, _amounts, _LOGS, _ZEROS),
    kernels.gaussian_nll: _on(
        lambda n, k: normal(n, 2 * k), normal, np.hstack([_TAILS, _LOGS]), np.zeros((3, 4))
    ),
    kernels.weighted_mean: [
        case("ordinary", normal(24, 10), uniform(0.5, 2.0, 24, 1), given(1 / 24)),
        case("zero weights", normal(24, 10), led([0.0], uniform(0.5, 2.0, 24, 1)), given(1 / 24)),
        case("one row", normal(1, 10), given(np.ones((1, 1))), given(1.0)),
    ],
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
    kernels.mean_absolute_error: textbook_mean(
        lambda z, t: (np.maximum(z - t, t - z), np.where(z > t, 1.0, -1.0))
    ),
    kernels.huber: textbook_mean(
        lambda z, t: (
            np.where(np.abs(z - t) <= 1.0, (z - t) ** 2 / 2.0, np.abs(z - t) - 0.5),
            np.where(np.abs(z - t) <= 1.0, z - t, np.sign(z - t)),
        )
    ),
    kernels.log_cosh: textbook_mean(lambda z, t: (np.log(np.cosh(z - t)), np.tanh(z - t))),
    kernels.quantile: textbook_mean(
        lambda z, t: (np.maximum(0.5 * (t - z), -0.5 * (t - z)), np.where(t > z, -0.5, 0.5))
    ),
    kernels.hinge: textbook_mean(
        lambda z, t: (
            np.maximum(0.0, 1.0 - (2.0 * t - 1.0) * z),
            np.where((2.0 * t - 1.0) * z < 1.0, 1.0 - 2.0 * t, 0.0),
        )
    ),
    kernels.tweedie_deviance: textbook_mean(one_deviance),
    kernels.gaussian_nll: textbook_mean(one_normal),
    kernels.weighted_mean: lambda values, w, s: (
        np.sum(w * np.mean(values, axis=1, keepdims=True)) * s,
        np.ones_like(values) / values.shape[1] * w * s,
    ),
}
