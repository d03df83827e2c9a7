"""What there is to learn, and how it is decided."""

import numpy as np
import pytest

from portable_nn.errors import DataError
from portable_nn.tasks import as_classes, is_classes, task_of


@pytest.mark.parametrize(
    ("y", "classes"),
    [
        (np.array(["a", "b"]), True),
        (np.array([b"a", b"b"]), True),
        (np.array([True, False]), True),
        (np.arange(20).repeat(2), True),
        (np.arange(21), False),
        (np.arange(20, dtype=np.uint8).repeat(2), True),
        (np.arange(20), False),
        (np.array([0, 0, 1]), False),
        (np.array([0, 0, 1, 1]), True),
        (np.array([0.0, 1.0]), False),
        (np.zeros((4, 2), np.int64), False),
        (np.array([["a"]]), False),
    ],
)
def test_classes(y, classes):
    assert is_classes(y) is classes


def test_whole_numbers_are_classes_whatever_their_dtype():
    found = as_classes(np.array([1.0, -2.0, 1.0]))
    assert (found.dtype, found.tolist()) == (np.int64, [1, -2, 1])
    for y in (np.array(["a", "b"]), np.array([3, 4], dtype=np.uint8)):
        assert as_classes(y) is y
    for bad in (0.5, 1e300, np.nan):
        with pytest.raises(DataError, match="classes are text or whole numbers"):
            as_classes(np.array([1.0, bad]))


X = np.zeros((8, 3))


@pytest.mark.parametrize(
    ("y", "kind", "said"),
    [
        (np.arange(8) // 2, "auto", "4 classes (whole numbers; --task regress takes them as num"),
        (np.arange(8) // 2, "classify", "4 classes"),
        (np.arange(8) // 2, "regress", "numbers to predict"),
        (np.arange(8), "auto", "numbers to predict (8 different whole numbers; --task classify ta"),
        (np.arange(8.0), "auto", "numbers to predict (8 different whole numbers; --task classify"),
        (np.arange(8.0) / 2, "auto", "numbers to predict"),
        (np.arange(8) > 3, "auto", "2 classes"),
        (np.array(list("abcdabcd")), "auto", "4 classes"),
        (np.eye(8, dtype=int), "auto", "numbers to predict (rows are one-hot; y.argmax(axis=1) ma"),
        (np.ones((8, 2)), "auto", "numbers to predict"),
        (np.arange(8)[:, None] // 2, "classify", "4 classes"),
    ],
)
def test_the_report_says_what_the_values_decided(y, kind, said):
    task = task_of(X, y, kind, of="data.npz: y")
    found = str(task)
    assert found.startswith(f"8 rows, 3 inputs, {said}")
    assert found.endswith(")") == ("(" in said)
    assert task.classes == ("classes" in said.partition("(")[0])
    assert task.outputs == (int(said[0]) if task.classes else y[0].size)


@pytest.mark.parametrize(
    ("y", "kind", "said"),
    [
        (list("abcdabcd"), "regress", "holds text, first 'a', where numbers are wanted; --task cl"),
        (
            [b"a"] * 8,
            "regress",
            "holds text, first b'a', where numbers are wanted; --task classify",
        ),
        ([["a", "b"]] * 8, "auto", "holds text, first 'a', where numbers are wanted."),
        ([1j] * 8, "auto", "holds complex128, first 1j, where numbers"),
        ([1j] * 8, "classify", "holds complex128; classes are text or whole numbers"),
        ([1.0, 0.5] * 4, "classify", "has 0.5; classes are text or whole numbers"),
        (np.eye(8), "classify", "is (8, 8); classes are one a row, (n,); if rows are one-hot, y.a"),
        (np.ones((8, 0)), "auto", "has nothing in it: (8, 0)"),
        ([5] * 8, "auto", "has one class only, 5; there is nothing to learn"),
        (["a"] * 8, "auto", "has one class only, 'a'"),
    ],
)
def test_what_cannot_be_learned_names_the_targets(y, kind, said):
    with pytest.raises(DataError) as caught:
        task_of(X, np.array(y), kind, of="data.csv: column 'kind'")
    assert str(caught.value).startswith(f"data.csv: column 'kind' {said}")
