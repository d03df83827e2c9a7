"""The bundled data set, and cutting data into parts."""

import hashlib

import numpy as np
import pytest

from portable_nn import DataError
from portable_nn.datasets import load_digits, split

X = np.arange(60.0).reshape(20, 3)
Y = np.arange(20)


def test_digits_are_what_they_say():
    x, y = load_digits()
    assert (x.shape, x.dtype) == ((1797, 64), np.float32)
    assert (y.shape, y.dtype) == ((1797,), np.int64)
    assert (x.min(), x.max()) == (0.0, 1.0)
    np.testing.assert_array_equal(x * 16, np.round(x * 16))
    # The counts in the data set's own description, for digits 0 to 9.
    assert np.bincount(y).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]


def test_digits_are_these_bytes():
    x, y = load_digits()
    table = np.column_stack([x * 16, y]).astype(np.uint8)
    digest = hashlib.sha256(table.tobytes()).hexdigest()
    assert digest == "68aea062d35a127749050fa0e52dca09d6569ac08092c925610e0954e172dde2"


def test_digits_are_those_of_scikit_learn():
    theirs = pytest.importorskip("sklearn.datasets").load_digits()
    x, y = load_digits()
    np.testing.assert_array_equal(x * 16, theirs.data)
    np.testing.assert_array_equal(y, theirs.target)


def test_each_call_gives_arrays_of_its_own():
    x, y = load_digits()
    x[:], y[:] = -1.0, -1
    again, labels = load_digits()
    assert again.min() == labels.min() == 0


@pytest.mark.parametrize(("test", "rows"), [(0.2, 4), (0.5, 10), (0.24, 5), (0.05, 1), (0.95, 19)])
def test_parts_are_disjoint_and_complete(test, rows):
    x, y, x_test, y_test = split(X, Y, test=test)
    assert len(x_test) == len(y_test) == rows
    assert sorted([*y, *y_test]) == Y.tolist()
    np.testing.assert_array_equal(x, X[y])
    np.testing.assert_array_equal(x_test, X[y_test])


def test_rows_drawn_depend_on_the_seed_and_the_number_of_rows_only():
    drawn = split(X, Y, seed=1)[3].tolist()
    assert split(X, Y, seed=1)[3].tolist() == drawn
    assert split(-X[:, :1], Y, seed=1)[3].tolist() == drawn
    assert split(X[::-1], Y[::-1], seed=1)[3].tolist() == [19 - row for row in drawn]
    others = [split(X, Y, seed=seed)[3].tolist() for seed in range(20)]
    assert len({str(rows) for rows in others}) == 20
    # A larger test part has the smaller one in it.
    assert split(X, Y, seed=1, test=0.4)[3].tolist()[-4:] == drawn


def test_rows_are_drawn_evenly():
    counts = np.zeros(20)
    for seed in range(400):
        counts[split(X, Y, seed=seed)[3]] += 1
    # Each is binomial with mean 80 and deviation 8: six deviations either way.
    assert (np.abs(counts - 80) < 48).all()


def test_parts_are_copies():
    x, y = X.copy(), Y.copy()
    parts = split(x, y)
    for part in parts:
        part[:] = -1
    np.testing.assert_array_equal(x, X)
    np.testing.assert_array_equal(y, Y)


@pytest.mark.parametrize("seed", range(8))
def test_every_class_is_trained_on_and_no_row_is_in_both_parts(seed):
    rows = np.arange(40)
    labels = np.array(["common"] * 30 + ["rare"] * 4 + ["pair"] * 2 + list("wxyz"))
    plain = split(rows, labels, seed=seed)
    x, y, x_test, y_test = split(rows, labels, seed=seed, every_class=True)
    assert sorted([*x, *x_test]) == rows.tolist()
    np.testing.assert_array_equal(y, labels[x])
    np.testing.assert_array_equal(y_test, labels[x_test])
    assert set(y) == set(labels)
    # Rows move from the test part only, one for each class that was in no other.
    missing = set(labels) - set(plain[1])
    assert x[:32].tolist() == plain[0].tolist()
    assert sorted(y[32:]) == sorted(missing)
    assert len(x_test) == 8 - len(missing)


def test_rare_classes_do_move():
    labels = np.array(["common"] * 30 + list("abcdefghij"))
    moved = [len(split(labels, labels, seed=seed, every_class=True)[1]) - 32 for seed in range(8)]
    assert max(moved) > 1  # of ten rows that may, a fifth is drawn on average


@pytest.mark.parametrize("kind", ["jax.numpy", "torch", "array_api_strict"])
def test_arrays_of_any_library_come_back_as_numpy_arrays(kind):
    library = pytest.importorskip(kind)
    parts = split(library.asarray(X.astype("float32")), library.asarray(Y.astype("int32")))
    for found, expected in zip(parts, split(X, Y), strict=True):
        assert type(found) is np.ndarray
        np.testing.assert_array_equal(found, expected)
    for found, expected in zip(split(X.tolist(), Y.tolist()), split(X, Y), strict=True):
        np.testing.assert_array_equal(found, expected)


ODD = [None, 5, {"a": 1}, {1, 2}, "text", (i for i in range(20)), object(), [[1, 2], [3]]]


@pytest.mark.parametrize("odd", ODD)
def test_what_has_no_rows(odd):
    for name, x, y in [("x", odd, Y), ("y", X, odd)]:
        with pytest.raises(DataError, match=f"^{name} (is |cannot be read)"):
            split(x, y)


@pytest.mark.parametrize("seed", [-1, "a", 1.5, None, True, np.random.default_rng(0)])
def test_a_seed_is_a_whole_number(seed):
    with pytest.raises(DataError, match="seed is a whole number, 0 or more; got"):
        split(X, Y, seed=seed)


@pytest.mark.parametrize("rows", [0, 1, 2])
def test_rows_that_are_too_few(rows):
    with pytest.raises(DataError, match=f"{rows} rows are too few for test=0.2"):
        split(X[:rows], Y[:rows])


def test_every_class_takes_labels():
    with pytest.raises(DataError, match="no row to test with"):
        split(X, Y, every_class=True)
    with pytest.raises(DataError, match=r"one a row, \(n,\); got y \(20, 3\)"):
        split(X, X, every_class=True)
    with pytest.raises(DataError, match="y mixes"):
        split(X, np.array([1, "a"] * 10, dtype=object), every_class=True)


@pytest.mark.parametrize(
    "test", [0.0, 1.0, -0.2, 1.5, float("nan"), 4, 0, True, "0.2", None, [0.2], np.array([0.2])]
)
def test_a_part_is_a_fraction(test):
    with pytest.raises(DataError, match="fraction between 0 and 1; got"):
        split(X, Y, test=test)


def test_x_and_y_need_as_many_rows():
    with pytest.raises(DataError, match="the same number of rows; got 20 and 19"):
        split(X, Y[:19])
