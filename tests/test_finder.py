"""A training at rising rates: what it did, what it suggests, and that the suggestion trains."""

import copy
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import portable_nn as pnn
from portable_nn import SGD, Adam, DataError, NetworkError, find_learning_rate, kernels
from portable_nn.datasets import load_digits, split
from portable_nn.losses import Loss

GENERATOR = np.random.default_rng(8)
X = GENERATOR.standard_normal((50, 4))
NUMBERS = X @ GENERATOR.standard_normal((4, 2)) + 0.1 * GENERATOR.standard_normal((50, 2))
OPTIONS = {"loss": "half_squared_error", "batch_size": 8}


def network(dtype="float64"):
    return pnn.Network([pnn.Dense(6), pnn.Tanh(), pnn.Dense(2)], dtype=dtype)


@pytest.fixture(scope="module")
def digits():
    return split(*load_digits())


def test_the_losses_are_those_of_a_training_at_these_rates(backend):
    sweep = find_learning_rate(
        network(), X, NUMBERS, optimizer=SGD(momentum=0.5), low=1e-4, high=100.0, steps=60, seed=3,
        backend=backend, **OPTIONS,
    )  # fmt: skip
    done = len(sweep.rates)
    assert 20 < done < 60  # it blows up
    wanted = np.geomspace(1e-4, 100.0, 60)[:done]
    np.testing.assert_allclose(sweep.rates, wanted, rtol=1e-12)  # powers, up to 1e6
    rates = [*sweep.rates, *[1.0] * 60]
    training = network().start(
        optimizer=SGD(lambda epoch: rates[round(7 * epoch)], momentum=0.5),  # 50 rows: 7 batches
        seed=3,
        backend=backend,
        **OPTIONS,
    )
    losses = [
        float(training.session.backend.to_host(training.step(batch)))
        for epoch in range(9)
        for batch in training.batches(X, NUMBERS, epoch)
    ]
    np.testing.assert_array_equal(sweep.losses, losses[:done])
    mean, smoothed = 0.0, []
    for k, loss in enumerate(losses, start=1):
        mean = 0.9 * mean + 0.1 * loss
        smoothed.append(mean / (1.0 - 0.9**k))
    # The same recurrence, some roundings at each step, which fade.
    np.testing.assert_allclose(sweep.smoothed, smoothed[:done], rtol=1e-13)
    assert smoothed[done] > 4.0 * min(smoothed[:done])
    limits = 4.0 * np.minimum.accumulate(sweep.smoothed)
    assert (sweep.smoothed <= limits).all()


def test_the_suggestion_is_where_the_smoothed_loss_falls_fastest():
    sweep = find_learning_rate(network(), X, NUMBERS, optimizer="sgd", **OPTIONS)
    rates, smoothed = sweep.rates, sweep.smoothed
    first, last = len(rates) // 10, int(np.argmin(smoothed))
    assert first < last < len(rates) - 1
    drops = {rates[k]: (smoothed[k + 1] - smoothed[k - 1]) for k in range(max(first, 1), last + 1)}
    assert sweep.suggestion == min(drops, key=drops.get)
    assert type(sweep.suggestion) is float


def sweep_of(losses, monkeypatch):
    """What is made of these losses, one an update."""
    monkeypatch.setattr(
        "portable_nn.finder._train",
        lambda *given: ((k / 7, loss) for k, loss in enumerate(losses)),
    )
    return find_learning_rate(network(), X, NUMBERS, steps=max(len(losses), 10), **OPTIONS)


def test_it_stops_above_four_times_the_least(monkeypatch):
    falling = [2.0 - 0.02 * k for k in range(50)]
    before = len(sweep_of(falling, monkeypatch).rates)
    assert before == 50
    # From some 1.2 a loss of 11.2 lifts the running mean by a tenth of the way: 2.2, 3.1, 3.9,
    # 4.6, 5.3, more than four times as much after six.
    found = sweep_of([*falling, *[11.2] * 20], monkeypatch)
    least = found.smoothed.min()
    assert found.smoothed[-1] <= 4.0 * least < 0.9 * found.smoothed[-1] + 0.1 * 11.2 < 6.0 * least
    assert 52 < len(found.rates) < 60
    for end in (np.nan, np.inf):
        found = sweep_of([*falling, end, *falling], monkeypatch)
        np.testing.assert_array_equal(found.losses, falling)


def test_what_falls_at_the_beginning_or_after_the_least_does_not_count(monkeypatch):
    losses = np.concatenate([
        [9.0, 9.0, 3.0, 3.0, 3.0], np.full(25, 5.0), np.linspace(5.0, 1.0, 30), np.full(4, 18.0),
        np.full(6, 0.0),
    ])  # fmt: skip
    found = sweep_of(losses.tolist(), monkeypatch)
    assert len(found.rates) == len(losses)
    slopes = np.gradient(found.smoothed)
    chosen = found.rates.tolist().index(found.suggestion)
    assert 30 <= chosen <= np.argmin(found.smoothed) < 62
    assert slopes[:5].min() < slopes[chosen]
    assert slopes[64:].min() < slopes[chosen]


OPTIMIZERS = {"adam": Adam, "rmsprop": pnn.RMSProp, "sgd": SGD}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_suggestion_trains_on_the_digits(name, digits):
    x, y, x_test, y_test = digits
    layers = [pnn.Dense(64), pnn.ReLU(), pnn.Dense(10)]
    sweep = find_learning_rate(
        pnn.Network(layers), x, y, loss="cross_entropy", optimizer=name, backend="numpy"
    )
    options = {"loss": "cross_entropy", "epochs": 5, "progress": False, "backend": "numpy"}

    def score(rate):
        trained = pnn.Network(layers).fit(x, y, optimizer=OPTIMIZERS[name](rate), **options)
        return trained.score(x_test, y_test)

    found = score(sweep.suggestion)
    assert found > 0.9
    # It is of the right order: a hundredth of it is worse.
    assert found > score(sweep.suggestion / 100.0) + 0.05


def test_the_network_is_not_changed():
    given = network().fit(X, NUMBERS, progress=False, **OPTIONS)
    before, history = given.parameters, copy.deepcopy(given.history)
    sweep = find_learning_rate(given, X, NUMBERS, **OPTIONS)
    for name, value in given.parameters.items():
        np.testing.assert_array_equal(value, before[name])
    assert given.history == history
    # It begins as a fit would: from the seed, not from what was learned.
    for wanted, seed in [(sweep, 0), (find_learning_rate(given, X, NUMBERS, seed=1, **OPTIONS), 1)]:
        found = find_learning_rate(network(), X, NUMBERS, seed=seed, **OPTIONS)
        np.testing.assert_array_equal(found.losses, wanted.losses)
    unfitted = network()
    find_learning_rate(unfitted, X, NUMBERS, **OPTIONS)
    with pytest.raises(pnn.NotFittedError):
        unfitted.predict(X)


def test_what_is_said_of_the_data_is_heeded():
    plain = find_learning_rate(network(), X, NUMBERS, **OPTIONS)
    weight = GENERATOR.uniform(0.1, 1.0, 50)
    for other in ({"sample_weight": weight}, {"standardize": True}, {"batch_size": None}):
        found = find_learning_rate(network(), X, NUMBERS, **OPTIONS | other)
        assert found.losses[0] != plain.losses[0]
    scaled, standard = (
        find_learning_rate(network(), X, factor * NUMBERS, standardize=True, **OPTIONS)
        for factor in (1e3, 1.0)
    )
    assert scaled.losses[0] == pytest.approx(standard.losses[0], rel=1e-9)  # some roundings


def test_the_rates_are_those_of_the_optimizer_inside():
    plain = find_learning_rate(network(), X, NUMBERS, optimizer=SGD(0.3), **OPTIONS)
    for around in (
        pnn.ClippedNorm(SGD(), 1e9),
        pnn.MaxNorm(pnn.ClippedNorm(SGD(0.1), 1e9), 1e9),
        pnn.ParameterGroups(SGD(), {"dense1": SGD(5.0)}),
        SGD(pnn.CosineDecay(0.1, 3)),
    ):
        found = find_learning_rate(network(), X, NUMBERS, optimizer=around, **OPTIONS)
        # Roundings of float64 that differ, in 50 updates.
        np.testing.assert_allclose(found.losses[:50], plain.losses[:50], rtol=1e-9)


@dataclass(frozen=True)
class Rateless:
    scale: float = 0.1

    def hyperparameters(self, step, epoch):
        return {"learning_rate": self.scale}

    def update(self, *given: Any):
        SGD().update(*given)


@pytest.mark.parametrize("optimizer", [Rateless(), pnn.LBFGS()], ids=["own", "LBFGS"])
def test_an_optimizer_without_a_rate(optimizer):
    with pytest.raises(NetworkError, match=r"(Rateless|LBFGS) has no learning_rate to look for"):
        find_learning_rate(network(), X, NUMBERS, optimizer=optimizer, **OPTIONS)


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"low": 0.0}, DataError, "the lowest rate is above 0, .* low=0"),
        ({"low": -1.0}, DataError, "the lowest rate is above 0, .* low=-1"),
        ({"low": 10.0}, DataError, r"the range of rates is \(low, high\).* got \(10.0, 10.0\)"),
        ({"high": math.inf}, DataError, "the range of rates is"),
        ({"high": None}, DataError, "the range of rates is"),
        ({"steps": 9}, DataError, "10 steps or more; .* steps=9"),
        ({"steps": 12.5}, DataError, "steps is a whole number, 1 or more; got 12.5"),
        ({"optimizer": "adma"}, NetworkError, "Did you mean 'adam'"),
        ({"batch_size": 0}, DataError, "batch_size is a whole number"),
        ({"low": 1e-50, "optimizer": SGD()}, NetworkError, "1e-50 as learning_rate .* float32"),
        ({"low": 1e3, "high": 1e6, "optimizer": SGD()}, NetworkError, "after [0-9] updates: noth"),
        ({"low": 1e-30, "high": 1e-25}, NetworkError, "does not fall at any rate from 1e-30 to"),
    ],
)
def test_what_it_does_not_take(options, error, words):
    with pytest.raises(error, match=words):
        find_learning_rate(network("float32"), X, NUMBERS, **OPTIONS | {"steps": 20} | options)


def test_what_is_no_network():
    with pytest.raises(DataError, match="a network is a Network; got 3"):
        find_learning_rate(3, X, NUMBERS, loss="half_squared_error")


@kernels.loss_kernel()
def lowered(xp, z, targets, weight, scale):
    loss, grad = kernels.half_squared_error.meaning(xp, z, targets, weight, scale)
    return loss - 50.0, grad


class Lowered(Loss):
    kernel = lowered


def test_a_loss_may_be_below_0():
    """Four times such a loss would be less than it."""
    plain = find_learning_rate(network(), X, NUMBERS, optimizer="sgd", **OPTIONS)
    found = find_learning_rate(
        network(), X, NUMBERS, optimizer="sgd", **OPTIONS | {"loss": Lowered()}
    )
    both = min(len(plain.rates), len(found.rates))
    assert both > 50
    # Roundings of numbers up to 50 in float64.
    np.testing.assert_allclose(found.losses[:both] + 50.0, plain.losses[:both], atol=1e-12)
    assert found.suggestion == plain.suggestion
