from portable_nn.kernels.loss import _total, loss_kernel
from portable_nn.typing import Array, Namespace


def _pseudo_huber_magnitude(
    xp: Namespace, z: Array, targets: Array, weight: Array, scale: Array, delta: float = 1.0
) -> tuple[Array, Array]:
    error, size = z - targets, (xp.abs(z) + xp.abs(targets)) * weight
    root = xp.sqrt(1.0 + error * error * (1.0 / delta**2))
    return _total(xp, xp.abs(error) * size / (1.0 + root)) * (2.0 * scale), size / root * scale


@loss_kernel(_pseudo_huber_magnitude)
def pseudo_huber(
    xp: Namespace, z: Array, targets: Array, weight: Array, scale: Array, delta: float = 1.0
) -> tuple[Array, Array]:
    """``l_i = sum_k delta^2 (sqrt(1 + (e_ik / delta)^2) - 1)``, ``e = z - t``: summed over outputs.

    z, targets (n, k) float, weight (n, 1), scale () -> loss (), grad_z (n, k).
    Source: Charbonnier et al. 1997; written as ``e^2 / (1 + root)``, which cancels nothing.
    """
    error = z - targets
    root = xp.sqrt(1.0 + error * error * (1.0 / delta**2))
    return _total(xp, error * error / (1.0 + root) * weight) * scale, error / root * weight * scale
