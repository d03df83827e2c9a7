"""Schedules that look at the training: ``ReduceOnPlateau``, and how one sees the history.

Such a schedule has ``follow(history)``, which returns it bound to the history of one training: a
function of the epoch as any other. Nothing is remembered but the history itself, and how far it
has been read.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from functools import reduce
from typing import Any

from portable_nn.errors import NetworkError
from portable_nn.schedules._values import positive, whole

History = Mapping[str, Sequence[float]]
"""Of one training, lists with one entry an epoch."""

_State = tuple[float, float, int, int]
"""The rate, the best metric so far, bad epochs in a row, and epochs left that do not count."""


def following(owner: Any, history: History) -> Any:
    """An optimizer whose schedules look at this history, if they look at one: have ``follow``."""

    def bound(part: Any) -> Any:
        follows = callable(getattr(part, "follow", None)) and not isinstance(part, type)
        return part.follow(history) if follows else part

    return rebuilt(owner, bound)


def rebuilt(owner: Any, change: Callable[[Any], Any]) -> Any:
    """``owner`` with parts that are changed: in fields of dataclasses, in tuples and mappings.

    ``change`` returns what it is given to leave it alone. What has no such part is left as it is.
    """
    changed = change(owner)
    if changed is not owner or isinstance(owner, type):
        return changed
    parts: dict[Any, Any] = {}
    if record := is_dataclass(owner):
        parts = {each.name: getattr(owner, each.name) for each in fields(owner) if each.init}
    elif isinstance(owner, Mapping):
        parts = dict(owner)
    elif type(owner) is tuple:
        parts = dict(enumerate(owner))
    new = {name: rebuilt(part, change) for name, part in parts.items()}
    other = {name: part for name, part in new.items() if part is not parts[name]}
    if not other:
        return owner
    if record:
        return replace(owner, **other)
    return new if isinstance(owner, Mapping) else tuple(new.values())


@dataclass(frozen=True)
class ReduceOnPlateau:
    """``rate``, times ``factor`` whenever the metric has not improved for a while.

    Each epoch whose metric is not better than the best so far is a bad one: in ``mode`` "min",
    not below ``best - threshold * |best|``, in "max" not above ``best + threshold * |best|``. The
    bad epoch number ``patience + 1`` in a row multiplies the rate by ``factor``, down to ``least``;
    then the count begins anew, after ``cooldown`` epochs in which none counts as bad.

    Parameters
    ----------
    metric
        An entry of the history; None is ``"validation_loss"``, and ``"loss"`` if there is none. In
        the open loop, append it after each epoch: ``training.history.setdefault("loss", [])``.
    mode
        ``"min"`` if less is better, ``"max"`` (``"validation_accuracy"``) if more is.

    It looks at the whole training, also as part of another schedule:
    ``Warmup(5, ReduceOnPlateau(0.1))``. Its only memory is the history; before one is known it is
    ``rate``.

    PyTorch's ``ReduceLROnPlateau`` is the same with ``eps=0`` (it leaves out steps below 1e-8) for
    metrics above 0; below 0 its threshold has the other sign. Keras's compares with
    ``best - min_delta``, and reduces one bad epoch earlier: its ``patience`` is one more.
    """

    rate: float
    factor: float = 0.1
    patience: int = 10
    threshold: float = 1e-4
    cooldown: int = 0
    least: float = 0.0
    metric: str | None = None
    mode: str = "min"

    def __post_init__(self) -> None:
        positive(self, "rate")
        positive(self, "factor", below=1.0)
        for name in ("patience", "cooldown"):
            if not whole(value := getattr(self, name), least=0):
                raise NetworkError(
                    f"ReduceOnPlateau takes a whole number of epochs, 0 or more, as {name}; "
                    f"got {value!r:.60}."
                )
        positive(self, "threshold", zero=True)
        positive(self, "least", below=self.rate, zero=True)
        if self.metric is not None and not isinstance(self.metric, str):
            raise NetworkError(
                f"ReduceOnPlateau takes the name of an entry of the history as metric, or None; "
                f"got {self.metric!r:.60}."
            )
        if self.mode not in ("min", "max"):
            raise NetworkError(f"ReduceOnPlateau takes mode='min' or 'max'; got {self.mode!r:.60}.")

    def __call__(self, epoch: float) -> float:
        return self.rate

    def follow(self, history: History) -> Callable[[float], float]:
        """The schedule of the training that has this history, as far as it is known when asked."""
        seen: Sequence[float] = ()
        last, known, state = math.nan, 0, self._first()

        def rate(epoch: float) -> float:  # asked for every batch, of what grows by epochs
            nonlocal seen, last, known, state
            values = self._measured(history)
            goes_on = values is seen and len(values) >= known
            if not goes_on or (known and values[known - 1] is not last):
                seen, known, state = values, 0, self._first()
            for last in values[known:]:
                known, state = known + 1, self._next(state, last)
            return state[0]

        return rate

    def _measured(self, history: History) -> Sequence[float]:
        known = any(len(values) for values in history.values())
        name = self.metric or ("validation_loss" if "validation_loss" in history else "loss")
        if known and self.metric is not None and name not in history:
            raise NetworkError(
                f"ReduceOnPlateau looks at {name}; the history has {', '.join(history)} (what "
                f"begins with validation_ comes from fit(..., validation=(x, y)))."
            )
        return history.get(name, ())

    def after(self, values: Sequence[float]) -> float:
        """The rate after epochs in which the metric had these values."""
        return reduce(self._next, values, self._first())[0]

    def _first(self) -> _State:
        return float(self.rate), math.inf, 0, 0

    def _next(self, state: _State, value: float) -> _State:
        """After one epoch more, in which the metric had this value."""
        rate, best, bad, rest = state
        loss = value if self.mode == "min" else -value
        known = math.isfinite(best)
        better = loss < (best * (1.0 - math.copysign(self.threshold, best)) if known else best)
        best = loss if better else best
        bad = 0 if better or rest else bad + 1
        if bad > self.patience:
            return max(rate * self.factor, self.least), best, 0, self.cooldown
        return rate, best, bad, max(rest - 1, 0)
