"""The dense layer, sum and product: inputs, and the textbook formulas."""

import numpy as np

from cases.drawing import (
    case,
    normal,
    spread,
    uniform,
)
from portable_nn import kernels

CASES = {
    kernels.linear: [
        case("ordinary", normal(24, 40), normal(40, 10), normal(10)),
        case("no bias", normal(24, 40), normal(40, 10)),
        case("long", normal(16, 600), normal(600, 8), normal(8)),
        case("spread", spread(16, 30), spread(30, 8), spread(8)),
        case("one row", normal(1, 40), normal(40, 10), normal(10)),
        case("one number", normal(1, 1), normal(1, 1), normal(1)),
    ],
    kernels.linear_grad_input: [
        case("ordinary", normal(24, 10), normal(40, 10)),
        case("long", normal(8, 600), normal(9, 600)),
        case("one row", normal(1, 10), normal(40, 10)),
    ],
    kernels.linear_grad_weight: [
        case("ordinary", normal(24, 40), normal(24, 10)),
        case("long", normal(600, 9), normal(600, 8)),
        case("spread", spread(30, 16), spread(30, 8)),
        case("one row", normal(1, 40), normal(1, 10)),
    ],
    kernels.linear_grad_bias: [
        case("ordinary", normal(24, 70)),
        case("one sign", uniform(0.1, 1.0, 100, 70)),
        case("long", normal(600, 8)),
        case("one row", normal(1, 10)),
    ],
    kernels.add: [
        case("ordinary", normal(24, 10), normal(24, 10)),
        case("spread", spread(24, 10), spread(24, 10)),
        case("one row", normal(1, 10), normal(1, 10)),
    ],
    kernels.negative: [
        case("ordinary", normal(24, 10)),
        case("spread", spread(24, 10)),
        case("one row", normal(1, 10)),
    ],
    kernels.subtract: [
        case("ordinary", normal(24, 10), normal(24, 10)),
        case("spread", spread(24, 10), spread(24, 10)),
        case("one row", normal(1, 10), normal(1, 10)),
    ],
    kernels.multiply: [
        case("ordinary", normal(24, 10), normal(24, 10)),
        case("a mask", normal(24, 10), lambda rng: 1.25 * rng.integers(0, 2, (24, 10))),
        case("one row", normal(1, 10), normal(1, 10)),
    ],
}

TEXTBOOK = {
    kernels.linear: lambda x, w, b: np.einsum("ni,io->no", x, w) + b,
    kernels.linear_grad_input: lambda grad, w: np.einsum("no,io->ni", grad, w),
    kernels.linear_grad_weight: lambda x, grad: np.einsum("ni,no->io", x, grad),
    kernels.linear_grad_bias: lambda grad: np.einsum("no->o", grad),
    kernels.add: lambda a, b: b + a,
    kernels.negative: lambda x: 0.0 - x,
    kernels.subtract: lambda a, b: -(b - a),
    kernels.multiply: lambda a, b: b * a,
}
