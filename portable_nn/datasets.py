"""The real data set that comes with the package, and cutting data into parts."""

from __future__ import annotations

import gzip
from importlib.resources import files
from typing import TYPE_CHECKING

import numpy as np

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
    x: HostArray, y: HostArray, *, test: float = 0.2, seed: int = 0, every_class: bool = False
) -> tuple[HostArray, HostArray, HostArray, HostArray]:
    """Cut rows at random into a training and a test part: ``x, y, x_test, y_test``.

    ``test`` is the fraction of the rows for the test part, in (0, 1), rounded to a row. The
    rows drawn depend on the seed and the number of rows only. With ``every_class``, a class
    that only the test part got gives a row of it to the training part.
    """
    x, y = np.asarray(x), np.asarray(y)
    if len(x) != len(y):
        raise DataError(f"x and y need the same number of rows; got {len(x)} and {len(y)}.")
    if not 0.0 < test < 1.0:
        raise DataError(f"test is a fraction between 0 and 1; got {test}.")
    if not 0 < round(test * len(x)) < len(x):
        raise DataError(f"test={test} of {len(x)} rows leaves a part empty.")
    order = Draws(seed, "split").permutation(len(x))
    train, rest = np.split(order, [len(x) - round(test * len(x))])
    if every_class:
        classes, first = np.unique(y[rest], return_index=True)
        alone = first[~np.isin(classes, y[train])]
        train, rest = np.concatenate([train, rest[alone]]), np.delete(rest, alone)
        if len(rest) == 0:
            raise DataError("hardly a class has two rows; there is no row to test with.")
    return x[train], y[train], x[rest], y[rest]
