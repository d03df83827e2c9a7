"""Optimizers around optimizers: clipping, decay, largest norms, averages, groups."""

import os
import signal
from dataclasses import replace

import numpy as np
import pytest
import ways
from oracle import assert_trains_by_the_formulas

import portable_nn as pnn
from portable_nn.errors import NetworkError
from portable_nn.progress import Progress

GENERATOR = np.random.default_rng(5)
X = GENERATOR.standard_normal((32, 5))
Y = GENERATOR.standard_normal((32, 2))
LAYERS = [pnn.Dense(6), pnn.Tanh(), pnn.Dense(2)]
MOMENTUM = pnn.SGD(0.1, momentum=0.9)
SWA = pnn.StochasticWeightAveraging


backend = ways.each_library  # these are whole trainings


def trained(optimizer, backend="numpy", epochs=3, layers=LAYERS, **options):
    network = pnn.Network(layers, dtype="float64")
    options = {"batch_size": 8, "backend": backend, "progress": False} | options
    return network.fit(
        X, Y, loss="half_squared_error", optimizer=optimizer, epochs=epochs, **options
    )


def by_hand(update, finish=lambda values: values, epochs=3):
    """The parameters after a training in the open loop, updated in NumPy.

    ``update(values, grads, step, epoch)`` returns new values, by name.
    """
    network = pnn.Network(LAYERS, dtype="float64")
    step = network.start(loss="half_squared_error", optimizer="sgd", batch_size=8)
    count = 0
    for epoch in range(epochs):
        for batch in step.batches(X, Y, epoch):
            step.gradient(batch)
            count += 1
            values = network.parameters
            grads = {name: step.read(grad) for name, grad in step.plan.gradients.items()}
            for name, value in update(values, grads, count, batch.epoch).items():
                step.write(name, value)
    return finish(network.parameters)


def momentum(velocity, values, grads, rate=0.1):
    for name, grad in grads.items():
        velocity[name] = 0.9 * velocity.get(name, 0.0) + rate * grad
    return {name: value - velocity[name] for name, value in values.items()}


def assert_same(network, expected):
    # The same operations in another order, 12 updates: rounding in double.
    assert network.parameters.keys() == expected.keys()
    for name, value in network.parameters.items():
        np.testing.assert_allclose(value, expected[name], rtol=1e-11, atol=1e-13, err_msg=name)


# -- each against what it means, in NumPy ----------------------------------------------------


def test_clipped_by_norm_keeps_the_direction_of_all_gradients(backend):
    velocity, clipped = {}, []

    def update(values, grads, step, epoch):
        norm = np.sqrt(sum(np.sum(grad**2) for grad in grads.values()))
        clipped.append(norm > 1.1)
        grads = {name: grad * min(1.0, 1.1 / norm) for name, grad in grads.items()}
        return momentum(velocity, values, grads)

    expected = by_hand(update)
    assert 0 < sum(clipped) < len(clipped)
    assert_same(trained(pnn.ClippedNorm(MOMENTUM, 1.1), backend), expected)


def test_clipped_by_value_then_by_norm(backend):
    velocity = {}

    def update(values, grads, step, epoch):
        grads = {name: np.clip(grad, -0.05, 0.05) for name, grad in grads.items()}
        norm = np.sqrt(sum(np.sum(grad**2) for grad in grads.values()))
        return momentum(velocity, values, {n: g * min(1.0, 0.1 / norm) for n, g in grads.items()})

    assert_same(
        trained(pnn.ClippedValue(pnn.ClippedNorm(MOMENTUM, 0.1), 0.05), backend), by_hand(update)
    )


@pytest.mark.parametrize("everything", [False, True])
def test_decayed(backend, everything):
    velocity = {}

    def decays(name):
        return everything or name.endswith("weight")

    def update(values, grads, step, epoch):
        grads = {
            n: g + decays(n) * (0.02 * values[n] + 0.003 * np.sign(values[n]))
            for n, g in grads.items()
        }
        rate = 0.1 * 0.5 ** int(epoch)
        new = momentum(velocity, values, grads, rate)
        return {n: v - decays(n) * rate * 0.3 * values[n] for n, v in new.items()}

    sgd = pnn.SGD(pnn.ExponentialDecay(0.1, 0.5), momentum=0.9)
    optimizer = pnn.Decayed(pnn.Penalized(sgd, 0.02, 0.003, everything), 0.3, everything)
    assert_same(trained(optimizer, backend), by_hand(update))


def test_max_norm(backend):
    velocity, shortened = {}, []

    def update(values, grads, step, epoch):
        new = momentum(velocity, values, grads)
        for name in ("dense1.weight", "dense2.weight"):
            norms = np.linalg.norm(new[name], axis=0)
            shortened.extend(norms > 1.3)
            new[name] = new[name] * np.minimum(1.0, 1.3 / norms)
        return new

    expected = by_hand(update)
    assert 0 < sum(shortened) < len(shortened)
    network = trained(pnn.MaxNorm(MOMENTUM, 1.3), backend)
    assert_same(network, expected)


def test_exponential_moving_average_is_what_the_training_leaves(backend):
    velocity, seen = {}, []

    def update(values, grads, step, epoch):
        seen.append(momentum(velocity, values, grads))
        return seen[-1]

    def mean(values):
        shares = np.array([0.7 ** (len(seen) - k) for k in range(1, len(seen) + 1)])
        shares /= shares.sum()
        return {n: sum(s * v[n] for s, v in zip(shares, seen, strict=True)) for n in values}

    optimizer = pnn.ExponentialMovingAverage(MOMENTUM, decay=0.7)
    assert_same(trained(optimizer, backend), by_hand(update, mean))


@pytest.mark.parametrize("start", [0.0, 1.5, 9.0])
def test_stochastic_weight_averaging_counts_from_its_epoch_on(backend, start):
    velocity, seen = {}, []

    def update(values, grads, step, epoch):
        seen.append((epoch, momentum(velocity, values, grads)))
        return seen[-1][1]

    def mean(values):
        counted = [new for epoch, new in seen if epoch >= start] or [values]
        return {name: np.mean([new[name] for new in counted], axis=0) for name in values}

    optimizer = pnn.StochasticWeightAveraging(MOMENTUM, start=start)
    assert_same(trained(optimizer, backend), by_hand(update, mean))


def test_each_group_has_its_own_optimizer(backend):
    velocity = {}

    def update(values, grads, step, epoch):
        new = {name: value - 0.01 * grads[name] for name, value in values.items()}
        mine = {n: g for n, g in grads.items() if n.startswith("dense1") and not n.endswith("bias")}
        norm = np.sqrt(sum(np.sum(grad**2) for grad in mine.values()))
        mine = {n: g * min(1.0, 0.2 / norm) for n, g in mine.items()}
        moved = momentum(velocity, {n: values[n] for n in mine}, mine)
        biases = {n: v - 0.3 * grads[n] for n, v in values.items() if n.endswith("bias")}
        return {**new, **moved, **biases}

    groups = {"*.bias": pnn.SGD(0.3), "dense1": pnn.ClippedNorm(MOMENTUM, 0.2)}
    assert_same(trained(pnn.ParameterGroups(pnn.SGD(0.01), groups), backend), by_hand(update))


def test_averages_may_differ_by_group(backend):
    groups = {"dense1": SWA(MOMENTUM, 1.0), "dense2.bias": pnn.ExponentialMovingAverage(MOMENTUM)}
    network = trained(pnn.ParameterGroups(SWA(MOMENTUM), groups), backend)
    swa = trained(SWA(MOMENTUM)).parameters
    late, ema = trained(SWA(MOMENTUM, 1.0)), trained(pnn.ExponentialMovingAverage(MOMENTUM))
    expected = {**swa, "dense2.bias": ema.parameters["dense2.bias"]}
    expected |= {n: v for n, v in late.parameters.items() if n.startswith("dense1")}
    assert_same(network, expected)


def test_they_nest_and_follow_the_formulas(backend):
    inner = pnn.Decayed(pnn.Penalized(pnn.Adam(pnn.CosineDecay(0.01, 5)), l2=1e-2), 0.1)
    around = pnn.MaxNorm(pnn.ClippedValue(pnn.ClippedNorm(inner, 0.5), 0.3), 1.3)
    for dtype in ("float32", "float64"):
        assert_trains_by_the_formulas(
            LAYERS, X, Y, loss="half_squared_error", dtype=dtype, backend=backend, steps=6,
            batch_size=8, optimizer=pnn.ExponentialMovingAverage(around, 0.9),
        )  # fmt: skip


# -- averages stand for the parameters only where they are wanted ---------------------------


def test_validation_measures_the_averages_and_training_goes_on_without_them():
    optimizer = pnn.ExponentialMovingAverage(MOMENTUM, decay=0.9)
    short = trained(optimizer, validation=(X, Y), epochs=2)
    long = trained(optimizer, validation=(X, Y), epochs=4)
    assert short.history["validation_loss"] == long.history["validation_loss"][:2]
    for network in (short, long):
        loss = 0.5 * np.mean(np.sum((network.predict(X) - Y) ** 2, axis=1))
        assert network.history["validation_loss"][-1] == pytest.approx(loss, rel=1e-12)
    plain = trained(MOMENTUM, epochs=4)
    assert plain.history["loss"] == long.history["loss"]


def test_the_open_loop_takes_the_averages_when_it_finishes():
    optimizer = pnn.StochasticWeightAveraging(MOMENTUM)
    network = pnn.Network(LAYERS, dtype="float64")
    step = network.start(loss="half_squared_error", optimizer=optimizer, batch_size=8)
    seen = []
    for batch in step.batches(X, Y, 0):
        step.step(batch)
        seen.append(network.parameters)
    step.finish()
    assert_same(network, {n: np.mean([v[n] for v in seen], axis=0) for n in seen[0]})


def test_a_plain_optimizer_has_nothing_to_finish():
    network = pnn.Network(LAYERS, dtype="float64")
    step = network.start(loss="half_squared_error", optimizer=MOMENTUM, batch_size=8)
    for batch in step.batches(X, Y, 0):
        step.step(batch)
    before = network.parameters
    step.finish()
    assert_same(network, before)
    assert step.finished() is step.session


# -- averages of a training that is broken off ----------------------------------------------

AVERAGES = [pnn.ExponentialMovingAverage(MOMENTUM, decay=0.7), SWA(MOMENTUM)]
both_averages = pytest.mark.parametrize("optimizer", AVERAGES, ids=["EMA", "SWA"])
on_two = pytest.mark.parametrize("backend", ["numpy", "strict-device1"], indirect=True)


def interrupt():
    os.kill(os.getpid(), signal.SIGINT)


def averages_after(updates, optimizer, **options):
    """What the open loop leaves when it finishes after so many updates of four an epoch.

    After none, the first values.
    """
    network = pnn.Network(LAYERS, dtype="float64")
    options = {"batch_size": 8, "backend": "numpy"} | options
    step = network.start(loss="half_squared_error", optimizer=optimizer, **options)
    for epoch in range(9):
        for batch in step.batches(X, Y, epoch):
            if step.updates < updates:
                step.step(batch)
    if updates:
        step.finish()
    return network.parameters


def broken_off(optimizer, error=KeyboardInterrupt, **options):
    """A training of nine epochs that does not come to its end."""
    network = pnn.Network(LAYERS, dtype="float64")
    options = {"batch_size": 8, "epochs": 9, "progress": False} | options
    with pytest.raises(error):
        network.fit(X, Y, loss="half_squared_error", optimizer=optimizer, **options)
    return network


def spoiled(optimizer, at):
    """The optimizer, with steps that leave nothing finite from this position on."""
    inner = replace(optimizer.optimizer, learning_rate=lambda e: 0.1 if e < at else 1e200)
    return replace(optimizer, optimizer=inner)


# NumPy's own warnings are as the user has set them where no lowering runs.
overflows = pytest.mark.filterwarnings("ignore:.* encountered in:RuntimeWarning")


@on_two
@both_averages
@pytest.mark.parametrize("updates", [1, 6])
def test_ctrl_c_in_an_epoch_leaves_the_averages(backend, optimizer, updates, monkeypatch):
    seen = []
    monkeypatch.setattr("portable_nn.training.MOST_STEPS", 1)
    monkeypatch.setattr(
        Progress, "steps", lambda _, more: seen.append(1) or (len(seen) == updates and interrupt())
    )
    network = broken_off(optimizer, backend=backend)
    assert len(seen) == updates
    assert_same(network, averages_after(updates, optimizer, backend=backend))


@on_two
@both_averages
def test_ctrl_c_after_an_epoch_leaves_the_averages(backend, optimizer, monkeypatch):
    monkeypatch.setattr(Progress, "epoch", lambda _, number, entry: number == 2 and interrupt())
    network = broken_off(optimizer, backend=backend)
    assert len(network.history["loss"]) == 2
    assert_same(network, averages_after(8, optimizer, backend=backend))


@overflows
@both_averages
@pytest.mark.parametrize("epochs", [0, 2])
def test_ctrl_c_in_an_epoch_that_is_undone_leaves_the_averages_before_it(
    optimizer, epochs, monkeypatch
):
    """Its parameters are not finite; before the first epoch there is no average yet."""
    seen, last = [], 4 * epochs + 3
    monkeypatch.setattr("portable_nn.training.MOST_STEPS", 1)
    monkeypatch.setattr(
        Progress, "steps", lambda _, more: seen.append(1) or (len(seen) == last and interrupt())
    )
    network = broken_off(spoiled(optimizer, epochs + 0.2))
    assert len(seen) == last
    assert_same(network, averages_after(4 * epochs, optimizer))


@both_averages
def test_to_finish_before_the_first_update_changes_nothing(optimizer):
    network = pnn.Network(LAYERS, dtype="float64")
    step = network.start(loss="half_squared_error", optimizer=optimizer, batch_size=8)
    step.gradient(next(step.batches(X, Y, 0)))
    step.finish()
    assert_same(network, averages_after(0, optimizer))


@overflows
@on_two
@both_averages
@pytest.mark.parametrize("epochs", [0, 2])
def test_a_loss_that_is_not_finite_leaves_the_averages_before_its_epoch(backend, optimizer, epochs):
    given = {"backend": backend, "validation": (X, Y)}
    network = broken_off(spoiled(optimizer, epochs + 0.2), pnn.NonFiniteError, **given)
    assert len(network.history.get("loss", [])) == epochs
    assert_same(network, averages_after(4 * epochs, optimizer, backend=backend))
    if epochs:
        loss = 0.5 * np.mean(np.sum((network.predict(X) - Y) ** 2, axis=1))
        assert network.history["validation_loss"][-1] == pytest.approx(loss, rel=1e-12)


# -- what does not fit ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: pnn.ClippedNorm("adam", 0.0), "ClippedNorm takes a number above 0 as limit"),
        (lambda: pnn.ClippedValue("adam", "much"), "above 0 as limit, or a .*; got 'much'"),
        (lambda: pnn.ClippedNorm("adem"), "Did you mean 'adam'"),
        (lambda: pnn.ClippedNorm(pnn.LBFGS()), "LBFGS has none"),
        (
            lambda: trained(pnn.ClippedNorm(pnn.ClippedNorm("adam"))),
            "limit comes twice",
        ),
        (lambda: trained(SWA(pnn.ExponentialMovingAverage("adam"))), "two averages, one inside"),
        (lambda: pnn.Penalized("adam", decay_all_parameters="no"), "True or False as decay_all"),
        (lambda: pnn.ParameterGroups("adam", {1: "sgd"}), "groups such as"),
        (
            lambda: pnn.Penalized("adam", l2=-1.0),
            "Penalized takes a finite number, 0 or more as l2; got -1",
        ),
        (lambda: pnn.Decayed("adam", -1.0), "a finite number, 0 or more as weight_decay; got -1"),
        (lambda: pnn.MaxNorm("adam", -1.0), "MaxNorm takes a number above 0 as limit; got -1"),
        (lambda: pnn.ExponentialMovingAverage("adam", 1.0), "between 0 and 1.0 as decay; got 1"),
        (lambda: pnn.StochasticWeightAveraging("adam", -1.0), "0 or more as start; got -1"),
        (lambda: pnn.ParameterGroups("adam", {}), "groups such as"),
        (lambda: pnn.ParameterGroups("adam", {"dense1": pnn.LBFGS()}), "LBFGS has none"),
    ],
)
def test_bad_settings_are_one_error(make, said):
    with pytest.raises(NetworkError, match=said):
        make()


def test_a_group_without_parameters_is_an_error_before_training():
    optimizer = pnn.ParameterGroups("adam", {"dense9": "sgd"})
    with pytest.raises(NetworkError, match=r"'dense9' names no parameter .* leave: dense1\.weight"):
        trained(optimizer)


def test_a_group_that_is_left_nothing_says_so():
    groups = {"dense1": "sgd", "dense1.weight": "adam"}
    with pytest.raises(NetworkError, match=r"'dense1\.weight' names no parameter .* leave: dense2"):
        trained(pnn.ParameterGroups("adam", groups))


def test_decoupled_decay_needs_a_learning_rate():
    class Own:
        def hyperparameters(self, step, epoch):
            return {"rate": 0.1}

        def update(self, builder, parameter, grad, hyper):
            pass

    with pytest.raises(NetworkError, match="Own has none"):
        pnn.Decayed(Own())
