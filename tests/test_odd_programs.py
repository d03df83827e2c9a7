"""Programs off the beaten track, each of which once gave a wrong number without a word."""

from contextlib import suppress
from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
import ways
from oracle import assert_trains_by_the_formulas

import portable_nn as pnn
from portable_nn import (
    SGD,
    Adam,
    DataError,
    Dense,
    Dropout,
    Identity,
    Network,
    NetworkError,
    NonFiniteError,
    ShapeError,
    Softmax,
    Tanh,
    kernels,
    parity,
)
from portable_nn.initializers import he_normal, ones
from portable_nn.kernels import Gradient, kernel
from portable_nn.losses import Loss
from portable_nn.plan import Data

GENERATOR = np.random.default_rng(3)
X = GENERATOR.standard_normal((24, 5))
Y = GENERATOR.standard_normal((24, 2))
LABELS = GENERATOR.integers(0, 3, 24)
QUIET = {"progress": False, "epochs": 2, "batch_size": 8}


def assert_by_the_formulas(layers, optimizer=None):
    """Six steps in both dtypes on the lowered NumPy."""
    for dtype in ("float32", "float64"):
        assert_trains_by_the_formulas(
            layers, X, Y, loss="half_squared_error", optimizer=optimizer or SGD(0.1), dtype=dtype,
            backend=ways.open_way("numpy"), steps=6, batch_size=8,
        )  # fmt: skip


# -- memory --------------------------------------------------------------------------------


@kernel(shapes=lambda p, grad, old, rate: (p, p), donates=((0, 0), (1, 2)))
def move_and_remember(xp, p, grad, old, rate):
    return p - (grad + 0.1 * (p - old)) * rate, p


@kernel(shapes=lambda factor: (factor,), donates=((0, 0),))
def halve(xp, factor):
    return factor * 0.5


@kernel(shapes=lambda p, grad, factor, rate: (p,), donates=((0, 0),), elementwise=True)
def scaled_step(xp, p, grad, factor, rate):
    return p - grad * rate * factor


class Remember:
    """The second output is the first input as it was: neither may overwrite the other."""

    def hyperparameters(self, step, epoch):
        return {"rate": 0.1}

    def update(self, builder, parameter, grad, hyper):
        old = builder.state(f"old.{parameter}", builder.shape(parameter), ones)
        builder.assign([parameter, old], move_and_remember, parameter, grad, old, *hyper)


class Cooling:
    """A 0-d state that all updates read, and that a call of its own halves."""

    def hyperparameters(self, step, epoch):
        return {"rate": 0.1}

    def update(self, builder, parameter, grad, hyper):
        if not hasattr(builder, "factor"):
            builder.factor = builder.state("factor", (), lambda draws, shape: np.full(shape, 0.37))
            builder.next_factor = builder.call(halve, builder.factor)
            builder.carry(builder.factor, builder.next_factor)
        builder.assign([parameter], scaled_step, parameter, grad, builder.factor, *hyper)


@pytest.mark.parametrize("optimizer", [Remember(), Cooling()], ids=["remember", "cooling"])
def test_updates_that_share_or_pass_on_what_they_read(optimizer):
    assert_by_the_formulas([Dense(4), Tanh(), Dense(2)], optimizer)


@kernel(shapes=lambda grad, *others: (grad,))
def circle_backward(xp, grad_sin, grad_cos, sin, cos):
    return grad_sin * cos - grad_cos * sin


@kernel(
    shapes=lambda x: (x, x),
    donates=((0, 0), (1, 0), (0, 0)),
    backward=lambda call, grads: [Gradient((0,), (*grads, *call.outputs), circle_backward)],
)
def circle(xp, x):
    return xp.sin(x), xp.cos(x)


@kernel(
    shapes=lambda a, b: (b, a),
    donates=((0, 0), (1, 1)),
    backward=lambda call, grads: [Gradient((1,), (grads[0],)), Gradient((0,), (grads[1],))],
)
def swap(xp, a, b):
    return b, a


class Circle:
    """Both outputs may overwrite the one input, which only one of them can."""

    def forward(self, builder, x, mode):
        return builder.call(kernels.multiply, *builder.emit(circle, x))


class Swapped:
    """Each output is the other input, and may overwrite its own."""

    def forward(self, builder, x, mode):
        a, b = builder.call(kernels.add, x, x), builder.call(kernels.multiply, x, x)
        a, b = builder.emit(swap, a, b)
        return builder.call(kernels.add, builder.call(kernels.tanh, a), b)


@pytest.mark.parametrize("layer", [Circle(), Swapped()], ids=["circle", "swapped"])
def test_donations_that_cannot_all_be_used(layer):
    assert_by_the_formulas([Dense(4), layer, Dense(2)])


class Wide:
    """Three networks' weights for one input: a leading axis from here on."""

    def forward(self, builder, x, mode):
        weight = builder.parameter("weight", (3, builder.features(x), 2), he_normal)
        return builder.call(kernels.linear, x, weight)


def test_a_leading_axis_is_left_to_the_meanings():
    backend = ways.open_way("numpy")
    network = Network([Wide(), Tanh()], dtype="float64")
    plan = network.plan("half_squared_error", features=5, mode="predict")
    state = {"wide1.weight": GENERATOR.standard_normal((3, 5, 2))}
    step = backend.start(plan, state, 24)
    step.run({"x": X})
    expected = np.tanh(X @ state["wide1.weight"])
    # A formula written here, not a kernel: sums of five terms.
    np.testing.assert_allclose(step.read(plan.outputs["output"]), expected, rtol=0.0, atol=1e-15)


# -- what a plan refuses -------------------------------------------------------------------


@pytest.mark.parametrize(
    "layers",
    [
        [Dense(3), Softmax(), Softmax()],
        [Dense(3), Softmax(), Dropout(0.0)],
        [Dense(3), Softmax(), Dropout(0.5)],
        [Dense(3), Softmax(), Identity(), Softmax(), Identity()],
    ],
    ids=["twice", "dropout 0", "dropout", "identity"],
)
def test_no_double_softmax(layers):
    with pytest.raises(NetworkError, match="twice"):
        Network(layers).fit(X, LABELS, loss="cross_entropy", **QUIET)


class DrawsAlways:
    def forward(self, builder, x, mode):
        return builder.call(kernels.multiply, x, builder.draw("dropout", x, 0.5))


class DropsWeights:
    def forward(self, builder, x, mode):
        weight = builder.parameter("weight", (builder.features(x), 3), he_normal)
        mask = builder.draw("dropout", weight, 0.5) if mode == "train" else None
        weight = builder.call(kernels.multiply, weight, mask) if mask else weight
        return builder.call(kernels.linear, x, weight)


class RemembersInPrediction:
    def forward(self, builder, x, mode):
        if mode == "train":
            return x
        scale = builder.state("scale", (builder.features(x),), ones)
        return builder.call(kernels.linear, x, scale)


class DrawsNoise:
    def forward(self, builder, x, mode):
        return (
            builder.call(kernels.multiply, x, builder.draw("nose", x, 0.5))
            if mode == "train"
            else x
        )


class AddsARow:
    def forward(self, builder, x, mode):
        row = builder.parameter("row", (1, builder.features(x)), ones)
        return builder.call(kernels.add, x, row)


class CarriesAColumn:
    def forward(self, builder, x, mode):
        state = builder.state("seen", (builder.features(x),), ones)
        builder.carry(state, x)
        return x


@pytest.mark.parametrize(
    ("layers", "words"),
    [
        ([Dense(2), DrawsNoise()], "no purpose of draws"),
        ([Dense(2), AddsARow()], "equal shapes"),
        ([Dense(2), CarriesAColumn()], "cannot follow"),
        ([Dense(2), DrawsAlways()], "drawn in training"),
        ([DropsWeights(), Dense(2)], "rows"),
        ([Dense(4), Wide()], "gradient that"),
    ],
    ids=["purpose", "sum", "carry", "draw in prediction", "draw of a weight", "gradient"],
)
def test_what_a_plan_refuses(layers, words):
    with pytest.raises(NetworkError, match=words):
        Network(layers).fit(X, Y, loss="half_squared_error", **QUIET)


class OtherSoftmax(Softmax):
    """Not the softmax that cross-entropy has built in."""


def test_another_link_is_not_replaced():
    with pytest.raises(NetworkError, match="ends in OtherSoftmax"):
        Network([Dense(3), OtherSoftmax()]).fit(X, LABELS, loss="cross_entropy", **QUIET)


@kernel(shapes=lambda z: (z,), backward=lambda call, grads: [Gradient((0,), (grads[0],))])
def widened(xp, z):
    return xp.astype(z, xp.float64)


@kernel(shapes=lambda grad, shift: (shift,))
def careless(xp, grad, shift):
    return xp.sum(grad)


@kernel(
    shapes=lambda x, shift: (x,),
    backward=lambda call, grads: [
        Gradient((0,), (grads[0],)),
        Gradient((1,), (grads[0], call.inputs[1]), careless),
    ],
)
def shifted(xp, x, shift):
    return x + xp.expand_dims(shift, axis=-2)


class Widened:
    def forward(self, builder, x, mode):
        return builder.call(widened, x)


class Shifted:
    def forward(self, builder, x, mode):
        shift = builder.parameter("shift", (builder.features(x),), ones)
        return builder.call(shifted, x, shift)


@pytest.mark.parametrize(
    ("layer", "words"),
    [(Widened(), "widened gave .*float64"), (Shifted(), r"careless gave \(\)")],
    ids=["dtype", "shape"],
)
def test_a_kernel_gives_what_it_declares(backend, layer, words):
    network = Network([Dense(2), layer])
    with pytest.raises(NetworkError, match=words):
        network.fit(X, Y, loss="half_squared_error", backend=backend, **QUIET)


@pytest.mark.parametrize("name", ["numpy", "numpy-reference"])
def test_a_state_that_only_prediction_knows_is_an_error(name):
    network = Network([Dense(2), RemembersInPrediction()])
    network.fit(X, Y, loss="half_squared_error", backend=ways.open_way(name), **QUIET)
    with pytest.raises(NetworkError, match="in every mode"):
        network.predict(X)


class Unordered(SGD):
    """The same names, in another order every second update."""

    def hyperparameters(self, step, epoch):
        values = {"learning_rate": 0.1, "unused": 0.0}
        return values if step % 2 else dict(reversed(values.items()))

    def update(self, builder, parameter, grad, hyper):
        builder.assign([parameter], kernels.sgd, parameter, grad, hyper[0])


def test_hyper_parameters_go_by_name():
    found = []
    for optimizer in (Unordered(), SGD(0.1)):
        network = Network([Dense(2)], dtype="float64")
        network.fit(X, Y, loss="half_squared_error", optimizer=optimizer, **QUIET)
        found.append(network.parameters["dense1.weight"])
    np.testing.assert_array_equal(*found)


class Projection:
    """A random matrix that is not trained."""

    def forward(self, builder, x, mode):
        matrix = builder.state("matrix", (builder.features(x), 5), he_normal)
        return builder.call(kernels.linear, x, matrix)


def test_states_draw_from_streams_of_their_own():
    layers = [Projection(), Projection(), Dense(5, weight=he_normal), Dense(2)]
    network = Network(layers).fit(X, Y, loss="half_squared_error", optimizer=SGD(1e-9), **QUIET)
    state = network._known().session.state
    names = ["projection1.matrix", "projection2.matrix", "dense1.weight"]
    first, second, trained = (np.asarray(state[name]) for name in names)
    assert np.abs(first - second).max() > 0.1
    assert np.abs(first - trained).max() > 0.1


class Scaled(Loss):
    kernel = kernels.half_squared_error

    def __init__(self, factor):
        object.__setattr__(self, "factor", factor)


def test_losses_of_one_class_do_not_share_a_plan():
    network = Network([Dense(2)])
    one, other = (network.plan(Scaled(factor), features=5) for factor in (1.0, 2.0))
    assert one is not other


class CalledError(Loss):
    """Half squared error, in a buffer of another name."""

    def forward(self, builder, z):
        targets, weight = builder.data("targets", 2), builder.data("weight", 1)
        scale = builder.fed("scale", (), Data("scale"))
        inputs = (z, targets, weight, scale)
        return builder.emit(kernels.half_squared_error, *inputs, names=["error", "slope"])[0]


def test_a_loss_may_have_another_name():
    found = []
    for loss in (CalledError(), "half_squared_error"):
        _, training = begin(loss=loss)
        for batch in training.batches(X, Y, epoch=0):
            value = training.gradient(batch)
            training.update()
        found.append(float(value))
    assert found[0] == found[1]


# -- the loop laid open --------------------------------------------------------------------


def begin(loss="half_squared_error", **options):
    network = Network([Dense(4), Tanh(), Dense(2)], dtype="float64")
    return network, network.start(loss=loss, batch_size=8, **options)


def test_a_batch_of_other_data_is_refused():
    _, training = begin()
    (old, *_) = training.batches(X, Y, epoch=0)
    (new, *_) = training.batches(2.0 * X, Y, epoch=0)
    with pytest.raises(DataError, match="other data"):
        training.gradient(old)
    training.gradient(new)


def test_write_keeps_dtype_shape_and_names(backend):
    _, training = begin(backend=backend)
    (batch, *_) = training.batches(X, Y, epoch=0)
    training.gradient(batch)
    with pytest.raises(ShapeError, match=r"dense1.bias is \(4,\); got \(2,\)"):
        training.write("dense1.bias", training.read("dense2.bias"))
    with pytest.raises(NetworkError, match=r"'dense7.bias' is not in the plan. Did you mean"):
        training.write("dense7.bias", training.read("dense2.bias"))
    with pytest.raises(NetworkError, match="relu9"):
        training.read("relu9")
    narrow = backend.asarray(np.ones(4), "float32")
    training.write("grad_dense1.bias", narrow)
    ways.assert_array(training.read("grad_dense1.bias"), backend, np.ones(4))


def test_numpy_arrays_can_be_written_everywhere(backend):
    _, training = begin(backend=backend)
    (batch, *_) = training.batches(X, Y, epoch=0)
    training.gradient(batch)
    training.write("grad_dense2.bias", [0.5, -0.5])
    training.write("dense1.bias", np.arange(4))
    ways.assert_array(training.read("grad_dense2.bias"), backend, np.asarray([0.5, -0.5]))
    ways.assert_array(training.read("dense1.bias"), backend, np.arange(4.0))
    training.update()


def test_a_part_of_a_batch_is_as_long_as_its_rows(backend):
    _, training = begin(backend=backend)
    (batch, *_) = training.batches(X, Y, epoch=0)
    whole = float(backend.to_host(training.gradient(batch)))
    parts = [replace(batch, rows=batch.rows[k : k + 4], first_row=k) for k in (0, 4)]
    values = [float(backend.to_host(training.gradient(part))) for part in parts]
    # A sum of two losses and a loss of all rows: sixteen squares in another order.
    assert sum(values) == pytest.approx(whole, rel=1e-13)


def test_what_is_not_fed_is_missed():
    for name in ("numpy", "numpy-reference"):
        backend = ways.open_way(name)
        plan = Network([Dense(2)]).plan("half_squared_error", features=5, mode="predict")
        state = {
            b.name: backend.asarray(np.ones(b.shape), "float32") for b in plan.of_kind("parameter")
        }
        step = backend.start(plan, state, 3)
        with pytest.raises(KeyError, match="x"):
            step.run({})


def test_what_is_read_is_a_copy(backend):
    network, training = begin(backend=backend)
    (batch, *_) = training.batches(X, Y, epoch=0)
    training.gradient(batch)
    before = network.parameters["dense1.weight"]
    weight = training.read("dense1.weight")
    with suppress(TypeError, ValueError):  # a library, or a way, may refuse
        weight *= 0.0
    np.testing.assert_array_equal(network.parameters["dense1.weight"], before)


def test_trace_shows_every_buffer_and_changes_nothing(backend):
    network, training = begin(backend=backend)
    (batch, *_) = training.batches(X, Y, epoch=0)
    before = network.parameters
    found = training.trace(batch)
    training.gradient(batch)
    error = found["dense2"] - found["targets"]
    # A formula written here: two roundings of numbers near 1.
    np.testing.assert_allclose(found["grad_dense2"], error / 8, rtol=0.0, atol=1e-15)
    held = {name: backend.to_host(array) for name, array in training.session.state.items()}
    found = held | found
    ran = found | {"loss": backend.to_host(training.read("loss"))}
    for outputs in (found, ran):
        for call in training.plan.section("gradient"):
            read, wrote = [found[k] for k in call.inputs], [outputs[k] for k in call.outputs]
            judged = parity.measure(call, read, wrote, "float64")
            assert max(one.share for one in judged) <= 1.0, call.outputs
    for name, value in before.items():
        np.testing.assert_array_equal(network.parameters[name], value)


def test_a_loop_that_another_fit_has_taken_over_ends():
    network, training = begin()
    next(training.batches(X, Y, epoch=0))
    network.fit(X, Y, loss="half_squared_error", **QUIET)
    after = network.parameters
    for x in (X, 2.0 * X):
        with pytest.raises(NetworkError, match="taken this network over"):
            next(training.batches(x, Y, epoch=1))
    for name, value in after.items():
        np.testing.assert_array_equal(network.parameters[name], value)


def test_a_warm_start_after_the_open_loop_starts_the_optimizer_anew():
    found = []
    for clean in (False, True):
        network, training = begin(optimizer=Adam(0.1))
        for batch in training.batches(X, Y, epoch=0):
            training.step(batch)
        if clean:
            network = deepcopy(network)
            network._keep_values(network._known().session)
        options = {"loss": "half_squared_error", "optimizer": Adam(0.1), "warm_start": True}
        found.append(network.fit(X, Y, **options, **QUIET).parameters)
    for name, value in found[1].items():
        np.testing.assert_array_equal(found[0][name], value)


def test_a_copy_keeps_what_it_had():
    network, training = begin()
    batches = training.batches(X, Y, epoch=0)
    training.step(next(batches))
    best, before = deepcopy(network), network.predict(X)
    training.step(next(batches))
    np.testing.assert_array_equal(best.predict(X), before)
    assert np.abs(network.predict(X) - before).max() > 1e-6
    best.fit(X, Y, loss="half_squared_error", **QUIET)


# -- the door ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("loss", "y"),
    [("mean_squared_error", Y[:, 0]), ("binary_cross_entropy", LABELS > 0)],
    ids=["numbers", "binary"],
)
def test_validation_has_the_form_of_y(loss, y):
    network = Network([Dense(1)])
    with pytest.raises(ShapeError, match="in the fit"):
        network.fit(X, y, loss=loss, validation=(X, y[:, None]), **QUIET)


def test_the_last_update_may_not_end_in_infinity():
    network = Network([Dense(2)]).fit(X, Y, loss="half_squared_error", **QUIET)
    options = {"loss": "half_squared_error", "progress": False, "epochs": 1, "batch_size": None}
    with pytest.raises(NonFiniteError, match="last epoch left dense1"):
        network.fit(1e3 * X, Y, optimizer=SGD(1e38), warm_start=True, **options)
    assert np.isfinite(network.predict(X)).all()


@pytest.mark.parametrize("backend", ["numpy", "strict-device1"], indirect=True)
@pytest.mark.filterwarnings("ignore:.* encountered in:RuntimeWarning")
def test_one_number_that_the_last_update_leaves_infinite_is_enough(backend):
    """The last number of the last parameter, in the last epoch, whose loss is from before it."""

    def rate(epoch):
        return 0.01 if epoch < 2 else 1e303  # times a gradient near 1 it is finite, near 1e8 not

    bias = pnn.ParameterGroups(SGD(0.01), {"dense1.bias": SGD(rate)})
    options = {"loss": "half_squared_error", "batch_size": None, "progress": False}
    options |= {"optimizer": bias, "backend": backend}
    before, network = (Network([Dense(2)], "float64") for _ in range(2))
    before.fit(X, Y * [1.0, 1e8], epochs=2, **options)
    with pytest.raises(NonFiniteError, match=r"the last epoch left dense1\.bias not finite"):
        network.fit(X, Y * [1.0, 1e8], epochs=3, **options)
    assert list(network.parameters)[-1] == "dense1.bias"
    for name, value in before.parameters.items():
        np.testing.assert_array_equal(network.parameters[name], value, err_msg=name)
    assert network.history["loss"] == before.history["loss"]


def test_weights_count_by_their_ratios_only():
    found = []
    for factor in (1.0, 1e39, 1e-46):
        network = Network([Dense(2)])
        weight = factor * np.arange(1.0, 25.0)
        network.fit(X, Y, loss="half_squared_error", sample_weight=weight, **QUIET)
        found.append(network.parameters["dense1.weight"])
    # Ratios that differ in the last bit of float64, through six float32 steps.
    np.testing.assert_allclose(found[1:], [found[0]] * 2, rtol=1e-6)


def test_labels_held_as_objects_come_out_in_order():
    words = np.array(["b", "a", "c"] * 8, dtype=object)
    network = Network([Dense(3)]).fit(X, words, loss="cross_entropy", **QUIET)
    assert network.classes.tolist() == ["a", "b", "c"]
    mixed = np.array(["b", 1, None] * 8, dtype=object)
    with pytest.raises(DataError, match=r"y\[2\] is None; remove or fill"):
        network.fit(X, mixed, loss="cross_entropy", **QUIET)
    assert network.classes.tolist() == ["a", "b", "c"]


def test_the_classes_are_a_copy_and_of_the_dtype_given():
    labels = LABELS.astype(np.int8)
    network = Network([Dense(3)]).fit(X, labels, loss="cross_entropy", **QUIET)
    network.classes[:] = 7
    assert network.classes.tolist() == [0, 1, 2]
    assert network.predict(X).dtype == np.int8
    with pytest.raises(DataError, match="predicts int8"):
        network.score(X, labels.astype("S1"))


def test_weights_that_no_float32_can_hold_together_are_refused():
    weight = np.ones(24)
    weight[3] = 1e-40
    with pytest.raises(DataError, match="powers of ten"):
        Network([Dense(2)]).fit(X, Y, loss="half_squared_error", sample_weight=weight, **QUIET)
