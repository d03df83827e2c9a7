"""Schedules made of other ones."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from portable_nn.errors import NetworkError
from portable_nn.schedules._values import Rate, check_value, part_at, positive, real


@dataclass(frozen=True)
class Warmup:
    """A straight ramp over the first ``epochs``, then the learning rate ``then``.

    The ramp goes from one hundredth of its end (at 0 the first batch would be lost) up to the
    value that ``then`` has at ``epochs``. ``then`` is a number or a schedule; a schedule is
    asked with the epoch counted from the start of the training, warm-up included:
    ``Warmup(5, CosineDecay(0.1, 30))`` ends at epoch 30.
    Source: Goyal et al. 2017, section 2.2 (their ramp starts at the rate of one worker).
    """

    epochs: float
    then: Rate

    def __post_init__(self) -> None:
        positive(self, "epochs")
        check_value(self, "then")

    def __call__(self, epoch: float) -> float:
        if epoch >= self.epochs:
            return part_at(self.then, epoch)
        return part_at(self.then, self.epochs) * (0.01 + 0.99 * epoch / self.epochs)


def _pair_up(owner: object, values: str, ends: str) -> None:
    """Make two fields tuples, and check that ``values`` has one entry more than ``ends``."""
    for name in (values, ends):
        given = getattr(owner, name)
        if not isinstance(given, Sequence) or isinstance(given, str):
            raise NetworkError(f"{type(owner).__name__} takes a list as {name}; got {given!r:.60}.")
        object.__setattr__(owner, name, tuple(given))
    counts = len(getattr(owner, values)), len(getattr(owner, ends))
    if counts[0] != counts[1] + 1:
        raise NetworkError(
            f"{type(owner).__name__} takes one more of {values} than of {ends}, as the last goes "
            f"on for ever; got {counts[0]} and {counts[1]}."
        )


@dataclass(frozen=True)
class PiecewiseConstant:
    """The first of ``rates`` up to the first of ``boundaries``, then the second, and so on.

    ``boundaries`` are epochs, from each of which on the later rate holds:
    ``PiecewiseConstant([0.1, 0.01, 0.001], [30, 60])``.
    PyTorch's ``MultiStepLR`` multiplies by one factor at each of its ``milestones``; Keras's
    ``PiecewiseConstantDecay`` keeps the earlier rate for the update at a boundary.
    """

    rates: Sequence[float]
    boundaries: Sequence[float]

    def __post_init__(self) -> None:
        _pair_up(self, "rates", "boundaries")
        for rate in self.rates:
            if not 0.0 <= real(rate) < math.inf:
                raise NetworkError(
                    f"PiecewiseConstant takes finite numbers, 0 or more, as rates; "
                    f"got {rate!r:.60} (for other schedules: Chain)."
                )
        for before, after in pairwise([0.0, *self.boundaries, math.inf]):
            if not real(before) < real(after):
                raise NetworkError(
                    f"PiecewiseConstant takes rising numbers above 0 as boundaries; "
                    f"got {self.boundaries!r:.60}."
                )

    def __call__(self, epoch: float) -> float:
        return float(self.rates[bisect_right(self.boundaries, epoch)])


@dataclass(frozen=True)
class Chain:
    """One schedule after another, each counted from its own beginning.

    Each of ``schedules`` lasts as many epochs as its entry in ``lengths``; the last goes on for
    ever, and has none: ``Chain([ConstantRate(0.1), CosineDecay(0.1, 20)], [10])``. A number does
    for a constant one. ``Warmup`` counts what follows it from the start of the training instead.
    optax's ``join_schedules`` counts alike, but is told where each begins; PyTorch's
    ``SequentialLR`` too (``milestones``).
    """

    schedules: Sequence[Rate]
    lengths: Sequence[float]

    def __post_init__(self) -> None:
        _pair_up(self, "schedules", "lengths")
        for schedule in self.schedules:
            fixed = not callable(schedule) or isinstance(schedule, type)
            if fixed and not 0.0 <= real(schedule) < math.inf:
                raise NetworkError(
                    f"Chain takes schedules such as CosineDecay(0.1, epochs=30), and numbers, 0 or "
                    f"more, as schedules; got {schedule!r:.60}."
                )
        for length in self.lengths:
            if not 0.0 < real(length) < math.inf:
                raise NetworkError(
                    f"Chain takes numbers of epochs above 0 as lengths; got {length!r:.60}."
                )

    def __call__(self, epoch: float) -> float:
        for schedule, length in zip(self.schedules, self.lengths, strict=False):
            if epoch < length:
                return part_at(schedule, epoch)
            epoch -= length
        return part_at(self.schedules[-1], epoch)
