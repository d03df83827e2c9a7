"""Columns of different units on one scale: mean 0 and standard deviation 1."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from portable_nn.errors import DataError
from portable_nn.pieces import flat_pieces

if TYPE_CHECKING:
    from portable_nn.typing import HostArray


@dataclass(frozen=True, eq=False)
class Scaling:
    """``(value - mean) / deviation`` for each column, in float64 on the host.

    ``mean`` and ``deviation`` are (k,) float64, for tables (n, k). A column of yes and no (0
    and 1 alone) stays as it is; one that is constant, but for rounding, becomes 0.
    """

    mean: HostArray
    deviation: HostArray

    def __post_init__(self) -> None:
        vectors = self.mean.ndim == 1 and self.mean.shape == self.deviation.shape
        sound = np.isfinite(self.mean) & np.isfinite(self.deviation) & (self.deviation > 0.0)
        if not (vectors and sound.all()):
            raise DataError("a scaling is a finite mean and a deviation above 0 for each column.")

    @classmethod
    def learn(cls, table: HostArray, kept: HostArray | None = None) -> Scaling:
        """From finite rows (n, any, shape); the deviation is that of these rows (divided by n).

        Columns marked in ``kept`` (k,) stay as they are.
        """
        origin = table[0].astype(np.float64).ravel()
        # Distances from the first row, halved and by their largest: no size is lost or overflows.
        spread, size, binary = _extents(table, origin)
        spread[spread == 0.0] = 1.0
        average = _mean(table, lambda rows: _half(rows, origin) / spread)
        shift = spread * average
        mean = origin + shift + shift
        variance = _mean(table, lambda rows: np.square(_half(rows, origin) / spread - average))
        deviation = spread * (2.0 * np.sqrt(variance))
        flat = deviation <= np.finfo(np.float64).eps * size
        deviation[flat] = np.maximum(1.0, size[flat])
        stays = binary if kept is None else binary | kept
        mean[stays], deviation[stays] = 0.0, 1.0
        return cls(mean, deviation)

    def apply(self, table: HostArray) -> HostArray:
        """(n, k) as the network is to see it, float64."""
        with np.errstate(all="ignore"):  # found where finite numbers are asked for
            found: HostArray = table - self.mean
            found /= self.deviation
            return found

    def undo(self, table: HostArray) -> HostArray:
        """(n, k) in the units that were given, in the dtype of ``table``."""
        with np.errstate(all="ignore"):
            return (table * self.deviation + self.mean).astype(table.dtype)


def _half(rows: HostArray, origin: HostArray) -> HostArray:
    """Half the distance from a row, in float64."""
    half = rows.astype(np.float64)
    half *= 0.5
    half -= 0.5 * origin
    return half


def _extents(table: HostArray, origin: HostArray) -> tuple[HostArray, HostArray, HostArray]:
    """Of each column: the largest halved distance, the largest size, whether all is 0 or 1."""
    spread, size = np.zeros((2, len(origin)))
    binary = np.ones(len(origin), np.bool_)
    for _, rows in flat_pieces(table):
        spread = np.maximum(spread, np.abs(_half(rows, origin)).max(axis=0))
        low, high = rows.min(axis=0).astype(np.float64), rows.max(axis=0).astype(np.float64)
        size = np.maximum(size, np.maximum(np.abs(low), np.abs(high)))
        binary &= ((rows == 0) | (rows == 1)).all(axis=0)
    return spread, size, binary


def _mean(table: HostArray, of: Callable[[HostArray], HostArray]) -> HostArray:
    """The mean of each column of ``of(rows)``."""
    total: HostArray | None = None
    for _, rows in flat_pieces(table):
        values = of(rows)
        if total is not None:
            values[0] += total  # so that all are added one after another, as in a single sum
        total = values.sum(axis=0)
    assert total is not None  # a table has rows
    return total / len(table)
