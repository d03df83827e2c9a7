"""Activations with a parameter, and those that make fewer features of many."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from portable_nn import kernels
from portable_nn.activations import Activation, Rectifier
from portable_nn.errors import NetworkError
from portable_nn.initializers import Constant
from portable_nn.plan import PlanBuilder
from portable_nn.schedules import positive, whole


@dataclass(frozen=True)
class PReLU(Rectifier, Activation):
    """``a = z`` above 0, else ``slope z``, with a learned slope for each feature.

    ``slope`` is the first value of all. Source: He et al. 2015, eq. 1, who keep weight decay off
    the slopes. PyTorch learns one for all features unless told their number; Keras begins with 0.
    """

    slope: float = 0.25

    def __post_init__(self) -> None:
        positive(self, "slope", below=1.0, zero=True, hint=" The number of features is known.")

    def forward(self, builder: PlanBuilder, x: str, mode: str) -> str:
        shape = (builder.features(x),)
        slope = builder.parameter("slope", shape, Constant(self.slope))
        return builder.call(kernels.prelu, x, slope)


def _check_divides(layer: object, pieces: int, features: int) -> None:
    if features % pieces:
        raise NetworkError(
            f"{layer!r} takes {pieces} features for each that it gives; got {features} features, "
            f"which is no multiple of {pieces}. Give the layer before it such a number of outputs."
        )


@dataclass(frozen=True)
class _Halves:
    """Base of a gate: the second half of the features for the first one."""

    kernel: ClassVar[kernels.Kernel]

    def forward(self, builder: PlanBuilder, x: str, mode: str) -> str:
        _check_divides(self, 2, builder.features(x))
        return builder.call(self.kernel, x)


class GLU(_Halves):
    """``a * sigmoid(b)``: the second half of the features, b, is the gate of the first: 2k -> k.

    The halves are those of ``torch.nn.functional.glu``. Source: Dauphin et al. 2017; a
    ``Dense(2 * k)`` before it has both of its matrices, side by side.
    """

    kernel = kernels.glu


class SwiGLU(_Halves):
    """``a * silu(b)``: as ``GLU``, with another gate. Source: Shazeer 2020.

    There the gate is written first; here it is the second half of the features, as in ``GLU``.
    """

    kernel = kernels.swiglu


@dataclass(frozen=True)
class Maxout:
    """The largest of each ``pieces`` features that stand side by side: k * pieces -> k.

    Source: Goodfellow et al. 2013; a ``Dense(k * pieces)`` before it has all of its matrices. Of
    equal ones the first has the gradient.
    """

    pieces: int = 2

    def __post_init__(self) -> None:
        if not whole(self.pieces, least=2):
            raise NetworkError(
                f"Maxout takes a number of pieces, 2 or more; got {self.pieces!r:.60}."
            )

    def forward(self, builder: PlanBuilder, x: str, mode: str) -> str:
        _check_divides(self, self.pieces, builder.features(x))
        return builder.call(kernels.maxout, x, pieces=self.pieces)
