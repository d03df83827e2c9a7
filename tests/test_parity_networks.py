"""Parity over 200 steps of three networks on digits, on every way of running a plan."""

import pytest
import ways
from test_design import BatchNorm

from portable_nn import SGD, Adam, Dense, Dropout, ReLU, RMSProp, mlp, parity
from portable_nn.datasets import load_digits

X, Y = load_digits()
STEPS, BATCH_SIZE = 200, 24
"""Almost three epochs, each of 74 batches of which the last has 21 rows."""

NETWORKS = {
    "tanh": (mlp([16, 16], outputs=10, activation="tanh"), Adam()),
    "relu": (mlp([16, 16], outputs=10), SGD(0.1, momentum=0.9)),
    "batch norm and dropout": (
        [Dense(16, use_bias=False), BatchNorm(), ReLU(), Dropout(0.25), Dense(10)],
        RMSProp(),
    ),
}
"""Layers, and the optimizer that trains them."""


# Eager JAX calls what "jax-jit" compiles, which is compared here too, as a whole.
@pytest.mark.parametrize("backend", ways.ONE_EACH, indirect=True)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("layers", "optimizer"), NETWORKS.values(), ids=list(NETWORKS))
def test_two_hundred_steps(backend, layers, optimizer, dtype):
    options = {"optimizer": optimizer, "steps": STEPS, "batch_size": BATCH_SIZE}
    report = parity.check_training(
        layers, X, Y, loss="cross_entropy", backend=backend, dtype=dtype, **options
    )
    assert report.ok, report.verdict
    assert (report.backend, report.dtype, report.steps) == (backend.name, dtype, STEPS)
    # Call by call, or where a way compiles whole sections, as a whole; 75: the first short batch.
    assert {1, 2, 5, 10, 20, 50, 75, 100, 200} <= {*report.watched, *report.compared}
    assert report.numbers > 10_000
    assert max(found.share for found in report.worst) > 0.01  # it has measured something
