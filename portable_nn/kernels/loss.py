"""Losses: one kernel gives the value and the gradient of ``sum_i weight_i l_i * scale``.

``weight`` (n, 1) is one number a row (0 removes the row); ``scale`` () is one over the total
weight of the whole batch. So a short batch, sample weights, several micro-batches and several
ranks all follow one rule: values and gradients of the parts add up. Only the last two axes
are summed. Losses of labels take logits, the input of their link (softmax, sigmoid).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from portable_nn.kernels._kernel import Call, Gradient, Kernel, Meaning, kernel
from portable_nn.typing import Array, Namespace


def _given(call: Call, grads: Sequence[str | None]) -> list[Gradient]:
    return [Gradient((0,), (call.outputs[1],))]


def loss_kernel(magnitude: Callable[..., Any] | None = None) -> Callable[[Meaning], Kernel]:
    """Make ``meaning(xp, z, targets, weight, scale) -> (loss (), grad_z (n, k))`` a kernel.

    The loss is differentiated with respect to ``z`` only, and its gradient is output 1.
    """
    return kernel(
        shapes=lambda z, targets, weight, scale, **attributes: (z[:-2], z),
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
    lambda xp, z, *others: tuple(
        size * (2.0 / z.shape[-1]) for size in _squared_magnitude(xp, z, *others)
    )
)
def mean_squared_error(
    xp: Namespace, z: Array, targets: Array, weight: Array, scale: Array
) -> tuple[Array, Array]:
    """``l_i = mean_k (z_ik - t_ik)^2``; gradient ``2/k (z - t)``: mean over outputs, no 1/2.

    z, targets (n, k) float, weight (n, 1), scale () -> loss (), grad_z (n, k).
    """
    error = z - targets
    share = scale * (1.0 / z.shape[-1])
    return _total(xp, error * error * weight) * share, error * weight * (2.0 * share)


def _binary_magnitude(
    xp: Namespace, z: Array, targets: Array, weight: Array, scale: Array
) -> tuple[Array, Array]:
    share = weight * scale * (1.0 / z.shape[-1])
    e = xp.exp(-xp.abs(z))
    probability = xp.exp(xp.minimum(z, xp.zeros_like(z))) / (1.0 + e)
    value = xp.abs(z) + xp.abs(z * targets) + xp.log1p(e)
    return _total(xp, value * share), (probability + xp.abs(targets)) * share


@loss_kernel(_binary_magnitude)
def binary_cross_entropy(
    xp: Namespace, z: Array, targets: Array, weight: Array, scale: Array
) -> tuple[Array, Array]:
    """``l_i = -mean_k [t log p + (1 - t) log(1 - p)]``, ``p = sigmoid(z)``, in nats.

    z (n, k) logits, targets (n, k) float in [0, 1], weight (n, 1), scale () -> loss (),
    grad_z (n, k) ``= (p - t)/k``. Written as ``max(z, 0) - z t + log(1 + exp(-|z|))``, so no
    probability is ever clipped and the loss of a confident mistake stays exact.
    """
    share = weight * (scale * (1.0 / z.shape[-1]))
    e = xp.exp(-xp.abs(z))
    probability = xp.exp(xp.minimum(z, xp.zeros_like(z))) / (1.0 + e)
    value = xp.maximum(z, xp.zeros_like(z)) - z * targets + xp.log1p(e)
    return _total(xp, value * share), (probability - targets) * share


def _one_hot(xp: Namespace, z: Array, targets: Array) -> Array:
    device = getattr(targets, "device", None)  # not every library's arrays have one
    classes = xp.arange(z.shape[-1], dtype=targets.dtype, device=device)
    return xp.astype(targets == classes, z.dtype)


def _cross_entropy_magnitude(
    xp: Namespace, z: Array, targets: Array, weight: Array, scale: Array
) -> tuple[Array, Array]:
    shift = z - xp.max(z, axis=-1, keepdims=True)
    e = xp.exp(shift)
    total = xp.sum(e, axis=-1, keepdims=True)
    p, size, hot = e / total, xp.abs(shift), _one_hot(xp, z, targets)
    spread = 2.0 + size + xp.sum(p * size, axis=-1, keepdims=True)
    row = xp.sum(size * hot, axis=-1, keepdims=True) + xp.abs(xp.log(total)) + 1.0
    return _total(xp, row * weight) * scale, (p * spread + hot) * (weight * scale)


@loss_kernel(_cross_entropy_magnitude)
def cross_entropy(
    xp: Namespace, z: Array, targets: Array, weight: Array, scale: Array
) -> tuple[Array, Array]:
    """``l_i = -log softmax(z_i)[t_i]`` in nats, by log-sum-exp from logits.

    z (n, c) logits, targets (n, 1) int in [0, c), weight (n, 1), scale () -> loss (),
    grad_z (n, c) ``= softmax(z) - one_hot(t)``. With scale 1/n it is the mean over the batch
    (as PyTorch and scikit-learn); some texts write the plain sum.
    """
    shift = z - xp.max(z, axis=-1, keepdims=True)
    e = xp.exp(shift)
    total = xp.sum(e, axis=-1, keepdims=True)
    hot = _one_hot(xp, z, targets)
    row = xp.log(total) - xp.sum(shift * hot, axis=-1, keepdims=True)
    return _total(xp, row * weight) * scale, (e / total - hot) * (weight * scale)
