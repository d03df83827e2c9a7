"""Cutting out batches: inputs, and the textbook formulas."""

import numpy as np

from cases.drawing import (
    case,
    given,
    labels,
    normal,
    places,
)
from portable_nn import kernels

CASES = {
    kernels.take_rows: [
        case("ordinary", normal(50, 10), places(24, 50)),
        case("labels", labels(50, 4), places(24, 50)),
        case("the same row", normal(50, 10), given([7, 7, 7])),
        case("one row", normal(50, 10), given([49])),
    ],
}

TEXTBOOK = {
    kernels.take_rows: lambda data, index: np.array([data[i] for i in index]),
}
