"""What a loss learns from: labels or numbers as the user gives them, as the plan needs them.

Host side. Each kind checks ``y`` once, turns it into a column or matrix the loss kernel
reads, and turns outputs back into what the user gave.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

import numpy as np

from portable_nn.arrays import variable
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
    def width(cls, outputs: int) -> int:
        """Of what ``encode`` gives, for a network with so many outputs."""

    @classmethod
    def typical(cls, numbers: HostArray) -> HostArray:
        """A ``y`` for so many rows and outputs, made of normal numbers (n, outputs)."""

    @classmethod
    def learn(cls, y: HostArray, outputs: int, standardize: bool = False) -> Targets:
        """Check ``y`` against a network with this many outputs; remember what decoding needs.

        ``standardize`` brings numbers to mean 0 and deviation 1 for the loss.
        """

    def encode(self, y: HostArray, name: str = "y") -> HostArray:
        """(n, k) for the loss kernel; ``y`` is checked again, as it may be other data.

        ``name`` is what errors call it.
        """

    def decode(self, outputs: HostArray) -> HostArray:
        """Predictions of the kind ``y`` had, from outputs (or probabilities) (n, outputs)."""

    def probabilities(self, outputs: HostArray) -> HostArray:
        """A column a class, in the order of ``classes``."""

    def deviations(self, outputs: HostArray) -> HostArray:
        """Of predictions, if the loss learns them: standard deviations in the units of ``y``."""

    def labels(self) -> HostArray:
        """The classes, in the order of the columns of ``probabilities``."""

    def score(self, y: HostArray, predictions: HostArray) -> float:
        """The metric, of ``y``, checked as for ``encode``, and decoded predictions.

        A label that is not among the classes is a row that is wrong.
        """


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number != 1)}"


def _check_width(y: HostArray, outputs: int, wanted: int, name: str, remedy: str = "") -> None:
    width = y.shape[1] if y.ndim == 2 else 1
    if y.ndim not in (1, 2) or width != wanted:
        raise ShapeError(
            f"the network has {_count(outputs, 'output')}, so {name} must be (n, {wanted})"
            f"{' or (n,)' if wanted == 1 else ''}; got {y.shape}.{remedy}"
        )


def _same_rank(y: HostArray, flat: bool, name: str) -> None:
    if (y.ndim == 1) != flat:
        remedy = f"{variable(name)}[:, {0 if flat else None}]"
        wanted = "(n,)" if flat else "(n, k)"
        raise ShapeError(f"y was {wanted} in the fit; got {name} {y.shape}: give {remedy}.")


def _one_a_row(y: HostArray, name: str) -> None:
    if y.ndim == 1:
        return
    remedy, code = "", variable(name)
    if y.ndim == 2 and y.shape[1] == 1:
        remedy = f" Give {code}[:, 0]."
    elif y.ndim == 2 and y.dtype.kind in "biuf" and ((y != 0).sum(axis=1) == 1).all():
        remedy = f" If they are one-hot, give {code}.argmax(axis=1)."
    raise ShapeError(f"labels are one a row, so {name} must be (n,); got {y.shape}.{remedy}")


def _are_labels(y: HostArray, name: str, kinds: str) -> None:
    """Text or whole numbers; as floats only where ``kinds`` of dtype allow them."""
    parts = y[y != np.rint(y)] if y.dtype.kind == "f" else y[:0]
    if y.dtype.kind in kinds and not parts.size:
        return
    remedy = ""
    if parts.size:
        remedy = f": for numbers such as {parts.flat[0]} there is mean_squared_error"
    elif y.dtype.kind == "f":
        remedy = f": give {variable(name)}.astype(int)"
    raise DataError(f"labels are integers or strings; {name} has dtype {y.dtype}{remedy}.")


def _same_kind(y: HostArray, classes: HostArray) -> bool:
    text = [array.dtype.kind if array.dtype.kind in "US" else "" for array in (y, classes)]
    return text[0] == text[1]


def _several(classes: HostArray) -> HostArray:
    if len(classes) < 2:
        raise DataError(f"y has one class only, {_cut(classes[0])}; there is nothing to learn.")
    return classes


def _cut(label: Any) -> str:
    return f"{label.item()!r:.60}"


def _no_numbers() -> DataError:
    return DataError("this network predicts classes, which have no deviation; see predict_proba.")


def _accuracy(y: HostArray, predictions: HostArray) -> float:
    if not _same_kind(y, predictions):
        raise DataError(f"the network predicts {predictions.dtype}; got labels {y.dtype}.")
    return accuracy(y, predictions)


def _known(y: HostArray, classes: HostArray, name: str) -> HostArray:
    """Position of each label among the classes."""
    if not _same_kind(y, classes):
        code, strange = np.zeros(y.shape, np.int64), np.ones(y.shape, np.bool_)
    else:
        code = np.searchsorted(classes, y).clip(max=len(classes) - 1)
        strange = classes[code] != y
    if strange.any():
        raise DataError(
            f"{name} has the label {_cut(y[strange][0])}, which is not among the "
            f"{len(classes)} classes of the fit, {_cut(classes[0])} to {_cut(classes[-1])}."
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

    def __post_init__(self) -> None:
        width = self.width(self.outputs)
        if self.scaling is not None and self.scaling.mean.shape != (width,):
            raise DataError(f"a scaling of {width} numbers is needed.")

    @classmethod
    def width(cls, outputs: int) -> int:
        return outputs

    @classmethod
    def typical(cls, numbers: HostArray) -> HostArray:
        return numbers[:, : cls.width(numbers.shape[1])]

    @classmethod
    def learn(cls, y: HostArray, outputs: int, standardize: bool = False) -> Numbers:
        plain = cls(outputs, y.ndim == 1)
        table = plain.encode(y)
        return replace(plain, scaling=Scaling.learn(table)) if standardize else plain

    def encode(self, y: HostArray, name: str = "y") -> HostArray:
        self._check(y, name)
        table = y.reshape(len(y), -1)
        return table if self.scaling is None else self.scaling.apply(table)

    def decode(self, outputs: HostArray) -> HostArray:
        numbers = outputs if self.scaling is None else self.scaling.undo(outputs)
        return numbers[:, 0] if self.flat else numbers

    def probabilities(self, outputs: HostArray) -> HostArray:
        raise DataError("this network predicts numbers, which have no class probabilities.")

    def deviations(self, outputs: HostArray) -> HostArray:
        raise DataError(
            "this network predicts numbers without error bars; GaussianNLL learns both."
        )

    def labels(self) -> HostArray:
        raise DataError("this network predicts numbers, which have no classes.")

    def score(self, y: HostArray, predictions: HostArray) -> float:
        self._check(y, "y")
        return r2(y, predictions)

    def _check(self, y: HostArray, name: str) -> None:
        _check_width(y, self.outputs, self.width(self.outputs), name)
        _same_rank(y, self.flat, name)
        if y.dtype.kind not in "biuf":
            raise DataError(
                f"this loss takes numbers as y; {name} has dtype {y.dtype}. Labels are for "
                f"cross_entropy; numerals in text become numbers by {variable(name)}.astype(float)."
            )


class NonNegative(Numbers):
    """Numbers that are 0 or more, counts say; they keep their units, standardized or not."""

    wanted: ClassVar[str] = "0 or more"

    @classmethod
    def typical(cls, numbers: HostArray) -> HostArray:
        return np.where(numbers > 0.0, numbers, 0.0)

    @classmethod
    def learn(cls, y: HostArray, outputs: int, standardize: bool = False) -> Numbers:
        return super().learn(y, outputs)

    def _check(self, y: HostArray, name: str) -> None:
        super()._check(y, name)
        low = self._below(y)
        if low.any():
            place = np.argwhere(low)[0].tolist()
            raise DataError(
                f"this loss takes numbers that are {self.wanted} as y; {name}{place} is "
                f"{y[tuple(place)]}. For any numbers there is mean_squared_error."
            )

    @staticmethod
    def _below(y: HostArray) -> HostArray:
        return np.asarray(y < 0)


class Positive(NonNegative):
    """Numbers above 0; they keep their units, standardized or not."""

    wanted: ClassVar[str] = "above 0"

    @classmethod
    def typical(cls, numbers: HostArray) -> HostArray:
        amounts: HostArray = np.exp(numbers)
        return amounts

    @staticmethod
    def _below(y: HostArray) -> HostArray:
        return np.asarray(y <= 0)


class MeansAndVariances(Numbers):
    """Real numbers, (n,) or (n, k), for two outputs each: all means, then what is beside them."""

    @classmethod
    def width(cls, outputs: int) -> int:
        if outputs % 2:
            raise ShapeError(
                f"this loss takes a mean and a log variance for each number, so a network with "
                f"2 outputs for (n,), 2 k for (n, k); this one has {outputs}."
            )
        return outputs // 2

    def decode(self, outputs: HostArray) -> HostArray:
        return super().decode(outputs[:, : self.width(self.outputs)])

    def deviations(self, outputs: HostArray) -> HostArray:
        found: HostArray = np.exp(0.5 * outputs[:, self.width(self.outputs) :])
        if self.scaling is not None:
            found = found * self.scaling.deviation
        return found[:, 0] if self.flat else found


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
    def width(cls, outputs: int) -> int:
        return 1

    @classmethod
    def typical(cls, numbers: HostArray) -> HostArray:
        return np.resize(np.arange(numbers.shape[1]), len(numbers))

    @classmethod
    def learn(cls, y: HostArray, outputs: int, standardize: bool = False) -> Labels:
        cls._check(y, "y")
        classes = _several(np.unique(y))
        if y.dtype.kind in "iu" and classes[0] >= 0 and classes[-1] < outputs:
            fits = outputs - 1 <= np.iinfo(y.dtype).max
            # One may be missing from the training rows.
            classes = np.arange(outputs, dtype=y.dtype if fits else np.int64)
        if len(classes) != outputs:
            known = ", ".join(map(_cut, classes[:10])) + ", ..." * (len(classes) > 10)
            raise ShapeError(
                f"the network has {_count(outputs, 'output')}, one a class; y has {len(classes)} "
                f"classes: {known}. End in Dense({len(classes)}) if these are all."
            )
        return cls(classes)

    @staticmethod
    def _check(y: HostArray, name: str) -> None:
        _one_a_row(y, name)
        _are_labels(y, name, "biuUS")

    def encode(self, y: HostArray, name: str = "y") -> HostArray:
        self._check(y, name)
        return _known(y, self.classes, name)[:, np.newaxis]

    def decode(self, outputs: HostArray) -> HostArray:
        labels: HostArray = self.classes[np.argmax(outputs, axis=1)]
        return labels

    def probabilities(self, outputs: HostArray) -> HostArray:
        return outputs

    def deviations(self, outputs: HostArray) -> HostArray:
        raise _no_numbers()

    def labels(self) -> HostArray:
        return self.classes.copy()

    def score(self, y: HostArray, predictions: HostArray) -> float:
        self._check(y, "y")
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
    border: ClassVar[float] = 0.5

    @classmethod
    def width(cls, outputs: int) -> int:
        return outputs

    @classmethod
    def typical(cls, numbers: HostArray) -> HostArray:
        return (numbers > 0.0).astype(np.int64)

    @classmethod
    def learn(cls, y: HostArray, outputs: int, standardize: bool = False) -> Binary:
        cls._check(y, outputs, "y")
        classes = np.unique(y) if y.ndim == 2 else _several(np.unique(y))
        numeric = y.dtype.kind in "biuf"
        if y.ndim == 2 and numeric and np.isin(classes, (-1, 1)).all() and classes[0] == -1:
            classes = np.array([-1, 1], dtype=y.dtype)
        elif y.ndim == 2 or (numeric and np.isin(classes, (0, 1)).all()):
            classes = np.array([0, 1], dtype=y.dtype if numeric else None)
        if len(classes) != 2:
            raise DataError(
                f"this loss takes two classes; y has {len(classes)}. For more there "
                f"is cross_entropy, with one output a class."
            )
        return cls(classes, outputs, y.ndim == 1)

    @staticmethod
    def _check(y: HostArray, outputs: int, name: str) -> None:
        remedy = " For labels (n,) end in Dense(1), or use cross_entropy." if y.ndim == 1 else ""
        _check_width(y, outputs, outputs, name, remedy)
        _are_labels(y, name, "biufUS")

    def encode(self, y: HostArray, name: str = "y") -> HostArray:
        self._check(y, self.outputs, name)
        _same_rank(y, self.flat, name)
        return _known(y, self.classes, name).reshape(len(y), -1)

    def decode(self, outputs: HostArray) -> HostArray:
        labels = self.classes[(outputs > self.border).astype(np.int64)]
        return labels[:, 0] if self.flat else labels

    def probabilities(self, outputs: HostArray) -> HostArray:
        return np.concatenate([1.0 - outputs, outputs], axis=1) if self.flat else outputs

    def deviations(self, outputs: HostArray) -> HostArray:
        raise _no_numbers()

    def labels(self) -> HostArray:
        return self.classes.copy()

    def score(self, y: HostArray, predictions: HostArray) -> float:
        self._check(y, self.outputs, "y")
        return _accuracy(y, predictions)


class Margins(Binary):
    """Two classes (n,), or yes and no (n, k), told apart by the sign of the outputs."""

    border: ClassVar[float] = 0.0

    def probabilities(self, outputs: HostArray) -> HostArray:
        raise DataError(
            "this network gives margins, which are no probabilities; see outputs, or train it with "
            "binary_cross_entropy."
        )


def class_weights(asked: Mapping[Any, float] | str, targets: Targets, y: HostArray) -> HostArray:
    """The weight of each class: what a mapping says, or ``"balanced"``, ``n / (classes * count)``.

    ``y`` are the rows of a fit, checked; errors say what does not fit together.
    """
    classes = targets.labels()
    if y.ndim > 1:
        raise DataError(
            f"class_weight is for labels (n,); y is {y.shape}. Weights of rows are sample_weight."
        )
    if isinstance(asked, str):
        counts = np.bincount(targets.encode(y)[:, 0], minlength=len(classes))
        if not counts.all():
            missing = _cut(classes[counts == 0][0])
            raise DataError(
                f"class_weight='balanced' counts the rows of each class; y has none of {missing}. "
                f"Give a number for each label."
            )
        return np.asarray(len(y) / (len(classes) * counts))
    labels = classes.tolist()
    for label in asked:
        if label not in labels:
            raise DataError(
                f"class_weight has the label {label!r:.60}, which is not among the "
                f"{len(labels)} classes of the fit, {_cut(classes[0])} to {_cut(classes[-1])}."
            )
    for label in labels:
        if label not in asked:
            raise DataError(f"class_weight has no number for the class {label!r:.60}.")
    return np.array([float(asked[label]) for label in labels])
