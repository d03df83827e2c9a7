"""Data is read where it lies: what is copied, what is not, and files larger than the memory."""

import copy
import mmap
import re
import tracemalloc

import numpy as np
import pytest

import portable_nn as pnn
from portable_nn import DataError, Dense, Embedding, Flatten, Input, Network, ReLU, parity, pieces
from portable_nn.converted import Converted
from portable_nn.pieces import is_constant, is_mapped
from portable_nn.scaling import Scaling

RNG = np.random.default_rng(0)
X = RNG.uniform(0.0, 255.0, size=(150, 6))
LABELS = RNG.integers(0, 3, 150)


@pytest.fixture
def small_pieces(monkeypatch):
    """Tables of the tests are several pieces, the last one short."""
    monkeypatch.setattr(pieces, "NUMBERS", 6 * 41)


def mapped(array, folder, mode="r", name="x.npy"):
    np.save(folder / name, array)
    return np.load(folder / name, mmap_mode=mode)


LAYERS = [Dense(8), ReLU(), Dense(3)]


def trained(x, y=LABELS, layers=LAYERS, dtype="float32", **options):
    options = {"loss": "cross_entropy", "epochs": 2, "validation": (x, y)} | options
    return Network(layers, dtype).fit(x, y, progress=False, **options)


def assert_same(one, other, x):
    for name, value in one.parameters.items():
        np.testing.assert_array_equal(value, other.parameters[name], err_msg=name)
    for name in set(one.history) - {"seconds"}:
        assert one.history[name] == other.history[name], name
    np.testing.assert_array_equal(one.outputs(x), other.outputs(x))


# -- the same numbers ----------------------------------------------------------------------

FORMS = {
    "float32": lambda x: x.astype(np.float32),
    "float64": lambda x: x,
    "float16": lambda x: x.astype(np.float16),
    "uint8": lambda x: x.astype(np.uint8),
    "big-endian": lambda x: x.astype(">f4"),
    "Fortran": lambda x: np.asfortranarray(x.astype(np.float32)),
    "one column": lambda x: x[:, :1].astype(np.float32),
}


@pytest.mark.usefixtures("small_pieces")
@pytest.mark.parametrize("standardize", [False, True])
@pytest.mark.parametrize("form", FORMS)
def test_a_file_trains_as_the_array_in_it(backend, form, standardize, tmp_path):
    array = FORMS[form](X)
    options = {"standardize": standardize, "backend": backend}
    found = trained(mapped(array, tmp_path), **options)
    assert_same(found, trained(array, **options), array)
    assert found.score(np.load(tmp_path / "x.npy", mmap_mode="r"), LABELS) == found.score(
        array, LABELS
    )


@pytest.mark.usefixtures("small_pieces")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("form", FORMS)
def test_numbers_are_those_of_a_table_converted_by_hand(form, dtype):
    array = FORMS[form](X)
    plain = np.ascontiguousarray(array.astype(dtype))
    assert_same(trained(array, dtype=dtype), trained(plain, dtype=dtype), plain)


@pytest.mark.parametrize("part", [np.s_[::2], np.s_[:, ::-1], np.s_[10:120, 1:4]], ids=str)
def test_a_part_of_a_file_trains_as_the_part_of_the_array(part, tmp_path):
    array = X.astype(np.float32)
    part_of_file, labels = mapped(array, tmp_path)[part], np.resize(LABELS, len(array[part]))
    assert_same(trained(part_of_file, labels), trained(array[part], labels), array[part])


def test_images_in_a_file(tmp_path):
    images = X.astype(np.uint8).reshape(150, 2, 3)
    layers = [Flatten(), Dense(3)]
    found = trained(mapped(images, tmp_path), layers=layers)
    assert_same(found, trained(images, layers=layers), images)


@pytest.mark.usefixtures("small_pieces")
@pytest.mark.parametrize("standardize", [False, True])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
def test_images_cut_out_of_larger_ones(dtype, standardize, tmp_path):
    images = X.astype(dtype).reshape(150, 2, 3)
    cut, plain = np.s_[:, :, 1:], images[:, :, 1:].reshape(150, 4)
    layers = [Flatten(), Dense(3)]
    wanted = trained(plain, standardize=standardize, layers=layers)
    for given in (mapped(images, tmp_path)[cut], images[cut]):
        found = trained(given, standardize=standardize, layers=layers)
        assert_same(found, wanted, plain)
        np.testing.assert_array_equal(found.outputs(given), wanted.outputs(plain))


def test_inputs_by_name_and_targets_in_files(tmp_path):
    x, y = X.astype(np.float32), X[:, :2].astype(np.float32)
    branches = [Input("a"), Dense(3)], [Input("b")]
    options = {"layers": [pnn.Concatenate(branches), Dense(2)], "loss": "mean_squared_error"}
    named = {"a": x[:, :4], "b": x[:, 4:]}
    files = {name: mapped(value, tmp_path, name=name + ".npy") for name, value in named.items()}
    found = trained(files, mapped(y, tmp_path, name="y.npy"), standardize=True, **options)
    assert_same(found, trained(named, y, standardize=True, **options), named)


@pytest.mark.usefixtures("small_pieces")
def test_the_formulas_hold_on_rows_that_are_converted_as_they_are_taken(tmp_path):
    x = mapped(X.astype(np.uint8), tmp_path)
    report = parity.check_training(
        [Dense(4), ReLU(), Dense(3)], x, LABELS, loss="cross_entropy", backend="numpy", steps=6
    )
    assert report.ok, report.verdict


@pytest.mark.usefixtures("small_pieces")
@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.uint8, np.int64])
def test_mean_and_deviation_of_pieces_are_those_of_the_whole(dtype):
    """To the last bit: the sums go on from piece to piece in the order of the rows."""
    table = (X * [1, 0.1, 1, 0, 1, 1]).astype(dtype)
    table[:, 4] = [2, *LABELS[1:] % 2]  # only the first piece is not of 0 and 1 alone
    values = table.astype(np.float64)
    half = values / 2.0 - values[0] / 2.0
    spread = np.abs(half).max(axis=0)
    spread[spread == 0.0] = 1.0
    shift = spread * (half / spread).mean(axis=0)
    mean, deviation = values[0] + shift + shift, spread * (2.0 * (half / spread).std(axis=0))
    mean[3], deviation[3] = 0.0, 1.0  # of zeros alone
    found = Scaling.learn(table)
    np.testing.assert_array_equal(found.mean, mean)
    np.testing.assert_array_equal(found.deviation, deviation)


# -- mistakes are found in every piece -----------------------------------------------------


@pytest.mark.usefixtures("small_pieces")
@pytest.mark.parametrize(
    ("value", "standardize", "said"),
    [
        (np.nan, False, r"^x\[140, 5\] is nan; remove or fill such values\.$"),
        (1e300, False, r"^x\[140, 5\] is 1e\+300, too large for float32\.$"),
    ],
)
def test_a_number_that_does_not_do_is_named(value, standardize, said, tmp_path):
    x = X.copy()
    x[140, 5] = x[141, 0] = value
    for given in (x, mapped(x, tmp_path)):
        with pytest.raises(DataError, match=said):
            trained(given, standardize=standardize)


@pytest.mark.usefixtures("small_pieces")
@pytest.mark.parametrize(("value", "said"), [(np.nan, "is nan"), (1e300, "is 1e+300, too large")])
def test_a_number_of_an_image_is_named_as_an_index_of_what_was_given(value, said):
    images = X.reshape(150, 2, 3).copy()
    images[140, 1, 2] = value
    with pytest.raises(DataError, match="^" + re.escape(f"x[140, 1, 2] {said}")):
        trained(images, layers=[Flatten(), Dense(3)])


@pytest.mark.usefixtures("small_pieces")
def test_what_is_too_large_once_standardized_is_named_as_it_was_given(tmp_path):
    network = trained(X * 1e-30, standardize=True)
    x = X * 1e-30
    x[140, 5] = 1e20
    with pytest.raises(DataError, match=r"^x\[140, 5\] is 1e\+20, too large for float32 once"):
        network.predict(mapped(x, tmp_path))


@pytest.mark.usefixtures("small_pieces")
def test_a_code_that_is_none_is_named(tmp_path):
    codes = RNG.integers(0, 9, (150, 2))
    codes[149, 1] = 9
    with pytest.raises(DataError, match=r"^x\[149, 1\] is 9; Embedding takes .* 0 to 8\.$"):
        trained(mapped(codes, tmp_path), layers=[Embedding(9, 2), Dense(3)])


# -- whose memory --------------------------------------------------------------------------


def opened(x, **options):
    step = Network([Dense(3)]).start(loss="cross_entropy", backend="numpy", **options)
    return step, step.batches(x, LABELS, epoch=0)


def frozen(array):
    array.flags.writeable = False
    return array


def test_windows_that_overlap_lie_where_their_numbers_do(tmp_path):
    windows = np.lib.stride_tricks.sliding_window_view
    file, array = mapped(X[:, 0], tmp_path), X[:, 0].copy()
    assert is_mapped(windows(file, 30))
    assert is_constant(windows(file, 30))
    assert is_constant(windows(frozen(X[:, 0].copy()), 30))
    assert not is_mapped(windows(array, 30))
    assert not is_constant(windows(array, 30))
    assert not is_constant(windows(frozen(array[:]), 30))
    labels = LABELS[29:]
    found = trained(windows(file, 30), labels, standardize=True)
    wanted = trained(windows(array, 30), labels, standardize=True)
    assert_same(found, wanted, windows(array, 30))


def test_what_is_constant_and_what_is_mapped(tmp_path):
    array, file = X.copy(), mapped(X, tmp_path)
    assert is_constant(frozen(X.copy()))
    assert is_constant(frozen(X.copy())[::2].T)
    assert is_constant(np.frombuffer(b"1234", np.uint8))
    assert is_constant(file)
    assert is_constant(np.asarray(file)[3:])
    changeable = [array, frozen(array[:]), np.broadcast_to(array, (2, *array.shape))]
    changeable += [frozen(np.frombuffer(bytearray(8), np.uint8))]
    changeable += [frozen(np.frombuffer(memoryview(bytearray(8)).toreadonly(), np.uint8))]
    changeable += [frozen(mapped(X, tmp_path, mode)[:]) for mode in ("r+", "c")]
    changeable += [frozen(np.ndarray(8, np.uint8, mmap.mmap(-1, 64)))]
    assert not any(map(is_constant, changeable))
    assert is_mapped(file)
    assert is_mapped(np.asarray(file)[3:].T)
    assert not any(map(is_mapped, [array, array[:], np.array(file)]))


@pytest.mark.parametrize("form", ["array", "read-only view", "file r+", "file c"])
def test_in_the_open_loop_what_is_changed_in_place_is_not_noticed(form, tmp_path):
    source = X.astype(np.float32)
    given = {
        "array": lambda: source,
        "read-only view": lambda: frozen(source[:]),
        "file r+": lambda: mapped(source, tmp_path, "r+"),
        "file c": lambda: mapped(source, tmp_path, "c"),
    }[form]()
    step, batches = opened(given)
    other, others = opened(source.copy())
    for k, (batch, wanted) in enumerate(zip(batches, others, strict=True)):
        step.step(batch)
        other.step(wanted)
        if k == 0:
            (source if form in ("array", "read-only view") else given)[:] = 0.0
    assert k > 0
    np.testing.assert_array_equal(step.read("dense1.weight"), other.read("dense1.weight"))


@pytest.mark.parametrize("form", ["read-only", "file"])
def test_in_the_open_loop_what_cannot_be_changed_is_not_copied(form, tmp_path):
    array = X.astype(np.float32)
    given = frozen(array) if form == "read-only" else mapped(array, tmp_path)
    step, batches = opened(given)
    step.step(next(batches))
    assert np.shares_memory(step.session.state["data.x"], given)


def test_the_rows_of_a_fit_are_read_where_they_lie_and_cannot_be_written_to(monkeypatch):
    held = []
    bind = pnn.session.Session.bind

    def look(session, plan, rows):
        bind(session, plan, rows)
        held.append(session.state["data.x"])

    monkeypatch.setattr(pnn.session.Session, "bind", look)
    x = X.astype(np.float32)
    trained(x, backend="numpy")
    assert np.shares_memory(held[0], x)
    assert not held[0].flags.writeable
    assert x.flags.writeable


def test_a_converted_table_is_an_array_to_numpy():
    table = Converted(X, "float32")
    assert table.settled().dtype == np.float32
    assert np.array_equal(np.asarray(table, np.float64), X.astype(np.float32))
    rows = np.array([3, 0, 149])
    np.testing.assert_array_equal(np.take(table, rows, axis=0), X[rows].astype(np.float32))


# -- how much memory -----------------------------------------------------------------------

COLUMNS = 784
LARGE, ALLOWED = 2**27, 2**25
"""Bytes of the rows as float32, and what may be taken of the memory: labels, a few rows."""


@pytest.fixture(scope="module", params=["float32", "uint8", "float64"])
def large(request, tmp_path_factory):
    """Rows in a file, and labels."""
    path, n = tmp_path_factory.mktemp("large") / "x.npy", LARGE // COLUMNS // 4
    whole = np.lib.format.open_memmap(path, "w+", np.dtype(request.param), (n, COLUMNS))
    for first in range(0, n, 4096):
        rows = whole[first : first + 4096]
        rows[:] = RNG.integers(0, 256, rows.shape, np.uint8)
    whole.flush()
    yield np.load(path, mmap_mode="r"), RNG.integers(0, 3, n)
    path.unlink()


def peak(function):
    """The most memory that Python and NumPy took while it ran, bytes."""
    tracemalloc.start()
    try:
        function()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("standardize", [False, True])
def test_a_file_is_never_in_memory_as_a_whole(large, standardize):
    x, y = large
    network = Network([Dense(3)])
    options = {"loss": "cross_entropy", "standardize": standardize, "backend": "numpy"}

    def work():
        network.fit(x, y, epochs=1, batch_size=256, validation=(x, y), progress=False, **options)
        network.predict(x)
        network.score(x, y)
        step = network.start(batch_size=256, **options)
        for batch in step.batches(x, y, epoch=0):
            step.step(batch)

    assert peak(work) < ALLOWED
    part, options["epochs"] = x[:, 1:], 1  # whose rows do not lie side by side
    assert peak(lambda: network.fit(part, y, progress=False, **options)) < ALLOWED
    cut, images = x.reshape(-1, 28, 28)[:, 2:26, 2:26], Network([Flatten(), Dense(3)])
    assert peak(lambda: images.fit(cut, y, progress=False, **options)) < ALLOWED


def test_a_copy_of_a_network_in_the_open_loop_has_no_data(large):
    x, y = large
    network = Network([Dense(3), pnn.BatchNorm()])
    step = network.start(loss="cross_entropy", backend="numpy")
    step.step(next(step.batches(x, y, epoch=0)))
    twins = []
    assert peak(lambda: twins.append(copy.deepcopy(network))) < ALLOWED
    assert not any(name.startswith("data.") for name in twins[0]._fitted.session.state)
    np.testing.assert_array_equal(twins[0].outputs(x[:9]), network.outputs(x[:9]))
    weight = twins[0].parameters["dense1.weight"]
    step.step(next(step.batches(x, y, epoch=1)))
    np.testing.assert_array_equal(twins[0].parameters["dense1.weight"], weight)


@pytest.mark.parametrize(("form", "copies"), [("float32", 0.0), ("float64", 1.0), ("Fortran", 1.0)])
def test_an_array_in_memory_is_copied_only_to_be_converted(form, copies):
    x = RNG.integers(0, 256, (LARGE // COLUMNS // 4, COLUMNS), np.uint8).astype(np.float32)
    y = RNG.integers(0, 3, len(x))
    given = {
        "float32": lambda: x,
        "float64": lambda: x.astype(np.float64),
        "Fortran": lambda: np.asfortranarray(x),
    }[form]()
    network = Network([Dense(3)])
    options = {"loss": "cross_entropy", "epochs": 1, "progress": False, "backend": "numpy"}
    assert peak(lambda: network.fit(given, y, **options)) < copies * x.nbytes + ALLOWED
    assert peak(lambda: network.predict(given)) < ALLOWED
    wider = peak(lambda: network.fit(given, y, standardize=True, **options))
    assert wider < x.nbytes + ALLOWED
