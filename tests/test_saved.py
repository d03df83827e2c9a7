"""Networks to files and back, on every backend."""

import copy
import json
import pickle
from dataclasses import dataclass

import numpy as np
import pytest
import ways

import portable_nn as pnn
from portable_nn.files import read_model, write_model
from portable_nn.tables import Columns, Table

GENERATOR = np.random.default_rng(3)
X = GENERATOR.standard_normal((40, 3)) * [1.0, 100.0, 0.01] + [0.0, 50.0, 7.0]
CODES = (X[:, 0] > 0).astype(int) + (X[:, 1] > 50)
NUMBERS = X[:, :2] @ [3.0, 0.5]

KINDS = {
    "text": ("cross_entropy", np.array(["ant", "bee", "cäsar"])[CODES], 3),
    "bytes": ("cross_entropy", np.array([b"a", b"bb", b"c"])[CODES], 3),
    "whole numbers": ("cross_entropy", CODES.astype(np.uint8) * 7, 3),
    "truth": ("binary_cross_entropy", CODES > 0, 1),
    "yes and no": ("binary_cross_entropy", np.eye(3, dtype=np.float32)[CODES], 3),
    "numbers": ("mean_squared_error", NUMBERS, 1),
    "a column": ("half_squared_error", NUMBERS[:, None], 1),
}


def fitted(loss="cross_entropy", y=KINDS["text"][1], outputs=3, **options):
    options = {"epochs": 2, "progress": False, "standardize": True, **options}
    layers = [pnn.Dense(4, weight=pnn.Normal(0.1)), pnn.Tanh(), pnn.Dropout(0.1)]
    return pnn.Network([*layers, pnn.Dense(outputs)]).fit(X, y, loss=loss, **options)


def assert_same(found, expected):
    for name, value in expected.parameters.items():
        np.testing.assert_array_equal(found.parameters[name], value, strict=True)
    np.testing.assert_array_equal(found.predict(X), expected.predict(X), strict=True)
    np.testing.assert_array_equal(found.outputs(X), expected.outputs(X), strict=True)


@pytest.mark.parametrize("kind", KINDS)
def test_a_network_comes_back(kind, tmp_path):
    network = fitted(*KINDS[kind])
    network.save(tmp_path / "model.safetensors")
    found = pnn.load(tmp_path / "model.safetensors")
    assert_same(found, network)
    assert repr(found) == repr(network)
    assert found.score(X, KINDS[kind][1]) == network.score(X, KINDS[kind][1])
    if kind not in ("numbers", "a column"):
        np.testing.assert_array_equal(found.classes, network.classes, strict=True)
        np.testing.assert_array_equal(found.predict_proba(X), network.predict_proba(X))
    assert str(found.plan()) == str(network.plan())
    found.save(tmp_path / "again.safetensors")
    first, second = ((tmp_path / f"{n}.safetensors").read_bytes() for n in ("model", "again"))
    assert first == second


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_file_opens_on_any_backend(backend, dtype, tmp_path):
    network = pnn.Network([pnn.Dense(4), pnn.ReLU(), pnn.Dense(3)], dtype)
    options = {"loss": "cross_entropy", "epochs": 1, "standardize": True, "progress": False}
    network.fit(X, CODES, **options, backend=backend)
    network.save(tmp_path / "m")
    home = pnn.load(tmp_path / "m")
    assert home.backend is pnn.get_backend("numpy")
    for name, value in network.parameters.items():
        np.testing.assert_array_equal(home.parameters[name], value, strict=True)
    there = pnn.load(tmp_path / "m", backend=backend)
    assert there.backend is backend
    np.testing.assert_array_equal(there.outputs(X), network.outputs(X), strict=True)
    # Sums of four terms near 1, in another order.
    tolerance = 1e-6 if dtype == "float32" else 1e-15
    np.testing.assert_allclose(home.outputs(X), network.outputs(X), rtol=0.0, atol=tolerance)


def test_the_backend_of_a_file_is_chosen_as_elsewhere(tmp_path, monkeypatch):
    ways.open_way("strict-device1")
    fitted().save(tmp_path / "m")
    monkeypatch.setenv("PORTABLE_NN_BACKEND", "array_api_strict")
    assert pnn.load(tmp_path / "m").backend.name == "array_api_strict"
    with pytest.raises(pnn.BackendError, match="nosuch"):
        pnn.load(tmp_path / "m", backend="nosuch")


def test_a_loaded_network_trains_on_as_the_saved_one(tmp_path):
    network = fitted()
    network.save(tmp_path / "m")
    found = pnn.load(tmp_path / "m")
    options = {"loss": "cross_entropy", "epochs": 2, "warm_start": True, "progress": False}
    twins = [copy.deepcopy(each).fit(X, KINDS["text"][1], **options) for each in (network, found)]
    assert_same(*twins)
    anew = [each.fit(X, CODES, loss="cross_entropy", epochs=1, progress=False) for each in twins]
    assert_same(*anew)


def test_the_open_loop_can_be_saved_between_steps(tmp_path):
    network = pnn.Network([pnn.Dense(3)])
    step = network.start(loss="cross_entropy", batch_size=8)
    for batch in step.batches(X, CODES, epoch=0):
        step.step(batch)
        network.save(tmp_path / "m")
    arrays, _ = read_model(tmp_path / "m")
    assert sorted(arrays) == ["dense1.bias", "dense1.weight"], "no data, no moments"
    assert_same(pnn.load(tmp_path / "m"), network)


def test_the_columns_of_a_table_travel_with_the_network(tmp_path):
    table = Table("t", {"size": ["1", "2"], "kind": ["a", "b"]}, [2, 3])
    network = fitted()
    network.columns = Columns.learn(table)
    network.save(tmp_path / "m")
    found = pnn.load(tmp_path / "m")
    assert found.columns == network.columns
    np.testing.assert_array_equal(found.columns.encode(table), [[1, 1, 0], [2, 0, 1]])


# -- one's own ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Residual:
    inner: tuple

    def forward(self, builder, x, mode):
        z = x
        for k, layer in enumerate(self.inner):
            with builder.scope(f"inner{k}"):
                z = layer.forward(builder, z, mode)
        return builder.call(pnn.kernels.add, x, z)


class Pinball(pnn.losses.Loss):
    kernel = pnn.kernels.mean_squared_error


def half_at_random(draws, shape):
    return draws.uniform(shape) - 0.5


def test_own_classes_are_named_to_be_loaded(tmp_path):
    layers = [pnn.Dense(4), Residual((pnn.Dense(4), pnn.ReLU())), pnn.Dense(1)]
    network = pnn.Network(layers).fit(X, NUMBERS, loss=Pinball(), epochs=1, progress=False)
    network.save(tmp_path / "m")
    for custom in ([Residual, Pinball], iter([Residual, Pinball])):
        assert_same(pnn.load(tmp_path / "m", custom=custom), network)
    with pytest.raises(pnn.FileError, match=r"m: the file has a Residual, .*custom=\[Residual\]"):
        pnn.load(tmp_path / "m")
    with pytest.raises(pnn.NetworkError, match="custom is a list of dataclasses"):
        pnn.load(tmp_path / "m", custom=["Residual"])


def test_own_functions_are_needed_only_to_train_anew(tmp_path):
    layers = [pnn.Dense(3, weight=half_at_random)]
    optimizer = pnn.SGD(lambda epoch: 0.1 / (1.0 + epoch))
    options = {"loss": "cross_entropy", "epochs": 1, "progress": False}
    network = pnn.Network(layers).fit(X, CODES, **options, optimizer=optimizer)
    network.save(tmp_path / "m")
    found = pnn.load(tmp_path / "m")
    assert_same(found, network)
    assert found.fit(X, CODES, **options, warm_start=True).score(X, CODES) >= 0.0
    with pytest.raises(pnn.NetworkError, match="half_at_random was a function of your own"):
        found.fit(X, CODES, **options)


class OwnOptimizer:
    """Gradient descent that does not say what it is made of."""

    def hyperparameters(self, step, epoch):
        return {"learning_rate": 0.1}

    def update(self, builder, parameter, grad, hyper):
        builder.assign([parameter], pnn.kernels.sgd, parameter, grad, *hyper)


class Fading:
    """A schedule that is an object."""

    def __call__(self, epoch):
        return 0.1 / (1.0 + epoch)


@pytest.mark.parametrize(
    "optimizer", [OwnOptimizer(), pnn.SGD(Fading()), pnn.SGD(np.poly1d([0.1]))]
)
def test_whatever_trained_it_a_network_can_be_saved(optimizer, tmp_path):
    network = pnn.Network([pnn.Dense(3)])
    network.fit(X, CODES, loss="cross_entropy", optimizer=optimizer, epochs=1, progress=False)
    network.save(tmp_path / "m")
    found = pnn.load(tmp_path / "m")
    assert_same(found, network)
    assert found.plan(optimizer=pnn.Adam()).calls
    found.save(tmp_path / "again")
    assert_same(pnn.load(tmp_path / "again"), network)


class Secret:
    """A layer that does not say what it is made of."""

    def forward(self, builder, x, mode):
        return builder.call(pnn.kernels.tanh, x)


def test_what_cannot_be_written_down_is_an_error_and_writes_nothing(tmp_path):
    layers = [pnn.Dense(3), Secret()]
    options = {"loss": "mean_squared_error", "epochs": 1, "progress": False}
    network = pnn.Network(layers).fit(X, np.eye(3)[CODES], **options)
    with pytest.raises(pnn.NetworkError, match=r"a file cannot hold .*Secret"):
        network.save(tmp_path / "m")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(pnn.NotFittedError):
        pnn.Network([pnn.Dense(2)]).save(tmp_path / "m")


# -- files of something else -------------------------------------------------------------------


def _without(name):
    return lambda arrays, record: (arrays, {k: v for k, v in record.items() if k != name})


def _with(**changes):
    return lambda arrays, record: (arrays, record | changes)


CHANGES = {
    "no layers": _without("layers"),
    "no loss": _without("loss"),
    "no targets": _without("targets"),
    "something more": _with(colour="red"),
    "layers that are none": _with(layers=[{"class": "Adam"}]),
    "one layer": _with(layers={"class": "Dense", "out_features": 3}),
    "a loss that is none": _with(loss={"class": "ReLU"}),
    "another loss": _with(loss={"class": "MeanSquaredError"}),
    "an optimizer that is none": _with(optimizer={"class": "ReLU"}),
    "inputs that are none": _with(inputs={"class": "ReLU"}),
    "inputs of other columns": _with(
        inputs={
            "class": "Scaling",
            "mean": {"array": "<f8", "values": [0.0]},
            "deviation": {"array": "<f8", "values": [1.0]},
        }
    ),
    "inputs without deviation": _with(
        inputs={
            "class": "Scaling",
            "mean": {"array": "<f8", "values": [0.0] * 3},
            "deviation": {"array": "<f8", "values": [1.0, 0.0, 1.0]},
        }
    ),
    "columns of other inputs": _with(columns=[{"name": "age", "categories": None}]),
    "targets with a scaling that is none": _with(
        loss={"class": "MeanSquaredError"},
        targets={"class": "Numbers", "outputs": 3, "flat": False, "scaling": {"class": "ReLU"}},
    ),
    "features that are text": _with(features="3"),
    "other features": _with(features=4),
    "another dtype": _with(dtype="float16"),
    "the other dtype": _with(dtype="float64"),
    "columns that are none": _with(columns=[{"name": 3}]),
    "an array less": lambda arrays, record: (dict(list(arrays.items())[1:]), record),
    "an array more": lambda arrays, record: (arrays | {"z": np.zeros(2, np.float32)}, record),
    "an array turned": lambda arrays, record: (
        {name: array.T.copy() for name, array in arrays.items()},
        record,
    ),
    "classes too few": _with(
        targets={"class": "Labels", "classes": {"array": "<i8", "values": [0, 1]}}
    ),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=list(CHANGES))
def test_a_model_file_of_something_else_is_a_file_error(change, tmp_path):
    fitted().save(tmp_path / "m")
    write_model(tmp_path / "other", *change(*read_model(tmp_path / "m")))
    with pytest.raises(pnn.FileError, match=f"^{tmp_path / 'other'}: ") as caught:
        pnn.load(tmp_path / "other")
    assert len(str(caught.value)) < 500


def test_other_files(tmp_path):
    with pytest.raises(FileNotFoundError):
        pnn.load(tmp_path / "nosuch")
    (tmp_path / "m").write_text(json.dumps({"layers": []}))
    with pytest.raises(pnn.FileError, match="is not a safetensors file"):
        pnn.load(tmp_path / "m")


def test_a_copy_is_saved_as_it_stands(tmp_path):
    network = fitted()
    twin = copy.deepcopy(network)
    network.fit(X, CODES, loss="cross_entropy", epochs=1, progress=False)
    twin.save(tmp_path / "m")
    assert_same(pnn.load(tmp_path / "m"), twin)


# -- pickles ---------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("way", ["numpy", "numpy-reference", "strict-device1", "torch"])
def test_a_pickle_is_the_network_on_the_default_backend(way, dtype):
    random = np.random.default_rng(0)
    x, y = random.normal(size=(40, 3)), random.integers(0, 3, 40)
    layers = [pnn.Dense(5), pnn.BatchNorm(), pnn.ReLU(), pnn.Dense(3)]
    network = pnn.Network(layers, dtype).fit(
        x, y, loss="cross_entropy", epochs=2, backend=ways.open_way(way), progress=False
    )
    again = pickle.loads(pickle.dumps(network))
    assert again.backend is pnn.get_backend()
    assert again.history == network.history
    found, held = (one._host_values("parameter", "state") for one in (again, network))
    assert {name for name in held if name.startswith("batchnorm1.")} == {
        f"batchnorm1.{name}" for name in ("scale", "shift", "mean", "variance")
    }
    assert found.keys() == held.keys()
    for name, value in held.items():
        assert value.dtype == dtype
        np.testing.assert_array_equal(found[name], value, strict=True)
    wanted = network.outputs(x, backend="numpy")
    np.testing.assert_array_equal(again.outputs(x), wanted, strict=True)
    again.fit(x, y, loss="cross_entropy", epochs=1, warm_start=True, progress=False)


def test_a_network_that_is_not_fitted_is_pickled_too():
    again = pickle.loads(pickle.dumps(pnn.Network([pnn.Dense(2)], dtype="float64")))
    assert again.layers == (pnn.Dense(2),)
    assert again.dtype == "float64"


# -- optimizers around what is the user's own ------------------------------------------------


@dataclass(frozen=True)
class Mine:
    """An optimizer of the user's own."""

    rate: float = 0.1

    def hyperparameters(self, step, epoch):
        return {"learning_rate": self.rate}

    def update(self, builder, parameter, grad, hyper):
        builder.assign([parameter], pnn.kernels.sgd, parameter, grad, *hyper)


@pytest.mark.parametrize(
    ("optimizer", "kept"),
    [
        (pnn.ClippedNorm(pnn.SGD(lambda epoch: 0.1)), True),
        (pnn.ParameterGroups("sgd", {"dense1": pnn.MaxNorm(pnn.SGD(lambda epoch: 0.1))}), True),
        (Mine(), False),
        (pnn.ClippedNorm(Mine()), False),
        (pnn.ParameterGroups("sgd", {"dense1": Mine()}), False),
    ],
)
def test_an_optimizer_with_something_of_ones_own_does_not_keep_a_file_closed(
    optimizer, kept, tmp_path
):
    x, y = np.eye(4), np.arange(4.0)
    network = pnn.Network([pnn.Dense(2), pnn.Dense(1)])
    network.fit(x, y, loss="huber", optimizer=optimizer, epochs=1, progress=False)
    network.save(tmp_path / "net.safetensors")
    again = pnn.load(tmp_path / "net.safetensors")
    np.testing.assert_array_equal(again.predict(x), network.predict(x))
    assert (again._fitted.optimizer is not None) == kept
