from portable_nn.kernels._kernel import elementwise, from_output
from portable_nn.typing import Array, Namespace


@elementwise()
def isru_backward(xp: Namespace, grad: Array, a: Array) -> Array:
    """``grad * (1 - a^2)^(3/2)`` with ``a = isru(z)``."""
    square = 1.0 - a * a
    return grad * (square * xp.sqrt(square))


@elementwise(backward=from_output(isru_backward))
def isru(xp: Namespace, z: Array) -> Array:
    """``a = z / sqrt(1 + z^2)``, in (-1, 1). Source: Carlile et al. 2017, with alpha 1."""
    return z / xp.sqrt(1.0 + z * z)
