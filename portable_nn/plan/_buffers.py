"""The buffers of a plan, and who fills each of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from portable_nn.random import Draws
from portable_nn.typing import Shape, Sizes

if TYPE_CHECKING:
    from portable_nn.typing import HostArray

Kind = Literal["parameter", "state", "fed", "value"]
Initializer = Callable[[Draws, tuple[int, ...]], "HostArray"]


@dataclass(frozen=True)
class Initial:
    """Source of a parameter or state: its value before the first step, from stream ``stream``."""

    fill: Initializer
    stream: int = 0


@dataclass(frozen=True)
class Data:
    """Source of a fed buffer: rows the user gave (``"x"``, ``"targets"``, ``"weight"``).

    ``"rows"`` are the indices of the batch, and ``"scale"`` is one over its total weight.
    """

    field: str


@dataclass(frozen=True)
class Schedule:
    """Source of a fed 0-d buffer: hyper-parameter ``name``, one value an update."""

    name: str


@dataclass(frozen=True)
class Draw:
    """Source of a fed buffer: random numbers for ``purpose`` at ``rate`` (see ``random.py``)."""

    purpose: str
    stream: int
    rate: float


Source = Initial | Data | Schedule | Draw


@dataclass(frozen=True)
class Buffer:
    """A named array of a plan.

    Sizes are numbers or names bound later (``"n"``: rows of a step). A *parameter* and a
    *state* live from step to step, a *fed* buffer is filled by its source, a *value* is
    written by exactly one call. ``dtype`` is ``"float"`` (the plan's) or ``"index"``.
    """

    name: str
    shape: Shape
    kind: Kind
    source: Source | None = None
    dtype: Literal["float", "index"] = "float"

    def bound(self, sizes: Sizes) -> tuple[int, ...]:
        """The shape in numbers."""
        return tuple(sizes[d] if isinstance(d, str) else d for d in self.shape)
