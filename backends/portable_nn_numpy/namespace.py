"""The namespace that meanings are run with: that of NumPy, with a faster choice of elements."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import array_api_compat.numpy
import numpy as np

BITS = {np.dtype(np.float32): np.int32, np.dtype(np.float64): np.int64}
LEAST = 4096
"""Elements from which on it pays."""


def where(condition: Any, x1: Any, x2: Any, /) -> Any:
    """``x1`` where the condition holds, else ``x2``: the same bits as those of ``numpy.where``.

    That one jumps at each element, which costs most where the condition is at random, as the signs
    of activations are; this one works on the bits of floating-point arrays of one kind.
    """
    shapes = {np.shape(x) for x in (condition, x1, x2)}
    dtypes = {getattr(x, "dtype", None) for x in (x1, x2)}
    dtype = next((kind for kind in BITS if dtypes == {kind}), None)
    chooses = getattr(condition, "dtype", None) == np.bool_
    if dtype is None or len(shapes) > 1 or not chooses or condition.size < LEAST:
        return np.where(condition, x1, x2)
    first, second = (x.view(BITS[dtype]) for x in (x1, x2))
    chosen = np.bitwise_xor(first, second)
    np.multiply(chosen, condition, chosen)
    return np.bitwise_xor(chosen, second, chosen).view(dtype)


xp = SimpleNamespace(**{**vars(array_api_compat.numpy), "where": where})
