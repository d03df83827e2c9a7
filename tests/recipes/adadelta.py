from portable_nn.kernels.update import update_kernel
from portable_nn.typing import Array, Namespace


@update_kernel(states=2, operations=15)
def adadelta(
    xp: Namespace, parameter: Array, grad: Array, s: Array, d: Array, *numbers: Array
) -> tuple[Array, Array, Array]:
    """``s <- rho s + (1-rho) g^2``, ``p <- p - learning_rate * m``, ``d <- rho d + (1-rho) m^2``.

    m is ``g * sqrt(d + epsilon) / sqrt(s + epsilon)``; numbers are rho, ``1 - rho``, epsilon,
    learning_rate. Source: Zeiler 2012, algorithm 1.
    """
    rho, rest, epsilon, learning_rate = numbers
    s = s * rho + grad * grad * rest
    move = grad * xp.sqrt(d + epsilon) / xp.sqrt(s + epsilon)
    return parameter - move * learning_rate, s, d * rho + move * move * rest
