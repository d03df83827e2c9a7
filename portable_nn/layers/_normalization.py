"""Normalization: numbers brought to mean 0 and deviation 1, then scaled and shifted as learned."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from portable_nn import kernels
from portable_nn.initializers import ones, zeros
from portable_nn.plan import PlanBuilder
from portable_nn.schedules import positive

NO_SIZE = " The number of features comes from what is before it."


@dataclass(frozen=True)
class BatchNorm:
    """Every feature to mean 0 and variance 1 over the rows of the batch, then scale and shift.

    In training, ``scale (x - mean) / sqrt(variance + epsilon) + shift`` with mean and biased
    variance of the batch. Averages of these move along at every gradient,
    ``average <- (1 - momentum) average + momentum value``, of the unbiased variance; predictions
    and validation use them. Source: Ioffe & Szegedy 2015.

    A batch has two rows or more; one that is taken in parts has mean and variance of each part.
    Sample weights do not enter them. A ``Dense`` directly before has no bias, whatever its
    ``use_bias`` says: the mean would take it off.

    ``momentum`` is PyTorch's; that of Keras is 1 minus it (0.99 there, 0.01 here), and Keras
    averages the biased variance and has ``epsilon=1e-3``.

    Parameters
    ----------
    momentum
        Weight of a new batch in the averages, below 1.
    epsilon
        Added to the variance.
    """

    momentum: float = 0.1
    epsilon: float = 1e-5
    centers: ClassVar[bool] = True

    def __post_init__(self) -> None:
        positive(self, "momentum", below=1.0, hint=NO_SIZE)
        positive(self, "epsilon", below=1.0, hint=NO_SIZE)

    def forward(self, builder: PlanBuilder, x: str, mode: str) -> str:
        shape, epsilon = (builder.features(x),), float(self.epsilon)
        old = builder.state("mean", shape, zeros), builder.state("variance", shape, ones)
        if mode == "train":
            normal, _, *new = builder.emit(
                kernels.standardize_batch, x, *old, momentum=float(self.momentum), epsilon=epsilon
            )
            for state, value in zip(old, new, strict=True):
                builder.carry(state, value)
        else:
            normal = builder.call(kernels.standardize_by, x, *old, epsilon=epsilon)
        return _scaled(builder, normal, shift=True)


@dataclass(frozen=True)
class LayerNorm:
    """Every row to mean 0 and variance 1 over its features, then a scale and shift of each.

    ``scale (x - mean) / sqrt(variance + epsilon) + shift``, the variance biased, the same in
    training and prediction. Source: Ba et al. 2016. PyTorch's default ``epsilon`` is this;
    Keras has 1e-3.
    """

    epsilon: float = 1e-5

    def __post_init__(self) -> None:
        positive(self, "epsilon", below=1.0, hint=NO_SIZE)

    def forward(self, builder: PlanBuilder, x: str, mode: str) -> str:
        normal = builder.call(kernels.standardize_features, x, epsilon=float(self.epsilon))
        return _scaled(builder, normal, shift=True)


@dataclass(frozen=True)
class RMSNorm:
    """Every row divided by its root mean square, then a scale of each feature; no shift.

    ``scale x / sqrt(mean(x^2) + epsilon)``. Source: Zhang & Sennrich 2019, who have no
    ``epsilon``. Keras has 1e-6 too; PyTorch's default is the spacing of the dtype at 1,
    1.2e-7 in float32.
    """

    epsilon: float = 1e-6

    def __post_init__(self) -> None:
        positive(self, "epsilon", below=1.0, hint=NO_SIZE)

    def forward(self, builder: PlanBuilder, x: str, mode: str) -> str:
        normal = builder.call(kernels.divide_by_rms, x, epsilon=float(self.epsilon))
        return _scaled(builder, normal, shift=False)


def _scaled(builder: PlanBuilder, normal: str, *, shift: bool) -> str:
    shape = (builder.features(normal),)
    rows = [builder.parameter("scale", shape, ones)]
    if shift:
        rows.append(builder.parameter("shift", shape, zeros))
    return builder.call(kernels.scale_shift, normal, *rows)
