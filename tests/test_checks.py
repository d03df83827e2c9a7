"""The door: what users give, read as it is meant or refused with a place and a remedy."""

import datetime
import decimal
from pathlib import Path

import array_api_strict
import fresh
import numpy as np
import pytest

import portable_nn as pnn
from portable_nn import (
    Adam,
    CrossEntropy,
    DataError,
    NetworkError,
    PortableNNError,
    ShapeError,
    losses,
)
from portable_nn.arrays import brief
from portable_nn.checks import count, flag, like, seed, table, targets, weights
from portable_nn.losses import LOSSES
from portable_nn.naming import named
from portable_nn.optimizers import OPTIMIZERS

ROWS = np.array([[1.0, 2.0], [0.0, -3.5], [4.0, 5.0]])


class Sparse:
    def toarray(self): ...


class Lazy:
    def collect(self): ...


class Broken:
    def __array__(self, *args, **kwargs):
        raise KeyError("first line\nsecond line " + 400 * "x")


class Strange:
    dtype = "bfloat16"


class Graph:
    requires_grad = True


class Frame:
    """The part of a data frame that is looked at."""

    columns = ("age", "kind")

    def __init__(self, cells):
        self.cells = np.array(cells, dtype=object)

    def __array__(self, dtype=None, copy=None):
        return self.cells


class Missing:
    """As pandas.NA: neither equal to itself nor not."""

    def __eq__(self, other):
        raise TypeError

    __hash__ = None

    def __repr__(self):
        return "<NA>"


Missing.__name__ = "NAType"


def objects(cells):
    return np.array(cells, dtype=object)


# -- tables --------------------------------------------------------------------------------

GOOD_TABLES = {
    "lists": ROWS.tolist(),
    "tuples": tuple(map(tuple, ROWS.tolist())),
    "objects": ROWS.astype(object),
    "objects of NumPy": objects([[np.float32(1), np.int8(2)], [np.bool_(0), -3.5], [4, 5.0]]),
    "a frame of truth and numbers": Frame([[True, 2], [False, -3.5], [4.0, np.int64(5)]]),
    "wide floats": ROWS.astype(np.longdouble),
    "of another library": array_api_strict.asarray(ROWS),
    "not masked": np.ma.array(ROWS),
}


@pytest.mark.parametrize("x", GOOD_TABLES.values(), ids=list(GOOD_TABLES))
def test_tables(x):
    found = table(x)
    assert found.dtype == np.float64
    np.testing.assert_array_equal(found, ROWS)


BAD_TABLES = {
    "None": (None, DataError, "x is None; give an array"),
    "a generator": ((row for row in ROWS), DataError, r"x is a generator; give list\(x\)"),
    "a dict": ({"a": 1.0}, DataError, "x is a dict; give an array, a list or a table"),
    "a path": (Path("x.csv"), DataError, r"x is a \w+Path; give an array"),
    "text": ("x.csv", DataError, "x is a str; give an array"),
    "bytes": (b"x.csv", DataError, "x is a bytes; give an array"),
    "an object": (object(), DataError, "x is an object; give an array"),
    "sparse": (Sparse(), DataError, r"x is a Sparse; give x.toarray\(\)"),
    "lazy": (Lazy(), DataError, r"x is a Lazy; give x.collect\(\)"),
    "unreadable": (Broken(), DataError, "x cannot be read as an array: 'first line"),
    "bfloat16": (Strange(), DataError, r"x is bfloat16, .*; give x\.astype\(\"float32\"\)"),
    "a graph": (Graph(), DataError, r"x keeps track of gradients; give x\.detach\(\)"),
    "ragged": ([[1.0, 2.0], [3.0]], DataError, "x cannot be read as an array: setting an array"),
    "masked": (np.ma.masked_greater(ROWS, 2.0), DataError, "x has masked values; remove or fill"),
    "masked rows": (list(np.ma.masked_greater(ROWS, 2.0)), DataError, "x has masked values"),
    "a text cell": ([[1.0, "ant"]], DataError, r"x\[0, 1\] is 'ant'; fill or encode it"),
    "numerals": (ROWS.astype(str), DataError, r"x holds <U32, not numbers; .*x\.astype\(float\)"),
    "no value": (objects([[1.0, None]]), DataError, r"x\[0, 1\] is None; remove or fill"),
    "not a number": (objects([[1, np.nan]]), DataError, r"x\[0, 1\] is nan; remove or fill"),
    "infinite": (objects([[1, np.inf]]), DataError, r"x\[0, 1\] is inf; remove or fill"),
    "Decimal": (objects([[decimal.Decimal(1)]]), DataError, r"Decimal\('1'\); give int, float"),
    "complex cells": (objects([[1j]]), DataError, r"x\[0, 0\] is 1j; give int, float or bool"),
    "a frame": (
        Frame([[1, 2], [3, Missing()]]),
        DataError,
        r"x\[1, 1\] \(column 'kind'\) is <NA>;",
    ),
    "records": ([{"a": 1.0}], DataError, r"x\[0\] is \{'a': 1.0\}; fill or encode it"),
    "huge": ([[10**400, 1]], DataError, "more than 64 bits; give floats"),
    "times": (ROWS.astype("M8[s]"), DataError, r"x holds datetime64\[s\], not numbers"),
    "one row": (ROWS[0], ShapeError, r"A single row is x\[None, :\], a single column x\[:, None\]"),
    "images": (ROWS[None], ShapeError, r"got \(1, 3, 2\)\. .* x\.reshape\(len\(x\), -1\)"),
    "too wide": (np.ones((3, 5)), ShapeError, r"takes \(n, 2\); got x \(3, 5\)\.$"),
    "turned": (np.ones((2, 5)), ShapeError, r"got x \(2, 5\)\. Transpose it: x\.T"),
}
if np.finfo(np.longdouble).max > np.finfo(np.float64).max:
    WIDE = np.full((1, 2), np.longdouble("1e4000"))
    BAD_TABLES["wide floats"] = (WIDE, DataError, r"x\[0, 0\] is 1e\+4000, too large for float64")


@pytest.mark.parametrize(("x", "kind", "words"), BAD_TABLES.values(), ids=list(BAD_TABLES))
def test_what_is_no_table(x, kind, words):
    with pytest.raises(kind, match=words) as caught:
        table(x, 2)
    assert len(str(caught.value)) < 260
    assert "\n" not in str(caught.value)


def test_what_torch_alone_has():
    torch = pytest.importorskip("torch")
    x = torch.ones(2, 2)
    with pytest.raises(DataError, match=r"x is bfloat16.*; give x\.float\(\)"):
        table(x.bfloat16())
    with pytest.raises(DataError, match=r"give x\.detach\(\)"):
        table(x.requires_grad_())
    np.testing.assert_array_equal(table(x.detach().half()), np.ones((2, 2)))


# -- labels and numbers --------------------------------------------------------------------

GOOD_TARGETS = {
    "text": (["ant", "bee", "ant"], np.array(["ant", "bee", "ant"])),
    "NumPy's text": ([np.str_("ant"), np.str_("b"), "c"], np.array(["ant", "b", "c"])),
    "objects of text": (objects(["ant", "bee", "c"]), np.array(["ant", "bee", "c"])),
    "bytes": ([b"a", b"b", b"c"], np.array([b"a", b"b", b"c"])),
    "whole numbers": (objects([np.int64(3), 1, np.uint8(2)]), np.array([3, 1, 2])),
    "truth": ([np.bool_(True), False, True], np.array([True, False, True])),
    "numbers": (objects([0.5, 1, np.float32(2.0)]), np.array([0.5, 1.0, 2.0])),
    "columns": (
        [["a", "b"], ["b", "b"], ["c", "a"]],
        np.array([["a", "b"], ["b", "b"], ["c", "a"]]),
    ),
}
if hasattr(np.dtypes, "StringDType"):
    TEXT = np.array(["ant", "bee", "c"], dtype=np.dtypes.StringDType())
    GOOD_TARGETS["text of any length"] = (TEXT, np.array(["ant", "bee", "c"]))


@pytest.mark.parametrize(("y", "wanted"), GOOD_TARGETS.values(), ids=list(GOOD_TARGETS))
def test_targets(y, wanted):
    found = targets(y, 3)
    assert found.dtype == wanted.dtype
    np.testing.assert_array_equal(found, wanted)


BAD_TARGETS = {
    "not a number among text": (["ant", "bee", float("nan")], r"y\[2\] is nan; remove or fill"),
    "None among text": (["ant", None, "bee"], r"y\[1\] is None; remove or fill"),
    "NA among text": (objects(["ant", Missing(), "b"]), r"y\[1\] is <NA>; remove or fill"),
    "text and numbers": (
        ["ant", 1, True],
        r"y mixes text and numbers: y\[0\] is 'ant', y\[1\] is 1;",
    ),
    "bytes and text": ([b"a", "b", "c"], "y mixes bytes and text"),
    "not a number": ([0.5, np.nan, 1.0], r"y\[1\] is nan; remove or fill"),
    "dates": ([datetime.date(2024, 1, 1)] * 3, r"y\[0\] is datetime.date.*; give text or numbers"),
    "times": (np.zeros(3, "M8[s]"), r"y holds datetime64\[s\]; give text or real numbers"),
    "spans": (np.zeros(3, "m8[s]"), r"y holds timedelta64\[s\]; give text or real"),
    "complex": (np.zeros(3, complex), "y holds complex128; give text or real"),
    "records": (np.zeros(3, [("a", "i8")]), r"y holds \[\('a', .*; give text or real"),
    "huge": ([2**70, 1, 2], "y has whole numbers of more than 64 bits; give floats"),
    "a set": ({1, 2}, "y is a set; give an array"),
    "an iterator": (map(int, "123"), r"y is a map; give list\(y\)"),
    "None": (None, "y is None; give"),
    "short": ([1, 2], r"x has 3 rows; got y \(2,\)\.$"),
    "one number": (1, r"x has 3 rows; got y \(\)"),
    "of a turned table": ([1, 2, 3, 4], r"got y \(4,\)\. Transpose it: x\.T"),
}


@pytest.mark.parametrize(("y", "words"), BAD_TARGETS.values(), ids=list(BAD_TARGETS))
def test_what_are_no_targets(y, words):
    with pytest.raises(PortableNNError, match=words):
        targets(y, 3, columns=4)


def test_validation_data_is_called_so():
    with pytest.raises(ShapeError, match=r"^validation x has 3 rows; got validation y \(2,\)"):
        targets([1, 2], 3, "validation y")
    with pytest.raises(DataError, match=r"^validation y\[0\] is None"):
        targets([None, "a"], 2, "validation y")
    with pytest.raises(ShapeError, match=r"^validation x is .* A single row is x\[None, :\]"):
        table([1.0], name="validation x")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ([[1.0], [1.0]], r"is \(n,\), one number a row; got \(2, 1\)"),
        ([1.0, -2.0], r"sample_weight\[1\] is -2.0; weights are not negative"),
        ([0, 0], "sample_weight is all zeros"),
        ([1.0], r"x has 2 rows; got sample_weight \(1,\)"),
        ("balanced", "sample_weight is a str"),
        (["a", "b"], r"sample_weight\[0\] is 'a'"),
        ([None, 1.0], r"sample_weight\[0\] is None"),
        (np.zeros(2, "M8[s]"), "sample_weight holds datetime64"),
        ([1.0, 1e-31], "more than 30 powers of ten"),
    ],
)
def test_what_are_no_weights(given, words):
    with pytest.raises(PortableNNError, match=words):
        weights(given, 2)


def test_weights_are_relative():
    np.testing.assert_array_equal(weights(objects([1, np.float32(4.0)]), 2), [0.25, 1.0])
    np.testing.assert_array_equal(weights(None, 2), [1.0, 1.0])


# -- results in the kind of the data -------------------------------------------------------

EXACT = """
import warnings, numpy as np, jax.numpy as jnp
from portable_nn.checks import like
x = jnp.ones(1)
big, small = np.array([2**31, 5]), np.array([2**31 - 1, 5])
with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # jax says that it cuts
    assert like(x, big) is big, "not held exactly"
    found = like(x, small)
assert not isinstance(found, np.ndarray) and found.tolist() == small.tolist()
"""


def test_what_a_library_cannot_hold_stays_with_numpy():
    pytest.importorskip("jax")
    assert fresh.run("-c", EXACT, JAX_ENABLE_X64="0")[::2] == (0, "")


def test_text_and_what_came_from_numpy_stay():
    text, numbers = np.array(["a"]), np.array([1.0])
    assert like(array_api_strict.ones(1), text) is text
    assert like([1.0], numbers) is numbers
    assert isinstance(like(array_api_strict.ones(1), numbers), type(array_api_strict.ones(1)))


# -- single values -------------------------------------------------------------------------


def test_whole_numbers_and_flags():
    assert type(count(np.int8(3), "epochs")) is int
    for value in (0, True, 1.0, "3", None, np.ones(200)):
        with pytest.raises(DataError, match="epochs is a whole number, 1 or more; got ") as caught:
            count(value, "epochs")
        assert len(str(caught.value)) < 120
    for value in (-1, True, 0.0, None):
        with pytest.raises(DataError, match="seed is a whole number, 0 or more; got "):
            seed(value)
    seed(np.uint64(0))
    for value in (True, np.False_):
        flag(value, "shuffle")
    for value in ("no", 1, None, np.array([True])):
        with pytest.raises(DataError, match="shuffle is True or False; got "):
            flag(value, "shuffle")


@pytest.mark.parametrize(
    ("given", "names", "what", "words"),
    [
        (
            CrossEntropy,
            LOSSES,
            "loss",
            r"a Loss object; got <class .* Did you mean CrossEntropy\(\)\?$",
        ),
        ("MeanSquaredError", LOSSES, "loss", "Did you mean 'mean_squared_error'"),
        ("crossentropy", LOSSES, "loss", "Did you mean 'cross_entropy'"),
        ("ranking", LOSSES, "loss", r"got 'ranking'\.$"),
        (Adam, OPTIMIZERS, "optimizer", r"an Optimizer object; .*Did you mean Adam\(\)\?$"),
        ("adma", OPTIMIZERS, "optimizer", "Did you mean 'adam'"),
        (3, OPTIMIZERS, "optimizer", r"got 3\.$"),
        (list(range(900)), OPTIMIZERS, "optimizer", r"got \[0, 1, .*\.$"),
    ],
)
def test_what_is_no_name(given, names, what, words):
    with pytest.raises(NetworkError, match=words) as caught:
        named(given, names, what)
    assert len(str(caught.value)) < 160 + len(", ".join(names))
    assert isinstance(named("adam", OPTIMIZERS, "optimizer"), Adam)


def test_what_is_shown_is_short():
    assert brief(np.zeros((9, 9))) == brief(np.zeros((9, 9)))[:60]
    assert "\n" not in brief(np.zeros((9, 9)))
    assert brief("ant") == "'ant'"


@pytest.mark.parametrize(
    ("make", "hint"),
    [
        (lambda: pnn.mlp([3], outputs=1, activation="swish"), "Did you mean 'silu'"),
        (lambda: losses.as_loss("MSE"), "Did you mean 'mean_squared_error'"),
        (lambda: losses.as_loss(pnn.Huber), r"Did you mean Huber\(\)"),
        (lambda: pnn.Dense(3, weight="he_normal"), "Did you mean pnn.initializers.he_normal, wi"),
        (lambda: pnn.Dense(3, bias="zeros"), "pnn.initializers.zeros, without quotes"),
        (lambda: pnn.Scaled("glorot_uniform", 2), "pnn.initializers.glorot_uniform, without"),
        (lambda: pnn.Scaled(pnn.he_normal, "selu"), "pnn.gain"),
        (lambda: pnn.LayerNorm(32), "as epsilon; got 32. The number of features comes from"),
        (lambda: pnn.RMSNorm(32), "as epsilon; got 32. The number of features comes from"),
        (lambda: pnn.BatchNorm(32), "as momentum; got 32. The number of features comes from"),
    ],
)
def test_what_other_libraries_take_is_recognised(make, hint):
    with pytest.raises(pnn.NetworkError, match=hint):
        make()
