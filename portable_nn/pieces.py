"""Host arrays of any size, looked at a few rows at a time; and what sort of memory they lie in.

Host side. Nothing here copies an array, or forms another of its size.
"""

from __future__ import annotations

import math
import mmap
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from portable_nn.typing import HostArray

NUMBERS = 2**17
"""Numbers in a piece: a megabyte of float64, which stays in a processor's cache."""


def pieces(host: HostArray) -> Iterator[tuple[int, HostArray]]:
    """``(first row, rows)``, one piece after another."""
    if host.ndim == 0:
        yield 0, host
        return
    rows = max(1, NUMBERS // max(1, math.prod(host.shape[1:])))
    for first in range(0, len(host), rows):
        yield first, host[first : first + rows]


def flat_pieces(host: HostArray) -> Iterator[tuple[int, HostArray]]:
    """Pieces (rows, k) of rows of any shape."""
    for first, rows in pieces(host):
        yield first, rows.reshape(len(rows), -1)


def not_finite(host: HostArray) -> tuple[int, ...] | None:
    """The index of the first number that is not finite, if there is one."""
    for first, rows in pieces(host):
        finite = np.isfinite(rows)
        if not finite.all():
            index = np.argwhere(~finite)[0].tolist()
            return tuple([first + index[0], *index[1:]] if index else [])
    return None


def _owner(host: HostArray) -> tuple[Any, bool]:
    """What the memory belongs to, and whether an array on the way there may be written to."""
    found: Any = host
    writeable = False
    # Between two arrays may stand an object: NumPy's own, in as_strided and sliding windows.
    while hasattr(found, "__array_interface__"):
        writeable = writeable or (isinstance(found, np.ndarray) and found.flags.writeable)
        if getattr(found, "base", None) is None:
            break
        found = found.base
    return found, writeable


def is_mapped(host: HostArray) -> bool:
    """Whether it lies in a file that is mapped into memory."""
    return isinstance(_owner(host)[0], mmap.mmap)


def is_constant(host: HostArray) -> bool:
    """Whether no array can write to it: it is read-only, and so is all that it is a view of."""
    owner, writeable = _owner(host)
    if isinstance(owner, mmap.mmap):
        writeable = writeable or not memoryview(owner).readonly
    return not writeable and isinstance(owner, np.ndarray | mmap.mmap | bytes)
