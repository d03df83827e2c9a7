"""Named inputs, rows of any shape, codes: what the door makes of them."""

import numpy as np
import pytest
import ways

import portable_nn as pnn
from portable_nn import Concatenate, Dense, Flatten, Input, Network, Reshape, Tanh
from portable_nn.errors import DataError, NetworkError, ShapeError
from portable_nn.parity import check_training

RNG = np.random.default_rng(0)
N = 40
LEFT, RIGHT = RNG.normal(size=(N, 3)), RNG.normal(size=(N, 2))
Y = (LEFT[:, :1] - RIGHT[:, 1:]).round(3)
X = {"left": LEFT, "right": RIGHT}


backend = ways.each_library  # these are whole trainings


def branches():
    """A network of two inputs."""
    left, right = [Input("left"), Dense(4), Tanh()], [Input("right"), Dense(3)]
    return [Concatenate([left, right]), Dense(1)]


def fitted(x=X, layers=None, y=Y, **options):
    options = {"loss": "mean_squared_error", "epochs": 3, "batch_size": 16} | options
    network = Network(branches() if layers is None else layers)
    return network.fit(x, y, progress=False, **options)


# -- named inputs --------------------------------------------------------------------------


def test_named_inputs_are_columns_of_one_table(backend):
    """Bit for bit the network that cuts the columns out of a table itself."""

    class Columns:
        def __init__(self, start, stop):
            self.start, self.stop = start, stop

        def forward(self, builder, x, mode):
            return builder.call(pnn.kernels.take_features, x, start=self.start, stop=self.stop)

    left, right = [Columns(0, 3), Dense(4), Tanh()], [Columns(3, 5), Dense(3)]
    cut = fitted(np.hstack([LEFT, RIGHT]), [Concatenate([left, right]), Dense(1)], backend=backend)
    named = fitted(backend=backend)
    for name, value in named.parameters.items():
        np.testing.assert_array_equal(value, cut.parameters[name])
    np.testing.assert_array_equal(named.predict(X), cut.predict(np.hstack([LEFT, RIGHT])))
    assert named.history["loss"] == cut.history["loss"]


def test_every_input_counts_and_their_order_does_not():
    network = fitted()
    turned = {"right": RIGHT, "left": LEFT}
    np.testing.assert_array_equal(network.predict(turned), network.predict(X))
    for name in X:
        other = X | {name: X[name] + 1.0}
        assert (network.predict(other) != network.predict(X)).all()
    assert network.score(turned, Y) == network.score(X, Y)


def test_order_is_that_of_the_fit():
    network = fitted({"right": RIGHT, "left": LEFT})
    taken = [call for call in network.plan().calls if call.kernel is pnn.kernels.take_features]
    assert [tuple(call.attributes.values()) for call in taken] == [(2, 5), (0, 2)]
    network.fit(X, Y, loss="mean_squared_error", epochs=1, warm_start=True, progress=False)
    taken = [call for call in network.plan().calls if call.kernel is pnn.kernels.take_features]
    assert [tuple(call.attributes.values()) for call in taken] == [(2, 5), (0, 2)]


def test_an_input_of_one_column_may_be_flat():
    x = {"left": LEFT, "right": RIGHT[:, 0]}
    tall = {"left": LEFT, "right": RIGHT[:, :1]}
    network = fitted(x)
    np.testing.assert_array_equal(network.predict(tall), fitted(tall).predict(x))


def test_one_row_given_flat():
    network = fitted({"left": LEFT}, [Input("left"), Dense(1)])
    said = r"takes \(n, 3\); got x\['left'\] \(3,\)\. A single row is x\['left'\]\[None, :\]\.$"
    with pytest.raises(ShapeError, match=said):
        network.predict({"left": LEFT[0]})
    assert network.predict({"left": LEFT[0][None, :]}).shape == (1, 1)
    with pytest.raises(ShapeError, match=r"got x\['left'\] \(40,\)\.$"):
        network.predict({"left": LEFT[:, 0]})
    with pytest.raises(
        ShapeError, match=r"got x\['left'\] \(3, 40\)\. Transpose it: x\['left'\]\.T\.$"
    ):
        network.predict({"left": LEFT.T})


def test_one_row_of_several_inputs_given_flat():
    with pytest.raises(ShapeError, match=r"A single row is x\['left'\]\[None, :\]"):
        fitted().predict({"left": LEFT[0], "right": RIGHT[0]})
    with pytest.raises(ShapeError, match=r"A single row is x\['right'\]\[None, :\]"):
        fitted().predict({"left": LEFT[:1], "right": RIGHT[0]})
    network = fitted({"image": IMAGES}, [Input("image"), Flatten(), Dense(1)])
    with pytest.raises(ShapeError, match=r"\(24,\)\. A single row is x\['image'\]\[None, :\]"):
        network.predict({"image": IMAGES[0].ravel()})


def test_validation_weights_and_one_backend_like_another(backend):
    weight = np.arange(N) % 3.0
    here = fitted(backend=backend, validation=(X, Y), sample_weight=weight)
    there = fitted(validation=(X, Y), sample_weight=weight)
    assert len(here.history["validation_r2"]) == 3
    # Some rounding errors of float32 in nine steps from weights of about 1.
    np.testing.assert_allclose(here.predict(X), there.predict(X), rtol=1e-4, atol=1e-5)


def test_results_are_of_the_kind_of_the_inputs():
    xp = pytest.importorskip("array_api_strict")
    network = fitted({name: xp.asarray(value) for name, value in X.items()})
    assert "array_api_strict" in repr(network.backend)
    given = {"left": LEFT, "right": xp.asarray(RIGHT)}
    found = network.predict(given)
    assert isinstance(found, type(xp.asarray(1.0)))
    np.testing.assert_array_equal(np.asarray(found), network.predict(X))
    assert isinstance(network.outputs(X), np.ndarray)


def test_open_loop_is_fit():
    network = Network(branches())
    step = network.start(loss="mean_squared_error", batch_size=16)
    for epoch in range(3):
        for batch in step.batches(dict(X), Y, epoch):  # a new dict of the same arrays
            step.step(batch)
    np.testing.assert_array_equal(network.predict(X), fitted().predict(X))


def test_open_loop_sees_other_arrays_and_other_names():
    network = Network(branches())
    step = network.start(loss="mean_squared_error", batch_size=None)
    (batch,) = step.batches(X, Y, 0)
    assert [one.data for one in step.batches(dict(X), Y, 1)] == [batch.data]
    for other in (X | {"left": LEFT + 1.0}, X | {"left": LEFT.copy()}):
        (again,) = step.batches(other, Y, 1)
        assert again.data is not batch.data
    with pytest.raises(DataError, match="lacks 'left' and has the unknown 'links'"):
        next(step.batches({"links": other["left"], "right": RIGHT}, Y, 2))


def test_saved_and_loaded(tmp_path):
    network = fitted({"right": RIGHT, "left": LEFT}, standardize=True)
    network.save(tmp_path / "m.safetensors")
    loaded = pnn.load(tmp_path / "m.safetensors")
    np.testing.assert_array_equal(loaded.predict(X), network.predict(X))
    with pytest.raises(DataError, match=r"\{'right': \(n, 2\), 'left': \(n, 3\)\}"):
        loaded.predict(LEFT)


def test_loss_surface_and_parity_take_them():
    network = fitted()
    surface = pnn.loss_surface(network, X, Y, "dense1.bias[0]", points=3)
    joined = surface.here[2]
    assert joined == pytest.approx(np.mean((network.predict(X) - Y) ** 2), rel=1e-4)
    report = check_training(branches(), X, Y, loss="mean_squared_error", steps=5, batch_size=16)
    assert report.ok


def test_plan_by_names():
    plan = Network(branches()).plan("mean_squared_error", features={"left": 3, "right": 2})
    assert plan.buffers["data.x"].shape == ("rows", 5)
    one = Network([Input("left"), Dense(1)]).plan("mean_squared_error", features={"left": 3})
    assert "take_features" not in str(one)  # all columns there are


@pytest.mark.parametrize("kind", ["int64", "int8", "uint8", "uint64"])
def test_standardize_leaves_whole_numbers_and_scales_the_rest(kind):
    codes = (np.arange(N) % 7).astype(kind)
    x = {"left": 100.0 + LEFT, "right": codes}
    found = fitted(x, standardize=True)._known().inputs
    np.testing.assert_array_equal(found.mean[3], 0.0)
    np.testing.assert_array_equal(found.deviation[3], 1.0)
    np.testing.assert_allclose(found.mean[:3], x["left"].mean(axis=0))
    floats = fitted(x | {"right": codes.astype(float)}, standardize=True)._known().inputs
    assert floats.mean[3] == codes.mean()


WRONG = {
    "missing": ({"left": LEFT}, "lacks 'right'"),
    "unknown": (X | {"up": LEFT}, "has the unknown 'up'"),
    "too wide": (X | {"right": LEFT}, r"takes \(n, 2\); got x\['right'\] \(40, 3\)"),
    "rows": (X | {"right": RIGHT[1:]}, r"as many rows.*x\['left'\] 40, x\['right'\] 39"),
    "plain": (np.hstack([LEFT, RIGHT]), r"inputs by name, \{'left': \(n, 3\), .*ndarray"),
    "NaN": (X | {"right": RIGHT * np.nan}, r"x\['right'\]\[0, 0\] is nan"),
    "text": (X | {"right": ["a"] * N}, r"x\['right'\]\[0\] is 'a'"),
    "empty": (X | {"right": RIGHT[:, :0]}, r"x\['right'\] has nothing in it"),
    "no inputs": ({}, "an input under each name"),
    "names": ({1: LEFT, "right": RIGHT}, "an input under each name"),
    "shape": (X | {"right": RIGHT[:, None]}, r"x\['right'\] is a table.*Flatten\(\)"),
    "number": (X | {"right": 3.0}, r"x\['right'\] is a table, \(rows, features\); got \(\)"),
    "too large": (X | {"right": RIGHT * 1e300}, r"x\['right'\]\[0, 0\] is .* too large"),
}


@pytest.mark.parametrize(("x", "said"), WRONG.values(), ids=list(WRONG))
def test_inputs_that_do_not_fit(x, said):
    network = fitted()
    for call in (
        lambda: network.predict(x),
        lambda: network.fit(x, Y, loss="mean_squared_error", warm_start=True, progress=False),
        lambda: network.score(x, Y),
    ):
        with pytest.raises((DataError, ShapeError), match=said):
            call()
    with pytest.raises((DataError, ShapeError), match=said.replace("x\\[", "validation x\\[")):
        fitted(validation=(x, Y))


WRONG_LAYERS = {
    "plain table": (LEFT, branches(), r"Input\('left'\).*one table without names"),
    "no Input": (X, [Dense(1)], r"no layer takes the inputs 'left', 'right'"),
    "one unused": (X, [Input("left"), Dense(1)], r"no layer takes the input 'right'"),
    "other name": (X, [Input("top"), Dense(1)], r"Input\('top'\).*has the inputs 'left', 'right'"),
    "late": (X, [Dense(2), Input("left")], r"Input\('left'\) takes the data.*gets? dense1"),
    "twice": (X, [Input("left"), Input("right")], r"Input\('right'\) comes first"),
}


@pytest.mark.parametrize(("x", "layers", "said"), WRONG_LAYERS.values(), ids=list(WRONG_LAYERS))
def test_layers_that_do_not_fit(x, layers, said):
    with pytest.raises(NetworkError, match=said):
        fitted(x, layers)


def test_a_network_of_one_table_takes_no_names():
    network = fitted(LEFT, [Dense(1)])
    with pytest.raises(DataError, match=r"takes one table \(n, 3\); got x with inputs by name"):
        network.predict(X)


class Own:
    """A layer that asks for what Input and Reshape ask for."""

    def __init__(self, ask):
        self.ask = ask

    def forward(self, builder, x, mode):
        return self.ask(builder, x) or x


OWN = {
    "no name": (lambda b, x: b.input("top", x, "Own('top')"), r"^Own\('top'\) takes an input of"),
    "late": (
        lambda b, x: b.input("left", b.call(pnn.kernels.tanh, x), "Own(1)"),
        r"^Own\(1\) takes the data",
    ),
    "twice": (
        lambda b, x: b.input("right", b.input("left", x, "Own(1)"), "Own(2)"),
        r"^Own\(2\) comes first",
    ),
    "not last": (
        lambda b, x: b.reshape(x, (5, 1), "Own(3)"),
        r"^Own\(3\) is the last layer.*others come",
    ),
    "two": (
        lambda b, x: [b.reshape(x, (5, 1), f"Own({k})") for k in (3, 4)],
        r"^Own\(4\).*there is another",
    ),
}


@pytest.mark.parametrize(("ask", "said"), OWN.values(), ids=list(OWN))
def test_errors_name_the_layer_that_asked(ask, said):
    taking = Concatenate([[Input("left")], [Input("right")]])
    with pytest.raises(NetworkError, match=said):
        fitted(X, [Concatenate([[Own(ask)], [taking]]), Dense(1)])


@pytest.mark.parametrize("name", [3, None, b"x"])
def test_input_takes_a_name(name):
    with pytest.raises(NetworkError, match="the name of an input"):
        Input(name)


# -- rows of any shape ---------------------------------------------------------------------

IMAGES = RNG.normal(size=(N, 4, 3, 2))


def test_flatten_is_rows_made_flat_and_no_call(backend):
    layers = [Dense(3), Tanh(), Dense(1)]
    flat = fitted(IMAGES.reshape(N, -1), layers, backend=backend)
    tall = fitted(IMAGES, [Flatten(), *layers], backend=backend, validation=(IMAGES, Y))
    np.testing.assert_array_equal(tall.predict(IMAGES), flat.predict(IMAGES.reshape(N, -1)))
    np.testing.assert_array_equal(tall.predict(IMAGES.reshape(N, -1)), tall.predict(IMAGES))
    assert len(tall.plan().calls) == len(flat.plan().calls)


def test_flatten_after_an_input():
    x = {"image": IMAGES, "right": RIGHT}
    layers = [Concatenate([[Input("image"), Flatten(), Dense(2)], [Input("right")]]), Dense(1)]
    for given in (x, {"right": RIGHT, "image": IMAGES}):
        network = fitted(given, layers)
        assert network.predict(x).shape == (N, 1)
    with pytest.raises(ShapeError, match=r"x\['right'\] is a table"):
        network.predict(x | {"right": RIGHT[:, None]})


def test_flatten_elsewhere_and_shapes_that_do_not_fit():
    with pytest.raises(NetworkError, match=r"Flatten\(\) takes the data themselves"):
        fitted(LEFT, [Dense(3), Flatten(), Dense(1)])
    with pytest.raises(ShapeError, match=r"Flatten the rest.*begin with the layer Flatten\(\)"):
        fitted(IMAGES, [Dense(1)])
    network = fitted(IMAGES, [Flatten(), Dense(1)])
    with pytest.raises(ShapeError, match=r"takes \(n, 24\); got x \(40, 4, 3\)"):
        network.predict(IMAGES[..., 0])


def test_autoencoder_of_images(backend):
    y = IMAGES
    flat = fitted(y.reshape(N, -1), [Dense(5), Dense(24)], y.reshape(N, -1), backend=backend)
    layers = [Flatten(), Dense(5), Dense(24), Reshape([4, 3, 2])]
    tall = fitted(y, layers, y, backend=backend, validation=(y, y))
    assert tall.predict(y).shape == tall.outputs(y).shape == y.shape
    np.testing.assert_array_equal(tall.predict(y).reshape(N, -1), flat.predict(y.reshape(N, -1)))
    assert tall.score(y, y) == flat.score(y.reshape(N, -1), y.reshape(N, -1))
    assert tall.history["validation_r2"][-1] == pytest.approx(tall.score(y, y), abs=1e-6)
    assert len(tall.plan().calls) == len(flat.plan().calls)
    assert pnn.loss_surface(tall, y, y, points=2).loss.shape == (2, 2)


def test_pictures_of_yes_and_no():
    """The loss finds its link before the Reshape."""
    y = (IMAGES[..., 0] > 0.0).astype(int)
    layers = [Flatten(), Dense(12), pnn.Sigmoid(), Reshape((4, 3))]
    network = fitted(IMAGES, layers, y, loss="binary_cross_entropy", epochs=60, standardize=False)
    assert network.predict(IMAGES).dtype == y.dtype
    assert network.predict_proba(IMAGES).shape == y.shape
    np.testing.assert_array_equal(network.predict(IMAGES), network.predict_proba(IMAGES) > 0.5)


def test_reshape_that_does_not_fit():
    y = IMAGES[..., 0]
    with pytest.raises(ShapeError, match=r"ends in Reshape\(\(3, 4\)\), so y must be \(n, 3, 4\)"):
        fitted(LEFT, [Dense(12), Reshape((3, 4))], y)
    with pytest.raises(NetworkError, match=r"Reshape\(\(5, 2\)\) takes 10 outputs; there are 12"):
        fitted(LEFT, [Dense(12), Reshape((5, 2))], y)
    for layers in ([Dense(12), Reshape((4, 3)), Dense(1)], [Dense(12), Reshape((4, 3)), Tanh()]):
        with pytest.raises(NetworkError, match=r"Reshape\(\(4, 3\)\) is the last layer"):
            fitted(LEFT, layers, y)
    with pytest.raises(NetworkError, match="there is another"):
        fitted(LEFT, [Dense(12), Reshape((3, 4)), Reshape((4, 3))], y)
    for shape in ((), (0, 2), 3, "ab", (2.0,), (True, 2)):
        with pytest.raises(NetworkError, match="takes sizes"):
            Reshape(shape)


def test_reshape_comes_back_from_a_file(tmp_path):
    network = fitted(IMAGES, [Flatten(), Dense(12), Reshape((4, 3))], IMAGES[..., 0])
    network.save(tmp_path / "m")
    np.testing.assert_array_equal(pnn.load(tmp_path / "m").predict(IMAGES), network.predict(IMAGES))
