"""What must be possible from outside: no test here changes plan, runner or training loop.

Kernels, layers and losses are written as a user of the library would write them.
"""

import importlib
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import pytest
import ways
from oracle import assert_trains_by_the_formulas

from portable_nn import (
    SGD,
    Adam,
    CrossEntropy,
    Dense,
    Dropout,
    Network,
    ReLU,
    Tanh,
    kernels,
)
from portable_nn.initializers import ones, zeros
from portable_nn.kernels import Gradient, kernel, loss_kernel
from portable_nn.layers import Layer, chain
from portable_nn.losses import Loss
from portable_nn.plan import Data, Draw, Schedule
from portable_nn.random import DRAWS, Draws
from portable_nn.runner import run

GENERATOR = np.random.default_rng(7)
X = GENERATOR.standard_normal((32, 6))
NUMBERS = GENERATOR.standard_normal((32, 2))
LABELS = GENERATOR.integers(0, 2, 32)


# -- what a user would write ---------------------------------------------------------------


def _row(xp, features):
    return xp.expand_dims(features, axis=-2)


@kernel(shapes=lambda grad, normal, inverse, scale: (grad, scale, scale))
def batch_norm_backward(xp, grad, normal, inverse, scale):
    grad_scale = xp.sum(grad * normal, axis=-2, keepdims=True)
    grad_shift = xp.sum(grad, axis=-2, keepdims=True)
    mean = (grad_shift + normal * grad_scale) / grad.shape[-2]
    grad_x = (grad - mean) * (inverse * _row(xp, scale))
    return grad_x, xp.squeeze(grad_scale, axis=-2), xp.squeeze(grad_shift, axis=-2)


@kernel(
    shapes=lambda x, scale, *rest, **options: (x, x, (*x[:-2], 1, x[-1]), scale, scale),
    backward=lambda call, grads: [
        Gradient((0, 1, 2), (grads[0], *call.outputs[1:3], call.inputs[1]), batch_norm_backward)
    ],
)
def batch_norm(xp, x, scale, shift, mean, variance, momentum, epsilon):
    """The batch is normalised by its biased variance; the unbiased one is remembered."""
    n = x.shape[-2]
    centre = xp.mean(x, axis=-2, keepdims=True)
    spread = xp.mean((x - centre) * (x - centre), axis=-2, keepdims=True)
    inverse = 1.0 / xp.sqrt(spread + epsilon)
    normal = (x - centre) * inverse
    new_mean = mean + (xp.squeeze(centre, axis=-2) - mean) * momentum
    unbiased = xp.squeeze(spread, axis=-2) * (n / (n - 1))
    new_variance = variance + (unbiased - variance) * momentum
    return normal * _row(xp, scale) + _row(xp, shift), normal, inverse, new_mean, new_variance


@kernel(shapes=lambda x, *rest, **options: (x,))
def batch_norm_predict(xp, x, scale, shift, mean, variance, epsilon):
    slope = scale / xp.sqrt(variance + epsilon)
    return (x - _row(xp, mean)) * _row(xp, slope) + _row(xp, shift)


@dataclass(frozen=True)
class BatchNorm:
    momentum: float = 0.1
    epsilon: float = 1e-5

    def forward(self, builder, x, mode):
        shape = (builder.features(x),)
        scale = builder.parameter("scale", shape, ones)
        shift = builder.parameter("shift", shape, zeros)
        mean, variance = builder.state("mean", shape, zeros), builder.state("variance", shape, ones)
        inputs, options = (x, scale, shift, mean, variance), {"epsilon": self.epsilon}
        if mode != "train":
            return builder.call(batch_norm_predict, *inputs, **options)
        y, _, _, *moved = builder.emit(batch_norm, *inputs, momentum=self.momentum, **options)
        builder.carry(mean, moved[0])
        builder.carry(variance, moved[1])
        return y


@dataclass(frozen=True)
class Residual:
    """``x`` plus what the inner layers make of it."""

    layers: tuple[Layer, ...]

    def forward(self, builder, x, mode):
        return builder.call(kernels.add, x, chain(builder, self.layers, x, mode))


@loss_kernel()
def summed_huber(xp, z, targets, weight, scale, delta):
    error = z - targets
    inner = xp.clip(error, -delta, delta)
    value = xp.sum(inner * (error - 0.5 * inner) * weight, axis=(-2, -1)) * scale
    return value, inner * weight * scale


@dataclass(frozen=True)
class SummedHuber(Loss):
    kernel = summed_huber
    delta: float = 1.0


# -- aids ----------------------------------------------------------------------------------


def begin(layers, backend, *, loss="half_squared_error", batch_size=None, optimizer="sgd"):
    """A float64 network with its training begun, seed 3."""
    network = Network(layers, dtype="float64")
    options = {"loss": loss, "optimizer": optimizer, "batch_size": batch_size}
    return network, network.start(**options, seed=3, backend=backend)


def host(training, name):
    return training.session.backend.to_host(training.read(name))


def gradients(training, batch):
    """The gradient of each parameter, on the host."""
    training.gradient(batch)
    return {name: host(training, grad) for name, grad in training.plan.gradients.items()}


def central_differences(training, batch, name, h=1e-6):
    """The gradient of one parameter from two losses an element."""
    backend, value = training.session.backend, host(training, name)
    grad = np.empty_like(value)
    for place in np.ndindex(value.shape):
        losses = []
        for end in (value[place] - h, value[place] + h):
            moved = value.copy()
            moved[place] = end
            training.write(name, backend.asarray(moved, "float64"))
            losses.append(float(backend.to_host(training.gradient(batch))))
        grad[place] = (losses[1] - losses[0]) / (2.0 * h)
    training.write(name, backend.asarray(value, "float64"))
    return grad


def assert_gradients_are_slopes(training, batch):
    # Losses near 1, rounded to 1e-16, over 2h: 1e-10; truncation, h^2 f'''/6: 1e-12. Both sum
    # over a few dozen terms: the largest difference seen is 6e-10.
    for name, grad in gradients(training, batch).items():
        slopes = central_differences(training, batch, name)
        np.testing.assert_allclose(grad, slopes, rtol=0.0, atol=2e-9, err_msg=name)


def running(training):
    return {name: host(training, f"batchnorm1.{name}") for name in ("mean", "variance")}


def assert_near(found, expected, tolerance):
    """Norm-wise, array by array; for what one call cannot be judged by, as a formula written here.

    Another order of the same sums moves an array by 1e-16 to 1e-15, measured; tolerances are
    ten times that or more, and anything wrong in a formula is a million times that.
    """
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert found[name].shape == value.shape
        difference = np.linalg.norm(found[name] - value)
        assert difference <= tolerance * np.linalg.norm(value), (name, difference)


def initial(plan, seed):
    """Every parameter and state of a plan, as its source says."""
    return {
        buffer.name: buffer.source.fill(
            Draws(seed, "initialize", buffer.source.stream), buffer.bound({})
        )
        for buffer in plan.of_kind("parameter", "state")
    }


def fed(plan, seed, update):
    """Every fed buffer of update 1, 2, ... of Adam on all rows at once, as its source says."""
    n, weight, targets = len(X), np.ones((len(X), 1)), LABELS[:, np.newaxis]
    data = {"x": X, "targets": targets, "weight": weight, "rows": np.arange(n), "scale": 1.0 / n}
    found = {}
    for buffer in plan.of_kind("fed"):
        match buffer.source:
            case Data(field):
                found[buffer.name] = data[field]
            case Schedule(name):
                found[buffer.name] = Adam().hyperparameters(update, 0.0)[name]
            case Draw(purpose, stream, rate):
                draws, columns = Draws(seed, purpose, stream, update), buffer.shape[-1]
                found[buffer.name] = DRAWS[purpose](draws, n, columns, rate)
    return found


def put(plan, backend, values):
    """Host values on the device, each in the dtype of its buffer."""
    dtypes = {"float": plan.dtype, "index": "index"}
    return {
        name: backend.asarray(value, dtypes[plan.buffers[name].dtype])
        for name, value in values.items()
    }


def whole_step(plan, xp):
    """Gradient and update as one pure function, ``{name: array} -> {name: array}``."""

    def step(arrays):
        after = run(plan, "gradient", xp, arrays)
        return {**after, **run(plan, "update", xp, {**arrays, **after})}

    return step


def five_steps(plan, backend, step):
    """All parameters and state, on the host, after five calls of a whole step."""
    state = put(plan, backend, initial(plan, seed=0))
    for update in range(1, 6):
        after = step({**state, **put(plan, backend, fed(plan, 0, update))})
        state = {name: after[name] for name in state}
    return {name: backend.to_host(value) for name, value in state.items()}


def classifier():
    """A plan with all of it; no bias before BatchNorm, which would have no gradient."""
    layers = [Dense(6, use_bias=False), BatchNorm(), ReLU(), Dropout(0.25), Dense(2)]
    return Network(layers, dtype="float64").plan(CrossEntropy(), Adam(), features=6)


# -- the tests -----------------------------------------------------------------------------


def test_batch_norm(backend):
    network, training = begin([Dense(6, use_bias=False), BatchNorm(), Tanh(), Dense(2)], backend)
    (batch,) = training.batches(X, NUMBERS, epoch=0, shuffle=False)
    for _ in range(3):
        training.step(batch)  # scale, shift and the running statistics leave 1 and 0
    values, old = network.parameters, running(training)
    z = X @ values["dense1.weight"]

    def outputs(mean, variance):
        normal = (z - mean) / np.sqrt(variance + 1e-5)
        hidden = np.tanh(normal * values["batchnorm1.scale"] + values["batchnorm1.shift"])
        return hidden @ values["dense2.weight"] + values["dense2.bias"]

    loss = 0.5 * np.sum((outputs(z.mean(0), z.var(0)) - NUMBERS) ** 2) / len(X)
    # Here and below: sums of 32 rows in another order.
    assert float(backend.to_host(training.gradient(batch))) == pytest.approx(loss, rel=1e-14)
    new = {"mean": z.mean(0), "variance": z.var(0, ddof=1)}
    moved = running(training)
    assert_near(moved, {name: old[name] + 0.1 * (new[name] - old[name]) for name in old}, 1e-14)
    assert_near({"": network.predict(X)}, {"": outputs(**moved)}, 1e-14)
    assert_near(running(training), moved, 0.0)  # to predict moves nothing
    assert_gradients_are_slopes(training, batch)


def test_dropout(backend):
    network, training = begin(
        [Dense(20, weight=zeros, bias=ones), Dropout(0.5)], backend, batch_size=8
    )
    # Row i of x is the unit vector i, so row i of the weight's gradient is that of row i of
    # the batch: mask^2 / n, where all factors are powers of two.
    batch, short = training.batches(np.eye(12), np.zeros((12, 20)), epoch=0, shuffle=False)
    parts = [
        replace(batch, rows=batch.rows[:4]),
        replace(batch, rows=batch.rows[4:], first_row=4),
    ]
    for update in (1, 2):
        mask = Draws(3, "dropout", step=update).keep_mask(8, 20, 0.5)
        assert set(np.unique(mask)) == {0.0, 2.0}
        whole, last = np.zeros((2, 12, 20))
        whole[:8], last[8:] = mask**2 / 8, mask[:4] ** 2 / 4
        cut = sum(gradients(training, part)["dense1.weight"] for part in parts)
        np.testing.assert_array_equal(gradients(training, batch)["dense1.weight"], whole)
        np.testing.assert_array_equal(cut, whole)
        np.testing.assert_array_equal(gradients(training, short)["dense1.weight"], last)
        training.update()
        for name, value in initial(training.plan, seed=3).items():
            training.write(name, backend.asarray(value, "float64"))
    assert [call.kernel for call in network.plan(mode="predict").calls] == [kernels.linear]


def test_residual_block(backend):
    layers = [Dense(6), Residual((ReLU(), Dense(6))), Residual((ReLU(),)), Tanh(), Dense(2)]
    # Memory that is overwritten too early would be wrong in the first digit.
    assert_trains_by_the_formulas(
        layers, X, NUMBERS, loss="half_squared_error", optimizer="sgd", dtype="float64",
        backend=backend, steps=2, batch_size=None,
    )  # fmt: skip
    _, training = begin(layers, ways.open_way("numpy-reference"))
    (batch,) = training.batches(X, NUMBERS, epoch=0)
    assert_gradients_are_slopes(training, batch)
    plan = training.plan
    read_twice = [call for call in plan.calls if call.kernel is kernels.relu]
    assert not {call.outputs[0] for call in read_twice} & set(plan.donated)
    assert any(call.outputs[0] in plan.donated for call in plan.calls if call not in read_twice)
    sums = [call.outputs[0] for call in plan.calls if call.kernel is kernels.add]
    assert [name.endswith(".sum") for name in sums] == [False, False, True, True]


def test_accumulation(backend):
    found = []
    for cuts in ([0, 32], [0, 8, 16, 24, 32]):
        layers = [Dense(6), ReLU(), Dropout(0.25), Dense(2)]
        network, training = begin(layers, backend, loss=CrossEntropy(), optimizer=Adam())
        for epoch in range(3):
            (batch,) = training.batches(X, LABELS, epoch)
            total = dict.fromkeys(["loss", *training.plan.gradients.values()], 0.0)
            for first, stop in pairwise(cuts):
                rows = batch.rows[first:stop]
                training.gradient(replace(batch, rows=rows, first_row=first))
                total = {name: part + training.read(name) for name, part in total.items()}
            for name, value in total.items():
                training.write(name, value)
            training.update()
        found.append(network.parameters | {"loss": host(training, "loss")})
    assert_near(*found, 1e-14)


def test_custom_loss(backend):
    layers = [Dense(6), Tanh(), Dense(2)]

    def fit(loss):
        network = Network(layers, dtype="float64")
        return network.fit(X, NUMBERS, loss=loss, epochs=5, backend=backend, progress=False)

    network = fit(SummedHuber(0.5))
    assert network.history["loss"][-1] < network.history["loss"][0]
    assert_trains_by_the_formulas(
        layers, X, NUMBERS, loss=SummedHuber(0.5), optimizer="adam", dtype="float64",
        backend=backend, steps=5, batch_size=32,
    )  # fmt: skip
    squared = fit("half_squared_error")  # what SummedHuber is where no error is large
    # Two formulas of one loss: five steps of sums of 32 rows that are rounded differently.
    assert_near(fit(SummedHuber(1e9)).parameters, squared.parameters, 1e-14)
    _, training = begin([Dense(2)], backend, loss=SummedHuber(0.5))
    (batch,) = training.batches(X, NUMBERS, epoch=0)
    assert_gradients_are_slopes(training, batch)


# Not JAX: it would compile each operation once more for the stacked shapes, for 5 s.
@pytest.mark.parametrize("backend", ["numpy-reference", "strict-device1", "torch"], indirect=True)
def test_population(backend):
    plan = classifier()
    step = whole_step(plan, backend.xp)
    values = [initial(plan, seed) | fed(plan, seed, update=1) for seed in range(4)]
    own = {buffer.name for buffer in plan.of_kind("parameter", "state")} | {"dropout1.draw"}
    stacked = {name: np.stack([v[name] for v in values]) for name in own}
    found = step(put(plan, backend, values[0] | stacked))
    alone = [step(put(plan, backend, v)) for v in values]
    expected = {name: np.stack([backend.to_host(a[name]) for a in alone]) for name in found}
    assert expected["loss"].shape == (4,)  # one for each network
    # Products with a leading axis may sum in another order.
    assert_near({name: backend.to_host(value) for name, value in found.items()}, expected, 1e-14)


def test_short_last_batch(backend):
    network = Network([Dense(6), Tanh(), Dense(2)], dtype="float64")
    options = {"loss": "half_squared_error", "optimizer": SGD(0.1), "batch_size": 12, "seed": 5}
    network.fit(X, NUMBERS, **options, epochs=2, backend=backend, progress=False)
    names = ["dense1.weight", "dense1.bias", "dense2.weight", "dense2.bias"]
    w1, b1, w2, b2 = (initial(network.plan(), seed=5)[name] for name in names)
    history = []
    for epoch in range(2):
        losses = []
        for rows in np.split(Draws(5, "shuffle", step=epoch).permutation(32), [12, 24]):
            a = np.tanh(X[rows] @ w1 + b1)
            error = a @ w2 + b2 - NUMBERS[rows]
            losses.append(0.5 * np.sum(error**2))
            error /= len(rows)
            inner = error @ w2.T * (1.0 - a * a)
            w1, b1 = w1 - 0.1 * X[rows].T @ inner, b1 - 0.1 * inner.sum(0)
            w2, b2 = w2 - 0.1 * a.T @ error, b2 - 0.1 * error.sum(0)
        history.append(sum(losses) / 32)
    # Six steps of sums of up to twelve rows in another order.
    assert_near(network.parameters, dict(zip(names, [w1, b1, w2, b2], strict=True)), 1e-14)
    assert network.history["loss"] == pytest.approx(history, rel=1e-14)


def test_whole_step_under_jax_jit():
    backend, plan, traced = ways.open_way("jax"), classifier(), []
    step = whole_step(plan, backend.xp)

    def watched(arrays):
        traced.append(True)
        return step(arrays)

    found = five_steps(plan, backend, importlib.import_module("jax").jit(watched))
    reference = ways.open_way("numpy-reference")
    # No backend, and no calls to look at: five steps of sums whose roundings a compiler fuses;
    # seen: 1.1e-15.
    assert_near(found, five_steps(plan, reference, whole_step(plan, reference.xp)), 1e-13)
    assert len(traced) == 1  # compiled once, for all five updates


@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch")  # in what torch imports itself
def test_whole_step_under_torch_compile():
    backend, plan = ways.open_way("torch"), classifier()
    torch = importlib.import_module("torch")
    # "aot_eager" traces and functionalises all of it, as "inductor" does, but runs the graph
    # as it is: what C++ the latter makes of one is torch's affair, and half a minute's work.
    step = torch.compile(whole_step(plan, backend.xp), fullgraph=True, backend="aot_eager")
    five_steps(plan, backend, step)
    with torch.compiler.set_stance("fail_on_recompile"):
        found = five_steps(plan, backend, step)
    reference = ways.open_way("numpy-reference")
    # As under jax.jit.
    assert_near(found, five_steps(plan, reference, whole_step(plan, reference.xp)), 1e-13)
