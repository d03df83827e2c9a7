"""Normalization and noise: values, running statistics, gradients, what is refused, files."""

from dataclasses import replace

import array_api_compat.numpy as xp
import numpy as np
import pytest
import ways

import portable_nn as pnn
from portable_nn import kernels, parity
from portable_nn.errors import DataError, NetworkError
from portable_nn.random import Draws

GENERATOR = np.random.default_rng(5)
X = GENERATOR.normal(size=(20, 4)) * [1.0, 3.0, 0.2, 1.0] + [0.0, 5.0, -1.0, 2.0]
Y = GENERATOR.normal(size=(20, 2))
STEPS = 5


backend = ways.each_library  # these are whole trainings


def around(layer):
    return [pnn.Dense(6), layer, pnn.Tanh(), pnn.Dense(2)]


def began(layers, backend="numpy", batch_size=None, dtype="float64"):
    """A network, and its training begun with seed 3."""
    network = pnn.Network(layers, dtype)
    options = {"loss": "mean_squared_error", "optimizer": pnn.SGD(0.1), "seed": 3}
    return network, network.start(**options, batch_size=batch_size, backend=backend)


def fit(layers, x=X, y=Y, **options):
    options = {"loss": "mean_squared_error", "epochs": 2, "progress": False} | options
    return pnn.Network(layers, "float64").fit(x, y, **options)


def host(training, name):
    return training.session.backend.to_host(training.read(name))


# -- plain NumPy ---------------------------------------------------------------------------


def test_batch_norm_of_the_data(backend):
    layer = pnn.BatchNorm(momentum=0.25, epsilon=1e-2)
    network, training = began([layer, pnn.Dense(2)], backend, batch_size=8)
    mean, variance = np.zeros(4), np.ones(4)
    for epoch in range(3):
        for batch in training.batches(X, Y, epoch, shuffle=False):
            rows = X[training.session.backend.to_host(batch.rows)]
            values = network.parameters
            found = training.trace(batch)["batchnorm1.scale_shift"]
            root = np.sqrt(rows.var(axis=0) + 1e-2)
            scale, shift = values["batchnorm1.scale"], values["batchnorm1.shift"]
            # Here and below: a few dozen operations in another order.
            expected = (rows - rows.mean(axis=0)) / root * scale + shift
            np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-13)
            training.step(batch)
            mean = 0.75 * mean + 0.25 * rows.mean(axis=0)
            variance = 0.75 * variance + 0.25 * rows.var(axis=0, ddof=1)
    assert not np.allclose(network.parameters["batchnorm1.scale"], 1.0)  # it has learned
    np.testing.assert_allclose(host(training, "batchnorm1.mean"), mean, rtol=1e-12)
    np.testing.assert_allclose(host(training, "batchnorm1.variance"), variance, rtol=1e-12)
    values = network.parameters
    hidden = (X - mean) / np.sqrt(variance + 1e-2) * values["batchnorm1.scale"]
    hidden = hidden + values["batchnorm1.shift"]
    expected = hidden @ values["dense1.weight"] + values["dense1.bias"]
    np.testing.assert_allclose(network.predict(X), expected, rtol=1e-12)
    np.testing.assert_allclose(network.predict(X[:1]), expected[:1], rtol=1e-12)
    np.testing.assert_allclose(host(training, "batchnorm1.mean"), mean, rtol=1e-12)  # as before


def textbook_layer_norm(x, scale, shift):
    mean, variance = x.mean(axis=1, keepdims=True), x.var(axis=1, keepdims=True)
    return (x - mean) / np.sqrt(variance + 1e-5) * scale + shift


def textbook_rms_norm(x, scale):
    return x / np.sqrt(np.mean(x**2, axis=1, keepdims=True) + 1e-6) * scale


@pytest.mark.parametrize(
    ("layer", "textbook"),
    [(pnn.LayerNorm(), textbook_layer_norm), (pnn.RMSNorm(), textbook_rms_norm)],
)
def test_norms_over_features(backend, layer, textbook):
    network = fit([layer, pnn.Dense(2)], backend=backend, epochs=20)
    values, scope = network.parameters, type(layer).__name__.lower() + "1."
    own = {name.removeprefix(scope): v for name, v in values.items() if name.startswith(scope)}
    assert not np.allclose(own["scale"], 1.0)  # it has learned
    expected = textbook(X, **own) @ values["dense1.weight"] + values["dense1.bias"]
    np.testing.assert_allclose(network.predict(X), expected, rtol=1e-12)


@pytest.mark.parametrize(
    ("kernel", "axis"), [(kernels.standardize_batch, 0), (kernels.standardize_features, 1)]
)
def test_large_means_cost_no_accuracy(kernel, axis):
    x = (np.random.default_rng(0).normal(size=(64, 64)) + 1e4).astype(np.float32)
    wide = x.astype(np.float64)
    deviation = np.sqrt(wide.var(axis=axis, keepdims=True) + 1e-5)
    expected = (wide - wide.mean(axis=axis, keepdims=True)) / deviation
    averages = [np.zeros(64, np.float32)] * (2 if axis == 0 else 0)
    found = kernel.meaning(xp, x, *averages)[0]
    assert found.dtype == np.float32
    # A few units of 6e-8, as if the mean were 0; with the mean taken once it is a thousand times.
    np.testing.assert_allclose(found, expected, rtol=0.0, atol=1e-6)


# -- PyTorch -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("layer", "twin"),
    [
        (pnn.BatchNorm(), lambda nn: nn.BatchNorm1d(6)),
        (pnn.BatchNorm(0.3, 1e-2), lambda nn: nn.BatchNorm1d(6, momentum=0.3, eps=1e-2)),
        (pnn.LayerNorm(), lambda nn: nn.LayerNorm(6)),
        (pnn.RMSNorm(), lambda nn: nn.RMSNorm(6, eps=1e-6)),
    ],
    ids=["BatchNorm", "BatchNorm with other numbers", "LayerNorm", "RMSNorm"],
)
def test_training_is_that_of_torch(layer, twin):
    torch = pytest.importorskip("torch")
    network, training = began(around(layer), batch_size=8)
    has_bias = not isinstance(layer, pnn.BatchNorm)
    parts = [torch.nn.Linear(4, 6, bias=has_bias), twin(torch.nn), torch.nn.Linear(6, 2)]
    model = torch.nn.Sequential(parts[0], parts[1], torch.nn.Tanh(), parts[2]).double()
    names = ["dense1", type(layer).__name__.lower() + "1", "dense2"]
    theirs = {
        f"{name}.{ours}": getattr(part, its)
        for name, part in zip(names, parts, strict=True)
        for ours, its in [("weight", "weight"), ("bias", "bias"), ("scale", "weight"),
                          ("shift", "bias"), ("mean", "running_mean"), ("variance", "running_var")]
        if getattr(part, its, None) is not None
        and (ours in ("weight", "bias")) == isinstance(part, torch.nn.Linear)
    }  # fmt: skip
    next(training.batches(X, Y, epoch=0))  # the parameters are there
    first = training.session.host_values(theirs)
    transposed = {"dense1.weight", "dense2.weight"}
    with torch.no_grad():
        for name, value in theirs.items():
            mine = torch.tensor(first[name])
            value.copy_(mine.T if name in transposed else mine)
    descent = torch.optim.SGD(model.parameters(), lr=0.1)
    x, y = torch.tensor(X), torch.tensor(Y)
    for epoch in range(2):
        for batch in training.batches(X, Y, epoch):
            rows = torch.tensor(training.session.backend.to_host(batch.rows))
            training.step(batch)
            descent.zero_grad()
            torch.nn.functional.mse_loss(model(x[rows]), y[rows]).backward()
            descent.step()
    assert set(network.parameters) <= set(theirs)
    for name, value in theirs.items():
        value = value.detach().numpy()
        # Six steps in another order of the same sums.
        expected = value.T if name in transposed else value
        np.testing.assert_allclose(host(training, name), expected, rtol=1e-9, atol=1e-12)
    model.eval()
    np.testing.assert_allclose(network.predict(X), model(x).detach().numpy(), rtol=1e-9)


def test_alpha_dropout_is_that_of_torch():
    torch = pytest.importorskip("torch")
    x = np.random.default_rng(1).normal(size=(50, 40))
    theirs = torch.nn.AlphaDropout(0.25)(torch.tensor(x)).numpy()
    values, counts = np.unique(theirs, return_counts=True)
    kept = theirs != values[np.argmax(counts)]
    assert 0.6 < kept.mean() < 0.9
    found = kernels.alpha_dropout.meaning(xp, x, kept / 0.75, rate=0.25)
    np.testing.assert_allclose(found, theirs, rtol=1e-6, atol=1e-6)  # their s has 17 digits too


# -- moments -------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", [0.05, 0.1, 0.5])
def test_alpha_dropout_keeps_mean_and_variance(rate):
    x = Draws(0, "initialize").normal((1000, 400))
    mask = Draws(0, "dropout").keep_mask(1000, 400, rate)
    found = kernels.alpha_dropout.meaning(xp, x, mask, rate=rate)
    # 400,000 numbers, whose fourth moment is below 4: five standard deviations.
    assert abs(found.mean()) < 5 * np.sqrt(1.0 / x.size)
    assert abs(found.var() - 1.0) < 5 * np.sqrt(3.0 / x.size)
    plain = kernels.multiply.meaning(xp, x, mask)
    assert rate < 0.1 or abs(plain.var() - 1.0) > 0.1  # which plain dropout does not


@pytest.mark.parametrize("layer", [pnn.AlphaDropout(0.4), pnn.GaussianNoise(0.5)], ids=repr)
def test_noise_is_the_same_however_a_batch_is_cut(backend, layer):
    _, training = began([layer, pnn.Dense(2)], backend, batch_size=8)
    batch, _, short = training.batches(X, Y, epoch=0, shuffle=False)
    parts = [replace(batch, rows=batch.rows[:3]), replace(batch, rows=batch.rows[3:], first_row=3)]
    name = type(layer).__name__.lower() + "1"
    for update in (1, 2):
        draws = Draws(3, "noise", step=update)
        if isinstance(layer, pnn.GaussianNoise):
            expected = X[:8] + draws.noise(8, 4, 0.5)
        else:
            mask = replace(draws, purpose="dropout").keep_mask(8, 4, 0.4)
            expected = kernels.alpha_dropout.meaning(xp, X[:8], mask, rate=0.4)
        whole = training.trace(batch)[name]
        np.testing.assert_array_equal(whole, expected)
        cut = np.concatenate([training.trace(part)[name] for part in parts])
        np.testing.assert_array_equal(cut, whole)
        assert training.trace(short)[name].shape == (4, 4)
        assert not np.isclose(whole, X[:8]).all(axis=1).any()
        training.step(batch)


@pytest.mark.parametrize("layer", [pnn.AlphaDropout, pnn.GaussianNoise])
def test_noise_is_of_training_only(layer):
    network = pnn.Network([layer(0.5), pnn.Dense(2)])
    options = {"loss": "mean_squared_error", "features": 4}
    for mode in ("predict", "evaluate"):
        names = {call.kernel.name for call in network.plan(mode=mode, **options).calls}
        assert names <= {"linear", "mean_squared_error"}
    silent = pnn.Network([layer(0.0), pnn.Dense(2)]).plan(**options)
    assert not any(buffer.name.endswith("draw") for buffer in silent.of_kind("fed"))


# -- a bias before a mean is taken off -----------------------------------------------------


def test_a_dense_layer_before_batch_norm_has_no_bias(backend):
    before, after = pnn.Dense(6), pnn.Dense(2)
    network = fit([before, pnn.BatchNorm(), pnn.Residual([pnn.Dense(6), pnn.BatchNorm()]), after],
                  validation=(X, Y), backend=backend)  # fmt: skip
    biases = [name for name in network.parameters if name.endswith("bias")]
    assert biases == ["dense2.bias"]
    assert network.layers[0] is before  # as it was given
    assert np.isfinite(network.history["validation_loss"]).all()
    plain = fit([before, pnn.LayerNorm(), after])
    assert "dense1.bias" in plain.parameters


# -- batches -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rows", "batch_size", "said"),
    [
        (9, 4, "9 rows in batches of 4 leave one of 1. Take batch_size=5."),
        (20, 1, "20 rows in batches of 1 leave one of 1. Take batch_size=2."),
        (1, None, "1 rows in batches of 1 leave one of 1. Take more rows at a time."),
        (3, 2, "3 rows in batches of 2 leave one of 1. Take batch_size=3."),
    ],
)
def test_a_batch_of_one_row_is_an_error_before_the_first_step(rows, batch_size, said):
    network = fit(around(pnn.BatchNorm()))
    before = network.predict(X)
    given = X[:rows], Y[:rows]
    options = {"loss": "mean_squared_error", "batch_size": batch_size, "progress": False}
    said = rf"^batchnorm1 \(standardize_batch\) needs 2 rows or more in every batch; {said}$"
    with pytest.raises(DataError, match=said.replace(".", r"\.")):
        network.fit(*given, **options)
    np.testing.assert_array_equal(network.predict(X), before)
    _, training = began(around(pnn.BatchNorm()), batch_size=batch_size)
    with pytest.raises(DataError, match=r"standardize_batch\) needs 2 rows"):
        next(training.batches(*given, epoch=0))


@pytest.mark.parametrize(
    ("batch_size", "micro_batch_size", "said"),
    [
        (10, 3, "20 rows in batches of 10, cut to 3, leave one of 1. Take batch_size=11."),
        (8, 1, "20 rows in batches of 8, cut to 1, leave one of 1. Take more rows at a time."),
        (19, 5, "20 rows in batches of 19, cut to 5, leave one of 1. Take batch_size=20."),
    ],
)
def test_a_part_of_one_row_is_an_error_too(batch_size, micro_batch_size, said):
    sizes = {"batch_size": batch_size, "micro_batch_size": micro_batch_size}
    with pytest.raises(DataError, match=said.replace(".", r"\.")):
        fit(around(pnn.BatchNorm()), **sizes)
    fit(around(pnn.BatchNorm()), batch_size=10, micro_batch_size=4)


def test_a_batch_of_one_row_cut_by_hand_is_an_error():
    _, training = began(around(pnn.BatchNorm()))
    (batch,) = training.batches(X, Y, epoch=0)
    training.gradient(replace(batch, rows=batch.rows[:2]))
    with pytest.raises(DataError, match=r"standardize_batch\) needs 2 rows"):
        training.gradient(replace(batch, rows=batch.rows[:1]))


def test_other_networks_take_one_row():
    assert fit(around(pnn.LayerNorm()), X[:1], Y[:1]).predict(X).shape == (20, 2)
    one = fit(around(pnn.BatchNorm()), validation=(X[:1], Y[:1]))
    assert np.isfinite(one.history["validation_loss"]).all()


def test_weights_do_not_enter_the_statistics():
    weight = np.where(np.arange(20) % 2 == 0, 0.0, 1.0)
    found = []
    for weights in (None, weight):
        _, training = began([pnn.BatchNorm(), pnn.Dense(2)])
        (batch,) = training.batches(X, Y, epoch=0, sample_weight=weights)
        training.step(batch)
        found.append([host(training, f"batchnorm1.{name}") for name in ("mean", "variance")])
        moved = host(training, "dense1.weight")
    np.testing.assert_array_equal(*found)
    assert np.isfinite(moved).all()


# -- the whole -----------------------------------------------------------------------------

NEW = [
    pnn.AlphaDropout(0.3),
    pnn.BatchNorm(),
    pnn.Concatenate([[], [pnn.Dense(3), pnn.Tanh()]]),
    pnn.GaussianNoise(0.2),
    pnn.LayerNorm(),
    pnn.RMSNorm(),
    pnn.Residual([pnn.Dense(8), pnn.ReLU()]),
    pnn.Residual([pnn.Dense(5), pnn.BatchNorm()], shortcut=[pnn.Dense(5)]),
]


@pytest.mark.parametrize("backend", ["numpy", "torch"], indirect=True)
@pytest.mark.parametrize("layer", NEW, ids=lambda layer: type(layer).__name__)
def test_parity(layer, backend):
    reports = parity.check_layer(layer, backend=backend)
    assert reports.ok, reports.verdict


def all_of_it():
    return [
        pnn.Dense(6), pnn.BatchNorm(), pnn.ReLU(),
        pnn.Concatenate([[], [pnn.Dense(3), pnn.LayerNorm()]]),
        pnn.Residual([pnn.RMSNorm(), pnn.Dense(5), pnn.BatchNorm(), pnn.AlphaDropout(0.1)],
                     shortcut=[pnn.Dense(5)]),
        pnn.GaussianNoise(0.1), pnn.Dense(2),
    ]  # fmt: skip


def test_saved_with_its_running_statistics(tmp_path):
    network = fit(all_of_it())
    network.save(tmp_path / "m")
    again = pnn.load(tmp_path / "m")
    np.testing.assert_array_equal(again.predict(X), network.predict(X))
    assert again.layers == network.layers
    again.fit(X, Y, loss="mean_squared_error", warm_start=True, epochs=1, progress=False)
    assert not np.array_equal(again.predict(X), network.predict(X))


@pytest.mark.parametrize("backend", ["numpy", "torch", "strict-device1"], indirect=True)
@pytest.mark.parametrize(
    "names", [(), ("dense1.weight[0, 1]", "dense2.bias[0]"), ("batchnorm1.scale[2]",)]
)
def test_loss_surface(backend, names):
    network = fit(all_of_it(), backend=backend)
    surface = pnn.loss_surface(network, X, Y, *names, points=5)
    assert surface.loss.shape == (1 if len(names) == 1 else 5, 5)
    assert np.isfinite(surface.loss).all()
    assert np.ptp(surface.loss) > 0.0


def concatenated_first():
    """The data, which all networks of a population share, beside what each makes of them."""
    return [pnn.Concatenate([[], [pnn.Dense(3)]]), pnn.Residual([pnn.Dense(7)]), pnn.Dense(2)]


def test_loss_surface_of_branches_from_the_data():
    network = fit(concatenated_first())
    surface = pnn.loss_surface(network, X, Y, points=3)
    assert np.isfinite(surface.loss).all()


def test_a_tabular_resnet_trains(backend):
    """Gorishniy et al. 2021, section 3.2."""

    def block():
        inner = [
            pnn.BatchNorm(), pnn.Dense(16), pnn.ReLU(), pnn.Dropout(0.1),
            pnn.Dense(8), pnn.Dropout(0.1),
        ]  # fmt: skip
        return pnn.Residual(inner)

    layers = [pnn.Dense(8), block(), block(), pnn.BatchNorm(), pnn.ReLU(), pnn.Dense(1)]
    rng = np.random.default_rng(2)
    x = rng.normal(size=(96, 4))
    y = np.sin(2.0 * x[:, 0]) * x[:, 1]
    network = fit(layers, x, y, optimizer=pnn.Adam(1e-2), epochs=30, batch_size=32, backend=backend)
    # The mean explains nothing; 90 steps explain the larger part on every backend alike.
    assert network.score(x, y) > 0.5


def test_a_selu_network_stays_normal_and_trains():
    """Klambauer et al. 2017: no normalization layers, mean 0 and variance 1 in every layer."""
    block = [pnn.Dense(64, weight=pnn.lecun_normal), pnn.SELU(), pnn.AlphaDropout(0.05)]
    rng = np.random.default_rng(3)
    x = rng.normal(size=(256, 8))
    y = np.tanh(x[:, :1] - x[:, 1:2] * x[:, 2:3])
    _, training = began([*block * 6, pnn.Dense(1)])
    (batch,) = training.batches(x, y, epoch=0)
    hidden = training.trace(batch)["alphadropout6"]
    # Six layers of 64 with one draw of weights; ReLU and plain dropout end at 0.01.
    assert abs(hidden.mean()) < 0.1
    assert 0.7 < hidden.var() < 1.3
    fitted = fit([*block * 2, pnn.Dense(1)], x, y, epochs=30, batch_size=32)
    assert fitted.score(x, y) > 0.5  # measured: 0.77


# -- what is refused -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: pnn.BatchNorm(0.0), "BatchNorm takes a number between 0 and 1.0 as momentum"),
        (lambda: pnn.BatchNorm(1.0), "BatchNorm takes a number between 0 and 1.0 as momentum"),
        (
            lambda: pnn.BatchNorm(epsilon=0.0),
            "between 0 and 1.0 as epsilon",
        ),
        (lambda: pnn.LayerNorm("1"), "LayerNorm takes a number between 0 and 1.0 as epsilon"),
        (lambda: pnn.RMSNorm(-1.0), "RMSNorm takes a number between 0 and 1.0 as epsilon"),
        (lambda: pnn.AlphaDropout(1.0), "AlphaDropout takes a number from 0 to below 1.0 as rate"),
        (lambda: pnn.Dropout(-0.1), "Dropout takes a number from 0 to below 1.0 as rate"),
        (lambda: pnn.GaussianNoise(-0.1), "a finite number, 0 or more as deviation; got -0"),
        (lambda: pnn.GaussianNoise(np.inf), "a finite number, 0 or more as deviation; got"),
        (lambda: pnn.GaussianNoise("1"), "a finite number, 0 or more as deviation; got"),
    ],
)
def test_what_layers_do_not_take(make, said):
    with pytest.raises(NetworkError, match=said):
        make()
