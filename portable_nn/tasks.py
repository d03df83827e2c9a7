"""What there is to learn: inputs and targets, and whether these are classes or numbers.

Host side.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from portable_nn.errors import DataError

if TYPE_CHECKING:
    from portable_nn.tables import Columns
    from portable_nn.typing import HostArray

TASKS = ("auto", "classify", "regress")
MOST_CLASSES = 20


@dataclass(frozen=True)
class Task:
    """What to learn: inputs (n, features), targets, and how the columns of a file became inputs.

    ``note`` says why the targets are classes or numbers, where another could think otherwise.
    """

    x: HostArray
    y: HostArray
    classes: bool
    standardize: bool = True
    columns: Columns | None = None
    note: str = ""

    @property
    def outputs(self) -> int:
        """One for each class, or for each number of a row."""
        return len(np.unique(self.y)) if self.classes else self.y[:1].size

    def __str__(self) -> str:
        kind = f"{self.outputs} classes" if self.classes else "numbers to predict"
        note = f" ({self.note})" if self.note else ""
        return f"{len(self.x)} rows, {self.x.shape[1]} inputs, {kind}{note}"


def task_of(
    x: HostArray, y: HostArray, kind: str = "auto", *, of: str, columns: Columns | None = None
) -> Task:
    """What a file gives to learn, in the way that ``kind``, one of ``TASKS``, says.

    A ``DataError``, which calls the targets ``of``, if they cannot be learned in that way.
    """
    classes = is_classes(y) if kind == "auto" else kind == "classify"
    note = _note(y, classes) if kind == "auto" else ""
    y = as_classes(y, of) if classes else _as_numbers(y, of)
    task = Task(x, y, classes, columns=columns, note=note)
    if classes and task.outputs == 1:
        only = y[0].item()
        raise DataError(f"{of} has one class only, {only!r:.60}; there is nothing to learn.")
    return task


def is_classes(y: HostArray) -> bool:
    """Whether targets look like classes, one a row, rather than quantities.

    Text and booleans are classes, floats are quantities; whole numbers are classes if there
    are at most 20 different ones, each twice or more on average.
    """
    kind = y.dtype.kind
    few = kind in "iu" and len(np.unique(y)) <= min(MOST_CLASSES, len(y) / 2)
    return y.ndim == 1 and (kind in "bUS" or few)


def _note(y: HostArray, classes: bool) -> str:
    """Why targets are what their values make them, and how to have it otherwise."""
    if y.ndim == 2 and y.shape[1] > 1 and _one_hot(y):
        return "rows are one-hot; y.argmax(axis=1) makes classes of them"
    if y.ndim != 1 or y.dtype.kind not in "iuf" or (y != np.rint(y)).any():
        return ""
    if classes:
        return "whole numbers; --task regress takes them as numbers"
    return f"{len(np.unique(y))} different whole numbers; --task classify takes them as classes"


def _one_hot(y: HostArray) -> bool:
    return bool(np.isin(y, (0, 1)).all() and ((y == 1).sum(axis=1) == 1).all())


def as_classes(y: HostArray, of: str = "y") -> HostArray:
    """Targets as classes, one a row, whole numbers as int64; a ``DataError`` if they are none."""
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if y.ndim != 1:
        hint = "; if rows are one-hot, y.argmax(axis=1) has them" if y.ndim == 2 else ""
        raise DataError(f"{of} is {y.shape}; classes are one a row, (n,){hint}.")
    if y.dtype.kind in "biuUS":
        return y
    if y.dtype.kind != "f":
        raise DataError(f"{of} holds {y.dtype}; classes are text or whole numbers.")
    with np.errstate(invalid="ignore"):
        whole = y.astype(np.int64)
    if (whole != y).any():
        raise DataError(f"{of} has {y[whole != y][0]}; classes are text or whole numbers.")
    return whole


def _as_numbers(y: HostArray, of: str) -> HostArray:
    if y.size == 0:
        raise DataError(f"{of} has nothing in it: {y.shape}.")
    if y.dtype.kind in "biuf":
        return y
    what = "text" if y.dtype.kind in "US" else str(y.dtype)
    first = f"{y.flat[0].item()!r:.60}"
    hint = "; --task classify learns text" if y.ndim == 1 and what == "text" else ""
    raise DataError(f"{of} holds {what}, first {first}, where numbers are wanted{hint}.")
