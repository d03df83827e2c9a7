"""Features side by side and alone: inputs, and the textbook formulas."""

import numpy as np

from cases.drawing import case, normal, spread
from portable_nn import kernels

CASES = {
    kernels.concatenate: [
        case("ordinary", normal(24, 10), normal(24, 40)),
        case("three", spread(24, 10), normal(24, 1), normal(24, 10)),
        case("one row", normal(1, 10), normal(1, 10)),
        case("one alone", normal(24, 10)),
    ],
    kernels.split_features: [
        case("ordinary", normal(24, 50), normal(24, 10), normal(24, 40)),
        case("three", spread(24, 21), normal(24, 10), normal(24, 1), normal(24, 10)),
        case("one row", normal(1, 20), normal(1, 10), normal(1, 10)),
    ],
    kernels.take_features: [
        case("ordinary", normal(24, 10)),
        case("one row", normal(1, 10)),
        case("the only one", normal(24, 1)),
    ],
    kernels.pad_features: [
        case("ordinary", normal(24, 1), normal(24, 10)),
        case("one row", spread(1, 4), normal(1, 10)),
        case("as wide", normal(24, 10), normal(24, 10)),
    ],
}

TEXTBOOK = {
    kernels.concatenate: lambda *xs: np.hstack(xs),
    kernels.split_features: lambda grad, a, b: tuple(np.split(grad, [a.shape[1]], axis=1)),
    kernels.take_features: lambda x: x[:, :1],
    kernels.pad_features: lambda grad, x: np.pad(grad, [(0, 0), (0, x.shape[1] - grad.shape[1])]),
}
