"""Losses: which kernel, what it learns from, and which output link it has built in.

Every loss is ``sum_i weight_i l_i / sum_i weight_i``: the mean over the rows of a batch. The
formula of ``l_i`` stands at the kernel. A loss of labels takes logits: its link is applied by
``predict_proba``, and a network that ends in the link is fed to the loss without it.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import ClassVar

from portable_nn import kernels
from portable_nn.activations import Activation, Sigmoid, Softmax
from portable_nn.checks import named
from portable_nn.plan import Data, PlanBuilder
from portable_nn.targets import Binary, Labels, Numbers, Targets


@dataclass(frozen=True, eq=False)
class Loss:
    """Base of a loss that is one kernel; its dataclass fields are the kernel's attributes.

    ``targets`` is the kind of ``y``; ``link`` the activation whose input the kernel takes.
    """

    kernel: ClassVar[kernels.Kernel]
    targets: ClassVar[type[Targets]] = Numbers
    link: ClassVar[type[Activation] | None] = None

    def forward(self, builder: PlanBuilder, z: str) -> str:
        """Write the loss call on output (or logits) ``z``; returns the buffer of its value."""
        kind = self.targets.dtype
        width = 1 if kind == "index" else builder.features(z)
        inputs = [builder.data("targets", width, dtype=kind), builder.data("weight", 1)]
        scale = builder.fed("scale", (), Data("scale"))
        names = ["loss", f"grad_{z}"]
        return builder.emit(self.kernel, z, *inputs, scale, names=names, **asdict(self))[0]


class HalfSquaredError(Loss):
    """``1/2 sum_k (a_k - t_k)^2`` a row: the error of the backpropagation tutorials."""

    kernel = kernels.half_squared_error


class MeanSquaredError(Loss):
    """``mean_k (a_k - t_k)^2`` a row, without the 1/2."""

    kernel = kernels.mean_squared_error


class BinaryCrossEntropy(Loss):
    """``-[t log p + (1 - t) log(1 - p)]`` a row, in nats, for two classes; link: sigmoid."""

    kernel = kernels.binary_cross_entropy
    targets = Binary
    link = Sigmoid


class CrossEntropy(Loss):
    """``-log p_t`` a row, in nats, for any number of classes; link: softmax."""

    kernel = kernels.cross_entropy
    targets = Labels
    link = Softmax


LOSSES = {
    "binary_cross_entropy": BinaryCrossEntropy,
    "cross_entropy": CrossEntropy,
    "half_squared_error": HalfSquaredError,
    "mean_squared_error": MeanSquaredError,
}
"""The names accepted where a loss is asked for."""


def as_loss(given: Loss | str) -> Loss:
    """The loss given, or the one a name stands for."""
    if isinstance(given, Loss) and type(given) is not Loss:
        return given
    return named(given, LOSSES, "loss")
