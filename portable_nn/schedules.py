"""Learning rates that change during training: functions of the epoch.

``epoch`` counts the passes over the data done so far, fractions included: before the fourth of
ten batches of the third pass it is 2.3. Any ``f(epoch) -> rate`` does where an optimizer takes a
learning rate; those that have a name stand here. All is float64 arithmetic on the host; a
function is asked at the beginning of an epoch for all its batches.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

from portable_nn.errors import NetworkError

Rate = float | Callable[[float], float]
"""A learning rate: a number, or a function of the epoch."""


def real(value: Any) -> float:
    """A real number as a float; NaN for anything else, infinity for what no float can hold."""
    if isinstance(value, bool) or not isinstance(value, Real):
        return math.nan
    try:
        return float(value)
    except OverflowError:
        return math.inf


def positive(owner: object, name: str, below: float = math.inf) -> None:
    """Check that a field is a number above 0, and below ``below``."""
    value = getattr(owner, name)
    if not 0.0 < real(value) < below:
        wanted = "a number above 0" if below == math.inf else f"a number between 0 and {below}"
        raise NetworkError(f"{type(owner).__name__} takes {wanted} as {name}; got {value!r:.60}.")


def check_rate(owner: object, name: str) -> None:
    """Check that a field is a learning rate: a number above 0, or a function of the epoch."""
    value = getattr(owner, name)
    if callable(value) and not isinstance(value, type):
        return
    if not isinstance(value, Real):
        raise NetworkError(
            f"{type(owner).__name__} takes a number above 0 as {name}, or a schedule such as "
            f"CosineDecay(0.1, epochs=30); got {value!r:.60}."
        )
    positive(owner, name)


def rate_at(rate: Rate, epoch: float) -> float:
    """The value of a learning rate at ``epoch``; a ``NetworkError`` if a schedule gives none."""
    if not callable(rate):
        return float(rate)
    try:
        value = rate(epoch)
    except NetworkError:
        raise
    except Exception as error:  # it is the user's own
        raise NetworkError(
            f"the schedule of the learning rate takes one number, the epoch with its fractions "
            f"(int(epoch) is without); at {epoch:g} it failed with {type(error).__name__}: {error}"
        ) from error
    if not 0.0 <= real(value) < math.inf:
        raise NetworkError(
            f"a learning rate is a finite number, 0 or more; the schedule gave {value!r:.60} at "
            f"epoch {epoch:g}."
        )
    return float(value)


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
