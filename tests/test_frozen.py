"""Frozen parameters: what keeps its values, what moves, and what a step does not compute."""

import numpy as np
import pytest
import ways

import portable_nn as pnn
from portable_nn import Adam, Dense, Dropout, Embedding, Network, Residual, Tanh
from portable_nn.errors import NetworkError

RNG = np.random.default_rng(2)
X = RNG.normal(size=(50, 4))
Y = np.sin(X @ RNG.normal(size=(4, 2)))


backend = ways.each_library  # these are whole trainings


def layers():
    return [Dense(6), Tanh(), Dropout(0.2), Dense(5), Tanh(), Dense(2)]


def trained(network=None, epochs=2, **options):
    network = network or Network(layers())
    options = {"loss": "mean_squared_error", "batch_size": 16, "progress": False} | options
    return network.fit(X, Y, epochs=epochs, **options)


def kernels_of(plan, section="gradient"):
    return [call.kernel.name for call in plan.section(section)]


FROZEN = {
    "a layer": ("dense1", {"dense1.weight", "dense1.bias"}),
    "a parameter": (["dense2.bias"], {"dense2.bias"}),
    "a pattern": ("*.bias", {"dense1.bias", "dense2.bias", "dense3.bias"}),
    "two": (("dense1.*", "dense3.weight"), {"dense1.weight", "dense1.bias", "dense3.weight"}),
    "the last": ("dense3", {"dense3.weight", "dense3.bias"}),
}


@pytest.mark.parametrize(("frozen", "names"), FROZEN.values(), ids=list(FROZEN))
def test_frozen_values_keep_their_bits_and_the_others_move(backend, frozen, names):
    network = trained(backend=backend)
    before = network.parameters
    trained(network, warm_start=True, frozen=frozen, backend=backend)
    for name, value in network.parameters.items():
        assert (value == before[name]).all() == (name in names), name
    middle = network.parameters
    trained(network, warm_start=True, backend=backend)  # and thaw
    assert all((value != middle[name]).any() for name, value in network.parameters.items())


def test_the_others_move_as_if_the_frozen_were_part_of_the_data():
    """To train behind a frozen first layer is to train on what it gives."""
    network = Network([Dense(6), Tanh(), Dense(2)])
    trained(network)
    kept = network.parameters
    first = np.tanh(X.astype(np.float32) @ kept["dense1.weight"] + kept["dense1.bias"])

    def given(name):
        return lambda draws, shape: kept[name]

    rest = Network([Dense(2, weight=given("dense2.weight"), bias=given("dense2.bias"))])
    options = {"loss": "mean_squared_error", "batch_size": 16, "progress": False, "epochs": 3}
    rest.fit(first, Y, **options)
    network.fit(X, Y, warm_start=True, frozen="dense1", **options)
    for name in ("weight", "bias"):  # tanh of two libraries, 12 steps of Adam at 0.001
        np.testing.assert_allclose(
            network.parameters[f"dense2.{name}"], rest.parameters[f"dense1.{name}"], atol=1e-5
        )


def test_with_sgd_one_update_moves_the_others_as_without_freezing():
    free, frozen = Network(layers()), Network(layers())
    options = {"optimizer": pnn.SGD(0.1), "batch_size": None, "epochs": 1}
    trained(free, **options)
    trained(frozen, frozen="dense2", **options)
    for name, value in frozen.parameters.items():
        same = (value == free.parameters[name]).all()
        assert same == (not name.startswith("dense2")), name


def test_step_lacks_what_nobody_needs():
    network = Network(layers())
    options = {"loss": pnn.MeanSquaredError(), "features": 4, "optimizer": Adam()}
    full = network.plan(**options)
    first = network.plan(**options, frozen="dense1")
    assert first.gradients.keys() == full.gradients.keys() - {"dense1.weight", "dense1.bias"}
    # Nor is anything computed for what lies before: one gradient of inputs less, no mask's.
    assert kernels_of(full).count("linear_grad_input") == 2
    assert kernels_of(first).count("linear_grad_input") == 1
    assert kernels_of(first).count("tanh_backward") == 1
    assert kernels_of(first).count("multiply") == 1  # dropout itself
    assert kernels_of(first, "update") == ["adam"] * 4
    assert not [b.name for b in first.of_kind("state") if b.name.startswith("dense1")]
    last = network.plan(**options, frozen="dense3")
    assert kernels_of(last).count("linear_grad_input") == 2
    assert kernels_of(last).count("linear_grad_weight") == 2
    assert "dense3.weight" in {buffer.name for buffer in last.of_kind("parameter")}


def test_optimizer_has_no_state_of_the_frozen():
    network = Network(layers())
    step = network.start(loss="mean_squared_error", optimizer="adam", frozen=["dense1", "dense2"])
    (batch, *_) = step.batches(X, Y, 0)
    step.step(batch)
    state = [name for name in step.session.state if name.startswith(("dense1", "dense2"))]
    assert sorted(state) == ["dense1.bias", "dense1.weight", "dense2.bias", "dense2.weight"]


def test_open_loop_and_driver(backend):
    network = trained(backend=backend)
    before = network.parameters
    step = network.start(
        loss="mean_squared_error", frozen="dense1", warm_start=True, backend=backend
    )
    for batch in step.batches(X, Y, 0):
        step.gradient(batch)
        step.update()
    np.testing.assert_array_equal(network.parameters["dense1.weight"], before["dense1.weight"])
    network = Network([Dense(4), Tanh(), Dense(2)])
    trained(network, epochs=2, optimizer=pnn.LBFGS(), batch_size=None, backend=backend)
    before = network.parameters
    trained(
        network, epochs=2, optimizer=pnn.LBFGS(), batch_size=None, backend=backend,
        warm_start=True, frozen="dense2",
    )  # fmt: skip
    changed = {n for n, v in network.parameters.items() if (v != before[n]).any()}
    assert changed == {"dense1.weight", "dense1.bias"}


def test_blocks_have_names_of_their_own():
    network = Network([Dense(4), Residual([Dense(4), Tanh()]), Dense(2)])
    trained(network)
    before = network.parameters
    (inner,) = [name for name in before if name.startswith("residual1") and "weight" in name]
    trained(network, warm_start=True, frozen="residual1")
    changed = {n for n, v in network.parameters.items() if (v != before[n]).any()}
    assert changed == {n for n in before if n.startswith("dense")}
    assert inner not in changed


def test_a_table_that_is_too_large_to_train_may_be_frozen():
    def small(draws, shape):
        return np.zeros(shape, np.float32)

    network = Network([Embedding(2**23, 1, small), Dense(1)])
    plan = network.plan("mean_squared_error", features=1, frozen="embedding*")
    assert "embedding_grad" not in kernels_of(plan)
    network.fit(
        np.arange(99)[:, None], np.ones(99), loss="mean_squared_error", frozen="embedding1",
        epochs=1, progress=False,
    )  # fmt: skip


def test_first_values_of_the_frozen_are_the_usual_ones():
    free, frozen = trained(epochs=1), trained(epochs=1, frozen="dense1")
    start = trained(epochs=1, optimizer=pnn.SGD(1e-30))
    np.testing.assert_array_equal(
        frozen.parameters["dense1.weight"], start.parameters["dense1.weight"]
    )
    np.testing.assert_array_equal(frozen.parameters["dense1.bias"], 0.0)
    assert (free.parameters["dense1.weight"] != start.parameters["dense1.weight"]).all()


WRONG = {
    "no such layer": ("dense4", r"frozen names no parameter with 'dense4'; there are dense1.weigh"),
    "one of two": (["dense1", "conv*"], r"'conv\*'; there are dense1.weight, dense1.bias"),
    "part of a name": ("dens", "'dens'"),
    "everything": ("*", "nothing to train: all parameters are frozen"),
    "a number": (3, "frozen is a name, or a list of them"),
    "numbers": ([1], "frozen is a name, or a list of them"),
}


@pytest.mark.parametrize(("frozen", "said"), WRONG.values(), ids=list(WRONG))
def test_what_cannot_be_frozen(frozen, said):
    network = trained()
    before = network.predict(X)
    for call in (
        lambda: trained(network, frozen=frozen),
        lambda: network.plan(frozen=frozen),
        lambda: next(
            network.start(loss="mean_squared_error", frozen=frozen, warm_start=True).batches(
                X, Y, 0
            )
        ),
    ):
        with pytest.raises(NetworkError, match=said):
            call()
    np.testing.assert_array_equal(network.predict(X), before)
