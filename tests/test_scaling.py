"""Columns brought to mean 0 and deviation 1."""

import numpy as np
import pytest

from portable_nn import DataError
from portable_nn.arrays import cast
from portable_nn.scaling import Scaling

RNG = np.random.default_rng(0)


def test_mean_and_deviation_are_those_of_the_columns():
    table = RNG.normal(size=(200, 3)) * [1.0, 1e-6, 1e6] + [0.0, 5.0, -3e6]
    scaling = Scaling.learn(table)
    found = scaling.apply(table)
    # Rounding of a mean of 200 numbers, relative to the largest: 5 against a deviation of 1e-6.
    np.testing.assert_allclose(found.mean(0), 0.0, rtol=0.0, atol=1e-8)
    np.testing.assert_allclose(found.std(0), 1.0, rtol=1e-9)
    np.testing.assert_allclose(scaling.mean, table.mean(0), rtol=1e-13)
    np.testing.assert_allclose(scaling.deviation, table.std(0), rtol=1e-9)
    np.testing.assert_allclose(scaling.undo(found), table, rtol=1e-14)


def test_a_constant_column_becomes_0_and_other_rows_stay_finite():
    table = np.full((7, 1), 0.1)
    scaling = Scaling.learn(table)
    assert not scaling.apply(table).any()
    np.testing.assert_array_equal(scaling.apply(np.array([[1.1]])), [[1.0]])


@pytest.mark.parametrize("dtype", [np.float64, np.int64, np.bool_])
def test_yes_and_no_stay_as_they_are(dtype):
    table = np.array([[0, 1, 0], [1, 1, 0], [0, 1, 0]], dtype=dtype)
    np.testing.assert_array_equal(Scaling.learn(table).apply(table), table)


@pytest.mark.parametrize("size", [1e-300, 1e300, 1.7e308])
def test_no_size_overflows_on_the_way(size):
    table = size * np.array([[-1.0], [1.0], [0.5]])
    scaling = Scaling.learn(table)
    assert np.isfinite(scaling.mean).all()
    np.testing.assert_allclose(scaling.deviation, size * np.std([-1.0, 1.0, 0.5]), rtol=1e-14)


def test_one_row_is_constant():
    table = np.array([[3.0, 0.0]])
    assert not Scaling.learn(table).apply(table).any()


def test_what_is_given_stays():
    table = RNG.normal(size=(5, 2))
    before = table.copy()
    scaling = Scaling.learn(table)
    scaling.apply(table)
    scaling.undo(table)
    np.testing.assert_array_equal(table, before)


def test_what_is_too_large_is_infinite_and_no_warning():
    scaling = Scaling(np.array([0.0]), np.array([1e-10]))
    assert scaling.apply(np.array([[1e300]])) == np.inf
    scaling = Scaling(np.array([0.0]), np.array([1e300]))
    assert scaling.undo(np.array([[1e10]])) == np.inf
    assert scaling.undo(np.array([[1.0]], np.float32)) == np.inf
    with np.errstate(all="raise"):
        assert scaling.apply(np.array([[1e-30]])) == 0.0


@pytest.mark.parametrize(("value", "dtype"), [(1e300, "float32"), (1e308, "float64")])
def test_a_number_too_large_once_scaled_is_named_as_it_was_given(value, dtype):
    table = np.array([[0.0, 1.0], [2.0, value]])
    scaled = Scaling(np.zeros(2), np.full(2, 0.01)).apply(table)
    with pytest.raises(DataError) as caught:
        cast(scaled, dtype, "x", table)
    assert str(caught.value) == f"x[1, 1] is {value}, too large for {dtype} once standardized."
    with pytest.raises(DataError, match=r"^y\[1\] is 1e\+300, too large for float32\.$"):
        cast(np.array([0.0, 1e300]), "float32", "y")
    with pytest.raises(DataError, match=r"^y\[1\] is 1.0, too large for float32 once"):
        cast(np.array([[0.0], [1e300]]), "float32", "y", np.array([0.0, 1.0]))


@pytest.mark.parametrize(
    "column",
    [
        [0.3, 0.1 + 0.2, 0.3],
        [1e9 + 1e-7, 1e9, 1e9],
        [5e-324, 0.0, 5e-324],
    ],
)
def test_what_differs_by_rounding_is_constant(column):
    table = np.array(column)[:, None]
    scaling = Scaling.learn(table)
    assert np.abs(scaling.apply(table)).max() < 1e-6
    assert np.abs(scaling.apply(table + 0.01)).max() < 0.011


def test_a_column_of_large_numbers_stays_small():
    """Timestamps in nanoseconds, which differ by little of their size; and mere rounding."""
    stamps = 1.7e18 + 2048.0 * np.array([[0.0], [1.0], [0.0], [1.0]])
    np.testing.assert_array_equal(Scaling.learn(stamps).apply(stamps)[:, 0], [-1, 1, -1, 1])
    rounding = 1e30 * np.array([[1.0], [1.0 + 2.0**-52], [1.0]])
    assert np.abs(Scaling.learn(rounding).apply(rounding)).max() < 1e-15


@pytest.mark.parametrize(
    ("mean", "deviation"),
    [([0.0], [0.0]), ([np.nan], [1.0]), ([0.0], [-1.0]), ([0.0, 1.0], [1.0]), ([[0.0]], [[1.0]])],
)
def test_what_is_no_scaling(mean, deviation):
    with pytest.raises(DataError, match="a finite mean and a deviation above 0"):
        Scaling(np.array(mean), np.array(deviation))
