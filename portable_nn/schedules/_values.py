"""Hyper-parameters: a number or a function of the epoch, checked, and asked."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import Field, field, fields
from functools import lru_cache
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


def whole(value: Any, least: int = 1) -> bool:
    """Whether it is a whole number from ``least`` to the largest size of an array's axis."""
    return (
        isinstance(value, Integral) and not isinstance(value, bool) and least <= int(value) < 2**31
    )


def _within(value: Any, below: float, zero: bool) -> bool:
    return 0.0 < real(value) < below or (zero and real(value) == 0.0)


def _wanted(below: float, zero: bool) -> str:
    if below == math.inf:
        return "a finite number, 0 or more" if zero else "a number above 0"
    return f"a number from 0 to below {below}" if zero else f"a number between 0 and {below}"


def positive(
    owner: object, name: str, below: float = math.inf, zero: bool = False, hint: str = ""
) -> None:
    """Check that a field is a number above 0 (or 0, with ``zero``), and below ``below``.

    ``hint`` ends the error.
    """
    value = getattr(owner, name)
    if not _within(value, below, zero):
        wanted = _wanted(below, zero)
        raise NetworkError(
            f"{type(owner).__name__} takes {wanted} as {name}; got {value!r:.60}.{hint}"
        )


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


def part_at(value: Rate, epoch: float) -> float:
    """What a part of a schedule gives at its own ``epoch``: any finite number.

    Which hyper-parameter it is for, and so its range, only ``value_at`` of the whole knows.
    """
    found = value(epoch) if callable(value) else value
    if not math.isfinite(real(found)):
        raise NetworkError(
            f"a schedule's value is a finite number; a part of one gave {found!r:.60} at epoch "
            f"{epoch:g} of its own."
        )
    return float(found)


def hyperparameter(default: float, below: float = math.inf, zero: bool | None = None) -> Any:
    """Make a dataclass field of a hyper-parameter: its default, and the range of its values.

    They are above 0 and below ``below``; with ``zero`` also 0; if that is None (as for learning
    rates) a schedule may give 0, but the number may not be 0.
    """
    return field(default=default, metadata={"below": below, "zero": zero})


def choice(default: Any, *others: Any) -> Any:
    """Make a dataclass field that is one of these values."""
    return field(default=default, metadata={"choices": (default, *others)})


def flag() -> Any:
    """Make a dataclass field that is False, or True."""
    return field(default=False, metadata={"choices": (True, False)})


def check_choices(owner: Any) -> None:
    """Check each ``choice`` and ``flag`` field."""
    for each in fields(owner):
        value, choices = getattr(owner, each.name), each.metadata.get("choices")
        if choices and not (isinstance(value, type(each.default)) and value in choices):
            raise NetworkError(
                f"{type(owner).__name__} takes {' or '.join(map(repr, choices))} as {each.name}; "
                f"got {value!r:.60}."
            )


def check_values(owner: Any) -> None:
    """Check each ``hyperparameter``, ``choice`` and ``flag`` field of an optimizer."""
    check_choices(owner)
    for each in _ranged(owner.__class__):
        check_value(owner, each.name, each.metadata["below"], each.metadata["zero"] is True)


def values_at(owner: Any, epoch: float) -> dict[str, float]:
    """Every ``hyperparameter`` field of an optimizer at ``epoch``, by name, as float."""
    found = {}
    for each in _ranged(owner.__class__):
        value, below = getattr(owner, each.name), each.metadata["below"]
        if callable(value):
            name, zero = f"{type(owner).__name__}'s {each.name}", each.metadata["zero"] is not False
            value = value_at(value, epoch, name, below, zero)
        found[each.name] = float(value)
    return found


@lru_cache  # it is asked at every step
def _ranged(kind: Any) -> list[Field[Any]]:
    return [each for each in fields(kind) if "below" in each.metadata]
