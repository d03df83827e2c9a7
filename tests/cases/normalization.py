"""Normalization: inputs, and the textbook formulas."""

import numpy as np

from cases.drawing import case, normal, spread, square, uniform
from portable_nn import kernels


def far(*shape):
    """Far from 0: the mean is ten thousand deviations."""
    return lambda rng: 1e4 + rng.normal(size=shape)


def textbook_batch(x, old_mean, old_variance):
    mean, unbiased = x.sum(0) / len(x), x.var(0, ddof=1)
    root = np.sqrt(x.var(0, keepdims=True) + 1e-5)
    means = old_mean + 0.1 * (mean - old_mean), old_variance + 0.1 * (unbiased - old_variance)
    return (x - mean) / root, 1.0 / root, *means


def textbook_features(x):
    root = np.sqrt(x.var(1, keepdims=True) + 1e-5)
    return (x - x.mean(1, keepdims=True)) / root, 1.0 / root


def textbook_rms(x):
    root = np.sqrt((x**2).sum(1, keepdims=True) / x.shape[1] + 1e-6)
    return x / root, 1.0 / root


def jacobian(centred):
    """A gradient through the Jacobian ``inverse (1 - 1 1^T / k - normal normal^T / k)``."""

    def column(grad, normal, inverse):
        k = len(grad)
        ones = np.ones((k, k)) / k if centred else 0.0
        return inverse * ((np.eye(k) - ones - np.outer(normal, normal) / k) @ grad)

    return column


def over_rows(column):
    return lambda grad, normal, inverse: np.stack(
        [column(g, a, i) for g, a, i in zip(grad.T, normal.T, inverse.T, strict=True)], axis=1
    )


def over_features(column):
    return lambda grad, normal, inverse: over_rows(column)(grad.T, normal.T, inverse.T).T


def _gradient(rows, columns):
    """Of gradients, standard numbers, and the inverse of a root along one of the axes."""

    def given(n, k, by=normal):
        return by(n, k), normal(n, k), uniform(0.5, 2.0, n if rows else 1, k if columns else 1)

    return [
        case("ordinary", *given(24, 10)),
        case("spread", *given(24, 10, spread)),
        case("two rows", *given(2, 10)),
    ]


def _rows():
    return [
        case("ordinary", normal(24, 10)),
        case("far from 0", far(24, 10)),
        case("spread", spread(24, 10)),
        case("one row", normal(1, 10)),
        case("one feature", normal(24, 1)),
    ]


CASES = {
    kernels.standardize_batch: [
        case("ordinary", normal(24, 10), normal(10), square(10)),
        case("far from 0", far(24, 10), far(10), square(10)),
        case("spread", spread(24, 10), spread(10), square(10)),
        case("two rows", normal(2, 10), normal(10), square(10)),
    ],
    kernels.standardize_batch_backward: _gradient(rows=False, columns=True),
    kernels.standardize_by: [
        case("ordinary", normal(24, 10), normal(10), square(10)),
        case("far from 0", far(24, 10), far(10), square(10)),
        case("one row", normal(1, 10), normal(10), square(10)),
    ],
    kernels.standardize_features: _rows(),
    kernels.standardize_features_backward: _gradient(rows=True, columns=False),
    kernels.divide_by_rms: _rows(),
    kernels.divide_by_rms_backward: _gradient(rows=True, columns=False),
    kernels.scale_grad: [
        case("ordinary", normal(24, 10), normal(24, 10)),
        case("long", normal(600, 8), normal(600, 8)),
        case("one row", normal(1, 10), normal(1, 10)),
    ],
    kernels.scale_shift: [
        case("ordinary", normal(24, 10), normal(10), normal(10)),
        case("no shift", normal(24, 10), normal(10)),
        case("spread", spread(24, 10), spread(10), spread(10)),
        case("one row", normal(1, 10), normal(10), normal(10)),
    ],
}

TEXTBOOK = {
    kernels.standardize_batch: textbook_batch,
    kernels.standardize_batch_backward: over_rows(jacobian(centred=True)),
    kernels.standardize_by: lambda x, mean, variance: (x - mean) * (variance + 1e-5) ** -0.5,
    kernels.standardize_features: textbook_features,
    kernels.standardize_features_backward: over_features(jacobian(centred=True)),
    kernels.divide_by_rms: textbook_rms,
    kernels.divide_by_rms_backward: over_features(jacobian(centred=False)),
    kernels.scale_grad: lambda x, grad: np.einsum("nk,nk->k", x, grad),
    kernels.scale_shift: lambda x, scale, shift: x @ np.diag(scale.astype(float)) + shift,
}
