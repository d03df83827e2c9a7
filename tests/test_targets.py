"""Labels and numbers: as the user gives them, as a loss reads them, and scored."""

import numpy as np
import pytest

from portable_nn import DataError, ShapeError
from portable_nn.metrics import accuracy, r2
from portable_nn.targets import (
    Binary,
    Labels,
    Margins,
    MeansAndVariances,
    NonNegative,
    Numbers,
    Positive,
)

GENERATOR = np.random.default_rng(3)
NAMES = np.array(["cat", "ant", "bee", "cat"])


def same(found, expected):
    expected = np.asarray(expected)
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(found, expected)


# -- numbers -------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int8, np.bool_])
def test_numbers(dtype):
    for y, k in [(np.array([1, 0, 1]), 1), (np.array([[1, 0]] * 3), 2), (np.array([[1]] * 3), 1)]:
        y = y.astype(dtype)
        kind = Numbers.learn(y, k)
        encoded = kind.encode(y)
        assert encoded.shape == (3, k)
        np.testing.assert_array_equal(kind.decode(encoded), y)
        assert kind.decode(encoded).shape == y.shape
        with pytest.raises(DataError, match="no class probabilities"):
            kind.probabilities(encoded)
    assert (Numbers.dtype, Numbers.metric) == ("float", "r2")


@pytest.mark.parametrize("y", [np.array([10.0, 30.0, 20.0]), np.array([[5, 3], [7, 3], [9, 3]])])
def test_standardized_numbers_come_back_in_their_units(y):
    kind = Numbers.learn(y, y[0].size, standardize=True)
    encoded = kind.encode(y)
    np.testing.assert_allclose(encoded.mean(0), 0.0, rtol=0.0, atol=1e-15)  # three terms near 1
    np.testing.assert_allclose(encoded.std(0), (y.reshape(3, -1).std(0) > 0), rtol=1e-15)
    # Forth and back is two roundings each way, relative to the largest number.
    np.testing.assert_allclose(kind.decode(encoded), y, rtol=0.0, atol=4e-15 * y.max())
    assert kind.decode(encoded.astype(np.float32)).dtype == np.float32
    assert kind.score(y, kind.decode(encoded)) == pytest.approx(1.0, abs=1e-14)


@pytest.mark.parametrize(
    ("y", "outputs", "kind", "words"),
    [
        (np.zeros(3), 2, ShapeError, r"must be \(n, 2\); got \(3,\)"),
        (np.zeros((3, 2)), 1, ShapeError, r"must be \(n, 1\) or \(n,\); got \(3, 2\)"),
        (np.zeros((3, 2)), 3, ShapeError, r"must be \(n, 3\); got \(3, 2\)"),
        (np.zeros((3, 1, 1)), 1, ShapeError, r"got \(3, 1, 1\)"),
        (NAMES, 1, DataError, r"numbers as y; y has dtype <U3.*cross_entropy.*y\.astype\(float\)"),
        (np.array([1 + 1j]), 1, DataError, "numbers as y; y has dtype complex128"),
    ],
)
def test_what_are_no_numbers_for_these_outputs(y, outputs, kind, words):
    with pytest.raises(kind, match=words):
        Numbers.learn(y, outputs).encode(y)


def test_numbers_of_other_data_must_have_the_same_width():
    kind = Numbers.learn(np.zeros((3, 2)), 2)
    assert kind.encode(np.ones((5, 2))).shape == (5, 2)
    with pytest.raises(ShapeError, match=r"\(n, 2\); got \(5, 1\)"):
        kind.encode(np.ones((5, 1)))


def test_numbers_are_checked_alike_wherever_they_come():
    kind = Numbers.learn(np.zeros(3), 1)
    with pytest.raises(ShapeError, match=r"the network has 1 output, so validation y .*\(3, 2\)"):
        kind.encode(np.zeros((3, 2)), "validation y")
    with pytest.raises(ShapeError, match=r"y was \(n,\) in the fit; .* give y\[:, 0\]"):
        kind.encode(np.zeros((3, 1)), "validation y")
    for y in (NAMES[:3], np.array(["1", "2", "3"]), np.zeros(3, complex)):
        with pytest.raises(DataError, match="takes numbers as y"):
            kind.score(y, np.zeros(3))


# -- labels --------------------------------------------------------------------------------

ONE_EACH = {
    "strings": (NAMES, ["ant", "bee", "cat"]),
    "bytes": (NAMES.astype("S3"), [b"ant", b"bee", b"cat"]),
    "numbers from 0": (np.array([2, 0, 1, 2]), [0, 1, 2]),
    "other numbers": (np.array([70, -5, 6, 70]), [-5, 6, 70]),
    "one missing": (np.array([2, 0, 0, 2]), [0, 1, 2]),
    "one missing at the end": (np.array([1, 0, 1, 1], dtype=np.uint8), [0, 1, 2]),
}


@pytest.mark.parametrize(("y", "classes"), ONE_EACH.values(), ids=list(ONE_EACH))
def test_labels(y, classes):
    kind = Labels.learn(y, 3)
    assert kind.classes.tolist() == classes
    codes = kind.encode(y)
    assert codes.dtype.kind == "i"
    assert codes.tolist() == [[classes.index(label)] for label in y.tolist()]
    hot = np.eye(3)[codes[:, 0]]
    same(kind.decode(hot), y)
    assert kind.probabilities(hot) is hot
    assert (Labels.dtype, Labels.metric) == ("index", "accuracy")


def test_two_labels_are_true_and_false():
    y = np.array([True, False, True])
    kind = Labels.learn(y, 2)
    assert kind.encode(y).tolist() == [[1], [0], [1]]
    same(kind.decode(np.array([[0.1, 0.9], [0.8, 0.2]])), [True, False])


def test_of_equal_outputs_the_first_class_wins():
    kind = Labels.learn(NAMES, 3)
    assert kind.decode(np.array([[0.4, 0.4, 0.2], [0.2, 0.4, 0.4]])).tolist() == ["ant", "bee"]


def test_small_integers_may_stand_for_many_classes():
    """More classes than the dtype of the labels seen can count."""
    kind = Labels.learn(np.array([0, 200], dtype=np.uint8), 300)
    assert kind.classes.tolist() == list(range(300))
    assert kind.decode(np.eye(300)[[299]]).tolist() == [299]


@pytest.mark.parametrize(
    ("y", "kind", "words"),
    [
        (
            NAMES[:, None],
            ShapeError,
            r"one a row, so y must be \(n,\); got \(4, 1\)\. Give y\[:, 0\]",
        ),
        (
            np.eye(3, dtype=int),
            ShapeError,
            r"got \(3, 3\)\. If .* one-hot, give y\.argmax\(axis=1\)",
        ),
        (np.ones((3, 3)), ShapeError, r"got \(3, 3\)\.$"),
        (np.array([0.0, 1.0, 2.0]), DataError, r"y has dtype float64: give y\.astype\(int\)\.$"),
        (np.array([0.5, 1.0]), DataError, "float64: for numbers such as 0.5 there is mean_sq"),
        (np.array([0, "a", 2], dtype=object), DataError, "y has dtype object"),
        (NAMES[:2], ShapeError, "3 outputs, one a class; y has 2 classes"),
        (np.array([0, 1, 2, 3]), ShapeError, r"y has 4 classes: 0, 1, 2, 3\. End in Dense\(4\)"),
        (np.array([-1, 0]), ShapeError, "y has 2 classes"),
        (np.array([0, 3]), ShapeError, "y has 2 classes"),
        (np.array([1, 1, 1]), DataError, "y has one class only, 1; there is nothing to learn"),
        (NAMES[:1], DataError, "y has one class only, 'cat'"),
    ],
)
def test_what_are_no_labels_for_three_outputs(y, kind, words):
    with pytest.raises(kind, match=words):
        Labels.learn(y, 3)


@pytest.mark.parametrize(
    ("known", "strange", "named"),
    [
        (NAMES, ["ant", "bear"], "bear"),
        (NAMES, ["zebra"], "zebra"),
        (NAMES, [0, 1], "0"),
        (np.array([0, 1, 2]), [1, 3], "3"),
        (np.array([0, 1, 2]), [-1], "-1"),
        (np.array([0, 1, 2]), ["0"], "0"),
        (np.array([10, 20, 30]), [10, 15], "15"),
    ],
)
def test_a_label_not_seen_is_an_error_that_names_it(known, strange, named):
    with pytest.raises(DataError, match=f"{named}.* is not among the 3 classes of the fit"):
        Labels.learn(known, 3).encode(np.array(strange))


@pytest.mark.parametrize(
    "kind", [Labels.learn(np.array([0, 1]), 2), Binary.learn(np.array([0, 1]), 1)]
)
@pytest.mark.parametrize("y", [np.array([0.5, 1.5]), np.zeros(2, "M8[s]"), np.zeros(2, complex)])
def test_what_are_no_labels_is_so_wherever_it_comes(kind, y):
    with pytest.raises(DataError, match="labels are integers or strings; y has dtype"):
        kind.score(y, np.array([0, 1]))
    with pytest.raises(DataError, match="labels are integers or strings; validation y has dtype"):
        kind.encode(y, "validation y")


def test_a_label_not_seen_is_a_row_that_is_wrong():
    assert Labels.learn(NAMES, 3).score(np.array(["bear", "ant"]), NAMES[:2]) == 0.5


def test_one_output_is_not_enough_for_labels():
    with pytest.raises(ShapeError, match=r"has 1 output, one a class; .*End in Dense\(3\)"):
        Labels.learn(NAMES, 1)


def test_what_a_message_shows_of_labels_is_short():
    for y in (np.array(["a" * 900, "b"]), np.arange(900)):
        with pytest.raises(ShapeError) as caught:
            Labels.learn(y, 3)
        assert len(str(caught.value)) < 260


# -- two classes ---------------------------------------------------------------------------

TWO = {
    "strings": (np.array(["no", "yes", "no"]), ["no", "yes"]),
    "numbers": (np.array([4, 9, 4]), [4, 9]),
    "signs": (np.array([-1.0, 1.0, -1.0]), [-1.0, 1.0]),
    "truth": (np.array([False, True, False]), [False, True]),
    "0.0 and 1.0": (np.array([1.0, 0.0, 1.0]), [0.0, 1.0]),
}


@pytest.mark.parametrize(("y", "classes"), TWO.values(), ids=list(TWO))
def test_two_classes_in_one_output(y, classes):
    kind = Binary.learn(y, 1)
    assert kind.classes.tolist() == classes
    codes = kind.encode(y)
    assert codes.tolist() == [[classes.index(label)] for label in y.tolist()]
    same(kind.decode(codes.astype(float)), y)
    chances = np.array([[0.25], [0.5], [0.75]])
    assert kind.decode(chances).tolist() == [classes[0], classes[0], classes[1]]
    expected = [[0.75, 0.25], [0.5, 0.5], [0.25, 0.75]]
    np.testing.assert_array_equal(kind.probabilities(chances), expected)
    assert (Binary.dtype, Binary.metric) == ("float", "accuracy")


@pytest.mark.parametrize("dtype", [np.int64, np.float32, np.bool_])
def test_yes_and_no_in_several_outputs(dtype):
    y = np.array([[1, 0, 0], [1, 1, 0]], dtype=dtype)
    kind = Binary.learn(y, 3)
    np.testing.assert_array_equal(kind.encode(y), y)
    chances = np.array([[0.9, 0.5, 0.1], [0.6, 0.7, 0.0]])
    same(kind.decode(chances), y)
    assert kind.probabilities(chances) is chances


def test_a_column_stays_a_column():
    y = np.array([[1], [0]])
    kind = Binary.learn(y, 1)
    same(kind.decode(kind.encode(y).astype(float)), y)
    assert kind.probabilities(np.array([[0.3]])).shape == (1, 1)


@pytest.mark.parametrize(
    ("y", "outputs", "kind", "words"),
    [
        (
            np.array(["a", "b", "c"]),
            1,
            DataError,
            "two classes; y has 3. For more there is cross_entropy",
        ),
        (np.array(["a", "a"]), 1, DataError, "y has one class only, 'a'"),
        (np.array([5, 5]), 1, DataError, "y has one class only, 5"),
        (np.array([0, 0]), 1, DataError, "y has one class only, 0"),
        (
            np.array([0.5, 1.5]),
            1,
            DataError,
            "integers or strings; .*0.5 there is mean_squared_error",
        ),
        (
            np.array([0, 1]),
            2,
            ShapeError,
            r"\(n, 2\); got \(2,\)\. .* end in Dense\(1\), or use cross_e",
        ),
        (np.zeros((2, 3)), 2, ShapeError, r"\(n, 2\); got \(2, 3\)"),
        (np.array([[0, 2]]), 2, DataError, "2.* is not among the 2 classes"),
        (
            np.array([[0.0, 0.5]]),
            2,
            DataError,
            "integers or strings; .*0.5 there is mean_squared_error",
        ),
        (np.array([["yes", "no"]]), 2, DataError, "yes.* is not among the 2 classes"),
    ],
)
def test_what_is_no_yes_or_no(y, outputs, kind, words):
    with pytest.raises(kind, match=words):
        Binary.learn(y, outputs).encode(y)


# -- scores --------------------------------------------------------------------------------


def test_accuracy_by_hand():
    assert accuracy(np.array([1, 2, 3, 4]), np.array([1, 2, 0, 0])) == 0.5
    assert accuracy(NAMES, np.array(["cat", "ant", "bee", "dog"])) == 0.75
    assert accuracy(np.array([[1, 0], [1, 1]]), np.array([[1, 0], [1, 0]])) == 0.5
    assert isinstance(accuracy(NAMES, NAMES), float)


def test_r2_by_hand():
    y = np.array([1.0, 2.0, 3.0, 6.0])  # mean 3, squares around it 4 + 1 + 0 + 9
    assert r2(y, y) == 1.0
    assert r2(y, np.full(4, 3.0)) == 0.0
    assert r2(y, np.array([1.0, 2.0, 3.0, 13.0])) == 1.0 - 49.0 / 14.0
    columns = np.stack([y, -y], axis=1)
    assert r2(columns, np.stack([y, np.full(4, -3.0)], axis=1)) == 0.5
    assert isinstance(r2(y, y), float)


def test_r2_of_a_constant_column():
    constant = np.full(3, 7.0)
    assert r2(constant, constant) == 1.0
    assert r2(constant, np.array([7.0, 7.0, 8.0])) == 0.0


@pytest.mark.parametrize("size", [1e-300, 1e300])
def test_r2_of_any_size(size):
    y = np.array([1.0, 2.0, 3.0, 6.0])
    # Scaled by no power of two: y and the predictions are rounded anew.
    found = r2(size * y, size * np.array([1.0, 2.0, 3.0, 13.0]))
    assert found == pytest.approx(1.0 - 49.0 / 14.0, rel=1e-14)
    assert r2(1e-200 * y, y) == -np.inf


def test_r2_is_summed_in_float64():
    y = (1e4 + np.arange(1000) % 2).astype(np.float32)
    found = r2(y, y + np.float32(0.25))
    assert found == 1.0 - 1000 * 0.0625 / (1000 * 0.25)  # all of it exact in float64


@pytest.mark.parametrize("kind", [Labels, Binary])
def test_the_score_of_labels_is_accuracy(kind):
    y = np.array([0, 1, 1, 0])
    assert kind.learn(y, 2 if kind is Labels else 1).score(y, np.array([0, 1, 0, 0])) == 0.75


def test_the_score_of_numbers_is_r2():
    y = GENERATOR.standard_normal((9, 2))
    assert Numbers.learn(y, 2).score(y, y / 2) == r2(y, y / 2)


def test_scores_are_those_of_scikit_learn():
    metrics = pytest.importorskip("sklearn.metrics")
    for shape in [(50,), (50, 1), (50, 3)]:
        y, predictions = GENERATOR.standard_normal((2, *shape))
        y[..., -1] = y[0, ..., -1] if len(shape) == 2 and shape[1] == 3 else y[..., -1]
        # Sums of fifty squares in another order.
        assert r2(y, predictions) == pytest.approx(metrics.r2_score(y, predictions), rel=1e-13)
    for shape in [(50,), (50, 3)]:
        y, predictions = GENERATOR.integers(0, 2, (2, *shape))
        assert accuracy(y, predictions) == metrics.accuracy_score(y, predictions)


# -- numbers of other kinds ----------------------------------------------------------------


@pytest.mark.parametrize("kind", [NonNegative, Positive])
def test_amounts_keep_their_units(kind):
    y = np.array([[1.0, 30.0], [2.0, 50.0]])
    known = kind.learn(y, 2, standardize=True)
    assert known.scaling is None
    np.testing.assert_array_equal(known.encode(y), y)
    np.testing.assert_array_equal(known.decode(y), y)
    with pytest.raises(DataError, match=r"(0 or more|above 0) as y; y\[1, 0\] is -2\.0"):
        known.encode(y * [[1.0], [-1.0]])
    NonNegative.learn(np.zeros(3), 1)
    with pytest.raises(DataError, match=r"above 0 as y; y\[0\] is 0"):
        Positive.learn(np.zeros(3, int), 1)


@pytest.mark.parametrize("standardize", [False, True])
def test_of_means_and_variances_the_means_are_predicted(standardize):
    y = np.array([[10.0, -1.0], [30.0, 1.0], [20.0, 0.5]])
    known = MeansAndVariances.learn(y, 4, standardize)
    encoded = known.encode(y)
    assert encoded.shape == (3, 2)
    outputs = np.concatenate([encoded, np.full((3, 2), 7.0)], axis=1)
    # Forth and back is two roundings each way.
    np.testing.assert_allclose(known.decode(outputs), y, rtol=1e-15, atol=1e-15)
    flat = MeansAndVariances.learn(y[:, 0], 2, standardize)
    assert flat.decode(np.zeros((3, 2))).shape == (3,)
    with pytest.raises(ShapeError, match=r"4 outputs, so y must be \(n, 2\); got \(3, 4\)"):
        known.encode(np.zeros((3, 4)))
    with pytest.raises(ShapeError, match=r"2 outputs for .*; this one has 3"):
        MeansAndVariances.learn(y, 3)


def test_margins_are_decided_at_0():
    known = Margins.learn(np.array(["no", "yes"]), 1)
    assert known.encode(np.array(["yes", "no"])).tolist() == [[1], [0]]
    assert known.decode(np.array([[0.1], [-0.1], [0.0]])).tolist() == ["yes", "no", "no"]
    with pytest.raises(DataError, match="no probabilities"):
        known.probabilities(np.zeros((3, 1)))


@pytest.mark.parametrize(
    "kind", [Numbers, NonNegative, Positive, MeansAndVariances, Labels, Binary, Margins]
)
def test_typical_targets_are_learned(kind):
    y = kind.typical(GENERATOR.standard_normal((12, 4)))
    known = kind.learn(y, 4)
    assert known.outputs == 4
    assert known.encode(y).shape == (12, kind.width(4))
