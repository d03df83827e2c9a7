"""What a network does for its user: fit, ask, and be told what is wrong."""

import copy
from itertools import product

import array_api_compat
import numpy as np
import pytest
import ways

import portable_nn as pnn
from portable_nn import (
    SGD,
    Adam,
    BinaryCrossEntropy,
    CrossEntropy,
    DataError,
    Dense,
    Dropout,
    HalfSquaredError,
    Identity,
    MeanSquaredError,
    Network,
    NetworkError,
    NonFiniteError,
    NotFittedError,
    ReLU,
    ShapeError,
    Sigmoid,
    Softmax,
    Tanh,
    mlp,
)
from portable_nn.losses import LOSSES
from portable_nn.session import CHUNK
from portable_nn.tables import Columns

GENERATOR = np.random.default_rng(11)
LABELS = np.arange(60) % 3
CENTRES = np.array([[3.0, 0.0, 0.0, 1.0], [0.0, 3.0, 0.0, -1.0], [0.0, 0.0, 3.0, 0.0]])
X = CENTRES[LABELS] + 0.3 * GENERATOR.standard_normal((60, 4))
"""Three clouds, ten deviations apart, so that any network that learns at all tells them apart."""
NUMBERS = np.tanh(X[:, :2]) + 0.1 * GENERATOR.standard_normal((60, 2))
SPREAD = GENERATOR.standard_normal((60, 4))
QUICK = {"optimizer": Adam(0.03), "epochs": 12, "batch_size": 8}


backend = ways.each_library  # these are whole trainings


def fit(layers, y, loss, x=X, dtype="float32", **options):
    """A new network, trained in silence."""
    network = Network(layers, dtype=dtype)
    return network.fit(x, y, loss=loss, progress=False, **options)


def classifier(**options):
    return fit(mlp([8], outputs=3), LABELS, "cross_entropy", **{**QUICK, **options})


def assert_same(found, expected):
    """Two networks: the same parameters and losses to the last bit."""
    assert found.history["loss"] == expected.history["loss"]
    for name, value in expected.parameters.items():
        np.testing.assert_array_equal(found.parameters[name], value, err_msg=name)


def assert_near(found, expected, tolerance):
    """Two networks: the same parameters, norm-wise."""
    for name, value in expected.parameters.items():
        difference = np.linalg.norm(found.parameters[name] - value)
        assert difference <= tolerance * np.linalg.norm(value), name


# -- what can be learned -------------------------------------------------------------------


def test_classification(backend):
    network = classifier(backend=backend)
    np.testing.assert_array_equal(network.predict(X), LABELS)
    assert network.predict(X).dtype == LABELS.dtype
    chances = network.predict_proba(X)
    assert (chances.shape, chances.dtype) == ((60, 3), np.float32)
    # Three float32 chances, each rounded, and their sum: a few units of 6e-8.
    np.testing.assert_allclose(chances.sum(1), 1.0, rtol=0.0, atol=5e-7)
    np.testing.assert_array_equal(chances.argmax(1), LABELS)
    assert network.score(X, LABELS) == 1.0
    assert network.score(X, np.zeros(60, int)) == pytest.approx(1 / 3)
    assert network.history.keys() == {"loss", "seconds"}
    assert [len(values) for values in network.history.values()] == [12, 12]
    assert {type(value) for values in network.history.values() for value in values} == {float}
    assert network.history["loss"][-1] < 0.1 < 0.5 < network.history["loss"][0]
    shapes = {name: value.shape for name, value in network.parameters.items()}
    assert shapes == {
        "dense1.weight": (4, 8),
        "dense1.bias": (8,),
        "dense2.weight": (8, 3),
        "dense2.bias": (3,),
    }
    assert {value.dtype for value in network.parameters.values()} == {np.dtype(np.float32)}
    assert network.backend is backend


KINDS = {
    "bytes": LABELS.astype(np.uint8),
    "numbers out of order": np.array([7, -5, 0])[LABELS],
    "strings": np.array(["one", "two", "three"])[LABELS],
    "objects": np.array(["one", "two", "three"], dtype=object)[LABELS],
    "a list of strings": [["one", "two", "three"][label] for label in LABELS],
    "a list of numbers": LABELS.tolist(),
}


@pytest.mark.parametrize("y", KINDS.values(), ids=list(KINDS))
def test_labels_come_out_as_they_go_in(y):
    network = fit(mlp([8], outputs=3), y, "cross_entropy", **QUICK)
    predictions = network.predict(X)
    assert predictions.tolist() == list(y)
    assert predictions.dtype.kind == np.array(list(y)).dtype.kind
    classes = sorted(set(y))
    columns = network.predict_proba(X).argmax(1)
    assert [classes[column] for column in columns] == list(y)
    assert network.score(X, y) == 1.0


def test_a_class_may_be_missing_from_the_training_rows():
    seen = LABELS != 1
    network = fit(mlp([8], outputs=4), LABELS[seen], "cross_entropy", X[seen], **QUICK)
    assert network.predict_proba(X).shape == (60, 4)
    np.testing.assert_array_equal(network.predict(X[seen]), LABELS[seen])
    right = network.predict(X) == LABELS
    assert network.score(X, LABELS) == np.mean(right)
    assert not right[~seen].any()


def test_two_classes_in_one_output():
    y = np.where(LABELS == 1, "yes", "no")
    network = fit(mlp([8], outputs=1), y, "binary_cross_entropy", **QUICK)
    np.testing.assert_array_equal(network.predict(X), y)
    chances = network.predict_proba(X)
    assert chances.shape == (60, 2)
    np.testing.assert_array_equal(chances[:, 1] > 0.5, y == "yes")
    np.testing.assert_array_equal(chances[:, 0], 1.0 - chances[:, 1])
    assert network.score(X, y) == 1.0


def test_several_yes_or_no_at_once():
    y = np.stack([LABELS == 0, LABELS != 1, LABELS == 2], axis=1).astype(np.int64)
    network = fit(mlp([8], outputs=3), y, "binary_cross_entropy", **QUICK)
    np.testing.assert_array_equal(network.predict(X), y)
    assert network.predict(X).dtype == y.dtype
    chances = network.predict_proba(X)
    np.testing.assert_array_equal(chances > 0.5, y == 1)
    half = y.copy()
    half[:30, 0] = 1 - half[:30, 0]
    assert network.score(X, half) == 0.5  # a row is right in every column, or not at all


@pytest.mark.parametrize("loss", ["half_squared_error", "mean_squared_error"])
@pytest.mark.parametrize("y", [NUMBERS, NUMBERS[:, 0], NUMBERS[:, :1]], ids=["nk", "n", "n1"])
def test_regression_ends_at_least_squares(loss, y):
    options = {"optimizer": SGD(0.4), "epochs": 300, "batch_size": None, "dtype": "float64"}
    network = fit([Dense(1 if y.ndim == 1 else y.shape[1])], y, loss, SPREAD, **options)
    table = np.column_stack([SPREAD, np.ones(60)])
    expected = table @ np.linalg.lstsq(table, y, rcond=None)[0]
    predictions = network.predict(SPREAD)
    assert predictions.shape == y.shape
    # Curvatures are 0.47 to 1.47, so an error shrinks to 0.82 of itself a step, or to less.
    np.testing.assert_allclose(predictions, expected, rtol=0.0, atol=1e-12)
    residual, spread = np.sum((y - predictions) ** 2, 0), np.sum((y - y.mean(0)) ** 2, 0)
    assert network.score(SPREAD, y) == pytest.approx(np.mean(1.0 - residual / spread), abs=1e-12)
    with pytest.raises(DataError, match="no class probabilities"):
        network.predict_proba(SPREAD)


def test_a_perceptron_has_no_hidden_layer():
    gates = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    conjunction = np.array([0, 0, 0, 1])
    network = fit(
        [Dense(1)], conjunction, "binary_cross_entropy", gates,
        optimizer=SGD(2.0), epochs=60, batch_size=None,
    )  # fmt: skip
    assert list(network.parameters) == ["dense1.weight", "dense1.bias"]
    np.testing.assert_array_equal(network.predict(gates), conjunction)


def test_three_hidden_layers_of_three_kinds():
    layers = [Dense(9), Tanh(), Dense(8), Sigmoid(), Dense(7), ReLU(), Dense(3)]
    options = {"optimizer": Adam(0.01), "epochs": 40, "batch_size": 8}
    network = fit(layers, LABELS, "cross_entropy", **options)
    weights = [v.shape for k, v in network.parameters.items() if k.endswith("weight")]
    assert weights == [(4, 9), (9, 8), (8, 7), (7, 3)]
    assert network.score(X, LABELS) == 1.0


def test_exclusive_or(backend):
    x = np.array([[-1.0, -1.0], [-1.0, 1.0], [1.0, -1.0], [1.0, 1.0]])
    y = np.array([-1.0, 1.0, 1.0, -1.0])
    network = fit(
        [Dense(4), Tanh(), Dense(1)], y, HalfSquaredError(), x,
        optimizer=SGD(0.3), epochs=30, batch_size=1, backend=backend,
    )  # fmt: skip
    # Learned, not exact: an answer is nearer to its target than a fortieth of the way across.
    np.testing.assert_allclose(network.predict(x), y, rtol=0.0, atol=0.05)
    assert network.score(x, y) > 0.99


# -- output links --------------------------------------------------------------------------

LINKS = {
    "softmax": (Softmax(), CrossEntropy(), LABELS, 3),
    "sigmoid": (Sigmoid(), BinaryCrossEntropy(), LABELS == 2, 1),
}
every_link = pytest.mark.parametrize(("link", "loss", "y", "outputs"), LINKS.values(), ids=LINKS)


@every_link
def test_a_link_that_is_written_out_equals_one_that_is_not(link, loss, y, outputs):
    without = fit([Dense(outputs)], y, loss, epochs=2)
    written = fit([Dense(outputs), link], y, loss, epochs=2)
    assert_same(written, without)
    np.testing.assert_array_equal(written.predict_proba(X), without.predict_proba(X))


@every_link
@pytest.mark.parametrize("tail", [[], [Identity()]], ids=["last", "before identity"])
def test_no_link_is_applied_twice(link, loss, y, outputs, tail):
    network = Network([Dense(outputs), link, *tail])
    name = type(link).__name__.lower()
    for mode, times in [("train", 0), ("evaluate", 1), ("predict", 1)]:
        calls = network.plan(loss, features=4, mode=mode).calls
        assert [call.kernel.name for call in calls].count(name) == times, mode


def test_the_outputs_are_what_the_link_makes_of_the_last_layer():
    network = fit([Dense(3), Softmax()], LABELS, "cross_entropy", dtype="float64", epochs=3)
    z = X @ network.parameters["dense1.weight"] + network.parameters["dense1.bias"]
    softmax = np.exp(z) / np.exp(z).sum(1, keepdims=True)
    # Some ten roundings of numbers up to 1.
    np.testing.assert_allclose(network.outputs(X), softmax, rtol=0.0, atol=1e-14)
    network = fit([Dense(1)], LABELS == 1, "binary_cross_entropy", dtype="float64", epochs=3)
    z = X @ network.parameters["dense1.weight"] + network.parameters["dense1.bias"]
    np.testing.assert_allclose(network.outputs(X), 1 / (1 + np.exp(-z)), rtol=0.0, atol=1e-14)


def test_a_loss_without_a_link_takes_any_last_layer():
    hot = np.eye(3)[LABELS]
    network = fit([Dense(3), Softmax()], hot, "half_squared_error", epochs=1)
    # Three float32 chances, each rounded, and their sum: a few units of 6e-8.
    np.testing.assert_allclose(network.predict(X).sum(1), 1.0, rtol=0.0, atol=5e-7)
    calls = [call.kernel.name for call in network.plan().calls]
    assert (calls.count("softmax"), calls.count("softmax_backward")) == (1, 1)


@pytest.mark.parametrize(
    ("last", "loss"),
    [
        *product([Sigmoid(), Tanh(), ReLU()], [CrossEntropy()]),
        *product([Softmax(), Tanh(), ReLU()], [BinaryCrossEntropy()]),
    ],
    ids=lambda value: type(value).__name__,
)
def test_another_pair_of_last_layer_and_loss_is_an_error(last, loss):
    with pytest.raises(NetworkError, match=f"goes with .* ends in {type(last).__name__}"):
        fit([Dense(2), last], np.zeros((60, 2), int), loss)


# -- validation ----------------------------------------------------------------------------


def cross_entropy(network, x, y):
    return -np.mean(np.log(network.predict_proba(x)[np.arange(len(y)), y]))


def test_validation_measures_each_epoch(backend):
    x, y, x_val, y_val = X[:40], LABELS[:40], X[40:], LABELS[40:]
    options = {"loss": "cross_entropy", "dtype": "float64", "batch_size": 20, "backend": backend}
    layers = [Dense(8), ReLU(), Dropout(0.2), Dense(3)]
    stops = [fit(layers, y, x=x, epochs=epochs, **options) for epochs in (1, 2)]
    network = fit(layers, y, x=x, epochs=2, **options, validation=(x_val, y_val))
    assert_same(network, stops[-1])  # it is measured on, never trained on
    found = [network.predict_proba(x_val), *network.parameters.values()]
    assert {value.dtype for value in found} == {np.dtype("float64")}
    history = network.history
    assert list(history) == ["loss", "validation_loss", "validation_accuracy", "seconds"]
    # Ten roundings a row, in another order.
    expected = [cross_entropy(stop, x_val, y_val) for stop in stops]
    assert history["validation_loss"] == pytest.approx(expected, rel=1e-13)
    assert history["validation_accuracy"] == [stop.score(x_val, y_val) for stop in stops]


def test_validation_of_numbers_is_by_r2():
    network = fit(
        [Dense(2)], NUMBERS, MeanSquaredError(), dtype="float64", validation=(X[:9], NUMBERS[:9])
    )
    error = network.predict(X[:9]) - NUMBERS[:9]
    # Eighteen squares in another order.
    assert network.history["validation_loss"][-1] == pytest.approx(np.mean(error**2), rel=1e-13)
    assert network.history["validation_r2"][-1] == network.score(X[:9], NUMBERS[:9])


def test_validation_on_more_rows_than_one_chunk():
    rows = np.arange(2 * CHUNK + 60) % 60
    network = fit(
        [Dense(3)], LABELS, "cross_entropy", dtype="float64", epochs=1,
        validation=(X[rows], LABELS[rows]),
    )  # fmt: skip
    expected = cross_entropy(network, X[rows], LABELS[rows])
    # Sums of 2,000 rows in another order.
    assert network.history["validation_loss"] == pytest.approx([expected], rel=1e-12)


def test_prediction_on_more_rows_than_one_chunk(backend):
    network = fit([Dense(2)], NUMBERS, "mean_squared_error", dtype="float64", epochs=1)
    rows = np.arange(2 * CHUNK + 7) % 60
    expected = X[rows] @ network.parameters["dense1.weight"] + network.parameters["dense1.bias"]
    found = network.predict(X[rows], backend=backend)
    # Sums of five products of ordinary numbers.
    np.testing.assert_allclose(found, expected, rtol=0.0, atol=1e-14)


# -- sample weights ------------------------------------------------------------------------

OUTPUTS = np.random.default_rng(4).standard_normal((60, 4))
WEIGHTED = {
    name: (mlp([5], outputs=4, activation="tanh"), loss().targets.typical(OUTPUTS))
    for name, loss in LOSSES.items()
}
WHOLE = {"dtype": "float64", "batch_size": None, "shuffle": False, "epochs": 10}
every_loss = pytest.mark.parametrize("loss", WEIGHTED)


@every_loss
def test_zero_weight_removes_the_row_and_whole_weights_repeat_it(loss):
    layers, y = WEIGHTED[loss]
    weight = np.arange(60) % 4
    rows = np.repeat(np.arange(60), weight)
    weighted = fit(layers, y, loss, sample_weight=weight, **WHOLE)
    repeated = fit(layers, y[rows], loss, X[rows], **WHOLE)
    assert_near(weighted, repeated, 1e-12)  # ten steps of sums in another order
    assert weighted.history["loss"] == pytest.approx(repeated.history["loss"], rel=1e-12)


def test_zero_weight_removes_the_row_on_every_backend(backend):
    weight = np.arange(40) % 2
    kept = weight > 0
    options = {**WHOLE, "epochs": 3, "backend": backend}
    layers, x, y = mlp([8], outputs=3), X[:40], LABELS[:40]
    weighted = fit(layers, y, "cross_entropy", x, sample_weight=weight, **options)
    removed = fit(layers, y[kept], "cross_entropy", x[kept], **options)
    assert_near(weighted, removed, 1e-12)
    assert weighted.history["loss"] == pytest.approx(removed.history["loss"], rel=1e-12)


def test_equal_weights_are_no_weights():
    layers, y = WEIGHTED["cross_entropy"]
    plain = fit(layers, y, "cross_entropy", **WHOLE)
    assert_near(fit(layers, y, "cross_entropy", sample_weight=[3.0] * 60, **WHOLE), plain, 1e-12)


def test_a_batch_whose_weights_are_all_zero_moves_nothing():
    weight = np.where(np.arange(60) < 30, 1.0, 0.0)
    options = {"optimizer": SGD(0.1), "dtype": "float64", "shuffle": False, "epochs": 1}
    layers = [Dense(3)]
    halves = fit(layers, LABELS, "cross_entropy", **options, batch_size=30, sample_weight=weight)
    first = fit(layers, LABELS[:30], "cross_entropy", X[:30], **options, batch_size=None)
    assert_near(halves, first, 1e-14)
    assert halves.history["loss"] == pytest.approx(first.history["loss"], rel=1e-14)


# -- beginning, going on, moving -----------------------------------------------------------


def test_every_fit_starts_anew():
    network, other = classifier(seed=4), classifier(seed=5)
    first, second = (n.parameters["dense1.weight"] for n in (network, other))
    assert not np.array_equal(first, second)
    other.fit(X, LABELS, loss="cross_entropy", **QUICK, seed=4, progress=False)
    assert_same(other, network)


def test_the_seed_alone_decides_the_first_values(backend):
    # So small a step that it moves no weight; biases start at 0, where every step shows.
    options = {"optimizer": SGD(1e-30), "epochs": 1, "dtype": "float64", "seed": 6}
    layers = [Dense(8), ReLU(), Dropout(0.5), Dense(3)]
    here = fit(layers, LABELS, "cross_entropy", **options, backend=backend)
    there = fit(layers, LABELS, "cross_entropy", **options, backend=ways.open_way("numpy"))
    for name in ("dense1.weight", "dense2.weight"):
        np.testing.assert_array_equal(here.parameters[name], there.parameters[name])
    # Equal masks and order, and sums in another order; another mask is off in the first digit.
    assert here.history["loss"] == pytest.approx(there.history["loss"], rel=1e-13)


def test_warm_start_goes_on():
    options = {"loss": "cross_entropy", "optimizer": SGD(0.1), "shuffle": False, "progress": False}
    network, whole = (Network(mlp([5], outputs=3)) for _ in range(2))
    network.fit(X, LABELS, epochs=2, **options)
    start = network.history["loss"]
    network.fit(X, LABELS, epochs=3, warm_start=True, **options)
    whole.fit(X, LABELS, epochs=5, **options)
    assert start + network.history["loss"] == whole.history["loss"]
    network.history["loss"][:0] = start
    assert_same(network, whole)


def test_warm_start_keeps_what_there_is():
    """Nothing before the first fit; then the parameters, and what counts as a label."""
    assert_same(classifier(epochs=1, warm_start=True), classifier(epochs=1))
    names = np.array(["a", "b", "c"])[LABELS]
    network = fit([Dense(3)], names, "cross_entropy", **QUICK)
    before = network.predict_proba(X)
    options = {**VALID, "optimizer": SGD(1e-6), "warm_start": True}
    network.fit(**{**options, "x": X[LABELS > 0], "y": names[LABELS > 0]})
    # So small a rate that the network is what it was.
    np.testing.assert_allclose(network.predict_proba(X), before, rtol=0.0, atol=1e-3)
    np.testing.assert_array_equal(network.predict(X), names)
    with pytest.raises(DataError, match=r"label .*'d'.* is not among the 3 classes"):
        network.fit(**{**options, "y": np.where(names == "a", "d", names)})


def test_warm_start_on_another_backend(backend):
    options = {"optimizer": SGD(0.1), "batch_size": None, "epochs": 2, "dtype": "float64"}
    found, expected = (fit(mlp([5], outputs=3), LABELS, "cross_entropy", **options) for _ in "ab")
    del options["dtype"]
    options |= {"loss": "cross_entropy", "progress": False, "warm_start": True}
    found.fit(X, LABELS, **options, backend=backend)
    expected.fit(X, LABELS, **options)
    assert found.backend is backend
    assert_near(found, expected, 1e-13)  # two steps of sums in another order


def test_prediction_on_another_backend(backend):
    network = classifier(dtype="float64", epochs=2)
    before, home = network.parameters, network.backend
    found, expected = network.outputs(X, backend=backend), network.outputs(X)
    assert isinstance(found, np.ndarray)
    # Sums of ten products, then a softmax, by another library.
    np.testing.assert_allclose(found, expected, rtol=0.0, atol=1e-14)
    np.testing.assert_array_equal(network.predict(X, backend=backend), network.predict(X))
    np.testing.assert_array_equal(network.predict_proba(X, backend=backend), found)
    assert network.score(X, LABELS, backend=backend) == network.score(X, LABELS)
    assert network.backend is home
    for name, value in before.items():
        np.testing.assert_array_equal(network.parameters[name], value)


# -- what is given -------------------------------------------------------------------------


def test_arrays_of_any_library_are_data(backend):
    x, y = backend.asarray(X, "float64"), backend.asarray(LABELS, "index")
    weight = backend.asarray(np.linspace(1.0, 2.0, 60), "float64")
    assert array_api_compat.array_namespace(x).__name__ == backend.xp.__name__
    options = {"dtype": "float64", "epochs": 2}
    found = fit(
        [Dense(3)], y, "cross_entropy", x, sample_weight=weight, validation=(x, y), **options
    )
    expected = fit([Dense(3)], LABELS, "cross_entropy", sample_weight=weight, **options)
    assert_same(found, expected)
    np.testing.assert_array_equal(backend.to_host(found.predict(x)), expected.predict(X))
    assert found.score(x, y) == expected.score(X, LABELS)


FORMS = {
    "a list of lists": X.tolist(),
    "other memory order": np.asfortranarray(X),
    "every second column of another": np.repeat(X, 2, axis=1)[:, ::2],
    "backwards": X[::-1][::-1],
}


@pytest.mark.parametrize("x", FORMS.values(), ids=list(FORMS))
def test_the_form_of_x_does_not_matter(x):
    assert_same(classifier(x=x, epochs=2), classifier(epochs=2))


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int64, np.float16])
def test_any_numbers_are_inputs(dtype):
    x = (X > 1.0).astype(dtype)
    assert_same(classifier(x=x, epochs=2), classifier(x=x.astype(float), epochs=2))


def test_the_arrays_given_stay_as_they_are_and_stay_the_callers(backend):
    given = [X.astype(np.float32), LABELS.copy(), np.ones(60)]
    x, y, weight = given
    copies = [value.copy() for value in given]
    network = fit(
        [Dense(3)], y, "cross_entropy", x, sample_weight=weight, validation=(x, y),
        epochs=2, backend=backend,
    )  # fmt: skip
    expected = network.predict_proba(x)
    for value, before in zip(given, copies, strict=True):
        np.testing.assert_array_equal(value, before)
        value[:] = 0  # writable, and no longer of interest
    np.testing.assert_array_equal(network.predict_proba(copies[0]), expected)


def test_read_only_arrays_will_do():
    x, y = X.copy(), LABELS.copy()
    x.flags.writeable = y.flags.writeable = False
    assert_same(fit([Dense(3)], y, "cross_entropy", x), fit([Dense(3)], LABELS, "cross_entropy"))


def test_results_are_copies():
    network = classifier(epochs=1)
    expected = network.predict_proba(X)
    for value in [network.predict_proba(X), network.outputs(X), *network.parameters.values()]:
        value[:] = np.nan
    np.testing.assert_array_equal(network.predict_proba(X), expected)


# -- names ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "loss", "y"),
    [
        ("cross_entropy", CrossEntropy(), LABELS),
        ("binary_cross_entropy", BinaryCrossEntropy(), np.eye(3)[LABELS]),
        ("half_squared_error", HalfSquaredError(), np.eye(3)[LABELS]),
        ("mean_squared_error", MeanSquaredError(), np.eye(3)[LABELS]),
    ],
)
@pytest.mark.parametrize(("short", "optimizer"), [("adam", Adam()), ("sgd", SGD())])
def test_a_name_stands_for_the_object_with_its_defaults(name, loss, y, short, optimizer):
    named = fit([Dense(3)], y, name, optimizer=short, epochs=2)
    assert_same(named, fit([Dense(3)], y, loss, optimizer=optimizer, epochs=2))


def test_mlp_writes_the_common_list():
    assert mlp([7, 5], outputs=3) == [Dense(7), ReLU(), Dense(5), ReLU(), Dense(3)]
    assert mlp([4], outputs=1, activation="tanh") == [Dense(4), Tanh(), Dense(1)]
    assert mlp([], outputs=2) == [Dense(2)]
    with pytest.raises(NetworkError, match=r"activation is one of .*relu.*; got 'squareplus'"):
        mlp([4], outputs=1, activation="squareplus")


def test_a_network_says_what_it_is():
    network = Network([Dense(3), ReLU()], dtype="float64")
    assert repr(network).startswith("Network([Dense(out_features=3")
    assert repr(network).endswith("ReLU()], dtype='float64')")


# -- other units -----------------------------------------------------------------------------

UNITS = X * [1e3, 1e-3, 1.0, 1e6] + [5e3, 0.0, -3.0, 1e6]
PRICES = 2e5 + 5e4 * (X @ [0.5, -1.0, 0.3, 0.2])


def test_standardized_data_trains_as_data_scaled_by_hand(backend):
    scaled = (UNITS - UNITS.mean(0)) / UNITS.std(0)
    options = {"epochs": 3, "backend": backend, "validation": (UNITS, LABELS)}
    found = fit([Dense(3)], LABELS, "cross_entropy", UNITS, standardize=True, **options)
    options["validation"] = (scaled, LABELS)
    expected = fit([Dense(3)], LABELS, "cross_entropy", scaled, **options)
    assert_same(found, expected)
    for name in ("loss", "validation_loss"):
        assert found.history[name] == pytest.approx(expected.history[name], rel=1e-9)
    np.testing.assert_array_equal(found.predict(UNITS), expected.predict(scaled))


def test_standardized_numbers_are_predicted_in_their_units():
    options = {"epochs": 200, "optimizer": Adam(0.1), "standardize": True}
    network = fit([Dense(1)], PRICES, "mean_squared_error", UNITS, **options)
    assert network.score(UNITS, PRICES) > 0.99
    predictions = network.predict(UNITS)
    assert abs(predictions.mean() - PRICES.mean()) < 0.05 * PRICES.std()
    assert 0.9 < predictions.std() / PRICES.std() < 1.1
    assert abs(network.outputs(UNITS).mean()) < 0.1, "what the last layer gives is not scaled back"
    assert network.history["loss"][0] < 20.0, "the loss is that of the scaled numbers"


def test_standardization_goes_on_with_a_warm_start_and_in_a_copy():
    options = {"standardize": True, "epochs": 2}
    network = fit([Dense(3)], LABELS, "cross_entropy", UNITS, **options)
    twin = copy.deepcopy(network)
    before = network.predict_proba(UNITS)
    other = UNITS[:20] * 2.0
    warm = {"loss": "cross_entropy", "warm_start": True, "progress": False, "epochs": 1}
    network.fit(other, LABELS[:20], optimizer=SGD(1e-12), **warm)
    # A step of 1e-12; the columns of the new rows did not count.
    np.testing.assert_allclose(network.predict_proba(UNITS), before, rtol=1e-6)
    np.testing.assert_array_equal(twin.predict_proba(UNITS), before)
    plain = fit([Dense(3)], LABELS, "cross_entropy", X, epochs=1)
    with pytest.raises(NetworkError, match="without standardize=True; fit it anew"):
        plain.fit(X, LABELS, standardize=True, **warm)


def test_the_open_loop_keeps_the_scale_of_its_first_data():
    network = Network([Dense(3)])
    step = network.start(loss="cross_entropy", standardize=True)
    step.gradient(next(step.batches(UNITS, LABELS, 0)))
    first = network.outputs(UNITS)
    step.gradient(next(step.batches(UNITS * 7.0 + 1.0, LABELS, 0)))
    np.testing.assert_array_equal(network.outputs(UNITS), first)


def test_a_warm_start_out_of_an_open_loop_has_fresh_moments():
    """The optimizer's state is still there, but is not what the new training begins with."""
    network = Network([Dense(3)], "float64")
    step = network.start(loss="cross_entropy", optimizer=SGD(0.1, 0.9), batch_size=None)
    (batch,) = step.batches(X, LABELS, 0)
    for _ in range(3):
        step.step(batch)
    twin = copy.deepcopy(network)
    options = {"loss": "cross_entropy", "batch_size": None, "warm_start": True}
    again = network.start(optimizer=SGD(0.1, 0.9), **options)
    (batch,) = again.batches(X, LABELS, 0)
    again.step(batch)
    twin.fit(X, LABELS, optimizer=SGD(0.1), epochs=1, progress=False, shuffle=False, **options)
    # The first step with momentum is one without; the rows stand in another order.
    assert_near(network, twin, 1e-14)


# -- nothing is lost -----------------------------------------------------------------------


def test_a_training_of_which_nothing_comes_leaves_the_one_before(backend):
    network = classifier(epochs=2, backend=backend)
    before, history = network.predict_proba(X), network.history
    for warm in (False, True):
        with pytest.raises(NonFiniteError):
            options = {"backend": backend, "warm_start": warm, "batch_size": 8}
            network.fit(**VALID, optimizer=SGD(1e30), **options)
        np.testing.assert_array_equal(network.predict_proba(X), before)
        assert network.history is history


def test_a_first_training_of_which_nothing_comes_leaves_the_first_values():
    network = Network(mlp([8], outputs=3))
    with pytest.raises(NonFiniteError):
        network.fit(**VALID, optimizer=SGD(1e30), batch_size=8)
    assert np.isfinite(network.predict_proba(X)).all()


def test_the_columns_of_a_table_are_forgotten_with_it_and_not_before():
    network = classifier(epochs=1)
    network.columns = columns = Columns(dict.fromkeys("abcd"))
    for wrong in ({"y": LABELS[:3]}, {"validation": (NAN, LABELS)}, {"optimizer": SGD(1e39)}):
        with pytest.raises(pnn.PortableNNError):
            network.fit(**{**VALID, **wrong})
        assert network.columns is columns
    network.fit(**VALID, epochs=1, warm_start=True)
    assert network.columns is columns
    network.fit(**VALID, epochs=1)
    assert network.columns is None


def test_targets_too_large_are_named_as_they_were_given():
    y = np.linspace(0.0, 1.0, 60)
    y[7] = 1e39
    for standardize in (False, True):
        with pytest.raises(DataError, match=r"y\[7\] is 1e\+39, too large for float32"):
            fit([Dense(1)], y, "mean_squared_error", standardize=standardize)


@pytest.mark.parametrize("kind", [np.int8, np.uint8, np.uint64])
def test_any_whole_number_is_a_count(kind):
    x, y = np.tile(X, (4, 1)), np.tile(LABELS, 4)
    found = fit([Dense(3)], y, "cross_entropy", x, batch_size=kind(16), epochs=kind(2))
    assert_same(found, fit([Dense(3)], y, "cross_entropy", x, batch_size=16, epochs=2))


def test_a_dtype_may_be_given_as_numpy_has_it():
    for dtype in (np.float64, np.dtype("float64"), np.array(0.0).dtype):
        assert Network([Dense(3)], dtype).dtype == "float64"


# -- mistakes ------------------------------------------------------------------------------

NAN, HUGE = X.copy(), X.copy()
NAN[3, 2], HUGE[5, 1] = np.nan, -np.inf
VALID = {"x": X, "y": LABELS, "loss": "cross_entropy", "progress": False}
TABLES = {"loss": "mean_squared_error", "y": np.eye(3)[LABELS]}
MISTAKES = {
    "x is one row": ({"x": X[0]}, ShapeError, r"got \(4,\)\. A single row is x\[None, :\]"),
    "x has no rows": ({"x": X[:0], "y": LABELS[:0]}, ShapeError, r"nothing in it: \(0, 4\)"),
    "x has no columns": ({"x": X[:, :0]}, ShapeError, r"nothing in it: \(60, 0\)"),
    "x is a cube": ({"x": X[:, :, None]}, ShapeError, r"got \(60, 4, 1\)"),
    "x is nothing": ({"x": None}, DataError, "x is None; give an array"),
    "x is ragged": ({"x": [[1.0, 2.0], [3.0]], "y": [0, 1]}, DataError, "x cannot be read"),
    "x is text": ({"x": X.astype(str)}, DataError, "not numbers"),
    "x is complex": ({"x": X * 1j}, DataError, "complex128, not numbers"),
    "x is not a number": ({"x": NAN}, DataError, r"x\[3, 2\] is nan"),
    "x is infinite": ({"x": HUGE}, DataError, r"x\[5, 1\] is -inf"),
    "y is too short": ({"y": LABELS[:9]}, ShapeError, r"x has 60 rows; got y \(9,\)"),
    "y is one number": ({"y": 1}, ShapeError, r"got y \(\)"),
    "y has more classes": ({"y": np.arange(60)}, ShapeError, "3 outputs.*60 classes"),
    "y has fewer classes": ({"y": ["a", "b"] * 30}, ShapeError, "3 outputs.*2 classes"),
    "y is one-hot": ({"y": np.eye(3)[LABELS]}, ShapeError, r"\(60, 3\).*y\.argmax\(axis=1\)"),
    "labels are fractions": ({"y": LABELS + 0.5}, DataError, "integers or strings"),
    "there is one class only": ({"y": np.full(60, 2)}, DataError, "one class only, 2"),
    "y is not a number": ({**TABLES, "y": [np.nan] * 60}, DataError, r"y\[0\] is nan"),
    "y is too wide": ({**TABLES, "y": np.eye(4)[LABELS]}, ShapeError, r"\(n, 3\).*\(60, 4\)"),
    "y is flat": ({**TABLES, "y": LABELS}, ShapeError, r"\(n, 3\); got \(60,\)"),
    "y is text": ({**TABLES, "y": np.full((60, 3), "a")}, DataError, "numbers as y"),
    "yes, no and 2": (
        {"loss": "binary_cross_entropy", "y": np.eye(3)[LABELS] * 2},
        DataError,
        r"label .*2\.0.* is not among",
    ),
    "weights are too few": ({"sample_weight": [1.0]}, ShapeError, r"sample_weight \(1,\)"),
    "a weight is negative": ({"sample_weight": LABELS - 1.0}, DataError, "not negative"),
    "all weights are zero": ({"sample_weight": np.zeros(60)}, DataError, "zero everywhere"),
    "weights are a table": ({"sample_weight": np.ones((60, 1))}, ShapeError, r"is \(n,\)"),
    "a weight is infinite": ({"sample_weight": HUGE[:, 1]}, DataError, r"\[5\] is -inf"),
    "weights are text": ({"sample_weight": ["a"] * 60}, DataError, "sample_weight"),
    "validation x is wide": (
        {"validation": (np.hstack([X, X]), LABELS)},
        ShapeError,
        r"takes \(n, 4\); got validation x \(60, 8\)",
    ),
    "validation x is not a number": ({"validation": (NAN, LABELS)}, DataError, r"\[3, 2\] is nan"),
    "validation y is short": ({"validation": (X, LABELS[:9])}, ShapeError, r"got .*y \(9,\)"),
    "validation has a new label": (
        {"validation": (X, LABELS + 1)},
        DataError,
        "label .*3.* is not among the 3 classes",
    ),
    "validation labels are text": (
        {"validation": (X, LABELS.astype(str))},
        DataError,
        "classes",
    ),
    "validation y is one-hot": (
        {"validation": (X, np.eye(3, dtype=int)[LABELS])},
        ShapeError,
        r"\(60, 3\)",
    ),
    "validation y is narrow": (
        {**TABLES, "validation": (X, np.eye(3)[LABELS][:, :1])},
        ShapeError,
        r"\(n, 3\).*\(60, 1\)",
    ),
    "validation y is text": (
        {**TABLES, "validation": (X, np.full((60, 3), "a"))},
        DataError,
        "numbers",
    ),
    "validation is x alone": ({"validation": (X,)}, DataError, "validation"),
    "validation is no pair": ({"validation": 0.2}, DataError, "validation"),
    "no epochs": ({"epochs": 0}, DataError, "epochs is a whole number, 1 or more; got 0"),
    "half an epoch": ({"epochs": 0.5}, DataError, r"epochs is .*; got 0\.5"),
    "an empty batch": ({"batch_size": 0}, DataError, "batch_size is .*; got 0"),
    "a batch of truth": ({"batch_size": True}, DataError, "batch_size is .*; got True"),
    "a negative seed": ({"seed": -1}, DataError, "seed is a whole number, 0 or more; got -1"),
    "a loss not known": ({"loss": "ranking"}, NetworkError, "cross_entropy.*; got 'ranking'"),
    "a loss that is a class": ({"loss": CrossEntropy}, NetworkError, "loss"),
    "an optimizer not known": ({"optimizer": "rprop"}, NetworkError, "adam.*; got 'rprop'"),
    "an optimizer that is a class": ({"optimizer": Adam}, NetworkError, "optimizer"),
    "shuffle is text": ({"shuffle": "no"}, DataError, "shuffle is True or False; got 'no'"),
    "progress is text": ({"progress": "no"}, DataError, "progress is True or False; got 'no'"),
    "warm_start is text": ({"warm_start": "no"}, DataError, "warm_start is True or False"),
    "standardize is a list": ({"standardize": []}, DataError, "standardize is True or False"),
    "a rate too large": ({"optimizer": SGD(1e39)}, NetworkError, "which float32 does not hold"),
    "a rate too small": ({"optimizer": Adam(1e-50)}, NetworkError, "which float32 does not hold"),
    "a schedule that fails": (
        {"optimizer": SGD(lambda epoch: [0.1][int(epoch)])},
        NetworkError,
        "at 1 it failed with IndexError",
    ),
    "a loss of the wrong link": ({"loss": "binary_cross_entropy"}, ShapeError, r"\(n, 3\)"),
}
every_mistake = pytest.mark.parametrize(
    ("options", "kind", "words"), MISTAKES.values(), ids=list(MISTAKES)
)


@every_mistake
def test_a_mistake_at_the_door_costs_nothing(options, kind, words):
    network = classifier(epochs=2)
    before = network.parameters, copy.deepcopy(network.history), network.predict_proba(X)
    given = {**VALID, **options}
    copies = copy.deepcopy(given)
    with pytest.raises(kind, match=words):
        network.fit(**given)
    assert network.history == before[1]
    np.testing.assert_array_equal(network.predict_proba(X), before[2])
    for name, value in before[0].items():
        np.testing.assert_array_equal(network.parameters[name], value)
    for name in {"x", "y", "validation", "sample_weight"} & given.keys():
        np.testing.assert_equal(given[name], copies[name])


def said(options):
    """What a network answers to a mistake; of which kind it must be is said above."""
    try:
        Network(mlp([8], outputs=3)).fit(**{**VALID, **options})
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return "nothing"


def test_a_mistake_at_the_door_is_said_alike_everywhere(backend):
    for name, (options, *_) in MISTAKES.items():
        expected = said({**options, "backend": ways.open_way("numpy")})
        assert said({**options, "backend": backend}) == expected, name


def test_warm_start_with_other_columns_is_an_error_that_costs_nothing():
    network = classifier(epochs=1)
    before = network.predict_proba(X)
    with pytest.raises(ShapeError, match=r"takes \(n, 4\); got x \(60, 3\)"):
        network.fit(**{**VALID, "x": X[:, :3]}, warm_start=True)
    np.testing.assert_array_equal(network.predict_proba(X), before)


BAD_QUESTIONS = {
    "one row": (X[0], ShapeError, r"got \(4,\)\. A single row is x\[None, :\]"),
    "too narrow": (X[:, :3], ShapeError, r"takes \(n, 4\); got x \(60, 3\)"),
    "not a number": (NAN, DataError, r"x\[3, 2\] is nan"),
    "text": (X.astype(str), DataError, "not numbers"),
}


@pytest.mark.parametrize(("x", "kind", "words"), BAD_QUESTIONS.values(), ids=list(BAD_QUESTIONS))
def test_a_question_that_does_not_fit(x, kind, words):
    network = classifier(epochs=1)
    for ask in (network.predict, network.predict_proba, network.outputs):
        with pytest.raises(kind, match=words):
            ask(x)
    with pytest.raises(kind, match=words):
        network.score(x, LABELS)


@pytest.mark.parametrize(
    ("y", "labels"),
    [
        (LABELS[:9], LABELS),
        (LABELS[:, None], LABELS),
        (NUMBERS[:, :1], NUMBERS[:, 0]),
        (NUMBERS[:, 0], NUMBERS),
        (NUMBERS[:, :1], NUMBERS),
    ],
    ids=["short", "a column for labels", "a column for numbers", "flat", "narrow"],
)
def test_a_score_against_another_shape_is_an_error(y, labels):
    if labels is LABELS:
        network = classifier(epochs=1)
    else:
        layers = [Dense(2 if labels.ndim == 2 else 1)]
        network = fit(layers, labels, "mean_squared_error", epochs=1)
    with pytest.raises(ShapeError):
        network.score(X, y)


@pytest.mark.parametrize(
    "ask",
    [
        lambda network: network.predict(X),
        lambda network: network.predict_proba(X),
        lambda network: network.outputs(X),
        lambda network: network.score(X, LABELS),
        lambda network: network.parameters,
        lambda network: network.backend,
    ],
    ids=["predict", "predict_proba", "outputs", "score", "parameters", "backend"],
)
def test_nothing_is_known_before_a_fit(ask):
    network = Network([Dense(3)])
    assert network.history == {}
    with pytest.raises(NotFittedError, match="call fit first"):
        ask(network)


class OfAnotherLibrary:
    """A layer as torch has them."""

    def forward(self, x):
        return x


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: Network([Dense(3)], dtype="float16"), "float32, float64; got 'float16'"),
        (lambda: Network([Dense(3), ReLU]), "for example ReLU"),
        (lambda: Network(["relu"]), "layers are objects.*'relu'"),
        (lambda: Dense(0), "1 or more; got 0"),
        (lambda: Dense(2.5), r"1 or more.*; got 2\.5"),
        (lambda: Dense(10**30), r"1 or more, below 2\*\*31; got 1000"),
        (lambda: Dense(32, "relu"), r"got 'relu'.*activation is a layer of its own"),
        (lambda: Dense(64, 10), "got 10. The number of inputs comes from the data"),
        (lambda: Dense(3, weight="he_normal"), "initializer as weight, .*got 'he_normal'"),
        (lambda: Dense(3, bias=pnn.Normal), "initializer as bias, .*got <class"),
        (lambda: Network([MeanSquaredError()]), "for example ReLU.*MeanSquaredError"),
        (lambda: Network([OfAnotherLibrary()]), "for example ReLU.*OfAnotherLibrary"),
        (lambda: Network([Dense(3)], dtype=np.float16), "float32, float64; got 'float16'"),
        (lambda: mlp("128", outputs=2), "hidden sizes come in a list.*'128'"),
        (lambda: mlp(np.array(16), outputs=2), "hidden sizes come in a list"),
        (lambda: mlp([16], outputs=2, activation=["relu"]), "activation is one of"),
        (lambda: SGD(0.1, 0.9, "yes"), "True or False as nesterov; got 'yes'"),
        (lambda: Dropout(False), "got False"),
        (lambda: fit([Dense(2)], NUMBERS, pnn.losses.Loss()), "loss is one of"),
        (
            lambda: fit(
                [Dense(2, weight=lambda draws, shape: np.ones(3))], NUMBERS, "mean_squared_error"
            ),
            r"initializer of dense1.weight gave float64 \(3,\); \(4, 2\) numbers",
        ),
        (
            lambda: fit(
                [Dense(2, bias=lambda draws, shape: np.full(shape, np.nan))],
                NUMBERS,
                "mean_squared_error",
            ),
            "initializer of dense1.bias gave",
        ),
        (
            lambda: fit(
                [Dense(2, bias=lambda draws, shape: np.full(shape, 1e300))],
                NUMBERS,
                "mean_squared_error",
            ),
            "that float32 can hold are needed",
        ),
        (lambda: Dropout(1.0), r"got 1\.0"),
        (lambda: Dropout(-0.1), r"got -0\.1"),
        (lambda: SGD(0.0), "SGD takes a number above 0 as learning_rate; got 0"),
        (lambda: Adam(float("nan")), "Adam takes a number above 0 as learning_rate; got nan"),
        (lambda: fit([], NUMBERS, "mean_squared_error"), "nothing to train"),
        (lambda: fit([ReLU()], np.eye(4)[LABELS], "mean_squared_error"), "nothing to train"),
        (lambda: Network([Dense(3)]).plan(), "before a fit, say"),
        (lambda: Network([Dense(3)]).plan("cross_entropy"), "before a fit, say"),
        (lambda: classifier(epochs=1).plan(mode="test"), "train, evaluate, predict; got 'test'"),
    ],
)
def test_what_makes_no_network(build, words):
    with pytest.raises(NetworkError, match=words):
        build()


def test_numpy_integers_are_sizes_and_counts():
    network = fit([Dense(LABELS.max() + 1)], LABELS, "cross_entropy", epochs=np.int64(2))
    assert network.predict_proba(X).shape == (60, 3)


def test_plan_after_a_fit_is_the_one_that_ran():
    network = classifier(epochs=1, optimizer=SGD(0.5))
    assert network.plan() is network.plan()
    assert str(network.plan()) == str(network.plan(CrossEntropy(), SGD(0.5), features=4))
    assert str(network.plan(optimizer="adam")) != str(network.plan())
    assert str(network.plan()).splitlines()[1].startswith("I    forward")


def test_the_errors_are_of_one_family():
    kinds = [ShapeError, DataError, NetworkError, NotFittedError, pnn.BackendError]
    assert all(issubclass(kind, pnn.PortableNNError) for kind in [*kinds, pnn.NonFiniteError])
    assert all(issubclass(kind, ValueError) for kind in kinds[:3])


# -- a mistake that is found late costs nothing ----------------------------------------------


def assert_costs_nothing(layers, late, said):
    """A training that is refused, ``late(network, x, y)``, leaves the one before."""
    x, y = np.arange(24.0).reshape(8, 3), np.arange(8.0)
    network = pnn.Network(layers).fit(x, y, loss="huber", epochs=2, progress=False)
    before, history, session = network.predict(x), network.history, network._known().session
    with pytest.raises(pnn.PortableNNError, match=said):
        late(network, x, y)
    np.testing.assert_array_equal(network.predict(x), before)
    assert network.history == history
    assert network._known().session is session


@pytest.mark.parametrize("open_loop", [False, True])
@pytest.mark.parametrize(
    ("layers", "options", "said"),
    [
        ([pnn.Dense(1)], {"optimizer": "lbfgs", "batch_size": 4}, "takes all rows"),
        ([pnn.Dense(2), pnn.BatchNorm(), pnn.Dense(1)], {"batch_size": 1}, "needs 2 rows"),
    ],
)
def test_a_trained_network_is_as_it_was(layers, options, said, open_loop):
    def late(network, x, y):
        if open_loop:
            list(network.start(loss="huber", **options).batches(x, y, 0))
        else:
            network.fit(x, y, loss="huber", epochs=2, progress=False, **options)

    assert_costs_nothing(layers, late, said)


def test_a_trained_network_is_as_it_was_if_a_schedule_looks_at_what_is_not_measured():
    """In the open loop the history is the user's, so that ``fit`` alone can say so early."""
    optimizer = pnn.SGD(pnn.ReduceOnPlateau(0.1, metric="lost"))

    def late(network, x, y):
        network.fit(x, y, loss="huber", optimizer=optimizer, epochs=2, progress=False)

    assert_costs_nothing([pnn.Dense(1)], late, "looks at lost; the history has loss, seconds")
