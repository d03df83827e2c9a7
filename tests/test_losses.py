"""Losses against independent ones: value and gradient, weights of rows and classes, the door."""

import copy
import math
import pickle
from dataclasses import dataclass
from decimal import Decimal, localcontext

import array_api_compat.numpy as xp
import numpy as np
import pytest

import portable_nn as pnn
from portable_nn import DataError, Dense, Network, NetworkError, ShapeError, kernels, losses
from portable_nn.initializers import zeros
from portable_nn.kernels import pointwise_loss
from portable_nn.losses import LOSSES, Loss, as_loss
from portable_nn.parity import check_kernel, check_loss

RNG = np.random.default_rng(11)
N, K = 40, 3
X = RNG.normal(size=(N, 4))
Z = 1.5 * RNG.normal(size=(N, 2 * K))
WEIGHT = RNG.uniform(0.5, 2.0, N) * (np.arange(N) % 5 != 0)
NUMBERS = RNG.normal(size=(N, K))
COUNTS = RNG.poisson(2.0, (N, K)).astype(float)
SIZES = RNG.gamma(2.0, size=(N, K))
BITS = RNG.integers(0, 2, (N, K))
LABELS = RNG.integers(0, K, N)
QUIET = {"progress": False, "epochs": 3, "batch_size": None}


# -- aids ----------------------------------------------------------------------------------


def measured(loss, z, y, weight=None):
    """The loss of outputs z, and its gradient; class weights are those of these rows."""
    layer = Dense(z.shape[1], use_bias=False, weight=lambda draws, shape: np.eye(len(z.T)))
    training = Network([layer], dtype="float64").start(loss=loss, batch_size=None, backend="numpy")
    (batch,) = training.batches(z, y, 0, sample_weight=weight, shuffle=False)
    found, plan = training.trace(batch), training.plan
    (last,) = [c for c in plan.calls if plan.gradients["dense1.weight"] in c.outputs]
    return float(found["loss"]), found[last.inputs[1]]


def near(found, wanted):
    # Two float64 formulas of some hundred terms; a wrong factor is off by much more.
    np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-14)


def tweedie(power):
    """The textbook's, between 1 and 2."""

    def formula(z, y):
        mu, a, b = np.exp(z), 2.0 - power, 1.0 - power
        return 2.0 * (y**a / (a * b) - y * mu**b / b + mu**a / a)

    return formula


def poisson(z, y):
    return 2.0 * (np.where(y > 0, y * np.log(np.where(y > 0, y, 1.0)), 0.0) - y * z - y + np.exp(z))


def gaussian(z, y):
    m, variance = np.split(z, [y.shape[1]], axis=1)
    variance = np.exp(variance)
    return -np.log(np.exp(-((y - m) ** 2) / (2 * variance)) / np.sqrt(2 * math.pi * variance))


def hinge(z, y):
    return np.maximum(0.0, 1.0 - np.where(y > 0, z, -z))


def cross_entropy(z, y, smoothing=0.0):
    wanted = (1.0 - smoothing) * np.eye(z.shape[1])[y] + smoothing / z.shape[1]
    return -np.sum(wanted * np.log(np.exp(z) / np.exp(z).sum(1, keepdims=True)), 1, keepdims=True)


def binary(z, y, smoothing=0.0):
    t = (1.0 - smoothing) * y + smoothing / 2.0
    return -(t * np.log(1 / (1 + np.exp(-z))) + (1 - t) * np.log(1 / (1 + np.exp(z))))


FORMULAS = [
    (pnn.MeanAbsoluteError(), NUMBERS, lambda z, y: np.maximum(z - y, y - z)),
    (pnn.MeanSquaredError(), NUMBERS, lambda z, y: (z - y) ** 2),
    (pnn.HalfSquaredError(), NUMBERS, lambda z, y: ((z - y) ** 2).sum(1, keepdims=True) / 2.0),
    (
        pnn.Huber(0.5),
        NUMBERS,
        lambda z, y: np.where(
            np.abs(z - y) <= 0.5, (z - y) ** 2 / 2.0, 0.5 * (np.abs(z - y) - 0.25)
        ),
    ),
    (pnn.LogCosh(), NUMBERS, lambda z, y: np.log(np.cosh(z - y))),
    (pnn.Quantile(0.9), NUMBERS, lambda z, y: np.maximum(0.9 * (y - z), 0.1 * (z - y))),
    (pnn.PoissonDeviance(), COUNTS, poisson),
    (pnn.GammaDeviance(), SIZES, lambda z, y: 2.0 * (z - np.log(y) + y / np.exp(z) - 1.0)),
    (pnn.TweedieDeviance(1.3), COUNTS, tweedie(1.3)),
    (pnn.TweedieDeviance(1.0), COUNTS, poisson),
    (pnn.TweedieDeviance(3.0), SIZES, tweedie(3.0)),
    (pnn.Hinge(), BITS, hinge),
    (pnn.Hinge(squared=True), BITS, lambda z, y: hinge(z, y) ** 2),
    (pnn.GaussianNLL(), NUMBERS, gaussian),
    (pnn.BinaryCrossEntropy(), BITS, binary),
    (pnn.BinaryCrossEntropy(0.1), BITS, lambda z, y: binary(z, y, 0.1)),
    (pnn.CrossEntropy(), LABELS, cross_entropy),
    (pnn.CrossEntropy(0.1), LABELS, lambda z, y: cross_entropy(z, y, 0.1)),
]
"""A loss, its y, and the value for each row and output."""
every_loss = pytest.mark.parametrize(
    ("loss", "y", "formula"), FORMULAS, ids=[repr(loss) for loss, _, _ in FORMULAS]
)


def outputs_for(loss):
    return Z if isinstance(loss, pnn.GaussianNLL) else Z[:, :K]


# -- values and gradients ------------------------------------------------------------------


@every_loss
@pytest.mark.parametrize("weight", [None, WEIGHT], ids=["equal", "weighted"])
def test_a_loss_is_the_weighted_mean_of_its_formula(loss, y, formula, weight):
    z = outputs_for(loss)
    wanted = np.average(formula(z, y).mean(axis=1), weights=weight)
    near(measured(loss, z, y, weight)[0], wanted)


@every_loss
def test_one_number_a_row(loss, y, formula):
    z = outputs_for(loss)
    if y.ndim == 1:
        z, y = z[:, :2], np.minimum(y, 1)
        near(measured(loss, z, y)[0], formula(z, y).mean())
        return
    z = z[:, :: len(z.T) // 2][:, : len(z.T) // K]
    near(measured(loss, z, y[:, 0])[0], formula(z, y[:, :1]).mean())


def torch_formula(loss, y):
    """The same in torch, as a function of z: its own where it has one; the rows are means."""
    torch = pytest.importorskip("torch")
    f, t = torch.nn.functional, torch.asarray(y)
    plain = {"reduction": "none"}
    two = torch.where(t > 0, 1.0, -1.0)
    found = {
        "MeanAbsoluteError": lambda z: f.l1_loss(z, t, **plain),
        "MeanSquaredError": lambda z: f.mse_loss(z, t, **plain),
        "HalfSquaredError": lambda z: K * 0.5 * f.mse_loss(z, t, **plain),
        "Huber": lambda z: f.huber_loss(z, t, delta=loss.delta, **plain),
        "LogCosh": lambda z: torch.log(torch.cosh(z - t)),
        "Quantile": lambda z: torch.maximum(0.9 * (t - z), 0.1 * (z - t)),
        "PoissonDeviance": lambda z: (
            2 * (f.poisson_nll_loss(z, t, **plain) - t + torch.xlogy(t, t))
        ),
        "GammaDeviance": lambda z: 2 * (z - torch.log(t) + t * torch.exp(-z) - 1),
        "TweedieDeviance": lambda z: tweedie_in_torch(torch, z, t, loss.power),
        "Hinge": lambda z: torch.relu(1 - two * z) ** (2 if loss.squared else 1),
        "GaussianNLL": lambda z: f.gaussian_nll_loss(
            z[:, :K], t, torch.exp(z[:, K:]), full=True, **plain
        ),
        "BinaryCrossEntropy": lambda z: f.binary_cross_entropy_with_logits(
            z, (1 - loss.label_smoothing) * t.double() + loss.label_smoothing / 2, **plain
        ),
        "CrossEntropy": lambda z: f.cross_entropy(
            z, t, label_smoothing=loss.label_smoothing, **plain
        )[:, None],
    }
    return found[type(loss).__name__]


def tweedie_in_torch(torch, z, t, power):
    if power == 1.0:
        return 2 * (torch.xlogy(t, t) - t * z - t + torch.exp(z))
    a, b = 2 - power, 1 - power
    return 2 * (t**a / (a * b) - t * torch.exp(b * z) / b + torch.exp(a * z) / a)


@every_loss
def test_values_and_gradients_are_those_of_torch(loss, y, formula):
    torch = pytest.importorskip("torch")
    z = torch.tensor(outputs_for(loss), requires_grad=True)
    rows = torch_formula(loss, y)(z).mean(axis=1)
    weight = torch.asarray(WEIGHT)
    value = (rows * weight).sum() / weight.sum()
    value.backward()
    found = measured(loss, outputs_for(loss), y, WEIGHT)
    near(found[0], value.item())
    near(found[1], z.grad.numpy())


SKLEARN = {
    pnn.MeanAbsoluteError(): ("mean_absolute_error", {}),
    pnn.MeanSquaredError(): ("mean_squared_error", {}),
    pnn.Quantile(0.2): ("mean_pinball_loss", {"alpha": 0.2}),
    pnn.PoissonDeviance(): ("mean_poisson_deviance", {}),
    pnn.GammaDeviance(): ("mean_gamma_deviance", {}),
    pnn.TweedieDeviance(): ("mean_tweedie_deviance", {"power": 1.5}),
    pnn.TweedieDeviance(2.5): ("mean_tweedie_deviance", {"power": 2.5}),
    pnn.Hinge(): ("hinge_loss", {}),
    pnn.BinaryCrossEntropy(): ("log_loss", {}),
    pnn.CrossEntropy(): ("log_loss", {}),
}


@pytest.mark.parametrize("loss", SKLEARN, ids=repr)
def test_the_loss_that_is_printed_is_the_metric_of_scikit_learn(loss):
    metrics = pytest.importorskip("sklearn.metrics")
    name, options = SKLEARN[loss]
    kinds = {type(other): y for other, y, _ in FORMULAS}
    y = SIZES[:, 0] if loss.targets is losses.Positive else kinds[type(loss)].reshape(N, -1)[:, 0]
    network = Network([Dense(K if y is LABELS or loss.link is pnn.Softmax else 1)], "float64")
    network.fit(X, y, loss=loss, validation=(X, y), **QUIET)
    predicted = network.outputs(X)
    predicted = predicted if predicted.shape[1] > 1 else predicted[:, 0]
    wanted = getattr(metrics, name)(y, predicted, **options)
    near(network.history["validation_loss"][-1], wanted)


# -- where textbooks fail ------------------------------------------------------------------

BY = {"weight": np.ones((1, 1)), "scale": np.float64(1.0)}


@pytest.mark.parametrize("e", [1e-9, 1e-3, 0.5, 0.999999, 1.0, 1.000001, 30.0, 1e5, 1e300])
def test_log_cosh_is_accurate_at_any_size(e):
    z = np.full((1, 1), e)
    value, slope = kernels.log_cosh.meaning(np, z, np.zeros((1, 1)), **BY)
    series = e * e / 2.0 * (1.0 - e * e / 6.0)  # the next term is e^6 / 45
    wanted = series if e < 1e-2 else e + math.log1p(math.exp(-2.0 * e)) - math.log(2.0)
    assert value == pytest.approx(wanted, rel=1e-13, abs=0.0)
    assert slope[0, 0] == pytest.approx(math.tanh(e), rel=1e-15, abs=0.0)


@pytest.mark.parametrize("power", [1.0, 1.001, 1.5, 1.999, 2.0, 3.0])
def test_a_deviance_near_0_is_none_of_rounding(power):
    y, far = np.float64(1000.0), np.float64(1e-6)
    z = np.log(y) + far
    distance = z - np.log(y)  # what is left of it
    (value, _) = kernels.tweedie_deviance.meaning(
        np, np.full((1, 1), z), np.full((1, 1), y), **BY, power=power
    )
    # d = y^(2-p) distance^2 (1 + (3 - 2p) distance / 3 ...)
    assert value == pytest.approx(y ** (2.0 - power) * distance**2, rel=1e-5, abs=0.0)


@pytest.mark.parametrize("z", [-700.0, -80.0, 0.0, 80.0])
def test_a_count_of_0_has_a_deviance_everywhere(z):
    for power in (1.0, 1.2, 1.5, 1.9):
        value, slope = kernels.tweedie_deviance.meaning(
            np, np.full((1, 1), z), np.zeros((1, 1)), **BY, power=power
        )
        assert value == pytest.approx(
            2.0 * math.exp((2.0 - power) * z) / (2.0 - power), rel=1e-12, abs=0.0
        )
        assert slope == pytest.approx(2.0 * math.exp((2.0 - power) * z), rel=1e-12, abs=0.0)


def test_a_tiny_amount_under_a_large_mean_does_not_overflow():
    one = np.ones((1, 1), np.float32)
    with np.errstate(over="ignore"):  # of what is not chosen
        value, slope = kernels.tweedie_deviance.meaning(
            np, 60.0 * one, np.float32(1e-30) * one, one, np.float32(1.0), power=1.0
        )
    assert [value, slope[0, 0]] == pytest.approx([2.0 * math.exp(60.0)] * 2, rel=1e-6)


OPTIONS = [
    ("huber", NUMBERS, {"delta": 0.3}),
    ("quantile", NUMBERS, {"quantile": 0.95}),
    ("hinge", BITS.astype(float), {"squared": True}),
    *[("tweedie_deviance", COUNTS, {"power": power}) for power in (1.0, 1.1, 1.9)],
    *[("tweedie_deviance", SIZES, {"power": power}) for power in (2.0, 3.0)],
    ("binary_cross_entropy", BITS.astype(float), {"label_smoothing": 0.2}),
    ("cross_entropy", LABELS[:, None], {"label_smoothing": 0.2}),
]


@pytest.mark.parametrize("backend", ["numpy", "torch", "strict-device1"], indirect=True)
@pytest.mark.parametrize(("kernel", "y", "options"), OPTIONS, ids=repr)
def test_kernels_are_right_with_other_options(kernel, y, options, backend):
    weight = np.maximum(WEIGHT, 0.1)[:, None]
    inputs = (Z[:, :K], y, weight, 1.0 / weight.sum())
    reports = check_kernel(getattr(kernels, kernel), *inputs, backend=backend, **options)
    assert reports.ok, reports.verdict


# -- a loss of one's own -------------------------------------------------------------------


@pointwise_loss
def cauchy(xp, z, targets, width=1.0):
    error = (z - targets) / width
    return xp.log1p(error * error), 2.0 * error / (1.0 + error * error) / width


@dataclass(frozen=True)
class Cauchy(Loss):
    """A value and a slope."""

    kernel = cauchy
    width: float = 1.0


class Fourth(Loss):
    """``mean_k (a_k - t_k)^4``, of calls of kernels whose gradients are known."""

    def forward(self, builder, z):
        error = builder.call(kernels.subtract, z, self.expected(builder, z))
        square = builder.call(kernels.multiply, error, error)
        return self.total(builder, builder.call(kernels.multiply, square, square))


OWN = [
    (Cauchy(2.0), lambda e: np.log1p((e / 2.0) ** 2), lambda e: 2.0 * e / (4.0 + e * e)),
    (Fourth(), lambda e: e**4, lambda e: 4.0 * e**3),
]


@pytest.mark.parametrize(("loss", "value", "slope"), OWN, ids=["formula", "calls"])
def test_a_loss_of_ones_own(loss, value, slope, backend):
    error = Z[:, :K] - NUMBERS
    wanted = np.average(value(error).mean(axis=1), weights=WEIGHT)
    found = measured(loss, Z[:, :K], NUMBERS, WEIGHT)
    near(found[0], wanted)
    near(found[1], slope(error) / K * WEIGHT[:, None] / WEIGHT.sum())
    network = Network([Dense(K)], "float64")
    network.fit(X, NUMBERS, loss=loss, backend=backend, optimizer=pnn.Adam(0.05), **QUIET)
    assert network.history["loss"][-1] < network.history["loss"][0]


@pytest.mark.parametrize("loss", [Cauchy(0.5), Fourth()], ids=["formula", "calls"])
def test_a_loss_of_ones_own_is_checked(loss):
    reports = check_loss(loss, backend="numpy")
    assert reports.ok, reports.verdict
    swept = {one.kernel for one in reports[0].worst if one.check.startswith("edge")}
    assert swept >= ({"cauchy"} if isinstance(loss, Cauchy) else {"subtract", "weighted_mean"})


def test_a_slope_that_is_wrong_is_found():
    @pointwise_loss()
    def steep(xp, z, targets):
        error = z - targets
        return error * error, error

    class Steep(Loss):
        kernel = steep

    reports = check_loss(Steep(), backend="numpy", dtype="float64")
    assert any(one.check == "gradient" and "half of that" in one.text for one in reports[0].faults)


# -- links and kinds of targets ------------------------------------------------------------


def test_the_link_may_be_the_last_layer_or_not():
    found = []
    for last in ([], [pnn.Exponential()]):
        network = Network([Dense(1), *last], "float64").fit(
            X, COUNTS[:, 0], loss="poisson_deviance", **QUIET
        )
        found.append(network.predict(X))
        assert (found[-1] > 0.0).all()
    np.testing.assert_array_equal(*found)


@pytest.mark.parametrize(
    ("loss", "y"),
    [("poisson_deviance", COUNTS), ("gamma_deviance", SIZES), ("tweedie_deviance", COUNTS)],
)
def test_amounts_keep_their_units_when_x_is_standardized(loss, y):
    x = 100.0 + 30.0 * X
    layers, options = [Dense(K)], {"loss": loss, "optimizer": pnn.SGD(0.01), **QUIET}
    network = Network(layers, "float64").fit(x, y, standardize=True, **options)
    by_hand = Network(layers, "float64").fit((x - x.mean(0)) / x.std(0), y, **options)
    assert network.history["loss"] == pytest.approx(by_hand.history["loss"], rel=1e-12)
    near(network.predict(x), by_hand.predict((x - x.mean(0)) / x.std(0)))
    assert network.score(x, y) < 1.0


BAD = [
    ("poisson_deviance", 1, COUNTS[:, 0] - 3.0, DataError, r"that are 0 or more as y; y\[\d+\] is"),
    ("tweedie_deviance", K, np.where(BITS, -0.5, 1.0), DataError, r"y\[\d+, \d\] is -0.5"),
    ("gamma_deviance", 1, COUNTS[:, 0], DataError, r"above 0 as y; y\[\d+\] is 0.0\. For any num"),
    (pnn.TweedieDeviance(2.0), 1, COUNTS[:, 0], DataError, "above 0"),
    ("poisson_deviance", 1, np.array(["a"] * N), DataError, "numbers as y; y has dtype <U1"),
    ("gaussian_nll", 3, NUMBERS[:, 0], ShapeError, "2 outputs for .*; this one has 3"),
    ("gaussian_nll", 4, NUMBERS, ShapeError, r"4 outputs, so y must be \(n, 2\); got \(40, 3\)"),
    ("hinge", 1, LABELS, DataError, "two classes; y has 3"),
    ("hinge", 1, NUMBERS[:, 0], DataError, "labels are integers or strings"),
    ("hinge", 3, NUMBERS, DataError, "labels are integers or strings"),
]


@pytest.mark.parametrize(("loss", "outputs", "y", "kind", "words"), BAD)
def test_bad_targets_are_refused_alike_everywhere(loss, outputs, y, kind, words, backend):
    with pytest.raises(kind, match=words):
        Network([Dense(outputs)]).fit(X, y, loss=loss, backend=backend, **QUIET)
    assert len(words) < 100


def test_bad_targets_are_refused_wherever_they_come():
    network = Network([Dense(1)]).fit(X, SIZES[:, 0], loss="gamma_deviance", **QUIET)
    with pytest.raises(DataError, match="above 0"):
        network.score(X, -SIZES[:, 0])
    with pytest.raises(DataError, match=r"above 0 as y; validation y\[0\] is -"):
        network.fit(X, SIZES[:, 0], loss="gamma_deviance", validation=(X, -SIZES[:, 0]), **QUIET)


def test_numbers_after_amounts_may_be_negative():
    network = Network([Dense(1)]).fit(X, SIZES[:, 0], loss="gamma_deviance", **QUIET)
    network.fit(X, NUMBERS[:, 0], loss="mean_squared_error", warm_start=True, **QUIET)
    assert type(network._known().targets) is losses.Numbers
    with pytest.raises(DataError, match="above 0"):
        network.fit(X, NUMBERS[:, 0], loss="gamma_deviance", warm_start=True, **QUIET)


@pytest.mark.parametrize("names", [np.array(["no", "yes"]), np.array([-1, 1])], ids=["text", "1"])
def test_hinge_decides_by_the_sign(names, backend):
    y = names[(X[:, 0] + 0.1 * X[:, 1] > 0.0).astype(int)]
    options = {"loss": "hinge", "optimizer": pnn.Adam(0.1), "progress": False, "epochs": 60}
    network = Network([Dense(1)]).fit(X, y, backend=backend, **options)
    margins = network.outputs(X)[:, 0]
    np.testing.assert_array_equal(network.predict(X), names[(margins > 0.0).astype(int)])
    assert network.score(X, y) > 0.9
    assert network.classes.tolist() == names.tolist()
    with pytest.raises(DataError, match="margins, which are no probabilities"):
        network.predict_proba(X)
    network.fit(X, y, loss="binary_cross_entropy", warm_start=True, **QUIET)
    assert network.predict_proba(X).shape == (N, 2)


def test_error_bars_are_learned_and_means_predicted():
    x = np.linspace(-1.0, 1.0, 2000)[:, None]
    y = (
        50.0
        + 20.0 * x[:, 0]
        + np.where(x[:, 0] < 0.0, 1.0, 6.0) * np.random.default_rng(0).normal(size=2000)
    )
    network = Network([Dense(16), pnn.Tanh(), Dense(2)], "float64")
    options = {"optimizer": pnn.Adam(0.02), "epochs": 60, "progress": False, "standardize": True}
    network.fit(x, y, loss="gaussian_nll", **options)
    predicted, outputs = network.predict(x), network.outputs(x)
    assert (predicted.shape, outputs.shape) == ((2000,), (2000, 2))
    near(predicted, outputs[:, 0] * y.std() + y.mean())
    # A thousand rows tell a deviation to 2 percent, the network bends between the halves.
    deviations = np.exp(outputs[:, 1] / 2.0) * y.std()
    assert deviations[:800].mean() == pytest.approx(1.0, rel=0.25)
    assert deviations[1200:].mean() == pytest.approx(6.0, rel=0.25)
    assert np.abs(predicted - (50.0 + 20.0 * x[:, 0])).mean() < 0.7
    assert network.score(x, y) > 0.8


BAD_OPTIONS = [
    (lambda: pnn.Huber(0.0), "Huber takes a number above 0 as delta; got 0.0"),
    (lambda: pnn.Quantile(1.0), "Quantile takes a number between 0 and 1.0 as quantile"),
    (lambda: pnn.TweedieDeviance(0.5), "1 or more, as power; got 0.5"),
    (lambda: pnn.TweedieDeviance(math.nan), "1 or more, as power; got nan"),
    (lambda: pnn.Hinge(1), "True or False as squared; got 1"),
    (lambda: pnn.CrossEntropy(1.0), "from 0 to below 1.0 as label_smoothing; got 1.0"),
    (lambda: pnn.BinaryCrossEntropy("a"), "from 0 to below 1.0 as label_smoothing; got 'a'"),
    (lambda: pnn.CrossEntropy(class_weight="even"), "or 'balanced'; got 'even'"),
    (lambda: pnn.CrossEntropy(class_weight={}), "or 'balanced'; got {}"),
    (lambda: pnn.CrossEntropy(class_weight=[1.0, 2.0]), r"for each label, .*got \[1.0, 2.0\]"),
    (lambda: pnn.BinaryCrossEntropy(class_weight={0: -1.0}), r"0 or more, .*; got {0: -1.0}"),
    (lambda: pnn.CrossEntropy(class_weight={0: math.inf}), "0 or more, for each label"),
]


@pytest.mark.parametrize(("make", "words"), BAD_OPTIONS, ids=[words for _, words in BAD_OPTIONS])
def test_bad_options(make, words):
    with pytest.raises(NetworkError, match=words):
        make()


# -- weights of classes --------------------------------------------------------------------

NAMES = np.array(["ant", "bee", "cat"])[LABELS]
BY_NAME = {"cat": 0.5, "ant": 2.0, "bee": 1.0}


def by_row(weights):
    return np.array([weights[label] for label in NAMES.tolist()])


def balanced(y):
    classes, counts = np.unique(y, return_counts=True)
    return dict(zip(classes.tolist(), len(y) / (len(classes) * counts), strict=True))


@pytest.mark.parametrize("sample_weight", [None, WEIGHT], ids=["equal", "weighted"])
@pytest.mark.parametrize("asked", [BY_NAME, "balanced"], ids=["mapping", "balanced"])
def test_class_weights_multiply_those_of_rows(asked, sample_weight):
    z = Z[:, :K]
    together = by_row(balanced(NAMES) if asked == "balanced" else asked)
    together = together * (1.0 if sample_weight is None else sample_weight)
    found = measured(pnn.CrossEntropy(0.1, asked), z, NAMES, sample_weight)
    wanted = measured(pnn.CrossEntropy(0.1), z, NAMES, together)
    near(found[0], wanted[0])
    near(found[1], wanted[1])
    near(found[0], np.average(cross_entropy(z, LABELS, 0.1)[:, 0], weights=together))


def test_class_weights_are_those_of_torch_and_scikit_learn():
    torch = pytest.importorskip("torch")
    utils = pytest.importorskip("sklearn.utils.class_weight")
    z = torch.tensor(Z[:, :K], requires_grad=True)
    weight = utils.compute_class_weight("balanced", classes=np.unique(NAMES), y=NAMES)
    loss = torch.nn.CrossEntropyLoss(weight=torch.asarray(weight))
    value = loss(z, torch.asarray(LABELS))
    value.backward()
    found = measured(pnn.CrossEntropy(class_weight="balanced"), Z[:, :K], NAMES)
    near(found[0], value.item())
    near(found[1], z.grad.numpy())


def test_class_weights_of_two_classes():
    y = np.where(BITS[:, 0] == 1, "yes", "no")
    z, by_hand = Z[:, :1], np.where(BITS[:, 0] == 1, 3.0, 0.25)
    found = measured(pnn.BinaryCrossEntropy(class_weight={"yes": 3.0, "no": 0.25}), z, y)
    near(found[0], np.average(binary(z, BITS[:, :1])[:, 0], weights=by_hand))
    near(found[1], measured(pnn.BinaryCrossEntropy(), z, y, by_hand)[1])


@pytest.mark.parametrize("labels", [np.array([0, 1, 2]), np.array([5, -3, 70]), [b"a", b"b", b"c"]])
def test_class_weights_of_labels_of_any_kind(labels):
    y = np.asarray(labels)[LABELS]
    weights = dict(zip(np.asarray(labels).tolist(), (2.0, 1.0, 0.5), strict=True))
    found = measured(pnn.CrossEntropy(class_weight=weights), Z[:, :K], y)
    rows = np.array([2.0, 1.0, 0.5])[LABELS]
    near(found[0], measured(pnn.CrossEntropy(), Z[:, :K], y, rows)[0])


def test_class_weights_count_in_validation_and_on_surfaces():
    network = Network([Dense(K)], "float64")
    rows = slice(0, 25)
    network.fit(
        X, NAMES, loss=pnn.CrossEntropy(class_weight="balanced"),
        validation=(X[rows], NAMES[rows]), **QUIET,
    )  # fmt: skip
    p = network.predict_proba(X[rows])[np.arange(25), LABELS[rows]]
    wanted = np.average(-np.log(p), weights=by_row(balanced(NAMES))[rows])
    near(network.history["validation_loss"][-1], wanted)
    surface = pnn.loss_surface(network, X[rows], NAMES[rows], points=3)
    near(surface.loss[1, 1], wanted)


def weights_of(network):
    return network._known().class_weights


def test_class_weights_stay_with_a_network_that_goes_on():
    loss, few = pnn.CrossEntropy(class_weight="balanced"), slice(0, 12)
    wanted = list(balanced(NAMES).values())
    network = Network([Dense(K)]).fit(X, NAMES, loss=loss, **QUIET)
    again = pnn.CrossEntropy(class_weight="balanced")
    network.fit(X[few], NAMES[few], loss=again, warm_start=True, **QUIET)
    near(weights_of(network), wanted)
    network.fit(X, NAMES, loss=pnn.CrossEntropy(class_weight=BY_NAME), warm_start=True, **QUIET)
    near(weights_of(network), [2.0, 1.0, 0.5])
    network.fit(X, NAMES, loss="cross_entropy", warm_start=True, **QUIET)
    assert weights_of(network) is None
    network.fit(X[few], NAMES[few], loss=loss, warm_start=True, **QUIET)
    near(weights_of(network), list(balanced(NAMES[few]).values()))


@pytest.mark.parametrize("asked", [BY_NAME, "balanced"], ids=["mapping", "balanced"])
def test_class_weights_are_saved(asked, tmp_path):
    path, few = tmp_path / "network.safetensors", slice(0, 12)
    network = Network([Dense(K)]).fit(X, NAMES, loss=pnn.CrossEntropy(0.1, asked), **QUIET)
    network.save(path)
    loaded = pnn.load(path)
    assert (loaded._known().loss.class_weight, loaded._known().loss.label_smoothing) == (asked, 0.1)
    np.testing.assert_array_equal(weights_of(loaded), weights_of(network))
    for one in (network, loaded):
        again = one._known().loss
        one.fit(X[few], NAMES[few], loss=again, warm_start=True, **QUIET)
    np.testing.assert_array_equal(loaded.predict_proba(X), network.predict_proba(X))


def saved_and_loaded(network, tmp_path):
    network.save(tmp_path / "network.safetensors")
    return pnn.load(tmp_path / "network.safetensors")


COPIES = {
    "deepcopy": lambda network, _: copy.deepcopy(network),
    "load": saved_and_loaded,
    "pickle": lambda network, _: pickle.loads(pickle.dumps(network)),
}


@pytest.mark.parametrize("copied", COPIES.values(), ids=list(COPIES))
def test_class_weights_count_in_a_copy(copied, tmp_path):
    """Those of the first rows, where its loss is measured and where it goes on with others."""
    loss, few, quick = (
        pnn.CrossEntropy(class_weight="balanced"),
        slice(0, 12),
        QUIET | {"epochs": 1},
    )
    network = Network([Dense(K)], "float64").fit(X, NAMES, loss=loss, **QUIET)
    found = copied(network, tmp_path)
    p = network.predict_proba(X[few])[np.arange(12), LABELS[few]]
    wanted = np.average(-np.log(p), weights=by_row(balanced(NAMES))[few])
    near(pnn.loss_surface(found, X[few], NAMES[few], points=3).loss[1, 1], wanted)
    found.fit(
        X[few], NAMES[few], loss=found._known().loss, warm_start=True,
        validation=(X[few], NAMES[few]), **quick,
    )  # fmt: skip
    near(found.history["loss"][0], wanted)
    p = found.predict_proba(X[few])[np.arange(12), LABELS[few]]
    wanted = np.average(-np.log(p), weights=by_row(balanced(NAMES))[few])
    near(found.history["validation_loss"][0], wanted)


def test_the_mapping_is_that_of_the_time_it_was_given():
    given = dict(BY_NAME)
    loss = pnn.CrossEntropy(class_weight=given)
    given["ant"] = -1.0
    assert loss.class_weight == BY_NAME


ONE_LESS = {"ant": 1.0, "bee": 1.0}
BAD_WEIGHTS = [
    ("cross_entropy", K, NAMES, ONE_LESS, "class_weight has no number for the class 'cat'"),
    (
        "cross_entropy",
        K,
        NAMES,
        {**BY_NAME, "dog": 1.0},
        "the label 'dog', which is not among the 3",
    ),
    ("cross_entropy", K, LABELS, {"0": 1.0}, "the label '0', which is not among the 3 classes"),
    ("cross_entropy", K, np.minimum(LABELS, 1), "balanced", "y has none of 2. Give a number"),
    ("cross_entropy", K, NAMES, dict.fromkeys(BY_NAME, 0.0), "class_weight, for y, is all zeros"),
    ("binary_cross_entropy", K, BITS, "balanced", r"is for labels \(n,\); y is \(40, 3\)"),
    ("binary_cross_entropy", 1, BITS[:, 0], {1: 2.0}, "has no number for the class 0"),
]


@pytest.mark.parametrize(("name", "outputs", "y", "asked", "words"), BAD_WEIGHTS)
def test_bad_class_weights(name, outputs, y, asked, words):
    loss = LOSSES[name](class_weight=asked)
    with pytest.raises(DataError, match=words):
        Network([Dense(outputs)]).fit(X, y, loss=loss, **QUIET)


def test_rows_of_a_class_that_weighs_nothing_are_no_validation():
    loss = pnn.CrossEntropy(class_weight={"ant": 0.0, "bee": 1.0, "cat": 1.0})
    ants = NAMES == "ant"
    with pytest.raises(DataError, match="class_weight, for validation y, is all zeros"):
        Network([Dense(K)]).fit(X, NAMES, loss=loss, validation=(X[ants], NAMES[ants]), **QUIET)


def test_names_stand_for_losses_with_their_defaults():
    for name, kind in LOSSES.items():
        assert type(as_loss(name)) is kind


# -- error bars ------------------------------------------------------------------------------


@pytest.mark.parametrize("standardize", [False, True])
@pytest.mark.parametrize("shape", [(400,), (400, 2)])
def test_error_bars_are_in_the_units_of_y(standardize, shape):
    random = np.random.default_rng(4)
    x, noise = random.normal(size=(400, 2)), random.normal(size=shape)
    y = 100.0 + 3.0 * noise
    outputs = 2 * noise.reshape(400, -1).shape[1]
    flat = {"weight": zeros, "bias": zeros}
    network = pnn.Network([pnn.Dense(outputs, **flat)], dtype="float64")
    options = {"loss": "gaussian_nll", "standardize": standardize, "progress": False}
    network.fit(x, y, optimizer=pnn.SGD(1e-15), epochs=1, **options)
    # Outputs are still 0: mean 0 and variance 1, of what the loss sees.
    wanted = y.std(axis=0) if standardize else np.ones(shape[1:])
    assert network.predict_std(x).shape == shape
    np.testing.assert_allclose(network.predict_std(x), np.broadcast_to(wanted, shape), rtol=1e-6)


@pytest.mark.parametrize("loss", ["huber", "binary_cross_entropy"])
def test_other_losses_have_no_error_bars(loss):
    x = np.arange(8.0)[:, np.newaxis]
    y = (x[:, 0] > 3).astype(int)
    network = pnn.Network([pnn.Dense(1)]).fit(x, y, loss=loss, epochs=1, progress=False)
    with pytest.raises(pnn.DataError, match=r"numbers without error bars|which have no deviation"):
        network.predict_std(x)


@pytest.mark.parametrize(
    "gives",
    [
        lambda xp, z, targets: z - targets,
        lambda xp, z, targets: (z - targets, z, z),
        lambda xp, z, targets: (xp.sum(z - targets), z),
    ],
)
def test_a_formula_that_gives_something_else_is_named(gives):
    gives.__name__ = "mine"

    class Mine(Loss):
        kernel = pointwise_loss(gives)

    x, y = np.eye(3), np.arange(3.0)
    with pytest.raises(pnn.PortableNNError, match=r"mine is to give \(value, slope\)"):
        pnn.Network([pnn.Dense(1)]).fit(x, y, loss=Mine(), progress=False)


@pytest.mark.parametrize("last", [pnn.Sigmoid(), pnn.Softmax(), pnn.Exponential()])
def test_hinge_takes_no_outputs_of_one_sign(last):
    x, y = np.eye(4), np.array([0, 1, 0, 1])
    with pytest.raises(pnn.NetworkError, match="both signs; this network ends in"):
        pnn.Network([pnn.Dense(1), last]).fit(x, y, loss="hinge", progress=False)
    pnn.Network([pnn.Dense(1), pnn.Tanh()]).fit(x, y, loss="hinge", epochs=1, progress=False)


def exact_deviance(y, z, p):
    """With 60 digits, from the float64 values of y, z and p."""
    with localcontext() as context:
        context.prec = 60
        y, z, p = Decimal(y), Decimal(z), Decimal(p)
        mu = z.exp()
        if p == 1:
            return 2 * ((y * (y / mu).ln() if y else 0) - y + mu)
        if p == 2:
            return 2 * ((mu / y).ln() + y / mu - 1)
        first = y ** (2 - p) / ((1 - p) * (2 - p)) if y else 0
        return 2 * (first - y * mu ** (1 - p) / (1 - p) + mu ** (2 - p) / (2 - p))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("power", [1.0, 1.1, 1.5, 1.9, 1.99, 1.9999, 2.0, 2.5, 3.0])
def test_deviance_keeps_its_digits_for_every_power(dtype, power):
    z = np.array([-5.0, -1.0, 0.01, 0.5, 0.99, 1.01, 1.5, 2.0, 4.0, 8.0, 20.0], dtype)
    for y in (0.0, 1e-3, 1.0, 50.0):
        for one in z if y or power < 2.0 else ():
            inputs = [np.full((1, 1), v, dtype) for v in (one, y, 1.0)]
            found, _ = kernels.tweedie_deviance.meaning(xp, *inputs, 1.0, power=power)
            wanted = exact_deviance(float(inputs[1][0, 0]), float(one), power)
            # exp and powers of arguments near 20, and a difference near mu = y.
            near = 64 * float(np.finfo(dtype).eps) * max(1.0, y)
            assert float(found) == pytest.approx(float(wanted), rel=near, abs=near)
