"""How the NumPy backend lays out memory, and that a bound step computes what the meanings do."""

import inspect
import tracemalloc
from dataclasses import dataclass
from itertools import combinations, pairwise

import numpy as np
import pytest
import ways
from benchmarks import lowerings
from oracle import assert_trains_by_the_formulas

from portable_nn import (
    SGD,
    Adam,
    AdamW,
    CrossEntropy,
    Dense,
    Dropout,
    Network,
    ReLU,
    RMSProp,
    Sigmoid,
    Softmax,
    Tanh,
    get_backend,
    kernels,
)
from portable_nn.initializers import ones, zeros
from portable_nn.kernels import Gradient, elementwise, kernel
from portable_nn.session import Rows, Session
from portable_nn_numpy import LOWERINGS, lowering
from portable_nn_numpy.memory import Memory

GENERATOR = np.random.default_rng(9)
X = GENERATOR.standard_normal((14, 5))
TARGETS = {
    "cross_entropy": GENERATOR.integers(0, 3, 14),
    "binary_cross_entropy": GENERATOR.integers(0, 2, (14, 3)),
    "half_squared_error": GENERATOR.standard_normal((14, 3)),
    "mean_squared_error": GENERATOR.standard_normal((14, 3)),
}
OPTIMIZERS = {
    "sgd": (SGD(0.1), []),
    "momentum": (SGD(0.1, momentum=0.9), ["velocity"]),
    "nesterov": (SGD(0.1, momentum=0.9, nesterov=True), ["velocity"]),
    "rmsprop": (RMSProp(0.01), ["mean_square"]),
    "adam": (Adam(0.01), ["m", "v"]),
    "adamw": (AdamW(0.01, 0.3, decay_all_parameters=True), ["m", "v"]),
}
"""By kernel: an optimizer that uses it, and its states."""

every_optimizer = pytest.mark.parametrize(
    ("optimizer", "states"), OPTIMIZERS.values(), ids=list(OPTIMIZERS)
)


# -- networks to try -----------------------------------------------------------------------


def random_network(seed):
    """Layers, loss and optimizer; every kind of layer turns up among a dozen of them."""
    rng = np.random.default_rng(seed)
    inner = [ReLU(), Tanh(), Sigmoid(), Softmax(), Dropout(0.3)]
    layers = []
    for _ in range(rng.integers(0, 4)):
        layers.append(Dense(int(rng.integers(2, 9)), use_bias=bool(rng.integers(2))))
        layers += [inner[k] for k in rng.permutation(5)[: rng.integers(0, 3)]]
    layers.append(Dense(3, use_bias=bool(rng.integers(2))))
    return layers, list(TARGETS)[seed % 4], list(OPTIMIZERS.values())[seed % 6][0]


RANDOM = range(12)


class Twice:
    """``relu(x) + relu(x) * x``: values that are read more than once, and late."""

    def forward(self, builder, x, mode):
        a = builder.call(kernels.relu, x)
        return builder.call(kernels.add, a, builder.call(kernels.multiply, a, x))


def plans():
    """Plans of all modes, of random networks and of one that fans out."""
    for seed in RANDOM:
        layers, loss, optimizer = random_network(seed)
        for mode in ("train", "evaluate", "predict"):
            yield Network(layers).plan(loss, optimizer, features=5, mode=mode)
    fan = [Dense(6), Twice(), Twice(), Dense(3)]
    yield Network(fan, dtype="float64").plan("mean_squared_error", SGD(), features=5)


def session_of(plan):
    """First values, and data where the plan gathers its batches from it."""
    session = Session(get_backend("numpy"), {})
    session.initialize(plan, seed=0)
    if plan.mode == "train":
        integer = plan.buffers["data.targets"].dtype == "index"
        y = TARGETS["cross_entropy"][:, None] if integer else TARGETS["mean_squared_error"]
        session.bind(plan, Rows(X, y, np.ones(14)))
    return session


def assert_by_the_formulas(layers, loss="half_squared_error", optimizer=OPTIMIZERS["sgd"][0]):
    """Six steps, two of them on fewer rows, in both dtypes."""
    for dtype in ("float32", "float64"):
        assert_trains_by_the_formulas(
            layers, X, TARGETS.get(loss, TARGETS["cross_entropy"]),
            loss=loss, optimizer=optimizer, dtype=dtype, backend=ways.open_way("numpy"),
            steps=6, batch_size=6,
        )  # fmt: skip


# -- a bound step computes what the meanings do --------------------------------------------


@pytest.mark.parametrize("seed", RANDOM)
def test_a_random_network(seed):
    assert_by_the_formulas(*random_network(seed))


def test_the_random_networks_are_worth_it():
    optimizers = {random_network(seed)[2] for seed in RANDOM}
    assert optimizers == {optimizer for optimizer, _ in OPTIMIZERS.values()}
    drawn = [random_network(seed)[0] for seed in RANDOM]
    layers = [layer for network in drawn for layer in network]
    assert {type(layer) for layer in layers} == {Dense, ReLU, Tanh, Sigmoid, Softmax, Dropout}
    assert {layer.use_bias for layer in layers if isinstance(layer, Dense)} == {True, False}
    assert min(map(len, drawn)) == 1
    assert max(map(len, drawn)) > 6


def test_smoothed_labels():
    assert kernels.cross_entropy in LOWERINGS
    assert_by_the_formulas([Dense(6), Tanh(), Dense(3)], CrossEntropy(0.2))


def test_values_that_are_read_twice():
    layers = [Dense(6), Twice(), Tanh(), Twice(), Dense(3)]
    assert_by_the_formulas(layers, optimizer=SGD(0.01))


@kernel(shapes=lambda grad: (grad,))
def shortened(xp, grad):
    return grad / (1.0 + xp.sqrt(xp.sum(grad * grad)))


@elementwise()
def follow(xp, average, value):
    return average * 0.5 + value * 0.5


@dataclass(frozen=True)
class Shortened:
    """Gradient descent along a shortened gradient, with an average of the parameters.

    A call before each update, or one after it, or both: a lowering that runs the updates of
    all parameters as one must still run it after what it reads, and before what reads it.
    """

    before: bool
    after: bool

    def hyperparameters(self, step, epoch):
        return {"learning_rate": 0.1}

    def update(self, builder, parameter, grad, hyper):
        if self.before:
            grad = builder.call(shortened, grad)
        (new,) = builder.emit(kernels.sgd, parameter, grad, *hyper, names=[f"new_{parameter}"])
        builder.carry(parameter, new)
        if self.after:
            average = builder.state(f"average.{parameter}", builder.shape(parameter), zeros)
            builder.assign([average], follow, average, new)


@pytest.mark.parametrize("after", [False, True], ids=["", "after"])
@pytest.mark.parametrize("before", [False, True], ids=["", "before"])
def test_calls_around_an_update_keep_their_order(before, after):
    layers, optimizer = [Dense(4), Tanh(), Dense(3)], Shortened(before, after)
    plan = Network(layers).plan("half_squared_error", optimizer, features=5)
    assert len(plan.of_kind("parameter", "state")) == (8 if after else 4)
    assert_by_the_formulas(layers, optimizer=optimizer)


@kernel(shapes=lambda x, grad: ((),))
def gain_grad(xp, x, grad):
    return xp.sum(x * grad)


@kernel(
    shapes=lambda x, gain: (x,),
    backward=lambda call, grads: [
        Gradient((0,), (grads[0], call.inputs[1]), scaled),
        Gradient((1,), (call.inputs[0], grads[0]), gain_grad),
    ],
)
def scaled(xp, x, gain):
    return x * gain


class Gain:
    """One number for the whole layer: a parameter without axes."""

    def forward(self, builder, x, mode):
        return builder.call(scaled, x, builder.parameter("gain", (), ones))


@every_optimizer
def test_a_parameter_without_axes(optimizer, states):
    assert_by_the_formulas([Dense(4), Gain(), Tanh(), Dense(3), Gain()], optimizer=optimizer)


# -- the table -----------------------------------------------------------------------------


def test_every_lowering_has_the_name_of_its_kernel():
    assert {kernel.name: kernel for kernel in LOWERINGS} == {
        lowered.__name__: kernel for kernel, lowered in LOWERINGS.items()
    }
    assert all(getattr(kernels, kernel.name) is kernel for kernel in LOWERINGS)


def test_every_lowering_is_in_the_table():
    written = {
        function
        for name, function in inspect.getmembers(lowering, inspect.isfunction)
        if next(iter(inspect.signature(function).parameters), None) == "new"
    }
    assert written == set(LOWERINGS.values())
    assert kernels.linear in LOWERINGS


def test_a_kernel_without_a_lowering_runs_its_meaning():
    seen = []

    @elementwise()
    def slope(xp, grad, a):
        seen.append("backward")
        return grad * 3.0 * a * a

    @elementwise(
        backward=lambda call, grads: [Gradient((0,), (grads[0], call.inputs[0]), slope)], donates=()
    )
    def cube(xp, z):
        seen.append("forward")
        return z * z * z

    class Cube:
        def forward(self, builder, x, mode):
            return builder.call(cube, x)

    network = Network([Cube(), Dense(3), Cube()], dtype="float64")
    training = network.start(loss="half_squared_error", optimizer=SGD(0.1), batch_size=None)
    (batch,) = training.batches(X, TARGETS["half_squared_error"], epoch=0, shuffle=False)
    training.gradient(batch)
    assert seen == ["forward", "forward", "backward"]
    values = network.parameters
    z = X**3 @ values["dense1.weight"] + values["dense1.bias"]
    error = (z**3 - TARGETS["half_squared_error"]) / 14 * 3 * z**2
    grad = training.read(training.plan.gradients["dense1.weight"])
    # Formulas written here, not kernels: sums of 14 terms up to 1e3.
    np.testing.assert_allclose(grad, (X**3).T @ error, rtol=1e-12, atol=1e-12)


# -- flat arrays ---------------------------------------------------------------------------


def address(array):
    return array.__array_interface__["data"][0]


def assert_one_behind_the_other(arrays):
    ends = [(address(array), address(array) + array.nbytes) for array in arrays]
    assert [end for _, end in ends[:-1]] == [start for start, _ in ends[1:]]


@every_optimizer
def test_equal_updates_are_one_call_over_flat_arrays(optimizer, states):
    plan = Network([Dense(6), Tanh(), Dense(4), Dense(3)]).plan(
        "mean_squared_error", optimizer, features=5
    )
    session = session_of(plan)
    first = {name: value.copy() for name, value in session.state.items()}
    memory = Memory(plan, session.state, 6)
    parameters = [buffer.name for buffer in plan.of_kind("parameter")]
    rows = [parameters, [plan.gradients[name] for name in parameters]]
    rows += [[f"{state}.{name}" for name in parameters] for state in states]
    for names in rows:
        assert_one_behind_the_other([memory.arrays[name] for name in names])
    (call,) = memory.merged("update", memory.arrays)
    size = sum(memory.arrays[name].size for name in parameters)
    assert [array.shape for array in call.inputs[: len(rows)]] == [(size,)] * len(rows)
    for (name, *_), flat in zip(rows, call.inputs, strict=False):
        assert address(flat) == address(memory.arrays[name])
    for name, value in first.items():
        np.testing.assert_array_equal(memory.arrays[name], value)
        assert session.state[name] is memory.arrays[name]


def test_data_on_the_device_is_not_copied():
    plan = Network([Dense(3)]).plan("cross_entropy", features=5)
    session = session_of(plan)
    data = {name: session.state[name] for name in session.state if name.startswith("data.")}
    assert len(data) == 3
    memory = Memory(plan, session.state, 6)
    for name, value in data.items():
        assert memory.arrays[name] is value


def test_steps_for_other_numbers_of_rows_share_parameters_and_moments():
    layers, loss, _ = random_network(5)
    plan = Network(layers).plan(loss, Adam(), features=5)
    session = session_of(plan)
    memories = [Memory(plan, session.state, n) for n in (6, 2, 14)]
    for buffer in plan.of_kind("parameter", "state"):
        places = {address(memory.arrays[buffer.name]) for memory in memories}
        assert places == {address(session.state[buffer.name])}
    for one, other in pairwise(memories):
        for name in plan.gradients.values():
            assert not np.shares_memory(one.arrays[name], other.arrays[name])


def test_what_one_step_carries_the_other_sees():
    plan = Network([Dense(3)]).plan("mean_squared_error", SGD(0.5), features=5)
    session = session_of(plan)
    long, short = session.step(plan, 6), session.step(plan, 2)
    before = long.read("dense1.weight")
    short.run({"rows": [0, 1], "scale": 0.5, "learning_rate": 0.5})
    after = short.read("dense1.weight")
    assert (before != after).all()
    np.testing.assert_array_equal(long.read("dense1.weight"), after)
    long.write("dense1.weight", before)
    np.testing.assert_array_equal(short.read("dense1.weight"), before)
    np.testing.assert_array_equal(session.state["dense1.weight"], before)


# -- the arena -----------------------------------------------------------------------------


def lives(plan):
    """When each value is needed: from the call that writes it to the last that reads it."""
    return {
        name: (index, plan.last_read.get(name, index))
        for index, call in enumerate(plan.calls)
        for name in call.outputs
    }


def handed_over(plan, name, other):
    """Whether one took the memory of the other, at once or by way of others."""
    while other in plan.donated:
        other = plan.donated[other]
        if other == name:
            return True
    return False


def span(array):
    return address(array), address(array) + array.nbytes


@pytest.mark.parametrize("n", [1, 6, 14])
def test_no_two_live_values_share_memory(n):
    overlaps = 0
    for plan in plans():
        arrays = Memory(plan, session_of(plan).state, n).arrays
        times = lives(plan)
        for one, other in combinations(times, 2):
            (a, b), (c, d) = span(arrays[one]), span(arrays[other])
            if max(a, c) >= min(b, d):
                continue
            overlaps += 1
            (_, last), (first, _) = sorted([times[one], times[other]])
            # A donor is read for the last time by the very call that overwrites it.
            donated = handed_over(plan, one, other) or handed_over(plan, other, one)
            assert last < first or (donated and last == first), (str(plan), one, other)
    assert overlaps > 100  # or there is nothing to see


@pytest.mark.parametrize("n", [1, 6, 14])
def test_values_stay_out_of_what_outlives_a_step(n):
    for plan in plans():
        arrays = Memory(plan, session_of(plan).state, n).arrays
        lasting = plan.of_kind("parameter", "state", "fed")
        for buffer in lasting:
            for name in lives(plan):
                if np.shares_memory(arrays[buffer.name], arrays[name]):
                    carried = plan.carry["update"].get(buffer.name) == name
                    assert carried and plan.donated[name] == buffer.name
        for one, other in combinations(lasting, 2):
            assert not np.shares_memory(arrays[one.name], arrays[other.name])


def test_every_buffer_has_its_shape_and_dtype():
    dtypes = {"index": np.dtype(np.int64)}
    for plan in plans():
        arrays = Memory(plan, session_of(plan).state, 6).arrays
        assert arrays.keys() == plan.buffers.keys()
        for name, buffer in plan.buffers.items():
            sizes = {"n": 6, "rows": 14}
            assert arrays[name].shape == buffer.bound(sizes)
            assert arrays[name].dtype == dtypes.get(buffer.dtype, np.dtype(plan.dtype))


def test_memory_is_used_again():
    plan = Network([Dense(64), Tanh()] * 6 + [Dense(3)]).plan("cross_entropy", features=5)
    arrays = Memory(plan, session_of(plan).state, 256).arrays
    values = [arrays[name] for name in lives(plan) if plan.buffers[name].shape[:1] == ("n",)]
    spans = [span(array) for array in values]
    used = max(end for _, end in spans) - min(start for start, _ in spans)
    layer = 256 * 64 * 4
    # Forward and backward have six activations, six of before them and as many gradients. Kept
    # at once are the activations, and a gradient on each side of the call that runs.
    assert sum(array.nbytes for array in values) > 24 * layer
    assert used < 9 * layer


def test_donated_memory_is_taken():
    for plan in plans():
        arrays = Memory(plan, session_of(plan).state, 6).arrays
        merged = set(plan.gradients.values())  # these lie where the update has them
        for output, donor in plan.donated.items():
            if output not in merged:
                assert span(arrays[output]) == span(arrays[donor]), output


# -- running -------------------------------------------------------------------------------


def test_a_bound_step_allocates_nothing_large():
    n, width, optimizer = 4096, 64, Adam()
    inner = [ReLU(), Dropout(0.5), Tanh(), Sigmoid(), Softmax()]
    layers = [layer for activation in inner for layer in (Dense(width), activation)]
    plan = Network([*layers, Dense(width)]).plan("cross_entropy", optimizer, features=32)
    assert set(LOWERINGS) >= {call.kernel for call in plan.calls}
    session = Session(get_backend("numpy"), {})
    session.initialize(plan, seed=0)
    x, y = GENERATOR.standard_normal((n, 32)), GENERATOR.integers(0, width, (n, 1))
    session.bind(plan, Rows(x, y, np.ones(n)))
    step = session.step(plan, n)
    fed = {"rows": np.arange(n), "scale": np.float32(1 / n), **optimizer.hyperparameters(1, 0.0)}
    fed["dropout1.draw"] = np.ones((n, width), np.float32)
    step.run(fed)
    tracemalloc.start()
    try:
        step.run(fed)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # NumPy itself buffers what it broadcasts or casts: up to three operands, each of 8,192
    # elements of 8 bytes or less. A layer's value is five times as large as all that.
    assert peak < 3 * 8192 * 8 + 5000 < n * width * 4 / 5


def test_reading_gives_a_copy():
    plan = Network([Dense(3)]).plan("mean_squared_error", SGD(0.5), features=5)
    step = session_of(plan).step(plan, 6)
    step.run({"rows": np.arange(6), "scale": 1 / 6, "learning_rate": 0.5})
    for name in ("dense1.weight", "loss", *plan.gradients.values()):
        read = step.read(name)
        assert read.dtype == np.float32
        expected = read.copy()
        read[...] = np.nan
        np.testing.assert_array_equal(step.read(name), expected)


def test_what_each_lowering_gains_can_be_measured():
    assert {kernel.name for kernel in LOWERINGS} == set(lowerings.inputs(4, 3, 2))
