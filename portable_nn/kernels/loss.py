"""Losses: one kernel gives the value and the gradient of ``sum_i weight_i l_i * scale``.

``weight`` (n, 1) is one number a row (0 removes the row); ``scale`` () is one over the total
weight of the whole batch. So a short batch, sample weights, several micro-batches and several
ranks all follow one rule: values and gradients of the parts add up. Only the last two axes
are summed. Losses of labels take logits, the input of their link (softmax, sigmoid).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import wraps
from typing import Any, overload

from portable_nn.errors import NetworkError
from portable_nn.kernels._codes import one_hot
from portable_nn.kernels._kernel import Call, Gradient, Kernel, Meaning, kernel
from portable_nn.kernels.activation import exponentials, logistic, softmax_magnitude
from portable_nn.typing import Array, Namespace


def _given(call: Call, grads: Sequence[str | None]) -> list[Gradient]:
    return [Gradient((0,), (call.outputs[1],))]


def loss_kernel(magnitude: Callable[..., Any] | None = None) -> Callable[[Meaning], Kernel]:
    """Make ``meaning(xp, z, targets, weight, scale) -> (loss (), grad_z (n, k))`` a kernel.

    The loss is differentiated with respect to ``z`` only, and its gradient is output 1.
    """
    return kernel(
        shapes=lambda z, *others, **attributes: (z[:-2], z),
        backward=_given,
        donates=((1, 0),),
        magnitude=magnitude,
        length=lambda z, *others: (z[-2] * z[-1], 1),
        cost=lambda z, *others: 4 * math.prod(z),
    )


def _total(xp: Namespace, terms: Array) -> Array:
    return xp.sum(terms, axis=(-2, -1))


def _squared_magnitude(
    xp: Namespace, z: Array, targets: Array, weight: Array, scale: Array
) -> tuple[Array, Array]:
    size = xp.abs(z) + xp.abs(targets)
    return _total(xp, xp.abs(z - targets) * size * weight) * scale, size * weight * scale


@loss_kernel(_squared_magnitude)
def half_squared_error(
    xp: Namespace, z: Array, targets: Array, weight: Array, scale: Array
) -> tuple[Array, Array]:
    """``l_i = 1/2 sum_k (z_ik - t_ik)^2``; gradient ``z - t``: summed over outputs.

    z, targets (n, k) float, weight (n, 1), scale () -> loss (), grad_z (n, k).
    Differs from ``mean_squared_error`` by the 1/2 and by the sum over the k outputs.
    """
    error = z - targets
    return _total(xp, error * error * weight) * (0.5 * scale), error * weight * scale


@loss_kernel(
    lambda xp, values, weight, scale: (
        _total(xp, xp.abs(values) * weight) * (scale * (1.0 / values.shape[-1])),
        weight * scale * (1.0 / values.shape[-1]) + xp.zeros_like(values),
    )
)
def weighted_mean(xp: Namespace, values: Array, weight: Array, scale: Array) -> tuple[Array, Array]:
    """``l_i = mean_k values_ik``: the end of a loss that is written as calls of other kernels.

    values (n, k), weight (n, 1), scale () -> loss (), grad_values (n, k) ``= 1/k``.
    """
    share = weight * (scale * (1.0 / values.shape[-1]))
    return _total(xp, values * share), xp.ones_like(values) * share


def _mean_of(formula: Meaning) -> Meaning:
    """The weighted mean of what a formula gives for each output, under its name."""

    @wraps(formula, assigned=("__name__", "__doc__", "__module__"))
    def meaning(
        xp: Namespace, z: Array, targets: Array, weight: Array, scale: Array, **attributes: Any
    ) -> tuple[Array, Array]:
        found = formula(xp, z, targets, **attributes)
        if not isinstance(found, tuple) or len(found) != 2 or len(found[0].shape) < 2:
            raise NetworkError(
                f"{formula.__name__} is to give (value, slope), a number for each output: (n, k) "
                f"both; it gave {found!r:.60}."
            )
        value, slope = found
        share = weight * (scale * (1.0 / value.shape[-1]))
        return _total(xp, value * share), slope * share

    return meaning


@overload
def pointwise_loss(formula: Meaning) -> Kernel: ...


@overload
def pointwise_loss(
    *,
    size: Callable[..., Any] | None = None,
    branch: Callable[..., Any] | None = None,
    accurate: bool = False,
) -> Callable[[Meaning], Kernel]: ...


def pointwise_loss(
    formula: Meaning | None = None,
    *,
    size: Callable[..., Any] | None = None,
    branch: Callable[..., Any] | None = None,
    accurate: bool = False,
) -> Kernel | Callable[[Meaning], Kernel]:
    """Make ``f(xp, z, targets, **attributes) -> (value, slope)`` the kernel of a loss.

    value (n, k) is what each output contributes, and slope, shaped as ``z``, its derivative:
    ``l_i = 1/k sum_k value_ik``. Weights and the mean are added here. A value (n, 1) is that of
    the whole row.

    Parameters
    ----------
    size
        ``size(xp, z, targets, **attributes)``: of value and slope, the size S that rounding
        errors are proportional to; None: it is found by trying changed inputs.
    branch
        With the same arguments: which piece of a kinked formula each element takes.
    accurate
        Value and slope themselves are that size: no rounded numbers cancel in the formula.
    """

    def decorate(formula: Meaning) -> Kernel:
        def sizes(xp: Namespace, *inputs: Array, **attributes: Any) -> tuple[Array, Array]:
            value, slope = (size or formula)(xp, *inputs, **attributes)
            return xp.abs(value), xp.abs(slope)

        made = loss_kernel(_mean_of(sizes) if size or accurate else None)(_mean_of(formula))
        if branch is None:
            return made
        return replace(
            made, branch=lambda xp, z, targets, *others, **given: branch(xp, z, targets, **given)
        )

    return decorate if formula is None else decorate(formula)


@pointwise_loss(
    size=lambda xp, z, targets: (
        xp.abs(z - targets) * (xp.abs(z) + xp.abs(targets)) * 2.0,
        (xp.abs(z) + xp.abs(targets)) * 2.0,
    )
)
def mean_squared_error(xp: Namespace, z: Array, targets: Array) -> tuple[Array, Array]:
    """``l_i = mean_k (z_ik - t_ik)^2``; gradient ``2/k (z - t)``: mean over outputs, no 1/2.

    z, targets (n, k) float, weight (n, 1), scale () -> loss (), grad_z (n, k).
    """
    error = z - targets
    return error * error, error * 2.0


@pointwise_loss(accurate=True, branch=lambda xp, z, targets: xp.sign(z - targets))
def mean_absolute_error(xp: Namespace, z: Array, targets: Array) -> tuple[Array, Array]:
    """``l_i = mean_k |z_ik - t_ik|``; gradient ``sign(z - t)/k``, 0 where they are equal.

    z, targets (n, k) float, weight (n, 1), scale () -> loss (), grad_z (n, k).
    """
    error = z - targets
    return xp.abs(error), xp.sign(error)


@pointwise_loss(
    accurate=True,
    branch=lambda xp, z, targets, delta=1.0: xp.sign(
        z - targets - xp.clip(z - targets, -delta, delta)
    ),
)
def huber(xp: Namespace, z: Array, targets: Array, delta: float = 1.0) -> tuple[Array, Array]:
    """``l_i = mean_k h(z_ik - t_ik)``: ``h(e) = e^2 / 2`` up to ``|e| = delta``, then a line.

    z, targets (n, k) float, weight (n, 1), scale () -> loss (), grad_z (n, k). The line,
    ``delta (|e| - delta/2)``, goes on with the slope delta (Huber 1964).
    """
    error = z - targets
    inner = xp.clip(error, -delta, delta)
    return inner * (error - 0.5 * inner), inner


@pointwise_loss(accurate=True)
def log_cosh(xp: Namespace, z: Array, targets: Array) -> tuple[Array, Array]:
    """``l_i = mean_k log cosh(z_ik - t_ik)``; gradient ``tanh(z - t)/k``.

    z, targets (n, k) float, weight (n, 1), scale () -> loss (), grad_z (n, k). Above 1 written as
    ``|e| + log(1 + exp(-2|e|)) - log 2``, which cannot overflow; below as
    ``log(1 + 2 sinh(e/2)^2)``, which has no difference of nearly equal numbers.
    """
    error = z - targets
    size = xp.abs(error)
    half = xp.sinh(xp.clip(size, 0.0, 1.0) * 0.5)
    far = size + xp.log1p(xp.exp(-2.0 * size)) - math.log(2.0)
    return xp.where(size < 1.0, xp.log1p(2.0 * half * half), far), xp.tanh(error)


@pointwise_loss(accurate=True, branch=lambda xp, z, targets, quantile=0.5: xp.sign(z - targets))
def quantile(xp: Namespace, z: Array, targets: Array, quantile: float = 0.5) -> tuple[Array, Array]:
    """``l_i = mean_k r(t_ik - z_ik)``: ``r(e) = q e`` for ``e > 0``, else ``(q - 1) e``.

    z, targets (n, k) float, weight (n, 1), scale () -> loss (), grad_z (n, k), which is 0 where
    z and t are equal. Its mean is least at the q-quantile of the targets (Koenker and Bassett
    1978); half the absolute error at q = 1/2.
    """
    error = z - targets
    over, under = (xp.full_like(error, rate) for rate in (1.0 - quantile, quantile))
    rate = xp.where(error > 0.0, over, under)
    return xp.abs(error) * rate, xp.sign(error) * rate


def _growth(xp: Namespace, x: Array, rate: float) -> Array:
    """``(exp(rate x) - 1) / rate``; x at rate 0."""
    return xp.expm1(rate * x) / rate if rate else x


def _means(xp: Namespace, z: Array, targets: Array, power: float) -> tuple[Array, Array, Array]:
    """``mu^(2-p)`` and ``y mu^(1-p)``, ``mu = exp(z)``, and ``log(mu/y)``, z where y is 0."""
    zero = xp.equal(targets, xp.zeros_like(targets))
    high, low = xp.exp((2.0 - power) * z), targets * xp.exp((1.0 - power) * z)
    distance = z - xp.log(xp.where(zero, xp.ones_like(targets), targets))
    return high, xp.where(zero, targets, low), distance


def _deviance(xp: Namespace, z: Array, targets: Array, power: float = 1.5) -> tuple[Array, Array]:
    high, low, distance = _means(xp, z, targets, power)
    part = targets ** (2.0 - power)
    value = part * (_growth(xp, distance, 2.0 - power) - _growth(xp, distance, 1.0 - power))
    if power < 2.0:  # mu/y may be more than any number, also where y is 0
        above = xp.maximum(distance, xp.ones_like(distance))
        far = (high - part) / (2.0 - power) - part * _growth(xp, above, 1.0 - power)
        none = xp.equal(targets, xp.zeros_like(targets))
        apart = xp.logical_or(none, (2.0 - power) * distance > 1.0)
        value = xp.where(apart, far, value)
    return 2.0 * value, 2.0 * (high - low)


def _deviance_size(
    xp: Namespace, z: Array, targets: Array, power: float = 1.5
) -> tuple[Array, Array]:
    high, low, distance = _means(xp, z, targets, power)
    value = xp.abs(high - low) * (1.0 + xp.abs(z) + xp.abs(distance)) * 2.0
    slope = (high + low) * (1.0 + power * xp.abs(z))
    return xp.maximum(value, xp.abs(_deviance(xp, z, targets, power)[0])), slope


@pointwise_loss(size=_deviance_size)
def tweedie_deviance(
    xp: Namespace, z: Array, targets: Array, power: float = 1.5
) -> tuple[Array, Array]:
    """``l_i = mean_k d(t_ik, exp(z_ik))``, the unit deviance of a Tweedie distribution.

    z, targets (n, k) float, weight (n, 1), scale () -> loss (), grad_z (n, k). With ``mu = exp z``
    and power p, 1 or more: ``d(y, mu) = 2 [y^(2-p) / ((1-p)(2-p)) - y mu^(1-p) / (1-p)
    + mu^(2-p) / (2-p)]``; at 1 (Poisson) ``2 [y log(y/mu) - y + mu]``, at 2 (gamma)
    ``2 [log(mu/y) + y/mu - 1]``; gradient ``2 mu^(1-p) (mu - y)/k`` (Tweedie 1984; Joergensen
    1987). Unless ``(mu/y)^(2-p)`` is large written as ``2 y^(2-p) [g(2-p) - g(1-p)]`` with
    ``g(a) = ((mu/y)^a - 1) / a``, so that the 1s do not cancel.
    """
    return _deviance(xp, z, targets, power)


def _hinge_size(
    xp: Namespace, z: Array, targets: Array, squared: bool = False
) -> tuple[Array, Array]:
    side = 2.0 * targets - 1.0
    size, gap = 1.0 + xp.abs(side * z), xp.abs(1.0 - side * z)
    return (gap * size, xp.abs(side) * size) if squared else (size, xp.abs(side))


@pointwise_loss(
    size=_hinge_size,
    branch=lambda xp, z, targets, squared=False: xp.sign(1.0 - (2.0 * targets - 1.0) * z),
)
def hinge(xp: Namespace, z: Array, targets: Array, squared: bool = False) -> tuple[Array, Array]:
    """``l_i = mean_k max(0, 1 - s_ik z_ik)``, or its square; s is 1 or -1, where t is 1 or 0.

    z, targets (n, k) float, weight (n, 1), scale () -> loss (), grad_z (n, k), which is 0 at the
    kink (Cortes and Vapnik 1995).
    """
    side = 2.0 * targets - 1.0
    gap = xp.maximum(1.0 - side * z, xp.zeros_like(z))
    return (gap * gap, -2.0 * side * gap) if squared else (gap, -side * xp.sign(gap))


def _gaussian(xp: Namespace, z: Array, targets: Array) -> tuple[Array, Array, Array]:
    """Error by variance, its product with the error, and log variance."""
    k = targets.shape[-1]
    error, log_variance = z[..., :k] - targets, z[..., k:]
    slope = error * xp.exp(-log_variance)
    return slope, error * slope, log_variance


def _gaussian_size(xp: Namespace, z: Array, targets: Array) -> tuple[Array, Array]:
    slope, square, log_variance = _gaussian(xp, z, targets)
    return xp.abs(log_variance) + square + 1.0, xp.concat([slope, 1.0 + square], axis=-1)


@pointwise_loss(size=_gaussian_size)
def gaussian_nll(xp: Namespace, z: Array, targets: Array) -> tuple[Array, Array]:
    """``l_i = mean_k 1/2 [s_ik + (t_ik - m_ik)^2 exp(-s_ik) + log 2 pi]``, in nats.

    z (n, 2 k): k means m, then k logarithms s of variances; targets (n, k), weight (n, 1),
    scale () -> loss (), grad_z (n, 2 k): the negative logarithm of the normal density (Nix and
    Weigend 1994).
    """
    slope, square, log_variance = _gaussian(xp, z, targets)
    return (
        0.5 * (log_variance + square + math.log(2.0 * math.pi)),
        xp.concat([slope, 0.5 * (1.0 - square)], axis=-1),
    )


def label_loss(
    size: Callable[..., Any], shares: Callable[..., tuple[Array, int]]
) -> Callable[[Meaning], Kernel]:
    """``pointwise_loss`` of a formula ``f(xp, z, shares)`` with a ``label_smoothing`` s.

    ``shares(xp, z, targets)`` are the share of each class or column in what is learned, and how
    many there are; to formula and size ``(1 - s) share + s / classes`` is given for it.
    """

    def smoothed(formula: Meaning) -> Meaning:
        @wraps(formula, assigned=("__name__", "__doc__", "__module__"))
        def meaning(
            xp: Namespace, z: Array, targets: Array, label_smoothing: float = 0.0
        ) -> tuple[Array, Array]:
            share, classes = shares(xp, z, targets)
            if label_smoothing:
                share = share * (1.0 - label_smoothing) + label_smoothing / classes
            found: tuple[Array, Array] = formula(xp, z, share)
            return found

        return meaning

    return lambda formula: pointwise_loss(size=smoothed(size))(smoothed(formula))


def _binary_size(xp: Namespace, z: Array, share: Array) -> tuple[Array, Array]:
    value = xp.abs(z) * (1.0 + xp.abs(share)) + xp.log1p(xp.exp(-xp.abs(z)))
    return value, logistic(xp, z) + xp.abs(share)


@label_loss(_binary_size, lambda xp, z, targets: (targets, 2))
def binary_cross_entropy(xp: Namespace, z: Array, share: Array) -> tuple[Array, Array]:
    """``l_i = -mean_k [t log p + (1 - t) log(1 - p)]``, ``p = sigmoid(z)``, in nats.

    z (n, k) logits, targets (n, k) float in [0, 1], weight (n, 1), scale () -> loss (),
    grad_z (n, k) ``= (p - t)/k``. Written as ``max(z, 0) - z t + log(1 + exp(-|z|))``, so no
    probability is ever clipped and the loss of a confident mistake stays exact. With
    ``label_smoothing`` s, ``(1 - s) t + s/2`` stands for t.
    """
    value = xp.maximum(z, xp.zeros_like(z)) - z * share + xp.log1p(xp.exp(-xp.abs(z)))
    return value, logistic(xp, z) - share


def _hot(xp: Namespace, z: Array, targets: Array) -> tuple[Array, int]:
    return xp.astype(one_hot(xp, targets, z.shape[-1]), z.dtype), z.shape[-1]


def _cross_entropy_size(xp: Namespace, z: Array, share: Array) -> tuple[Array, Array]:
    shift, _, total = exponentials(xp, z)
    row = xp.sum(xp.abs(shift) * share, axis=-1, keepdims=True) + xp.abs(xp.log(total)) + 1.0
    return row, softmax_magnitude(xp, z)[0] + share


@label_loss(_cross_entropy_size, _hot)
def cross_entropy(xp: Namespace, z: Array, share: Array) -> tuple[Array, Array]:
    """``l_i = -log softmax(z_i)[t_i]`` in nats, by log-sum-exp from logits.

    z (n, c) logits, targets (n, 1) int in [0, c), weight (n, 1), scale () -> loss (),
    grad_z (n, c) ``= softmax(z) - one_hot(t)``. With scale 1/n it is the mean over the batch
    (as PyTorch and scikit-learn); some texts write the plain sum. With ``label_smoothing`` s,
    the rows ``(1 - s) one_hot(t) + s/c`` stand for one_hot (Szegedy et al. 2016).
    """
    shift, e, total = exponentials(xp, z)
    row = xp.log(total) - xp.sum(shift * share, axis=-1, keepdims=True)
    return row, e / total - share
