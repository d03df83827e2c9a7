"""A running mean, taken off."""

from dataclasses import dataclass

from portable_nn import kernels
from portable_nn.initializers import zeros
from portable_nn.plan import PlanBuilder
from portable_nn.schedules import positive


@dataclass(frozen=True)
class Center:
    """``x - mean + shift``: takes a running mean of each column off, puts a learned shift on.

    The mean moves by ``momentum`` of the way to that of each batch, after the batch has used it.
    """

    momentum: float = 0.1

    def __post_init__(self) -> None:
        positive(self, "momentum", below=1.0)

    def forward(self, builder: PlanBuilder, x: str, mode: str) -> str:
        shape = (builder.features(x),)
        mean = builder.state("mean", shape, zeros)
        y = builder.call(kernels.center, x, mean, builder.parameter("shift", shape, zeros))
        if mode == "train":
            builder.carry(mean, builder.call(kernels.center_mean, mean, x, momentum=self.momentum))
        return y
