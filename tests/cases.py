"""Inputs for every kernel, in one table that all kernel tests run on.

A case gives the inputs of one call as host arrays: floats as float64 to be rounded to the
dtype under test, indices as int64. The first case of a kernel is its ordinary one.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest

from portable_nn import kernels

Draw = Callable[[np.random.Generator], np.ndarray]


@dataclass(frozen=True)
class Case:
    """Named inputs of one call: a draw for each."""

    name: str
    draws: tuple[Draw, ...]

    def inputs(self, dtype, seed=0):
        """The host arrays, floats rounded to ``dtype``."""
        rng = np.random.default_rng(seed)
        drawn = [np.asarray(draw(rng)) for draw in self.draws]
        return [value.astype(dtype) if value.dtype.kind == "f" else value for value in drawn]


def case(name, *draws):
    return Case(name, draws)


# -- what inputs look like -----------------------------------------------------------------


def normal(*shape, scale=1.0):
    return lambda rng: scale * rng.normal(size=shape)


def spread(*shape):
    """Both signs, sizes from 1e-4 to 1e4."""
    return lambda rng: rng.normal(size=shape) * 10.0 ** rng.uniform(-4.0, 4.0, shape)


def uniform(low, high, *shape):
    return lambda rng: rng.uniform(low, high, shape)


def given(values):
    """These numbers."""
    return lambda rng: np.array(values)


def rectified(*shape):
    """What relu gives: positive in even columns, 0 in odd ones."""
    return lambda rng: np.abs(rng.normal(size=shape)) * (np.arange(shape[-1]) % 2 == 0)


def distribution(*shape):
    """What softmax gives: each row positive with sum 1."""
    return lambda rng: rng.dirichlet(np.ones(shape[-1]), shape[:-1])


def labels(n, classes):
    return lambda rng: rng.integers(0, classes, (n, 1))


def chance(*shape):
    return uniform(0.0, 1.0, *shape)


def places(n, rows):
    return lambda rng: rng.integers(0, rows, n)


def square(*shape):
    return lambda rng: rng.normal(size=shape) ** 2


# -- the table -----------------------------------------------------------------------------

HUGE = given([[1e4, -1e4, 0.0], [-1e4, -1e4, 1e4], [1e4, 1e4, 1e4], [-0.0, 0.0, -0.0]])
"""Logits as a diverging network has them, with ties and zeros of both signs."""

MIXED = given([[0.0, -0.0, 1e-30, -1e-30], [1e4, -1e4, 87.0, -87.0], [20.0, -20.0, 0.5, -0.5]])
"""Where an activation changes its piece, its tail or its precision."""


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


_ADAM = [given(value) for value in (0.9, 1 - 0.9, 0.999, 1 - 0.999, 1e-3, 1e-8)]
_MOMENTUM = [given(0.9), given(0.01)]
_RMSPROP = [given(value) for value in (0.9, 1 - 0.9, 1e-3, 1e-8)]
_NEAR_TARGETS = given([[1e4, 1e4, 0.0], [-1e4, 1.0, 1e4], [0.0, 1e4, -1e4], [0.0, -0.0, 1.0]])
_BITS = given([[1.0, 1.0, 0.0], [0.0, 0.0, 0.0], [1.0, 0.0, 1.0], [0.0, 1.0, 1.0]])
_CLASSES = given([[1], [2], [0], [2]])
_SURE = given([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.5, 0.5, 0.0], [0.3, 0.3, 0.4]])


def _activation():
    return [
        case("ordinary", normal(24, 10, scale=3.0)),
        case("one row", normal(1, 10)),
        case("edge", MIXED),
    ]


def _velocity():
    return [
        case("ordinary", normal(24, 10), normal(24, 10), normal(24, 10), *_MOMENTUM),
        case("spread", spread(24, 10), spread(24, 10), spread(24, 10), *_MOMENTUM),
        case("first step", normal(7, 5), normal(7, 5), given(np.zeros((7, 5))), *_MOMENTUM),
        case("one row", normal(1, 10), normal(1, 10), normal(1, 10), *_MOMENTUM),
        case("a bias", normal(10), normal(10), normal(10), *_MOMENTUM),
    ]


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
    kernels.multiply: [
        case("ordinary", normal(24, 10), normal(24, 10)),
        case("a mask", normal(24, 10), lambda rng: 1.25 * rng.integers(0, 2, (24, 10))),
        case("one row", normal(1, 10), normal(1, 10)),
    ],
    kernels.relu: _activation(),
    kernels.tanh: _activation(),
    kernels.sigmoid: _activation(),
    kernels.softmax: [
        case("ordinary", normal(24, 10, scale=3.0)),
        case("long", normal(4, 600)),
        case("one row", normal(1, 10)),
        case("one class", normal(5, 1)),
        case("edge", HUGE),
    ],
    kernels.relu_backward: [
        case("ordinary", normal(24, 10), rectified(24, 10)),
        case("one row", normal(1, 10), rectified(1, 10)),
        case("edge", MIXED, given([[0.0, -0.0, 1e-30, 1.0]] * 3)),
    ],
    kernels.tanh_backward: [
        case("ordinary", normal(24, 10), uniform(-1.0, 1.0, 24, 10)),
        case("one row", normal(1, 10), uniform(-1.0, 1.0, 1, 10)),
        case("edge", MIXED, given([[1.0, -1.0, 0.0, 0.99999994]] * 3)),
    ],
    kernels.sigmoid_backward: [
        case("ordinary", normal(24, 10), uniform(0.0, 1.0, 24, 10)),
        case("one row", normal(1, 10), uniform(0.0, 1.0, 1, 10)),
        case("edge", MIXED, given([[1.0, 0.0, 1e-30, 0.99999994]] * 3)),
    ],
    kernels.softmax_backward: [
        case("ordinary", normal(24, 10), distribution(24, 10)),
        case("long", normal(4, 600), distribution(4, 600)),
        case("one row", normal(1, 10), distribution(1, 10)),
        case("edge", HUGE, _SURE),
    ],
    kernels.half_squared_error: _loss(normal, _NEAR_TARGETS),
    kernels.mean_squared_error: _loss(normal, _NEAR_TARGETS),
    kernels.binary_cross_entropy: _loss(chance, _BITS),
    kernels.cross_entropy: _loss(labels, _CLASSES),
    kernels.sgd: [
        case("ordinary", normal(24, 10), normal(24, 10), given(0.01)),
        case("spread", spread(24, 10), spread(24, 10), given(0.3)),
        case("one row", normal(1, 10), normal(1, 10), given(0.01)),
        case("a bias", normal(10), normal(10), given(0.01)),
    ],
    kernels.momentum: _velocity(),
    kernels.nesterov: _velocity(),
    kernels.rmsprop: [
        case("ordinary", normal(24, 10), normal(24, 10), square(24, 10), *_RMSPROP),
        case("spread", spread(24, 10), spread(24, 10), square(24, 10), *_RMSPROP),
        case("first step", normal(7, 5), normal(7, 5), given(np.zeros((7, 5))), *_RMSPROP),
        case("no gradient", normal(7, 5), *[given(np.zeros((7, 5)))] * 2, *_RMSPROP),
        case("one row", normal(1, 10), normal(1, 10), square(1, 10), *_RMSPROP),
        case("a bias", normal(10), normal(10), square(10), *_RMSPROP),
    ],
    kernels.adam: [
        case("ordinary", normal(24, 10), normal(24, 10), normal(24, 10), square(24, 10), *_ADAM),
        case("first step", normal(7, 5), normal(7, 5), *[given(np.zeros((7, 5)))] * 2, *_ADAM),
        case("no gradient", normal(7, 5), *[given(np.zeros((7, 5)))] * 3, *_ADAM),
        case("one row", normal(1, 10), normal(1, 10), normal(1, 10), square(1, 10), *_ADAM),
        case("a bias", normal(10), normal(10), normal(10), square(10), *_ADAM),
    ],
    kernels.take_rows: [
        case("ordinary", normal(50, 10), places(24, 50)),
        case("labels", labels(50, 4), places(24, 50)),
        case("the same row", normal(50, 10), given([7, 7, 7])),
        case("one row", normal(50, 10), given([49])),
    ],
}
"""By kernel. Every kernel that ``portable_nn.kernels`` exports stands here."""

EXPORTED = [value for value in vars(kernels).values() if isinstance(value, kernels.Kernel)]


def named(cases=None):
    """``pytest.param`` of (kernel, case) for every case, or the first ``cases`` of each."""
    return [
        pytest.param(kernel, example, id=f"{kernel.name}-{example.name.replace(' ', '_')}")
        for kernel, examples in CASES.items()
        for example in examples[:cases]
    ]
