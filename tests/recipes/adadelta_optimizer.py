from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from portable_nn import kernels
from portable_nn.initializers import zeros
from portable_nn.plan import PlanBuilder
from portable_nn.schedules import Rate, check_values, hyperparameter, values_at


@dataclass(frozen=True)
class Adadelta:
    """A step along the gradient, as large beside it as steps have been beside gradients.

    The recurrence stands at ``kernels.adadelta``. Source: Zeiler 2012, algorithm 1, without a
    learning rate; PyTorch, Keras and optax have one, Keras takes 0.95 as rho.
    """

    learning_rate: Rate = hyperparameter(1.0)
    rho: Rate = hyperparameter(0.9, below=1.0, zero=True)
    epsilon: Rate = hyperparameter(1e-6, zero=False)

    def __post_init__(self) -> None:
        check_values(self)

    def hyperparameters(self, step: int, epoch: float) -> Mapping[str, float]:
        value = values_at(self, epoch)
        rho, rate = value["rho"], value["learning_rate"]
        numbers = {"rho": rho, "rest": 1.0 - rho, "epsilon": value["epsilon"]}
        return {**numbers, "learning_rate": rate}

    def update(self, builder: PlanBuilder, parameter: str, grad: str, hyper: Sequence[str]) -> None:
        shape = builder.shape(parameter)
        states = [builder.state(f"{name}.{parameter}", shape, zeros) for name in ("s", "d")]
        builder.assign([parameter, *states], kernels.adadelta, parameter, grad, *states, *hyper)
