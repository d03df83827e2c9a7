"""Embedding: codes looked up in a trained table, and what the door says of codes."""

from dataclasses import replace

import array_api_compat.numpy as xp
import numpy as np
import pytest
import ways

import portable_nn as pnn
from portable_nn import Adam, Concatenate, Dense, Embedding, Input, Network, ReLU, inputs, kernels
from portable_nn.errors import DataError, NetworkError
from portable_nn.inputs import read_inputs
from portable_nn.parity import check_kernel, check_training
from portable_nn.parity._measure import Formulas
from portable_nn.parity._walk import Rounding, walk
from portable_nn.plan import PlanBuilder

RNG = np.random.default_rng(1)
N = 60
CODES = RNG.integers(0, 5, (N, 2))
Y = np.sin(CODES[:, 0]) + 0.5 * CODES[:, 1]


def fitted(x=CODES, layers=None, y=Y, **options):
    options = {"loss": "mean_squared_error", "epochs": 2, "batch_size": 16} | options
    network = Network([Embedding(5, 3), Dense(1)] if layers is None else layers)
    return network.fit(x, y, progress=False, **options)


def numbers_and_city(n, seed):
    """Which way a number counts depends on the category: no sum of both parts tells."""
    rng = np.random.default_rng(seed)
    numbers, city = rng.normal(size=(n, 2)), rng.integers(0, 12, n)
    sign = np.where(np.arange(12) * 7 % 12 < 6, 1.0, -1.0)
    return {"numbers": numbers, "city": city}, (numbers[:, 0] * sign[city] > 0.0).astype(int)


@pytest.mark.parametrize("backend", ways.ONE_EACH, indirect=True)
def test_a_category_that_turns_the_numbers_round_is_learned(backend):
    x, y = numbers_and_city(2000, 0)
    parts = [Input("numbers")], [Input("city"), Embedding(12, 4)]
    network = Network([Concatenate(parts), Dense(32), ReLU(), Dense(2)])
    network.fit(
        x, y, loss="cross_entropy", optimizer=Adam(0.01), epochs=25, backend=backend, progress=False
    )
    test, truth = numbers_and_city(1000, 1)
    assert network.score(test, truth) > 0.96
    shuffled = test | {"city": RNG.permutation(test["city"])}
    assert network.score(shuffled, truth) < 0.7  # it is the category that tells


def test_it_is_a_dense_layer_after_one_hot_columns(backend):
    hot, one = np.eye(5)[CODES[:, 0]], CODES[:, :1]
    table = RNG.normal(size=(5, 3)).astype(np.float32)

    def first(draws, shape):
        return table

    options = {"optimizer": "adam"}
    looked_up = fitted(one, [Embedding(5, 3, first), Dense(1)], backend=backend, **options)
    by_hand = fitted(hot, [Dense(3, False, first), Dense(1)], backend=backend, **options)
    np.testing.assert_allclose(  # sums of up to 16 numbers in float32, in another order
        looked_up.parameters["embedding1.weight"],
        by_hand.parameters["dense1.weight"],
        rtol=1e-4,
        atol=1e-5,
    )
    assert (looked_up.parameters["embedding1.weight"] != table).all()


def test_against_torch():
    torch = pytest.importorskip("torch")
    table = torch.nn.Embedding(5, 3)
    codes = torch.asarray(CODES)
    out = table(codes).reshape(N, -1)
    grad = torch.asarray(RNG.normal(size=(N, 6)), dtype=torch.float32)
    out.backward(grad)
    given, floats = table.weight.detach().numpy(), CODES.astype(np.float32)
    found = kernels.embedding.meaning(xp, floats, given)
    np.testing.assert_array_equal(found, out.detach().numpy())
    slopes = kernels.embedding_grad.meaning(xp, floats, grad.numpy(), given)
    # Sums of up to 60 normal numbers in float32, in another order.
    np.testing.assert_allclose(slopes, table.weight.grad.numpy(), rtol=1e-5, atol=1e-5)


def test_only_rows_looked_up_change_with_plain_sgd():
    x = np.array([[0], [2], [2]])
    before = fitted(x, [Embedding(4, 3), Dense(1)], Y[:3], epochs=1, optimizer="sgd")
    weight = before.parameters["embedding1.weight"]
    start = np.array(pnn.Normal(1.0)(pnn.random.Draws(0, "initialize", 0), (4, 3)), np.float32)
    changed = (weight != start).any(axis=1)
    np.testing.assert_array_equal(changed, [True, False, True, False])


@pytest.mark.parametrize("shape", [(), (2,)], ids=["one", "population"])
def test_codes_that_are_none_give_nan(shape):
    table = RNG.normal(size=(*shape, 3, 2))
    codes = np.array([[2.0], [3.0], [-1.0], [0.5], [np.nan], [np.inf], [-0.0], [1e30]])
    found = kernels.embedding.meaning(xp, codes, table)
    assert found.shape == (*shape, 8, 2)
    np.testing.assert_array_equal(found[..., 0, :], table[..., 2, :])
    np.testing.assert_array_equal(found[..., 6, :], table[..., 0, :])
    assert np.isnan(found[..., [1, 2, 3, 4, 5, 7], :]).all()


def test_population_of_tables_shares_its_codes():
    codes, tables = CODES.astype(float), RNG.normal(size=(3, 5, 2))
    found = kernels.embedding.meaning(xp, codes, tables)
    grad = RNG.normal(size=found.shape)
    slopes = kernels.embedding_grad.meaning(xp, codes, grad, tables)
    shapes = [codes.shape, grad.shape, tables.shape]
    assert kernels.embedding_grad.shapes(*shapes) == (slopes.shape,)
    for k in range(3):
        alone = kernels.embedding.meaning(xp, codes, tables[k])
        np.testing.assert_array_equal(found[k], alone)
        alone = kernels.embedding_grad.meaning(xp, codes, grad[k], tables[k])
        np.testing.assert_allclose(slopes[k], alone, rtol=1e-13, atol=1e-13)  # order of sums


def test_loss_surface_of_an_embedding():
    network = fitted()
    surface = pnn.loss_surface(network, CODES, Y, "embedding1.weight[0, 2]", points=3)
    assert surface.loss.shape == (1, 3)
    assert len(set(surface.loss[0])) == 3


def test_training_is_that_of_the_formulas(backend):
    layers = [Embedding(5, 3), Dense(1)]
    report = check_training(
        layers, CODES, Y, loss="mean_squared_error", steps=4, batch_size=16, backend=backend
    )
    assert report.ok, report


def test_codes_stay_codes_where_parity_moves_all_that_rounds():
    plan = Network([Embedding(5, 3), Dense(1)]).plan("mean_squared_error", features=2)
    given = {
        name: RNG.normal(size=plan.buffers[name].bound({"rows": N, "n": N}))
        for name in plan.reads("gradient")
    } | {"data.x": CODES.astype(float), "rows": np.arange(N)}
    sizes = {}
    exact = walk(plan, ["gradient"], given, Formulas("float32"), sizes=sizes).values
    rounding = Rounding("float32", sizes, 0)
    twin = walk(plan, ["gradient"], given, Formulas("float32"), rounding=rounding).values
    np.testing.assert_array_equal(twin["x"], CODES)
    for name in (plan.outputs["loss"], *plan.gradients.values()):
        assert np.isfinite(twin[name]).all()
        assert (twin[name] != exact[name]).any()


def test_saved_and_loaded(tmp_path):
    network = fitted()
    network.save(tmp_path / "m")
    loaded = pnn.load(tmp_path / "m")
    np.testing.assert_array_equal(loaded.predict(CODES), network.predict(CODES))
    with pytest.raises(DataError, match=r"x\[0, 0\] is 5; Embedding"):
        loaded.predict(np.full((1, 2), 5))


def changed(row, column, code):
    x = CODES.astype(float)
    x[row, column] = code
    return x


WRONG = {
    "too large": (changed(7, 1, 5), r"\[7, 1\] is 5\.0; Embedding takes whole.* 0 to 4"),
    "negative": (changed(7, 0, -1), r"\[7, 0\] is -1\.0"),
    "a fraction": (changed(3, 1, 0.5), r"\[3, 1\] is 0\.5"),
    "nearly whole": (changed(3, 1, 1.0 + 2.0**-40), r"\[3, 1\] is 1\.0000"),
}


@pytest.mark.parametrize(("x", "said"), WRONG.values(), ids=list(WRONG))
def test_codes_out_of_range(x, said):
    network = fitted()
    before = network.predict(CODES)
    for call in (
        lambda: network.predict(x),
        lambda: network.score(x, Y),
        lambda: network.fit(x, Y, loss="mean_squared_error", progress=False),
        lambda: fitted(validation=(x, Y)),
        lambda: pnn.loss_surface(network, x, Y, points=2),
        lambda: next(network.start(loss="mean_squared_error", warm_start=True).batches(x, Y, 0)),
    ):
        with pytest.raises(DataError, match="x" + said):
            call()
    np.testing.assert_array_equal(network.predict(CODES), before)


def test_codes_of_named_inputs_are_named():
    numbers = RNG.normal(size=(N, 2))
    x = {"numbers": numbers, "day": CODES}
    parts = [Input("numbers")], [Input("day"), Embedding(5, 3)]
    network = fitted(x, [Concatenate(parts), Dense(1)])
    with pytest.raises(DataError, match=r"x\['day'\]\[7, 1\] is 5\.0; Embedding"):
        network.predict(x | {"day": changed(7, 1, 5)})


def test_standardize_leaves_codes_alone():
    numbers = 50.0 + RNG.normal(size=(N, 2))
    network = fitted(standardize=True)
    np.testing.assert_array_equal(network._known().inputs.mean, 0.0)
    assert network.predict(CODES).shape == (N,)
    floats = {"numbers": numbers, "day": CODES.astype(float)}  # the plan knows them
    parts = [Input("numbers")], [Input("day"), Embedding(5, 3)]
    network = fitted(floats, [Concatenate(parts), Dense(1)], standardize=True)
    found = network._known().inputs
    np.testing.assert_array_equal(found.deviation[2:], 1.0)
    np.testing.assert_allclose(found.mean[:2], numbers.mean(axis=0))


def test_the_narrowest_of_two_tables_counts():
    parts = [Embedding(5, 3)], [Embedding(4, 2)]
    for either in (parts, parts[::-1]):
        with pytest.raises(DataError, match="0 to 3"):
            fitted(layers=[Concatenate(either), Dense(1)])
    assert fitted(CODES % 4, [Concatenate(parts), Dense(1)]).predict(CODES % 4).shape == (N,)


def test_codes_up_to_the_largest_that_float32_counts():
    x = np.array([[2**24 - 1], [2**24 - 2], [0]])
    plan = Network([Embedding(2**24, 1), Dense(1)]).plan("mean_squared_error", features=1)
    read_inputs(x, 1).check(plan, 1)
    with pytest.raises(DataError, match=r"x\[0, 0\] is 16777216.*0 to 16777215"):
        read_inputs(x + 1, 1).check(plan, 1)
    table = np.zeros((2**24, 1), np.float32)  # memory for what is written only
    table[x[:, 0], 0] = 7.0, 5.0, 3.0
    found = kernels.embedding.meaning(xp, x.astype(np.float32), table)
    np.testing.assert_array_equal(found, [[7.0], [5.0], [3.0]])
    with pytest.raises(NetworkError, match="categories are 1 to 16777216"):
        Embedding(2**24 + 1, 1)


def test_a_table_too_large_for_a_batch():
    network = Network([Embedding(2**23, 1, pnn.initializers.zeros), Dense(1)])
    with pytest.raises(NetworkError, match=r"64 rows makes embedding_grad form 536,870,912"):
        network.fit(
            np.arange(99)[:, None], Y[:1].repeat(99), loss="mean_squared_error", progress=False
        )


SIZES = {
    "a batch": ({"batch_size": 16}, 16),
    "all rows": ({"batch_size": None}, N),
    "fewer rows than a batch": ({"batch_size": 1000}, N),
    "a part": ({"batch_size": None, "micro_batch_size": 9}, 9),
    "a batch smaller than a part": ({"batch_size": 16, "micro_batch_size": 64}, 16),
    "fewer rows than either": ({"batch_size": 1000, "micro_batch_size": 1000}, N),
}


@pytest.mark.parametrize(("sizes", "rows"), SIZES.values(), ids=list(SIZES))
def test_rows_at_a_time_are_those_of_a_part_of_a_batch(sizes, rows, monkeypatch):
    monkeypatch.setattr(inputs, "WORKSPACE", 8 * 2 * 5)  # rows, codes in each, categories
    with pytest.raises(
        NetworkError, match=f"a batch of {rows} rows .* form {rows * 2 * 5} numbers"
    ):
        fitted(**sizes)
    small = sizes | ({"micro_batch_size": 8} if sizes["batch_size"] is None else {"batch_size": 8})
    assert fitted(**small).predict(CODES).shape == (N,)


class OwnLookup:
    """A lookup layer with kernels of its own, of the same meanings."""

    def forward(self, builder, x, mode):
        table = builder.parameter("table", (2**23, 1), pnn.initializers.zeros)
        return builder.call(own_embedding, x, table)


own_embedding_grad = replace(kernels.embedding_grad, name="own_embedding_grad")
own_embedding = replace(
    kernels.embedding,
    backward=lambda call, grads: [
        kernels.Gradient((1,), (call.inputs[0], grads[0], call.inputs[1]), own_embedding_grad)
    ],
)


def start(layer, rows, **options):
    step = Network([layer, Dense(1)]).start(loss="mean_squared_error", **options)
    step.open(np.arange(rows)[:, None], np.zeros(rows))


@pytest.mark.parametrize(
    "layer", [Embedding(2**23, 1, pnn.initializers.zeros), OwnLookup()], ids=["its own", "a user's"]
)
def test_any_kernel_that_forms_too_many_numbers_is_refused(layer):
    said = r"33 rows makes \w+ form 276,824,064 numbers for grad_\w+1\.\w+ \(8388608, 1\), more"
    with pytest.raises(NetworkError, match=said):
        start(layer, 99, batch_size=33)
    start(layer, 99, batch_size=32)  # 2**28 of them, which may be


def test_it_takes_the_data_themselves():
    with pytest.raises(NetworkError, match=r"Embedding\(5, 3\) takes the data.* dense1"):
        fitted(layers=[Dense(2), Embedding(5, 3), Dense(1)])


@pytest.mark.parametrize("sizes", [(0, 2), (2, 0), (2.0, 2), (True, 2), ("a", 2)])
def test_sizes(sizes):
    with pytest.raises(NetworkError, match=r"Embedding takes whole numbers"):
        Embedding(*sizes)
    with pytest.raises(NetworkError, match="Embedding takes an initializer as weight"):
        Embedding(2, 2, 0.1)


@pytest.mark.parametrize("number", [np.nan, np.inf])
def test_sums_of_numbers_that_are_not_finite(backend, number):
    """The product with one-hot rows makes 0 times infinity; no backend forgets that."""
    inputs = [CODES[:4].astype(float), RNG.normal(size=(4, 6)), RNG.normal(size=(5, 3))]
    inputs[1][2, 1] = number
    builder = PlanBuilder("predict", "float64")
    names = [builder.fed(f"input{k}", value.shape, None) for k, value in enumerate(inputs)]
    output = builder.outputs["output"] = builder.call(kernels.embedding_grad, *names)
    step = backend.start(builder.build(), {}, 4)
    step.run({name: backend.asarray(v, "float64") for name, v in zip(names, inputs, strict=True)})
    with np.errstate(invalid="ignore"):
        expected = kernels.embedding_grad.meaning(xp, *inputs)
    assert np.isnan(expected).sum() >= 4
    found = backend.to_host(step.read(output))
    np.testing.assert_array_equal(np.isfinite(found), np.isfinite(expected))


@pytest.mark.parametrize("kernel", [kernels.embedding, kernels.embedding_grad])
def test_kernels_alone_at_the_edge(kernel):
    """Among the edges are codes that are none, and NaN."""
    codes, table = CODES.astype(float), RNG.normal(size=(5, 3))
    grad = [RNG.normal(size=(N, 6))] if kernel is kernels.embedding_grad else []
    reports = check_kernel(kernel, codes, *grad, table, backend="numpy")
    assert reports.ok, reports.verdict
