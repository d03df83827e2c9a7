"""A rate that falls when the training no longer improves, and what it sees of the training."""

import copy
import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

import portable_nn as pnn
from portable_nn import SGD, Adam, Chain, NetworkError, PiecewiseConstant, ReduceOnPlateau, Warmup
from portable_nn.optimizers import check_hyperparameters
from portable_nn.schedules import following

GENERATOR = np.random.default_rng(6)
X = GENERATOR.standard_normal((24, 4))
NUMBERS = GENERATOR.standard_normal((24, 2))
LABELS = GENERATOR.integers(0, 2, 24)


# -- the rate by the metric ----------------------------------------------------------------

SETTINGS = {
    "as it is": {},
    "impatient": {"patience": 0},
    "coarse": {"patience": 2, "threshold": 0.1, "factor": 0.5},
    "any improvement": {"patience": 1, "threshold": 0.0, "factor": 0.9},
    "cooling down": {"patience": 1, "cooldown": 3, "factor": 0.5},
    "cooling down, impatient": {"patience": 0, "cooldown": 1, "factor": 0.7},
    "not below": {"patience": 1, "factor": 0.3, "least": 0.01},
    "more is better": {"patience": 2, "mode": "max", "factor": 0.5},
    "more is better, coarse": {"patience": 1, "mode": "max", "threshold": 0.05, "cooldown": 2},
}
every_setting = pytest.mark.parametrize("settings", SETTINGS.values(), ids=list(SETTINGS))


def metrics(seed, kind):
    """60 epochs of a metric above 0, falling or rising on the whole, with some that are equal."""
    generator = np.random.default_rng(seed)
    steps = generator.standard_normal(60) * 0.1
    trend = {"falls": -0.02, "stays": 0.0, "rises": 0.02}[kind]
    return np.round(np.exp(np.cumsum(steps + trend)), 2) + 0.01


def textbook(values, rate, factor=0.1, patience=10, threshold=1e-4, cooldown=0, least=0.0,
             mode="min"):  # fmt: skip
    """The rate of each epoch, from the definition: arrays, and no count that goes on."""
    good, best = np.zeros(len(values), dtype=bool), values[0]
    for k, value in enumerate(values):
        less, more = value < best * (1.0 - threshold), value > best * (1.0 + threshold)
        good[k] = k == 0 or (less if mode == "min" else more)
        best = value if good[k] else best
    rates, since = [rate], 0  # ``since``: the first epoch that may count
    for k in range(len(values)):
        window = good[max(k - patience, 0) : k + 1]
        if k - patience >= since and not window.any():
            rate, since = max(rate * factor, least), k + 1 + cooldown
        rates.append(rate)
    return rates


@pytest.mark.parametrize("kind", ["falls", "stays", "rises"])
@every_setting
def test_the_rate_is_that_of_the_textbook_epoch_by_epoch(settings, kind):
    changed = 0
    for seed in range(20):
        values = metrics(seed, kind).tolist()
        schedule = ReduceOnPlateau(0.4, **settings)
        found = [schedule.after(values[:k]) for k in range(61)]
        assert found == textbook(values, 0.4, **settings)
        changed += found[-1] < 0.4
    better = {"min": "falls", "max": "rises"}[settings.get("mode", "min")]
    assert changed > 0 or (kind == better and settings == {})


@pytest.mark.parametrize("kind", ["falls", "stays", "rises"])
@every_setting
def test_the_rate_is_that_of_torch_epoch_by_epoch(settings, kind):
    torch = pytest.importorskip("torch")
    named = {name.replace("least", "min_lr"): value for name, value in settings.items()}
    for seed in range(20):
        values = metrics(seed, kind).tolist()
        by = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.4)
        other = torch.optim.lr_scheduler.ReduceLROnPlateau(by, eps=0.0, **named)
        schedule = ReduceOnPlateau(0.4, **settings)
        for k, value in enumerate(values, start=1):
            other.step(value)
            assert schedule.after(values[:k]) == by.param_groups[0]["lr"]


def test_a_metric_that_is_no_number_or_below_0():
    schedule = ReduceOnPlateau(1.0, factor=0.5, patience=1, threshold=0.1)
    assert schedule.after([math.nan, math.nan]) == 0.5
    assert schedule.after([math.nan, 1.0, math.nan]) == 1.0
    assert schedule.after([math.inf, 5.0, math.nan, math.nan]) == 0.5
    assert schedule.after([-math.inf, -1.0, -2.0]) == 0.5
    # Better than -10 by a tenth is below -11.
    assert schedule.after([-10.0, -10.9, -10.9]) == 0.5
    assert schedule.after([-10.0, -10.9, -11.1]) == 1.0
    rising = ReduceOnPlateau(1.0, factor=0.5, patience=1, threshold=0.1, mode="max")
    assert rising.after([-10.0, -9.1, -9.1]) == 0.5
    assert rising.after([-10.0, -9.1, -8.9]) == 1.0


# -- which metric --------------------------------------------------------------------------


def test_unbound_it_is_its_rate():
    schedule = ReduceOnPlateau(0.4, patience=0)
    assert [schedule(epoch) for epoch in (0.0, 3.5, 99.0)] == [0.4] * 3
    check_hyperparameters(SGD(schedule), "float32", 100, 3)


def test_bound_it_is_a_function_of_the_history_as_it_is_when_asked():
    schedule, history = ReduceOnPlateau(0.4, factor=0.5, patience=0), {}
    bound = schedule.follow(history)
    assert bound(0.0) == 0.4
    history["loss"] = [1.0, 0.5, 0.5]
    assert bound(3.0) == bound(0.0) == 0.2
    history["loss"].append(0.5)
    assert bound(4.0) == 0.1
    history["validation_loss"] = [1.0, 0.9, 0.8, 0.8]
    assert bound(4.0) == 0.2
    history.clear()
    assert bound(5.0) == 0.4
    assert schedule == ReduceOnPlateau(0.4, factor=0.5, patience=0)


class Counted(float):
    """A metric that counts how often it is compared with the best."""

    compared = 0

    def __lt__(self, other):
        Counted.compared += 1
        return float.__lt__(self, other)


def test_a_history_is_read_once_however_often_it_is_asked():
    history = {"loss": [Counted(value) for value in metrics(3, "stays")]}
    schedule = ReduceOnPlateau(0.4, patience=2, factor=0.9)
    bound, wanted = schedule.follow(history), schedule.after(history["loss"])
    assert wanted < 0.4
    Counted.compared = 0
    assert [bound(60.0 + k / 1000) for k in range(1000)] == [wanted] * 1000
    assert Counted.compared == 60
    for k in range(10):
        history["loss"].append(Counted(9.0))
        for _ in range(20):
            bound(61.0 + k)
    assert Counted.compared == 70
    assert bound(71.0) == schedule.after(history["loss"]) < wanted


def test_a_history_that_is_shortened_or_another_is_read_anew():
    schedule = ReduceOnPlateau(0.4, patience=1, factor=0.5)
    values = metrics(4, "rises").tolist()
    history = {"loss": list(values)}
    bound, wanted = schedule.follow(history), [schedule.after(values[:k]) for k in range(61)]
    assert len(set(wanted)) > 10
    for k in (60, 30, 29, 45, 3, 0, 60):
        history["loss"][:] = values[:k]
        assert bound(60.0) == wanted[k]
    history["loss"][:] = [1.0 - k / 100 for k in range(60)]  # as many, and better ones
    assert bound(60.0) == 0.4
    history["loss"] = values
    assert bound(60.0) == wanted[60]


def test_the_metric_that_is_named():
    history = {"loss": [1.0, 0.5], "validation_loss": [1.0, 0.5], "validation_r2": [0.5, 0.4]}
    for metric, mode, rate in [
        ("validation_r2", "max", 0.2), ("validation_r2", "min", 0.4), ("loss", "min", 0.4),
        ("loss", "max", 0.2),
    ]:  # fmt: skip
        schedule = ReduceOnPlateau(0.4, 0.5, 0, metric=metric, mode=mode)
        assert schedule.follow(history)(2.0) == rate
        assert schedule.follow({})(0.0) == 0.4


def test_a_metric_that_is_not_there():
    network = pnn.Network([pnn.Dense(2)])
    options = {"loss": "mean_squared_error", "progress": False, "epochs": 2}
    adam = Adam(ReduceOnPlateau(0.1, metric="validation_r2", mode="max"))
    with pytest.raises(NetworkError, match=r"looks at validation_r2; the history has loss, secon"):
        network.fit(X, NUMBERS, optimizer=adam, **options)
    network.fit(X, NUMBERS, optimizer=adam, validation=(X, NUMBERS), **options)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"rate": 0.0}, "ReduceOnPlateau takes a number above 0 as rate; got 0"),
        ({"factor": 1.0}, "a number between 0 and 1.0 as factor; got 1"),
        ({"patience": -1}, "a whole number of epochs, 0 or more, as patience; got -1"),
        ({"patience": 2.5}, "a whole number of epochs, 0 or more, as patience; got 2.5"),
        ({"cooldown": True}, "a whole number of epochs, 0 or more, as cooldown; got True"),
        ({"threshold": -1e-4}, "a finite number, 0 or more as threshold; got -0.0001"),
        ({"least": 0.1}, "from 0 to below 0.1 as least; got 0.1"),
        ({"least": None}, "from 0 to below 0.1 as least; got None"),
        ({"metric": 3}, "name of an entry of the history as metric, or None; got 3"),
        ({"mode": "auto"}, "takes mode='min' or 'max'; got 'auto'"),
    ],
)
def test_what_it_does_not_take(settings, words):
    with pytest.raises(NetworkError, match=words):
        ReduceOnPlateau(**{"rate": 0.1} | settings)


# -- how it sees the training --------------------------------------------------------------


@dataclass(frozen=True)
class Wrapped:
    """An optimizer around another one, which notes what the numbers of each update are."""

    inner: Any
    seen: list = field(default_factory=list, compare=False)

    def hyperparameters(self, step, epoch):
        found = self.inner.hyperparameters(step, epoch)
        self.seen.append((epoch, found["learning_rate"]))
        return found

    def update(self, *given):
        self.inner.update(*given)


def test_following_changes_what_follows_and_nothing_else():
    history, schedule = {"loss": [1.0, 1.0]}, ReduceOnPlateau(0.4, factor=0.5, patience=0)
    for whole in (0.1, "sgd", SGD(0.1), Adam(pnn.CosineDecay(0.1, 3)), None, (1, 2), SGD, schedule):
        if whole is not schedule:
            assert following(whole, history) is whole
    assert following(ReduceOnPlateau, history) is ReduceOnPlateau
    chain = Chain([PiecewiseConstant([0.3, 0.2], [1]), schedule], [5])
    for whole in (
        SGD(schedule), SGD(Warmup(1, schedule)), SGD(chain), Wrapped(SGD(Warmup(1, chain))),
    ):  # fmt: skip
        bound = following(whole, history)
        assert type(bound) is type(whole)
        assert bound is not whole
        assert bound.hyperparameters(1, 9.0)["learning_rate"] == 0.2
        assert whole.hyperparameters(1, 9.0)["learning_rate"] == 0.4
    assert following(SGD(chain), history).hyperparameters(1, 1.0)["learning_rate"] == 0.2
    assert following(SGD(chain), history).hyperparameters(1, 0.0)["learning_rate"] == 0.3


def test_following_goes_into_wrappers_and_groups():
    history, schedule = {"loss": [1.0, 1.0]}, ReduceOnPlateau(0.4, factor=0.5, patience=0)
    plain, falling = SGD(0.3), SGD(schedule)
    groups = pnn.ParameterGroups(pnn.ClippedNorm(plain, 1.0), {"dense1": falling, "dense2": plain})
    bound = following(groups, history)
    assert bound.optimizer is groups.optimizer
    assert bound.groups["dense2"] is groups.groups["dense2"]
    assert bound.groups["dense1"].hyperparameters(1, 5.0)["learning_rate"] == 0.2
    bound = following(pnn.ClippedNorm(falling, schedule), history)
    assert list(bound.hyperparameters(1, 5.0).values()) == [0.2, 0.2]


def train(schedule, network=None, epochs=12, wrap=Wrapped, **options):
    """A network after a fit, and the rates of its updates by the epoch they belong to."""
    network = network or pnn.Network([pnn.Dense(4), pnn.Tanh(), pnn.Dense(2)], dtype="float64")
    optimizer = wrap(SGD(schedule))
    options = {"loss": "half_squared_error", "batch_size": 8, "progress": False} | options
    network.fit(X, NUMBERS, optimizer=optimizer, epochs=epochs, **options)
    return network, optimizer.seen[-3 * epochs :]


SLOW = ReduceOnPlateau(0.1, factor=0.5, patience=1, threshold=0.1)


@pytest.mark.parametrize("validation", [None, (X[:7], NUMBERS[:7])], ids=["", "validation"])
def test_a_fit_takes_the_rates_of_its_own_history(validation, backend):
    network, seen = train(SLOW, validation=validation, backend=backend)
    values = network.history["loss" if validation is None else "validation_loss"]
    wanted = textbook(values, 0.1, factor=0.5, patience=1, threshold=0.1)
    assert 2 <= len(set(wanted[:12])) < 12  # it falls, and not each time
    assert [rate for _, rate in seen] == [rate for rate in wanted[:12] for _ in range(3)]
    assert [int(epoch) for epoch, _ in seen] == [epoch for epoch in range(12) for _ in range(3)]


def test_a_fit_by_the_falling_rate_is_one_by_the_same_rates_said_before():
    network, seen = train(SLOW)
    rates = [rate for _, rate in seen[::3]]
    again, _ = train(PiecewiseConstant(rates, range(1, 12)))
    assert again.history["loss"] == network.history["loss"]
    constant, _ = train(0.1)
    assert constant.history["loss"] != network.history["loss"]


def test_every_fit_begins_anew():
    network, first = train(SLOW)
    before = network.history
    _, second = train(SLOW, network)
    assert second == first
    assert network.history is not before
    assert network.history["loss"] == before["loss"]
    _, warm = train(SLOW, network, warm_start=True)
    assert warm[0] == (0.0, 0.1)
    wanted = textbook(network.history["loss"], 0.1, factor=0.5, patience=1, threshold=0.1)
    assert [rate for _, rate in warm[::3]] == wanted[:12]


def test_the_history_of_the_network_is_that_of_its_training(monkeypatch):
    given = []
    monkeypatch.setattr("portable_nn.network.fit", lambda training, *rest: given.append(training))
    network = pnn.Network([pnn.Dense(2)])
    network.fit(X, NUMBERS, loss="mean_squared_error", progress=False)
    assert network.history is given[0].history


def test_the_open_loop_fills_the_history_itself():
    network = pnn.Network([pnn.Dense(2)])
    optimizer = Wrapped(SGD(ReduceOnPlateau(0.1, factor=0.5, patience=0)))
    training = network.start(loss="half_squared_error", optimizer=optimizer, batch_size=12)
    for epoch in range(4):
        for batch in training.batches(X, NUMBERS, epoch):
            training.step(batch)
        training.history.setdefault("loss", []).append(1.0)
    assert [rate for _, rate in optimizer.seen[-8:]] == [
        0.1, 0.1, 0.1, 0.1, 0.05, 0.05, 0.025, 0.025,
    ]  # fmt: skip
    assert network.history == {}


def test_two_trainings_by_one_optimizer_do_not_see_each_other():
    optimizer = SGD(ReduceOnPlateau(0.1, factor=0.5, patience=0))
    trainings = [
        pnn.Network([pnn.Dense(2)]).start(loss="half_squared_error", optimizer=optimizer)
        for _ in range(2)
    ]
    trainings[0].history["loss"] = [1.0, 1.0]
    moved = []
    for training in trainings:
        (batch,) = training.batches(X, NUMBERS, epoch=2)
        training.gradient(batch)
        before = training.read("dense1.weight").copy()
        training.update()
        moved.append(before - training.read("dense1.weight"))
    # One rounding of float32 in each difference of numbers up to 1.
    np.testing.assert_allclose(moved[0] * 2.0, moved[1], rtol=0.0, atol=5e-7)
    assert np.abs(moved[1]).max() > 1e-3


def test_it_is_saved_as_it_was_given(tmp_path):
    network = pnn.Network([pnn.Dense(2)])
    options = {"loss": "half_squared_error", "progress": False}
    network.fit(X, NUMBERS, optimizer=SGD(SLOW), **options)
    network.save(tmp_path / "network.safetensors")
    for other in (copy.deepcopy(network), pnn.load(tmp_path / "network.safetensors")):
        assert other._fitted.optimizer == SGD(SLOW)
        other.fit(X, NUMBERS, optimizer=other._fitted.optimizer, **options)
        assert other.history["loss"] == network.history["loss"]
