"""A table as the layers take it, formed as its rows are asked for.

Host side. The numbers are those that converting the whole table gives.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from portable_nn.pieces import is_mapped, not_finite, pieces
from portable_nn.scaling import Scaling

if TYPE_CHECKING:
    from portable_nn.typing import HostArray


@dataclass(frozen=True, eq=False)
class Converted:
    """Finite numbers of any dtype, in another one and, with a ``scaling``, standardized.

    A table (n, k), of ``given`` rows of any shape.

    It has what is asked of data that plans gather their rows from, and ``numpy.asarray`` makes
    an array of it.
    """

    given: HostArray
    name: str
    scaling: Scaling | None = None

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.dtype(self.name)

    @property
    def shape(self) -> tuple[int, ...]:
        return len(self.given), math.prod(self.given.shape[1:])

    @property
    def ndim(self) -> int:
        return 2

    @property
    def flags(self) -> Any:
        return self.given.flags

    def __len__(self) -> int:
        return len(self.given)

    def __getitem__(self, rows: slice) -> HostArray:
        """A slice of the rows; it may be a view."""
        return self._formed(self.given[rows])

    def take(
        self, rows: HostArray, axis: int = 0, out: HostArray | None = None, mode: str = "raise"
    ) -> HostArray:
        """The rows of these numbers, as ``numpy.take`` along axis 0."""
        return self._formed(self.given[np.asarray(rows)], out)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> HostArray:
        """All rows, in memory of their own."""
        found = np.empty(self.shape, self.dtype)
        for first, rows in pieces(self.given):
            self._formed(rows, found[first : first + len(rows)])
        return found if dtype is None else found.astype(dtype, copy=False)

    def _formed(self, rows: HostArray, out: HostArray | None = None) -> HostArray:
        rows = rows.reshape(len(rows), self.shape[1])
        with np.errstate(all="ignore"):  # what is too large is found by not_finite
            if self.scaling is not None:
                rows = self.scaling.apply(rows)
            if out is None:
                return rows.astype(self.dtype, copy=False)
            np.copyto(out, rows, casting="unsafe")
            return out

    def not_finite(self) -> tuple[int, ...] | None:
        """The index of the first number that the dtype cannot hold, if there is one."""
        kind, size = self.given.dtype.kind, self.given.dtype.itemsize
        if self.scaling is None and (kind != "f" or size <= self.dtype.itemsize):
            return None
        for first, rows in pieces(self.given):
            index = not_finite(self._formed(rows))
            if index is not None:
                return first + index[0], *index[1:]
        return None

    def settled(self) -> HostArray | Converted:
        """The same numbers, to be read again and again.

        As they were given, if they are what the layers take; else converted once, but for a file
        mapped into memory, which may be larger than memory: of that, rows are converted each
        time.
        """
        flags, plain = self.given.flags, self.scaling is None and self.given.dtype == self.dtype
        if plain and flags.c_contiguous and flags.aligned:
            return self.given.reshape(self.shape)
        return self if is_mapped(self.given) else np.asarray(self)
