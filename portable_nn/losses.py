"""Losses: which kernel, what it learns from, and which output link it has built in.

Every loss is ``sum_i weight_i l_i / sum_i weight_i``: the mean over the rows of a batch. The
formula of ``l_i`` stands at the kernel. A loss of labels takes logits: its link is applied by
``predict_proba``, and a network that ends in the link is fed to the loss without it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

from portable_nn import kernels
from portable_nn.activations import Activation, Exponential, Sigmoid, Softmax
from portable_nn.arrays import brief
from portable_nn.errors import NetworkError
from portable_nn.naming import named
from portable_nn.plan import Data, PlanBuilder
from portable_nn.schedules import check_choices, flag, positive, real
from portable_nn.targets import (
    Binary,
    Labels,
    Margins,
    MeansAndVariances,
    NonNegative,
    Numbers,
    Positive,
    Targets,
)

ClassWeight = Mapping[Any, float] | str | None
"""Of a loss of labels: a weight for each label, ``"balanced"``, or None, which is 1 for all."""


@dataclass(frozen=True, eq=False)
class Loss:
    """Base of a loss that is one kernel; its dataclass fields are the kernel's attributes.

    ``targets`` is the kind of ``y``; ``link`` the activation whose input the kernel takes;
    ``refused`` are last layers that make no sense before it. A field ``class_weight`` is no
    attribute: it multiplies the weights of the rows on the host.

    A loss that is several calls has a ``forward`` of its own, from ``expected``, to be written
    as the calls of a layer are, and ``total``; gradients come of the kernels' own.
    """

    kernel: ClassVar[kernels.Kernel]
    targets: ClassVar[type[Targets]] = Numbers
    link: ClassVar[type[Activation] | None] = None
    refused: ClassVar[tuple[type[Activation], ...]] = ()

    @property
    def attributes(self) -> dict[str, Any]:
        """Those of the kernel's call."""
        return {name: v for name, v in asdict(self).items() if name != "class_weight"}

    def forward(self, builder: PlanBuilder, z: str) -> str:
        """Write the loss call on output (or logits) ``z``; returns the buffer of its value."""
        return self._end(builder, self.kernel, z, self.expected(builder, z), **self.attributes)

    def expected(self, builder: PlanBuilder, z: str) -> str:
        """The buffer of the targets, (n, k), for output ``z``."""
        width = self.targets.width(builder.features(z))
        return builder.data("targets", width, dtype=self.targets.dtype)

    def total(self, builder: PlanBuilder, values: str) -> str:
        """Write the end of a loss: the weighted mean of values (n, k) over rows and columns."""
        return self._end(builder, kernels.weighted_mean, values)

    def _end(
        self, builder: PlanBuilder, kernel: kernels.Kernel, z: str, *others: str, **attributes: Any
    ) -> str:
        inputs = [*others, builder.data("weight", 1), builder.fed("scale", (), Data("scale"))]
        return builder.emit(kernel, z, *inputs, names=["loss", f"grad_{z}"], **attributes)[0]


class HalfSquaredError(Loss):
    """``1/2 sum_k (a_k - t_k)^2`` a row: the error of the backpropagation tutorials."""

    kernel = kernels.half_squared_error


class MeanSquaredError(Loss):
    """``mean_k (a_k - t_k)^2`` a row, without the 1/2."""

    kernel = kernels.mean_squared_error


class MeanAbsoluteError(Loss):
    """``mean_k |a_k - t_k|`` a row; its gradient is 0 where both are equal."""

    kernel = kernels.mean_absolute_error


@dataclass(frozen=True, eq=False)
class Huber(Loss):
    """``mean_k h(a_k - t_k)`` a row: ``e^2 / 2`` up to delta, ``delta (|e| - delta/2)`` beyond.

    Source: Huber 1964. As in PyTorch and Keras; PyTorch's ``SmoothL1Loss`` is this by delta.
    """

    kernel = kernels.huber
    delta: float = 1.0

    def __post_init__(self) -> None:
        positive(self, "delta")


class LogCosh(Loss):
    """``mean_k log cosh(a_k - t_k)`` a row: ``e^2 / 2`` near 0, ``|e| - log 2`` far off."""

    kernel = kernels.log_cosh


@dataclass(frozen=True, eq=False)
class Quantile(Loss):
    """``mean_k r(t_k - a_k)`` a row: ``r(e) = q e`` above 0, ``(q - 1) e`` below (pinball loss).

    Predictions are the q-quantile of ``y`` (Koenker and Bassett 1978); scikit-learn's
    ``mean_pinball_loss`` with its ``alpha`` for q.
    """

    kernel = kernels.quantile
    quantile: float = 0.5

    def __post_init__(self) -> None:
        positive(self, "quantile", below=1.0)


class PoissonDeviance(Loss):
    """``mean_k 2 [t_k log(t_k / a_k) - t_k + a_k]`` a row, of counts; link: exponential.

    As scikit-learn's ``mean_poisson_deviance``. PyTorch's ``PoissonNLLLoss`` is half of it without
    what does not depend on the outputs; its gradient is half of this one.
    """

    kernel = kernels.tweedie_deviance
    targets = NonNegative
    link = Exponential

    @property
    def attributes(self) -> dict[str, Any]:
        return {"power": 1.0}


class GammaDeviance(Loss):
    """``mean_k 2 [log(a_k / t_k) + t_k / a_k - 1]`` a row, of sizes; link: exponential.

    It depends on ratios only. As scikit-learn's ``mean_gamma_deviance``.
    """

    kernel = kernels.tweedie_deviance
    targets = Positive
    link = Exponential

    @property
    def attributes(self) -> dict[str, Any]:
        return {"power": 2.0}


@dataclass(frozen=True, eq=False)
class TweedieDeviance(Loss):
    """The mean over k of the unit deviance of a Tweedie distribution; link: exponential.

    Its variance is ``mean^power``: 1 is Poisson, 2 gamma, 3 inverse Gaussian; between 1 and 2 it is
    of sums of gamma numbers, so that ``y`` may be 0. As scikit-learn's ``mean_tweedie_deviance``;
    the formula stands at the kernel.
    """

    kernel = kernels.tweedie_deviance
    targets = NonNegative
    link = Exponential
    power: float = 1.5

    def __post_init__(self) -> None:
        if not 1.0 <= real(self.power) < math.inf:
            raise NetworkError(
                f"TweedieDeviance takes a number, 1 or more, as power; got {brief(self.power)}. "
                f"For power 0 there is mean_squared_error."
            )
        if self.power >= 2.0:  # of a y of 0 it is infinite
            object.__setattr__(self, "targets", Positive)


@dataclass(frozen=True, eq=False)
class Hinge(Loss):
    """``mean_k max(0, 1 - s_k z_k)`` a row, or its square; s is 1 for the larger class, else -1.

    For two classes (n,), or yes and no (n, k); predictions are by the sign of the outputs, which
    are no probabilities (Cortes and Vapnik 1995). As Keras' and scikit-learn's; PyTorch's
    ``HingeEmbeddingLoss`` is another.
    """

    kernel = kernels.hinge
    targets = Margins
    refused = (Exponential, Sigmoid, Softmax)
    squared: bool = flag()

    def __post_init__(self) -> None:
        check_choices(self)


class GaussianNLL(Loss):
    """``mean_k 1/2 [s_k + (t_k - m_k)^2 exp(-s_k) + log 2 pi]`` a row: the error bars are learned.

    The network has 2 k outputs for k numbers: the means m, then the logarithms s of the variances;
    ``predict`` gives the means, ``predict_std`` the deviations, both in the units of ``y``.
    Source: Nix and Weigend 1994. PyTorch's ``GaussianNLLLoss`` takes variances, keeps them above an
    epsilon, and leaves out log 2 pi unless ``full=True``.
    """

    kernel = kernels.gaussian_nll
    targets = MeansAndVariances


def _check_label_options(loss: _OfLabels) -> None:
    kind, weight = type(loss).__name__, loss.class_weight
    positive(loss, "label_smoothing", below=1.0, zero=True)
    if weight is None or (isinstance(weight, str) and weight == "balanced"):
        return
    numbers = {} if isinstance(weight, str) or not isinstance(weight, Mapping) else dict(weight)
    if not numbers or not all(0.0 <= real(number) < math.inf for number in numbers.values()):
        raise NetworkError(
            f"{kind} takes as class_weight a number, 0 or more, for each label, such as "
            f"{{'cat': 1.0, 'dog': 2.5}}, or 'balanced'; got {brief(weight)}."
        )
    object.__setattr__(loss, "class_weight", numbers)  # the user's own may change


@dataclass(frozen=True, eq=False)
class _OfLabels(Loss):
    """Base of a loss of labels that have a link."""

    label_smoothing: float = 0.0
    class_weight: ClassWeight = None

    def __post_init__(self) -> None:
        _check_label_options(self)

    @property
    def attributes(self) -> dict[str, Any]:
        """Without smoothing, a plan says nothing of it."""
        return {"label_smoothing": self.label_smoothing} if self.label_smoothing else {}


class BinaryCrossEntropy(_OfLabels):
    """``-[t log p + (1 - t) log(1 - p)]`` a row, in nats, for two classes; link: sigmoid.

    ``label_smoothing`` s puts ``(1 - s) t + s/2`` in the place of t, as Keras. ``class_weight`` is
    that of ``CrossEntropy``; not for yes and no (n, k).
    """

    kernel = kernels.binary_cross_entropy
    targets = Binary
    link = Sigmoid


class CrossEntropy(_OfLabels):
    """``-log p_t`` a row, in nats, for any number of classes; link: softmax.

    Parameters
    ----------
    label_smoothing
        s: learn ``(1 - s) one_hot(t) + s / classes`` (Szegedy et al. 2016), as PyTorch and Keras.
    class_weight
        ``{label: number}``, or ``"balanced"``: ``n / (classes * count)`` of the rows of the fit (of
        the first, with ``warm_start``), as scikit-learn. It multiplies the weight of each row,
        also where a loss is only measured, on validation data say. The loss is a weighted mean,
        as PyTorch's with ``weight`` (without smoothing: with it PyTorch weighs the smoothed
        classes); Keras divides by the number of rows.
    """

    kernel = kernels.cross_entropy
    targets = Labels
    link = Softmax


LOSSES: dict[str, type[Loss]] = {
    "binary_cross_entropy": BinaryCrossEntropy,
    "cross_entropy": CrossEntropy,
    "gamma_deviance": GammaDeviance,
    "gaussian_nll": GaussianNLL,
    "half_squared_error": HalfSquaredError,
    "hinge": Hinge,
    "huber": Huber,
    "log_cosh": LogCosh,
    "mean_absolute_error": MeanAbsoluteError,
    "mean_squared_error": MeanSquaredError,
    "poisson_deviance": PoissonDeviance,
    "quantile": Quantile,
    "tweedie_deviance": TweedieDeviance,
}
"""The names accepted where a loss is asked for."""


def as_loss(given: Loss | str) -> Loss:
    """The loss given, or the one a name stands for."""
    if isinstance(given, Loss) and type(given) is not Loss:
        return given
    return named(given, LOSSES, "loss")
