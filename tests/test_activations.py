"""Every activation against torch and plain formulas, values and slopes, tails and kinks; gains."""

import math
from decimal import Decimal, localcontext

import array_api_compat.numpy as xp
import numpy as np
import pytest

import portable_nn as pnn
from portable_nn import kernels
from portable_nn.activations import ACTIVATIONS, Activation
from portable_nn.initializers import zeros
from portable_nn.plan import PlanBuilder
from portable_nn.runner import trace

SIZES = np.concatenate([np.logspace(-8.0, math.log10(700.0), 150), np.linspace(0.013, 40.0, 400)])
GRID = np.concatenate([-SIZES[::-1], [0.0], SIZES])
"""From -700 to 700, most of it near 0."""
U = 2.0**-53


@kernels.loss_kernel()
def total(xp, z, targets, weight, scale):
    """``sum weight z``; targets are the weights of the single numbers."""
    return xp.sum(z * targets, axis=(-2, -1)), targets


def value_and_gradients(layer, x, grad=None):
    """What a layer makes of x (n, k); the gradients of x and of its parameters, from ``grad``."""
    builder = PlanBuilder("train", "float64")
    start = builder.parameter("x", x.shape, zeros)
    a = layer.forward(builder, start, "train")
    given = [builder.fed(name, shape, None) for name, shape in
             (("grad", builder.shape(a)), ("weight", (len(x), 1)), ("scale", ()))]  # fmt: skip
    loss = builder.call(total, a, *given)
    builder.backward(loss)
    builder.outputs["loss"] = loss
    plan = builder.build()
    values = {"x": x, "weight": np.ones((len(x), 1)), "scale": np.array(1.0)}
    values["grad"] = np.ones(builder.shape(a)) if grad is None else grad
    for buffer in plan.of_kind("parameter"):
        if buffer.name != "x":
            values[buffer.name] = np.linspace(-0.5, 0.5, math.prod(buffer.shape))
    found = trace(plan, "gradient", xp, values)
    return found[a], {name: found[grad] for name, grad in plan.gradients.items()}


def unit(layer, z):
    """``a(z)`` and ``a'(z)`` of single numbers."""
    value, gradients = value_and_gradients(layer, z[:, np.newaxis])
    return value[:, 0], gradients["x"][:, 0]


# -- against torch -------------------------------------------------------------------------

TORCH = {
    "celu": (pnn.CELU(0.5), lambda f, z: f.celu(z, 0.5)),
    "elu": (pnn.ELU(1.3), lambda f, z: f.elu(z, 1.3)),
    "exponential": (pnn.Exponential(), lambda f, z: z.exp()),
    "gelu": (pnn.GELU(), lambda f, z: f.gelu(z)),
    "gelu, tanh": (pnn.GELU("tanh"), lambda f, z: f.gelu(z, approximate="tanh")),
    "hard_sigmoid": (pnn.HardSigmoid(), lambda f, z: f.hardsigmoid(z)),
    "hard_swish": (pnn.HardSwish(), lambda f, z: f.hardswish(z)),
    "hard_tanh": (pnn.HardTanh(-0.5, 2.0), lambda f, z: f.hardtanh(z, -0.5, 2.0)),
    "leaky_relu": (pnn.LeakyReLU(0.2), lambda f, z: f.leaky_relu(z, 0.2)),
    "log_sigmoid": (pnn.LogSigmoid(), lambda f, z: f.logsigmoid(z)),
    "mish": (pnn.Mish(), lambda f, z: f.mish(z)),
    "relu": (pnn.ReLU(), lambda f, z: f.relu(z)),
    "selu": (pnn.SELU(), lambda f, z: f.selu(z)),
    "sigmoid": (pnn.Sigmoid(), lambda f, z: z.sigmoid()),
    "silu": (pnn.SiLU(), lambda f, z: f.silu(z)),
    # It gives z itself beyond a threshold, here one that no z reaches.
    "softplus": (pnn.Softplus(0.5), lambda f, z: f.softplus(z, 0.5, threshold=1e9)),
    "softsign": (pnn.Softsign(), lambda f, z: f.softsign(z)),
    "tanh": (pnn.Tanh(), lambda f, z: z.tanh()),
}
ROWS = {"identity", "softmax", "log_softmax"}
"""Activations that are no function of one number, or that have no call."""


def test_every_activation_of_one_number_is_compared():
    assert {name.partition(",")[0] for name in TORCH} | ROWS == set(ACTIVATIONS)
    assert set(TRUTH) == set(TORCH)


@pytest.mark.parametrize("name", TORCH)
def test_values_and_slopes_are_those_of_torch(name):
    torch = pytest.importorskip("torch")
    layer, theirs = TORCH[name]
    z = torch.tensor(GRID, requires_grad=True)
    a = theirs(torch.nn.functional, z)
    a.sum().backward()
    value, slope = unit(layer, GRID)
    # Textbook forms cancel in their tails there: 1 + erf, 1 - tanh^2, up to 1e-16 times z; and
    # the rounding of products of z of 700 in an exponent is 1e-13 of the result.
    np.testing.assert_allclose(value, a.detach().numpy(), rtol=5e-13, atol=2e-15)
    single = 4e-8 if name == "hard_sigmoid" else 0.0  # it takes 1/6 in single precision there
    np.testing.assert_allclose(slope, z.grad.numpy(), rtol=5e-13 + single, atol=2e-14)


# -- against plain formulas in a wider type ------------------------------------------------


def _where(z, above, below):
    return np.where(z > 0, above, below)


def _sigmoid(z):
    return 1 / (1 + np.exp(-z))


def _mish_slope(z):
    t = np.tanh(np.log1p(np.exp(z)))
    return t + z * _sigmoid(z) / np.cosh(np.log1p(np.exp(z))) ** 2


def _cubic(z):
    return np.sqrt(8 / np.longdouble(math.pi)) * (z + np.longdouble(0.044715) * z**3)


def _cubic_slope(z):
    s, u = _sigmoid(_cubic(z)), np.sqrt(8 / np.longdouble(math.pi))
    return s * (1 + z * u * (1 + 3 * np.longdouble(0.044715) * z**2) * _sigmoid(-_cubic(z)))


def _gelu(z):
    return z * np.vectorize(math.erfc, otypes=[float])(-(z / np.sqrt(np.longdouble(2)))) / 2


def _gelu_slope(z):
    share = np.vectorize(math.erfc, otypes=[float])(-(z / np.sqrt(np.longdouble(2)))) / 2
    return share + z * np.exp(-(z**2) / 2) / np.sqrt(2 * np.longdouble(math.pi))


SCALE, ALPHA = np.longdouble(1.0507009873554805), np.longdouble(1.6732632423543772)

TRUTH = {
    "celu": (
        lambda z: _where(z, z, np.expm1(2 * z) / 2),
        lambda z: _where(z, 1, np.exp(2 * z)),
    ),
    "elu": (lambda z: _where(z, z, 1.3 * np.expm1(z)), lambda z: _where(z, 1, 1.3 * np.exp(z))),
    "exponential": (np.exp, np.exp),
    "gelu": (_gelu, _gelu_slope),
    "gelu, tanh": (lambda z: z * _sigmoid(_cubic(z)), _cubic_slope),
    "hard_sigmoid": (
        lambda z: np.clip((z + 3) / 6, 0, 1),
        lambda z: (np.abs(z) < 3) / np.longdouble(6),
    ),
    "hard_swish": (
        lambda z: z * np.clip((z + 3) / 6, 0, 1),
        lambda z: np.where(z <= -3, 0, np.where(z >= 3, 1, (2 * z + 3) / 6)),
    ),
    "hard_tanh": (lambda z: np.clip(z, -0.5, 2), lambda z: (z > -0.5) & (z < 2)),
    "leaky_relu": (lambda z: _where(z, z, 0.2 * z), lambda z: _where(z, 1, 0.2)),
    "log_sigmoid": (lambda z: -np.log1p(np.exp(-z)), lambda z: _sigmoid(-z)),
    "mish": (lambda z: z * np.tanh(np.log1p(np.exp(z))), _mish_slope),
    "relu": (lambda z: _where(z, z, 0), lambda z: _where(z, 1, 0)),
    "selu": (
        lambda z: SCALE * _where(z, z, ALPHA * np.expm1(z)),
        lambda z: SCALE * _where(z, 1, ALPHA * np.exp(z)),
    ),
    "sigmoid": (_sigmoid, None),
    "silu": (lambda z: z * _sigmoid(z), lambda z: _sigmoid(z) * (1 + z * _sigmoid(-z))),
    "softplus": (lambda z: 2 * np.log1p(np.exp(z / 2)), lambda z: _sigmoid(z / 2)),
    "softsign": (lambda z: z / (1 + abs(z)), lambda z: 1 / (1 + abs(z)) ** 2),
    "tanh": (np.tanh, None),
}
"""Value and slope; None where the slope is one of the output that cancels in a tail."""


@pytest.mark.parametrize("name", TRUTH)
def test_values_and_slopes_keep_their_digits_in_both_tails(name):
    z = GRID[np.abs(GRID) < 37.0] if name == "gelu" else GRID
    with np.errstate(all="ignore"):
        expected = [f and np.asarray(f(z.astype(np.longdouble))) for f in TRUTH[name]]
    for found, true in zip(unit(TORCH[name][0], z), expected, strict=True):
        if true is not None:
            # An exponent of 700, rounded, is 700 units of its result; erfc(x), of a rounded x,
            # twice as many. Near where a slope crosses 0 its two terms cancel by 100.
            known = np.abs(true) > 1e-300
            np.testing.assert_allclose(
                found[known], true[known].astype(float), rtol=2000 * U, atol=0.0
            )
            assert (np.abs(found[~known]) <= 2e-300).all()


def upper_tail(y):
    """Q(y) of the normal distribution in decimal numbers, by the series of Marsaglia 2004."""
    with localcontext() as context:
        context.prec = 1000
        y = Decimal(y)
        term = series = y
        k = 1
        while term > Decimal(10) ** -900:
            k += 2
            term = term * y * y / k
            series += term
        density = (-y * y / 2).exp() / (2 * PI).sqrt()
        return Decimal("0.5") - density * series


def _pi():
    """By Machin's formula."""

    def arctan(one_over):
        power = total = Decimal(1) / one_over
        k, sign = 1, 1
        while power > Decimal(10) ** -1000:
            power /= one_over**2
            k, sign = k + 2, -sign
            total += sign * power / k
        return total

    with localcontext() as context:
        context.prec = 1010
        return 4 * (4 * arctan(5) - arctan(239))


PI = _pi()


@pytest.mark.parametrize("sign", [-1.0, 1.0])
def test_gelu_is_right_to_some_units_in_the_last_place_in_both_tails(sign):
    sizes = np.concatenate([np.random.default_rng(0).uniform(0.0, 37.0, 60), [1e-8, 0.03125, 36.9]])
    found = unit(pnn.GELU(), sign * sizes)[0]
    for y, value in zip(sizes, found, strict=True):
        tail = upper_tail(y)
        true = Decimal(sign * y) * (tail if sign < 0 else 1 - tail)
        # exp, twice, a polynomial and four products: 5 units at most in 1,200 points.
        assert abs(Decimal(value) / true - 1) < 8 * Decimal(U)


def test_tanh_form_of_gelu_is_near_the_other():
    near = np.abs(unit(pnn.GELU("tanh"), GRID)[0] - unit(pnn.GELU(), GRID)[0])
    assert 4e-4 < near.max() < 5e-4  # as its docstring says


@pytest.mark.parametrize("layer", [pnn.GELU(), pnn.GELU("tanh")], ids=repr)
def test_gelu_of_infinity(layer):
    value, slope = unit(layer, np.array([np.inf, -np.inf, 1e30, -1e30]))
    np.testing.assert_array_equal(value, [np.inf, 0.0, 1e30, 0.0])
    np.testing.assert_array_equal(slope, [1.0, 0.0, 1.0, 0.0])


# -- at the kinks --------------------------------------------------------------------------

KINKS = [
    (pnn.ReLU(), 0.0, 0.0),
    (pnn.LeakyReLU(0.2), 0.0, 0.2),
    (pnn.ELU(1.5), 0.0, 1.5),
    (pnn.SELU(), 0.0, float(SCALE * ALPHA)),
    (pnn.CELU(1.5), 0.0, 1.0),
    (pnn.HardTanh(-0.5, 2.0), -0.5, 0.0),
    (pnn.HardTanh(-0.5, 2.0), 2.0, 0.0),
    (pnn.HardSigmoid(), -3.0, 0.0),
    (pnn.HardSigmoid(), 3.0, 0.0),
    (pnn.HardSwish(), -3.0, 0.0),
    (pnn.HardSwish(), 3.0, 1.0),
]


@pytest.mark.parametrize(("layer", "z", "slope"), KINKS)
def test_slope_at_a_kink_is_what_its_docstring_says(layer, z, slope):
    # Two or three roundings of a product.
    np.testing.assert_allclose(unit(layer, np.array([z]))[1], slope, rtol=4 * U)


# -- of more than one number ---------------------------------------------------------------

X = np.random.default_rng(0).normal(size=(7, 6)) * 2.0


def torch_gradients(function, *inputs):
    """What torch makes of arrays, and the gradients of ``sum grad * output`` for a grad."""
    torch = pytest.importorskip("torch")
    tensors = [torch.tensor(value, requires_grad=True) for value in inputs]
    output = function(torch, *tensors)
    grad = np.random.default_rng(1).normal(size=tuple(output.shape))
    (output * torch.tensor(grad)).sum().backward()
    return output.detach().numpy(), grad, [tensor.grad.numpy() for tensor in tensors]


WIDE = {
    "glu": (pnn.GLU(), lambda torch, x: torch.nn.functional.glu(x)),
    "log_softmax": (pnn.LogSoftmax(), lambda torch, x: x.log_softmax(1)),
    "maxout of 2": (pnn.Maxout(), lambda torch, x: x.reshape(7, 3, 2).max(2).values),
    "maxout of 3": (pnn.Maxout(3), lambda torch, x: x.reshape(7, 2, 3).max(2).values),
    "softmax": (pnn.Softmax(), lambda torch, x: x.softmax(1)),
    "swiglu": (pnn.SwiGLU(), lambda torch, x: x[:, :3] * torch.nn.functional.silu(x[:, 3:])),
}


@pytest.mark.parametrize("name", WIDE)
def test_of_more_than_one_number_against_torch(name):
    layer, theirs = WIDE[name]
    output, grad, (grad_x,) = torch_gradients(theirs, X)
    value, gradients = value_and_gradients(layer, X, grad)
    # A few roundings, in a gradient more, and a difference of nearly equal terms.
    np.testing.assert_allclose(value, output, rtol=1e-14, atol=1e-15)
    np.testing.assert_allclose(gradients["x"], grad_x, rtol=1e-13, atol=1e-15)


def test_prelu_against_torch():
    slopes = np.linspace(-0.5, 0.5, 6)
    output, grad, (grad_x, grad_slope) = torch_gradients(
        lambda torch, x, slope: torch.nn.functional.prelu(x, slope), X, slopes
    )
    value, gradients = value_and_gradients(pnn.PReLU(), X, grad)
    # One product each.
    np.testing.assert_allclose(value, output, rtol=1e-15)
    np.testing.assert_allclose(gradients["x"], grad_x, rtol=1e-15)
    np.testing.assert_allclose(gradients["slope"], grad_slope, rtol=1e-13)  # sums of 7


def fixed(*layers):
    """A network whose first layer gives what it is given."""
    identity = pnn.Dense(6, use_bias=False, weight=lambda draws, shape: np.eye(6))
    return pnn.Network([identity, *layers], dtype="float64")


PLAIN = {
    "prelu": (pnn.PReLU(0.3), np.where(X > 0, X, 0.3 * X)),
    "glu": (pnn.GLU(), X[:, :3] / (1 + np.exp(-X[:, 3:]))),
    "swiglu": (pnn.SwiGLU(), X[:, :3] * X[:, 3:] / (1 + np.exp(-X[:, 3:]))),
    "maxout": (pnn.Maxout(3), np.stack([X[:, :3].max(1), X[:, 3:].max(1)], axis=1)),
}


@pytest.mark.parametrize("name", PLAIN)
def test_of_more_than_one_number_on_every_backend(name, backend):
    layer, expected = PLAIN[name]
    network = fixed(layer)
    training = network.start(loss="half_squared_error", batch_size=None, backend=backend)
    for batch in training.batches(X, expected, 0):
        training.gradient(batch)
    # Another order of operations, and one more rounding each.
    np.testing.assert_allclose(network.outputs(X), expected, rtol=1e-14)


def test_of_equal_pieces_the_first_has_the_gradient():
    tied = np.array([[2.0, 2.0, 1.0, 1.0, 3.0, 3.0]])
    for pieces, expected in ((2, [[1, 0, 1, 0, 1, 0]]), (3, [[1, 0, 0, 0, 1, 0]])):
        _, gradients = value_and_gradients(pnn.Maxout(pieces), tied)
        np.testing.assert_array_equal(gradients["x"], expected)


def test_slopes_are_learned():
    x = np.linspace(-1.0, 1.0, 40)[:, np.newaxis]
    one = pnn.Dense(1, use_bias=False, weight=pnn.Constant(1.0))
    network = pnn.Network([one, pnn.PReLU()], dtype="float64")
    network.fit(
        x, np.where(x > 0, x, -x)[:, 0], loss="mean_squared_error", optimizer=pnn.Adam(0.05),
        epochs=200, progress=False,
    )  # fmt: skip
    # The slope learned has to be near -1; with the first one, 0.25, it is off by more than 1.
    np.testing.assert_allclose(network.outputs(x), np.abs(x), atol=1e-2)


# -- names, fields, gains ------------------------------------------------------------------


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_a_network_trains_with_each_by_name(name):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 3))
    y = np.sin(x[:, 0]) + 0.5 * x[:, 1]
    network = pnn.Network(pnn.mlp([8], outputs=1, activation=name))
    network.fit(
        x, y, loss="mean_squared_error", optimizer=pnn.Adam(0.02), epochs=60, progress=False
    )
    assert network.history["loss"][-1] < 0.5 * network.history["loss"][0]


WRONG = [
    (lambda: pnn.LeakyReLU(0.0), r"LeakyReLU takes a number above 0 as slope; got 0\.0"),
    (lambda: pnn.ELU(math.inf), "ELU takes a number above 0 as alpha; got inf"),
    (lambda: pnn.CELU("1"), "CELU takes a number above 0 as alpha; got '1'"),
    (lambda: pnn.Softplus(-1), "Softplus takes a number above 0 as beta; got -1"),
    (lambda: pnn.PReLU(None), "PReLU takes a number from 0 to below 1.0 as slope; got None"),
    (lambda: pnn.HardTanh(1, 1), "HardTanh takes two numbers, low below high; got 1 and 1"),
    (lambda: pnn.GELU("erf"), "GELU takes 'none' or 'tanh' as approximate; got 'erf'"),
    (lambda: pnn.GELU(True), "GELU takes 'none' or 'tanh' as approximate; got True"),
    (lambda: pnn.Maxout(1), "Maxout takes a number of pieces, 2 or more; got 1"),
    (lambda: pnn.Maxout(2.0), r"Maxout takes a number of pieces, 2 or more; got 2\.0"),
    (lambda: pnn.gain("sofplus"), r"activation is one of .*; got 'sofplus'\. .* 'softplus'\?$"),
    (lambda: pnn.gain("Tanh"), r"got 'Tanh'\. Did you mean 'tanh'\?$"),
    (lambda: pnn.gain(pnn.ReLU), r"Did you mean ReLU\(\)\?$"),
    (lambda: pnn.gain(pnn.Dense(3)), r"or an Activation object; got Dense\(.*\)\.$"),
]


@pytest.mark.parametrize(("made", "said"), WRONG)
def test_what_an_activation_does_not_take_is_said(made, said):
    with pytest.raises(pnn.NetworkError, match=said):
        made()


@pytest.mark.parametrize(
    ("layer", "features"), [(pnn.GLU(), 5), (pnn.SwiGLU(), 5), (pnn.Maxout(4), 6)]
)
def test_features_that_do_not_divide_are_refused(layer, features):
    network = pnn.Network([pnn.Dense(features), layer])
    with pytest.raises(pnn.NetworkError, match=rf"got {features} features.*no multiple of"):
        network.plan("mean_squared_error", features=3)


GAINS = {
    "identity": 1.0,
    "sigmoid": 1.0,
    "tanh": 5.0 / 3.0,
    "relu": math.sqrt(2.0),
    "leaky_relu": math.sqrt(2.0 / 1.0001),
    "selu": 0.75,
    "gelu": 1.0,
}


@pytest.mark.parametrize("name", GAINS)
def test_gain_by_name_and_of_an_object(name):
    assert pnn.gain(name) == pnn.gain(ACTIVATIONS[name]()) == pytest.approx(GAINS[name], rel=1e-15)


@pytest.mark.parametrize(
    ("name", "layer", "parameter"),
    [
        ("linear", pnn.Identity(), None),
        ("sigmoid", pnn.Sigmoid(), None),
        ("tanh", pnn.Tanh(), None),
        ("relu", pnn.ReLU(), None),
        ("leaky_relu", pnn.LeakyReLU(0.3), 0.3),
        ("leaky_relu", pnn.PReLU(), 0.25),
        ("selu", pnn.SELU(), None),
    ],
)
def test_gains_are_those_of_torch(name, layer, parameter):
    torch = pytest.importorskip("torch")
    assert pnn.gain(layer) == pytest.approx(torch.nn.init.calculate_gain(name, parameter))


def test_an_activation_of_ones_own_says_its_gain():
    class Bent(Activation):
        kernel = kernels.tanh
        gain = 1.25

    assert pnn.gain(Bent()) == 1.25
