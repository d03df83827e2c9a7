"""The loss over two parameters: against formulas, on every way of running a plan."""

import numpy as np
import pytest
from ways import assert_lives

import portable_nn as pnn
from portable_nn import kernels, losses, session, surfaces
from portable_nn.activations import Activation
from portable_nn.random import Draws
from portable_nn.runner import trace

RNG = np.random.default_rng(0)
X = RNG.normal(size=(30, 3))
NUMBERS = RNG.normal(size=(30, 2))
LABELS = np.array(["one", "two", "three"])[RNG.integers(0, 3, 30)]


def logistic(z):
    return 1.0 / (1.0 + np.exp(-z))


def fitted(layers, x, y, dtype="float64", **options):
    network = pnn.Network(layers, dtype=dtype)
    return network.fit(x, y, epochs=2, progress=False, **options)


def forward(x, parameters):
    """A tanh layer and a linear one."""
    hidden = np.tanh(x @ parameters["dense1.weight"] + parameters["dense1.bias"])
    return hidden @ parameters["dense2.weight"] + parameters["dense2.bias"]


def squared(x, y, parameters, weight=None):
    rows = ((forward(x, parameters) - y) ** 2).mean(axis=1)
    return np.average(rows, weights=weight)


@pytest.fixture(scope="module")
def network():
    return fitted(pnn.mlp([4], outputs=2, activation="tanh"), X, NUMBERS, loss="mean_squared_error")


def test_the_surface_of_two_logistic_units_in_a_row(backend):
    """E(w1, w2) = (g(g(w1) w2) - 1)^2 of the tutorials, from -10 to 10."""
    layer = pnn.Dense(1, use_bias=False)
    layers = [layer, pnn.Sigmoid(), layer, pnn.Sigmoid()]
    network = fitted(layers, [[1.0]], [1.0], loss="mean_squared_error", backend=backend)
    ends = {"range_a": (-10, 10), "range_b": (-10, 10), "points": 21}
    surface = pnn.loss_surface(network, [[1.0]], [1.0], "dense1.weight", "dense2.weight", **ends)
    assert surface.a.tolist() == surface.b.tolist() == list(range(-10, 11))
    w1, w2 = np.meshgrid(surface.a, surface.b)
    np.testing.assert_allclose(surface.loss, (logistic(logistic(w1) * w2) - 1) ** 2, rtol=1e-12)
    assert surface.names == ("dense1.weight", "dense2.weight")
    w1, w2 = (network.parameters[name].item() for name in surface.names)
    wanted = (w1, w2, (logistic(logistic(w1) * w2) - 1) ** 2)
    assert surface.here == pytest.approx(wanted, rel=1e-12)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("dense1.weight[2, 3]", "dense2.bias[1]"),
        ("dense1.bias[0]", "dense1.bias[3]"),  # two numbers of one parameter
        ("dense2.weight[ 0,1 ]", "dense1.weight[0, 0]"),
    ],
)
@pytest.mark.parametrize("memory", [1, 2000, 1 << 20])
def test_every_point_is_the_loss_of_a_network_with_these_parameters(
    a, b, memory, network, monkeypatch
):
    monkeypatch.setattr(surfaces, "MEMORY", memory)  # how many networks at once changes nothing
    before = network.parameters
    weight = RNG.uniform(size=30)
    surface = pnn.loss_surface(network, X, NUMBERS, a, b, points=5, sample_weight=weight)
    assert surface.loss.shape == (5, 5)
    for row, value_b in enumerate(surface.b):
        for column, value_a in enumerate(surface.a):
            changed = {name: values.copy() for name, values in before.items()}
            for title, value in zip(surface.names, (value_a, value_b), strict=True):
                name, _, index = title.removesuffix("]").partition("[")
                changed[name][tuple(map(int, index.split(", ")))] = value
            wanted = squared(X, NUMBERS, changed, weight)
            assert surface.loss[row, column] == pytest.approx(wanted, rel=1e-12)
    for name, values in network.parameters.items():
        assert np.array_equal(values, before[name])


def test_ranges_are_around_where_the_network_is(network):
    surface = pnn.loss_surface(network, X, NUMBERS, "dense1.bias[1]", "dense2.bias[0]", points=3)
    a, b, loss = surface.here
    assert a == network.parameters["dense1.bias"][1]
    assert surface.a == pytest.approx([a - 5, a, a + 5])
    assert surface.b == pytest.approx([b - 5, b, b + 5])
    assert surface.loss[1, 1] == pytest.approx(loss, rel=1e-12)
    assert loss == pytest.approx(squared(X, NUMBERS, network.parameters), rel=1e-12)


def test_one_parameter_alone(network):
    surface = pnn.loss_surface(network, X, NUMBERS, "dense2.bias[0]", range_a=(0, 1), points=2)
    assert surface.b.tolist() == [0.0]
    assert surface.names == ("dense2.bias[0]", "")
    changed = network.parameters
    changed["dense2.bias"][0] = 1.0
    assert surface.loss.shape == (1, 2)
    assert surface.loss[0, 1] == pytest.approx(squared(X, NUMBERS, changed), rel=1e-12)


def test_random_directions(backend):
    layers = pnn.mlp([4], outputs=2, activation="tanh")
    options = {"loss": "mean_squared_error", "backend": backend}
    network = fitted(layers, X, NUMBERS, **options)
    surface = pnn.loss_surface(network, X, NUMBERS, points=3)
    assert surface.names == ("direction 1", "direction 2")
    assert surface.a.tolist() == surface.b.tolist() == [-1.0, 0.0, 1.0]
    here = squared(X, NUMBERS, network.parameters)
    assert surface.here == (0.0, 0.0, pytest.approx(here, rel=1e-12))
    assert surface.loss[1, 1] == pytest.approx(here, rel=1e-12)
    others = np.delete(surface.loss.ravel(), 4)
    assert len(set(others)) == 8
    assert abs(others - here).min() > 1e-6
    twin = fitted(layers, X, NUMBERS, **(options | {"backend": "numpy"}))
    on_numpy = pnn.loss_surface(twin, X, NUMBERS, points=3).loss
    np.testing.assert_allclose(surface.loss, on_numpy, rtol=1e-10)
    moved = pnn.loss_surface(network, X, NUMBERS, points=3, seed=1).loss
    assert abs(moved - surface.loss).max() > 1e-6


def test_a_direction_has_for_each_unit_the_norm_of_its_weights(network):
    values = network.parameters
    grid = surfaces._Grid(network.plan(mode="evaluate"), values, 2)
    for number in (0, 1):
        found = grid.direction(number, None, seed=5).direction
        assert list(found) == list(values)
        for stream, (name, value) in enumerate(values.items()):
            draw = Draws(5, "direction", stream, number).normal(value.shape)
            wanted = draw * np.linalg.norm(value, axis=0) / np.linalg.norm(draw, axis=0)
            np.testing.assert_allclose(found[name], wanted, rtol=1e-12)


def test_parameters_that_are_zero_stay_where_they_are():
    layers = [pnn.Dense(2, weight=lambda draws, shape: np.zeros(shape))]
    network = pnn.Network(layers, dtype="float64")
    network.start(loss="mean_squared_error").open(X, NUMBERS)
    surface = pnn.loss_surface(network, X, NUMBERS, points=2)
    np.testing.assert_allclose(surface.loss, (NUMBERS**2).mean(), rtol=1e-12)


def test_labels_in_more_rows_than_are_taken_at_once(monkeypatch):
    monkeypatch.setattr(session, "CHUNK", 7)
    network = fitted(pnn.mlp([4], outputs=3), X, LABELS, "float32", loss="cross_entropy")
    names, far = ("dense2.bias[2]", "dense1.weight[0, 0]"), (90, 100)
    surface = pnn.loss_surface(network, X, LABELS, *names, range_a=far)
    assert surface.loss.shape == (41, 41)
    assert surface.loss.dtype == np.float64
    proba = network.predict_proba(X)
    place = np.searchsorted(network.classes, LABELS)
    wanted = -np.log(proba[np.arange(30), place]).mean()
    assert surface.here[2] == pytest.approx(wanted, rel=1e-5)
    assert surface.here[0] == network.parameters["dense2.bias"][2]
    slope = (surface.loss[:, -1] - surface.loss[:, 0]) / 10  # one a row of another class
    assert slope == pytest.approx(np.full(41, np.mean(network.classes[2] != LABELS)), rel=1e-3)


@pytest.fixture
def swept(monkeypatch):
    """The namespace, and how many networks at once, of each sweep."""
    seen = []

    def look(plan, section, xp, arrays):
        found = trace(plan, section, xp, arrays)
        seen.append((xp, found[plan.outputs["loss"]]))
        return found

    monkeypatch.setattr(surfaces, "trace", look)
    return seen


def test_on_another_backend_than_the_one_it_was_trained_on(network, backend, swept):
    names = ("dense1.bias[1]", "dense2.bias[0]")
    found = pnn.loss_surface(network, X, NUMBERS, *names, points=3, backend=backend)
    for xp, loss in swept:
        assert xp is backend.xp
        assert_lives(loss, backend, "float64", loss.shape)
    wanted = pnn.loss_surface(network, X, NUMBERS, *names, points=3)
    np.testing.assert_allclose(found.loss, wanted.loss, rtol=1e-12)
    assert network.backend.name == "numpy"


def test_many_networks_are_computed_at_once(swept):
    """All there are, if the data is small; of digits some tens."""
    x, y = RNG.normal(size=(1438, 64)), RNG.integers(0, 10, 1438)
    network = fitted(pnn.mlp([64], outputs=10), x, y, "float32", loss="cross_entropy")
    pnn.loss_surface(network, x, y, points=10)
    sizes = [loss.shape[0] for _, loss in swept]
    assert sum(sizes) == 2 * (100 + 1)  # two chunks of rows; and the network itself
    assert max(sizes) > 20
    swept.clear()
    pnn.loss_surface(network, x[:20], y[:20], "dense2.bias[0]", "dense2.bias[1]", points=10)
    assert [loss.shape[0] for _, loss in swept] == [100, 1]


def test_a_surface_between_gradient_and_update_changes_nothing():
    def train(look):
        network = pnn.Network(pnn.mlp([4], outputs=2), dtype="float64")
        step = network.start(loss="mean_squared_error", optimizer="adam", batch_size=10)
        for batch in step.batches(X, NUMBERS, epoch=0):
            step.gradient(batch)
            look(network)
            step.update()
        return network.parameters

    plain = train(lambda network: None)
    watched = train(lambda network: pnn.loss_surface(network, X, NUMBERS, points=2))
    for name, values in plain.items():
        assert np.array_equal(watched[name], values)


def test_the_loss_is_of_standardized_data():
    y = 100 * NUMBERS + 7
    options = {"loss": "mean_squared_error", "standardize": True}
    network = fitted(pnn.mlp([4], outputs=2, activation="tanh"), 3 * X + 1, y, **options)
    x, numbers = [(v - v.mean(axis=0)) / v.std(axis=0) for v in (X, NUMBERS)]
    wanted = squared(x, numbers, network.parameters)
    surface = pnn.loss_surface(network, 3 * X + 1, y, "dense1.bias[0]", points=3)
    assert surface.here[2] == pytest.approx(wanted, rel=1e-9)
    assert surface.loss[0, 1] == pytest.approx(wanted, rel=1e-9)


def test_a_loss_that_overflows_is_infinite(network):
    span = {"range_a": (0, 1e200), "points": 2}
    surface = pnn.loss_surface(network, X, NUMBERS, "dense2.bias[0]", **span)
    assert np.isfinite(surface.loss[0, 0])
    assert surface.loss[0, 1] == np.inf


@kernels.loss_kernel()
def total_error(xp, z, targets, weight, scale):
    """A loss that sums over every axis there is, which a population cannot pass."""
    error = z - targets
    return xp.sum(error * error * weight) * scale, 2.0 * error * weight * scale


class TotalError(losses.Loss):
    kernel = total_error


def from_the_front(axis):
    """A layer that subtracts the mean along an axis, counted from the front."""

    @kernels.elementwise(backward=kernels.from_output(kernels.multiply))
    def centre(xp, z):
        return z - xp.mean(z, axis=axis, keepdims=True)

    return type("Centre", (Activation,), {"kernel": centre})()


@pytest.mark.parametrize(
    ("layers", "loss"),
    [
        ([pnn.Dense(2)], TotalError()),
        ([pnn.Dense(2), from_the_front(0)], "mean_squared_error"),
        ([pnn.Dense(2), from_the_front(1)], "mean_squared_error"),
    ],
)
def test_a_kernel_that_does_not_let_a_population_pass_is_an_error(layers, loss):
    network = fitted(layers, X, NUMBERS, loss=loss)
    with pytest.raises(pnn.NetworkError, match="count axes from the end"):
        pnn.loss_surface(network, X, NUMBERS, "dense1.bias[0]")


@pytest.mark.parametrize(
    ("arguments", "options", "error", "words"),
    [
        (["dense3.weight[0, 0]"], {}, pnn.NetworkError, r"dense1\.weight \(3, 4\).*dense3"),
        (
            ["dense1.weight[0, 4]"],
            {},
            pnn.NetworkError,
            r"\(3, 4\).*\[0, 0\] to .*\[2, 3\].*0, 4",
        ),
        (["dense1.weight[0]"], {}, pnn.NetworkError, r"to dense1\.weight\[2, 3\]"),
        (["dense1.weight"], {}, pnn.NetworkError, r"\[0, 0\] to"),
        (["dense2.bias[-1]"], {}, pnn.NetworkError, "counted from 0"),
        (["dense2.bias[2]"], {}, pnn.NetworkError, r"\[0\] to dense2\.bias\[1\]"),
        ([("dense1.weight", (0, 0))], {}, pnn.NetworkError, "one number of a parameter"),
        (["dense2.bias[0]", "dense2.bias[0]"], {}, pnn.NetworkError, "twice"),
        (["dense2.bias[0]", "dense2.bias[ 0 ]"], {}, pnn.NetworkError, "twice"),
        (["dense1.weight[0 1]"], {}, pnn.NetworkError, "one number of a parameter"),
        (["dense1.weight[0,,1]"], {}, pnn.NetworkError, "one number of a parameter"),
        (["dense2.bias[0]"], {"range_a": (-np.inf, 1)}, pnn.DataError, "low below high"),
        (["dense2.bias[0]"], {"range_a": (-1.7e308, 1.7e308)}, pnn.DataError, "beyond float64"),
        ([], {"range_a": (0, 1e308)}, pnn.DataError, "direction 1 goes beyond"),
        (["dense2.bias[0]"], {"range_a": (1, 1)}, pnn.DataError, "low below high"),
        (["dense2.bias[0]"], {"range_a": (0, np.inf)}, pnn.DataError, "low below high"),
        (["dense2.bias[0]"], {"range_a": 3}, pnn.DataError, "low below high"),
        (["dense2.bias[0]"], {"range_b": (0, 1)}, pnn.DataError, "parameter that was not"),
        ([None, "dense2.bias[0]"], {}, pnn.NetworkError, "parameter_b without parameter_a"),
        ([], {"range_a": ("a", 1)}, pnn.DataError, "low below high"),
        ([], {"points": 1}, pnn.DataError, "points is 2 or more"),
        ([], {"points": 2.5}, pnn.DataError, "points is a whole number"),
        ([], {"seed": -1}, pnn.DataError, "seed"),
        ([], {"sample_weight": [1.0]}, pnn.ShapeError, "sample_weight"),
    ],
)
def test_what_does_not_fit_is_said_before_anything_runs(network, arguments, options, error, words):
    with pytest.raises(error, match=words):
        pnn.loss_surface(network, X, NUMBERS, *arguments, **options)


def test_other_data_and_no_parameters(network):
    with pytest.raises(pnn.ShapeError, match="takes \\(n, 3\\)"):
        pnn.loss_surface(network, X[:, :2], NUMBERS)
    with pytest.raises(pnn.ShapeError, match="2 outputs"):
        pnn.loss_surface(network, X, NUMBERS[:, :1])
    with pytest.raises(pnn.NotFittedError):
        pnn.loss_surface(pnn.Network([pnn.Dense(2)]), X, NUMBERS)
    with pytest.raises(pnn.DataError, match="takes a Network, then x and y"):
        pnn.loss_surface(X, NUMBERS, network)
