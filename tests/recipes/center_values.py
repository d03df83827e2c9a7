"""The layer ``Center`` on every backend."""

import numpy as np
import pytest

import portable_nn as pnn

X = np.arange(12.0).reshape(4, 3) ** 2


def test_the_mean_follows_the_data_and_the_shift_the_gradient(backend):
    network = pnn.Network([pnn.Center(0.25)], dtype="float64")
    training = network.start(loss="half_squared_error", optimizer=pnn.SGD(0.5), backend=backend)
    mean, shift = np.zeros(3), np.zeros(3)
    for epoch in range(3):
        (batch,) = training.batches(X, np.ones((4, 3)), epoch)
        training.step(batch)
        error = X - mean + shift - 1.0
        mean, shift = mean + 0.25 * (X.mean(axis=0) - mean), shift - 0.5 * error.mean(axis=0)
    # Three steps of sums of 4 rows in another order.
    np.testing.assert_allclose(network.outputs(X), X - mean + shift, rtol=1e-13)


def test_a_momentum_that_is_none_is_refused():
    with pytest.raises(pnn.NetworkError, match=r"Center takes .* as momentum; got 2"):
        pnn.Center(2)
