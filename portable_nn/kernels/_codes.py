"""Which of so many columns a whole number means."""

from __future__ import annotations

from portable_nn.typing import Array, Namespace


def one_hot(xp: Namespace, codes: Array, columns: int) -> Array:
    """True where a column is the code of its row: (..., 1) -> (..., columns)."""
    device = getattr(codes, "device", None)  # not every library's arrays have one
    return xp.equal(codes, xp.arange(columns, dtype=codes.dtype, device=device))
