from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from portable_nn import kernels
from portable_nn.initializers import zeros
from portable_nn.plan import PlanBuilder
from portable_nn.schedules import Rate, check_rate, positive, rate_at


@dataclass(frozen=True)
class AdaGrad:
    """``s <- s + g^2``, ``p <- p - learning_rate * g / (sqrt(s) + epsilon)``.

    Source: Duchi et al. 2011; epsilon outside the root, as in PyTorch (Keras and optax: inside,
    and s begins at 0.1).
    """

    learning_rate: Rate = 0.01
    epsilon: float = 1e-10

    def __post_init__(self) -> None:
        check_rate(self, "learning_rate")
        positive(self, "epsilon")

    def hyperparameters(self, step: int, epoch: float) -> Mapping[str, float]:
        return {"learning_rate": rate_at(self.learning_rate, epoch), "epsilon": self.epsilon}

    def update(self, builder: PlanBuilder, parameter: str, grad: str, hyper: Sequence[str]) -> None:
        s = builder.state(f"squares.{parameter}", builder.shape(parameter), zeros)
        builder.assign([parameter, s], kernels.adagrad, parameter, grad, s, *hyper)
