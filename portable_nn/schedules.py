"""Hyper-parameters that change during training: functions of the epoch.

``epoch`` counts the passes over the data done so far, fractions included: before the fourth of
ten batches of the third pass it is 2.3. Any ``f(epoch) -> value`` does where an optimizer takes a
learning rate, or a momentum, a beta, a weight decay; those that have a name stand here, written for
learning rates. All is float64 arithmetic on the host; a function is asked at the beginning of an
epoch for all its batches.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import Field, dataclass, field, fields
from itertools import pairwise
from numbers import Integral, Real
from typing import Any

from portable_nn.errors import NetworkError

Rate = float | Callable[[float], float]
"""A learning rate or another hyper-parameter: a number, or a function of the epoch."""


def real(value: Any) -> float:
    """A real number as a float; NaN for anything else, infinity for what no float can hold."""
    if isinstance(value, bool) or not isinstance(value, Real):
        return math.nan
    try:
        return float(value)
    except OverflowError:
        return math.inf


def _within(value: Any, below: float, zero: bool) -> bool:
    return 0.0 < real(value) < below or (zero and real(value) == 0.0)


def _wanted(below: float, zero: bool) -> str:
    if below == math.inf:
        return "a finite number, 0 or more" if zero else "a number above 0"
    return f"a number from 0 to below {below}" if zero else f"a number between 0 and {below}"


def positive(owner: object, name: str, below: float = math.inf) -> None:
    """Check that a field is a number above 0, and below ``below``."""
    value = getattr(owner, name)
    if not _within(value, below, zero=False):
        wanted = _wanted(below, zero=False)
        raise NetworkError(f"{type(owner).__name__} takes {wanted} as {name}; got {value!r:.60}.")


def check_value(owner: object, name: str, below: float = math.inf, zero: bool = False) -> None:
    """Check that a field is a number above 0 (or 0, with ``zero``), or a function of the epoch."""
    value = getattr(owner, name)
    if (callable(value) and not isinstance(value, type)) or _within(value, below, zero):
        return
    hint = "" if isinstance(value, Real) else ", or a schedule such as CosineDecay(0.1, epochs=30)"
    raise NetworkError(
        f"{type(owner).__name__} takes {_wanted(below, zero)} as {name}{hint}; got {value!r:.60}."
    )


def value_at(
    value: Rate,
    epoch: float,
    name: str = "a learning rate",
    below: float = math.inf,
    zero: bool = True,
) -> float:
    """The value of a hyper-parameter at ``epoch``.

    Raises ``NetworkError`` if a schedule fails, or gives a number outside the range.
    """
    if not callable(value):
        return float(value)
    try:
        found = value(epoch)
    except NetworkError:
        raise
    except Exception as error:  # it is the user's own
        raise NetworkError(
            f"the schedule of {name} takes one number, the epoch with its fractions "
            f"(int(epoch) is without); at {epoch:g} it failed with {type(error).__name__}: {error}"
        ) from error
    if not _within(found, below, zero):
        raise NetworkError(
            f"{name} is {_wanted(below, zero)}; the schedule gave {found!r:.60} at epoch {epoch:g}."
        )
    return float(found)


def check_rate(owner: object, name: str) -> None:
    """Check that a field is a learning rate: a number above 0, or a function of the epoch."""
    check_value(owner, name)


def rate_at(rate: Rate, epoch: float) -> float:
    """The value of a learning rate at ``epoch``; a ``NetworkError`` if a schedule gives none."""
    return value_at(rate, epoch)


def hyperparameter(default: float, below: float = math.inf, zero: bool | None = None) -> Any:
    """Make a dataclass field of a hyper-parameter: its default, and the range of its values.

    They are above 0 and below ``below``; with ``zero`` also 0; if that is None (as for learning
    rates) a schedule may give 0, but the number may not be 0.
    """
    return field(default=default, metadata={"below": below, "zero": zero})


def check_values(owner: Any) -> None:
    """Check each ``hyperparameter`` field of an optimizer."""
    for each in _ranged(owner):
        check_value(owner, each.name, each.metadata["below"], each.metadata["zero"] is True)


def values_at(owner: Any, epoch: float) -> dict[str, float]:
    """Every ``hyperparameter`` field of an optimizer at ``epoch``, by name, as float."""
    found = {}
    for each in _ranged(owner):
        name, below = f"{type(owner).__name__}'s {each.name}", each.metadata["below"]
        value, zero = getattr(owner, each.name), each.metadata["zero"] is not False
        found[each.name] = value_at(value, epoch, name, below, zero)
    return found


def _ranged(owner: Any) -> list[Field[Any]]:
    return [each for each in fields(owner) if "below" in each.metadata]


@dataclass(frozen=True)
class ConstantRate:
    """Always ``rate``; a plain number does the same."""

    rate: float

    def __post_init__(self) -> None:
        positive(self, "rate")

    def __call__(self, epoch: float) -> float:
        return self.rate


@dataclass(frozen=True)
class StepDecay:
    """``rate`` times ``factor`` after every ``every`` epochs: ``rate * factor^(epoch // every)``.

    It changes between epochs only.
    """

    rate: float
    every: int
    factor: float = 0.1

    def __post_init__(self) -> None:
        positive(self, "rate")
        positive(self, "factor", below=1.0)
        if isinstance(self.every, bool) or not isinstance(self.every, Integral) or self.every < 1:
            raise NetworkError(
                f"StepDecay takes a whole number of epochs, 1 or more, as every; "
                f"got {self.every!r}."
            )

    def __call__(self, epoch: float) -> float:
        return self.rate * self.factor ** (math.floor(epoch) // self.every)


@dataclass(frozen=True)
class ExponentialDecay:
    """``rate`` times ``factor`` after every epoch: ``rate * factor^floor(epoch)``.

    It changes between epochs only; a factor of 0.95 is the annealing of many tutorials.
    PyTorch's ``ExponentialLR``, stepped once an epoch, is the same; Keras's changes with every
    update unless ``staircase=True``.
    """

    rate: float
    factor: float

    def __post_init__(self) -> None:
        positive(self, "rate")
        positive(self, "factor", below=1.0)

    def __call__(self, epoch: float) -> float:
        return self.rate * self.factor ** math.floor(epoch)


@dataclass(frozen=True)
class CosineDecay:
    """Half a cosine from ``rate`` at the start down to ``final`` after ``epochs``, then flat.

    ``final + (rate - final) * (1 + cos(pi * epoch / epochs)) / 2``, anew for every update.
    Source: Loshchilov and Hutter 2017, eq. 5, without restarts.
    """

    rate: float
    epochs: float
    final: float = 0.0

    def __post_init__(self) -> None:
        positive(self, "rate")
        positive(self, "epochs")
        if self.final != 0.0:
            positive(self, "final", below=self.rate)

    def __call__(self, epoch: float) -> float:
        done = min(epoch / self.epochs, 1.0)
        return self.final + (self.rate - self.final) * (1.0 + math.cos(math.pi * done)) / 2.0


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
        check_rate(self, "then")

    def __call__(self, epoch: float) -> float:
        if epoch >= self.epochs:
            return rate_at(self.then, epoch)
        return rate_at(self.then, self.epochs) * (0.01 + 0.99 * epoch / self.epochs)


def _values(owner: object, *names: str) -> None:
    """Check that fields are values that a schedule may give: finite numbers, 0 or more."""
    for name in names:
        value = getattr(owner, name)
        if not 0.0 <= real(value) < math.inf:
            raise NetworkError(
                f"{type(owner).__name__} takes a finite number, 0 or more, as {name}; "
                f"got {value!r:.60}."
            )


def _cosine(start: float, end: float, done: float) -> float:
    """Half a cosine from ``start`` (``done`` 0) to ``end`` (``done`` 1)."""
    return end + (start - end) * (1.0 + math.cos(math.pi * done)) / 2.0


@dataclass(frozen=True)
class PolynomialDecay:
    """From ``rate`` at the start to ``final`` after ``epochs``, then flat.

    ``final + (rate - final) * (1 - epoch / epochs)^power``, anew for every update; a straight line
    with the power 1. It may rise, and either end may be 0: ``PolynomialDecay(0.5, 10, 0.99)``.
    Keras and optax do the same, counted in updates; PyTorch's ``PolynomialLR`` ends at 0.
    """

    rate: float
    epochs: float
    final: float = 0.0
    power: float = 1.0

    def __post_init__(self) -> None:
        _values(self, "rate", "final")
        positive(self, "epochs")
        positive(self, "power")

    def __call__(self, epoch: float) -> float:
        left = 1.0 - min(epoch / self.epochs, 1.0)
        return float(self.final + (self.rate - self.final) * left**self.power)


@dataclass(frozen=True)
class InverseScaling:
    """``rate / (1 + epoch / every)^power``, anew for every update.

    With the power 1 it is a half after ``every`` epochs, and a third after twice as many. If the
    power is above 1/2 and at most 1, the sum of its rates is infinite and that of their squares is
    not: Robbins and Monro 1951.
    Keras's ``InverseTimeDecay`` has the power 1, and ``decay_steps / decay_rate`` updates in place
    of ``every``. scikit-learn's ``invscaling`` counts rows, and changes between epochs only:
    ``every=1 / rows`` has its values at whole epochs, after a first one in which it falls by the
    root of ``rows``.
    """

    rate: float
    power: float = 0.5
    every: float = 1.0

    def __post_init__(self) -> None:
        for name in ("rate", "power", "every"):
            positive(self, name)

    def __call__(self, epoch: float) -> float:
        return float(self.rate / (1.0 + epoch / self.every) ** self.power)


@dataclass(frozen=True)
class CosineRestarts:
    """Half a cosine from ``rate`` down to ``final`` in ``epochs``, again and again.

    Each period is ``period_factor`` times as long as the one before, and begins at
    ``rate_factor`` times its distance from ``final``. SGDR doubles the periods and keeps the rate.
    Source: Loshchilov and Hutter 2017, eq. 5. PyTorch's ``CosineAnnealingWarmRestarts`` has whole
    factors of the period (``T_mult``) and none of the rate; Keras's ``CosineDecayRestarts`` has
    both (``t_mul``, 2 unless told otherwise, and ``m_mul``); its ``alpha`` is ``final / rate``.
    """

    rate: float
    epochs: float
    final: float = 0.0
    period_factor: float = 1.0
    rate_factor: float = 1.0

    def __post_init__(self) -> None:
        _values(self, "rate", "final")
        for name in ("epochs", "period_factor", "rate_factor"):
            positive(self, name)
        if self.period_factor < 1.0:
            raise NetworkError(
                f"CosineRestarts takes a number from 1 on as period_factor, as periods that "
                f"shrink come to an end; got {self.period_factor!r}."
            )

    def __call__(self, epoch: float) -> float:
        period, length = 0, self.epochs
        if self.period_factor == 1.0:
            period = math.floor(epoch / length)
            epoch -= period * length
        while epoch >= length:
            period, epoch, length = period + 1, epoch - length, length * self.period_factor
        peak = self.final + (self.rate - self.final) * self.rate_factor**period
        return _cosine(peak, self.final, epoch / length)


@dataclass(frozen=True)
class OneCycle:
    """Half a cosine up to ``rate``, and half a cosine down to almost nothing after ``epochs``.

    It starts at ``rate / divide``, is at ``rate`` after the share ``warmup`` of the epochs, ends at
    ``rate / divide / final_divide``, and stays there. For a momentum, which goes the other way,
    from 0.95 over 0.85 to 0.95: ``OneCycle(0.85, epochs, divide=0.85 / 0.95, final_divide=1.0)``.
    Source: Smith and Topin 2019, with the cosines of fastai. PyTorch's ``OneCycleLR`` has the same
    defaults (``pct_start``, ``div_factor``, ``final_div_factor``), counts updates, the last of
    which is at the end, and may go down in two parts (``three_phase``).
    """

    rate: float
    epochs: float
    warmup: float = 0.3
    divide: float = 25.0
    final_divide: float = 1e4

    def __post_init__(self) -> None:
        for name in ("rate", "epochs", "divide", "final_divide"):
            positive(self, name)
        positive(self, "warmup", below=1.0)

    def __call__(self, epoch: float) -> float:
        start, top = self.rate / self.divide, self.warmup * self.epochs
        if epoch < top:
            return _cosine(start, self.rate, epoch / top)
        done = min((epoch - top) / (self.epochs - top), 1.0)
        return _cosine(self.rate, start / self.final_divide, done)


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
                return rate_at(schedule, epoch)
            epoch -= length
        return rate_at(self.schedules[-1], epoch)
