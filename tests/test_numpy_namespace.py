"""The choice of elements by their bits is the one that NumPy makes."""

import numpy as np
import pytest

from portable_nn_numpy import namespace

RNG = np.random.default_rng(0)
ODD = [np.nan, -np.nan, np.inf, -np.inf, 0.0, -0.0, 5e-324, 1.0]
SHAPE = (100, 80)


def numbers(dtype):
    values = RNG.standard_normal(SHAPE).astype(dtype)
    with np.errstate(under="ignore", over="ignore"):
        values.flat[: len(ODD)] = np.array(ODD).astype(dtype)
    return RNG.permuted(values)


def pairs():
    for dtype in (np.float32, np.float64):
        a, b = numbers(dtype), numbers(dtype)
        yield f"{dtype.__name__}", a, b
        yield f"{dtype.__name__}, columns", np.asfortranarray(a), b
        yield f"{dtype.__name__}, every other", np.repeat(a, 2, 1)[:, ::2], b
        yield f"{dtype.__name__}, a number", a, 0.0
        yield f"{dtype.__name__}, a row", a, b[:1]
        yield f"{dtype.__name__}, another type", a, b.astype(np.float16)
    integers = RNG.integers(0, 9, (2, *SHAPE))
    yield "integers", *integers


@pytest.mark.parametrize(("a", "b"), [pytest.param(a, b, id=name) for name, a, b in pairs()])
def test_the_same_bits_and_type(a, b):
    condition = RNG.random(SHAPE) < 0.5
    assert condition.size >= namespace.LEAST
    for first, second in ((a, b), (b, a)):
        found, wanted = (select(condition, first, second) for select in (namespace.where, np.where))
        assert (found.dtype, found.shape) == (wanted.dtype, wanted.shape)
        assert found.tobytes() == wanted.tobytes()


def test_arrays_alike_are_not_left_to_numpy(monkeypatch):
    a, condition = numbers(np.float32), RNG.random(SHAPE) < 0.5
    monkeypatch.setattr(np, "where", lambda *arrays: pytest.fail("NumPy was asked"))
    namespace.where(condition, a, -a)


def test_the_rest_is_numpys():
    assert namespace.xp.exp is np.exp
    assert namespace.xp.where is namespace.where


@pytest.mark.parametrize("condition", [2, 2.0, -1], ids=str)
def test_a_condition_that_is_no_boolean(condition):
    a, b = numbers(np.float32), numbers(np.float32)
    given = np.full(SHAPE, condition)
    assert namespace.where(given, a, b).tobytes() == np.where(given, a, b).tobytes()


def test_a_list_and_a_number_as_condition():
    a, b = np.float32(1.0), np.float32(2.0)
    assert namespace.where(True, a, b) == 1.0
    np.testing.assert_array_equal(namespace.where([True, False], [1, 1], [2, 2]), [1, 2])
