"""First values of parameters: their limits, their moments, and that the seed alone decides."""

import math

import numpy as np
import pytest

from portable_nn import CrossEntropy, Dense, Network, NetworkError
from portable_nn.initializers import (
    Normal,
    Uniform,
    glorot_normal,
    glorot_uniform,
    he_normal,
    he_uniform,
    ones,
    zeros,
)
from portable_nn.random import Draws

SHAPE = (300, 500)
DRAWN = {
    "glorot_uniform": (glorot_uniform, "uniform", -math.sqrt(6 / 800), math.sqrt(6 / 800)),
    "glorot_normal": (glorot_normal, "normal", 0.0, math.sqrt(2 / 800)),
    "he_uniform": (he_uniform, "uniform", -math.sqrt(6 / 300), math.sqrt(6 / 300)),
    "he_normal": (he_normal, "normal", 0.0, math.sqrt(2 / 300)),
    "Normal": (Normal(0.1), "normal", 0.0, 0.1),
    "Uniform": (Uniform(-0.5, 0.5), "uniform", -0.5, 0.5),
    "Uniform, not centred": (Uniform(2, 5), "uniform", 2.0, 5.0),
}
"""On weights (300, 500): limits of a uniform one, mean and deviation of a normal one."""

every_drawn = pytest.mark.parametrize(
    ("initializer", "kind", "first", "second"), DRAWN.values(), ids=list(DRAWN)
)


def draw(initializer, shape=SHAPE, seed=0, stream=0):
    return initializer(Draws(seed, "initialize", stream), shape)


@every_drawn
def test_moments_and_limits(initializer, kind, first, second):
    found = draw(initializer)
    assert found.shape == SHAPE
    assert found.dtype == np.float64
    mean, deviation, kurtosis = first, second, 3.0
    if kind == "uniform":
        mean, deviation, kurtosis = (first + second) / 2, (second - first) / math.sqrt(12), 1.8
        # Nothing outside; and none of 150,000 within 1e-4 of an end has a chance of 1e-6.
        assert first <= found.min() < first + 1e-4 * (second - first)
        assert second >= found.max() > second - 1e-4 * (second - first)
    # Five standard errors: of a mean, and of a mean of squares.
    assert abs(found.mean() - mean) < 5 * deviation / math.sqrt(found.size)
    square = np.mean((found - mean) ** 2) / deviation**2
    assert abs(square - 1.0) < 5 * math.sqrt((kurtosis - 1.0) / found.size)


@pytest.mark.parametrize("initializer", [glorot_normal, he_normal, Normal(0.1)])
def test_the_tails_of_a_normal_one_are_whole(initializer):
    found = draw(initializer)
    far = np.abs(found) > 2 * found.std()
    # Beyond two deviations are 4.55 % of a normal distribution; five standard errors.
    assert abs(far.mean() - 0.0455) < 5 * math.sqrt(0.0455 / found.size)


@every_drawn
def test_the_seed_and_the_stream_decide(initializer, kind, first, second):
    values = draw(initializer)
    np.testing.assert_array_equal(values, draw(initializer))
    for other in (draw(initializer, seed=1), draw(initializer, stream=1)):
        # Of 150,000 numbers of some 52 bits none meets its namesake.
        assert (values != other).all()


def test_zeros_and_ones():
    np.testing.assert_array_equal(draw(zeros, (3, 2)), [[0.0, 0.0]] * 3)
    np.testing.assert_array_equal(draw(ones, (2,)), [1.0, 1.0])


def test_a_network_starts_from_them(backend):
    layers = [Dense(300, weight=Normal(0.1), bias=Uniform(-0.5, 0.5)), Dense(3, weight=he_uniform)]
    network = Network(layers, dtype="float64")
    training = network.start(loss=CrossEntropy(), seed=7, backend=backend)
    next(training.batches(np.ones((4, 5)), [0, 1, 2, 0], epoch=0))
    expected = [
        draw(Normal(0.1), (5, 300), seed=7),
        draw(Uniform(-0.5, 0.5), (300,), seed=7, stream=1),
        draw(he_uniform, (300, 3), seed=7, stream=2),
        np.zeros(3),
    ]
    for found, value in zip(network.parameters.values(), expected, strict=True):
        np.testing.assert_array_equal(found, value)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Normal(0.0), "Normal takes a number above 0 as scale; got 0"),
        (lambda: Normal(math.nan), "Normal takes a number above 0 as scale; got nan"),
        (lambda: Normal("0.1"), "Normal takes a number above 0 as scale; got '0.1'"),
        (lambda: Uniform(0.5, -0.5), "Uniform takes two numbers, low below high; got 0.5 and -0.5"),
        (lambda: Uniform(0.5, 0.5), "two numbers, low below high; got 0.5 and 0.5"),
        (lambda: Uniform(0.0, math.inf), "two numbers, low below high; got 0.0 and inf"),
        (lambda: Uniform(None, 1.0), "two numbers, low below high; got None and 1"),
    ],
)
def test_what_an_initializer_does_not_take(make, words):
    with pytest.raises(NetworkError, match=words):
        make()


@pytest.mark.parametrize("initializer", [glorot_uniform, glorot_normal, he_uniform, he_normal])
def test_a_bias_has_no_fans(initializer):
    with pytest.raises(NetworkError, match=r"for weights \(in, out\); got \(3,\)"):
        draw(initializer, (3,))
