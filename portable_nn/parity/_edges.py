"""An edge sweep: the inputs of one kernel call, changed to where kernels tend to be wrong.

Each number keeps its sign, so that a kernel with a domain (a logarithm, ``v >= 0``) is not pushed
out of it; only equal numbers all have that of the largest. Whole-number inputs and 0-d ones
(hyper-parameters) stay as they are.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from portable_nn.kernels import Call
from portable_nn.parity._measure import meaning

if TYPE_CHECKING:
    from portable_nn.typing import HostArray


def edges(
    inputs: Sequence[HostArray], rows: Collection[int]
) -> Iterator[tuple[str, list[HostArray]]]:
    """Variants of the inputs of a call, each with its name in plain words.

    ``rows`` are the positions of the inputs that have the rows of the batch, see ``with_rows``.
    """
    floats = [k for k, v in enumerate(inputs) if v.dtype.kind == "f" and v.ndim and v.size]

    def changed(name: str, chosen: Collection[int]) -> list[HostArray]:
        return [CHANGES[name](v, k) if k in chosen else v for k, v in enumerate(inputs)]

    for name in CHANGES:
        yield name, changed(name, floats)
    for name in SIZES if len(floats) > 1 else ():
        for one in floats:
            yield f"{name} in input {one}", changed(name, [one])
    for name, count in {"one row": 1, "16,384 rows": 16_384}.items() if rows else ():
        yield name, [_repeated(v, count) if k in rows else v for k, v in enumerate(inputs)]


def with_rows(call: Call, inputs: Sequence[HostArray]) -> list[int]:
    """Which inputs have the rows of a batch: with twice as many the formula gives its shapes.

    And no outputs more than twice as large: in ``grad @ weight.T`` both may be equally long. Empty
    if none has rows.
    """
    if call.kernel.elementwise:
        return [k for k, v in enumerate(inputs) if v.size and v.ndim]
    tables = {k: v for k, v in enumerate(inputs) if v.ndim > 1}
    index = _alike({k: v for k, v in enumerate(inputs) if v.dtype.kind in "iu" and v.ndim == 1})
    beside = [k for k, v in tables.items() if v.shape[-2] in {len(inputs[i]) for i in index}]
    whole, alike = _alike({k: v for k, v in tables.items() if v.dtype.kind in "iu"}), _alike(tables)
    # Whole numbers first: they may be row numbers of the others.
    candidates = [index, [*index, *beside], whole, alike, alike[:1]]
    return next((found for found in candidates if found and _fits(call, inputs, found)), [])


def row_axis(array: HostArray) -> int:
    """Axis -2, or the only one."""
    return max(array.ndim - 2, 0)


# -- changes ---------------------------------------------------------------------------------


def _signed_zeros(array: HostArray, k: int) -> HostArray:
    """Zero in every third place, other ones in each input, of the sign of what was there."""
    third = np.arange(array.size).reshape(array.shape) % 3 == k % 3
    return np.where(third, np.copysign(np.zeros_like(array), array), array)


def _with(array: HostArray, place: int, number: float) -> HostArray:
    changed = array.copy()
    changed.flat[place] = math.copysign(number, changed.flat[place])
    return changed


CHANGES: Mapping[str, Callable[[HostArray, int], HostArray]] = {
    "large numbers": lambda array, k: array * 2.0**12,  # logits of thousands
    "tiny numbers": lambda array, k: array * 2.0**-40,  # a cube is still a normal float32
    "signed zeros": _signed_zeros,
    "ties": lambda array, k: np.copysign(np.ceil(np.abs(array)), array),
    "equal numbers": lambda array, k: np.full_like(array, array.flat[np.argmax(np.abs(array))]),
    "one NaN": lambda array, k: _with(array, k % array.size, math.nan),
    "one infinity": lambda array, k: _with(array, (-1 - k) % array.size, math.inf),
}
"""By name: the k-th input, changed."""
SIZES = ("large numbers", "tiny numbers")
"""Those that a formula may overflow with."""


def _repeated(array: HostArray, rows: int) -> HostArray:
    """So many rows: the first ones, or all again and again, each number by a factor of its own.

    If they were the same again, so would be their rounding errors in a sum, and add up.
    """
    axis = row_axis(array)
    taken: HostArray = np.take(array, np.arange(rows) % array.shape[axis], axis=axis)
    if array.dtype.kind == "f" and rows > array.shape[axis]:
        taken = taken * np.random.default_rng(0).uniform(0.5, 1.0, taken.shape)
    return taken


def _alike(inputs: Mapping[int, HostArray]) -> list[int]:
    """Those that are as long in rows as the first of them."""
    sizes = {k: v.shape[row_axis(v)] for k, v in inputs.items()}
    return [k for k, size in sizes.items() if size == next(iter(sizes.values())) > 0]


def _fits(call: Call, inputs: Sequence[HostArray], rows: Collection[int]) -> bool:
    more = [
        _repeated(v, 2 * v.shape[row_axis(v)]) if k in rows else v for k, v in enumerate(inputs)
    ]
    try:
        with np.errstate(all="ignore"):
            once, twice = [[v.shape for v in meaning(call, values)] for values in (inputs, more)]
        grown = [math.prod(b) <= 2 * math.prod(a) for a, b in zip(once, twice, strict=True)]
        declared = call.kernel.shapes(*[value.shape for value in more], **call.attributes)
        return all(grown) and twice == list(declared)
    except Exception:  # each formula's own: arrays that do not fit together
        return False
