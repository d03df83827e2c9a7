"""The rows of one epoch, in their order, cut into batches.

Orders and scales are formed on the host, for a whole epoch, and sent to the device.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from portable_nn.backend import Backend
from portable_nn.session import Rows
from portable_nn.typing import Array, Namespace

if TYPE_CHECKING:
    from portable_nn.typing import HostArray


@dataclass(frozen=True)
class Batch:
    """Which rows one run of the gradient section takes.

    ``data`` are the rows it is cut from; ``rows`` (n,) indices on the device; ``scale`` () on
    the device, one over the total weight of the whole batch; ``weight`` this part's own total
    weight; ``epoch`` the passes over the data before it, fractions included (2.3: three of
    ten batches into the third pass); ``first_row`` the place of its first row in the whole
    batch (not 0 in a micro-batch).
    """

    data: Rows
    rows: Array
    scale: Array
    weight: float
    epoch: float
    first_row: int = 0

    @property
    def n(self) -> int:
        """Number of rows."""
        return int(self.rows.shape[0])


@dataclass(frozen=True)
class Epoch:
    """One pass over the data: batches of ``size`` rows, the last one short if they do not divide.

    ``order`` (rows,) indices and ``scales`` (batches,) are on the device, ``weights`` (batches,)
    on the host.
    """

    data: Rows
    number: int
    size: int
    order: Array
    scales: Array
    weights: HostArray

    def __len__(self) -> int:
        return len(self.weights)

    def begins(self, indices: range | None = None) -> list[float]:
        """The passes over the data before each batch, or these, fractions included."""
        batches = len(self)
        return [self.number + k / batches for k in indices or range(batches)]

    def batch(self, index: int) -> Batch:
        """Batch 0, 1, ..."""
        start, weight = index * self.size, float(self.weights[index])
        rows = self.order[start : start + self.rows_of(index)]
        return Batch(self.data, rows, self.scales[index], weight, self.number + index / len(self))

    def rows_of(self, index: int) -> int:
        """Number of rows of a batch."""
        return int(min(self.size, self.order.shape[0] - index * self.size))

    def stretch(self, first: int, most: int) -> range:
        """Batches from ``first`` on, at most so many, and all of one size."""
        whole = self.order.shape[0] // self.size
        return range(first, min(first + most, whole) if first < whole else first + 1)

    def rows(self, indices: range, xp: Namespace) -> Array:
        """Indices of several batches of one size, (batches, n)."""
        start, n = indices.start * self.size, self.rows_of(indices.start)
        taken = self.order[start : start + n * len(indices)]
        found: Array = xp.reshape(taken, (len(indices), n))
        return found


def cut(
    data: Rows, number: int, size: int, order: HostArray, backend: Backend, dtype: str
) -> Epoch:
    """Cut the rows, in this order, into batches."""
    weights = np.add.reduceat(data.weight[order], np.arange(0, len(order), size))
    scales = np.divide(1.0, weights, out=np.zeros_like(weights), where=weights > 0.0)
    indices, scale = backend.asarray(order, "index"), backend.asarray(scales, dtype)
    return Epoch(data, number, size, indices, scale, weights)
