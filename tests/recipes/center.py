from collections.abc import Sequence

from portable_nn.kernels._kernel import Call, Gradient, kernel
from portable_nn.kernels.dense import linear_grad_bias
from portable_nn.typing import Array, Namespace


def _center_backward(call: Call, grads: Sequence[str]) -> list[Gradient]:
    return [Gradient((0,), (grads[0],)), Gradient((2,), (grads[0],), linear_grad_bias)]


@kernel(
    shapes=lambda x, mean, shift: (x,),
    backward=_center_backward,
    donates=((0, 0),),
    magnitude=lambda xp, x, mean, shift: (
        xp.abs(x) + xp.expand_dims(xp.abs(mean) + xp.abs(shift), axis=-2),
    ),
)
def center(xp: Namespace, x: Array, mean: Array, shift: Array) -> Array:
    """``x - mean + shift``: x (n, k), mean and shift (k,) -> (n, k). The mean is a constant."""
    return x + xp.expand_dims(shift - mean, axis=-2)


@kernel(
    shapes=lambda mean, x, **attributes: (mean,),
    donates=((0, 0),),
    magnitude=lambda xp, mean, x, momentum=0.1: (
        xp.abs(mean) + xp.mean(xp.abs(x), axis=-2) * momentum,
    ),
    length=lambda mean, x: x[-2],
)
def center_mean(xp: Namespace, mean: Array, x: Array, momentum: float = 0.1) -> Array:
    """``mean + momentum * (mean of the rows of x - mean)``: (k,), x (n, k) -> (k,)."""
    return mean + (xp.mean(x, axis=-2) - mean) * momentum
