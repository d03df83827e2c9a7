"""What is done to gradients before an update, and to parameters after it."""

import numpy as np

from cases.drawing import case, given, normal, spread
from portable_nn import kernels


def _pair(*scalars):
    return [
        case("ordinary", normal(24, 10), normal(24, 10), *scalars),
        case("spread", spread(24, 10), spread(24, 10), *scalars),
        case("a bias", normal(10), normal(10), *scalars),
    ]


def textbook_clip_factor(*inputs):
    *grads, limit = inputs
    norm = np.sqrt(sum(np.sum(grad**2) for grad in grads))
    return limit / norm if norm > limit else np.ones(())


def textbook_max_norm(weight, limit):
    norms = np.sqrt(np.einsum("io,io->o", weight, weight))
    return np.where(norms > limit, weight * limit / norms, weight)


_LONG = given([[3e30, 0.0, 1e-30], [4e30, 0.0, 1e-30]])
"""Squares that overflow or underflow in float32, and no number at all."""

CASES = {
    kernels.penalized: _pair(given(1e-2), given(1e-3)),
    kernels.decayed: _pair(given(1e-3)),
    kernels.average: _pair(given(0.9), given(1 - 0.9)),
    kernels.average_equally: _pair(given(7.0)),
    kernels.clipped: [
        case("ordinary", normal(24, 10), given(0.5)),
        case("spread", spread(24, 10), given(0.5)),
        case("a bias", normal(10), given(10.0)),
    ],
    kernels.scaled: [
        case("ordinary", normal(24, 10), given(0.3)),
        case("a bias", normal(10), given(1e-4)),
    ],
    kernels.clip_factor: [
        case("ordinary", normal(24, 10), normal(10), given(1.0)),
        case("short", normal(24, 10), normal(10), given(100.0)),
        case("no gradient", given(np.zeros((7, 5))), given(1.0)),
        case("long", _LONG, normal(10), given(1.0)),
        case("no limit", given(np.zeros((7, 5))), given(0.0)),
    ],
    kernels.max_norm: [
        case("ordinary", normal(24, 10), given(1.0)),
        case("some", normal(24, 10), given(4.9)),
        case("no weight", given(np.zeros((7, 5))), given(1.0)),
        case("no limit", given([[0.0, 1.0], [0.0, -2.0]]), given(0.0)),
        case("long", _LONG, given(1.0)),
        case("one row", normal(1, 10), given(1.0)),
    ],
}

TEXTBOOK = {
    kernels.penalized: lambda g, p, l2, l1: g + l2 * p + l1 * np.where(p > 0, 1, -1),
    kernels.decayed: lambda new, old, decay: new - decay * old,
    kernels.average: lambda a, p, rest, rate: rest * a + rate * p,
    kernels.average_equally: lambda a, p, count: a + (p - a) / (count + 1),
    kernels.clipped: lambda g, limit: np.where(np.abs(g) > limit, np.sign(g) * limit, g),
    kernels.scaled: lambda x, factor: factor * x,
    kernels.clip_factor: textbook_clip_factor,
    kernels.max_norm: textbook_max_norm,
}
