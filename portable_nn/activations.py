"""Activations: layers that apply one kernel. Formulas stand at the kernels."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields
from typing import ClassVar

from portable_nn import kernels
from portable_nn.errors import NetworkError
from portable_nn.naming import named
from portable_nn.plan import PlanBuilder
from portable_nn.schedules import check_choices, choice, positive, real


@dataclass(frozen=True)
class Activation:
    """Base of a layer that is one kernel; the layer's fields are the kernel's attributes.

    They are numbers above 0, unless a class checks its own. ``gain`` is a published one, else 1.
    """

    kernel: ClassVar[kernels.Kernel]

    def __post_init__(self) -> None:
        for each in fields(self):
            positive(self, each.name)

    @property
    def gain(self) -> float:
        """By how much first weights before it are larger than Glorot's or LeCun's."""
        return 1.0

    def forward(self, builder: PlanBuilder, x: str, mode: str) -> str:
        return builder.call(self.kernel, x, **asdict(self))


class Identity(Activation):
    """``a = z``: a linear unit. It adds no call to the plan."""

    def forward(self, builder: PlanBuilder, x: str, mode: str) -> str:
        return x


# -- logistic, exponential, normalized -----------------------------------------------------


class Sigmoid(Activation):
    """``a = 1 / (1 + exp(-z))``, in (0, 1): the logistic unit."""

    kernel = kernels.sigmoid


class LogSigmoid(Activation):
    """``a = log(sigmoid(z)) = -softplus(-z)``, below 0."""

    kernel = kernels.log_sigmoid


class Tanh(Activation):
    """``a = tanh(z)``, in (-1, 1)."""

    kernel = kernels.tanh
    gain = 5.0 / 3.0


class Softsign(Activation):
    """``a = z / (1 + |z|)``, in (-1, 1): tanh with longer tails. Source: Bergstra et al. 2009."""

    kernel = kernels.softsign


class Exponential(Activation):
    """``a = exp(z)``, above 0: what counts and sizes are predicted by."""

    kernel = kernels.exp


class Softmax(Activation):
    """``a_c = exp(z_c) / sum_k exp(z_k)``: a distribution over the features of each row."""

    kernel = kernels.softmax


class LogSoftmax(Activation):
    """``a_c = z_c - log(sum_k exp(z_k))``: the logarithm of ``Softmax``."""

    kernel = kernels.log_softmax


# -- straight pieces -----------------------------------------------------------------------


class Rectifier:
    """What has a ``slope`` below 0, and a gain by it: He et al. 2015, eq. 15."""

    @property
    def gain(self) -> float:
        return math.sqrt(2.0 / (1.0 + getattr(self, "slope", 0.0) ** 2))


class ReLU(Rectifier, Activation):
    """``a = max(z, 0)``; its derivative at 0 is 0."""

    kernel = kernels.relu


@dataclass(frozen=True)
class LeakyReLU(Rectifier, Activation):
    """``a = z`` above 0, ``slope z`` below and at 0. Source: Maas et al. 2013.

    0.01 as there and in PyTorch; Keras 3 has 0.3 (``negative_slope``).
    """

    kernel = kernels.leaky_relu
    slope: float = 0.01


@dataclass(frozen=True)
class HardTanh(Activation):
    """``a = min(max(z, low), high)``; its derivative at both is 0. Source: Collobert 2004."""

    kernel = kernels.hard_tanh
    low: float = -1.0
    high: float = 1.0

    def __post_init__(self) -> None:
        if not -math.inf < real(self.low) < real(self.high) < math.inf:
            raise NetworkError(
                f"HardTanh takes two numbers, low below high; got {self.low!r:.60} and "
                f"{self.high!r:.60}."
            )


class HardSigmoid(Activation):
    """``a = min(max(z / 6 + 1/2, 0), 1)``; its derivative at -3 and 3 is 0.

    Source: Howard et al. 2019. As PyTorch and Keras 3; Keras 2 has slope 1/5 instead of 1/6.
    """

    kernel = kernels.hard_sigmoid


class HardSwish(Activation):
    """``a = z HardSigmoid(z)``, near ``SiLU``. Source: Howard et al. 2019.

    Its derivative at -3 is 0, at 3 it is 1. Keras: ``hard_silu``.
    """

    kernel = kernels.hard_swish


# -- exponential below 0, linear above -----------------------------------------------------


@dataclass(frozen=True)
class ELU(Activation):
    """``a = z`` above 0, ``alpha (exp(z) - 1)`` below. Source: Clevert et al. 2016.

    Its derivative at 0 is alpha.
    """

    kernel = kernels.elu
    alpha: float = 1.0


@dataclass(frozen=True)
class CELU(Activation):
    """``a = z`` above 0, ``alpha (exp(z / alpha) - 1)`` below: smooth. Source: Barron 2017."""

    kernel = kernels.celu
    alpha: float = 1.0


class SELU(Activation):
    """``a = 1.0507 z`` above 0, ``1.0507 * 1.6733 (exp(z) - 1)`` below. Source: Klambauer 2017.

    Mean 0 and variance 1 are kept from layer to layer by weights of deviation ``1 / sqrt(fan_in)``,
    a gain of 1. Its ``gain`` is PyTorch's 3/4, which gives that up for gradients of an even size.
    """

    kernel = kernels.selu
    gain = 0.75


@dataclass(frozen=True)
class Softplus(Activation):
    """``a = log(1 + exp(beta z)) / beta``, above 0: a smooth ReLU. Source: Dugas et al. 2001."""

    kernel = kernels.softplus
    beta: float = 1.0


# -- z times a gate ------------------------------------------------------------------------


class SiLU(Activation):
    """``a = z sigmoid(z)``, also called swish. Source: Elfwing et al. 2018."""

    kernel = kernels.silu


class Mish(Activation):
    """``a = z tanh(softplus(z))``. Source: Misra 2019."""

    kernel = kernels.mish


@dataclass(frozen=True)
class GELU(Activation):
    """``a = z Phi(z)``, Phi being the normal distribution. Source: Hendrycks and Gimpel 2016.

    ``approximate="tanh"`` takes ``Phi(z)`` as ``(1 + tanh(sqrt(2/pi) (z + 0.044715 z^3))) / 2``,
    which is up to 0.0005 off; it is the default of JAX, not of PyTorch and Keras.
    """

    approximate: str = choice("none", "tanh")

    def __post_init__(self) -> None:
        check_choices(self)

    def forward(self, builder: PlanBuilder, x: str, mode: str) -> str:
        return builder.call(kernels.gelu if self.approximate == "none" else kernels.gelu_tanh, x)


ACTIVATIONS: dict[str, type[Activation]] = {
    "celu": CELU,
    "elu": ELU,
    "exponential": Exponential,
    "gelu": GELU,
    "hard_sigmoid": HardSigmoid,
    "hard_swish": HardSwish,
    "hard_tanh": HardTanh,
    "identity": Identity,
    "leaky_relu": LeakyReLU,
    "log_sigmoid": LogSigmoid,
    "log_softmax": LogSoftmax,
    "mish": Mish,
    "relu": ReLU,
    "selu": SELU,
    "sigmoid": Sigmoid,
    "silu": SiLU,
    "softmax": Softmax,
    "softplus": Softplus,
    "softsign": Softsign,
    "tanh": Tanh,
}
"""The names accepted where an activation is asked for."""


def as_activation(given: Activation | str) -> Activation:
    """The activation given, or the one a name stands for."""
    return given if isinstance(given, Activation) else named(given, ACTIVATIONS, "activation")


def gain(activation: str | Activation) -> float:
    """By which factor the deviation of first weights is multiplied before an activation.

    ReLU ``sqrt(2)``, LeakyReLU and PReLU ``sqrt(2 / (1 + slope^2))`` (He et al. 2015, eq. 10 and
    15); Tanh 5/3 and SELU 3/4, as ``torch.nn.init.calculate_gain``; 1 for Sigmoid, Identity, and
    whatever has no published value.

    Raises
    ------
    NetworkError
        If it is neither an activation nor the name of one.
    """
    return as_activation(activation).gain
