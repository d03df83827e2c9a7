from dataclasses import dataclass

from portable_nn import kernels
from portable_nn.losses import Loss
from portable_nn.schedules import positive


@dataclass(frozen=True)
class PseudoHuber(Loss):
    """``mean_k delta^2 (sqrt(1 + (e_k / delta)^2) - 1)``: e^2 / 2 near 0, delta |e| far off."""

    kernel = kernels.pseudo_huber
    delta: float = 1.0

    def __post_init__(self) -> None:
        positive(self, "delta")
