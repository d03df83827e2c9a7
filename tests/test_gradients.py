"""Every gradient that a plan computes, against central differences of the loss in float64.

All coordinates of every parameter are moved, on networks small enough for it.
"""

import inspect
from dataclasses import dataclass

import array_api_compat.numpy as xp
import numpy as np
import pytest
from oracle import central_differences

import portable_nn as pnn
from portable_nn import kernels
from portable_nn.layers import Layer, chain
from portable_nn.plan import Draw
from portable_nn.random import DRAWS, Draws
from portable_nn.runner import trace

ROWS, FEATURES = 5, 3


@dataclass(frozen=True)
class Residual:
    """``x + tanh(x) + inner(x)``: one value read three times."""

    inner: tuple[Layer, ...]

    def forward(self, builder, x, mode):
        bent = builder.call(kernels.add, x, builder.call(kernels.tanh, x))
        return builder.call(kernels.add, bent, chain(builder, self.inner, x, mode))


@dataclass(frozen=True)
class Squared:
    """``x * x``: one value read twice by one call."""

    def forward(self, builder, x, mode):
        return builder.call(kernels.multiply, x, x)


@dataclass(frozen=True)
class LastOnes:
    """The last features, times as many first ones."""

    count: int

    def forward(self, builder, x, mode):
        k = builder.features(x)
        last = builder.call(kernels.take_features, x, start=k - self.count, stop=k)
        first = builder.call(kernels.take_features, x, stop=self.count)
        return builder.call(kernels.multiply, last, first)


# -- the tables, complete by test ----------------------------------------------------------


def between(*layers):
    """Layers with parameters before them, so that the gradient of their input is needed."""
    return [pnn.Dense(4), *layers, pnn.Dense(2)]


LAYERS = {
    pnn.AlphaDropout: between(pnn.AlphaDropout(0.4)),
    pnn.BatchNorm: between(pnn.BatchNorm(), pnn.Tanh()),
    pnn.CELU: between(pnn.CELU(0.7)),
    pnn.Concatenate: between(pnn.Concatenate([[pnn.Dense(3), pnn.Tanh()], [], [pnn.Sigmoid()]])),
    pnn.Dense: [pnn.Dense(4), pnn.Dense(3, use_bias=False), pnn.Dense(2)],
    pnn.Dropout: between(pnn.Dropout(0.4)),
    pnn.ELU: between(pnn.ELU(0.7)),
    pnn.Embedding: [pnn.Embedding(4, 2), pnn.Tanh(), pnn.Dense(2)],
    pnn.Exponential: between(pnn.Exponential()),
    pnn.Flatten: [pnn.Flatten(), pnn.Dense(2)],
    pnn.GELU: between(pnn.GELU(), pnn.Dense(4), pnn.GELU("tanh")),
    pnn.GLU: between(pnn.GLU()),
    pnn.GaussianNoise: between(pnn.GaussianNoise(0.5), pnn.Tanh()),
    pnn.HardSigmoid: between(pnn.HardSigmoid()),
    pnn.HardSwish: between(pnn.HardSwish()),
    pnn.HardTanh: between(pnn.HardTanh(-0.5, 0.8)),
    pnn.Identity: between(pnn.Identity()),
    pnn.Input: [
        pnn.Concatenate([[pnn.Input("a"), pnn.Dense(2)], [pnn.Input("b"), pnn.Tanh()]]),
        pnn.Dense(2),
    ],
    pnn.LayerNorm: between(pnn.LayerNorm(), pnn.Tanh()),
    pnn.LeakyReLU: between(pnn.LeakyReLU(0.2)),
    pnn.LogSigmoid: between(pnn.LogSigmoid()),
    pnn.LogSoftmax: between(pnn.LogSoftmax()),
    pnn.Maxout: between(pnn.Maxout()),
    pnn.Mish: between(pnn.Mish()),
    pnn.PReLU: between(pnn.PReLU(0.2)),
    pnn.RMSNorm: between(pnn.RMSNorm(), pnn.Tanh()),
    pnn.ReLU: between(pnn.ReLU()),
    pnn.Reshape: [pnn.Dense(4), pnn.Reshape((2, 2))],
    pnn.Residual: between(
        pnn.Residual([pnn.Dense(4), pnn.Tanh()]),
        pnn.Residual([pnn.Sigmoid(), pnn.Dense(3)], shortcut=[pnn.Dense(3)]),
    ),
    pnn.SELU: between(pnn.SELU()),
    pnn.SiLU: between(pnn.SiLU()),
    pnn.Sigmoid: between(pnn.Sigmoid()),
    pnn.Softmax: between(pnn.Softmax()),
    pnn.Softplus: between(pnn.Softplus(1.5)),
    pnn.Softsign: between(pnn.Softsign()),
    pnn.SwiGLU: between(pnn.SwiGLU()),
    pnn.Tanh: between(pnn.Tanh()),
}
NAMED = {"a": FEATURES - 1, "b": 1}
"""What networks with an Input are given."""
LOSSES = {
    pnn.BinaryCrossEntropy: lambda rng, k: rng.uniform(size=(ROWS, k)),
    pnn.CrossEntropy: lambda rng, k: rng.integers(0, k, (ROWS, 1)),
    pnn.GammaDeviance: lambda rng, k: rng.gamma(2.0, size=(ROWS, k)),
    pnn.GaussianNLL: lambda rng, k: rng.normal(size=(ROWS, k // 2)),
    pnn.HalfSquaredError: lambda rng, k: rng.normal(size=(ROWS, k)),
    pnn.Hinge: lambda rng, k: rng.integers(0, 2, (ROWS, k)).astype(float),
    pnn.Huber: lambda rng, k: rng.normal(size=(ROWS, k)),
    pnn.LogCosh: lambda rng, k: rng.normal(size=(ROWS, k)),
    pnn.MeanAbsoluteError: lambda rng, k: rng.normal(size=(ROWS, k)),
    pnn.MeanSquaredError: lambda rng, k: rng.normal(size=(ROWS, k)),
    pnn.PoissonDeviance: lambda rng, k: rng.poisson(1.0, (ROWS, k)).astype(float),
    pnn.Quantile: lambda rng, k: rng.normal(size=(ROWS, k)),
    pnn.TweedieDeviance: lambda rng, k: rng.poisson(1.0, (ROWS, k)) * rng.uniform(size=(ROWS, k)),
}
"""How the targets of each loss are drawn, for k outputs."""


def textbook_sgd(p, grads):
    for g in grads:
        p = p - 0.3 * g
    return p


def textbook_adam(p, grads):
    m = v = 0.0
    for t, g in enumerate(grads, start=1):
        m, v = 0.8 * m + 0.2 * g, 0.95 * v + 0.05 * g**2
        p = p - 0.1 * (m / (1 - 0.8**t)) / (np.sqrt(v / (1 - 0.95**t)) + 1e-3)
    return p


def textbook_momentum(p, grads):
    v = 0.0
    for g in grads:
        v = 0.8 * v + 0.3 * g
        p = p - v
    return p


def textbook_nesterov(p, grads):
    """For theta, of which p is the point looked ahead to."""
    theta, v = p, 0.0
    for g in grads:
        v = 0.8 * v - 0.3 * g
        theta = theta + v
    return theta + 0.8 * v


def textbook_rmsprop(p, grads):
    s = 0.0
    for g in grads:
        s = 0.8 * s + 0.2 * g**2
        p = p - 0.1 / np.sqrt(s + 1e-3) * g
    return p


def textbook_clipped(p, grads):
    for g in grads:
        p = p - 0.3 * np.clip(g, -0.05, 0.05)
    return p


def textbook_decayed(p, grads):
    for g in grads:
        p = p - 0.3 * g - 0.3 * 0.2 * p
    return p


def textbook_max_norm(p, grads):
    for g in grads:
        p = p - 0.3 * g
        norm = np.linalg.norm(p, axis=0)
        p = p * np.minimum(1.0, 0.5 / norm) if p.ndim == 2 else p
    return p


def textbook_adamw(p, grads):
    m = v = 0.0
    for t, g in enumerate(grads, start=1):
        m, v = 0.8 * m + 0.2 * g, 0.95 * v + 0.05 * g**2
        step = (m / (1 - 0.8**t)) / (np.sqrt(v / (1 - 0.95**t)) + 1e-3)
        p = p - 0.1 * (step + (0.3 * p if p.ndim == 2 else 0.0))
    return p


def textbook_radam(p, grads):
    """Divided, as rho is 39, from step 6 on: see tests/test_optimizers.py."""
    m = 0.0
    for t, g in enumerate(grads, start=1):
        m = 0.8 * m + 0.2 * g
        p = p - 0.1 * m / (1 - 0.8**t)
    return p


def textbook_adagrad(p, grads):
    s = 0.1
    for g in grads:
        s = s + g**2
        p = p - 0.1 * g / (np.sqrt(s) + 1e-3)
    return p


def textbook_lion(p, grads):
    m = 0.0
    for g in grads:
        p, m = p - 0.1 * np.sign(0.8 * m + 0.2 * g), 0.95 * m + 0.05 * g
    return p


OPTIMIZERS = [
    (pnn.SGD(0.3), textbook_sgd),
    (pnn.SGD(0.3, momentum=0.8), textbook_momentum),
    (pnn.SGD(0.3, momentum=0.8, nesterov=True), textbook_nesterov),
    (pnn.RMSProp(0.1, beta=0.8, epsilon=1e-3), textbook_rmsprop),
    (pnn.Adam(0.1, beta1=0.8, beta2=0.95, epsilon=1e-3), textbook_adam),
    (pnn.AdamW(0.1, 0.3, beta1=0.8, beta2=0.95, epsilon=1e-3), textbook_adamw),
    (pnn.RAdam(0.1, beta1=0.8, beta2=0.95), textbook_radam),
    (pnn.Adagrad(0.1, epsilon=1e-3, initial_accumulator=0.1), textbook_adagrad),
    (pnn.Lion(0.1, beta1=0.8, beta2=0.95), textbook_lion),
    (pnn.ClippedValue(pnn.SGD(0.3), 0.05), textbook_clipped),
    (pnn.ClippedNorm(pnn.SGD(0.3), 1e9), textbook_sgd),
    (pnn.Decayed(pnn.SGD(0.3), 0.2, decay_all_parameters=True), textbook_decayed),
    (pnn.Penalized(pnn.SGD(0.3), 0.2, decay_all_parameters=True), textbook_decayed),
    (pnn.MaxNorm(pnn.SGD(0.3), 0.5), textbook_max_norm),
    (pnn.ExponentialMovingAverage(pnn.SGD(0.3)), textbook_sgd),
    (pnn.StochasticWeightAveraging(pnn.SGD(0.3)), textbook_sgd),
    (pnn.ParameterGroups(pnn.SGD(0.3), {"dense1": pnn.SGD(0.3)}), textbook_sgd),
]
"""An optimizer, and what its gradients in order make of a parameter."""


def exported(*methods):
    """The exported classes that have one of these methods."""
    found = [getattr(pnn, name) for name in pnn.__all__]
    classes = [value for value in found if inspect.isclass(value)]
    return [c.__name__ for c in classes if any(hasattr(c, method) for method in methods)]


def test_every_exported_layer_loss_and_optimizer_has_a_gradient_test():
    optimizers = {type(optimizer) for optimizer, _ in OPTIMIZERS}
    tested = [c.__name__ for c in [*LAYERS, *LOSSES, *optimizers]]
    assert sorted(tested) == sorted(exported("forward", "hyperparameters"))


# -- aids ----------------------------------------------------------------------------------


def arrays_of(plan, loss, seed=0):
    """A value for everything the gradient section reads."""
    rng = np.random.default_rng(seed)
    found = {"rows": np.arange(ROWS), "scale": np.float64(0.3)}
    outputs = plan.buffers[f"grad_{plan_output(plan)}"].shape[-1]
    for buffer in plan.of_kind("parameter", "state", "fed"):
        if isinstance(buffer.source, Draw):
            draws = Draws(seed, buffer.source.purpose, buffer.source.stream, 1)
            columns = buffer.shape[-1]
            drawn = DRAWS[buffer.source.purpose](draws, ROWS, columns, buffer.source.rate)
            assert np.ptp(drawn) > 0.0  # a mask does something
            found[buffer.name] = drawn
        elif buffer.name == "data.targets":
            found[buffer.name] = LOSSES[type(loss)](rng, outputs)
        elif buffer.name == "data.weight":
            found[buffer.name] = rng.uniform(0.5, 2.0, (ROWS, 1))
        elif buffer.name == "data.x" and plan.codes:
            (categories,) = plan.codes.values()
            found[buffer.name] = rng.integers(0, categories, buffer.bound({"rows": ROWS})) * 1.0
        elif buffer.name not in found:
            found[buffer.name] = rng.normal(size=buffer.bound({"rows": ROWS}))
    return found


def plan_output(plan):
    """The input of the loss kernel."""
    (call,) = [call for call in plan.calls if plan.outputs["loss"] in call.outputs]
    return call.inputs[0]


def branches(plan, buffers):
    """Which piece of every kinked function each element is on."""
    return [
        call.kernel.branch(xp, *[buffers[name] for name in call.inputs], **call.attributes)
        for call in plan.section("gradient")
        if call.kernel.branch is not None
    ]


def assert_gradients_are_slopes(layers, loss, seed=0, features=FEATURES):
    network = pnn.Network(layers, dtype="float64")
    plan = network.plan(loss, pnn.SGD(), features=features)
    arrays = arrays_of(plan, loss, seed)
    buffers = trace(plan, "gradient", xp, arrays)
    pieces = branches(plan, buffers)
    assert plan.gradients.keys() == {buffer.name for buffer in plan.of_kind("parameter")}

    for name, grad in plan.gradients.items():

        def loss_at(value, name=name):
            moved = trace(plan, "gradient", xp, {**arrays, name: value})
            same = [(a == b).all() for a, b in zip(branches(plan, moved), pieces, strict=True)]
            assert all(same), "a kink lies within the width: take another seed"
            return float(moved[plan.outputs["loss"]])

        slopes = central_differences(loss_at, arrays[name])
        assert np.abs(slopes).max() > 1e-3  # otherwise nothing is compared
        # Losses near 10, rounded to 1e-15, over a width of 1e-5: 1e-10; truncation likewise.
        near = 1e-9 * max(1.0, np.abs(slopes).max())
        np.testing.assert_allclose(buffers[grad], slopes, rtol=0.0, atol=near, err_msg=name)


# -- the tests -----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", LAYERS, ids=[c.__name__ for c in LAYERS])
def test_layer(kind):
    features = NAMED if kind is pnn.Input else FEATURES
    assert_gradients_are_slopes(LAYERS[kind], pnn.HalfSquaredError(), features=features)


@pytest.mark.parametrize("loss", LOSSES, ids=[c.__name__ for c in LOSSES])
def test_loss_of_a_perceptron(loss):
    assert_gradients_are_slopes([pnn.Dense(4)], loss())


@pytest.mark.parametrize("loss", LOSSES, ids=[c.__name__ for c in LOSSES])
def test_whole_network(loss):
    layers = [pnn.Dense(4), pnn.Tanh(), pnn.Dense(4), pnn.ReLU(), pnn.Dropout(0.3), pnn.Dense(4)]
    assert_gradients_are_slopes(layers, loss())


@pytest.mark.parametrize("loss", [loss for loss in LOSSES if loss.link is not None])
def test_loss_with_its_link_as_last_layer(loss):
    assert_gradients_are_slopes([pnn.Dense(4), pnn.Sigmoid(), pnn.Dense(3), loss.link()], loss())


def test_value_read_three_times():
    inner = (pnn.Dense(4), pnn.ReLU())
    assert_gradients_are_slopes(between(Residual(inner), pnn.ReLU()), pnn.HalfSquaredError())


def test_features_taken_out_of_others():
    """The last features, then the first: what is not taken gets a gradient of 0 from there."""
    assert_gradients_are_slopes(between(LastOnes(3), LastOnes(1)), pnn.HalfSquaredError())


def test_value_read_twice_by_one_call():
    assert_gradients_are_slopes(between(Squared()), pnn.HalfSquaredError())


def test_nested_fan_out():
    inner = (Residual((pnn.Dense(4),)), pnn.Tanh(), pnn.Dense(4))
    assert_gradients_are_slopes(between(Residual(inner)), pnn.CrossEntropy())


@pytest.mark.parametrize(
    ("optimizer", "textbook"), OPTIMIZERS, ids=[book.__name__[9:] for _, book in OPTIMIZERS]
)
def test_optimizer(optimizer, textbook):
    loss = pnn.HalfSquaredError()
    plan = pnn.Network(between(pnn.Tanh()), dtype="float64").plan(
        loss, optimizer, features=FEATURES
    )
    state = arrays_of(plan, loss)
    first = {buffer.name: state[buffer.name] for buffer in plan.of_kind("parameter")}
    for buffer in plan.of_kind("state"):
        state[buffer.name] = buffer.source.fill(None, buffer.shape)
    step = pnn.Reference("numpy", xp).start(plan, state, ROWS)
    seen = {name: [] for name in first}
    for t in range(1, 6):
        step.run(optimizer.hyperparameters(t, 0.0))
        for name, grad in plan.gradients.items():
            seen[name].append(step.read(grad))
    for name, grads in seen.items():
        # The same recurrence in another order of operations: rounding in double.
        np.testing.assert_allclose(step.read(name), textbook(first[name], grads), rtol=1e-12)
