"""Layers that are random in training and nothing else otherwise."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

from portable_nn import kernels
from portable_nn.plan import PlanBuilder
from portable_nn.schedules import positive


@dataclass(frozen=True)
class _Dropping(ABC):
    """Base of a layer that drops each element with probability ``rate``, in training only."""

    rate: float

    def __post_init__(self) -> None:
        positive(self, "rate", below=1.0, zero=True)

    def forward(self, builder: PlanBuilder, x: str, mode: str) -> str:
        if mode != "train" or self.rate == 0.0:
            return x
        return self.dropped(builder, x, builder.draw("dropout", x, self.rate))

    @abstractmethod
    def dropped(self, builder: PlanBuilder, x: str, mask: str) -> str:
        """Write what a mask, of 0 and ``1 / (1 - rate)``, does to x."""


class Dropout(_Dropping):
    """In training, zero each element with probability ``rate``, scale the rest by 1/(1-rate).

    The mask depends on seed, layer, update and row only, so it is the same on every backend.
    Source: Srivastava et al. 2014, in the inverted form that leaves prediction unchanged.
    """

    def dropped(self, builder: PlanBuilder, x: str, mask: str) -> str:
        return builder.call(kernels.multiply, x, mask)


class AlphaDropout(_Dropping):
    """In training, SELU's saturation instead of a number with probability ``rate``.

    All are then scaled and shifted so that mean 0 and variance 1, which SELU keeps, stay.
    The mask is that of ``Dropout``. Source: Klambauer et al. 2017, who take a rate of 0.05 or 0.1.
    """

    def dropped(self, builder: PlanBuilder, x: str, mask: str) -> str:
        return builder.call(kernels.alpha_dropout, x, mask, rate=float(self.rate))


@dataclass(frozen=True)
class GaussianNoise:
    """In training, ``x + deviation * e`` with standard normal e, new for every number and update.

    Like the mask of ``Dropout`` it depends on seed, layer, update and row only. On the inputs it
    is a penalty on slopes (Bishop 1995). The same in Keras, where ``deviation`` is ``stddev``.
    """

    deviation: float

    def __post_init__(self) -> None:
        positive(self, "deviation", zero=True)

    def forward(self, builder: PlanBuilder, x: str, mode: str) -> str:
        if mode != "train" or self.deviation == 0.0:
            return x
        return builder.call(kernels.add, x, builder.draw("noise", x, self.deviation))
