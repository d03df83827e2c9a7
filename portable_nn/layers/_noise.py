"""Layers that are random in training and nothing else otherwise."""

from __future__ import annotations

from dataclasses import dataclass

from portable_nn import kernels
from portable_nn.errors import NetworkError
from portable_nn.plan import PlanBuilder
from portable_nn.schedules import real


@dataclass(frozen=True)
class Dropout:
    """In training, zero each element with probability ``rate``, scale the rest by 1/(1-rate).

    The mask depends on seed, layer, update and row only, so it is the same on every backend.
    Source: Srivastava et al. 2014, in the inverted form that leaves prediction unchanged.
    """

    rate: float

    def __post_init__(self) -> None:
        if not 0.0 <= real(self.rate) < 1.0:
            raise NetworkError(
                f"Dropout takes a rate from 0 up to, not with, 1; got {self.rate!r:.60}."
            )

    def forward(self, builder: PlanBuilder, x: str, mode: str) -> str:
        if mode != "train" or self.rate == 0.0:
            return x
        return builder.call(kernels.multiply, x, builder.draw("dropout", x, self.rate))
