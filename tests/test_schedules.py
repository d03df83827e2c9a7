"""Learning rates that change: their values, and which of them an update takes."""

import math

import numpy as np
import pytest

from portable_nn import SGD, Adam, Dense, Network, NetworkError, RMSProp, Tanh
from portable_nn.kernels import elementwise
from portable_nn.optimizers import check_hyperparameters
from portable_nn.schedules import (
    ConstantRate,
    CosineDecay,
    ExponentialDecay,
    StepDecay,
    Warmup,
    rate_at,
)

GENERATOR = np.random.default_rng(5)
X = GENERATOR.standard_normal((24, 4))
NUMBERS = GENERATOR.standard_normal((24, 2))
LAYERS = (Dense(6), Tanh(), Dense(2))


def begin(layers=LAYERS, **options):
    """A network, with its training begun."""
    network = Network(layers, dtype="float64")
    return network, network.start(loss="half_squared_error", **{"batch_size": 8, **options})


def host(training, name):
    return training.session.backend.to_host(training.read(name))


def values(training):
    """Every parameter, on the host."""
    return {b.name: host(training, b.name) for b in training.plan.of_kind("parameter")}


# -- values --------------------------------------------------------------------------------

ROOT = math.sqrt(0.5)
VALUES = {
    "constant": (ConstantRate(0.3), {0: 0.3, 7.5: 0.3}),
    "step": (StepDecay(0.4, every=2), {0: 0.4, 1.9: 0.4, 2: 0.04, 3.99: 0.04, 4: 0.004}),
    "step, factor": (StepDecay(0.4, every=1, factor=0.5), {0.9: 0.4, 1: 0.2, 3.2: 0.05}),
    "exponential": (ExponentialDecay(0.4, 0.5), {0: 0.4, 0.9: 0.4, 1: 0.2, 3.9: 0.05}),
    "cosine": (
        CosineDecay(0.4, epochs=8),
        {0: 0.4, 2: 0.2 + 0.2 * ROOT, 4: 0.2, 6: 0.2 - 0.2 * ROOT, 8: 0.0, 8.1: 0.0, 99: 0.0},
    ),
    "cosine, final": (CosineDecay(0.5, 3.0, final=0.1), {0: 0.5, 1: 0.4, 1.5: 0.3, 3: 0.1, 9: 0.1}),
    "warm-up": (Warmup(4, 0.8), {0: 0.008, 1: 0.206, 2: 0.404, 3.5: 0.701, 4: 0.8, 9: 0.8}),
    "warm-up, half an epoch": (Warmup(0.5, 1.0), {0: 0.01, 0.25: 0.505, 0.5: 1.0}),
    "warm-up, cosine": (
        Warmup(2, CosineDecay(0.4, epochs=8)),
        {0: 0.002 + 0.002 * ROOT, 1: 0.505 * (0.2 + 0.2 * ROOT), 2: 0.2 + 0.2 * ROOT, 4: 0.2},
    ),
    "warm-up, any function": (Warmup(1, lambda epoch: 1 / epoch), {0: 0.01, 1: 1.0, 4: 0.25}),
    "warm-up twice": (Warmup(1, Warmup(2, 1.0)), {0: 0.00505, 1: 0.505, 2: 1.0}),
}


@pytest.mark.parametrize(("schedule", "expected"), VALUES.values(), ids=list(VALUES))
def test_values(schedule, expected):
    found = {epoch: schedule(float(epoch)) for epoch in expected}
    # A few roundings; the last value of a cosine is exact.
    assert found == pytest.approx(expected, rel=1e-14, abs=0.0)


def test_the_annealing_of_the_tutorials():
    learning_rate, schedule = 0.5, ExponentialDecay(0.5, 0.95)
    for epoch in range(100):
        # One rounding an epoch, and that of the power.
        assert schedule(epoch + 0.7) == pytest.approx(learning_rate, rel=1e-13)
        learning_rate = learning_rate * 0.95


@pytest.mark.parametrize("schedule", [CosineDecay(0.3, 10), Warmup(10, 0.3)])
def test_a_smooth_schedule_changes_with_every_update(schedule):
    rates = [schedule(k / 100) for k in range(1001)]
    moves = np.diff(rates)
    assert (moves < 0.0).all() or (moves > 0.0).all()
    assert np.abs(moves).max() < 0.001
    assert rates[0] > 0.0


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: ConstantRate(0.0), "ConstantRate takes a number above 0 as rate; got 0"),
        (lambda: StepDecay(-1.0, 2), "StepDecay takes a number above 0 as rate; got -1"),
        (lambda: StepDecay(0.1, 2.5), "a whole number of epochs, 1 or more, as every; got 2.5"),
        (lambda: StepDecay(0.1, 0), "a whole number of epochs, 1 or more, as every; got 0"),
        (lambda: StepDecay(0.1, True), "a whole number of epochs, 1 or more, as every; got True"),
        (lambda: StepDecay(0.1, 2, 1.5), "a number between 0 and 1.0 as factor; got 1.5"),
        (lambda: ExponentialDecay(math.inf, 0.9), "a number above 0 as rate; got inf"),
        (lambda: ExponentialDecay(0.1, 0.0), "a number between 0 and 1.0 as factor; got 0"),
        (lambda: CosineDecay("0.1", 3), "CosineDecay takes a number above 0 as rate; got '0.1'"),
        (lambda: CosineDecay(0.1, 0), "CosineDecay takes a number above 0 as epochs; got 0"),
        (lambda: CosineDecay(0.1, 3, 0.2), "a number between 0 and 0.1 as final; got 0.2"),
        (lambda: CosineDecay(0.1, 3, -0.1), "a number between 0 and 0.1 as final; got -0.1"),
        (lambda: Warmup(0, 0.1), "Warmup takes a number above 0 as epochs; got 0"),
        (lambda: Warmup(1, 0.0), "Warmup takes a number above 0 as then; got 0"),
        (lambda: Warmup(1, CosineDecay), "Warmup takes a number above 0 as then, or a schedule"),
        (lambda: Warmup(1, None), "as then, or a schedule such as .*; got None"),
    ],
)
def test_what_a_schedule_does_not_take(make, words):
    with pytest.raises(NetworkError, match=words):
        make()


NO_RATES = [math.nan, math.inf, -0.1, None, "0.1", True, np.ones(1)]


@pytest.mark.parametrize("value", NO_RATES, ids=map(repr, NO_RATES))
def test_a_function_that_gives_no_rate(value):
    with pytest.raises(NetworkError, match=r"finite number, 0 or more; the schedule gave .* 2\.5"):
        rate_at(lambda epoch: value, 2.5)


@pytest.mark.parametrize("value", [0, 0.0, 0.5, np.float32(0.5), np.float64(0.5), 2])
def test_a_function_that_gives_a_rate(value):
    found = rate_at(lambda epoch: value, 2.5)
    assert type(found) is float
    assert found == value


# -- optimizers take them ------------------------------------------------------------------

OPTIMIZERS = {
    "sgd": SGD,
    "momentum": lambda rate: SGD(rate, momentum=0.9),
    "nesterov": lambda rate: SGD(rate, momentum=0.9, nesterov=True),
    "rmsprop": RMSProp,
    "adam": Adam,
}
every_optimizer = pytest.mark.parametrize("optimizer", OPTIMIZERS.values(), ids=list(OPTIMIZERS))


@every_optimizer
def test_an_optimizer_takes_a_number_or_a_schedule(optimizer):
    schedule = CosineDecay(0.3, 8)
    for step, epoch in [(1, 0.0), (7, 3.25), (30, 8.0)]:
        changing = optimizer(schedule).hyperparameters(step, epoch)
        if schedule(epoch) > 0.0:
            assert changing == optimizer(schedule(epoch)).hyperparameters(step, 99.0)
    name = "step_size" if optimizer is Adam else "learning_rate"
    assert changing[name] == 0.0


@every_optimizer
def test_a_bad_schedule_is_found_beforehand(optimizer):
    fading = optimizer(lambda epoch: 0.25 - 0.125 * epoch)
    check_hyperparameters(fading, "float32", 3, 4)
    with pytest.raises(NetworkError, match=r"the schedule gave -0\.125 at epoch 3"):
        check_hyperparameters(fading, "float32", 5, 4)
    late = optimizer(lambda epoch: 0.1 if epoch < 0.7 else math.nan)
    with pytest.raises(NetworkError, match=r"the schedule gave nan at epoch 0\.75"):
        check_hyperparameters(late, "float32", 1, 4)
    check_hyperparameters(late, "float32", 1, 2)


def test_a_bad_schedule_costs_nothing():
    network = Network([Dense(2)]).fit(X, NUMBERS, loss="mean_squared_error", progress=False)
    before, history = network.predict(X), network.history
    with pytest.raises(NetworkError, match="the schedule gave inf at epoch 3"):
        network.fit(
            X, NUMBERS, loss="mean_squared_error", progress=False,
            optimizer=SGD(lambda epoch: 0.1 if epoch < 3 else math.inf),
        )  # fmt: skip
    np.testing.assert_array_equal(network.predict(X), before)
    assert network.history is history


def test_a_schedule_is_asked_a_thousand_times_at_most():
    asked = []
    check_hyperparameters(SGD(lambda epoch: asked.append(epoch) or 0.1), "float32", 10**12, 3)
    assert len(asked) < 1100


@pytest.mark.parametrize(
    ("optimizer", "dtype", "said"),
    [
        (SGD(1e39), "float32", r"SGD gives 1e\+39 as learning_rate .* float32 does not hold"),
        (Adam(1e-50), "float32", "step_size in the first update, which float32"),
        (Adam(epsilon=1e-60), "float32", "epsilon in the first update, which float32"),
        (RMSProp(1e-310), "float64", "learning_rate in the first update, which float64"),
    ],
)
def test_a_number_that_the_dtype_does_not_hold(optimizer, dtype, said):
    with pytest.raises(NetworkError, match=said):
        check_hyperparameters(optimizer, dtype, 1, 1)
    if dtype == "float32":
        check_hyperparameters(optimizer, "float64", 1, 1)


def test_a_schedule_that_fails_says_when():
    with pytest.raises(
        NetworkError, match=r"one number, the epoch .*; at 2 it failed with IndexError"
    ):
        rate_at([0.1, 0.2].__getitem__, 2)
    with pytest.raises(NetworkError, match="failed with TypeError"):
        rate_at(lambda: 0.1, 0.0)


# -- which value an update takes -----------------------------------------------------------


@elementwise()
def down_by(xp, parameter, grad, rate):
    return parameter - rate


class StepAndEpoch:
    """An optimizer whose step and epoch can be read off the parameters: ``1000 step + epoch``."""

    asked = 0

    def hyperparameters(self, step, epoch):
        self.asked += 1
        return {"rate": 1000.0 * step + epoch}

    def update(self, builder, parameter, grad, hyper):
        builder.assign([parameter], down_by, parameter, grad, *hyper)


def rate_of_update(training, update):
    """What the rate was in an update of ``StepAndEpoch``."""
    training.write("dense1.bias", [0.0, 0.0])
    update()
    return -host(training, "dense1.bias")[0]


@pytest.mark.parametrize(
    ("size", "expected"),
    [(8, [2.0, 2.0 + 1 / 3, 2.0 + 2 / 3]), (10, [2.0, 2.0 + 1 / 3, 2.0 + 2 / 3]), (None, [2.0])],
)
def test_a_batch_knows_its_epoch(size, expected):
    _, training = begin(batch_size=size)
    assert [batch.epoch for batch in training.batches(X, NUMBERS, epoch=2)] == expected


def test_an_update_has_the_rate_of_its_batch(backend):
    _, training = begin([Dense(2)], optimizer=StepAndEpoch(), backend=backend)
    for batch in training.batches(X, NUMBERS, epoch=0):
        training.gradient(batch)
        rate = rate_of_update(training, training.update)
        assert rate == 1000.0 * training.updates + batch.epoch
    first, second, _ = training.batches(X, NUMBERS, epoch=1)
    training.gradient(first)
    for batch in (first, second):
        rate = rate_of_update(training, lambda batch=batch: training.step(batch))
        assert rate == 1000.0 * training.updates + batch.epoch


PROGRAMS = {
    "accumulated": [[0, 1 / 3], [2 / 3], [1, 1 + 1 / 3], [1 + 2 / 3, 2], [2 + 1 / 3, 2 + 2 / 3]],
    "repeated": [[0], [0], [1 / 3], [1 / 3], [2 / 3], [2 / 3], [1], [1 + 1 / 3]],
    "updated again": [[0], [], [1 / 3], [], [1], []],
    "skipped": [[0], [2 / 3], [1 + 1 / 3], [2 + 2 / 3], [4]],
    "backwards": [[2 / 3], [1 / 3], [0]],
    "epochs out of order": [[3], [3 + 1 / 3], [0], [1 / 3], [3], [3 + 2 / 3], [1], [2]],
    "an epoch over and over": [[0], [1 / 3], [2 / 3], [0], [1 / 3], [2 / 3]],
}
"""The batches, by the epoch at which they begin, whose gradients come before each update."""


@pytest.mark.parametrize("at_once", [False, True], ids=["", "batches made before"])
@pytest.mark.parametrize("program", PROGRAMS.values(), ids=list(PROGRAMS))
def test_updates_that_do_not_go_with_batches(program, at_once):
    _, training = begin([Dense(2)], optimizer=StepAndEpoch())

    def batches_of(epoch):
        return {batch.epoch: batch for batch in training.batches(X, NUMBERS, epoch)}

    made = {epoch: batches_of(epoch) for epoch in range(5)} if at_once else {}
    epoch = begins = None
    for step, gradients in enumerate(program, start=1):
        for begins in gradients:
            if int(begins) != epoch or begins == epoch:
                epoch = int(begins)
                batches = made[epoch] if at_once else batches_of(epoch)
            training.gradient(batches[begins])
        assert rate_of_update(training, training.update) == 1000.0 * step + begins


def tables_sent(training, monkeypatch):
    """A list that grows with each table of hyper-parameters: its number of rows."""
    sent, backend = [], training.session.backend
    asarray = backend.asarray

    def counted(value, dtype):
        if isinstance(value, list):
            sent.append(len(value))
        return asarray(value, dtype)

    monkeypatch.setattr(backend, "asarray", counted)
    return sent


def test_hyperparameters_are_sent_once_an_epoch(monkeypatch):
    optimizer = StepAndEpoch()
    _, training = begin([Dense(2)], optimizer=optimizer)
    training.open(X, NUMBERS)
    sent = tables_sent(training, monkeypatch)
    for epoch in range(4):
        for batch in training.batches(X, NUMBERS, epoch):
            training.step(batch)
    assert sent == [3, 3, 3, 3]
    assert optimizer.asked == 12 + 1  # once for the plan


def test_accumulation_asks_for_no_more_than_twice_as_many(monkeypatch):
    """Not for the rest of the epoch at every update."""
    optimizer = StepAndEpoch()
    _, training = begin([Dense(2)], optimizer=optimizer, batch_size=1)
    training.open(X, NUMBERS)
    sent = tables_sent(training, monkeypatch)
    for place, batch in enumerate(training.batches(X, NUMBERS, epoch=0)):
        training.gradient(batch)
        if place % 2:
            training.update()
    assert training.updates == 12
    assert sent == [23, *[1] * 11]


def test_the_rate_stands_inside_the_velocity():
    """With a rate that changes this is not PyTorch's momentum."""
    rate = ExponentialDecay(0.1, 0.5)
    _, training = begin(optimizer=SGD(rate, momentum=0.9))
    v = 0.0
    for epoch in range(3):
        for batch in training.batches(X, NUMBERS, epoch):
            training.gradient(batch)
            before = host(training, "dense1.weight")
            v = 0.9 * v + 0.1 * 0.5**epoch * host(training, "grad_dense1.weight")
            training.update()
            # Two roundings of numbers up to 1 in each of nine updates.
            found = host(training, "dense1.weight")
            np.testing.assert_allclose(found, before - v, rtol=0.0, atol=1e-15)


def test_fit_with_a_schedule(backend):
    options = {"loss": "half_squared_error", "backend": backend}
    schedule = Warmup(1, CosineDecay(0.2, epochs=3))
    network = Network(LAYERS, dtype="float64")
    network.fit(
        X, NUMBERS, optimizer=SGD(schedule), epochs=3, batch_size=8, progress=False, **options
    )
    _, training = begin(backend=backend)
    for epoch in range(3):
        for place, batch in enumerate(training.batches(X, NUMBERS, epoch)):
            training.gradient(batch)
            for parameter, grad in training.plan.gradients.items():
                move = host(training, grad) * schedule(epoch + place / 3)
                training.write(parameter, host(training, parameter) - move)
    assert training.updates == 0
    for name, value in network.parameters.items():
        # Nine updates of numbers up to 1, rounded twice each.
        np.testing.assert_allclose(host(training, name), value, rtol=0.0, atol=1e-14)


def test_a_schedule_that_gives_no_rate_stops_before_its_update():
    _, training = begin(optimizer=SGD(lambda epoch: 0.1 if epoch < 1.5 else math.nan))
    for batch in training.batches(X, NUMBERS, epoch=0):
        training.step(batch)
    first, second, third = training.batches(X, NUMBERS, epoch=1)
    with pytest.raises(NetworkError, match=r"gave nan at epoch 1\.66667"):
        training.step(first)
    before = values(training)
    assert training.updates == 3
    for batch in (first, second):  # their own rates are good
        training.step(batch)
    assert (values(training)["dense1.bias"] != before["dense1.bias"]).all()
    with pytest.raises(NetworkError, match=r"gave nan at epoch 1\.66667"):
        training.step(third)
    assert training.updates == 5
