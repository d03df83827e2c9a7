"""Layers made of layers: values, widths that do not fit, files."""

import numpy as np
import pytest
import ways

import portable_nn as pnn
from portable_nn import kernels
from portable_nn.errors import NetworkError

X = np.random.default_rng(0).normal(size=(6, 4))
Y = np.random.default_rng(1).normal(size=(6, 2))


def trained(layers, backend="numpy", dtype="float64"):
    network = pnn.Network(layers, dtype=dtype)
    options = {"loss": "mean_squared_error", "epochs": 2, "batch_size": 4, "progress": False}
    return network.fit(X, Y, **options, backend=backend)


def dense(network, name, x):
    values = network.parameters
    return x @ values[f"{name}.weight"] + values[f"{name}.bias"]


def test_residual(backend):
    network = trained([pnn.Residual([pnn.Dense(4), pnn.Tanh()]), pnn.Dense(2)], backend)
    hidden = X + np.tanh(dense(network, "residual1.dense1", X))
    # Here and below: a few dozen operations in another order.
    np.testing.assert_allclose(network.predict(X), dense(network, "dense1", hidden), rtol=1e-12)


def test_residual_with_a_shortcut(backend):
    network = trained([pnn.Residual([pnn.Dense(2), pnn.Tanh()], shortcut=[pnn.Dense(2)])], backend)
    inner = np.tanh(dense(network, "residual1.dense1", X))
    around = dense(network, "residual1.shortcut1.dense1", X)
    np.testing.assert_allclose(network.predict(X), around + inner, rtol=1e-12)


def test_concatenate(backend):
    branches = [[pnn.Dense(3), pnn.Tanh()], [], [pnn.Dense(1)]]
    network = trained([pnn.Concatenate(branches), pnn.Dense(2)], backend)
    first = np.tanh(dense(network, "concatenate1.branch1.dense1", X))
    hidden = np.hstack([first, X, dense(network, "concatenate1.branch3.dense1", X)])
    assert network.parameters["dense1.weight"].shape == (8, 2)
    np.testing.assert_allclose(network.predict(X), dense(network, "dense1", hidden), rtol=1e-12)


def test_the_same_value_twice_side_by_side_has_both_gradients():
    layers = [pnn.Dense(3), pnn.Concatenate([[], []]), pnn.Dense(2)]
    training = pnn.Network(layers, "float64").start(loss="mean_squared_error", backend="numpy")
    (batch,) = training.batches(X, Y, epoch=0)
    found = training.trace(batch)
    grad = found["grad_concatenate1"]
    # One addition.
    np.testing.assert_allclose(found["grad_dense1.sum"], grad[:, :3] + grad[:, 3:], rtol=1e-15)


def nested():
    dense_block = pnn.Concatenate([[], [pnn.Dense(3), pnn.ReLU()]])
    return [pnn.Residual([dense_block, pnn.Dense(5)], shortcut=[pnn.Dense(5)]), pnn.Dense(2)]


def test_blocks_in_blocks_are_saved(tmp_path):
    network = trained(nested())
    network.save(tmp_path / "m")
    again = pnn.load(tmp_path / "m")
    assert again.layers == network.layers
    np.testing.assert_array_equal(again.predict(X), network.predict(X))


@pytest.mark.parametrize(
    ("layer", "said"),
    [
        (pnn.Residual([pnn.Dense(3)]), "has 4 features, its layers give 3.*Dense(4)"),
        (pnn.Residual([pnn.ReLU()], [pnn.Dense(3)]), "has 3 features, its layers give 4.*Dense(4)"),
    ],
)
def test_widths_that_do_not_fit(layer, said):
    with pytest.raises(NetworkError, match=said.replace("(", r"\(").replace(")", r"\)")):
        trained([layer, pnn.Dense(2)])


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: pnn.Residual(pnn.Dense(3)), "layers come in a list; got Dense"),
        (lambda: pnn.Residual([], shortcut=[pnn.ReLU]), "layers are objects"),
        (lambda: pnn.Concatenate([pnn.Dense(3)]), "layers come in a list; got Dense"),
        (lambda: pnn.Concatenate([]), "a list of lists of layers, one or more"),
        (lambda: pnn.Concatenate(pnn.Dense(3)), "a list of lists of layers, one or more"),
    ],
)
def test_what_blocks_do_not_take(make, said):
    with pytest.raises(NetworkError, match=said):
        make()


def test_features_that_are_not_there_are_an_error():
    with pytest.raises(NetworkError, match="features 2 to 5 are not among the 4"):
        kernels.take_features.shapes(("n", 4), start=2, stop=5)
    with pytest.raises(NetworkError, match="the same rows"):
        kernels.concatenate.shapes(("n", 4), (3, 4))


def test_a_population_beside_what_all_of_it_share():
    xp = ways.open_way("strict-device1").xp
    shared, own = np.ones((6, 4)), np.full((3, 6, 2), 2.0)
    arrays = [xp.asarray(value, device=xp.Device("device1")) for value in (shared, own)]
    found = kernels.concatenate.meaning(xp, *arrays)
    assert found.shape == (3, 6, 6)
    (shape,) = kernels.concatenate.shapes((6, 4), (3, 6, 2))
    assert shape == found.shape
