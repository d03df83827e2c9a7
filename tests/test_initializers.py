"""First values of parameters: their limits, their moments, and that the seed alone decides."""

import hashlib
import math
from functools import partial

import numpy as np
import pytest

import portable_nn as pnn
from portable_nn import CrossEntropy, Dense, Network, NetworkError, gain
from portable_nn.initializers import (
    Constant,
    Normal,
    Orthogonal,
    Scaled,
    TruncatedNormal,
    Uniform,
    glorot_normal,
    glorot_uniform,
    he_normal,
    he_uniform,
    lecun_normal,
    lecun_uniform,
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
    "lecun_uniform": (lecun_uniform, "uniform", -math.sqrt(3 / 300), math.sqrt(3 / 300)),
    "lecun_normal": (lecun_normal, "normal", 0.0, math.sqrt(1 / 300)),
    "Scaled": (Scaled(lecun_normal, 5 / 3), "normal", 0.0, 5 / 3 * math.sqrt(1 / 300)),
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


@pytest.mark.parametrize("initializer", [glorot_normal, he_normal, lecun_normal, Normal(0.1)])
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
        (lambda: TruncatedNormal(-1.0), "TruncatedNormal takes a number above 0 as scale; got -1"),
        (lambda: Orthogonal(0), "Orthogonal takes a number above 0 as gain; got 0"),
        (
            lambda: Constant(math.inf),
            "Constant takes a finite number, or an array of them; got inf",
        ),
        (lambda: Constant("0"), "Constant takes a finite number, or an array .*; got '0'"),
        (lambda: Scaled(he_normal, math.nan), "Scaled takes a number above 0 as gain; got nan"),
        (lambda: Scaled(0.1, 2.0), r"an initializer as initializer, such as .*; got 0\.1\.$"),
        (lambda: Scaled(Normal, 2.0), "an initializer as initializer, .* got <class .*Normal'>"),
    ],
)
def test_what_an_initializer_does_not_take(make, words):
    with pytest.raises(NetworkError, match=words):
        make()


@pytest.mark.parametrize(
    "initializer",
    [
        glorot_uniform, glorot_normal, he_uniform, he_normal, lecun_uniform, lecun_normal,
        Orthogonal(), Scaled(he_normal, 2.0),
    ],
)  # fmt: skip
def test_a_bias_has_no_fans(initializer):
    with pytest.raises(NetworkError, match=r"for weights \(in, out\); got \(3,\)"):
        draw(initializer, (3,))


# -- the whole distribution ----------------------------------------------------------------


def normal_law(x, deviation):
    return np.array([0.5 * math.erfc(-value / deviation / math.sqrt(2.0)) for value in x])


def uniform_law(x, low, high):
    return (x - low) / (high - low)


def cut_law(x, scale):
    below = normal_law([-2.0], 1.0)[0]
    return (normal_law(x, scale) - below) / (1.0 - 2.0 * below)


def distance(values, law):
    """Kolmogorov's and Smirnov's, times the root of the count, from P(value < x) = law(x)."""
    ordered = np.sort(values, axis=None)
    expected, count = law(ordered), ordered.size
    steps = np.arange(count + 1) / count
    largest = max((steps[1:] - expected).max(), (expected - steps[:-1]).max())
    return largest * math.sqrt(count)


FAR = 2.5
"""Of so many independent numbers the distance exceeds this with a chance of 2 exp(-2 * 2.5^2),
7e-6: Kolmogorov 1933."""

LAWS = {
    "glorot_uniform": (
        glorot_uniform,
        lambda x, i, o: uniform_law(x, -math.sqrt(6 / (i + o)), math.sqrt(6 / (i + o))),
    ),
    "glorot_normal": (glorot_normal, lambda x, i, o: normal_law(x, math.sqrt(2 / (i + o)))),
    "he_uniform": (
        he_uniform,
        lambda x, i, o: uniform_law(x, -math.sqrt(6 / i), math.sqrt(6 / i)),
    ),
    "he_normal": (he_normal, lambda x, i, o: normal_law(x, math.sqrt(2 / i))),
    "lecun_uniform": (
        lecun_uniform,
        lambda x, i, o: uniform_law(x, -math.sqrt(3 / i), math.sqrt(3 / i)),
    ),
    "lecun_normal": (lecun_normal, lambda x, i, o: normal_law(x, math.sqrt(1 / i))),
    "Normal": (Normal(0.1), lambda x, i, o: normal_law(x, 0.1)),
    "Uniform": (Uniform(2, 5), lambda x, i, o: uniform_law(x, 2.0, 5.0)),
    "TruncatedNormal": (TruncatedNormal(0.3), lambda x, i, o: cut_law(x, 0.3)),
    "Scaled": (Scaled(he_normal, 3.0), lambda x, i, o: normal_law(x, 3.0 * math.sqrt(2 / i))),
}


@pytest.mark.parametrize("shape", [(100, 100), (2000, 3), (4, 2500)], ids=str)
@pytest.mark.parametrize(("initializer", "law"), LAWS.values(), ids=list(LAWS))
def test_the_law_of_every_initializer(initializer, law, shape):
    found = draw(initializer, shape)
    assert distance(found, lambda x: law(x, *shape)) < FAR
    assert distance(found * 1.3, lambda x: law(x, *shape)) > FAR  # the test has eyes


def test_the_laws_are_those_of_scipy():
    stats = pytest.importorskip("scipy.stats")
    x = np.linspace(-0.59, 0.59, 50)
    # Both are accurate to some roundings.
    np.testing.assert_allclose(cut_law(x, 0.3), stats.truncnorm(-2, 2, scale=0.3).cdf(x), 1e-13)
    values = draw(TruncatedNormal(0.3), (50, 40))
    found = stats.kstest(values.ravel(), stats.truncnorm(-2, 2, scale=0.3).cdf)
    wanted = distance(values, lambda x: cut_law(x, 0.3)) / math.sqrt(values.size)
    assert found.statistic == pytest.approx(wanted, rel=1e-10)


def test_a_truncated_normal_has_no_tails():
    found = draw(TruncatedNormal(0.5))
    assert np.abs(found).max() <= 1.0
    # Near the cut is 2 phi(2) / 0.954 = 0.113 a deviation: some 17 of 150,000 within 1e-3.
    assert np.abs(found).max() > 0.999
    # The deviation as its docstring says; five standard errors with the kurtosis 2.06 of the law.
    square = np.mean(found**2) / (0.5 * 0.8796) ** 2
    assert abs(square - 1.0) < 1e-4 + 5 * math.sqrt((2.37 - 1.0) / found.size)


# -- orthogonal ones -----------------------------------------------------------------------

SHAPES = [(1, 1), (5, 5), (64, 10), (10, 64), (200, 200), (7, 1), (1, 7), (3, 4, 5), (2, 3, 40)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_columns_or_rows_are_orthonormal(shape):
    for factor in (1.0, 2.0):
        found = draw(Orthogonal(factor), shape)
        assert found.shape == shape
        assert found.flags.c_contiguous
        matrix = found.reshape(-1, shape[-1])
        if len(matrix) < matrix.shape[1]:
            matrix = matrix.T
        product = matrix.T @ matrix
        # Each reflection rounds a few times, half of them up; 200 of them add up to some 1e-15.
        np.testing.assert_allclose(product, factor**2 * np.eye(len(product)), atol=2e-14, rtol=0)


def test_no_direction_is_preferred():
    """In three dimensions each entry of a unit vector is uniform in +-1: Archimedes."""
    for shape in [(3, 3), (3, 2), (2, 3)]:
        found = np.array([draw(Orthogonal(), shape, seed) for seed in range(2000)])
        for i, j in np.ndindex(shape):
            assert distance(found[:, i, j], partial(uniform_law, low=-1.0, high=1.0)) < FAR


def test_rotations_are_as_likely_as_reflections_and_traces_as_they_must_be():
    """The moments of the trace of an even orthogonal matrix: Diaconis and Shahshahani 1994."""
    found = np.array([draw(Orthogonal(), (4, 4), seed) for seed in range(4000)])
    traces = np.trace(found, axis1=1, axis2=2)
    # Those of a standard normal, as far as the fourth; five standard errors of their means.
    for power, wanted, variance in [(1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)]:
        assert abs(np.mean(traces**power) - wanted) < 5 * math.sqrt(variance / len(found))
    assert abs(np.mean(np.linalg.det(found))) < 5 / math.sqrt(len(found))
    ends = [draw(Orthogonal(), (1, 1), seed)[0, 0] for seed in range(1000)]
    np.testing.assert_allclose(np.abs(ends), 1.0, rtol=1e-15)  # three roundings
    assert abs(np.mean(ends)) < 5 / math.sqrt(1000)


@pytest.mark.parametrize("shape", [(40, 64), (512, 512)], ids=str)
def test_bits_do_not_depend_on_the_machine(shape):
    """Made of + - * / and sqrt in a fixed order, which every machine rounds alike."""
    digests = {(40, 64): "02983f6cf3b3b961", (512, 512): "0ebbe6e812eb62c1"}
    found = draw(Orthogonal(), shape, seed=3, stream=1)
    assert hashlib.sha256(found.astype("<f8").tobytes()).hexdigest()[:16] == digests[shape]


BITS = {
    "lecun_uniform": (lecun_uniform, ["0x1.c10f94ecac23ap-1", "0x1.01e3ae2469ad0p-4"]),
    "lecun_normal": (lecun_normal, ["0x1.c7ff5edc80570p-1", "0x1.759b382cdcb7ep-5"]),
    "TruncatedNormal": (TruncatedNormal(0.5), ["0x1.6546097b38a71p-1", "0x1.34cd603f00e47p-5"]),
    "Orthogonal": (Orthogonal(), ["0x1.57194c9ba9fbcp-1", "0x1.38c912a84aeedp-9"]),
    "Scaled": (Scaled(Orthogonal(), 2), ["0x1.57194c9ba9fbcp+0", "0x1.38c912a84aeedp-8"]),
}


@pytest.mark.parametrize(("initializer", "bits"), BITS.values(), ids=list(BITS))
def test_the_first_bits(initializer, bits):
    found = draw(initializer, (3, 2), seed=3, stream=1)
    assert [float(value).hex() for value in found[0]] == bits


# -- made of others ------------------------------------------------------------------------


def test_a_gain_multiplies():
    for factor in (3.0, 5 / 3):
        np.testing.assert_array_equal(draw(Scaled(he_normal, factor)), draw(he_normal) * factor)
    np.testing.assert_array_equal(draw(Scaled(ones, 3), (2,)), [3.0, 3.0])
    own = Scaled(lambda draws, shape: draws.uniform(shape) + 1.0, 2.0)
    assert draw(own).min() > 2.0


def test_a_gain_of_relu_makes_hes_of_lecuns():
    for plain, whole in [(lecun_normal, he_normal), (lecun_uniform, he_uniform)]:
        found = draw(Scaled(plain, gain("relu")))
        # Some roundings.
        np.testing.assert_allclose(found, draw(whole), rtol=1e-15)
    np.testing.assert_array_equal(draw(Scaled(Orthogonal(), 2.0)), draw(Orthogonal(2.0)))


def test_a_constant_is_everywhere():
    for value in (-1.5, 0, 3):
        found = draw(Constant(value), (3, 2))
        np.testing.assert_array_equal(found, [[value] * 2] * 3)
        assert found.dtype == np.float64
    assert draw(Constant(1.0), ()).shape == ()


def test_constant_takes_the_parameters_of_another_network():
    random = np.random.default_rng(0)
    x, y = random.normal(size=(20, 3)), random.normal(size=20)
    first = pnn.Network([pnn.Dense(4), pnn.Dense(1)]).fit(x, y, loss="huber", progress=False)
    weight, bias = (pnn.Constant(first.parameters[f"dense1.{n}"]) for n in ("weight", "bias"))
    layers = [pnn.Dense(4, weight=weight, bias=bias), pnn.Dense(2)]
    labels = random.integers(0, 2, 20)
    second = pnn.Network(layers).fit(
        x, labels, loss="cross_entropy", frozen="dense1", progress=False
    )
    for name in ("dense1.weight", "dense1.bias"):
        np.testing.assert_array_equal(second.parameters[name], first.parameters[name])


@pytest.mark.parametrize(
    "value", ["a", None, [1.0, np.inf], [True], {}, [[1], [1, 2]], np.array(["a"])]
)
def test_constant_takes_numbers_only(value):
    with pytest.raises(pnn.NetworkError, match="Constant takes a finite number, or an array"):
        pnn.Constant(value)


def test_constant_of_another_shape_is_refused():
    with pytest.raises(pnn.NetworkError, match=r"the shape \(2, 3\); \(3, 2\) is needed"):
        pnn.Constant(np.ones((2, 3)))(None, (3, 2))


def test_constants_compare_by_value():
    assert pnn.Constant(1.0) == pnn.Constant(1.0) != pnn.Constant(2.0)
    assert pnn.Constant([1.0, 2.0]) == pnn.Constant(np.array([1.0, 2.0]))
    assert len({pnn.Constant([1.0, 2.0]), pnn.Constant((1.0, 2.0)), pnn.Constant(1.0)}) == 2
    assert pnn.Dense(3, weight=pnn.Constant(1.0)) == pnn.Dense(3, weight=pnn.Constant(1.0))
