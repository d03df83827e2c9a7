"""A case, and how its arrays are drawn."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

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


def led(first, draw):
    """The same, but for the first number or row."""

    def drawn(rng):
        values = draw(rng)
        values[(0,) * (values.ndim - np.ndim(first))] = first
        return values

    return drawn


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


HUGE = given([[1e4, -1e4, 0.0], [-1e4, -1e4, 1e4], [1e4, 1e4, 1e4], [-0.0, 0.0, -0.0]])
"""Logits as a diverging network has them, with ties and zeros of both signs."""

MIXED = given([[0.0, -0.0, 1e-30, -1e-30], [1e4, -1e4, 87.0, -87.0], [20.0, -20.0, 0.5, -0.5]])
"""Where an activation changes its piece, its tail or its precision."""
