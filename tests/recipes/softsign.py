from portable_nn.kernels._kernel import elementwise, from_output
from portable_nn.typing import Array, Namespace


@elementwise()
def softsign_backward(xp: Namespace, grad: Array, a: Array) -> Array:
    """``grad * (1 - |a|)^2`` with ``a = softsign(z)``."""
    slope = 1.0 - xp.abs(a)
    return grad * (slope * slope)


@elementwise(backward=from_output(softsign_backward))
def softsign(xp: Namespace, z: Array) -> Array:
    """``a = z / (1 + |z|)``, in (-1, 1). Source: Bergstra et al. 2009."""
    return z / (1.0 + xp.abs(z))
