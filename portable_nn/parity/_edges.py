"""An edge sweep: the inputs of one kernel call, changed to where kernels tend to be wrong.

Changes keep every sign, so that a kernel with a domain (a logarithm, ``v >= 0``) is not pushed out
of it. Whole-number inputs and 0-d ones (hyper-parameters) stay as they are.
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

ROWS: Mapping[str, int] = {"one row": 1, "16,384 rows": 16_384}


def _signed_zeros(array: HostArray, k: int) -> HostArray:
    """Zero in every third place, other ones in each input, of the sign of what was there."""
    third = np.arange(array.size).reshape(array.shape) % 3 == k % 3
    return np.where(third, np.copysign(np.zeros_like(array), array), array)


def _whole(array: HostArray, k: int) -> HostArray:
    rounded: HostArray = np.copysign(np.ceil(np.abs(array)), array)
    return rounded


def _equal(array: HostArray, k: int) -> HostArray:
    return np.full_like(array, array.flat[np.argmax(np.abs(array))])


def _with(array: HostArray, place: int, number: float) -> HostArray:
    changed = array.copy()
    changed.flat[place % array.size] = math.copysign(number, changed.flat[place % array.size])
    return changed


CHANGES: Mapping[str, Callable[[HostArray, int], HostArray]] = {
    "large numbers": lambda array, k: array * 2.0**12,  # logits of thousands
    "tiny numbers": lambda array, k: array * 2.0**-40,  # a cube is still a normal float32
    "signed zeros": _signed_zeros,
    "ties": _whole,
    "equal numbers": _equal,
    "one NaN": lambda array, k: _with(array, k, math.nan),
    "one infinity": lambda array, k: _with(array, -1 - k, math.inf),
}
"""By name: the k-th input, changed."""

ONE_BY_ONE = ("large numbers", "tiny numbers")


def edges(
    inputs: Sequence[HostArray], rows: Collection[int] | None = None
) -> Iterator[tuple[str, list[HostArray]]]:
    """Variants of the inputs of a call, each with its name in plain words.

    ``rows`` are the positions of the inputs that have the rows of the batch (see ``with_rows``);
    if None, those with 2 or more axes that are as long on axis -2 as the first of them, or, where
    there is a list of row numbers, that alone.
    """
    floats = [
        k for k, array in enumerate(inputs) if array.dtype.kind == "f" and array.ndim and array.size
    ]
    for name, change in CHANGES.items():
        yield name, [change(v, k) if k in floats else v for k, v in enumerate(inputs)]
    for name in ONE_BY_ONE if len(floats) > 1 else ():
        for one in floats:
            changed = [CHANGES[name](v, k) if k == one else v for k, v in enumerate(inputs)]
            yield f"{name} in input {one}", changed
    positions = rows if rows is not None else _alike(inputs, "iu", [1]) or _alike(inputs)
    for name, count in ROWS.items() if positions else ():
        yield name, [_repeated(v, count) if k in positions else v for k, v in enumerate(inputs)]


def row_axis(array: HostArray) -> int:
    """Axis -2, or the only one."""
    return max(array.ndim - 2, 0)


def _repeated(array: HostArray, rows: int) -> HostArray:
    """So many rows: the first ones, or all again and again, each number by a factor of its own.

    If they were the same again, so would be their rounding errors in a sum, and add up.
    """
    axis = row_axis(array)
    taken: HostArray = np.take(array, np.arange(rows) % array.shape[axis], axis=axis)
    if array.dtype.kind == "f" and rows > array.shape[axis]:
        taken = taken * np.random.default_rng(0).uniform(0.5, 1.0, taken.shape)
    return taken


def _alike(
    inputs: Sequence[HostArray], kinds: str = "iuf", axes: Collection[int] = range(2, 9)
) -> list[int]:
    """Inputs of these kinds and numbers of axes, as long in rows as the first of them."""
    found = [k for k, v in enumerate(inputs) if v.dtype.kind in kinds and v.ndim in axes]
    sizes = {k: inputs[k].shape[row_axis(inputs[k])] for k in found}
    return [k for k in found if sizes[k] == sizes[found[0]] > 0]


def with_rows(call: Call, inputs: Sequence[HostArray]) -> list[int]:
    """Which inputs have the rows of a batch: with twice as many the formula gives its shapes.

    And no outputs more than twice as large: in ``grad @ weight.T`` both may be equally long. Empty
    if none has rows.
    """
    if call.kernel.elementwise:
        return [k for k, v in enumerate(inputs) if v.size and v.ndim]
    # Whole numbers first: they may be row numbers of the others.
    index, whole = _alike(inputs, "iu", [1]), _alike(inputs, "iu")
    length = {len(inputs[k]) for k in index}
    beside = [k for k, v in enumerate(inputs) if v.ndim > 1 and v.shape[-2] in length]
    candidates = [index, [*index, *beside], whole, _alike(inputs), _alike(inputs)[:1]]
    return next((found for found in candidates if found and _fits(call, inputs, found)), [])


def _fits(call: Call, inputs: Sequence[HostArray], rows: Collection[int]) -> bool:
    more = [
        _repeated(v, 2 * v.shape[row_axis(v)]) if k in rows else v for k, v in enumerate(inputs)
    ]
    try:
        with np.errstate(all="ignore"):
            once, twice = [
                [value.shape for value in meaning(call, values)] for values in (inputs, more)
            ]
        grown = [math.prod(b) <= 2 * math.prod(a) for a, b in zip(once, twice, strict=True)]
        declared = call.kernel.shapes(*[value.shape for value in more], **call.attributes)
        return all(grown) and twice == list(declared)
    except Exception:  # each formula's own: arrays that do not fit together
        return False
