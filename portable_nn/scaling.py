"""Columns of different units on one scale: mean 0 and standard deviation 1."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from portable_nn.errors import DataError

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
        """From finite rows (n, k); the deviation is that of these rows (divided by n).

        Columns marked in ``kept`` (k,) stay as they are.
        """
        values = table.astype(np.float64)
        # Distances from the first row, halved and by their largest: no size is lost or overflows.
        half = values / 2.0 - values[0] / 2.0
        spread = np.abs(half).max(axis=0)
        spread[spread == 0.0] = 1.0
        shift = spread * (half / spread).mean(axis=0)
        mean = values[0] + shift + shift
        deviation = spread * (2.0 * (half / spread).std(axis=0))
        size = np.abs(values).max(axis=0)
        flat = deviation <= np.finfo(np.float64).eps * size
        deviation[flat] = np.maximum(1.0, size[flat])
        binary = ((values == 0.0) | (values == 1.0)).all(axis=0)
        stays = binary if kept is None else binary | kept
        mean[stays], deviation[stays] = 0.0, 1.0
        return cls(mean, deviation)

    def apply(self, table: HostArray) -> HostArray:
        """(n, k) as the network is to see it, float64."""
        with np.errstate(all="ignore"):  # found where finite numbers are asked for
            return (table - self.mean) / self.deviation

    def undo(self, table: HostArray) -> HostArray:
        """(n, k) in the units that were given, in the dtype of ``table``."""
        with np.errstate(all="ignore"):
            return (table * self.deviation + self.mean).astype(table.dtype)
