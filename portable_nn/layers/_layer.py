"""What a layer is, and layers in a row."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import is_dataclass, replace
from inspect import signature
from itertools import zip_longest
from typing import Protocol

from portable_nn.errors import NetworkError
from portable_nn.plan import PlanBuilder


class Layer(Protocol):
    """Anything with a forward formula."""

    def forward(self, builder: PlanBuilder, x: str, mode: str) -> str:
        """Write the calls that turn buffer ``x`` (n, in) into the returned buffer (n, out)."""


def chain(builder: PlanBuilder, layers: Iterable[Layer], x: str, mode: str) -> str:
    """Layer after layer, each in a scope named after its class: ``dense1``, ``relu1``, ...

    Before one that ``centers`` what it is given, a layer leaves out its bias: that would change
    nothing, and its gradient would be rounding errors.
    """
    row = list(layers)
    for layer, following in zip_longest(row, row[1:]):
        centred = getattr(following, "centers", False) and getattr(layer, "use_bias", False)
        if centred and is_dataclass(layer) and not isinstance(layer, type):
            layer = replace(layer, use_bias=False)
        with builder.scope(type(layer).__name__.lower()):
            x = layer.forward(builder, x, mode)
    return x


def check_layers(layers: object) -> tuple[Layer, ...]:
    """The layers of a network as they were given, if that is what they are."""
    if not isinstance(layers, Iterable):
        raise NetworkError(f"layers come in a list; got {layers!r:.60}.")
    found = tuple(layers)
    for layer in found:
        if isinstance(layer, type) or not _is_layer(layer):
            raise NetworkError(
                f"layers are objects, for example ReLU(), that have a "
                f"forward(builder, x, mode); got {layer!r:.60}."
            )
    return found


def _is_layer(layer: object) -> bool:
    """Whether its forward takes what this library gives; that of other libraries does not."""
    try:
        signature(layer.forward).bind("builder", "x", "mode")  # type: ignore[attr-defined]
    except (AttributeError, TypeError, ValueError):
        return False
    return True
