"""The real data set that comes with the package, and cutting data into parts."""

from __future__ import annotations

import gzip
from importlib.resources import files
from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np

from portable_nn import checks
from portable_nn.arrays import read
from portable_nn.errors import DataError
from portable_nn.random import Draws

if TYPE_CHECKING:
    from portable_nn.typing import HostArray


def load_digits() -> tuple[HostArray, HostArray]:
    """UCI optical recognition of handwritten digits: 1,797 images of 8 x 8 pixels.

    Returns
    -------
    x : (1797, 64) float32 on the host, pixels from 0 (paper) to 1 (ink), row by row
    y : (1797,) int64, the digit 0 to 9

    Source: Alpaydin and Kaynak 1998, UCI repository; its test part, in the copy that
    scikit-learn bundles, CC BY 4.0 (``portable_nn/data/README.md``). Pixels there are 0 to 16.
    """
    packed = files("portable_nn").joinpath("data/digits.csv.gz").read_bytes()
    table = np.array(
        [line.split(b",") for line in gzip.decompress(packed).splitlines()], dtype=np.float64
    )
    return (table[:, :64] / 16.0).astype(np.float32), table[:, 64].astype(np.int64)


def split(
    x: Any, y: Any, *, test: float = 0.2, seed: int = 0, every_class: bool = False
) -> tuple[HostArray, HostArray, HostArray, HostArray]:
    """Cut rows at random into a training and a test part.

    Parameters
    ----------
    x, y : (n, ...)
        Arrays of any library, lists or tables.
    test
        Fraction of the rows for the test part, in (0, 1), rounded to a row.
    seed
        The rows drawn depend on it and the number of rows only.
    every_class
        A class of ``y``, (n,) labels, that only the test part got gives a row of it to the
        training part.

    Returns
    -------
    x, y, x_test, y_test
        NumPy arrays, copies, whatever was given.

    Raises
    ------
    DataError
        If something else is given, or a part would be empty.
    """
    x, y = _rows(x, "x"), _rows(y, "y")
    if len(x) != len(y):
        raise DataError(f"x and y need the same number of rows; got {len(x)} and {len(y)}.")
    if not isinstance(test, Real) or not 0.0 < test < 1.0:
        raise DataError(f"test is a fraction between 0 and 1; got {test!r:.60}.")
    checks.seed(seed)
    checks.flag(every_class, "every_class")
    held_back = round(test * len(x))
    if not 0 < held_back < len(x):
        raise DataError(f"{len(x)} rows are too few for test={test}, which leaves a part empty.")
    order = Draws(seed, "split").permutation(len(x))
    train, rest = np.split(order, [len(x) - held_back])
    if every_class:
        train, rest = _every_class(checks.targets(y, len(x)), train, rest)
    return x[train], y[train], x[rest], y[rest]


def _rows(given: Any, name: str) -> HostArray:
    """An array of any library, a list or a table, on the host; it has rows."""
    host = read(given, name)
    if host.ndim == 0:
        raise DataError(f"{name} is an array, a row for each sample; got {type(given).__name__}.")
    return host


def _every_class(y: HostArray, train: HostArray, rest: HostArray) -> tuple[HostArray, HostArray]:
    """Places of the rows of both parts, after each class has one in the first."""
    if y.ndim != 1:
        raise DataError(f"every_class is for labels, one a row, (n,); got y {y.shape}.")
    first = np.unique(y[rest], return_index=True)[1]
    alone = first[~np.isin(y[rest][first], y[train])]
    if len(alone) == len(rest):
        raise DataError("hardly a class has two rows; there is no row to test with.")
    return np.concatenate([train, rest[alone]]), np.delete(rest, alone)
