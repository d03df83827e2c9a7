from portable_nn.kernels.loss import pointwise_loss
from portable_nn.typing import Array, Namespace


@pointwise_loss
def pseudo_huber(
    xp: Namespace, z: Array, targets: Array, delta: float = 1.0
) -> tuple[Array, Array]:
    """``l_i = mean_k delta^2 (sqrt(1 + (e_ik / delta)^2) - 1)``, ``e = z - t``.

    z, targets (n, k) float, weight (n, 1), scale () -> loss (), grad_z (n, k).
    Source: Charbonnier et al. 1997; written as ``e^2 / (1 + root)``, which cancels nothing.
    """
    error = z - targets
    root = xp.sqrt(1.0 + error * error * (1.0 / delta**2))
    return error * error / (1.0 + root), error / root
