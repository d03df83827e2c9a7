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


@pytest.mark.parametrize("test", [0.0, 1.0, -0.2, 1.5, float("nan"), 4])
def test_a_part_is_a_fraction(test):
    with pytest.raises(DataError, match="fraction between 0 and 1; got"):
        split(X, Y, test=test)


def test_x_and_y_need_as_many_rows():
    with pytest.raises(DataError, match="the same number of rows; got 20 and 19"):
        split(X, Y[:19])
