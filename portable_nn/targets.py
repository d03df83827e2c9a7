"""What a loss learns from: labels or numbers as the user gives them, as the plan needs them.

Host side. Each kind checks ``y`` once, turns it into a column or matrix the loss kernel
reads, and turns outputs back into what the user gave.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Literal, Protocol

import numpy as np

from portable_nn.errors import DataError, ShapeError
from portable_nn.metrics import accuracy, r2
from portable_nn.scaling import Scaling

if TYPE_CHECKING:
    from portable_nn.typing import HostArray


class Targets(Protocol):
    """One kind of targets, learned from the ``y`` of a fit."""

    dtype: ClassVar[Literal["float", "index"]]
    metric: ClassVar[str]

    @property
    def outputs(self) -> int:
        """Of the network that learns them."""

    @classmethod
    def learn(cls, y: HostArray, outputs: int, standardize: bool = False) -> Targets:
        """Check ``y`` against a network with this many outputs; remember what decoding needs.

        ``standardize`` brings numbers to mean 0 and deviation 1 for the loss.
        """

    def encode(self, y: HostArray) -> HostArray:
        """(n, k) for the loss kernel; ``y`` is checked again, as it may be other data."""

    def decode(self, outputs: HostArray) -> HostArray:
        """Predictions of the kind ``y`` had, from outputs (or probabilities) (n, outputs)."""

    def probabilities(self, outputs: HostArray) -> HostArray:
        """A column a class, in the order of ``classes``."""

    def labels(self) -> HostArray:
        """The classes, in the order of the columns of ``probabilities``."""

    def score(self, y: HostArray, predictions: HostArray) -> float:
        """The metric, of ``y`` and decoded predictions."""


def _width(y: HostArray, outputs: int) -> None:
    width = y.shape[1] if y.ndim == 2 else 1
    if y.ndim not in (1, 2) or width != outputs:
        raise ShapeError(
            f"the network has {outputs} outputs, so y must be (n, {outputs})"
            f"{' or (n,)' if outputs == 1 else ''}; got {y.shape}."
        )


def _same_rank(y: HostArray, flat: bool) -> None:
    if (y.ndim == 1) != flat:
        raise ShapeError(f"y was {'(n,)' if flat else '(n, k)'} in the fit; got {y.shape}.")


def _one_a_row(y: HostArray) -> None:
    if y.ndim != 1:
        raise ShapeError(f"labels are one a row, (n,); got {y.shape}.")


def _same_kind(y: HostArray, classes: HostArray) -> bool:
    text = [array.dtype.kind if array.dtype.kind in "US" else "" for array in (y, classes)]
    return text[0] == text[1]


def _several(classes: HostArray) -> HostArray:
    if len(classes) < 2:
        raise DataError(f"y has one class only, {classes[0].item()!r}; there is nothing to learn.")
    return classes


def _accuracy(y: HostArray, predictions: HostArray) -> float:
    if not _same_kind(y, predictions):
        raise DataError(f"the network predicts {predictions.dtype}; got labels {y.dtype}.")
    return accuracy(y, predictions)


def _known(y: HostArray, classes: HostArray) -> HostArray:
    """Position of each label among the classes."""
    if not _same_kind(y, classes):
        code, strange = np.zeros(y.shape, np.int64), np.ones(y.shape, np.bool_)
    else:
        code = np.searchsorted(classes, y).clip(max=len(classes) - 1)
        strange = classes[code] != y
    if strange.any():
        raise DataError(
            f"label {y[strange][0].item()!r} is not among the {len(classes)} classes of the fit, "
            f"{classes[0].item()!r} to {classes[-1].item()!r}."
        )
    return code


@dataclass(frozen=True, eq=False)
class Numbers:
    """Real numbers, (n,) or (n, k); predictions have the shape of ``y``; scored by R2.

    With a ``scaling`` the loss sees scaled numbers; predictions are in the units of ``y``.
    """

    outputs: int
    flat: bool
    scaling: Scaling | None = None
    dtype: ClassVar[Literal["float", "index"]] = "float"
    metric: ClassVar[str] = "r2"

    @classmethod
    def learn(cls, y: HostArray, outputs: int, standardize: bool = False) -> Numbers:
        plain = cls(outputs, y.ndim == 1)
        table = plain.encode(y)
        return replace(plain, scaling=Scaling.learn(table)) if standardize else plain

    def encode(self, y: HostArray) -> HostArray:
        _width(y, self.outputs)
        _same_rank(y, self.flat)
        if y.dtype.kind not in "biuf":
            raise DataError(f"this loss takes numbers as y; got dtype {y.dtype}.")
        table = y.reshape(len(y), -1)
        return table if self.scaling is None else self.scaling.apply(table)

    def decode(self, outputs: HostArray) -> HostArray:
        numbers = outputs if self.scaling is None else self.scaling.undo(outputs)
        return numbers[:, 0] if self.flat else numbers

    def probabilities(self, outputs: HostArray) -> HostArray:
        raise DataError("this network predicts numbers, which have no class probabilities.")

    def labels(self) -> HostArray:
        raise DataError("this network predicts numbers, which have no classes.")

    def score(self, y: HostArray, predictions: HostArray) -> float:
        return r2(y, predictions)


@dataclass(frozen=True, eq=False)
class Labels:
    """One class a row, integers or strings (n,); one output a class; scored by accuracy."""

    classes: HostArray
    dtype: ClassVar[Literal["float", "index"]] = "index"
    metric: ClassVar[str] = "accuracy"

    @property
    def outputs(self) -> int:
        return len(self.classes)

    @classmethod
    def learn(cls, y: HostArray, outputs: int, standardize: bool = False) -> Labels:
        _one_a_row(y)
        if y.dtype.kind not in "biuUS":
            hint = " (y.astype(int)?)" if y.dtype.kind == "f" else ""
            raise DataError(f"labels are integers or strings; got dtype {y.dtype}{hint}.")
        classes = _several(np.unique(y))
        if y.dtype.kind in "iu" and classes[0] >= 0 and classes[-1] < outputs:
            fits = outputs - 1 <= np.iinfo(y.dtype).max
            # One may be missing from the training rows.
            classes = np.arange(outputs, dtype=y.dtype if fits else np.int64)
        if len(classes) != outputs:
            known = ", ".join(map(repr, classes[:10].tolist()))
            raise ShapeError(
                f"the network has {outputs} outputs, one a class; y has {len(classes)} classes: "
                f"{known}{', ...' if len(classes) > 10 else ''}."
            )
        return cls(classes)

    def encode(self, y: HostArray) -> HostArray:
        _one_a_row(y)
        return _known(y, self.classes)[:, np.newaxis]

    def decode(self, outputs: HostArray) -> HostArray:
        labels: HostArray = self.classes[np.argmax(outputs, axis=1)]
        return labels

    def probabilities(self, outputs: HostArray) -> HostArray:
        return outputs

    def labels(self) -> HostArray:
        return self.classes.copy()

    def score(self, y: HostArray, predictions: HostArray) -> float:
        return _accuracy(y, predictions)


@dataclass(frozen=True, eq=False)
class Binary:
    """Two classes (n,) for one output, or yes and no (n, k) for k of them; accuracy.

    The larger class, or 1, is the one whose probability the output is.
    """

    classes: HostArray
    outputs: int
    flat: bool
    dtype: ClassVar[Literal["float", "index"]] = "float"
    metric: ClassVar[str] = "accuracy"

    @classmethod
    def learn(cls, y: HostArray, outputs: int, standardize: bool = False) -> Binary:
        _width(y, outputs)
        if y.dtype.kind not in "biufUS":
            raise DataError(f"labels are whole numbers or strings; got dtype {y.dtype}.")
        if y.dtype.kind == "f" and (y != np.rint(y)).any():
            raise DataError(f"labels are whole numbers or strings; y has {y[y != np.rint(y)][0]}.")
        classes = np.unique(y) if y.ndim == 2 else _several(np.unique(y))
        if y.ndim == 2 or (y.dtype.kind in "biuf" and np.isin(classes, (0, 1)).all()):
            classes = np.array([0, 1], dtype=y.dtype if y.dtype.kind in "biuf" else None)
        if len(classes) != 2:
            raise DataError(f"binary cross-entropy takes two classes; y has {len(classes)}.")
        return cls(classes, outputs, y.ndim == 1)

    def encode(self, y: HostArray) -> HostArray:
        _width(y, self.outputs)
        _same_rank(y, self.flat)
        return _known(y, self.classes).reshape(len(y), -1)

    def decode(self, outputs: HostArray) -> HostArray:
        labels = self.classes[(outputs > 0.5).astype(np.int64)]
        return labels[:, 0] if self.flat else labels

    def probabilities(self, outputs: HostArray) -> HostArray:
        return np.concatenate([1.0 - outputs, outputs], axis=1) if self.flat else outputs

    def labels(self) -> HostArray:
        return self.classes.copy()

    def score(self, y: HostArray, predictions: HostArray) -> float:
        return _accuracy(y, predictions)
