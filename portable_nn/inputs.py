"""The door for ``x``: one table, rows of any shape, or several inputs by name.

Host side. Behind it there is one table (n, features), with the inputs side by side.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from portable_nn import checks
from portable_nn.arrays import brief, numeric
from portable_nn.errors import DataError, NetworkError, ShapeError
from portable_nn.pieces import flat_pieces
from portable_nn.plan import Plan

if TYPE_CHECKING:
    from portable_nn.typing import HostArray

Features = int | Mapping[str, int]
"""Columns of the table, or of each named input in the order in which they stand in it."""


def check_features(features: Any) -> Features:
    """A whole number, 1 or more, or one by name."""
    if not isinstance(features, Mapping):
        return checks.count(features, "features")
    _check_names(features, "features")
    return {name: checks.count(width, f"features[{name!r}]") for name, width in features.items()}


def total(features: Features) -> int:
    """Columns of the table."""
    return sum(_widths(features))


def _widths(features: Features) -> list[int]:
    return list(features.values()) if isinstance(features, Mapping) else [features]


@dataclass(frozen=True)
class Block:
    """One input: what errors call it, its columns ``start`` to ``stop``, its shape as given."""

    name: str
    start: int
    stop: int
    shape: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Given:
    """``x`` as it was read: the table (n, features), and which inputs it is made of.

    The rows of one input keep their shape in ``table``, as they may lie apart in a file.
    ``whole`` (features,) marks the columns of named inputs that are of an integer dtype.
    """

    table: HostArray
    features: Features
    blocks: tuple[Block, ...]
    whole: HostArray

    def check(self, plan: Plan, features: Features) -> None:
        """Compare with what the plan takes, of a network with these features."""
        start = 0
        for block, width in zip(self.blocks, _widths(features), strict=True):
            if len(block.shape) > 1 and (start, start + width) not in plan.flattened:
                checks.two_axes(block.shape, block.name, ", or begin with the layer Flatten()")
            checks.width(block.shape, width, block.name)
            start += width
        for (start, stop), categories in plan.codes.items():
            self._check_codes(start, stop, categories)

    def codes(self, plan: Plan) -> HostArray:
        """Which columns (features,) are no quantities, so that their size says nothing."""
        found = self.whole.copy()
        for start, stop in plan.codes:
            found[start:stop] = True
        return found

    def _check_codes(self, start: int, stop: int, categories: int) -> None:
        for first, rows in flat_pieces(self.table):
            codes = rows[:, start:stop]
            wrong = (codes < 0) | (codes >= categories) | (codes != np.rint(codes))
            if wrong.any():
                row, column = np.argwhere(wrong)[0].tolist()
                raise DataError(
                    f"{self.place(first + row, start + column)} is {codes[row, column]}; "
                    f"Embedding takes whole numbers there, 0 to {categories - 1}."
                )

    def place(self, row: int, column: int) -> str:
        """What errors call a number of the table."""
        block = next(block for block in self.blocks if column < block.stop)
        index = np.unravel_index(column - block.start, block.shape[1:])
        return f"{block.name}{[row, *map(int, index)]}"


WORKSPACE = 2**28
"""Numbers that a call of a training step may form on the way."""


def check_workspace(plan: Plan, rows: int) -> None:
    """Refuse what is too large to be trained with batches of so many rows."""
    sizes = {"n": rows, "rows": rows}
    for call in plan.calls:
        if call.kernel.workspace is None:
            continue
        size = call.kernel.workspace(*[plan.buffers[name].bound(sizes) for name in call.inputs])
        if size > WORKSPACE:
            output = call.outputs[0]
            raise NetworkError(
                f"a batch of {rows} rows makes {call.kernel.name} form {size:,} numbers for "
                f"{output} {plan.buffers[output].bound(sizes)}, more than {WORKSPACE:,}. Take a "
                f"smaller batch_size; of a table, put rare categories together, or freeze it."
            )


def read_inputs(
    x: Any, features: Features | None = None, name: str = "x", copy: bool = False
) -> Given:
    """``x`` as a table of finite numbers; see ``arrays.read`` for ``copy``.

    Its inputs are in the order of ``features``, if these are known.
    """
    names: list[str] | None = None
    if isinstance(x, Mapping):
        names = _names(x, features, name)
    elif isinstance(features, Mapping):
        raise DataError(
            f"the network takes inputs by name, {_wanted(features)}; got {name} "
            f"({type(x).__name__}) without names."
        )
    parts = [(name, x)] if names is None else [(f"{name}[{key!r}]", x[key]) for key in names]
    blocks: list[Block] = []
    tables: list[HostArray] = []
    for label, part in parts:
        host = checks.array(part, label, copy)
        if host.ndim < 2 and (names is None or host.ndim == 0):
            checks.two_axes(host.shape, label)
        host = numeric(checks.not_empty(host, label), label, part)
        tables.append(host)
        start = blocks[-1].stop if blocks else 0
        blocks.append(Block(label, start, start + math.prod(host.shape[1:]), host.shape))
    if features is not None:
        for block, width in zip(blocks, _widths(features), strict=True):
            if len(block.shape) == 1:  # it may be one row: before rows are compared
                checks.width(block.shape, width, block.name)
    if len({len(table) for table in tables}) > 1:
        counts = ", ".join(f"{block.name} {block.shape[0]}" for block in blocks)
        raise ShapeError(f"inputs have as many rows as each other; got {counts}.")
    widths = [block.stop - block.start for block in blocks]
    whole = [names is not None and table.dtype.kind in "iu" for table in tables]
    return Given(
        tables[0] if len(tables) == 1 else _side_by_side(tables),
        widths[0] if names is None else dict(zip(names, widths, strict=True)),
        tuple(blocks),
        np.repeat(whole, widths),
    )


def _side_by_side(tables: list[HostArray]) -> HostArray:
    return np.concatenate([table.reshape(len(table), -1) for table in tables], axis=1)


def _names(x: Mapping[str, Any], features: Features | None, name: str) -> list[str]:
    """The names of the inputs, in the order in which they are to stand."""
    _check_names(x, name)
    if features is None:
        return list(x)
    if not isinstance(features, Mapping):
        raise DataError(
            f"the network takes one table (n, {features}); got {name} with inputs by name: "
            f"{', '.join(x)}."
        )
    missing, unknown = [k for k in features if k not in x], [k for k in x if k not in features]
    if missing or unknown:
        said = [
            f"{what} {', '.join(map(repr, keys))}"
            for what, keys in {"lacks": missing, "has the unknown": unknown}.items()
            if keys
        ]
        raise DataError(f"the network takes {_wanted(features)}; {name} {' and '.join(said)}.")
    return list(features)


def _wanted(features: Mapping[str, int]) -> str:
    return "{" + ", ".join(f"{name!r}: (n, {width})" for name, width in features.items()) + "}"


def _check_names(given: Mapping[Any, Any], name: str) -> None:
    if not given or not all(isinstance(key, str) for key in given):
        raise DataError(f"{name} has an input under each name, which is text; got {brief(given)}.")
