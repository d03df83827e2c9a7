"""The training loop: its batches, its steps laid open, what is kept, and how it stops."""

import gc
import io
import math
import os
import signal
import sys
import threading
from dataclasses import dataclass, replace
from itertools import islice, pairwise

import numpy as np
import pytest
import ways

from portable_nn import (
    SGD,
    Adagrad,
    Adam,
    AdamW,
    CrossEntropy,
    DataError,
    Dense,
    Dropout,
    Lion,
    Network,
    NetworkError,
    NonFiniteError,
    NotFittedError,
    RAdam,
    ReLU,
    RMSProp,
    Tanh,
    kernels,
)
from portable_nn.initializers import zeros
from portable_nn.kernels import elementwise
from portable_nn.optimizers import OPTIMIZERS, as_optimizer
from portable_nn.progress import Progress
from portable_nn.schedules import CosineDecay
from portable_nn_numpy import NumPyBackend

GENERATOR = np.random.default_rng(5)
X = GENERATOR.standard_normal((24, 4))
LABELS = GENERATOR.integers(0, 3, 24)
NUMBERS = GENERATOR.standard_normal((24, 2))
LAYERS = (Dense(6), Tanh(), Dense(2))


def begin(layers=LAYERS, loss="half_squared_error", dtype="float64", **options):
    """A network, with its training begun."""
    network = Network(layers, dtype=dtype)
    return network, network.start(loss=loss, **{"batch_size": 8, **options})


def host(training, name):
    return training.session.backend.to_host(training.read(name))


def rows(training, batch):
    """Which rows of the data a batch takes."""
    return training.session.backend.to_host(batch.rows).tolist()


def order(training, epoch, **options):
    """Row numbers in the order of an epoch, batch by batch."""
    return [rows(training, batch) for batch in training.batches(X, NUMBERS, epoch, **options)]


def values(training):
    """Every parameter and state, on the host."""
    return {b.name: host(training, b.name) for b in training.plan.of_kind("parameter", "state")}


def assert_equal(found, expected):
    """The same arrays by name, to the last bit."""
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value, err_msg=name)


# -- the loop laid open --------------------------------------------------------------------


def test_the_open_loop_is_fit(backend):
    x, y, layers = X[:20], LABELS[:20], [Dense(8), ReLU(), Dropout(0.2), Dense(3)]
    network = Network(layers)
    step = network.start(
        loss=CrossEntropy(), optimizer=Adam(1e-3), batch_size=8, backend=backend, seed=0
    )
    history = []
    for epoch in range(3):
        losses, weights = [], []
        for batch in step.batches(x, y, epoch=epoch):
            loss = step.gradient(batch)
            step.update()
            losses.append(float(backend.to_host(loss)))
            weights.append(batch.weight)
        history.append(float(np.array(losses) @ weights / np.sum(weights)))
    whole = Network(layers).fit(
        x, y, loss="cross_entropy", optimizer="adam", epochs=3, batch_size=8, seed=0,
        backend=backend, progress=False,
    )  # fmt: skip
    assert history == whole.history["loss"]
    assert step.updates == 9
    assert_equal(network.parameters, whole.parameters)
    np.testing.assert_array_equal(network.predict_proba(x), whole.predict_proba(x))
    assert str(step.plan) == str(whole.plan())


def test_one_whole_step_is_gradient_and_update(backend):
    _, whole = begin(backend=backend, optimizer="adam")
    _, parts = begin(backend=backend, optimizer="adam")
    pairs = zip(*[t.batches(X, NUMBERS, epoch=0) for t in (whole, parts)], strict=True)
    for batch, same in pairs:
        loss = whole.step(batch)
        parts.gradient(same)
        parts.update()
        ways.assert_lives(loss, backend, "float64", ())
        np.testing.assert_array_equal(backend.to_host(loss), host(parts, "loss"))
        assert_equal(values(whole), values(parts))
    assert whole.updates == parts.updates == 3


def test_what_is_read_lives_on_the_backend(backend):
    _, training = begin(backend=backend, optimizer="adam")
    (batch, *_) = training.batches(X, NUMBERS, epoch=0)
    training.gradient(batch)
    for buffer in training.plan.of_kind("parameter", "state"):
        ways.assert_lives(training.read(buffer.name), backend, "float64", buffer.shape)
    for parameter, grad in training.plan.gradients.items():
        shape = training.plan.buffers[parameter].shape
        ways.assert_lives(training.read(grad), backend, "float64", shape)
    ways.assert_lives(training.read("loss"), backend, "float64", ())
    assert training.session.backend is backend


def test_gradient_changes_nothing_and_can_be_repeated(backend):
    _, training = begin([Dense(6), Dropout(0.5), Dense(2)], backend=backend)
    first, second, *_ = training.batches(X, NUMBERS, epoch=0)
    losses = [float(backend.to_host(training.gradient(b))) for b in (first, second, first)]
    assert losses[0] == losses[2] != losses[1]
    assert training.updates == 0


def test_the_network_predicts_with_the_parameters_as_they_stand(backend):
    network, training = begin([Dense(2)], backend=backend, optimizer=SGD(0.1))

    def expected():
        return X @ host(training, "dense1.weight") + host(training, "dense1.bias")

    seen = []
    for batch in training.batches(X, NUMBERS, epoch=0):
        seen.append(network.predict(X))
        training.step(batch)
        # Sums of five products.
        np.testing.assert_allclose(network.predict(X), expected(), rtol=0.0, atol=1e-14)
    assert all((a != b).any() for a, b in pairwise([*seen, network.predict(X)]))


def test_clipping_by_hand(backend):
    _, training = begin(backend=backend, optimizer=SGD(0.1))
    (batch, *_) = training.batches(X, NUMBERS, epoch=0)
    training.gradient(batch)
    before = values(training)
    grads = {name: host(training, grad) for name, grad in training.plan.gradients.items()}
    norm = math.sqrt(sum(float(np.sum(grad**2)) for grad in grads.values()))
    assert norm > 0.25
    for name, grad in training.plan.gradients.items():
        training.write(grad, training.read(grad) * (0.25 / norm))
        np.testing.assert_array_equal(host(training, grad), grads[name] * (0.25 / norm))
    training.update()
    after = values(training)
    moved = [(after[name] - value) / 0.1 for name, value in before.items()]
    # The length of the step is the clipped norm; differences of numbers near 1, over 0.1.
    length = math.sqrt(sum(float(np.sum(move**2)) for move in moved))
    assert length == pytest.approx(0.25, abs=1e-13)
    for name, value in before.items():
        expected = value - 0.1 * (0.25 / norm) * grads[name]
        np.testing.assert_allclose(after[name], expected, rtol=0.0, atol=1e-15)


def test_what_is_written_is_what_the_next_step_uses(backend):
    network, training = begin([Dense(2, weight=zeros)], backend=backend, optimizer=Adam())
    (batch, *_) = training.batches(X, NUMBERS, epoch=0)
    training.step(batch)
    new = np.arange(8.0).reshape(4, 2)
    training.write("dense1.weight", backend.asarray(new, "float64"))
    training.write("dense1.bias", backend.asarray([0.0, 0.0], "float64"))
    training.write("m.dense1.weight", backend.asarray(np.zeros((4, 2)), "float64"))
    np.testing.assert_array_equal(network.parameters["dense1.weight"], new)
    # Sums of four products of numbers up to 20.
    np.testing.assert_allclose(network.predict(X), X @ new, rtol=0.0, atol=1e-13)
    training.gradient(batch)
    grad = host(training, training.plan.gradients["dense1.weight"])
    training.update()
    expected = (1.0 - 0.9) * grad  # what is left of m without its past
    np.testing.assert_allclose(host(training, "m.dense1.weight"), expected, rtol=1e-15)


def test_before_data_or_a_gradient_there_is_nothing_to_see():
    _, training = begin()
    with pytest.raises(NotFittedError, match=r"the first batches\(x, y, epoch=0\) brings it"):
        _ = training.plan
    batches = training.batches(X, NUMBERS, epoch=0)
    next(batches)
    for ask in (training.update, lambda: training.read("loss"), lambda: training.write("loss", 0)):
        with pytest.raises(NotFittedError, match="call gradient"):
            ask()
    assert training.plan.mode == "train"


def test_other_data_in_between():
    """Parameters, moments and what counts as a label go on."""
    names = np.array(["a", "b", "c"])[LABELS]
    first, second = np.arange(16), np.flatnonzero(LABELS > 0)
    assert set(names[first]) == {"a", "b", "c"} != set(names[second])
    options = {"loss": "cross_entropy", "optimizer": "adam", "batch_size": None}
    network, training = begin([Dense(3)], **options)
    _, joined = begin([Dense(3)], **options)
    (whole,) = joined.batches(X, names, epoch=0, shuffle=False)
    for part in (first, second, first):
        (batch,) = training.batches(X[part], names[part], epoch=0, shuffle=False)
        training.step(batch)
        joined.step(replace(batch, data=whole.data, rows=whole.rows[part]))
    assert_equal(values(training), values(joined))
    assert set(network.predict(X)) <= {"a", "b", "c"}


# -- batches -------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 5, 8, 12, 23, 24, 25, None])
def test_every_row_is_in_one_batch(size):
    _, training = begin(batch_size=size)
    batches = list(training.batches(X, NUMBERS, epoch=0))
    found = [rows(training, batch) for batch in batches]
    assert sorted(row for part in found for row in part) == list(range(24))
    step = min(size or 24, 24)
    assert [batch.n for batch in batches] == [len(part) for part in found]
    assert [batch.n for batch in batches[:-1]] == [step] * (len(batches) - 1)
    assert batches[-1].n == (24 % step or step)
    assert [batch.weight for batch in batches] == [batch.n for batch in batches]
    assert [float(batch.scale) for batch in batches] == [1.0 / batch.n for batch in batches]
    assert {batch.first_row for batch in batches} == {0}


def test_batches_are_the_same_on_every_backend(backend):
    weight = np.linspace(0.0, 1.0, 24)
    found = []
    for place in (backend, ways.open_way("numpy")):
        _, training = begin(backend=place, seed=3)
        batches = list(training.batches(X, NUMBERS, epoch=1, sample_weight=weight))
        for batch in batches:
            ways.assert_lives(batch.scale, place, "float64", ())
        scales = [float(place.to_host(batch.scale)) for batch in batches]
        found.append(([rows(training, b) for b in batches], [b.weight for b in batches], scales))
    assert found[0] == found[1]
    for taken, total, scale in zip(*found[0], strict=True):
        assert total == pytest.approx(weight[taken].sum(), rel=1e-15)  # a sum of eight
        assert scale == 1.0 / total


def test_the_order_depends_on_seed_and_epoch_only():
    _, training = begin(seed=0)
    _, again = begin([Dense(3), ReLU(), Dense(2)], loss="mean_squared_error", seed=0)
    _, other = begin(seed=1)
    epochs = [order(training, epoch) for epoch in range(4)]
    assert [order(again, epoch) for epoch in (3, 2, 1, 0)] == epochs[::-1]
    distinct = {str(taken) for taken in [*epochs, *(order(other, epoch) for epoch in range(4))]}
    assert len(distinct) == 8
    in_order = [list(range(24))[first : first + 8] for first in (0, 8, 16)]
    assert order(training, 0, shuffle=False) == order(other, 5, shuffle=False) == in_order


def test_training_does_not_move_the_order():
    """An order is a function of the seed and the epoch, not of what was drawn before."""
    layers = [Dense(4), Dropout(0.5), Dense(2)]
    _, used = begin(layers)
    for batch in used.batches(X, NUMBERS, epoch=0):
        used.step(batch)
    assert order(used, 1) == order(begin(layers)[1], 1)


def test_a_step_is_started_once_for_each_number_of_rows(backend, monkeypatch):
    started, start = [], backend.start

    def counted(plan, state, n):
        started.append((plan.mode, n))
        return start(plan, state, n)

    monkeypatch.setattr(backend, "start", counted)
    x, y, options = X[:20], LABELS[:20], {"epochs": 3, "batch_size": 8, "validation": (X, LABELS)}
    network = Network([Dense(8), ReLU(), Dense(3)])
    network.fit(x, y, loss="cross_entropy", **options, backend=backend, progress=False)
    assert sorted(started) == [("evaluate", 24), ("train", 4), ("train", 8)]


# -- hyper-parameters ----------------------------------------------------------------------


def adam_by_the_book(learning_rate=0.001, beta1=0.9, beta2=0.999, epsilon=1e-8):
    """Algorithm 1 of Kingma and Ba 2015, line by line: send in gradients, get parameters."""
    m = v = 0.0
    theta, t = (yield), 0
    while True:
        g = yield theta
        t += 1
        m = beta1 * m + (1.0 - beta1) * g
        v = beta2 * v + (1.0 - beta2) * g**2
        m_hat = m / (1.0 - beta1**t)
        v_hat = v / (1.0 - beta2**t)
        theta = theta - learning_rate * m_hat / (np.sqrt(v_hat) + epsilon)


def sgd_by_the_book(learning_rate=0.01):
    theta = yield
    while True:
        g = yield theta
        theta = theta - learning_rate * g


def momentum_by_the_book(learning_rate, momentum):
    """The velocity of the tutorials: the rate inside it."""
    v, theta = 0.0, (yield)
    while True:
        g = yield theta
        v = momentum * v + learning_rate * g
        theta = theta - v


def nesterov_by_the_book(learning_rate, momentum):
    """Eq. 3 and 4 of Sutskever et al. 2013: gradients are taken, as here, at theta + momentum v."""
    v, theta = 0.0, (yield)
    while True:
        g = yield theta + momentum * v
        v = momentum * v - learning_rate * g
        theta = theta + v


def rmsprop_by_the_book(learning_rate=0.001, beta=0.9, epsilon=1e-8):
    """The running mean of the tutorials: epsilon inside the root."""
    mean_square, theta = 0.0, (yield)
    while True:
        g = yield theta
        mean_square = beta * mean_square + (1.0 - beta) * g**2
        theta = theta - learning_rate / np.sqrt(mean_square + epsilon) * g


BOOK = {
    "adam": (Adam(), adam_by_the_book()),
    "adam, other settings": (
        Adam(0.03, beta1=0.5, beta2=0.9, epsilon=1e-3),
        adam_by_the_book(0.03, 0.5, 0.9, 1e-3),
    ),
    "sgd": (SGD(), sgd_by_the_book()),
    "sgd, another rate": (SGD(0.3), sgd_by_the_book(0.3)),
    "momentum": (SGD(0.05, momentum=0.9), momentum_by_the_book(0.05, 0.9)),
    "nesterov": (SGD(0.05, 0.8, nesterov=True), nesterov_by_the_book(0.05, 0.8)),
    "rmsprop": (RMSProp(), rmsprop_by_the_book()),
    "rmsprop, other settings": (
        RMSProp(0.03, beta=0.5, epsilon=1e-3),
        rmsprop_by_the_book(0.03, 0.5, 1e-3),
    ),
}


def steps(training, count):
    """Gradients of this many steps, in epochs of three batches, of one, and broken off."""
    done = epoch = 0
    while done < count:
        data = (X, NUMBERS) if epoch % 4 else (X[:8], NUMBERS[:8])
        for place, batch in enumerate(training.batches(*data, epoch)):
            if done == count or (epoch % 4 == 2 and place == 1):
                break
            training.gradient(batch)
            yield host(training, training.plan.gradients["dense1.weight"])
            training.update()
            done += 1
        epoch += 1


@pytest.mark.parametrize(("optimizer", "book"), BOOK.values(), ids=list(BOOK))
def test_updates_are_those_of_the_book(optimizer, book):
    _, training = begin(optimizer=optimizer)
    next(training.batches(X, NUMBERS, epoch=0))
    start = training.session.backend.to_host(training.session.state["dense1.weight"])
    next(book)
    expected = book.send(start)
    for grad in steps(training, 100):
        # A hundred steps of some ten roundings each, of numbers up to 1.
        np.testing.assert_allclose(host(training, "dense1.weight"), expected, rtol=0.0, atol=1e-13)
        expected = book.send(grad)
    np.testing.assert_allclose(host(training, "dense1.weight"), expected, rtol=0.0, atol=1e-13)
    assert training.updates == 100


@elementwise()
def down_by(xp, parameter, grad, rate):
    return parameter - rate


@dataclass(frozen=True)
class DownBy:
    """An optimizer whose rate can be read off the parameters."""

    def hyperparameters(self, step, epoch):
        return {"rate": 1.0 - 0.999**step}

    def update(self, builder, parameter, grad, hyper):
        builder.assign([parameter], down_by, parameter, grad, *hyper)


def test_hyperparameters_are_formed_in_float64_and_rounded_once(backend):
    _, training = begin([Dense(2)], dtype="float32", optimizer=DownBy(), backend=backend)
    nothing = backend.asarray([0.0, 0.0], "float32")
    for epoch in range(2):
        for batch in training.batches(X, NUMBERS, epoch):
            training.gradient(batch)
            training.write("dense1.bias", nothing)
            training.update()
            rate = np.float32(1.0 - 0.999**training.updates)
            np.testing.assert_array_equal(host(training, "dense1.bias"), [-rate, -rate])
    assert training.updates == 6


def test_fit_counts_updates_across_epochs(backend):
    network = Network([Dense(2)], dtype="float64")
    options = {"batch_size": 8, "progress": False, "backend": backend}
    network.fit(X, NUMBERS, loss="half_squared_error", optimizer=DownBy(), epochs=3, **options)
    total = sum(1.0 - 0.999**step for step in range(1, 10))
    # Nine roundings of numbers up to 0.05.
    np.testing.assert_allclose(network.parameters["dense1.bias"], [-total] * 2, rtol=1e-14)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (
            lambda: SGD(0.1, momentum=1.0),
            r"SGD takes a number from 0 to below 1\.0 as momentum; got 1",
        ),
        (lambda: SGD(0.1, momentum=-0.9), r"a number from 0 to below 1\.0 as momentum; got -0\.9"),
        (lambda: SGD(0.1, momentum=None), "as momentum, or a schedule such as .*; got None"),
        (lambda: SGD(0.1, nesterov=True), "takes a momentum too, such as 0.9; got 0"),
        (lambda: SGD(0.1, nesterov=1), "SGD takes True or False as nesterov; got 1"),
        (lambda: SGD(0.1, dampening=0.5), "dampening goes with a momentum, .*; got momentum=0.0"),
        (lambda: SGD(0.1, 0.9, True, 0.5), "and without nesterov; got momentum=0.9, nesterov=True"),
        (lambda: SGD(True), "SGD takes a number above 0 as learning_rate; got True"),
        (lambda: RMSProp(beta=1.0), r"RMSProp takes a number from 0 to below 1\.0 as beta; got 1"),
        (lambda: RMSProp(epsilon=0.0), "RMSProp takes a number above 0 as epsilon; got 0"),
        (lambda: RMSProp("0.1"), "takes a number above 0 as learning_rate, or a schedule"),
        (lambda: RMSProp(centered=None), "RMSProp takes True or False as centered; got None"),
        (lambda: RMSProp(epsilon_place="after"), "takes 'inside' or 'outside' as epsilon_place"),
        (lambda: Adagrad(initial_accumulator=-0.1), "0 or more as initial_accumulator; got -0.1"),
        (lambda: Adagrad(initial_accumulator=math.inf), "as initial_accumulator; got inf"),
        (lambda: Adam(CosineDecay), "takes a number above 0 as learning_rate, or a schedule"),
        (lambda: Adam(amsgrad="no"), "Adam takes True or False as amsgrad; got 'no'"),
        (lambda: Adam(epsilon_place="outside"), "takes 'after' or 'before' as epsilon_place"),
        (lambda: AdamW(weight_decay=-1.0), "finite number, 0 or more as weight_decay; got -1"),
        (lambda: AdamW(weight_decay=math.inf), "0 or more as weight_decay; got inf"),
        (
            lambda: AdamW(decay_all_parameters=0),
            "AdamW takes True or False as decay_all_parameters",
        ),
        (lambda: RAdam(beta2=1.0), "RAdam takes a number from 0 to below 1.0 as beta2; got 1"),
        (lambda: Lion(beta1=True), "Lion takes a number from 0 to below 1.0 as beta1; got True"),
        (
            lambda: Lion(decay_all_parameters=None),
            "True or False as decay_all_parameters; got None",
        ),
    ],
)
def test_what_an_optimizer_does_not_take(make, words):
    with pytest.raises(NetworkError, match=words):
        make()


def test_every_optimizer_has_a_name():
    for name, optimizer in OPTIMIZERS.items():
        assert as_optimizer(name) == optimizer()
        assert optimizer.__name__.lower() == name


# -- the loss of an epoch ------------------------------------------------------------------


def test_the_loss_of_an_epoch_is_the_weighted_mean_of_its_batches(backend):
    weight = np.linspace(0.0, 3.0, 24)
    options = {"loss": "half_squared_error", "optimizer": SGD(0.1), "backend": backend}
    network = Network(LAYERS, dtype="float64")
    network.fit(X, NUMBERS, **options, epochs=2, batch_size=8, sample_weight=weight, progress=False)
    _, training = begin(optimizer=SGD(0.1), backend=backend)
    for epoch in range(2):
        total = 0.0
        for batch in training.batches(X, NUMBERS, epoch, sample_weight=weight):
            loss = float(backend.to_host(training.step(batch)))
            total += loss * weight[rows(training, batch)].sum()
        # Three products and their sum.
        assert network.history["loss"][epoch] == pytest.approx(total / weight.sum(), rel=1e-15)


# -- a loss that is not finite -------------------------------------------------------------


@dataclass(frozen=True)
class Stumble:
    """Gradient descent that takes one step too far: its rate is infinite in one update."""

    at: int
    rate: float = math.inf

    def hyperparameters(self, step, epoch):
        return {"learning_rate": self.rate if step == self.at else 0.01}

    def update(self, builder, parameter, grad, hyper):
        builder.assign([parameter], kernels.sgd, parameter, grad, *hyper)


# The reference way on NumPy leaves NumPy's own warnings as the user has set them.
overflows = pytest.mark.filterwarnings("ignore:.* encountered in:RuntimeWarning")


@overflows
def test_a_loss_that_is_not_finite(backend):
    options = {"loss": "half_squared_error", "batch_size": 8, "progress": False}
    options |= {"backend": backend, "validation": (X, NUMBERS)}
    network, before = (Network(LAYERS, dtype="float64") for _ in range(2))
    with pytest.raises(NonFiniteError) as caught:
        network.fit(X, NUMBERS, optimizer=Stumble(at=7), epochs=5, **options)
    text = str(caught.value)
    assert "the loss became nan in epoch 3, step 2;" in text
    assert "the first value that is not finite is dense1.weight." in text
    assert "The parameters are those from before this epoch." in text
    before.fit(X, NUMBERS, optimizer=SGD(0.01), epochs=2, **options)
    assert_equal(network.parameters, before.parameters)
    del network.history["seconds"], before.history["seconds"]
    assert network.history == before.history
    np.testing.assert_array_equal(network.predict(X), before.predict(X))


@overflows
def test_a_rate_that_makes_the_loss_infinite(backend):
    """The replay takes every update's own rate, or it would find nothing."""
    options = {"loss": "half_squared_error", "batch_size": 8, "progress": False}
    network, before = (Network(LAYERS, dtype="float64") for _ in range(2))
    words = "inf in epoch 3, step 3; .* is loss, from half_squared_error."
    with pytest.raises(NonFiniteError, match=words):
        network.fit(
            X, NUMBERS, optimizer=SGD(lambda epoch: 0.01 if epoch < 2.3 else 1e200), epochs=5,
            backend=backend, **options,
        )  # fmt: skip
    before.fit(X, NUMBERS, optimizer=SGD(0.01), epochs=2, backend=backend, **options)
    assert_equal(network.parameters, before.parameters)


@overflows
@pytest.mark.parametrize(
    ("layers", "culprit"),
    [
        ([Dense(2, weight=lambda draws, shape: np.full(shape, 1e300))], "dense1, from linear."),
        ([Dense(2)], "loss, from half_squared_error."),
        ([Tanh(), Dense(2), ReLU()], "loss, from half_squared_error."),
    ],
    ids=["a layer", "the loss", "further on"],
)
def test_the_first_buffer_that_is_not_finite_is_named(backend, layers, culprit):
    x, y = np.full((24, 4), 1e10), NUMBERS
    if culprit.startswith("loss"):
        x, y = X, np.full((24, 2), 1e200)
    with pytest.raises(NonFiniteError, match=f"epoch 1, step 1; .* is {culprit}"):
        Network(layers, dtype="float64").fit(
            x, y, loss="half_squared_error", batch_size=8, progress=False, backend=backend
        )


# -- Ctrl-C --------------------------------------------------------------------------------


def interrupt():
    os.kill(os.getpid(), signal.SIGINT)


@pytest.fixture(autouse=True)
def the_handler_is_put_back():
    before = signal.getsignal(signal.SIGINT)
    yield
    found = signal.signal(signal.SIGINT, before)
    assert found is before


def after(updates, layers=LAYERS, **options):
    """The parameters after so many updates."""
    network, training = begin(layers, **options)
    for epoch in range(updates):
        for batch in training.batches(X, NUMBERS, epoch):
            if training.updates < updates:
                training.step(batch)
    return network.parameters


def interrupt_after(steps, monkeypatch):
    """Press Ctrl-C when so many steps or more are done; a list of them, so far."""
    done = []

    def count(progress, more):
        before = len(done)
        done.extend([True] * more)
        if before < steps <= len(done):
            interrupt()

    monkeypatch.setattr(Progress, "steps", count)
    return done


def test_ctrl_c_between_steps(backend, monkeypatch):
    monkeypatch.setattr("portable_nn.training.MOST_STEPS", 2)  # at a time: batches 1 and 2, then 3
    done = interrupt_after(5, monkeypatch)
    network = Network(LAYERS, dtype="float64")
    options = {"loss": "half_squared_error", "batch_size": 8, "backend": backend}
    with pytest.raises(KeyboardInterrupt):
        network.fit(X, NUMBERS, epochs=9, progress=False, **options)
    assert len(done) == 5
    assert {name: len(entries) for name, entries in network.history.items()} == {
        "loss": 1,
        "seconds": 1,
    }
    assert_equal(network.parameters, after(5, backend=backend))


class Tap:
    """A layer that changes nothing, and calls a function in the middle of each step."""

    def __init__(self, tapped):
        @elementwise()
        def tap(xp, grad):
            tapped()
            return grad * 1.0

        @elementwise(backward=lambda call, grads: [kernels.Gradient((0,), tuple(grads), tap)])
        def through(xp, z):
            return z * 1.0

        self.kernel = through

    def forward(self, builder, x, mode):
        return builder.call(self.kernel, x)


@pytest.mark.parametrize(
    "backend", ["numpy", "numpy-reference", "strict-device1", "torch"], indirect=True
)
def test_ctrl_c_inside_a_step_lets_it_end(backend, monkeypatch):
    monkeypatch.setattr("portable_nn.training.MOST_STEPS", 2)
    seen = []

    def tapped():
        seen.append(True)
        if len(seen) == 7:
            interrupt()

    def layers(tapped):
        return [Dense(6), Tap(tapped), Tanh(), Dense(2)]

    network = Network(layers(tapped), dtype="float64")
    options = {"loss": "half_squared_error", "batch_size": 8, "backend": backend}
    with pytest.raises(KeyboardInterrupt):
        network.fit(X, NUMBERS, epochs=9, progress=False, **options)
    assert len(seen) == (8 if isinstance(backend, NumPyBackend) else 7)
    assert len(network.history["loss"]) == 2
    assert_equal(network.parameters, after(len(seen), layers(lambda: None), backend=backend))


def test_ctrl_c_from_outside_at_any_time(monkeypatch):
    timer = threading.Timer(0.2, interrupt)
    monkeypatch.setattr(
        Progress, "epoch", lambda progress, number, entry: number == 1 and timer.start()
    )
    network = Network(LAYERS)
    with pytest.raises(KeyboardInterrupt):
        network.fit(X, NUMBERS, loss="half_squared_error", epochs=10**7, progress=False)
    timer.join()
    assert all(np.isfinite(value).all() for value in network.parameters.values())
    assert len(network.history["loss"]) == len(network.history["seconds"]) > 0
    assert np.isfinite(network.predict(X)).all()


def test_ctrl_c_after_the_last_step_is_not_lost(monkeypatch):
    monkeypatch.setattr(Progress, "epoch", lambda progress, number, entry: interrupt())
    network = Network(LAYERS)
    with pytest.raises(KeyboardInterrupt):
        network.fit(X, NUMBERS, loss="half_squared_error", epochs=1, progress=False)
    assert len(network.history["loss"]) == 1


def test_ctrl_c_keeps_no_parameters_that_are_not_finite(monkeypatch):
    """No loss of this epoch has been looked at when it is left."""
    interrupt_after(5, monkeypatch)
    network = Network(LAYERS, dtype="float64")
    options = {"loss": "half_squared_error", "batch_size": 8, "optimizer": Stumble(4, math.nan)}
    with pytest.raises(KeyboardInterrupt):
        network.fit(X, NUMBERS, epochs=9, progress=False, **options)
    assert len(network.history["loss"]) == 1
    assert all(np.isfinite(value).all() for value in network.parameters.values())


def test_a_second_ctrl_c_does_not_wait_for_the_step():
    seen = []

    def tapped():
        seen.append(True)
        if len(seen) == 3:
            interrupt()
            interrupt()
            seen.append("went on")

    network = Network([Dense(6), Tap(tapped), Tanh(), Dense(2)])
    with pytest.raises(KeyboardInterrupt):
        network.fit(X, NUMBERS, loss="half_squared_error", epochs=9, progress=False)
    assert "went on" not in seen
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_process_told_to_ignore_ctrl_c_ignores_it(monkeypatch):
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        monkeypatch.setattr(Progress, "steps", lambda progress, more: interrupt())
        network = Network(LAYERS)
        network.fit(X, NUMBERS, loss="half_squared_error", epochs=2, progress=False)
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
    assert len(network.history["loss"]) == 2


def test_fit_in_another_thread():
    network, expected = Network(LAYERS), Network(LAYERS)
    options = {"loss": "half_squared_error", "epochs": 2, "progress": False}
    thread = threading.Thread(target=network.fit, args=(X, NUMBERS), kwargs=options)
    thread.start()
    thread.join()
    assert_equal(network.parameters, expected.fit(X, NUMBERS, **options).parameters)


# -- progress ------------------------------------------------------------------------------


def fit(**options):
    network = Network([Dense(3)])
    return network.fit(X, LABELS, loss="cross_entropy", batch_size=8, **options)


def test_without_progress_nothing_is_printed(capfd):
    fit(epochs=3, progress=False, validation=(X, LABELS))
    assert capfd.readouterr() == ("", "")


def test_progress_is_a_line_an_epoch_on_standard_error(capfd):
    history = fit(epochs=10, progress=True, validation=(X, LABELS)).history
    out, err = capfd.readouterr()
    assert out == ""
    lines = err.splitlines()
    assert len(lines) == 10
    assert lines[0].startswith("epoch  1/10  loss ")
    for epoch, line in enumerate(lines):
        assert line == (
            f"epoch {epoch + 1:>2}/10  loss {history['loss'][epoch]:.4f}  "
            f"validation loss {history['validation_loss'][epoch]:.4f}  "
            f"validation accuracy {history['validation_accuracy'][epoch]:.4f}  "
            f"seconds {history['seconds'][epoch]:.4f}"
        )


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_terminal_gets_a_bar_over_all_steps_too(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    fit(epochs=4)
    text = terminal.getvalue()
    assert "/12 [" in text
    assert text.count("epoch ") == 4
    assert text.endswith("\r")  # the bar is wiped


def test_the_bar_is_closed_when_training_fails(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with pytest.raises(NonFiniteError):
        Network([Dense(3)]).fit(X, LABELS, loss="cross_entropy", optimizer=Stumble(at=2), epochs=3)
    assert terminal.getvalue().endswith("\r")


# -- whole epochs --------------------------------------------------------------------------


@pytest.mark.parametrize("dropout", [[], [Dropout(0.3)]], ids=["", "dropout"])
def test_an_epoch_is_its_steps_bit_for_bit(backend, dropout, monkeypatch):
    """Also where more steps run than fit into the memory of one stretch."""
    layers = [Dense(6), *dropout, Tanh(), Dense(2)]
    (by_steps, steps), (by_epochs, epochs) = (begin(layers, backend=backend) for _ in range(2))
    x, numbers = np.concatenate([X] * 5)[3:], np.concatenate([NUMBERS] * 5)[3:]
    for epoch in range(2):
        one_by_one = [(steps.step(b), b.weight) for b in steps.batches(x, numbers, epoch)]
        at_once = list(epochs.epoch(x, numbers, epoch))
        to_host = epochs.session.backend.to_host
        losses = np.concatenate([to_host(losses) for losses, _ in at_once])
        weights = np.concatenate([weights for _, weights in at_once])
        np.testing.assert_array_equal(losses, [to_host(loss) for loss, _ in one_by_one])
        np.testing.assert_array_equal(weights, [weight for _, weight in one_by_one])
        assert (len(at_once) < len(one_by_one)) == isinstance(backend, NumPyBackend)
    assert epochs.updates == steps.updates
    assert_equal(by_epochs.parameters, by_steps.parameters)
    for name in epochs.plan.kept:
        np.testing.assert_array_equal(to_host(epochs.read(name)), to_host(steps.read(name)))


@pytest.fixture
def few_at_once(monkeypatch):
    """Two steps at a time, as soon as there are two."""
    monkeypatch.setattr("portable_nn.training.MOST_STEPS", 2)


def test_an_epoch_does_not_go_on_with_other_data(few_at_once):
    _, training = begin(batch_size=2)
    epoch = training.epoch(X, NUMBERS, 0)
    next(epoch)
    next(training.batches(X[:10].copy(), NUMBERS[:10], 0))
    with pytest.raises(DataError, match="of other data"):
        next(epoch)


def test_an_epoch_ends_when_another_training_begins(few_at_once):
    network, training = begin(batch_size=2)
    epoch = training.epoch(X, NUMBERS, 0)
    next(epoch)
    other = network.start(loss="half_squared_error")
    next(other.batches(X, NUMBERS, 0))
    with pytest.raises(NetworkError, match="has taken this network over"):
        next(epoch)


@pytest.mark.parametrize("backend", ["numpy", "numpy-reference"], indirect=True)
def test_updates_are_counted_up_to_a_step_that_fails(backend):
    """Or Adam would begin again with the moments of later steps."""
    seen = []

    def tapped():
        seen.append(True)
        if len(seen) == 7:
            raise RuntimeError("boom")

    layers = [Dense(6), Tap(tapped), Tanh(), Dense(2)]
    network, training = begin(layers, optimizer="adam", batch_size=2, backend=backend)
    with pytest.raises(RuntimeError, match="boom"):
        list(training.epoch(X, NUMBERS, 0))
    assert training.updates == 6
    expected, other = begin(
        [Dense(6), Tap(lambda: None), Tanh(), Dense(2)], optimizer="adam", batch_size=2,
        backend=backend,
    )  # fmt: skip
    batches = list(other.batches(X, NUMBERS, 0))
    for batch in batches[:6]:
        other.step(batch)
    assert_equal(network.parameters, expected.parameters)
    for one in (training, other):
        (batch,) = list(one.batches(X, NUMBERS, 0))[6:7]
        one.step(batch)
    assert_equal(network.parameters, expected.parameters)


def test_a_schedule_that_fails_leaves_the_epoch_where_it_was():
    optimizer = SGD(lambda epoch: 0.1 if epoch < 1.5 else math.nan)
    _, training = begin(optimizer=optimizer, batch_size=2)
    list(training.epoch(X, NUMBERS, 0))
    with pytest.raises(NetworkError, match=r"gave nan at epoch 1\.5"):
        list(training.epoch(X, NUMBERS, 1))
    assert len(X) // 2 <= training.updates < len(X)


def test_random_numbers_are_formed_for_few_steps_at_a_time(monkeypatch):
    monkeypatch.setattr("portable_nn.feeding.DRAWN", 3 * 8 * 6)  # three masks of (8, 6)
    x, numbers = np.concatenate([X] * 10), np.concatenate([NUMBERS] * 10)
    _, training = begin([Dense(6), Dropout(0.5), Dense(2)])
    assert max(len(losses) for losses, _ in training.epoch(x, numbers, 0)) == 3


def test_steps_run_together_for_a_moment_only(monkeypatch):
    """So that Ctrl-C is seen soon, whatever a step takes."""
    clock = [0.0]

    def lasting(seconds):
        return Tap(lambda: clock.__setitem__(0, clock[0] + seconds))

    monkeypatch.setattr("portable_nn.training.perf_counter", lambda: clock[0])
    x, numbers = np.concatenate([X] * 100), np.concatenate([NUMBERS] * 100)
    for seconds, expected in [(0.1, [1] * 5), (0.004, [1, 2, 4, 4, 4]), (1e-9, [1, 2, 4, 8, 16])]:
        _, training = begin([Dense(6), lasting(seconds), Dense(2)])
        stretches = islice(training.epoch(x, numbers, 0), 5)
        assert [len(losses) for losses, _ in stretches] == expected


def test_a_fit_lets_go_of_its_data_at_once():
    """Without waiting for the garbage collection of cycles."""
    x, numbers = np.concatenate([X] * 4), np.concatenate([NUMBERS] * 4)
    network = Network(LAYERS, dtype="float64")
    gc.disable()
    try:
        before = sys.getrefcount(x)
        network.fit(x, numbers, loss="half_squared_error", progress=False)
        assert sys.getrefcount(x) == before
    finally:
        gc.enable()


def test_ctrl_c_before_the_first_step_of_a_stretch_counts_none(few_at_once, monkeypatch):
    def pressed(self):
        raise KeyboardInterrupt

    _, training = begin(batch_size=2)
    list(training.epoch(X, NUMBERS, 0))
    done = training.updates
    monkeypatch.setattr("portable_nn_numpy.threads.Threads.__enter__", pressed)
    with pytest.raises(KeyboardInterrupt):
        list(training.epoch(X, NUMBERS, 1))
    assert training.updates == done
