"""Scores computed on the host from predictions, by scikit-learn's definitions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from portable_nn.typing import HostArray


def accuracy(y: HostArray, predictions: HostArray) -> float:
    """Fraction of rows whose prediction is right, in every column if there are several."""
    right = y == predictions
    return float(np.mean(right if right.ndim == 1 else right.all(axis=1)))


def r2(y: HostArray, predictions: HostArray) -> float:
    """``1 - sum (y - p)^2 / sum (y - mean y)^2``, averaged over columns, in float64.

    A constant column counts 1 if predicted exactly, else 0; of a single row it is NaN.
    """
    if len(y) < 2:
        return float("nan")
    y, predictions = y.astype(np.float64), predictions.astype(np.float64)
    # Exactly as large, in units in which no square overflows or vanishes.
    unit = np.ldexp(1.0, np.frexp(np.abs(y).max(axis=0))[1] - 1)
    y = y / unit
    with np.errstate(over="ignore", under="ignore"):  # however far off, it has a score
        residual = np.sum((y - predictions / unit) ** 2, axis=0)
    total = np.sum((y - y.mean(axis=0)) ** 2, axis=0)
    constant = np.where(residual == 0.0, 1.0, 0.0)
    spread = np.where(total == 0.0, 1.0, total)
    return float(np.mean(np.where(total == 0.0, constant, 1.0 - residual / spread)))
