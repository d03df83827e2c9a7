"""Activations: layers that apply one kernel. Formulas stand at the kernels."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import ClassVar

from portable_nn import kernels
from portable_nn.plan import PlanBuilder


@dataclass(frozen=True)
class Activation:
    """Base of a layer that is one kernel; the layer's fields are the kernel's attributes."""

    kernel: ClassVar[kernels.Kernel]

    def forward(self, builder: PlanBuilder, x: str, mode: str) -> str:
        return builder.call(self.kernel, x, **asdict(self))


@dataclass(frozen=True)
class Identity:
    """``a = z``: a linear unit. It adds no call to the plan."""

    def forward(self, builder: PlanBuilder, x: str, mode: str) -> str:
        return x


class Sigmoid(Activation):
    """``a = 1 / (1 + exp(-z))``, in (0, 1): the logistic unit."""

    kernel = kernels.sigmoid


class Tanh(Activation):
    """``a = tanh(z)``, in (-1, 1)."""

    kernel = kernels.tanh


class ReLU(Activation):
    """``a = max(z, 0)``; its derivative at 0 is 0."""

    kernel = kernels.relu


class Exponential(Activation):
    """``a = exp(z)``, above 0: what counts and sizes are predicted by."""

    kernel = kernels.exp


class Softmax(Activation):
    """``a_c = exp(z_c) / sum_k exp(z_k)``: a distribution over the features of each row."""

    kernel = kernels.softmax


ACTIVATIONS: dict[str, type[Activation] | type[Identity]] = {
    "exponential": Exponential,
    "identity": Identity,
    "relu": ReLU,
    "sigmoid": Sigmoid,
    "softmax": Softmax,
    "tanh": Tanh,
}
"""The names accepted where an activation is asked for."""
