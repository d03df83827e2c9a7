import math

from portable_nn.kernels._kernel import kernel
from portable_nn.typing import Array, Namespace


def _adagrad_magnitude(
    xp: Namespace, p: Array, g: Array, s: Array, learning_rate: Array, epsilon: Array
) -> tuple[Array, Array]:
    s = s + g * g
    return xp.abs(p) + xp.abs(g) * learning_rate / (xp.sqrt(s) + epsilon), s


@kernel(
    shapes=lambda parameter, *others: (parameter, parameter),
    donates=((0, 0), (1, 2)),
    elementwise=True,
    magnitude=_adagrad_magnitude,
    cost=lambda parameter, *others: 7 * math.prod(parameter),
)
def adagrad(
    xp: Namespace, parameter: Array, grad: Array, s: Array, learning_rate: Array, epsilon: Array
) -> tuple[Array, Array]:
    """``s <- s + g^2``, ``p <- p - learning_rate * g / (sqrt(s) + epsilon)``.

    Source: Duchi et al. 2011, figure 1, with a diagonal matrix.
    """
    s = s + grad * grad
    return parameter - grad * learning_rate / (xp.sqrt(s) + epsilon), s
